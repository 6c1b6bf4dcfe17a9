//! Vectors in the order in which products of many with many read them.

/// Vectors that stand side by side.
pub(crate) const COLUMN_GROUP: usize = 16;
/// Components whose products are added up before the sums of others are.
pub(crate) const PANEL: usize = 128;

/// Vectors in the order in which [`CodeKernels::products_tile`](crate::CodeKernels::products_tile) reads its columns: 16 of them side by
/// side, component by component; a last group is filled up with zeros.
#[derive(Debug, Default)]
pub struct Columns {
    pub(crate) components: Vec<f32>,
    pub(crate) d: usize,
}

impl Columns {
    /// `vectors`, each of `d` components, as columns.
    pub fn of(vectors: &[f32], d: usize) -> Self {
        let mut columns = Self::default();
        columns.fill(vectors, d);
        columns
    }

    /// Components of a column.
    pub fn dim(&self) -> usize {
        self.d
    }

    /// Takes over `vectors`, each of `d` components, as columns.
    pub fn fill(&mut self, vectors: &[f32], d: usize) {
        assert!(d > 0 && vectors.len().is_multiple_of(d), "{} components are no vectors of {d}", vectors.len());
        self.d = d;
        self.components.clear();
        self.components.resize((vectors.len() / d).next_multiple_of(COLUMN_GROUP) * d, 0.0);
        let groups = self.components.chunks_exact_mut(COLUMN_GROUP * d).zip(vectors.chunks(COLUMN_GROUP * d));
        for (group, vectors) in groups {
            for (column, vector) in vectors.chunks_exact(d).enumerate() {
                for (side_by_side, &x) in group.as_chunks_mut::<COLUMN_GROUP>().0.iter_mut().zip(vector) {
                    side_by_side[column] = x;
                }
            }
        }
    }

    /// Columns, those that fill up the last group included.
    pub fn count(&self) -> usize {
        self.components.len().checked_div(self.d).unwrap_or_default()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.components.capacity() * size_of::<f32>()
    }
}

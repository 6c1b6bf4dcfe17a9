//! A borrowed `n x d` view of vectors that lie one after another.

use std::ops::Range;
use std::slice::ChunksExact;

/// `len()` vectors of `dim()` components each, row after row in one slice. Copying it copies the view, not the data.
pub struct Vectors<'a, T> {
    data: &'a [T],
    dim: usize,
}

impl<'a, T> Vectors<'a, T> {
    /// Views `data` as rows of `dim` components.
    ///
    /// Panics when `dim` is zero or `data.len()` is not a multiple of it: whoever reads `data` from a file checks its
    /// shape first (see [`Container::vectors`](crate::Container::vectors)).
    pub fn new(data: &'a [T], dim: usize) -> Self {
        assert!(dim > 0, "vectors must have at least one component");
        assert!(
            data.len().is_multiple_of(dim),
            "{} components do not divide into vectors of {dim} components",
            data.len()
        );
        Self { data, dim }
    }

    /// The number of vectors.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there is no vector at all.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The number of components of each vector, at least 1.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vector at `i`. Panics when `i` is not below `len()`.
    pub fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.len(), "row {i} was asked of {} vectors", self.len());
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// The vectors of `range`, as a view of their own. Panics when the range does not lie within `0..len()`.
    #[must_use]
    pub fn rows(&self, range: Range<usize>) -> Vectors<'a, T> {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "rows {range:?} were asked of {} vectors",
            self.len()
        );
        Vectors { data: &self.data[range.start * self.dim..range.end * self.dim], dim: self.dim }
    }

    /// All components, row after row.
    pub fn as_slice(&self) -> &'a [T] {
        self.data
    }

    /// The vectors in order.
    pub fn iter(&self) -> ChunksExact<'a, T> {
        self.data.chunks_exact(self.dim)
    }
}

// Written by hand: a derive would ask `T: Copy`, which a view does not need.
impl<T> Clone for Vectors<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Vectors<'_, T> {}

impl<T> std::fmt::Debug for Vectors<'_, T> {
    /// The shape only: the components of a data set have no place in a message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vectors({} x {})", self.len(), self.dim)
    }
}

impl<'a, T> IntoIterator for Vectors<'a, T> {
    type Item = &'a [T];
    type IntoIter = ChunksExact<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &Vectors<'a, T> {
    type Item = &'a [T];
    type IntoIter = ChunksExact<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_slices_between_multiples_of_the_dimension() {
        let data = [1, 2, 3, 4, 5, 6];
        let vectors = Vectors::new(&data, 2);
        assert_eq!((vectors.len(), vectors.dim(), vectors.is_empty()), (3, 2, false));
        assert_eq!(vectors.row(2), [5, 6]);
        assert_eq!(vectors.iter().collect::<Vec<_>>(), [[1, 2], [3, 4], [5, 6]]);
        assert_eq!(vectors.into_iter().count(), (&vectors).into_iter().len());
        assert_eq!(format!("{vectors:?}"), "Vectors(3 x 2)");
    }

    #[test]
    fn a_range_of_rows_is_a_view_of_the_same_data() {
        let data = [1, 2, 3, 4, 5, 6];
        let vectors = Vectors::new(&data, 2);
        assert_eq!(vectors.rows(1..3).as_slice(), [3, 4, 5, 6]);
        assert!(vectors.rows(3..3).is_empty());
        assert_eq!(vectors.rows(1..3).row(0).as_ptr(), vectors.row(1).as_ptr());
    }

    #[test]
    fn a_view_is_copied_even_when_its_components_cannot_be() {
        let data = [String::from("a"), String::from("b")];
        let vectors = Vectors::new(&data, 1);
        let copy = vectors;
        #[expect(clippy::clone_on_copy, reason = "the Clone implementation itself is what is tested")]
        let clone = vectors.clone();
        assert_eq!((copy.row(1), clone.len()), (vectors.row(1), 2));
    }

    #[test]
    #[should_panic(expected = "5 components do not divide into vectors of 2 components")]
    fn a_ragged_slice_is_refused() {
        let _ = Vectors::new(&[0u8; 5], 2);
    }

    #[test]
    #[should_panic(expected = "at least one component")]
    fn the_dimension_zero_is_refused() {
        let _ = Vectors::<f32>::new(&[], 0);
    }

    #[test]
    #[should_panic(expected = "row 3 was asked of 3 vectors")]
    fn a_row_past_the_end_is_refused() {
        let _ = Vectors::new(&[0u8; 6], 2).row(3);
    }

    #[test]
    #[should_panic(expected = "rows 2..4 were asked of 3 vectors")]
    fn a_range_past_the_end_is_refused() {
        let _ = Vectors::new(&[0u8; 6], 2).rows(2..4);
    }
}

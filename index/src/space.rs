//! The base vectors together with how they are compared, and how raw vectors become base vectors.
//!
//! Under cosine the base holds unit vectors and every query is normalised before it is compared, by the same function,
//! so that the kernels only ever see `1 - <a, b>`. All indexes score with the same kernels, whose result for a pair of
//! vectors does not depend on how many are scored at once: equal pairs have equal distances in every index.

use std::fmt;

use nearlab_simd::{Kernels, Metric, kernels, norm_squared, normalize, prefetch};
use nearlab_storage::{Buffer, Resident, Vectors};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::index::MAX_VECTORS;
use crate::memory::Capacity;
use crate::quant::{Codes, SelfQuery, Symmetric};
use crate::{BuildError, Counters, Progress, Stage};

/// Squared lengths below this say little: what is lost of components too small to have squares is not small beside them.
const LEAST_SQUARED: f32 = 1e-30;

/// Whether a squared length says how long a vector is. 0 does not, which is also that of vectors of tiny components.
pub(crate) fn tells_length(squared: f32) -> bool {
    (LEAST_SQUARED..=f32::MAX).contains(&squared)
}

/// The length of any vector.
pub(crate) fn length_of(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// Rows handled as one unit of parallel work.
const CHUNK_ROWS: usize = 1024;

/// Base vectors, metric and kernels.
#[derive(Clone, Copy)]
pub(crate) struct Space<'a> {
    vectors: &'a [f32],
    dim: usize,
    metric: Metric,
    kernels: &'static Kernels,
}

impl<'a> Space<'a> {
    /// `vectors` are ready for use: finite, and of unit length (or zero) under cosine.
    pub(crate) fn new(vectors: &'a [f32], dim: usize, metric: Metric) -> Self {
        Self { vectors, dim, metric, kernels: kernels() }
    }

    pub(crate) fn len(&self) -> usize {
        self.vectors.len() / self.dim
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    pub(crate) fn row(&self, id: u32) -> &'a [f32] {
        &self.vectors[id as usize * self.dim..][..self.dim]
    }

    pub(crate) fn rows(&self, from: usize, count: usize) -> &'a [f32] {
        &self.vectors[from * self.dim..][..count * self.dim]
    }

    /// Distances from `query` to `out.len()` rows, the first of which is `from`.
    #[inline]
    pub(crate) fn score_rows(&self, query: &[f32], from: usize, out: &mut [f32], counters: &mut Counters) {
        self.kernels.distances_many(self.metric, query, self.rows(from, out.len()), out);
        counters.add_scored(out.len(), self.row_bytes());
    }

    /// The distance from a query to a row.
    #[inline]
    pub(crate) fn score_one(&self, query: &[f32], row: usize) -> f32 {
        self.kernels.distance(self.metric)(query, self.row(row as u32))
    }
}

/// How much of a row is asked for ahead; the hardware's own prefetcher follows from there.
const PREFETCH_COMPONENTS: usize = 64;

/// The vectors themselves, as codes that lose nothing: scores are the metric's distances.
impl Codes for Space<'_> {
    const LIFTED: bool = false;
    type Query = Vec<f32>;

    fn len(&self) -> usize {
        self.len()
    }

    fn row_bytes(&self) -> usize {
        self.dim * size_of::<f32>()
    }

    fn prepare(&self, vector: &[f32], query: &mut Vec<f32>) {
        query.clear();
        query.extend_from_slice(vector);
        if self.metric == Metric::Cosine {
            normalize(query);
        }
    }

    #[inline]
    fn score(&self, query: &Vec<f32>, ids: &[u32], out: &mut [f32]) {
        self.kernels.distances_by_id(self.metric, query, self.vectors, ids, out);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        let row = self.row(id);
        prefetch(&row[..row.len().min(PREFETCH_COMPONENTS)]);
    }
}

impl SelfQuery for Space<'_> {
    fn prepare_row(&self, row: u32, query: &mut Vec<f32>) {
        query.clear();
        query.extend_from_slice(self.row(row));
    }
}

/// Cosine distances of copies of one vector, at most: rounding keeps them from being 0.
const COPY_COSINE: f32 = 1e-6;

impl Symmetric for Space<'_> {
    #[inline]
    fn score_row(&self, row: u32, ids: &[u32], out: &mut [f32]) {
        self.kernels.distances_by_id(self.metric, self.row(row), self.vectors, ids, out);
    }

    #[inline]
    fn leads(&self, (to_neighbor, to_node): (f32, f32), times: f32) -> bool {
        match self.metric {
            Metric::L2 => to_neighbor * times < to_node || to_neighbor == 0.0,
            Metric::Cosine => to_neighbor * times < to_node || to_neighbor <= COPY_COSINE,
            // No inner product says that two vectors are the same, or how many times as near one is.
            Metric::InnerProduct => to_neighbor <= to_node,
        }
    }

    #[inline]
    fn squared_length(&self, id: u32) -> Option<f32> {
        (self.metric == Metric::InnerProduct).then(|| norm_squared(self.row(id)))
    }
}

impl fmt::Debug for Space<'_> {
    /// The shape only: the components have no place in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({} x {}, {}, {})", self.len(), self.dim, self.metric, self.kernels.tier())
    }
}

/// A query as the kernels want it. Keeps a buffer, so that normalising allocates once per searcher.
#[derive(Debug, Default)]
pub(crate) struct PreparedQuery {
    unit: Vec<f32>,
}

impl Capacity for PreparedQuery {
    fn capacity_bytes(&self) -> usize {
        self.unit.capacity_bytes()
    }
}

impl PreparedQuery {
    /// `query` itself, or its unit vector under cosine.
    pub(crate) fn prepare<'q>(&'q mut self, metric: Metric, query: &'q [f32]) -> &'q [f32] {
        if metric != Metric::Cosine {
            return query;
        }
        self.unit.clear();
        self.unit.extend_from_slice(query);
        normalize(&mut self.unit);
        &self.unit
    }
}

/// Components that are checked in less time than another thread needs to begin.
const CHECKED_ALONE: usize = 1 << 16;
/// Components that are checked together.
const CHECKED_AT_ONCE: usize = 1 << 12;

/// Refuses vectors that are too many or not finite; the first value that is not is named. On the rayon pool it is called in, unless
/// they are few.
pub(crate) fn check_base(vectors: Vectors<'_, f32>) -> Result<(), BuildError> {
    if vectors.len() > MAX_VECTORS {
        return Err(BuildError::TooMany { expected: MAX_VECTORS, found: vectors.len() });
    }
    let (values, dim) = (vectors.as_slice(), vectors.dim());
    let found = if values.len() <= CHECKED_ALONE {
        values.chunks(CHECKED_AT_ONCE).position(has_wrong)
    } else {
        values.par_chunks(CHECKED_AT_ONCE).position_first(has_wrong)
    };
    let Some(chunk) = found else { return Ok(()) };
    match (chunk * CHECKED_AT_ONCE..).zip(&values[chunk * CHECKED_AT_ONCE..]).find(|(_, x)| !x.is_finite()) {
        None => Ok(()),
        Some((i, &value)) => Err(BuildError::NotFinite { row: i / dim, column: i % dim, value }),
    }
}

/// Whether any of some components is not finite. All are looked at, so that many are at once.
fn has_wrong(components: &[f32]) -> bool {
    components.iter().fold(false, |wrong, x| wrong | !x.is_finite())
}

/// As [`check_base`], on the threads of a pool, unless they are few.
pub(crate) fn check_base_on(pool: &ThreadPool, vectors: Vectors<'_, f32>) -> Result<(), BuildError> {
    if vectors.as_slice().len() <= CHECKED_ALONE { check_base(vectors) } else { pool.install(|| check_base(vectors)) }
}

/// What an index keeps of vectors that were checked: a copy, of unit length under cosine.
pub(crate) fn base_of(vectors: Vectors<'_, f32>, metric: Metric) -> Result<Buffer<f32>, BuildError> {
    let dim = vectors.dim();
    let refused = |_| BuildError::Memory { bytes: size_of_val(vectors.as_slice()) };
    let mut base = Resident::copied(vectors.as_slice()).map_err(refused)?;
    if metric == Metric::Cosine {
        base.par_chunks_mut(CHUNK_ROWS * dim).for_each(|rows| rows.chunks_exact_mut(dim).for_each(normalize_row));
    }
    base.freeze().map_err(refused)
}

fn normalize_row(row: &mut [f32]) {
    normalize(row);
}

/// Reports progress, or ends the build when it was cancelled.
pub(crate) fn step(progress: &dyn Progress, stage: Stage, done: usize, total: usize) -> Result<(), BuildError> {
    if progress.cancelled() {
        return Err(BuildError::Cancelled);
    }
    progress.report(stage, done as u64, total as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for rows in [5000, CHECKED_ALONE] {
            let mut data = vec![1.0; 3 * rows];
            data[3 * 4000 + 2] = f32::NAN;
            data[3 * 2500 + 1] = f32::INFINITY;
            let error = check_base_on(&pool, Vectors::new(&data, 3)).unwrap_err();
            assert_eq!(error, BuildError::NotFinite { row: 2500, column: 1, value: f32::INFINITY });
        }
    }

    #[test]
    fn cosine_bases_are_unit_vectors_and_zero_stays_zero() {
        let base = base_of(Vectors::new(&[3.0, 4.0, 0.0, 0.0], 2), Metric::Cosine).unwrap();
        assert!((base[0] - 0.6).abs() < 1e-6 && (base[1] - 0.8).abs() < 1e-6);
        assert_eq!(base[2..], [0.0, 0.0]);
        let base = base_of(Vectors::new(&[3.0, 4.0], 2), Metric::L2).unwrap();
        assert_eq!(*base, [3.0, 4.0]);
    }

    #[test]
    fn queries_are_normalised_under_cosine_only() {
        let mut query = PreparedQuery::default();
        assert_eq!(query.prepare(Metric::InnerProduct, &[0.0, 2.0]), [0.0, 2.0]);
        assert_eq!(query.prepare(Metric::Cosine, &[0.0, 2.0]), [0.0, 1.0]);
    }
}

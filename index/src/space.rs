//! The base vectors together with how they are compared, and how raw vectors become base vectors.
//!
//! Under cosine the base holds unit vectors and every query is normalised before it is compared, by the same function,
//! so that the kernels only ever see `1 - <a, b>`. All indexes score with the same kernels, whose result for a pair of
//! vectors does not depend on how many are scored at once: equal pairs have equal distances in every index.

use std::fmt;

use nearlab_simd::{Kernels, Metric, kernels, normalize};
use nearlab_storage::Vectors;
use rayon::prelude::*;

use crate::index::MAX_VECTORS;
use crate::{BuildError, Counters, Progress, Stage};

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

    /// Distances from `query` to the rows `ids`.
    #[inline]
    pub(crate) fn score(&self, query: &[f32], ids: &[u32], out: &mut [f32], counters: &mut Counters) {
        self.kernels.distances_by_id(self.metric, query, self.vectors, ids, out);
        self.count(ids.len(), counters);
    }

    /// Distances from `query` to `out.len()` rows, the first of which is `from`.
    #[inline]
    pub(crate) fn score_rows(&self, query: &[f32], from: usize, out: &mut [f32], counters: &mut Counters) {
        self.kernels.distances_many(self.metric, query, self.rows(from, out.len()), out);
        self.count(out.len(), counters);
    }

    /// Distances from each of the `queries` to as many rows as `out` has room for, the first of which
    /// is `from`; row-major by query.
    pub(crate) fn score_tile(&self, queries: &[f32], from: usize, out: &mut [f32], counters: &mut Counters) {
        let rows = out.len() / (queries.len() / self.dim);
        self.kernels.distances_tile(self.metric, queries, self.rows(from, rows), self.dim, out);
        self.count(out.len(), counters);
    }

    #[inline]
    fn count(&self, distances: usize, counters: &mut Counters) {
        counters.distance_computations += distances as u64;
        counters.bytes_read += (distances * self.dim * size_of::<f32>()) as u64;
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

/// Copies `vectors` into what an index keeps: checked to be finite, of unit length under cosine.
pub(crate) fn prepare_base(vectors: Vectors<'_, f32>, metric: Metric) -> Result<Vec<f32>, BuildError> {
    if vectors.len() > MAX_VECTORS {
        return Err(BuildError::TooMany { expected: MAX_VECTORS, found: vectors.len() });
    }
    let dim = vectors.dim();
    let mut base = vectors.as_slice().to_vec();
    let first_bad = base
        .par_chunks_mut(CHUNK_ROWS * dim)
        .enumerate()
        .filter_map(|(chunk, rows)| {
            if let Some(i) = rows.iter().position(|x| !x.is_finite()) {
                return Some(chunk * CHUNK_ROWS * dim + i);
            }
            if metric == Metric::Cosine {
                rows.chunks_exact_mut(dim).for_each(normalize_row);
            }
            None
        })
        .min();
    match first_bad {
        None => Ok(base),
        Some(i) => Err(BuildError::NotFinite { row: i / dim, column: i % dim, value: vectors.as_slice()[i] }),
    }
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
        let mut data = vec![1.0; 3 * 5000];
        data[3 * 4000 + 2] = f32::NAN;
        data[3 * 2500 + 1] = f32::INFINITY;
        let error = prepare_base(Vectors::new(&data, 3), Metric::Cosine).unwrap_err();
        assert_eq!(error, BuildError::NotFinite { row: 2500, column: 1, value: f32::INFINITY });
    }

    #[test]
    fn cosine_bases_are_unit_vectors_and_zero_stays_zero() {
        let base = prepare_base(Vectors::new(&[3.0, 4.0, 0.0, 0.0], 2), Metric::Cosine).unwrap();
        assert!((base[0] - 0.6).abs() < 1e-6 && (base[1] - 0.8).abs() < 1e-6);
        assert_eq!(base[2..], [0.0, 0.0]);
        let base = prepare_base(Vectors::new(&[3.0, 4.0], 2), Metric::L2).unwrap();
        assert_eq!(base, [3.0, 4.0]);
    }

    #[test]
    fn queries_are_normalised_under_cosine_only() {
        let mut query = PreparedQuery::default();
        assert_eq!(query.prepare(Metric::InnerProduct, &[0.0, 2.0]), [0.0, 2.0]);
        assert_eq!(query.prepare(Metric::Cosine, &[0.0, 2.0]), [0.0, 1.0]);
    }
}

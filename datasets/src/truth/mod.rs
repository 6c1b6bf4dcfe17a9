//! Exact neighbours, by comparing every query with every base vector.
//!
//! The base is seen once, in blocks, so it may be larger than memory. A block is compared by tiles of inner products in
//! `f32`; a pair whose score lies within the rounding bound of the query's current k-th distance is computed again in
//! `f64`, and only `f64` distances decide. The result is therefore exact: the k smallest by (distance, id), where
//! distances are equal only if their `f64` values are.

mod distance;
mod nearest;

use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;

use crate::progress::Progress;

pub(crate) use distance::{dot, nearness, norm_squared, reported, squared_l2};
pub(crate) use nearest::Nearest;

/// Rounding of `1 - cos` in `f64`: the distance of a copy, which no relative slack covers.
pub const COSINE_NOISE: f64 = 1e-12;

/// Rows compared between two progress reports.
const BLOCK_ROWS: usize = 1 << 14;

/// The k nearest base vectors of each query.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Neighbours per query.
    pub k: usize,
    /// Row numbers of the base, queries x k, nearest first, ties by row number.
    pub neighbors: Vec<i32>,
    /// Distances, queries x k, in the metric's own units: Euclidean (not squared), 1 - cosine, negated inner product.
    pub distances: Vec<f32>,
}

/// What to compute.
#[derive(Clone, Copy)]
pub struct TruthJob<'a> {
    /// Base vectors, raw: the cosine normalises on the fly.
    pub train: Vectors<'a, f32>,
    /// Query vectors.
    pub queries: Vectors<'a, f32>,
    /// Metric.
    pub metric: Metric,
    /// Neighbours per query: 1 to the number of base vectors.
    pub k: usize,
}

/// Computes the exact neighbours of a job on the threads of `pool`.
///
/// Panics if the dimensions differ or `k` is 0 or larger than the base.
pub fn exact(job: &TruthJob<'_>, pool: &ThreadPool, progress: &dyn Progress) -> Truth {
    let n = job.train.len();
    assert!(job.k <= n, "{} neighbours were asked of {n} base vectors", job.k);
    let mut nearest = Nearest::new(job.queries, job.metric, job.k);
    for first in (0..n).step_by(BLOCK_ROWS) {
        progress.report("exact neighbours", first as u64, n as u64);
        let rows = job.train.rows(first..n.min(first + BLOCK_ROWS));
        nearest.push(first as u32, rows, pool);
    }
    progress.report("exact neighbours", n as u64, n as u64);
    nearest.finish()
}

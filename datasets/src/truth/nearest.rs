//! The k nearest so far of each query, while the base passes by in blocks.

use std::{cmp::Ordering, collections::BinaryHeap};

use nearlab_simd::{Kernels, Metric, kernels};
use nearlab_storage::Vectors;
use rayon::{ThreadPool, prelude::*};

use super::{Truth, distance::nearness, norm_squared, reported};

/// Queries compared together: their vectors and scores must stay in cache beside a tile of rows.
const GROUP: usize = 128;

/// Rows compared together.
const TILE: usize = 256;

/// Scores looked at together when most of them are too far.
const SCAN: usize = 16;

/// A base vector at an exact nearness. Greater is farther, ties by id.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    near: f64,
    id: u32,
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.near.total_cmp(&other.near).then(self.id.cmp(&other.id))
    }
}

/// One query's k best; the farthest of them is on top.
struct Best {
    norm: f64,
    heap: BinaryHeap<Candidate>,
}

/// The k nearest so far of each query.
pub(crate) struct Nearest<'a> {
    queries: Vectors<'a, f32>,
    metric: Metric,
    k: usize,
    best: Vec<Best>,
}

/// A block of base rows with what its comparisons need.
struct Block<'a> {
    first_id: u32,
    rows: Vectors<'a, f32>,
    norms: Vec<f64>,
    /// Squared norms (L2) or inverse norms (cosine) for scores in `f32`; empty for the inner product.
    terms: Vec<f32>,
    norm_max: f64,
}

impl<'a> Nearest<'a> {
    /// Panics if `k` is 0.
    pub(crate) fn new(queries: Vectors<'a, f32>, metric: Metric, k: usize) -> Self {
        assert!(k > 0, "0 neighbours were asked for");
        let best = |q| Best { norm: norm_squared(q).sqrt(), heap: BinaryHeap::with_capacity(k + 1) };
        Self { queries, metric, k, best: queries.iter().map(best).collect() }
    }

    /// For a pass that searches nothing.
    pub(crate) fn none(dim: usize) -> Self {
        Self::new(Vectors::new(&[], dim), Metric::L2, 1)
    }

    /// Whether there are no queries.
    pub(crate) fn is_empty(&self) -> bool {
        self.best.is_empty()
    }

    /// Compares all queries with `rows`, whose first has the id `first_id`.
    ///
    /// Panics if the dimensions differ.
    pub(crate) fn push(&mut self, first_id: u32, rows: Vectors<'_, f32>, pool: &ThreadPool) {
        let d = self.queries.dim();
        assert_eq!(rows.dim(), d, "base vectors of {} dimensions and queries of {d}", rows.dim());
        let (metric, k, queries) = (self.metric, self.k, self.queries);
        // Few queries are spread over all threads; many are grouped for the cache.
        let group = self.best.len().div_ceil(pool.current_num_threads().max(1)).clamp(1, GROUP);
        pool.install(|| {
            let block = Block::new(first_id, rows, metric);
            self.best.par_chunks_mut(group).enumerate().for_each(|(i, best)| {
                let first = i * group;
                compare(metric, k, queries.rows(first..first + best.len()), best, &block);
            });
        });
    }

    /// The neighbours found, nearest first. Queries of a base smaller than k are not to be finished: callers check.
    pub(crate) fn finish(self) -> Truth {
        let (mut neighbors, mut distances) = (Vec::new(), Vec::new());
        for best in self.best {
            let sorted = best.heap.into_sorted_vec();
            assert_eq!(sorted.len(), self.k, "the base had fewer vectors than the neighbours asked for");
            neighbors.extend(sorted.iter().map(|c| c.id as i32));
            distances.extend(sorted.iter().map(|c| reported(self.metric, c.near)));
        }
        Truth { k: self.k, neighbors, distances }
    }

    /// Nearness (squared for L2) of the j-th neighbours, queries x k, nearest first.
    pub(crate) fn finish_exact(self) -> Vec<(f64, u32)> {
        self.best.into_iter().flat_map(|b| b.heap.into_sorted_vec()).map(|c| (c.near, c.id)).collect()
    }
}

impl<'a> Block<'a> {
    fn new(first_id: u32, rows: Vectors<'a, f32>, metric: Metric) -> Self {
        let norms: Vec<f64> =
            rows.as_slice().par_chunks_exact(rows.dim()).map(|row| norm_squared(row).sqrt()).collect();
        let norm_max = norms.iter().copied().fold(0.0, f64::max);
        let terms = match metric {
            Metric::L2 => norms.iter().map(|n| (n * n) as f32).collect(),
            Metric::Cosine => norms.iter().map(|&n| if n == 0.0 { 0.0 } else { (1.0 / n) as f32 }).collect(),
            Metric::InnerProduct => Vec::new(),
        };
        Self { first_id, rows, norms, terms, norm_max }
    }
}

/// Compares a group of queries with a block of rows, tile by tile.
fn compare(metric: Metric, k: usize, queries: Vectors<'_, f32>, best: &mut [Best], block: &Block<'_>) {
    let kernels: &Kernels = kernels();
    let d = queries.dim();
    let mut scores = vec![0.0; queries.len() * TILE.min(block.rows.len())];
    for first in (0..block.rows.len()).step_by(TILE) {
        let rows = block.rows.rows(first..block.rows.len().min(first + TILE));
        let scores = &mut scores[..queries.len() * rows.len()];
        kernels.inner_product_tile(queries.as_slice(), rows.as_slice(), d, scores);
        for ((query, best), scores) in queries.iter().zip(&mut *best).zip(scores.chunks_exact_mut(rows.len())) {
            let terms = block.terms.get(first..first + rows.len()).unwrap_or_default();
            score(metric, scores, terms);
            let mut limit = best.limit(metric, k, d, block.norm_max);
            for (chunk, scores) in scores.chunks(SCAN).enumerate() {
                if all_far(scores, limit) {
                    continue;
                }
                for (j, &score) in scores.iter().enumerate() {
                    if is_far(score, limit) {
                        continue;
                    }
                    let row = first + chunk * SCAN + j;
                    let near = nearness(metric, query, block.rows.row(row), (best.norm, block.norms[row]));
                    best.offer(k, Candidate { near, id: block.first_id + row as u32 });
                    limit = best.limit(metric, k, d, block.norm_max);
                }
            }
        }
    }
}

/// Whether a pair cannot be among the nearest. A score that is not a number, or an infinity, has overflowed and says nothing.
fn is_far(score: f32, limit: f32) -> bool {
    score > limit && score < f32::INFINITY
}

/// Whether no pair can be among the nearest. Counted, not short-circuited, so that it becomes vector instructions.
fn all_far(scores: &[f32], limit: f32) -> bool {
    scores.iter().map(|&score| usize::from(is_far(score, limit))).sum::<usize>() == scores.len()
}

/// Turns inner products into scores: the nearness up to a constant of the query.
fn score(metric: Metric, scores: &mut [f32], terms: &[f32]) {
    match metric {
        Metric::L2 => scores.iter_mut().zip(terms).for_each(|(s, norm)| *s = norm - 2.0 * *s),
        Metric::Cosine => scores.iter_mut().zip(terms).for_each(|(s, inverse)| *s = -*s * inverse),
        Metric::InnerProduct => scores.iter_mut().for_each(|s| *s = -*s),
    }
}

impl Best {
    fn offer(&mut self, k: usize, candidate: Candidate) {
        if self.heap.len() < k {
            self.heap.push(candidate);
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && candidate < *farthest
        {
            *farthest = candidate;
        }
    }

    /// The largest score that a pair as near as the k-th best can have, whatever the rounding of `f32`.
    ///
    /// A sum of d products rounds by at most d u |q||x| in any order of addition, u = 2^-24 (Higham, Accuracy and
    /// Stability of Numerical Algorithms, section 3.1); the bounds below are at least that.
    fn limit(&self, metric: Metric, k: usize, d: usize, norm_max: f64) -> f32 {
        let Some(farthest) = self.heap.peek().filter(|_| self.heap.len() == k) else {
            return f32::INFINITY;
        };
        let unit = f64::from(f32::EPSILON);
        let sum = unit * (d as f64 / 2.0 + 32.0);
        let (near, q) = (farthest.near, self.norm);
        let (limit, error) = match metric {
            Metric::L2 => {
                let constants = norm_max * norm_max + q * q + near;
                (near - q * q, sum * 2.0 * q * norm_max + unit * 4.0 * constants)
            }
            Metric::Cosine => ((near - 1.0) * q, (sum + 8.0 * unit) * q),
            Metric::InnerProduct => (near, sum * q * norm_max + unit * near.abs()),
        };
        // Underflow in a kernel loses at most the smallest normal number per product.
        let limit = limit + error + d as f64 * f64::from(f32::MIN_POSITIVE);
        if limit.is_nan() { f32::INFINITY } else { limit as f32 }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::truth::{TruthJob, exact};

    fn pool() -> ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
    }

    fn naive(job: &TruthJob<'_>) -> Truth {
        let (mut neighbors, mut distances) = (Vec::new(), Vec::new());
        for q in job.queries {
            let mut all: Vec<Candidate> = job
                .train
                .iter()
                .enumerate()
                .map(|(id, x)| {
                    let norms = (norm_squared(q).sqrt(), norm_squared(x).sqrt());
                    Candidate { near: nearness(job.metric, q, x, norms), id: id as u32 }
                })
                .collect();
            all.sort();
            neighbors.extend(all[..job.k].iter().map(|c| c.id as i32));
            distances.extend(all[..job.k].iter().map(|c| reported(job.metric, c.near)));
        }
        Truth { k: job.k, neighbors, distances }
    }

    fn random(seed: u64, len: usize, scale: impl Fn(f32) -> f32) -> Vec<f32> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        (0..len).map(|_| scale(rng.random::<f32>() - 0.5)).collect()
    }

    #[test]
    fn the_result_equals_sorting_all_distances_for_every_metric_and_odd_shapes() {
        let pool = pool();
        for metric in Metric::ALL {
            for (n, nq, d, k) in [(700, 37, 19, 10), (20_000, 3, 8, 5), (300, 130, 3, 300), (1, 1, 1, 1)] {
                let (train, queries) = (random(1, n * d, |x| x * 4.0), random(2, nq * d, |x| x * 3.0));
                let job = TruthJob { train: Vectors::new(&train, d), queries: Vectors::new(&queries, d), metric, k };
                assert_eq!(exact(&job, &pool, &()), naive(&job), "{metric} {n} x {d}");
            }
        }
    }

    #[test]
    fn neighbours_that_f32_cannot_tell_apart_are_ordered_right() {
        // Far from the origin, |x|^2 - 2<q,x> cancels almost completely.
        let (train, queries) = (random(3, 400 * 4, |x| 1000.0 + x * 0.01), random(4, 5 * 4, |x| 1000.0 + x * 0.01));
        for metric in Metric::ALL {
            let job = TruthJob { train: Vectors::new(&train, 4), queries: Vectors::new(&queries, 4), metric, k: 20 };
            assert_eq!(exact(&job, &pool(), &()), naive(&job), "{metric}");
        }
    }

    #[test]
    fn ties_go_to_the_smaller_id() {
        let train = [1.0f32, 0.0, 1.0, 0.0, 1.0];
        let job =
            TruthJob { train: Vectors::new(&train, 1), queries: Vectors::new(&[1.0], 1), metric: Metric::L2, k: 4 };
        let truth = exact(&job, &pool(), &());
        assert_eq!(truth.neighbors, [0, 2, 4, 1]);
        assert_eq!(truth.distances, [0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn products_beyond_the_range_of_f32_are_still_compared() {
        let train = [3e38f32, -3e38, 1e38, 1e-40];
        for metric in Metric::ALL {
            let job = TruthJob { train: Vectors::new(&train, 1), queries: Vectors::new(&[2e38], 1), metric, k: 4 };
            assert_eq!(exact(&job, &pool(), &()), naive(&job), "{metric}");
        }
    }

    #[test]
    fn zero_vectors_are_at_cosine_distance_one() {
        let train = [0.0f32, 0.0, 1.0, 0.0, -1.0, 0.0];
        for query in [[1.0f32, 0.0], [0.0, 0.0]] {
            let job = TruthJob {
                train: Vectors::new(&train, 2),
                queries: Vectors::new(&query, 2),
                metric: Metric::Cosine,
                k: 3,
            };
            assert_eq!(exact(&job, &pool(), &()), naive(&job));
        }
    }

    #[test]
    #[should_panic(expected = "4 neighbours were asked of 3 base vectors")]
    fn more_neighbours_than_vectors_is_a_programmers_mistake() {
        let vectors = Vectors::new(&[0.0f32; 3], 1);
        exact(&TruthJob { train: vectors, queries: vectors, metric: Metric::L2, k: 4 }, &pool(), &());
    }

    #[test]
    #[should_panic(expected = "base vectors of 1 dimensions and queries of 3")]
    fn dimensions_must_agree() {
        let data = [0.0f32; 3];
        let job = TruthJob { train: Vectors::new(&data, 1), queries: Vectors::new(&data, 3), metric: Metric::L2, k: 1 };
        exact(&job, &pool(), &());
    }
}

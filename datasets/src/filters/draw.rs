//! Draws matches and pivots, ranks queries at pivots, and hands out filters.

use rand::Rng;
use rand_pcg::Pcg64;
use rayon::{ThreadPool, prelude::*};

use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::{Correlation, Drawn, FilterOptions};
use crate::{
    prepared::Prepared,
    progress::Progress,
    truth::{nearness, norm_squared},
};

/// Stream of the draw of pivots; those of random matches count from 0.
const PIVOT_STREAM: u128 = 1 << 64;

/// Matches drawn at random, for `(n, queries)`.
pub(super) fn random(options: &FilterOptions, matches: usize, (n, queries): (usize, usize)) -> Drawn {
    let filters = options.filters.min(n);
    let one = |filter: usize| {
        let mut ids = some_of(n, matches, Pcg64::new(u128::from(options.seed), filter as u128));
        ids.sort_unstable();
        ids
    };
    Drawn {
        matches: (0..filters).map(one).collect(),
        of_query: (0..queries).map(|query| (query % filters) as u32).collect(),
    }
}

/// The first `count` of a shuffle of `0..n` (Fisher and Yates).
fn some_of(n: usize, count: usize, mut random: Pcg64) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..n as u32).collect();
    for at in 0..count {
        // Multiply-shift: the bias of 64 random bits over so few places is far below one in 2^32.
        let other = at + ((u128::from(random.next_u64()) * (n - at) as u128) >> 64) as usize;
        ids.swap(at, other);
    }
    ids.truncate(count);
    ids
}

/// Base vectors that filters are made around.
pub(super) struct Pivots {
    /// Of each pivot, all base vectors, nearest first, ties by id.
    order: Vec<Vec<u32>>,
    /// Of each pivot, the rank of each report query.
    rank: Vec<Vec<u32>>,
}

impl Pivots {
    /// Draws the pivots and compares each with all base vectors and queries.
    pub(super) fn of(data: &Prepared, options: &FilterOptions, pool: &ThreadPool, progress: &dyn Progress) -> Self {
        let (train, test, metric) = (data.train(), data.test(), data.metric());
        let count = options.filters.min(train.len());
        let ids = some_of(train.len(), count, Pcg64::new(u128::from(options.seed), PIVOT_STREAM));
        let (train_norms, test_norms) = (norms(train), norms(test));
        let (mut order, mut rank) = (Vec::new(), Vec::new());
        let step = pool.current_num_threads().max(1);
        for (done, some) in ids.chunks(step).enumerate() {
            progress.report("filters", (done * step) as u64, count as u64);
            let compared: Vec<(Vec<u32>, Vec<u32>)> = pool.install(|| {
                some.par_iter()
                    .map(|&pivot| {
                        let pivot = (train.row(pivot as usize), train_norms[pivot as usize]);
                        compare(metric, pivot, (train, &train_norms), (test, &test_norms))
                    })
                    .collect()
            });
            for (one_order, one_rank) in compared {
                order.push(one_order);
                rank.push(one_rank);
            }
        }
        progress.report("filters", count as u64, count as u64);
        Self { order, rank }
    }

    /// The filters around the pivots, each query with the one that suits it.
    pub(super) fn filters(&self, correlation: Correlation, matches: usize) -> Drawn {
        let nearest_first = |order: &Vec<u32>| {
            let mut ids = order[..matches].to_vec();
            ids.sort_unstable();
            ids
        };
        let queries = self.rank.first().map_or(0, Vec::len);
        let suits = |query: usize| {
            let pivots = 0..self.rank.len() as u32;
            let rank = |&pivot: &u32| self.rank[pivot as usize][query];
            let best = match correlation {
                Correlation::Negative => pivots.rev().max_by_key(rank),
                Correlation::None | Correlation::Positive => pivots.min_by_key(rank),
            };
            best.unwrap_or(0)
        };
        Drawn { matches: self.order.iter().map(nearest_first).collect(), of_query: (0..queries).map(suits).collect() }
    }
}

/// Vectors with their norms.
type Normed<'a> = (Vectors<'a, f32>, &'a [f64]);

/// The base vectors by nearness to a pivot, and the rank of each query.
fn compare(
    metric: Metric,
    (pivot, norm): (&[f32], f64),
    (train, train_norms): Normed<'_>,
    (test, test_norms): Normed<'_>,
) -> (Vec<u32>, Vec<u32>) {
    let near = |row: &[f32], row_norm: f64| nearness(metric, pivot, row, (norm, row_norm));
    let mut by_nearness: Vec<(f64, u32)> =
        train.iter().zip(train_norms).zip(0..).map(|((row, &row_norm), id)| (near(row, row_norm), id)).collect();
    by_nearness.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let rank = |(query, &query_norm): (&[f32], &f64)| {
        let of_query = near(query, query_norm);
        by_nearness.partition_point(|&(of_row, _)| of_row < of_query) as u32
    };
    let ranks = test.iter().zip(test_norms).map(rank).collect();
    (by_nearness.into_iter().map(|(_, id)| id).collect(), ranks)
}

fn norms(vectors: Vectors<'_, f32>) -> Vec<f64> {
    vectors.iter().map(|row| norm_squared(row).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_a_range_are_distinct_and_depend_on_seed_and_stream() {
        let draw = |seed, stream| some_of(1000, 300, Pcg64::new(seed, stream));
        let mut sorted = draw(1, 0);
        assert_eq!(sorted, draw(1, 0));
        assert!(sorted != draw(1, 1) && sorted != draw(2, 0));
        sorted.sort_unstable();
        sorted.dedup();
        assert!(sorted.len() == 300 && sorted.iter().all(|&id| id < 1000));
        let mut all = some_of(50, 50, Pcg64::new(3, 0));
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_query_goes_to_the_pivot_that_it_is_nearest_to_or_farthest_from() {
        let pivots = Pivots { order: vec![vec![0, 1, 2], vec![2, 1, 0]], rank: vec![vec![0, 1, 3], vec![3, 1, 0]] };
        let positive = pivots.filters(Correlation::Positive, 1);
        assert_eq!((positive.matches, positive.of_query), (vec![vec![0], vec![2]], vec![0, 0, 1]));
        let negative = pivots.filters(Correlation::Negative, 2);
        // Ties go to the first pivot.
        assert_eq!((negative.matches, negative.of_query), (vec![vec![0, 1], vec![1, 2]], vec![1, 0, 0]));
    }
}

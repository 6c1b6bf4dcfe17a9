//! Which rows can be among the nearest, from inner products that rounding has blurred.

use nearlab_simd::{Columns, Metric, code_kernels, norm_squared, products_error};

use crate::memory::Capacity;
use crate::space::{Space, tells_length};
use crate::top_k::TopK;

/// What of the rows is needed besides the products.
#[derive(Debug)]
pub(super) struct Sieve {
    /// Squared lengths under L2, lengths under inner product, nothing under cosine, where all are 1 or 0. NaN, which holds back no row, for
    /// one whose length no number tells.
    lengths: Vec<f32>,
    /// What products and distances of vectors of length 1 may be off by, together.
    error: f32,
}

/// Queries that are met by the same rows at the same time, [`WITHIN`](nearlab_simd::WITHIN) at most, and what each has found so far.
#[derive(Debug, Default)]
pub(super) struct Group {
    queries: Vec<f32>,
    columns: Columns,
    pub(super) tops: Vec<TopK>,
    /// Squared lengths.
    squared: Vec<f32>,
    /// How high the product with a row must be for the row to be near enough: what does not depend on the row, negated, and what
    /// grows with its length, negated.
    flat: Vec<f32>,
    steep: Vec<f32>,
}

impl Capacity for Group {
    fn capacity_bytes(&self) -> usize {
        let Self { queries, columns, tops, squared, flat, steep } = self;
        let floats = [queries, squared, flat, steep].into_iter().map(Capacity::capacity_bytes).sum::<usize>();
        let tops = tops.capacity() * size_of::<TopK>() + tops.iter().map(Capacity::capacity_bytes).sum::<usize>();
        floats + columns.bytes() + tops
    }
}

impl Group {
    /// Takes over queries that were made ready for the metric, to find `k` rows for each.
    pub(super) fn begin(&mut self, sieve: &Sieve, space: Space<'_>, queries: &[f32], k: usize) {
        self.queries.clear();
        self.queries.extend_from_slice(queries);
        self.columns.fill(queries, space.dim());
        let count = queries.len() / space.dim();
        self.tops.resize_with(self.tops.len().max(count), TopK::default);
        for top in &mut self.tops[..count] {
            top.begin(k);
        }
        self.squared.clear();
        self.squared.extend(queries.chunks_exact(space.dim()).map(length_squared));
        self.steep.clear();
        let inner_product = space.metric() == Metric::InnerProduct;
        self.steep.extend(self.squared.iter().map(|x| if inner_product { sieve.error * x.sqrt() } else { 0.0 }));
        self.flat.clear();
        self.flat.resize(count, f32::NAN);
    }

    pub(super) fn len(&self) -> usize {
        self.flat.len()
    }

    /// Products of all columns with a row.
    pub(super) fn width(&self) -> usize {
        self.columns.count()
    }
}

impl Sieve {
    pub(super) fn of(vectors: &[f32], dim: usize, metric: Metric) -> Self {
        let squared = || vectors.chunks_exact(dim).map(length_squared);
        let lengths = match metric {
            Metric::L2 => squared().collect(),
            Metric::InnerProduct => squared().map(f32::sqrt).collect(),
            Metric::Cosine => Vec::new(),
        };
        // The lengths and the distance scored in the end are rounded too, each no more than a product.
        Self { lengths, error: 4.0 * products_error(dim) }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lengths)
    }

    /// Offers to the queries of a group the rows from `from` on, as many as `tile` has room for the products of, that can be near
    /// enough.
    ///
    /// With `e` the error, a squared distance is at least `(1 - e) (|q|² + |x|²) - 2 <q, x>`, since `|q| |x|` is at most half of
    /// the sum; a negated inner product at least `-<q, x> - e |q| |x|`.
    pub(super) fn pass(&self, space: Space<'_>, from: usize, group: &mut Group, tile: &mut [f32]) {
        let rows = tile.len() / group.width();
        let kernels = code_kernels();
        kernels.products_tile(&group.columns, space.rows(from, rows), tile);
        let count = group.len();
        for (row, products) in (from..).zip(tile.chunks_exact(group.width())) {
            let floor = self.floor(space.metric(), row);
            let mut places = kernels.reaching(&products[..count], (&group.flat, &group.steep), floor);
            while places != 0 {
                let at = places.trailing_zeros() as usize;
                places &= places - 1;
                let query = &group.queries[at * space.dim()..][..space.dim()];
                let top = &mut group.tops[at];
                top.extend(std::iter::once((row as u32, space.score_one(query, row))));
                group.flat[at] = self.flat(space.metric(), group.squared[at], top.worst());
            }
        }
    }

    /// What the product of a query with a row must reach, but for what depends on the query; and the row's length where that plays a
    /// part.
    fn floor(&self, metric: Metric, row: usize) -> (f32, f32) {
        match metric {
            Metric::L2 => ((1.0 - self.error) * self.lengths[row] / 2.0, 0.0),
            Metric::InnerProduct => (0.0, self.lengths[row]),
            Metric::Cosine => (0.0, 0.0),
        }
    }

    /// What a query need not reach of it, given its squared length and the distance that a row must not exceed.
    fn flat(&self, metric: Metric, squared: f32, worst: f32) -> f32 {
        match metric {
            Metric::L2 => (worst - (1.0 - self.error) * squared) / 2.0,
            Metric::InnerProduct => worst,
            Metric::Cosine => worst - (1.0 - 2.0 * self.error),
        }
    }
}

/// The squared length of a vector; NaN where it is beyond all numbers, or so small that it says nothing.
fn length_squared(vector: &[f32]) -> f32 {
    let squared = norm_squared(vector);
    if tells_length(squared) || vector.iter().all(|&x| x == 0.0) { squared } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::WITHIN;

    use super::*;
    use crate::Neighbor;
    use crate::random::SplitMix64;

    #[test]
    fn nothing_near_enough_is_held_back() {
        let mut random = SplitMix64::new(6);
        for (metric, dim) in Metric::ALL.into_iter().flat_map(|metric| [3, 70].map(|dim| (metric, dim))) {
            // Lengths from tiny to huge, copies, and zeros.
            let mut data: Vec<f32> =
                (0..500 * dim).map(|i| (random.unit() as f32 - 0.5) * 10_f32.powi((i / dim % 7) as i32 - 3)).collect();
            data.copy_within(0..50 * dim, 100 * dim);
            data[..2 * dim].fill(0.0);
            if metric == Metric::Cosine {
                for row in data.chunks_exact_mut(dim) {
                    nearlab_simd::normalize(row);
                }
            }
            let queries: Vec<f32> = data.chunks_exact(dim).step_by(9).flatten().copied().collect();
            assert_nothing_held_back(&data, &queries, (metric, dim), 10);
        }
    }

    fn assert_nothing_held_back(data: &[f32], queries: &[f32], (metric, dim): (Metric, usize), k: usize) {
        let (space, sieve, rows) = (Space::new(data, dim, metric), Sieve::of(data, dim, metric), data.len() / dim);
        let (mut group, mut tile) = (Group::default(), vec![0.0; 100 * WITHIN]);
        group.begin(&sieve, space, queries, k);
        for from in (0..rows).step_by(100) {
            let products = 100.min(rows - from) * group.width();
            sieve.pass(space, from, &mut group, &mut tile[..products]);
        }
        for (query, sieved) in queries.chunks_exact(dim).zip(&mut group.tops) {
            let mut all = TopK::default();
            all.begin(k);
            all.extend((0..rows).map(|row| (row as u32, space.score_one(query, row))));
            let finish = |top: &mut TopK| {
                let mut found: Vec<Neighbor> = Vec::new();
                top.finish(&mut found);
                found
            };
            assert_eq!(finish(sieved), finish(&mut all), "{metric} {dim}");
        }
    }

    #[test]
    fn vectors_whose_lengths_no_number_tells_are_not_held_back() {
        assert_nothing_held_back(&[3e18, 1e19], &[2e19], (Metric::L2, 1), 1);
        let mut tiny = [2.6e-23_f32; 16];
        tiny[0] = -tiny[0];
        assert_nothing_held_back(&tiny, &tiny[8..], (Metric::L2, 8), 1);
        for metric in [Metric::L2, Metric::InnerProduct] {
            let rows: Vec<f32> = (0..100).map(|i| (i as f32 - 50.0) * 1e-24).collect();
            assert_nothing_held_back(&rows, &[1e20, -1e20, 1e-24, 3e-16, 2e19], (metric, 1), 3);
        }
    }
}

//! Which rows can be among the nearest, from inner products that rounding has blurred.

use nearlab_simd::{Metric, WITHIN, code_kernels, norm_squared, products_error};
use rayon::prelude::*;

use crate::space::Space;
use crate::top_k::TopK;

/// What of the rows is needed besides the products.
#[derive(Debug)]
pub(super) struct Sieve {
    /// Squared lengths under L2, lengths under inner product, nothing under cosine, where all are 1 or 0.
    lengths: Vec<f32>,
    /// What products and distances of vectors of length 1 may be off by, together.
    error: f32,
}

impl Sieve {
    pub(super) fn of(vectors: &[f32], dim: usize, metric: Metric) -> Self {
        let squared = || vectors.par_chunks_exact(dim).map(norm_squared);
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

    /// Offers to `top` the rows from `from` on whose `products` with a query say that they can be near enough.
    ///
    /// With `e` the error, a squared distance is at least `(1 - e) (|q|² + |x|²) - 2 <q, x>`, since `|q| |x|` is at most half of
    /// the sum; a negated inner product at least `-<q, x> - e |q| |x|`.
    pub(super) fn pass(&self, space: Space<'_>, (query, from): (&[f32], usize), products: &mut [f32], top: &mut TopK) {
        let squared = norm_squared(query);
        // What the same for all rows adds to the distances.
        let constant = match space.metric() {
            Metric::L2 => (1.0 - self.error) * squared,
            Metric::InnerProduct => 0.0,
            Metric::Cosine => 1.0 - 2.0 * self.error,
        };
        let lengths = self.lengths.get(from..).unwrap_or_default();
        match space.metric() {
            Metric::L2 => {
                let least = |product: f32, squared: f32| (1.0 - self.error) * squared - 2.0 * product;
                products.iter_mut().zip(lengths).for_each(|(product, &squared)| *product = least(*product, squared));
            }
            Metric::InnerProduct => {
                let blur = self.error * squared.sqrt();
                products.iter_mut().zip(lengths).for_each(|(product, length)| *product = -*product - blur * length);
            }
            Metric::Cosine => products.iter_mut().for_each(|product| *product = -*product),
        }
        for (chunk, least) in products.chunks(WITHIN).enumerate() {
            let mut places = code_kernels().within(least, top.worst() - constant);
            while places != 0 {
                let row = from + chunk * WITHIN + places.trailing_zeros() as usize;
                places &= places - 1;
                top.extend(std::iter::once((row as u32, space.score_one(query, row))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
            let (space, sieve) = (Space::new(&data, dim, metric), Sieve::of(&data, dim, metric));
            for query in data.chunks_exact(dim).step_by(9) {
                let (mut sieved, mut all) = (TopK::default(), TopK::default());
                sieved.begin(10);
                all.begin(10);
                for from in (0..500).step_by(100) {
                    let mut products = vec![0.0; 100];
                    code_kernels().products_tile(query, space.rows(from, 100), dim, &mut products);
                    sieve.pass(space, (query, from), &mut products, &mut sieved);
                    all.extend((from..from + 100).map(|row| (row as u32, space.score_one(query, row))));
                }
                let finish = |mut top: TopK| {
                    let mut found: Vec<Neighbor> = Vec::new();
                    top.finish(&mut found);
                    found
                };
                assert_eq!(finish(sieved), finish(all), "{metric} {dim}");
            }
        }
    }
}

//! Lifting a metric into Euclidean space, so that codes need to know one distance only.
//!
//! L2 is there already. Under cosine all vectors are of unit length, and `|q - x|² = 2 (1 - cos)`. Inner product gets one
//! component more (Bachrach et al., `RecSys` 2014): `x` becomes `[x, sqrt(M² - |x|²)]` with `M` the largest length, `q`
//! becomes `[q, 0]`, and `|q - x|² = |q|² + M² - 2 <q, x>`. The nearest are the same in each case; but a zero vector, which has no cosine,
//! is lifted to zero, and so to half the distance 1 that it has by definition.

use nearlab_simd::{Metric, norm_squared, normalize};
use nearlab_storage::Vectors;
use rayon::prelude::*;

use crate::BuildError;

/// How the vectors of one metric and dimension are lifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Euclid {
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// `M²` under inner product.
    pub(crate) radius_squared: f32,
}

/// What of a query is needed to turn scores into distances.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Length {
    squared: f32,
}

impl Euclid {
    pub(crate) fn of(vectors: Vectors<'_, f32>, metric: Metric) -> Self {
        let radius_squared = if metric == Metric::InnerProduct {
            let lengths = vectors.as_slice().par_chunks_exact(vectors.dim()).map(norm_squared);
            lengths.reduce(|| 0.0, f32::max)
        } else {
            0.0
        };
        Self { metric, dim: vectors.dim(), radius_squared }
    }

    /// Refuses vectors that can not be lifted, because the square of a length is beyond all `f32`.
    pub(crate) fn check(&self, vectors: Vectors<'_, f32>) -> Result<(), BuildError> {
        if self.radius_squared.is_finite() {
            return Ok(());
        }
        let too_long = vectors.iter().enumerate().find(|(_, vector)| !norm_squared(vector).is_finite());
        too_long.map_or(Ok(()), |(row, vector)| {
            let found = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            Err(BuildError::TooLong { row, expected: f32::MAX, found })
        })
    }

    /// Components of a lifted vector.
    pub(crate) fn width(&self) -> usize {
        self.dim + usize::from(self.metric == Metric::InnerProduct)
    }

    /// Appends a lifted base vector to `out`.
    pub(crate) fn lift(&self, vector: &[f32], out: &mut Vec<f32>) {
        let start = out.len();
        out.extend_from_slice(vector);
        match self.metric {
            Metric::L2 => (),
            Metric::Cosine => {
                normalize(&mut out[start..]);
            }
            Metric::InnerProduct => out.push((self.radius_squared - norm_squared(vector)).max(0.0).sqrt()),
        }
    }

    /// Replaces `out` by the lifted query.
    pub(crate) fn lift_query(&self, query: &[f32], out: &mut Vec<f32>) -> Length {
        out.clear();
        out.extend_from_slice(query);
        let squared = match self.metric {
            // Not needed.
            Metric::L2 => 0.0,
            Metric::Cosine => {
                normalize(out);
                if out.iter().all(|&x| x == 0.0) { 0.0 } else { 1.0 }
            }
            Metric::InnerProduct => {
                let squared = norm_squared(out);
                out.push(0.0);
                squared
            }
        };
        Length { squared }
    }

    /// The metric's distance for a squared Euclidean distance of lifted vectors.
    #[inline]
    pub(crate) fn distance(&self, squared: f32, query: Length) -> f32 {
        match self.metric {
            Metric::L2 => squared,
            // A zero query is at distance 1 of everything.
            Metric::Cosine => {
                if query.squared == 0.0 {
                    1.0
                } else {
                    squared * 0.5
                }
            }
            Metric::InnerProduct => (squared - query.squared - self.radius_squared) * 0.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::kernels;

    use super::*;

    #[test]
    fn lifted_distances_are_the_distances_of_each_metric() {
        let data = [3.0, 4.0, 0.5, -2.0, 0.1, 0.2];
        let vectors = Vectors::new(&data, 2);
        for metric in Metric::ALL {
            let euclid = Euclid::of(vectors, metric);
            let (mut base, mut lifted) = (Vec::new(), Vec::new());
            for row in 0..3 {
                base.clear();
                euclid.lift(vectors.row(row), &mut base);
                assert_eq!(base.len(), euclid.width());
                let query = [1.5, -0.25];
                let length = euclid.lift_query(&query, &mut lifted);
                let found = euclid.distance(kernels().l2(&lifted, &base), length);
                let (mut q, mut x) = (query.to_vec(), vectors.row(row).to_vec());
                if metric == Metric::Cosine {
                    normalize(&mut q);
                    normalize(&mut x);
                }
                let expected = kernels().distance(metric)(&q, &x);
                assert!((found - expected).abs() < 1e-5, "{metric}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn vectors_whose_squared_length_is_no_number_can_not_be_lifted() {
        let data = [1.0, 2.0, 1e19, 1e19, 3.0, 4.0];
        let vectors = Vectors::new(&data, 2);
        for metric in Metric::ALL {
            assert_eq!(Euclid::of(vectors, metric).check(vectors), Ok(()), "{metric}");
        }
        let data = [1.0, 2.0, 1e20, -1e20, 3.0, 4.0];
        let vectors = Vectors::new(&data, 2);
        assert_eq!(Euclid::of(vectors, Metric::L2).check(vectors), Ok(()));
        let error = Euclid::of(vectors, Metric::InnerProduct).check(vectors).unwrap_err();
        assert!(matches!(error, BuildError::TooLong { row: 1, .. }), "{error}");
    }

    #[test]
    fn a_zero_query_is_at_cosine_distance_1() {
        let euclid = Euclid::of(Vectors::new(&[1.0, 0.0], 2), Metric::Cosine);
        let length = euclid.lift_query(&[0.0, 0.0], &mut Vec::new());
        assert_eq!(euclid.distance(1.0, length), 1.0);
    }
}

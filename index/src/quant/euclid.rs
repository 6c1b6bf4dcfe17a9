//! Lifting a metric into Euclidean space, so that codes need to know one distance only.
//!
//! L2 is there already. Under cosine all vectors are of unit length, and `|q - x|² = 2 (1 - cos)`. Inner product gets one
//! component more (Bachrach et al., `RecSys` 2014): `x` becomes `[x, sqrt(M² - |x|²)]` with `M` the largest length, `q`
//! becomes `[q, 0]`, and `|q - x|² = |q|² + M² - 2 <q, x>`. The nearest are the same in each case. That component is larger than others
//! are, and all levels have one step: so the space is reflected, which spreads it over all components and changes no distance. And queries
//! are made as long as the longest of the vectors, which changes no order: what codes err by is then small beside what tells the products
//! apart.
//!
//! Some vectors the space does not [hold](Euclid::holds). A zero vector has no cosine, but the distance 1 from everything by definition. And
//! were `M` the length of one vector many times as long as the rest, the rest would lie so close together that codes could not tell them
//! apart. Such vectors get places where they do no harm, and whoever searches compares the query with them otherwise.

use nearlab_simd::{Metric, norm_squared, normalize};
use nearlab_storage::Vectors;
use rayon::prelude::*;

use crate::BuildError;
use crate::space::{length_of, tells_length};

/// Vectors are too long to be held, under inner product, where they are more than so many times as long as nearly all others.
const TOO_LONG: f32 = 2.0;
/// Those are at most one in so many, and take at most so many bytes.
const TOO_LONG_AMONG: usize = 256;
pub(crate) const TOO_LONG_BYTES: usize = 1 << 18;
/// The length that a zero vector is given under cosine: no unit vector is farther from another one than from this.
const AWAY: f32 = 3.0;

/// How the vectors of one metric and dimension are lifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Euclid {
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// `M²` under inner product.
    pub(crate) radius_squared: f32,
    /// Under inner product the length that queries are given. 0 in files of old versions, which leave queries as they are and spread nothing.
    pub(crate) query_length: f32,
}

/// What of a query is needed to turn scores into distances.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Length {
    squared: f32,
    /// Under inner product: what the query was divided by.
    scale: f32,
}

impl Euclid {
    pub(crate) fn of(vectors: Vectors<'_, f32>, metric: Metric) -> Self {
        let dim = vectors.dim();
        if metric != Metric::InnerProduct {
            return Self { metric, dim, radius_squared: 0.0, query_length: 0.0 };
        }
        let squared: Vec<f32> = vectors.as_slice().par_chunks_exact(dim).map(norm_squared).collect();
        let radius_squared = largest_held(squared, dim);
        Self { metric, dim, radius_squared, query_length: radius_squared.sqrt() }
    }

    /// Whether a base vector has its place among those that are lifted. If not, its distance has to be found otherwise.
    #[inline]
    pub(crate) fn holds(&self, vector: &[f32]) -> bool {
        match self.metric {
            Metric::L2 => true,
            Metric::Cosine => vector.iter().any(|&x| x != 0.0),
            Metric::InnerProduct => norm_squared(vector) <= self.radius_squared,
        }
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

    /// Whether lifted vectors have a component more than those that were given.
    pub(crate) fn adds_component(&self) -> bool {
        self.metric == Metric::InnerProduct
    }

    /// Components of a lifted vector.
    pub(crate) fn width(&self) -> usize {
        self.dim + usize::from(self.adds_component())
    }

    /// The component that lifting a base vector [added](Self::adds_component).
    pub(crate) fn height(&self, lifted: &[f32]) -> f32 {
        match lifted.split_last() {
            Some((last, rest)) if self.query_length > 0.0 => along_diagonal(*last, rest),
            Some((last, _)) => *last,
            None => 0.0,
        }
    }

    /// Appends a lifted base vector to `out`.
    pub(crate) fn lift(&self, vector: &[f32], out: &mut Vec<f32>) {
        let start = out.len();
        out.extend_from_slice(vector);
        let lifted = &mut out[start..];
        match self.metric {
            Metric::L2 => (),
            Metric::Cosine if self.holds(vector) => normalize(lifted),
            Metric::Cosine => put_away(lifted),
            Metric::InnerProduct => {
                let squared = norm_squared(vector);
                if squared > self.radius_squared {
                    let scale = (self.radius_squared / squared).sqrt();
                    for x in &mut *lifted {
                        *x *= scale;
                    }
                }
                out.push((self.radius_squared - squared).max(0.0).sqrt());
                self.turn(&mut out[start..]);
            }
        }
    }

    /// Reflects a lifted vector so that the last axis becomes a diagonal: one of alternating signs, for vectors of numbers that are all
    /// positive are long along the one without.
    fn turn(&self, lifted: &mut [f32]) {
        let Some((last, rest)) = lifted.split_last_mut().filter(|_| self.query_length > 0.0) else { return };
        let (share, along) = (share_of(rest.len() + 1), along_diagonal(*last, rest));
        let shift = share * (*last - along) / (1.0 - share);
        for pair in rest.chunks_mut(2) {
            pair[0] += shift;
            if let Some(second) = pair.get_mut(1) {
                *second -= shift;
            }
        }
        *last = along;
    }

    /// Replaces `out` by the lifted query.
    pub(crate) fn lift_query(&self, query: &[f32], out: &mut Vec<f32>) -> Length {
        out.clear();
        out.extend_from_slice(query);
        match self.metric {
            // Not needed.
            Metric::L2 => Length::default(),
            Metric::Cosine => {
                normalize(out);
                Length { squared: if out.iter().all(|&x| x == 0.0) { 0.0 } else { 1.0 }, scale: 1.0 }
            }
            Metric::InnerProduct => {
                let squared = norm_squared(out);
                let scale = scale_of(out, squared, self.query_length);
                for x in &mut *out {
                    *x /= scale;
                }
                let squared = if scale == 1.0 { squared } else { norm_squared(out) };
                out.push(0.0);
                self.turn(out);
                Length { squared, scale }
            }
        }
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
            Metric::InnerProduct => (squared - query.squared - self.radius_squared) * 0.5 * query.scale,
        }
    }
}

/// What a query of this squared length is divided by to be so long: 1 where it is zero, or is to be left as it is.
fn scale_of(query: &[f32], squared: f32, length: f32) -> f32 {
    let scale = if tells_length(squared) { squared.sqrt() } else { length_of(query) as f32 } / length;
    if scale.is_normal() { scale } else { 1.0 }
}

/// The size of each of `width` components of a diagonal.
fn share_of(width: usize) -> f32 {
    1.0 / (width as f32).sqrt()
}

/// How far a vector reaches along the diagonal onto which lifted vectors' last axis is reflected.
fn along_diagonal(last: f32, rest: &[f32]) -> f32 {
    let sum = rest.chunks(2).fold(last, |sum, pair| sum + pair[0] - pair.get(1).unwrap_or(&0.0));
    share_of(rest.len() + 1) * sum
}

/// The largest of squared lengths that is held.
fn largest_held(mut squared: Vec<f32>, dim: usize) -> f32 {
    let largest = squared.iter().copied().fold(0.0, f32::max);
    let longer = (squared.len() / TOO_LONG_AMONG).min(TOO_LONG_BYTES / (dim * size_of::<f32>()));
    if longer == 0 || !largest.is_finite() {
        return largest;
    }
    let ordinary = squared.len() - 1 - longer;
    let (_, &mut ordinary, above) = squared.select_nth_unstable_by(ordinary, f32::total_cmp);
    let bound = TOO_LONG * TOO_LONG * ordinary;
    above.iter().copied().filter(|&squared| squared <= bound).fold(ordinary, f32::max)
}

/// Replaces a zero vector by one that is far from all unit vectors, and that none of its components tells from others.
fn put_away(zeros: &mut [f32]) {
    let component = AWAY / (zeros.len() as f32).sqrt();
    for (i, x) in zeros.iter_mut().enumerate() {
        *x = if i % 2 == 0 { component } else { -component };
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
    fn what_is_added_is_spread_and_distances_stay() {
        let data: Vec<f32> = (0..30 * 15).map(|i| (i * i % 31) as f32 - 15.0 + (i / 15) as f32).collect();
        let vectors = Vectors::new(&data, 15);
        let turned = Euclid::of(vectors, Metric::InnerProduct);
        let straight = Euclid { query_length: 0.0, ..turned };
        let lifted = |euclid: Euclid| {
            let mut lifted = Vec::new();
            vectors.iter().for_each(|vector| euclid.lift(vector, &mut lifted));
            lifted
        };
        let (turned, straight) = (lifted(turned), lifted(straight));
        for (a, x) in turned.chunks_exact(16).zip(straight.chunks_exact(16)) {
            for (b, y) in turned.chunks_exact(16).zip(straight.chunks_exact(16)) {
                let (found, expected) = (kernels().l2(a, b), kernels().l2(x, y));
                assert!((found - expected).abs() < 1e-5 * (1.0 + expected), "{found} and {expected}");
            }
        }
        let largest = |rows: &[f32]| rows.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
        assert!(largest(&turned) < 0.8 * largest(&straight), "{} {}", largest(&turned), largest(&straight));
    }

    #[test]
    fn lengths_far_beyond_nearly_all_others_are_not_held() {
        let mut lengths: Vec<f32> = (0..1000).map(|i| 1.0 + (i % 7) as f32).collect();
        assert_eq!(largest_held(lengths.clone(), 8), 7.0);
        (lengths[10], lengths[500]) = (28.0, 28.1);
        assert_eq!(largest_held(lengths.clone(), 8), 28.0);
        assert_eq!(largest_held(lengths[..255].to_vec(), 8), 28.0, "too few to know");
        lengths[600..604].fill(1e9);
        assert_eq!(largest_held(lengths.clone(), 8), 1e9, "too many to be left out");
        assert_eq!(largest_held(lengths.clone(), 1 << 20), 1e9, "too large");
        lengths[500] = f32::INFINITY;
        assert_eq!(largest_held(lengths, 8), f32::INFINITY);
        assert_eq!(largest_held(vec![], 8), 0.0);
        let mut lengths = vec![0.0; 512];
        lengths[17] = 4.0;
        assert_eq!(largest_held(lengths, 8), 0.0);
    }

    #[test]
    fn vectors_that_are_not_held_have_places_where_they_do_no_harm() {
        let data: Vec<f32> = (0..600 * 4).map(|i| if i / 4 == 9 { 1e6 } else { (i * 7 % 11) as f32 }).collect();
        let vectors = Vectors::new(&data, 4);
        let euclid = Euclid::of(vectors, Metric::InnerProduct);
        assert!(!euclid.holds(vectors.row(9)) && euclid.holds(vectors.row(10)));
        let mut lifted = Vec::new();
        euclid.lift(vectors.row(9), &mut lifted);
        assert!((norm_squared(&lifted) - euclid.radius_squared).abs() < 1e-3 * euclid.radius_squared, "{lifted:?}");
        lifted.clear();
        euclid.lift(&[1e20; 4], &mut lifted);
        assert!(lifted.iter().all(|x| x.is_finite()));
        let euclid = Euclid::of(vectors, Metric::Cosine);
        assert!(!euclid.holds(&[0.0, -0.0, 0.0, 0.0]) && euclid.holds(&[0.0, 0.0, 0.0, 1e-40]));
        lifted.clear();
        euclid.lift(&[0.0; 4], &mut lifted);
        for mut vector in [[1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]] {
            normalize(&mut vector);
            assert!(kernels().l2(&lifted, &vector) > 3.99, "{vector:?}");
        }
    }

    #[test]
    fn queries_are_made_as_long_as_the_longest_and_their_products_stay() {
        let vectors = Vectors::new(&[3.0, 4.0, 6.0, 8.0, -1.0, 0.0], 2);
        let euclid = Euclid::of(vectors, Metric::InnerProduct);
        assert_eq!((euclid.radius_squared, euclid.query_length), (100.0, 10.0));
        let (mut query, mut base) = (Vec::new(), Vec::new());
        for [a, b] in [[1e-6, 2e-6], [1e6, -3e6], [5.0, 1.0], [0.0, 0.0], [1e-30, -2e-30], [3e25, 1e25]] {
            let length = euclid.lift_query(&[a, b], &mut query);
            let expected = if a == 0.0 { 0.0 } else { 100.0 };
            assert!((norm_squared(&query) - expected).abs() < 1e-4, "{a} {b}: {query:?}");
            for x in vectors {
                base.clear();
                euclid.lift(x, &mut base);
                let (found, product) = (euclid.distance(kernels().l2(&query, &base), length), a * x[0] + b * x[1]);
                let unit = if a == 0.0 { 1.0 } else { a.abs() + b.abs() };
                assert!((found + product).abs() < 1e-4 * unit, "{a} {b}: {found} and {product}");
            }
        }
    }

    #[test]
    fn a_zero_query_is_at_cosine_distance_1() {
        let euclid = Euclid::of(Vectors::new(&[1.0, 0.0], 2), Metric::Cosine);
        let length = euclid.lift_query(&[0.0, 0.0], &mut Vec::new());
        assert_eq!(euclid.distance(1.0, length), 1.0);
    }
}

//! Distances in `f64`: slower than the kernels, and the ones that decide.
//!
//! Sums run over eight interleaved partial sums in a fixed order, so a distance has the same bits everywhere.

use nearlab_simd::Metric;

const LANES: usize = 8;

fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of {} and {} dimensions were compared", a.len(), b.len());
    let mut sums = [0.0; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..LANES {
            sums[lane] += term(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += term(f64::from(a), f64::from(b));
    }
    sums.iter().sum()
}

/// Inner product.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| a * b)
}

/// Squared Euclidean distance.
pub(crate) fn squared_l2(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

/// Squared Euclidean norm.
pub(crate) fn norm_squared(a: &[f32]) -> f64 {
    dot(a, a)
}

/// What `neighbors`/`distances` files hold for a nearness: the root for L2, else the nearness itself.
pub(crate) fn reported(metric: Metric, near: f64) -> f32 {
    match metric {
        Metric::L2 => near.sqrt() as f32,
        Metric::Cosine | Metric::InnerProduct => near as f32,
    }
}

/// Nearness of a pair: squared Euclidean distance, 1 - cosine (1 where a vector is zero), or negated inner product.
///
/// `norms` are the Euclidean norms of `a` and `b`, which only the cosine looks at.
pub(crate) fn nearness(metric: Metric, a: &[f32], b: &[f32], norms: (f64, f64)) -> f64 {
    match metric {
        Metric::L2 => squared_l2(a, b),
        Metric::InnerProduct => -dot(a, b),
        Metric::Cosine if norms.0 == 0.0 || norms.1 == 0.0 => 1.0,
        Metric::Cosine => 1.0 - dot(a, b) / (norms.0 * norms.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_definitions() {
        let (a, b) = ([3.0f32, 4.0, 0.0], [0.0f32, 4.0, 3.0]);
        assert_eq!((dot(&a, &b), squared_l2(&a, &b), norm_squared(&a)), (16.0, 18.0, 25.0));
        assert_eq!(nearness(Metric::L2, &a, &b, (5.0, 5.0)), 18.0);
        assert_eq!(nearness(Metric::InnerProduct, &a, &b, (5.0, 5.0)), -16.0);
        assert_eq!(nearness(Metric::Cosine, &a, &b, (5.0, 5.0)), 1.0 - 16.0 / 25.0);
        assert_eq!(nearness(Metric::Cosine, &a, &[0.0; 3], (5.0, 0.0)), 1.0);
        assert_eq!((reported(Metric::L2, 18.0), reported(Metric::Cosine, 0.25)), (18f32.sqrt(), 0.25));
    }

    #[test]
    fn every_element_counts_whatever_the_length() {
        for n in 0..20 {
            assert_eq!(dot(&vec![1.0; n], &vec![2.0; n]), 2.0 * n as f64);
        }
    }

    #[test]
    #[should_panic(expected = "vectors of 1 and 2 dimensions were compared")]
    fn dimensions_must_agree() {
        dot(&[1.0], &[1.0, 2.0]);
    }
}

//! Norms and unit vectors.
//!
//! Invariant: both functions add in `f64` in an order fixed here, so they give the same bits on every CPU and every
//! [`Tier`](crate::Tier): data prepared on one machine is the data prepared on another. The square of an `f32` is exact
//! in `f64` and cannot overflow or vanish there. They run once per vector, not once per distance.

/// Partial sums kept apart, so that the compiler can use vector registers without changing the order of additions.
const SUMS: usize = 8;

/// The squared Euclidean norm `Σ v_i²`, correct to the last bit or the one before; `∞` where it exceeds `f32`.
pub fn norm_squared(v: &[f32]) -> f32 {
    sum_of_squares(v) as f32
}

/// Scales `v` to unit Euclidean length; a zero vector stays zero. The elements must be finite: an infinite or NaN
/// element makes NaNs.
pub fn normalize(v: &mut [f32]) {
    let norm = sum_of_squares(v).sqrt();
    if norm == 0.0 {
        return;
    }
    let scale = 1.0 / norm;
    for x in v {
        *x = (f64::from(*x) * scale) as f32;
    }
}

fn sum_of_squares(v: &[f32]) -> f64 {
    let (chunks, rest) = v.as_chunks::<SUMS>();
    let mut sums = [0.0_f64; SUMS];
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(x) * f64::from(x);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_vector_stays_zero() {
        let mut v = [0.0_f32; 19];
        normalize(&mut v);
        assert_eq!(v, [0.0; 19]);
        normalize(&mut []);
    }

    #[test]
    fn the_direction_is_kept_and_the_length_is_one() {
        let mut v = [3.0_f32, 0.0, -4.0];
        assert_eq!(norm_squared(&v), 25.0);
        normalize(&mut v);
        assert_eq!(v, [0.6, 0.0, -0.8]);
    }

    #[test]
    fn lengths_beyond_the_range_of_f32_squares_are_normalised_too() {
        for scale in [f32::MAX, 1e-30, f32::from_bits(1)] {
            let mut v = [scale; 4];
            normalize(&mut v);
            assert_eq!(v, [0.5; 4], "scale {scale:e}");
        }
        assert_eq!(norm_squared(&[f32::MAX, 1.0]), f32::INFINITY);
    }

    #[test]
    fn elements_after_the_last_whole_chunk_count() {
        let v: Vec<f32> = (1..=21_u8).map(f32::from).collect();
        assert_eq!(norm_squared(&v), 3311.0);
    }
}

//! Streams of random numbers, one for each thing that is drawn, and a fast random rotation.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// What a stream is for; two streams of different purpose or number never share a seed.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Train = 1,
    Query = 2,
    Centre = 3,
    Weight = 4,
    Common = 5,
    Subspace = 6,
    Sign = 7,
}

/// Random numbers of one purpose and number.
pub(super) struct Stream(Pcg64);

impl Stream {
    pub(super) fn new(seed: u64, purpose: Purpose, number: usize) -> Self {
        let mut state = split_mix(split_mix(seed) ^ (purpose as u64) << 56 ^ number as u64);
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            state = split_mix(state);
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        Self(Pcg64::from_seed(bytes))
    }

    /// Uniform in [0, 1), 53 bits.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (0.5_f64).powi(53)
    }

    /// Fills `out` with uniform numbers in [0, 1), 24 bits.
    pub(super) fn fill_uniform(&mut self, out: &mut [f32]) {
        for x in out {
            *x = (self.0.next_u64() >> 40) as f32 * (0.5_f32).powi(24);
        }
    }

    /// Two independent standard normal numbers (Box and Muller 1958), 32 bits each: |x| < 6.7.
    fn normal_pair(&mut self) -> (f64, f64) {
        let bits = self.0.next_u64();
        let radius = (-2.0 * (((bits >> 32) + 1) as f64 * (0.5_f64).powi(32)).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * (bits & 0xFFFF_FFFF) as f64 * (0.5_f64).powi(32)).sin_cos();
        (radius * cos, radius * sin)
    }

    /// Fills `out` with standard normal numbers.
    pub(super) fn fill_normal(&mut self, out: &mut [f32]) {
        for pair in out.chunks_mut(2) {
            let (a, b) = self.normal_pair();
            pair[0] = a as f32;
            if let Some(second) = pair.get_mut(1) {
                *second = b as f32;
            }
        }
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): a bijection that mixes every bit into every other.
fn split_mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A random orthogonal map of `d` dimensions in O(d log d): twice random signs, then Walsh-Hadamard transforms of the
/// first and of the last 2^j coordinates, 2^j the largest power of two up to `d` (so that the two overlap or coincide).
pub(super) struct Rotation {
    signs: [Vec<f32>; 2],
    power: usize,
}

impl Rotation {
    pub(super) fn new(seed: u64, d: usize) -> Self {
        let signs = [0, 1].map(|round| {
            let mut stream = Stream::new(seed, Purpose::Sign, round);
            (0..d).map(|_| if stream.uniform() < 0.5 { -1.0 } else { 1.0 }).collect()
        });
        Self { signs, power: 1 << d.ilog2() }
    }

    pub(super) fn apply(&self, row: &mut [f32]) {
        for signs in &self.signs {
            for (x, sign) in row.iter_mut().zip(signs) {
                *x *= sign;
            }
            walsh_hadamard(&mut row[..self.power]);
            if self.power < row.len() {
                let start = row.len() - self.power;
                walsh_hadamard(&mut row[start..]);
            }
        }
    }
}

/// The orthonormal Walsh-Hadamard transform of a power of two of coordinates, in place.
fn walsh_hadamard(row: &mut [f32]) {
    let mut half = 1;
    while half < row.len() {
        for block in row.chunks_exact_mut(2 * half) {
            let (left, right) = block.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = (row.len() as f32).sqrt().recip();
    for x in row {
        *x *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let mut numbers = vec![0.0; 100_001];
        Stream::new(1, Purpose::Train, 0).fill_normal(&mut numbers);
        let moment = |p: i32| numbers.iter().map(|&x| f64::from(x).powi(p)).sum::<f64>() / numbers.len() as f64;
        assert!(moment(1).abs() < 0.02 && (moment(2) - 1.0).abs() < 0.03, "{} {}", moment(1), moment(2));
        assert!(moment(3).abs() < 0.06 && (moment(4) - 3.0).abs() < 0.15, "{} {}", moment(3), moment(4));
    }

    #[test]
    fn streams_of_different_purpose_number_or_seed_differ() {
        let first = |seed, purpose, number| Stream::new(seed, purpose, number).uniform();
        let all = [
            first(0, Purpose::Train, 0),
            first(1, Purpose::Train, 0),
            first(0, Purpose::Query, 0),
            first(0, Purpose::Train, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn a_rotation_keeps_lengths_and_angles_and_spreads_an_axis() {
        for d in [1, 2, 3, 24, 128, 200] {
            let rotation = Rotation::new(3, d);
            let (mut a, mut b) = (vec![0.0; d], vec![0.0; d]);
            a[0] = 1.0;
            Stream::new(1, Purpose::Train, 0).fill_normal(&mut b);
            let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
            let (before, length) = (product(&a, &b), product(&b, &b));
            rotation.apply(&mut a);
            rotation.apply(&mut b);
            assert!((product(&a, &b) - before).abs() < 1e-4 && (product(&b, &b) / length - 1.0).abs() < 1e-5);
            if d >= 24 {
                assert!(a.iter().all(|x| x.abs() < 0.8), "an axis must not stay one");
            }
        }
    }
}

//! A random rotation that takes `d log d` steps: signs at random, a Walsh and Hadamard transform of as many components as the
//! largest power of two, at one end and then the other, and Kac's mixing of the two halves, four times.
//!
//! The transform spreads what stands in one component over all (Ailon and Chazelle 2009); the alternating ends serve lengths
//! that are no power of two without padding to one, as in `RaBitQ`'s library (Gao et al. 2025).

use std::f32::consts::FRAC_1_SQRT_2;

use nearlab_simd::code_kernels;
use nearlab_storage::Buffer;

use crate::random::SplitMix64;

/// Times that everything is mixed.
const ROUNDS: usize = 4;
/// Rotated vectors have a multiple of this many components.
const UNIT: usize = 64;

/// A rotation of vectors that are filled up with zeros.
#[derive(Debug)]
pub(crate) struct Rotation {
    components: usize,
    /// Rounds x width: 0 keeps a sign, 1 changes it.
    pub(crate) signs: Buffer<u8>,
}

impl Rotation {
    /// A rotation of vectors of `components`, drawn by the seed.
    pub(crate) fn new(components: usize, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let signs: Vec<u8> = (0..Self::signs_of(components)).map(|_| u8::from(random.unit() < 0.5)).collect();
        Self::of_signs(components, signs.into())
    }

    /// The rotation of the given signs, of which there are [`signs_of`](Self::signs_of).
    pub(crate) fn of_signs(components: usize, signs: Buffer<u8>) -> Self {
        Self { components, signs }
    }

    /// How many signs rotate vectors of `components`.
    pub(crate) fn signs_of(components: usize) -> usize {
        ROUNDS * components.next_multiple_of(UNIT)
    }

    /// Components of a rotated vector.
    pub(crate) fn width(&self) -> usize {
        self.components.next_multiple_of(UNIT)
    }

    /// Rotates `vector`, which has [`width`](Self::width) components, the last of them zeros.
    pub(crate) fn apply(&self, vector: &mut [f32]) {
        let width = vector.len();
        let block = 1 << width.ilog2();
        let scale = 1.0 / (block as f32).sqrt();
        for (round, signs) in self.signs.chunks_exact(width).enumerate() {
            vector.iter_mut().zip(signs).for_each(|(x, &sign)| *x = if sign == 1 { -*x } else { *x });
            let block = if round % 2 == 0 { &mut vector[..block] } else { &mut vector[width - block..] };
            code_kernels().hadamard(block);
            for x in block.iter_mut() {
                *x *= scale;
            }
            if block.len() < width {
                let (low, high) = vector.split_at_mut(width / 2);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::{kernels, norm_squared};

    use super::*;

    #[test]
    fn distances_stay_and_what_stood_in_one_place_is_spread() {
        for components in [1, 64, 100, 192, 700] {
            let rotation = Rotation::new(components, 5);
            let mut random = SplitMix64::new(2);
            let mut vector = |one: bool| -> Vec<f32> {
                let mut vector: Vec<f32> = (0..components).map(|_| random.unit() as f32 - 0.5).collect();
                if one {
                    vector.fill(0.0);
                    vector[components / 3] = 1.0;
                }
                vector.resize(rotation.width(), 0.0);
                vector
            };
            let (mut a, mut b) = (vector(false), vector(false));
            let before = kernels().l2(&a, &b);
            rotation.apply(&mut a);
            rotation.apply(&mut b);
            assert!((kernels().l2(&a, &b) - before).abs() <= 1e-4 * before, "{components}");
            let mut one = vector(true);
            rotation.apply(&mut one);
            let largest = one.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            assert!((norm_squared(&one) - 1.0).abs() < 1e-4);
            assert!(largest < 6.0 / (rotation.width() as f32).sqrt(), "{components}: {largest}");
        }
    }
}

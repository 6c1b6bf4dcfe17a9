//! Picking from scores: which are near enough, which are nearest, where one belongs.

use crate::CodeKernels;

/// Most scores that [`CodeKernels::within`] looks at.
pub const WITHIN: usize = 64;

impl CodeKernels {
    /// Replaces `keys` by those of the `k` smallest scores, smallest first and ties by place: [`score_and_place`] takes one apart.
    ///
    /// A bound comes first, of which at least `k` scores are within: of the smallest scores of 64 groups at least `k` are. What lies above
    /// it is looked at once more only to be passed over.
    #[inline]
    pub fn smallest(&self, scores: &[i32], k: usize, keys: &mut Vec<u64>) {
        assert!(k > 0, "the smallest of no scores");
        (self.smallest)(scores, k, keys);
    }

    /// Bit `i` is set where score `i`, of at most 64, is not above `bound`; for NaN it is set.
    #[inline]
    pub fn within(&self, scores: &[f32], bound: f32) -> u64 {
        assert!(scores.len() <= WITHIN, "{} scores are more than {WITHIN}", scores.len());
        (self.within)(scores, bound)
    }

    /// Bit `i` is set where product `i`, of at most 64, reaches its floor, `floor.0 - lines.0[i] - lines.1[i] * floor.1`; where
    /// either is NaN it is set.
    #[inline]
    pub fn reaching(&self, products: &[f32], lines: (&[f32], &[f32]), floor: (f32, f32)) -> u64 {
        assert!(
            products.len() <= WITHIN && lines.0.len() == products.len() && lines.1.len() == products.len(),
            "{} products, of at most {WITHIN}, do not meet {} and {} lines",
            products.len(),
            lines.0.len(),
            lines.1.len()
        );
        (self.reaching)(products, lines, floor)
    }

    /// Puts `key` in its place among all `keys` but the last, which ascend, and moves those that are larger up by one, over the
    /// last; the place. Among equal keys it comes first.
    #[inline]
    pub fn insert_key(&self, keys: &mut [u64], key: u64) -> usize {
        assert!(!keys.is_empty(), "there is no room for a key");
        (self.insert_key)(keys, key)
    }
}

/// Orders as (score, place).
#[inline]
pub(crate) fn key(score: i32, place: usize) -> u64 {
    u64::from(score as u32 ^ (1 << 31)) << 32 | place as u64
}

/// The score and the place that a key of [`CodeKernels::smallest`] stands for.
#[inline]
pub fn score_and_place(key: u64) -> (i32, usize) {
    (((key >> 32) as u32 ^ (1 << 31)) as i32, key as u32 as usize)
}

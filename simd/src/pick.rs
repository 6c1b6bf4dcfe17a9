//! Picking from scores: which are near enough, which are nearest, where one belongs.

use crate::CodeKernels;

/// Most scores that [`CodeKernels::within`] looks at.
pub const WITHIN: usize = 64;

/// Groups of which [`CodeKernels::minima`] finds the smallest scores.
pub const MINIMA: usize = 64;

impl CodeKernels {
    /// The smallest score of each of 64 groups, every 64th score being of the same one; a group without scores has the
    /// largest number. The k-th smallest of them is no smaller than the k-th smallest of all scores.
    #[inline]
    pub fn minima(&self, scores: &[i32]) -> [i32; MINIMA] {
        let mut out = [i32::MAX; MINIMA];
        (self.minima)(scores, &mut out);
        out
    }

    /// Appends to `out` the places, counted from `first`, of the scores below `bound`.
    #[inline]
    pub fn below(&self, scores: &[i32], bound: i32, first: u32, out: &mut Vec<u32>) {
        (self.below)(scores, bound, first, out);
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

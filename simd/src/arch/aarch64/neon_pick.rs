//! Picking from scores on NEON: a comparison gives masks, of which each lane keeps its own bit.

#![expect(unsafe_code, reason = "loads through pointers")]

use std::arch::aarch64::{
    uint32x4_t, vaddvq_u32, vandq_u32, vbicq_u32, vcgtq_f32, vcleq_s32, vdupq_n_f32, vdupq_n_s32, vld1q_f32, vld1q_s32,
    vld1q_u32,
};

use crate::arch::portable_pick;
use crate::pick::key;

#[target_feature(enable = "neon")]
pub(super) fn smallest(scores: &[i32], k: usize, keys: &mut Vec<u64>) {
    portable_pick::smallest(scores, k, keys, |bound, keys| {
        let (chunks, rest) = scores.as_chunks::<4>();
        let bounds = vdupq_n_s32(bound);
        for (i, chunk) in chunks.iter().enumerate() {
            // SAFETY: the chunk is 4 readable numbers.
            let held = unsafe { vld1q_s32(chunk.as_ptr()) };
            let mut mask = vaddvq_u32(vandq_u32(bits(), vcleq_s32(held, bounds)));
            while mask != 0 {
                let place = mask.trailing_zeros() as usize;
                keys.push(key(chunk[place], 4 * i + place));
                mask &= mask - 1;
            }
        }
        portable_pick::add_within(rest, bound, 4 * chunks.len(), keys);
    });
}

#[target_feature(enable = "neon")]
pub(super) fn within(scores: &[f32], bound: f32) -> u64 {
    let (chunks, rest) = scores.as_chunks::<4>();
    let bounds = vdupq_n_f32(bound);
    let mut places = 0;
    for (i, chunk) in chunks.iter().enumerate() {
        // SAFETY: the chunk is 4 readable numbers.
        let chunk = unsafe { vld1q_f32(chunk.as_ptr()) };
        places |= u64::from(vaddvq_u32(vbicq_u32(bits(), vcgtq_f32(chunk, bounds)))) << (4 * i);
    }
    if rest.is_empty() {
        return places;
    }
    places | portable_pick::within(rest, bound) << (scores.len() - rest.len())
}

/// Bit `i` in lane `i`.
#[inline]
#[target_feature(enable = "neon")]
fn bits() -> uint32x4_t {
    // SAFETY: 4 readable numbers.
    unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) }
}

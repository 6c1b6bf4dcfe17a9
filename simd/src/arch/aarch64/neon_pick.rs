//! Picking from scores on NEON: a comparison gives masks, of which each lane keeps its own bit.

#![expect(unsafe_code, reason = "loads through pointers")]

use std::arch::aarch64::{
    uint32x4_t, vaddvq_u32, vandq_u32, vbicq_u32, vcgtq_f32, vcltq_s32, vdupq_n_f32, vdupq_n_s32, vld1q_f32, vld1q_s32,
    vld1q_u32,
};

use crate::arch::portable_pick;

#[target_feature(enable = "neon")]
pub(super) fn below(scores: &[i32], bound: i32, first: u32, out: &mut Vec<u32>) {
    let (chunks, rest) = scores.as_chunks::<4>();
    let bounds = vdupq_n_s32(bound);
    for (i, chunk) in chunks.iter().enumerate() {
        // SAFETY: the chunk is 4 readable numbers.
        let chunk = unsafe { vld1q_s32(chunk.as_ptr()) };
        let mut mask = vaddvq_u32(vandq_u32(bits(), vcltq_s32(chunk, bounds)));
        while mask != 0 {
            out.push(first + 4 * i as u32 + mask.trailing_zeros());
            mask &= mask - 1;
        }
    }
    let first = first + 4 * chunks.len() as u32;
    out.extend((first..).zip(rest).filter(|&(_, &score)| score < bound).map(|(place, _)| place));
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

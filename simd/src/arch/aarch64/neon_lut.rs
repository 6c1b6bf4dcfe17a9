//! Sums of numbers looked up in registers on NEON, for rows whose codes stand side by side: a register has a byte of each of sixteen.

#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::aarch64::{
    uint8x16_t, uint16x8_t, vaddq_u8, vaddw_high_u8, vaddw_u8, vandq_u8, vcvtq_f32_u32, vdupq_n_u8, vdupq_n_u16,
    vget_low_u8, vget_low_u16, vld1q_u8, vmovl_high_u16, vmovl_u16, vqtbl1q_u8, vshrq_n_u8, vst1q_f32,
};

use crate::arch::prefetch::prefetch;
use crate::codes::{LINE_BYTES, LUT4_BLOCK, LUT4_LINE, LUT4_LINE_TABLE};

/// See [`CodeKernels::lut4_blocks`](crate::CodeKernels::lut4_blocks).
#[target_feature(enable = "neon")]
pub(super) fn lut4_blocks(table: &[u8], blocks: &[u8], ahead: &[u8], out: &mut [f32]) {
    prefetch(ahead.as_ptr(), ahead.len());
    let tables = table.as_chunks::<LUT4_LINE_TABLE>().0;
    let blocks = blocks.as_chunks::<LINE_BYTES>().0.chunks_exact(tables.len());
    for (out, lines) in out.as_chunks_mut::<LUT4_BLOCK>().0.iter_mut().zip(blocks) {
        let mut sums = [vdupq_n_u16(0); 2];
        for (table, line) in tables.iter().zip(lines) {
            let (low, high) = table.as_chunks::<16>().0.split_at(LUT4_LINE / 2);
            for ((low, high), codes) in low.iter().zip(high).zip(line.as_chunks::<LUT4_BLOCK>().0) {
                let codes = load(codes);
                let of_low = vqtbl1q_u8(load(low), vandq_u8(codes, vdupq_n_u8(15)));
                let of_high = vqtbl1q_u8(load(high), vshrq_n_u8::<4>(codes));
                // Two numbers of 7 bits fit a byte.
                let found = vaddq_u8(of_low, of_high);
                sums = [vaddw_u8(sums[0], vget_low_u8(found)), vaddw_high_u8(sums[1], found)];
            }
        }
        let (first, second) = out.split_at_mut(LUT4_BLOCK / 2);
        store(sums[0], first);
        store(sums[1], second);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: 16 readable bytes.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// Writes eight numbers.
#[inline]
#[target_feature(enable = "neon")]
fn store(numbers: uint16x8_t, out: &mut [f32]) {
    let quarters = [vmovl_u16(vget_low_u16(numbers)), vmovl_high_u16(numbers)];
    for (quarter, out) in quarters.into_iter().zip(out.as_chunks_mut::<4>().0) {
        // SAFETY: 4 writable numbers.
        unsafe { vst1q_f32(out.as_mut_ptr(), vcvtq_f32_u32(quarter)) };
    }
}

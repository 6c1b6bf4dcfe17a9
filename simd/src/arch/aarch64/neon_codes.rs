//! Codes on NEON: 16 levels, or 4 numbers, in a register. Two tables of one tier, with dot products and without; both give
//! the same bits. What is missing here is plain Rust, which the compiler turns into NEON: every aarch64 target has it.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]
#![expect(clippy::unused_self, reason = "`self` is that proof")]

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, uint16x8_t, vaddq_f32, vaddq_s32, vaddq_u8, vaddvq_f32, vaddvq_s32,
    vandq_u8, vcntq_u8, vcvt_f32_f16, vcvt_high_f32_f16, vcvtq_f32_s32, vcvtq_f32_u32, vdupq_n_f32, vdupq_n_s8,
    vdupq_n_s32, vdupq_n_u8, veorq_u8, vfmaq_f32, vget_low_f16, vget_low_u8, vget_low_u16, vld1q_f32, vld1q_s8,
    vld1q_u8, vld1q_u16, vmovl_high_u8, vmovl_high_u16, vmovl_u8, vmovl_u16, vpaddq_s32, vreinterpretq_f16_u16,
    vreinterpretq_f32_u32, vreinterpretq_s8_u8, vshll_high_n_u16, vshll_n_u16, vshlq_n_s32, vshlq_n_u8, vshrq_n_u8,
    vst1q_f32, vsubq_f32, vsubq_s8,
};
use std::arch::is_aarch64_feature_detected;
use std::mem::transmute;

use super::dot::{Dot, Dotprod, Widening};
use super::neon::Neon;
use super::{neon_lut, neon_pick, neon_tiles};
use crate::arch::PORTABLE_CODES;
use crate::arch::lines::{Bf16, CodeIsa, Dot1, Dot4, Dot8, F16, U4, U7, U8, by_id};
use crate::arch::products::ProductTile;
use crate::codes::{Blocks, ById, CodeKernels, Products, Sieve, Smallest, Tile, Within};
use crate::kernels::Tier;

/// The table, where the CPU can run it: the only way to it. With dot products where it has them.
pub(super) fn detect() -> Option<&'static CodeKernels> {
    let table = if is_aarch64_feature_detected!("dotprod") { &with_dotprod::CODES } else { &with_widening::CODES };
    is_aarch64_feature_detected!("neon").then_some(table)
}

/// The kernels and their table, compiled for some features, of which `$proof` is the proof.
macro_rules! table {
    ($name:ident, $features:literal, $proof:ident) => {
        mod $name {
            use super::{
                Bf16, Blocks, ById, CodeKernels, Dot1, Dot4, Dot8, F16, Lines, PORTABLE_CODES, Products, Sieve,
                Smallest, Tier, Tile, U4, U7, U8, UnprovenBlocks, UnprovenById, UnprovenProducts, UnprovenSieve,
                UnprovenSmallest, UnprovenTile, UnprovenWithin, Within, by_id, neon_lut, neon_pick, neon_tiles, sieve,
                transmute, $proof,
            };

            pub(super) static CODES: CodeKernels = CodeKernels {
                tier: Tier::Neon,
                // SAFETY: `unsafe fn` and `fn` pointers have one representation and one ABI; `detect` hands out the table
                // only where the CPU has the features of these functions.
                u4: unsafe { transmute::<UnprovenById<i8, u8>, ById<i8, u8>>(u4) },
                // SAFETY: as above.
                u7: unsafe { transmute::<UnprovenById<u8, u8>, ById<u8, u8>>(u7) },
                // SAFETY: as above.
                u8: unsafe { transmute::<UnprovenById<f32, u8>, ById<f32, u8>>(u8) },
                // SAFETY: as above.
                f16: unsafe { transmute::<UnprovenById<f32, u16>, ById<f32, u16>>(f16) },
                // SAFETY: as above.
                bf16: unsafe { transmute::<UnprovenById<f32, u16>, ById<f32, u16>>(bf16) },
                // SAFETY: as above.
                dot1: unsafe { transmute::<UnprovenById<u8, u8>, ById<u8, u8>>(dot1) },
                // SAFETY: as above.
                dot4: unsafe { transmute::<UnprovenById<i8, u8>, ById<i8, u8>>(dot4) },
                // SAFETY: as above.
                dot8: unsafe { transmute::<UnprovenById<i8, u8>, ById<i8, u8>>(dot8) },
                // SAFETY: as above.
                lut4_blocks: unsafe { transmute::<UnprovenBlocks, Blocks>(neon_lut::lut4_blocks) },
                // SAFETY: as above.
                u8i8_products: unsafe { transmute::<UnprovenProducts, Products>(u8i8_products) },
                // SAFETY: as above.
                u7_tile: unsafe { transmute::<UnprovenTile, Tile>(u7_tile) },
                // SAFETY: as above.
                smallest: unsafe { transmute::<UnprovenSmallest, Smallest>(neon_pick::smallest) },
                // SAFETY: as above.
                within: unsafe { transmute::<UnprovenWithin, Within>(neon_pick::within) },
                // SAFETY: as above.
                products: unsafe { transmute::<UnprovenSieve, Sieve>(sieve) },
                ..PORTABLE_CODES
            };

            #[target_feature(enable = $features)]
            fn u4(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
                by_id(U4(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn u7(query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
                by_id(U7(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn u8(query: &[f32], codes: &[u8], ids: &[u32], out: &mut [f32]) {
                by_id(U8(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn f16(query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
                by_id(F16(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn bf16(query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
                by_id(Bf16(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn dot1(query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
                by_id(Dot1(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn dot4(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
                by_id(Dot4(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn dot8(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
                by_id(Dot8(Lines($proof::new())), query, codes, ids, out);
            }

            #[target_feature(enable = $features)]
            fn u8i8_products(vectors: &[u8], rows: &[i8], width: usize, out: &mut [i32]) {
                neon_tiles::u8i8_products(Lines($proof::new()), vectors, rows, width, out);
            }

            #[target_feature(enable = $features)]
            fn u7_tile(rows: &[u8], columns: &[u8], norms: &[i32], out: &mut [i32]) {
                neon_tiles::u7_tile(Lines($proof::new()), rows, columns, norms, out);
            }
        }
    };
}

table!(with_widening, "neon", Widening);
table!(with_dotprod, "neon,dotprod", Dotprod);

type UnprovenTile = unsafe fn(&[u8], &[u8], &[i32], &mut [i32]);
type UnprovenSmallest = unsafe fn(&[i32], usize, &mut Vec<u64>);
type UnprovenWithin = unsafe fn(&[f32], f32) -> u64;
type UnprovenBlocks = unsafe fn(&[u8], &[u8], &[u8], &mut [f32]);
type UnprovenSieve = unsafe fn(&[f32], &[f32], usize, &mut [f32]);
type UnprovenProducts = unsafe fn(&[u8], &[i8], usize, &mut [i32]);
type UnprovenById<Q, C> = unsafe fn(&[Q], &[C], &[u32], &mut [f32]);

/// 6 rows by 16 columns at a time: their sums, four registers of columns and one of a row.
#[target_feature(enable = "neon")]
fn sieve(columns: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
    ProductTile::new(columns, rows, d, out).products::<_, 4, 4, 6>(Neon::new(), 0);
}

/// Lines of codes, with one way to multiply bytes.
#[derive(Clone, Copy)]
pub(super) struct Lines<D>(D);

impl<D: Dot> Lines<D> {
    #[inline(always)]
    pub(super) fn dot(self, sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        self.0.dot(sum, a, b)
    }

    #[inline(always)]
    pub(super) fn load(self, levels: &[u8; 16]) -> uint8x16_t {
        // SAFETY: `self` proves NEON; the chunk is 16 readable bytes.
        unsafe { vld1q_u8(levels.as_ptr()) }
    }

    #[inline(always)]
    pub(super) fn load_signed(self, numbers: &[i8; 16]) -> int8x16_t {
        // SAFETY: `self` proves NEON; the chunk is 16 readable bytes.
        unsafe { vld1q_s8(numbers.as_ptr()) }
    }

    /// Levels 0..=127 as numbers with a sign.
    #[inline(always)]
    pub(super) fn signed(self, levels: uint8x16_t) -> int8x16_t {
        // SAFETY: `self` proves NEON.
        unsafe { vreinterpretq_s8_u8(levels) }
    }

    /// Levels 0..=255 less 128.
    #[inline(always)]
    pub(super) fn centred(self, levels: uint8x16_t) -> int8x16_t {
        // SAFETY: `self` proves NEON.
        unsafe { vreinterpretq_s8_u8(veorq_u8(levels, vdupq_n_u8(128))) }
    }

    /// `sum` plus the numbers, four to a lane.
    #[inline(always)]
    pub(super) fn add(self, sum: int32x4_t, numbers: int8x16_t) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        let ones = unsafe { vdupq_n_s8(1) };
        self.dot(sum, numbers, ones)
    }

    /// The sum of the lanes of both.
    #[inline(always)]
    pub(super) fn total(self, [a, b]: [int32x4_t; 2]) -> i32 {
        // SAFETY: `self` proves NEON.
        unsafe { vaddvq_s32(vaddq_s32(a, b)) }
    }

    /// `sum` plus the squares of the differences, which fit 7 bits and a sign.
    #[inline(always)]
    fn add_squares(self, sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        let difference = unsafe { vsubq_s8(a, b) };
        self.dot(sum, difference, difference)
    }

    /// `sum` plus the squares of the differences.
    #[inline(always)]
    fn add_number_squares(self, sum: float32x4_t, numbers: float32x4_t, query: &[f32; 4]) -> float32x4_t {
        // SAFETY: `self` proves NEON; the chunk is 4 readable floats.
        unsafe {
            let difference = vsubq_f32(numbers, vld1q_f32(query.as_ptr()));
            vfmaq_f32(sum, difference, difference)
        }
    }

    /// `sum` plus the squares of the differences of numbers in 16 bits, eight of which `widen` makes two registers of `f32`.
    #[inline(always)]
    fn add_half_squares(
        self,
        mut sum: [float32x4_t; 4],
        query: &[f32; 32],
        codes: &[u16; 32],
        widen: impl Fn(uint16x8_t) -> [float32x4_t; 2],
    ) -> [float32x4_t; 4] {
        let ((query, _), (codes, _)) = (query.as_chunks::<4>(), codes.as_chunks::<8>());
        for i in 0..4 {
            // SAFETY: `self` proves NEON; the chunk is 16 readable bytes.
            let [low, high] = widen(unsafe { vld1q_u16(codes[i].as_ptr()) });
            let turn = i % 2 * 2;
            sum[turn] = self.add_number_squares(sum[turn], low, &query[2 * i]);
            sum[turn + 1] = self.add_number_squares(sum[turn + 1], high, &query[2 * i + 1]);
        }
        sum
    }
}

/// Two sums of integers, which take turns: with four rows at a time enough to hide the latency of a dot product.
impl<D: Dot> CodeIsa for Lines<D> {
    type Integers = [int32x4_t; 2];
    type Numbers = [float32x4_t; 4];

    #[inline(always)]
    fn no_integers(self) -> [int32x4_t; 2] {
        // SAFETY: `self` proves NEON.
        [unsafe { vdupq_n_s32(0) }; 2]
    }

    #[inline(always)]
    fn no_numbers(self) -> [float32x4_t; 4] {
        // SAFETY: `self` proves NEON.
        [unsafe { vdupq_n_f32(0.0) }; 4]
    }

    /// Eight times the levels, straight from where the nibbles stand: the low ones moved up by 3 bits, of which the upper
    /// nibble falls to the mask, the high ones down by 1.
    #[inline(always)]
    fn add_u4(self, [mut a, mut b]: [int32x4_t; 2], query: &[i8; 128], codes: &[u8; 64]) -> [int32x4_t; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..4 {
            let codes = self.load(&codes[i]);
            // SAFETY: `self` proves NEON.
            let (low, high) = unsafe {
                let mask = vdupq_n_u8(15 << 3);
                (vandq_u8(vshlq_n_u8::<3>(codes), mask), vandq_u8(vshrq_n_u8::<1>(codes), mask))
            };
            a = self.add_squares(a, self.signed(low), self.load_signed(&query[i]));
            b = self.add_squares(b, self.signed(high), self.load_signed(&query[i + 4]));
        }
        [a, b]
    }

    #[inline(always)]
    fn add_u7(self, mut sum: [int32x4_t; 2], query: &[u8; 64], codes: &[u8; 64]) -> [int32x4_t; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..4 {
            let (codes, query) = (self.signed(self.load(&codes[i])), self.signed(self.load(&query[i])));
            sum[i % 2] = self.add_squares(sum[i % 2], codes, query);
        }
        sum
    }

    #[inline(always)]
    fn add_u8(self, mut sum: [float32x4_t; 4], query: &[f32; 64], codes: &[u8; 64]) -> [float32x4_t; 4] {
        let (query, _) = query.as_chunks::<4>().0.as_chunks::<4>();
        for (query, codes) in query.iter().zip(codes.as_chunks::<16>().0) {
            let codes = self.load(codes);
            // SAFETY: `self` proves NEON.
            let levels = unsafe {
                let (low, high) = (vmovl_u8(vget_low_u8(codes)), vmovl_high_u8(codes));
                [
                    vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                    vcvtq_f32_u32(vmovl_high_u16(low)),
                    vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                    vcvtq_f32_u32(vmovl_high_u16(high)),
                ]
            };
            for i in 0..4 {
                sum[i] = self.add_number_squares(sum[i], levels[i], &query[i]);
            }
        }
        sum
    }

    #[inline(always)]
    fn add_f16(self, sum: [float32x4_t; 4], query: &[f32; 32], codes: &[u16; 32]) -> [float32x4_t; 4] {
        self.add_half_squares(sum, query, codes, |halves| {
            // SAFETY: `self` proves NEON.
            unsafe {
                let halves = vreinterpretq_f16_u16(halves);
                [vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)]
            }
        })
    }

    /// A bfloat16 is the upper half of an `f32`.
    #[inline(always)]
    fn add_bf16(self, sum: [float32x4_t; 4], query: &[f32; 32], codes: &[u16; 32]) -> [float32x4_t; 4] {
        self.add_half_squares(sum, query, codes, |halves| {
            // SAFETY: `self` proves NEON.
            unsafe {
                let [low, high] = [vshll_n_u16::<16>(vget_low_u16(halves)), vshll_high_n_u16::<16>(halves)];
                [vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high)]
            }
        })
    }

    /// Of 8 bits in 4 planes at most 120 are counted.
    #[inline(always)]
    fn add_dot1(self, mut sum: [int32x4_t; 2], query: &[u8; 256], codes: &[u8; 64]) -> [int32x4_t; 2] {
        let ((planes, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..4 {
            let codes = self.load(&codes[i]);
            // SAFETY: `self` proves NEON.
            let counted = unsafe {
                let mut counted = vdupq_n_u8(0);
                for plane in (0..4).rev() {
                    let shared = vcntq_u8(vandq_u8(codes, self.load(&planes[4 * plane + i])));
                    counted = vaddq_u8(vaddq_u8(counted, counted), shared);
                }
                counted
            };
            sum[i % 2] = self.add(sum[i % 2], self.signed(counted));
        }
        sum
    }

    #[inline(always)]
    fn add_dot4(self, [mut a, mut b]: [int32x4_t; 2], query: &[i8; 128], codes: &[u8; 64]) -> [int32x4_t; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..4 {
            let codes = self.load(&codes[i]);
            // SAFETY: `self` proves NEON.
            let (low, high) = unsafe { (vandq_u8(codes, vdupq_n_u8(15)), vshrq_n_u8::<4>(codes)) };
            a = self.dot(a, self.signed(low), self.load_signed(&query[i]));
            b = self.dot(b, self.signed(high), self.load_signed(&query[i + 4]));
        }
        [a, b]
    }

    /// Levels without a sign do not fit the products: 128 less of each, and the query's sum 128 times instead, which the rows
    /// scored together share.
    #[inline(always)]
    fn add_dot8(self, mut sum: [int32x4_t; 2], query: &[i8; 64], codes: &[u8; 64]) -> [int32x4_t; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        let mut queries = self.no_integers();
        for i in 0..4 {
            let query = self.load_signed(&query[i]);
            queries[i % 2] = self.add(queries[i % 2], query);
            sum[i % 2] = self.dot(sum[i % 2], self.centred(self.load(&codes[i])), query);
        }
        // SAFETY: `self` proves NEON.
        let queries = unsafe { vshlq_n_s32::<7>(vaddq_s32(queries[0], queries[1])) };
        // SAFETY: `self` proves NEON.
        [unsafe { vaddq_s32(sum[0], queries) }, sum[1]]
    }

    #[inline(always)]
    fn sum_integers(self, sum: [int32x4_t; 2]) -> f32 {
        self.total(sum) as f32
    }

    #[inline(always)]
    fn sum_integers_of_rows(self, sums: [[int32x4_t; 2]; 4]) -> [f32; 4] {
        let mut scores = [0.0; 4];
        // SAFETY: `self` proves NEON; `scores` is four writable floats.
        unsafe {
            let [[a, e], [b, f], [c, g], [d, h]] = sums;
            let (ab, cd) = (vpaddq_s32(vaddq_s32(a, e), vaddq_s32(b, f)), vpaddq_s32(vaddq_s32(c, g), vaddq_s32(d, h)));
            let sums = vpaddq_s32(ab, cd);
            vst1q_f32(scores.as_mut_ptr(), vcvtq_f32_s32(sums));
        }
        scores
    }

    #[inline(always)]
    fn sum_numbers(self, [a, b, c, d]: [float32x4_t; 4]) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe { vaddvq_f32(vaddq_f32(vaddq_f32(a, b), vaddq_f32(c, d))) }
    }
}

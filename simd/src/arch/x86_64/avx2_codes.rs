//! Codes on AVX2, FMA and F16C: 32 levels, or 8 numbers, in a register.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]
#![expect(clippy::unused_self, reason = "`self` is that proof")]

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtepi32_ps, _mm_cvtsi128_si32, _mm_cvtss_f32,
    _mm_hadd_epi32, _mm_loadl_epi64, _mm_loadu_si128, _mm_movehdup_ps, _mm_movehl_ps, _mm_storeu_ps, _mm256_abs_epi8,
    _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_castps256_ps128, _mm256_castsi256_si128,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_extracti128_si256,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_sub_epi8,
    _mm256_sub_ps,
};
use std::mem::transmute;

use super::avx2_tiles::{below, minima, u7_tile, u8i8_products};
use crate::arch::lines::{CodeIsa, F16, U4, U7, U8, by_id};
use crate::codes::{Below, ById, CodeKernels, MINIMA, Minima, Products, Tile};
use crate::kernels::Tier;

static CODES: CodeKernels = CodeKernels {
    tier: Tier::Avx2,
    // SAFETY: `unsafe fn` and `fn` pointers have one representation and one ABI; the table is private and `detect` hands
    // it out only where the CPU has the features of these functions.
    u4: unsafe { transmute::<UnprovenById<i8, u8>, ById<i8, u8>>(u4) },
    // SAFETY: as above.
    u7: unsafe { transmute::<UnprovenById<u8, u8>, ById<u8, u8>>(u7) },
    // SAFETY: as above.
    u8: unsafe { transmute::<UnprovenById<f32, u8>, ById<f32, u8>>(u8) },
    // SAFETY: as above.
    f16: unsafe { transmute::<UnprovenById<f32, u16>, ById<f32, u16>>(f16) },
    // SAFETY: as above.
    u8i8_products: unsafe { transmute::<UnprovenProducts, Products>(u8i8_products) },
    // SAFETY: as above.
    u7_tile: unsafe { transmute::<UnprovenTile, Tile>(u7_tile) },
    // SAFETY: as above.
    below: unsafe { transmute::<UnprovenBelow, Below>(below) },
    // SAFETY: as above.
    minima: unsafe { transmute::<UnprovenMinima, Minima>(minima) },
};

type UnprovenTile = unsafe fn(&[u8], &[u8], &[i32], &mut [i32]);
type UnprovenBelow = unsafe fn(&[i32], i32, u32, &mut Vec<u32>);
type UnprovenMinima = unsafe fn(&[i32], &mut [i32; MINIMA]);
type UnprovenProducts = unsafe fn(&[u8], &[i8], usize, &mut [i32]);
type UnprovenById<Q, C> = unsafe fn(&[Q], &[C], &[u32], &mut [f32]);

/// The table, where the CPU can run it: the only way to it.
pub(super) fn detect() -> Option<&'static CodeKernels> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"))
        .then_some(&CODES)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn u4(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(U4(Avx2::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn u7(query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(U7(Avx2::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn u8(query: &[f32], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(U8(Avx2::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn f16(query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
    by_id(F16(Avx2::new()), query, codes, ids, out);
}

/// Proof that the running CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Safe to call only from functions compiled for the same features, which the compiler checks.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) const fn new() -> Self {
        Self(())
    }

    /// `sum` plus, in each group of four bytes, the squares of the differences, all of which fit 7 bits and a sign: two
    /// squares then fit 15 bits.
    #[inline(always)]
    fn add_squares(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let difference = _mm256_abs_epi8(_mm256_sub_epi8(a, b));
            let pairs = _mm256_maddubs_epi16(difference, difference);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    pub(super) fn load<T>(self, half_line: &[T; 32]) -> __m256i {
        const { assert!(size_of::<T>() == 1) }
        // SAFETY: `self` proves AVX; the half line is 32 readable bytes, and the load asks for no alignment.
        unsafe { _mm256_loadu_si256(half_line.as_ptr().cast()) }
    }

    /// The sums of the lanes in four lanes.
    #[inline(always)]
    pub(super) fn fold(self, v: __m256i) -> __m128i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v)) }
    }

    /// `sum` plus the squares of the differences.
    #[inline(always)]
    fn add_number_squares(self, sum: __m256, numbers: __m256, query: &[f32; 8]) -> __m256 {
        // SAFETY: `self` proves AVX and FMA; the chunk is 8 readable floats.
        unsafe {
            let difference = _mm256_sub_ps(numbers, _mm256_loadu_ps(query.as_ptr()));
            _mm256_fmadd_ps(difference, difference, sum)
        }
    }
}

impl CodeIsa for Avx2 {
    type Integers = __m256i;
    type Numbers = [__m256; 2];

    #[inline(always)]
    fn no_integers(self) -> __m256i {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn no_numbers(self) -> [__m256; 2] {
        // SAFETY: `self` proves AVX.
        [unsafe { _mm256_setzero_ps() }; 2]
    }

    /// Eight times the levels, straight from where the nibbles stand: the low ones moved up by 3 bits, the high ones down
    /// by 1, and what came over from the neighbouring byte masked out.
    #[inline(always)]
    fn add_u4(self, mut sum: __m256i, query: &[i8; 128], codes: &[u8; 64]) -> __m256i {
        let ((query, _), (codes, _)) = (query.as_chunks::<32>(), codes.as_chunks::<32>());
        for half in 0..2 {
            let codes = self.load(&codes[half]);
            // SAFETY: `self` proves AVX2.
            let (low, high) = unsafe {
                let mask = _mm256_set1_epi8(15 << 3);
                (
                    _mm256_and_si256(_mm256_slli_epi16::<3>(codes), mask),
                    _mm256_and_si256(_mm256_srli_epi16::<1>(codes), mask),
                )
            };
            sum = self.add_squares(sum, low, self.load(&query[half]));
            sum = self.add_squares(sum, high, self.load(&query[half + 2]));
        }
        sum
    }

    #[inline(always)]
    fn add_u7(self, mut sum: __m256i, query: &[u8; 64], codes: &[u8; 64]) -> __m256i {
        let ((query, _), (codes, _)) = (query.as_chunks::<32>(), codes.as_chunks::<32>());
        for half in 0..2 {
            sum = self.add_squares(sum, self.load(&codes[half]), self.load(&query[half]));
        }
        sum
    }

    #[inline(always)]
    fn add_u8(self, mut sum: [__m256; 2], query: &[f32; 64], codes: &[u8; 64]) -> [__m256; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<8>(), codes.as_chunks::<8>());
        for i in 0..8 {
            // SAFETY: `self` proves AVX2; the chunk is 8 readable bytes.
            let levels = unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(codes[i].as_ptr().cast()))) };
            sum[i % 2] = self.add_number_squares(sum[i % 2], levels, &query[i]);
        }
        sum
    }

    #[inline(always)]
    fn add_f16(self, mut sum: [__m256; 2], query: &[f32; 32], codes: &[u16; 32]) -> [__m256; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<8>(), codes.as_chunks::<8>());
        for i in 0..4 {
            // SAFETY: `self` proves F16C; the chunk is 16 readable bytes.
            let numbers = unsafe { _mm256_cvtph_ps(_mm_loadu_si128(codes[i].as_ptr().cast())) };
            sum[i % 2] = self.add_number_squares(sum[i % 2], numbers, &query[i]);
        }
        sum
    }

    #[inline(always)]
    fn sum_integers(self, sum: __m256i) -> f32 {
        // SAFETY: `self` proves AVX2, and SSSE3 with it.
        unsafe {
            let sum = self.fold(sum);
            let sum = _mm_hadd_epi32(sum, sum);
            _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum)) as f32
        }
    }

    #[inline(always)]
    fn sum_integers_of_rows(self, [a, b, c, d]: [__m256i; 4]) -> [f32; 4] {
        let mut scores = [0.0; 4];
        // SAFETY: `self` proves AVX2, and SSSE3 with it; `scores` is four writable floats.
        unsafe {
            let ab = _mm_hadd_epi32(self.fold(a), self.fold(b));
            let cd = _mm_hadd_epi32(self.fold(c), self.fold(d));
            _mm_storeu_ps(scores.as_mut_ptr(), _mm_cvtepi32_ps(_mm_hadd_epi32(ab, cd)));
        }
        scores
    }

    #[inline(always)]
    fn sum_numbers(self, [a, b]: [__m256; 2]) -> f32 {
        // SAFETY: `self` proves AVX, and SSE3 with it.
        unsafe {
            let sum = _mm256_add_ps(a, b);
            let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
            let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
            _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)))
        }
    }
}

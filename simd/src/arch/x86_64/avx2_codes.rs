//! Codes on AVX2, FMA and F16C: 32 levels, or 8 numbers, in a register.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]
#![expect(clippy::unused_self, reason = "`self` is that proof")]

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtepi32_ps, _mm_cvtsi128_si32, _mm_cvtss_f32,
    _mm_hadd_epi32, _mm_loadl_epi64, _mm_loadu_si128, _mm_movehdup_ps, _mm_movehl_ps, _mm_setr_epi8, _mm_storeu_ps,
    _mm256_abs_epi8, _mm256_add_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtepu8_epi32, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_slli_epi32,
    _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_epi8, _mm256_sub_ps,
};
use std::mem::transmute;

use super::avx2_levels::levels;
use super::avx2_pick::{insert_key, reaching, smallest, within};
use super::avx2_planes::planes;
use super::avx2_tiles::{u7_tile, u8i8_products};
use crate::arch::lines::{Bf16, CodeIsa, Dot1, Dot4, Dot8, F16, U4, U7, U8, by_id};
use crate::arch::products::ProductTile;
use crate::codes::{
    Blocks, ById, CentroidDistances, CodeKernels, Hadamard, InsertKey, PlaneRows, PlanesById, Products, Reaching,
    Sieve, Smallest, Tile, Within,
};
use crate::kernels::Tier;
use crate::levels::Levels;

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
    bf16: unsafe { transmute::<UnprovenById<f32, u16>, ById<f32, u16>>(bf16) },
    // SAFETY: as above.
    dot1: unsafe { transmute::<UnprovenById<u8, u8>, ById<u8, u8>>(dot1) },
    // SAFETY: as above.
    dot4: unsafe { transmute::<UnprovenById<i8, u8>, ById<i8, u8>>(dot4) },
    // SAFETY: as above.
    dot8: unsafe { transmute::<UnprovenById<i8, u8>, ById<i8, u8>>(dot8) },
    // SAFETY: as above.
    planes: unsafe { transmute::<UnprovenPlanesById, PlanesById>(planes) },
    // SAFETY: as above.
    lut4: unsafe { transmute::<UnprovenById<u8, u8>, ById<u8, u8>>(lut4) },
    // SAFETY: as above.
    lut4_blocks: unsafe { transmute::<UnprovenBlocks, Blocks>(lut4_blocks) },
    // SAFETY: as above.
    centroid_distances: unsafe { transmute::<UnprovenDistances, CentroidDistances>(centroid_distances) },
    // SAFETY: as above.
    u8i8_products: unsafe { transmute::<UnprovenProducts, Products>(u8i8_products) },
    // SAFETY: as above.
    u7_tile: unsafe { transmute::<UnprovenTile, Tile>(u7_tile) },
    // SAFETY: as above.
    smallest: unsafe { transmute::<UnprovenSmallest, Smallest>(smallest) },
    // SAFETY: as above.
    within: unsafe { transmute::<UnprovenWithin, Within>(within) },
    // SAFETY: as above.
    insert_key: unsafe { transmute::<UnprovenInsertKey, InsertKey>(insert_key) },
    // SAFETY: as above.
    hadamard: unsafe { transmute::<UnprovenHadamard, Hadamard>(hadamard) },
    // SAFETY: as above.
    products: unsafe { transmute::<UnprovenSieve, Sieve>(products) },
    // SAFETY: as above.
    reaching: unsafe { transmute::<UnprovenReaching, Reaching>(reaching) },
    // SAFETY: as above.
    levels: unsafe { transmute::<UnprovenLevels, Levels>(levels) },
};

type UnprovenTile = unsafe fn(&[u8], &[u8], &[i32], &mut [i32]);
type UnprovenSmallest = unsafe fn(&[i32], usize, &mut Vec<u64>);
type UnprovenWithin = unsafe fn(&[f32], f32) -> u64;
type UnprovenInsertKey = unsafe fn(&mut [u64], u64) -> usize;
type UnprovenHadamard = unsafe fn(&mut [f32]);
type UnprovenLevels = unsafe fn(&[f32], &[f32], f32, f32, &mut [u8]);
type UnprovenReaching = unsafe fn(&[f32], (&[f32], &[f32]), (f32, f32)) -> u64;
type UnprovenSieve = unsafe fn(&[f32], &[f32], usize, &mut [f32]);
type UnprovenPlanesById = unsafe fn(&[i8], PlaneRows<'_>, &[u32], &mut [f32]);
type UnprovenBlocks = unsafe fn(&[u8], &[u8], &[u8], &mut [f32]);
type UnprovenDistances = unsafe fn(&[f32], &[f32], usize, &mut [f32]);
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

#[target_feature(enable = "avx2,fma,f16c")]
fn bf16(query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
    by_id(Bf16(Avx2::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot1(query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(Dot1(Avx2::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot4(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(Dot4(Avx2::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot8(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(Dot8(Avx2::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn lut4(table: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    super::avx2_lut::lut4(Avx2::new(), table, codes, ids, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn lut4_blocks(table: &[u8], blocks: &[u8], ahead: &[u8], out: &mut [f32]) {
    super::avx2_lut::lut4_blocks(Avx2::new(), table, blocks, ahead, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn centroid_distances(vector: &[f32], centroids: &[f32], sub_dim: usize, out: &mut [f32]) {
    crate::arch::lut::centroid_distances(vector, centroids, sub_dim, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn hadamard(vector: &mut [f32]) {
    crate::arch::hadamard::hadamard(vector);
}

/// 4 x 3 pairs at a time: their sums, a register of each row and one of a query.
#[target_feature(enable = "avx2,fma,f16c")]
fn products(columns: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
    ProductTile::new(columns, rows, d, out).products::<_, 2, 2, 6>(super::avx2::Avx2::new(), 0);
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

    /// The lanes.
    #[inline(always)]
    pub(super) fn lanes(self, v: __m256) -> [f32; 8] {
        let mut lanes = [0.0; 8];
        // SAFETY: `self` proves AVX; `lanes` is 8 writable floats.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), v) };
        lanes
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
    fn add_bf16(self, mut sum: [__m256; 2], query: &[f32; 32], codes: &[u16; 32]) -> [__m256; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<8>(), codes.as_chunks::<8>());
        for i in 0..4 {
            // SAFETY: `self` proves AVX2; the chunk is 16 readable bytes.
            let numbers = unsafe {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(codes[i].as_ptr().cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            };
            sum[i % 2] = self.add_number_squares(sum[i % 2], numbers, &query[i]);
        }
        sum
    }

    /// AVX2 counts no bits: a shuffle looks up those of four at a time. Of 8 bits in 4 planes at most 120 are counted.
    #[inline(always)]
    fn add_dot1(self, mut sum: __m256i, query: &[u8; 256], codes: &[u8; 64]) -> __m256i {
        let ((planes, _), (codes, _)) = (query.as_chunks::<32>(), codes.as_chunks::<32>());
        // SAFETY: `self` proves AVX2.
        unsafe {
            let counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
            let mask = _mm256_set1_epi8(15);
            for half in 0..2 {
                let codes = self.load(&codes[half]);
                let mut counted = _mm256_setzero_si256();
                for plane in (0..4).rev() {
                    let shared = _mm256_and_si256(codes, self.load(&planes[2 * plane + half]));
                    let low = _mm256_shuffle_epi8(counts, _mm256_and_si256(shared, mask));
                    let high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16::<4>(shared), mask));
                    counted = _mm256_add_epi8(_mm256_add_epi8(counted, counted), _mm256_add_epi8(low, high));
                }
                let pairs = _mm256_maddubs_epi16(counted, _mm256_set1_epi8(1));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        sum
    }

    #[inline(always)]
    fn add_dot4(self, mut sum: __m256i, query: &[i8; 128], codes: &[u8; 64]) -> __m256i {
        let ((query, _), (codes, _)) = (query.as_chunks::<32>(), codes.as_chunks::<32>());
        for half in 0..2 {
            let codes = self.load(&codes[half]);
            // SAFETY: `self` proves AVX2. Two products fit 13 bits, and two pairs of them 14.
            unsafe {
                let mask = _mm256_set1_epi8(15);
                let (low, high) =
                    (_mm256_and_si256(codes, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask));
                let low = _mm256_maddubs_epi16(low, self.load(&query[half]));
                let high = _mm256_maddubs_epi16(high, self.load(&query[half + 2]));
                let pairs = _mm256_add_epi16(low, high);
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        sum
    }

    /// Two products of 8 bits do not fit 16: the factors are widened first.
    #[inline(always)]
    fn add_dot8(self, mut sum: __m256i, query: &[i8; 64], codes: &[u8; 64]) -> __m256i {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..4 {
            // SAFETY: `self` proves AVX2; the chunks are 16 readable bytes.
            unsafe {
                let codes = _mm256_cvtepu8_epi16(_mm_loadu_si128(codes[i].as_ptr().cast()));
                let query = _mm256_cvtepi8_epi16(_mm_loadu_si128(query[i].as_ptr().cast()));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(codes, query));
            }
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

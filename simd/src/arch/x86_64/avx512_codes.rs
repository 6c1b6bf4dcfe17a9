//! Codes on AVX-512 with VNNI, VPOPCNTDQ, VBMI and GFNI (Ice Lake, Zen 4 and later): 64 levels, or 16 numbers, in a register.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]
#![expect(clippy::unused_self, reason = "`self` is that proof")]

use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_add_epi32, _mm_cvtepi32_ps, _mm_cvtsi128_si32, _mm_hadd_epi32,
    _mm_loadu_si128, _mm_storeu_ps, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm512_abs_epi8, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_ps,
    _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_popcnt_epi64, _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_slli_epi16, _mm512_slli_epi32, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_sub_epi8, _mm512_sub_ps,
};
use std::mem::transmute;

use super::avx512_blocks::lut4_blocks;
use super::avx512_levels::levels;
use super::avx512_lut::lut4;
use super::avx512_pick::{insert_key, reaching, smallest, within};
use super::avx512_planes::planes;
use super::avx512_tiles::{u7_tile, u8i8_products};
use crate::arch::lines::{Bf16, CodeIsa, Dot1, Dot4, Dot8, F16, U4, U7, U8, by_id};
use crate::arch::products::ProductTile;
use crate::codes::{
    Blocks, ById, CentroidDistances, CodeKernels, Hadamard, InsertKey, PlaneRows, PlanesById, Products, Reaching,
    Sieve, Smallest, Tile, Within,
};
use crate::kernels::Tier;
use crate::levels::Levels;

static CODES: CodeKernels = CodeKernels {
    tier: Tier::Avx512,
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

pub(super) type UnprovenTile = unsafe fn(&[u8], &[u8], &[i32], &mut [i32]);
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
    (is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vpopcntdq")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("popcnt"))
    .then_some(&CODES)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn u4(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(U4(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn u7(query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(U7(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn u8(query: &[f32], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(U8(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn f16(query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
    by_id(F16(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn bf16(query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
    by_id(Bf16(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn dot1(query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(Dot1(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn dot4(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(Dot4(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn dot8(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    by_id(Dot8(Vnni::new()), query, codes, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn centroid_distances(vector: &[f32], centroids: &[f32], sub_dim: usize, out: &mut [f32]) {
    crate::arch::lut::centroid_distances(vector, centroids, sub_dim, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn hadamard(vector: &mut [f32]) {
    crate::arch::hadamard::hadamard(vector);
}

/// 6 rows by 64 columns at a time: their sums, four registers of columns and one of a row. What is left of the columns meets more rows
/// at a time, so that as many sums are under way.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn products(columns: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
    let (isa, mut tile) = (super::avx512::Avx512::new(), ProductTile::new(columns, rows, d, out));
    let group = tile.products::<_, 1, 4, 6>(isa, 0);
    let group = tile.products::<_, 1, 2, 12>(isa, group);
    tile.products::<_, 1, 1, 12>(isa, group);
}

/// Proof that the running CPU has AVX-512 F, BW, VL, DQ, VNNI, VPOPCNTDQ and VBMI, and GFNI.
#[derive(Clone, Copy)]
pub(super) struct Vnni(());

impl Vnni {
    /// Safe to call only from functions compiled for the same features, which the compiler checks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
    pub(super) const fn new() -> Self {
        Self(())
    }

    /// `sum` plus, in each group of four bytes, the squares of the differences, all of which fit 7 bits and a sign.
    #[inline(always)]
    fn add_squares(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512BW and VNNI.
        unsafe {
            let difference = _mm512_abs_epi8(_mm512_sub_epi8(a, b));
            _mm512_dpbusd_epi32(sum, difference, difference)
        }
    }

    #[inline(always)]
    pub(super) fn load<T>(self, line: &[T; 64]) -> __m512i {
        const { assert!(size_of::<T>() == 1) }
        // SAFETY: `self` proves AVX-512F; the line is 64 readable bytes, and the load asks for no alignment.
        unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn lanes(self, v: __m512) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        // SAFETY: `self` proves AVX-512F; `lanes` is 16 writable floats.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// The sums of the lanes in four lanes.
    #[inline(always)]
    pub(super) fn fold(self, v: __m512i) -> __m128i {
        // SAFETY: `self` proves AVX-512F, and AVX2 with it.
        unsafe {
            let v: __m256i = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
            _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v))
        }
    }

    /// The sum of the lanes of each.
    #[inline(always)]
    pub(super) fn four_sums(self, [a, b, c, d]: [__m512i; 4]) -> __m128i {
        // SAFETY: `self` proves AVX-512F, and SSSE3 with it.
        unsafe {
            let ab = _mm_hadd_epi32(self.fold(a), self.fold(b));
            let cd = _mm_hadd_epi32(self.fold(c), self.fold(d));
            _mm_hadd_epi32(ab, cd)
        }
    }

    /// `sum` plus the squares of the differences.
    #[inline(always)]
    fn add_number_squares(self, sum: __m512, numbers: __m512, query: &[f32; 16]) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the chunk is 16 readable floats.
        unsafe {
            let difference = _mm512_sub_ps(numbers, _mm512_loadu_ps(query.as_ptr()));
            _mm512_fmadd_ps(difference, difference, sum)
        }
    }
}

impl CodeIsa for Vnni {
    type Integers = __m512i;
    type Numbers = [__m512; 2];

    #[inline(always)]
    fn no_integers(self) -> __m512i {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn no_numbers(self) -> [__m512; 2] {
        // SAFETY: `self` proves AVX-512F.
        [unsafe { _mm512_setzero_ps() }; 2]
    }

    /// Eight times the levels, straight from where the nibbles stand: the low ones moved up by 3 bits, the high ones down
    /// by 1, and what came over from the neighbouring byte masked out.
    #[inline(always)]
    fn add_u4(self, sum: __m512i, query: &[i8; 128], codes: &[u8; 64]) -> __m512i {
        let (query, _) = query.as_chunks::<64>();
        let codes = self.load(codes);
        // SAFETY: `self` proves AVX-512BW.
        let (low, high) = unsafe {
            let mask = _mm512_set1_epi8(15 << 3);
            (
                _mm512_and_si512(_mm512_slli_epi16::<3>(codes), mask),
                _mm512_and_si512(_mm512_srli_epi16::<1>(codes), mask),
            )
        };
        let sum = self.add_squares(sum, low, self.load(&query[0]));
        self.add_squares(sum, high, self.load(&query[1]))
    }

    #[inline(always)]
    fn add_u7(self, sum: __m512i, query: &[u8; 64], codes: &[u8; 64]) -> __m512i {
        self.add_squares(sum, self.load(codes), self.load(query))
    }

    #[inline(always)]
    fn add_u8(self, mut sum: [__m512; 2], query: &[f32; 64], codes: &[u8; 64]) -> [__m512; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..4 {
            // SAFETY: `self` proves AVX-512F; the chunk is 16 readable bytes.
            let levels = unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(codes[i].as_ptr().cast()))) };
            sum[i % 2] = self.add_number_squares(sum[i % 2], levels, &query[i]);
        }
        sum
    }

    #[inline(always)]
    fn add_f16(self, mut sum: [__m512; 2], query: &[f32; 32], codes: &[u16; 32]) -> [__m512; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..2 {
            // SAFETY: `self` proves AVX-512F; the chunk is 32 readable bytes.
            let numbers = unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(codes[i].as_ptr().cast())) };
            sum[i] = self.add_number_squares(sum[i], numbers, &query[i]);
        }
        sum
    }

    #[inline(always)]
    fn add_bf16(self, mut sum: [__m512; 2], query: &[f32; 32], codes: &[u16; 32]) -> [__m512; 2] {
        let ((query, _), (codes, _)) = (query.as_chunks::<16>(), codes.as_chunks::<16>());
        for i in 0..2 {
            // SAFETY: `self` proves AVX-512F; the chunk is 32 readable bytes.
            let numbers = unsafe {
                let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(codes[i].as_ptr().cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
            };
            sum[i] = self.add_number_squares(sum[i], numbers, &query[i]);
        }
        sum
    }

    #[inline(always)]
    fn add_dot1(self, mut sum: __m512i, query: &[u8; 256], codes: &[u8; 64]) -> __m512i {
        let (codes, planes) = (self.load(codes), query.as_chunks::<64>().0);
        // SAFETY: `self` proves AVX-512 VPOPCNTDQ. The counts of a lane of 64 bits fit its lower half, and so do the sums.
        unsafe {
            let shared = |plane: usize| _mm512_popcnt_epi64(_mm512_and_si512(codes, self.load(&planes[plane])));
            let low = _mm512_add_epi32(shared(0), _mm512_slli_epi32::<1>(shared(1)));
            let high = _mm512_add_epi32(shared(2), _mm512_slli_epi32::<1>(shared(3)));
            sum = _mm512_add_epi32(sum, _mm512_add_epi32(low, _mm512_slli_epi32::<2>(high)));
        }
        sum
    }

    #[inline(always)]
    fn add_dot4(self, sum: __m512i, query: &[i8; 128], codes: &[u8; 64]) -> __m512i {
        let (query, _) = query.as_chunks::<64>();
        let codes = self.load(codes);
        // SAFETY: `self` proves AVX-512BW and VNNI.
        unsafe {
            let mask = _mm512_set1_epi8(15);
            let (low, high) = (_mm512_and_si512(codes, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(codes), mask));
            let sum = _mm512_dpbusd_epi32(sum, low, self.load(&query[0]));
            _mm512_dpbusd_epi32(sum, high, self.load(&query[1]))
        }
    }

    #[inline(always)]
    fn add_dot8(self, sum: __m512i, query: &[i8; 64], codes: &[u8; 64]) -> __m512i {
        // SAFETY: `self` proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sum, self.load(codes), self.load(query)) }
    }

    #[inline(always)]
    fn sum_integers(self, sum: __m512i) -> f32 {
        // SAFETY: `self` proves AVX-512F, and SSSE3 with it.
        unsafe {
            let sum = self.fold(sum);
            let sum = _mm_hadd_epi32(sum, sum);
            _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum)) as f32
        }
    }

    #[inline(always)]
    fn sum_integers_of_rows(self, sums: [__m512i; 4]) -> [f32; 4] {
        let mut scores = [0.0; 4];
        // SAFETY: `self` proves AVX-512F; `scores` is four writable floats.
        unsafe { _mm_storeu_ps(scores.as_mut_ptr(), _mm_cvtepi32_ps(self.four_sums(sums))) };
        scores
    }

    #[inline(always)]
    fn sum_numbers(self, [a, b]: [__m512; 2]) -> f32 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_reduce_add_ps(_mm512_add_ps(a, b)) }
    }
}

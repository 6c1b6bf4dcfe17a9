//! AVX2 and FMA: 16 registers of 8 lanes. Tails are masked loads, which read nothing beyond the vector.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]

use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_add_ps,
    _mm256_castps256_ps128, _mm256_cmpgt_epi32, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_maskload_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm256_sub_ps,
};

use crate::arch::generic;
use crate::arch::isa::{self, Isa, Score};
use crate::arch::unproven::Unproven;
use crate::kernels::{Kernels, Scored, Tier};

const LANES: usize = 8;
/// Rows scored at a time against one query: three times four accumulators leave four registers for the data.
const ROWS: usize = 3;
/// Queries by rows scored at a time in a tile: two accumulators per pair at a time, again 12 registers, for five loads
/// per six fused multiply-adds.
const TILE: (usize, usize) = (2, 3);

static KERNELS: Kernels = Kernels {
    tier: Tier::Avx2,
    squared_l2: scored::<isa::SquaredL2>(),
    inner_product: scored::<isa::InnerProduct>(),
    negated_inner_product: scored::<isa::NegatedInnerProduct>(),
    one_minus_inner_product: scored::<isa::OneMinusInnerProduct>(),
};

/// The table, where the CPU can run it: the only way to it.
pub(super) fn detect() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&KERNELS)
}

const fn scored<S: Score>() -> Scored {
    let kernels = Unproven { pair: pair::<S>, many: many::<S>, by_id: by_id::<S>, tile: tile::<S> };
    // SAFETY: the table is private and `detect` hands it out only where the CPU has the features of these functions.
    unsafe { kernels.trust() }
}

#[target_feature(enable = "avx2,fma")]
fn pair<S: Score>(a: &[f32], b: &[f32]) -> f32 {
    generic::pair::<_, S>(Avx2::new(), a, b)
}

#[target_feature(enable = "avx2,fma")]
fn many<S: Score>(query: &[f32], rows: &[f32], out: &mut [f32]) {
    generic::many::<_, S>(Avx2::new(), query, rows, out);
}

#[target_feature(enable = "avx2,fma")]
fn by_id<S: Score>(query: &[f32], base: &[f32], ids: &[u32], out: &mut [f32]) {
    generic::by_id::<_, S, ROWS>(Avx2::new(), query, base, ids, out);
}

#[target_feature(enable = "avx2,fma")]
fn tile<S: Score>(queries: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
    generic::tile::<_, S, { TILE.0 }, { TILE.1 }>(Avx2::new(), queries, rows, d, out);
}

/// Proof that the running CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Safe to call only from functions compiled for the same features, which the compiler checks.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl Isa for Avx2 {
    type Vector = __m256;
    type Chunk = [f32; LANES];

    #[inline(always)]
    fn chunks(v: &[f32]) -> (&[Self::Chunk], &[f32]) {
        v.as_chunks()
    }

    #[inline(always)]
    fn chunks_mut(v: &mut [f32]) -> &mut [Self::Chunk] {
        v.as_chunks_mut().0
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn store(self, v: __m256, chunk: &mut Self::Chunk) {
        // SAFETY: `self` proves AVX; the chunk is as many writable floats, and the store asks for no alignment.
        unsafe { _mm256_storeu_ps(chunk.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn zero(self) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    fn load(self, chunk: &Self::Chunk) -> __m256 {
        // SAFETY: `self` proves AVX; the chunk is 8 readable floats, and the load asks for no alignment.
        unsafe { _mm256_loadu_ps(chunk.as_ptr()) }
    }

    #[inline(always)]
    fn load_partial(self, rest: &[f32]) -> __m256 {
        // SAFETY: `self` proves AVX2; the mask admits the lanes below `rest.len()`, and no other lane is read.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest.len() as i32), lanes);
            _mm256_maskload_ps(rest.as_ptr(), mask)
        }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn fmadd(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn reduce(self, v: __m256) -> f32 {
        // SAFETY: `self` proves AVX.
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
}

//! AVX-512 F, BW, VL and DQ: 32 registers of 16 lanes. Tails are masked loads, which read nothing beyond the vector.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]

use std::arch::x86_64::{
    __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_add_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm512_add_ps, _mm512_castps512_ps256, _mm512_extractf32x8_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    _mm512_sub_ps,
};

use crate::arch::generic;
use crate::arch::isa::{self, Isa, Score};
use crate::arch::unproven::Unproven;
use crate::kernels::{Kernels, Scored, Tier};

const LANES: usize = 16;
/// Rows scored at a time against one query: four times four accumulators, half of the registers.
const ROWS: usize = 4;
/// Queries by rows scored at a time in a tile: two accumulators per pair at a time, 24 registers, for seven loads per
/// twelve fused multiply-adds.
const TILE: (usize, usize) = (4, 3);

static KERNELS: Kernels = Kernels {
    tier: Tier::Avx512,
    squared_l2: scored::<isa::SquaredL2>(),
    inner_product: scored::<isa::InnerProduct>(),
    negated_inner_product: scored::<isa::NegatedInnerProduct>(),
    one_minus_inner_product: scored::<isa::OneMinusInnerProduct>(),
};

/// The table, where the CPU can run it: the only way to it.
pub(super) fn detect() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq"))
    .then_some(&KERNELS)
}

const fn scored<S: Score>() -> Scored {
    let kernels = Unproven { pair: pair::<S>, many: many::<S>, by_id: by_id::<S>, tile: tile::<S> };
    // SAFETY: the table is private and `detect` hands it out only where the CPU has the features of these functions.
    unsafe { kernels.trust() }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn pair<S: Score>(a: &[f32], b: &[f32]) -> f32 {
    generic::pair::<_, S>(Avx512::new(), a, b)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn many<S: Score>(query: &[f32], rows: &[f32], out: &mut [f32]) {
    generic::many::<_, S>(Avx512::new(), query, rows, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn by_id<S: Score>(query: &[f32], base: &[f32], ids: &[u32], out: &mut [f32]) {
    generic::by_id::<_, S, ROWS>(Avx512::new(), query, base, ids, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn tile<S: Score>(queries: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
    generic::tile::<_, S, { TILE.0 }, { TILE.1 }>(Avx512::new(), queries, rows, d, out);
}

/// Proof that the running CPU has AVX-512 F, BW, VL and DQ.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Safe to call only from functions compiled for the same features, which the compiler checks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl Isa for Avx512 {
    type Vector = __m512;
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
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn store(self, v: __m512, chunk: &mut Self::Chunk) {
        // SAFETY: `self` proves AVX-512F; the chunk is as many writable floats, and the store asks for no alignment.
        unsafe { _mm512_storeu_ps(chunk.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn zero(self) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn load(self, chunk: &Self::Chunk) -> __m512 {
        // SAFETY: `self` proves AVX-512F; the chunk is 16 readable floats, and the load asks for no alignment.
        unsafe { _mm512_loadu_ps(chunk.as_ptr()) }
    }

    #[inline(always)]
    fn load_partial(self, rest: &[f32]) -> __m512 {
        let mask = !(u16::MAX << rest.len());
        // SAFETY: `self` proves AVX-512F; the mask admits the lanes below `rest.len()`, and no other lane is read.
        unsafe { _mm512_maskz_loadu_ps(mask, rest.as_ptr()) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn fmadd(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn reduce(self, v: __m512) -> f32 {
        // SAFETY: `self` proves AVX-512F and DQ.
        unsafe {
            let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
}

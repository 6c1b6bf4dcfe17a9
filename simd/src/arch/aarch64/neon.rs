//! NEON: 32 registers of 4 lanes. There are no masked loads: a tail is copied to a whole register first.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]

use std::arch::aarch64::{float32x4_t, vaddq_f32, vaddvq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32, vst1q_f32, vsubq_f32};
use std::arch::is_aarch64_feature_detected;

use crate::arch::generic;
use crate::arch::isa::{self, Isa, Score};
use crate::arch::unproven::Unproven;
use crate::kernels::{Kernels, Scored, Tier};

const LANES: usize = 4;
/// Rows scored at a time against one query: four times four accumulators, half of the registers.
const ROWS: usize = 4;
/// Queries by rows scored at a time in a tile: two accumulators per pair at a time, 24 registers, for seven loads per
/// twelve fused multiply-adds.
const TILE: (usize, usize) = (4, 3);

static KERNELS: Kernels = Kernels {
    tier: Tier::Neon,
    squared_l2: scored::<isa::SquaredL2>(),
    inner_product: scored::<isa::InnerProduct>(),
    negated_inner_product: scored::<isa::NegatedInnerProduct>(),
    one_minus_inner_product: scored::<isa::OneMinusInnerProduct>(),
};

/// The table, where the CPU can run it: the only way to it.
pub(super) fn detect() -> Option<&'static Kernels> {
    is_aarch64_feature_detected!("neon").then_some(&KERNELS)
}

const fn scored<S: Score>() -> Scored {
    let kernels = Unproven { pair: pair::<S>, many: many::<S>, by_id: by_id::<S>, tile: tile::<S> };
    // SAFETY: the table is private and `detect` hands it out only where the CPU has the features of these functions.
    unsafe { kernels.trust() }
}

#[target_feature(enable = "neon")]
fn pair<S: Score>(a: &[f32], b: &[f32]) -> f32 {
    generic::pair::<_, S>(Neon::new(), a, b)
}

#[target_feature(enable = "neon")]
fn many<S: Score>(query: &[f32], rows: &[f32], out: &mut [f32]) {
    generic::many::<_, S>(Neon::new(), query, rows, out);
}

#[target_feature(enable = "neon")]
fn by_id<S: Score>(query: &[f32], base: &[f32], ids: &[u32], out: &mut [f32]) {
    generic::by_id::<_, S, ROWS>(Neon::new(), query, base, ids, out);
}

#[target_feature(enable = "neon")]
fn tile<S: Score>(queries: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
    generic::tile::<_, S, { TILE.0 }, { TILE.1 }>(Neon::new(), queries, rows, d, out);
}

/// Proof that the running CPU has NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// Safe to call only from functions compiled for the same features, which the compiler checks.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl Isa for Neon {
    type Vector = float32x4_t;
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
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    fn store(self, v: float32x4_t, chunk: &mut Self::Chunk) {
        // SAFETY: `self` proves NEON; the chunk is 4 writable floats, and the store asks for no more than their alignment.
        unsafe { vst1q_f32(chunk.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn zero(self) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    fn load(self, chunk: &Self::Chunk) -> float32x4_t {
        // SAFETY: `self` proves NEON; the chunk is 4 readable floats, and the load asks for no more than their alignment.
        unsafe { vld1q_f32(chunk.as_ptr()) }
    }

    #[inline(always)]
    fn load_partial(self, rest: &[f32]) -> float32x4_t {
        let mut chunk = [0.0; LANES];
        for (lane, &x) in chunk.iter_mut().zip(rest) {
            *lane = x;
        }
        self.load(&chunk)
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn fmadd(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn reduce(self, v: float32x4_t) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe { vaddvq_f32(v) }
    }
}

//! Products of bytes on NEON: by one instruction where the CPU has dot products, by widening where it has not.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]

use std::arch::aarch64::{int8x16_t, int32x4_t, vget_low_s8, vmull_high_s8, vmull_s8, vpadalq_s16, vpaddq_s16};
use std::arch::asm;

/// A proof that the running CPU has NEON and this way to multiply bytes, as for [`Isa`](crate::arch::isa::Isa).
pub(super) trait Dot: Copy {
    /// `sum` plus, in each lane, the four products of its bytes. The factors are -128..=127, and not -128 both.
    fn dot(self, sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;
}

/// NEON alone.
#[derive(Clone, Copy)]
pub(super) struct Widening(());

impl Widening {
    /// Safe to call only from functions compiled for the same features, which the compiler checks.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl Dot for Widening {
    /// Two products fit 16 bits, as one of them is at most 128 x 127.
    #[inline(always)]
    fn dot(self, sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: `self` proves NEON.
        unsafe {
            let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)))
        }
    }
}

/// NEON with dot products: Armv8.4, and most CPUs since Armv8.2.
#[derive(Clone, Copy)]
pub(super) struct Dotprod(());

impl Dotprod {
    /// Safe to call only from functions compiled for the same features, which the compiler checks.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl Dot for Dotprod {
    #[inline(always)]
    fn dot(self, sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: `self` proves the dot products.
        unsafe { sdot(sum, a, b) }
    }
}

/// What `vdotq_s32` does, which is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: one instruction of the features of this function, on registers alone.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

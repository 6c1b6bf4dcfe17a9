//! Prefetching: a hint, which needs no proof of what the CPU has.

#![cfg_attr(
    any(target_arch = "aarch64", target_arch = "x86_64"),
    expect(unsafe_code, reason = "an instruction that takes an address")
)]

use crate::codes::LINE_BYTES;

/// Asks for the `bytes` bytes from `start`, line by line. The address need not be valid.
#[inline(always)]
pub(crate) fn prefetch(start: *const u8, bytes: usize) {
    for offset in (0..bytes).step_by(LINE_BYTES) {
        line(start.wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing and never faults, whatever the address; every x86-64 CPU has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn line(address: *const u8) {
    // SAFETY: a prefetch reads nothing and never faults, whatever the address; the intrinsic is not stable yet.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
}

/// Elsewhere there is no stable way to ask.
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
#[inline(always)]
fn line(_address: *const u8) {}

//! Prefetching, which every x86-64 CPU can do.

#![expect(unsafe_code, reason = "an intrinsic that takes an address")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use crate::codes::LINE_BYTES;

/// Asks for the `bytes` bytes from `start`, line by line. The address need not be valid.
#[inline(always)]
pub(crate) fn prefetch(start: *const u8, bytes: usize) {
    for offset in (0..bytes).step_by(LINE_BYTES) {
        // SAFETY: a prefetch reads nothing and never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset).cast()) }
    }
}

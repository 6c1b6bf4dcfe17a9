//! Kernels by instruction set.
//!
//! | file | what it holds |
//! |---|---|
//! | `isa` | the few operations an instruction set provides ([`isa::Isa`]) and the scores built from them |
//! | `generic` | every kernel, once, over any [`isa::Isa`] and any score; safe code |
//! | `products` | inner products in any order of summation, for sieves; safe code |
//! | `lines` | every kernel for codes, once over what an instruction set does with a cache line of them; safe code |
//! | `planes` | products with levels in planes of bits, by the loops of `lines`; safe code |
//! | `lut` | sums of numbers looked up in tables, and the distances to centroids, in plain loops |
//! | `hadamard` | the Walsh and Hadamard transform, in plain loops for every instruction set |
//! | `rows`, `prefetch` | rows by number, and asking for them ahead of time |
//! | `unproven` | how `#[target_feature]` functions enter a table of safe ones |
//! | `portable`, `x86_64/*`, `aarch64/*` | one instruction set each: its operations, its block sizes, its table |
//! | `*_codes`, `*_planes`, `*_lut`, `*_blocks`, `*_tiles`, `*_pick`, `*_levels` | the same for codes: its operations on lines, its table; on planes; look-ups, of rows anywhere and side by side; codes against codes; picking from scores; numbers to levels |
//! | `aarch64/dot` | products of bytes, with the instruction for them and without |
//! | `x86_64/amx` | codes against codes in registers of 16 rows, for CPUs that have those; all else is AVX-512's |
//!
//! A kernel file wraps the generic kernels in `#[target_feature]` functions. The generic code is `#[inline(always)]`, so
//! it is compiled inside those functions, for their instruction set. To add one: a file here, and a line in
//! [`by_preference`] of its architecture.

#![expect(
    clippy::inline_always,
    reason = "only inside a #[target_feature] function are the operations single instructions"
)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod generic;
mod hadamard;
mod isa;
mod lines;
mod lut;
mod planes;
mod portable;
mod portable_codes;
mod portable_levels;
mod portable_pick;
mod prefetch;
mod products;
mod rows;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod unproven;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use lut::lut8;
pub(crate) use portable_codes::CODES as PORTABLE_CODES;
pub(crate) use prefetch::prefetch;

use crate::codes::CodeKernels;
use crate::kernels::Kernels;

/// The tables this CPU can run, best first.
pub(crate) fn by_preference() -> impl Iterator<Item = &'static Kernels> {
    #[cfg(target_arch = "aarch64")]
    let special = aarch64::by_preference();
    #[cfg(target_arch = "x86_64")]
    let special = x86_64::by_preference();
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
    let special: [Option<&'static Kernels>; 0] = [];
    special.into_iter().flatten().chain([&portable::KERNELS])
}

/// The tables for codes this CPU can run, best first.
pub(crate) fn codes_by_preference() -> impl Iterator<Item = &'static CodeKernels> {
    #[cfg(target_arch = "aarch64")]
    let special = aarch64::codes_by_preference();
    #[cfg(target_arch = "x86_64")]
    let special = x86_64::codes_by_preference();
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
    let special: [Option<&'static CodeKernels>; 0] = [];
    special.into_iter().flatten().chain([&PORTABLE_CODES])
}

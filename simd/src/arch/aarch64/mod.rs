//! aarch64: NEON, which nearly every such CPU has.

mod dot;
mod neon;
mod neon_codes;
mod neon_lut;
mod neon_pick;
mod neon_tiles;

use crate::codes::CodeKernels;
use crate::kernels::Kernels;

/// The tables this CPU can run, best first.
pub(super) fn by_preference() -> [Option<&'static Kernels>; 1] {
    [neon::detect()]
}

/// The tables for codes this CPU can run, best first.
pub(super) fn codes_by_preference() -> [Option<&'static CodeKernels>; 1] {
    [neon_codes::detect()]
}

//! x86-64: AVX2 with FMA, AVX-512, and for codes AMX. SSE2 is the baseline and so is what the portable kernels are compiled to.

mod amx;
mod avx2;
mod avx2_codes;
mod avx2_levels;
mod avx2_lut;
mod avx2_pick;
mod avx2_planes;
mod avx2_tiles;
mod avx512;
mod avx512_blocks;
mod avx512_codes;
mod avx512_levels;
mod avx512_lut;
mod avx512_pick;
mod avx512_planes;
mod avx512_tiles;

use crate::codes::CodeKernels;
use crate::kernels::Kernels;

/// The tables this CPU can run, best first.
///
/// AVX2 stands first. Measured on Zen 4 (two 256-bit or one 512-bit fused multiply-add per cycle), 512 bits lose 10 to
/// 20 % on pairs of 100 to 128 dimensions, where the tail and the reduction weigh most, are level from 768 dimensions on
/// and wherever rows come from memory, and win 10 to 30 % only in tiles of long vectors. On Granite Rapids (two 512-bit ones per
/// cycle) they win 2 to 45 %, most in tiles of long vectors, and a build at 1536 dimensions, which projected the vectors with these then, took
/// 66 and 69 s instead of 69. With the choice so close, what
/// decides is that nearly every x86-64 CPU, and Valgrind, has AVX2: default results are then the same bits on all of them.
pub(super) fn by_preference() -> [Option<&'static Kernels>; 2] {
    [avx2::detect(), avx512::detect()]
}

/// The tables for codes this CPU can run, best first.
pub(super) fn codes_by_preference() -> [Option<&'static CodeKernels>; 3] {
    [amx::detect(), avx512_codes::detect(), avx2_codes::detect()]
}

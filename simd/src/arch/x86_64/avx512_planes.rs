//! Levels in planes of bits on AVX-512 with VNNI, VBMI and GFNI: 64 of them in a register, whatever the number of their bits.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_maskz_loadu_epi64,
    _mm512_permutexvar_epi8, _mm512_set1_epi64,
};

use super::avx512_codes::Vnni;
use crate::arch::planes::{PlaneIsa, planes_by_id};
use crate::codes::PlaneRows;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn planes(query: &[i8], rows: PlaneRows<'_>, ids: &[u32], out: &mut [f32]) {
    planes_by_id(Vnni::new(), query, rows, ids, out);
}

/// Byte `i` of each plane, the highest plane first, for each `i`: eight bits each of eight levels.
const GATHERED: [u8; 64] = {
    let mut bytes = [0; 64];
    let mut i = 0;
    while i < 64 {
        bytes[i] = (8 * (7 - i % 8) + i / 8) as u8;
        i += 1;
    }
    bytes
};
/// Byte `i` is bit `i` alone.
const BITS_IN_TURN: u64 = 0x8040_2010_0804_0201;

impl PlaneIsa for Vnni {
    /// Planes that there are not are zeros, so levels are bytes. Eight bits each of eight levels are a matrix of bits, and
    /// `gf2p8affine` multiplies matrices of bits: the product with single bits in turn is the matrix transposed.
    #[inline(always)]
    fn add_planes<const BITS: usize>(self, sum: __m512i, query: &[i8; 64], planes: &[[u8; 8]; BITS]) -> __m512i {
        // SAFETY: `self` proves AVX-512F, VNNI and VBMI, and GFNI; the mask leaves the `BITS` readable planes.
        unsafe {
            let gathered = _mm512_loadu_si512(GATHERED.as_ptr().cast());
            let planes = _mm512_maskz_loadu_epi64((1 << BITS) - 1, planes.as_ptr().cast());
            let matrices = _mm512_permutexvar_epi8(gathered, planes);
            let levels = _mm512_gf2p8affine_epi64_epi8::<0>(_mm512_set1_epi64(BITS_IN_TURN as i64), matrices);
            _mm512_dpbusd_epi32(sum, levels, self.load(query))
        }
    }
}

//! Levels in planes of bits on AVX2: 32 of them in a register.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_add_epi32, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi64x,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sub_epi8,
};

use super::avx2_codes::Avx2;
use crate::arch::planes::{PlaneIsa, planes_by_id};
use crate::codes::PlaneRows;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn planes(query: &[i8], rows: PlaneRows<'_>, ids: &[u32], out: &mut [f32]) {
    planes_by_id(Avx2::new(), query, rows, ids, out);
}

impl PlaneIsa for Avx2 {
    /// Each of 32 bits becomes a byte, 0 or -1: the four bytes that hold them are copied, each eight times, and its own bit of
    /// each copy compared. A level of `BITS` bits takes as many doublings.
    #[inline(always)]
    fn add_planes<const BITS: usize>(self, mut sum: __m256i, query: &[i8; 64], planes: &[[u8; 8]; BITS]) -> __m256i {
        for (half, query) in query.as_chunks::<32>().0.iter().enumerate() {
            // SAFETY: `self` proves AVX2. Of 7 bits and 7 bits and a sign, two products fit 16 bits.
            unsafe {
                let copied = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
                let own = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
                let mut levels = _mm256_setzero_si256();
                for plane in planes.iter().rev() {
                    let bits = _mm256_set1_epi32(i32::from_le_bytes(plane.as_chunks().0[half]));
                    let bits = _mm256_and_si256(_mm256_shuffle_epi8(bits, copied), own);
                    levels = _mm256_sub_epi8(_mm256_add_epi8(levels, levels), _mm256_cmpeq_epi8(bits, own));
                }
                let pairs = _mm256_maddubs_epi16(levels, self.load(query));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
        sum
    }
}

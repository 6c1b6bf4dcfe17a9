//! Many vectors against many on AVX2.

#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    _mm_cvtsi128_si32, _mm_hadd_epi32, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_slli_epi32, _mm256_srli_epi16, _mm256_storeu_si256, _mm256_sub_epi32,
};

use super::avx2_codes::Avx2;
use crate::tile_columns::TILE_COLUMNS;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn u8i8_products(vectors: &[u8], rows: &[i8], width: usize, out: &mut [i32]) {
    let isa = Avx2::new();
    let row_count = rows.len() / width;
    for (vector, out) in vectors.chunks_exact(width).zip(out.chunks_exact_mut(row_count.max(1))) {
        let (vector, _) = vector.as_chunks::<16>();
        for (product, row) in out.iter_mut().zip(rows.chunks_exact(width)) {
            let mut sum = _mm256_setzero_si256();
            for (a, b) in vector.iter().zip(row.as_chunks::<16>().0) {
                // SAFETY: both chunks are 16 readable bytes. Widened to 16 bits first: two products of bytes would not fit
                // them.
                let (a, b) = unsafe { (_mm_loadu_si128(a.as_ptr().cast()), _mm_loadu_si128(b.as_ptr().cast())) };
                let pairs = _mm256_madd_epi16(_mm256_cvtepu8_epi16(a), _mm256_cvtepi8_epi16(b));
                sum = _mm256_add_epi32(sum, pairs);
            }
            let sum = isa.fold(sum);
            let sum = _mm_hadd_epi32(sum, sum);
            *product = _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn u7_tile(rows: &[u8], columns: &[u8], norms: &[i32], out: &mut [i32]) {
    let isa = Avx2::new();
    let width = columns.len() / norms.len();
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(norms.len())) {
        let blocks = columns.chunks_exact(TILE_COLUMNS * width).zip(norms.as_chunks::<8>().0.as_chunks::<2>().0);
        for ((block, norms), out) in blocks.zip(out.as_chunks_mut::<8>().0.as_chunks_mut::<2>().0) {
            let mut sums = [_mm256_setzero_si256(); 2];
            for (levels, group) in row.as_chunks::<4>().0.iter().zip(block.as_chunks::<32>().0.as_chunks::<2>().0) {
                let levels = _mm256_set1_epi32(i32::from_le_bytes(*levels));
                for half in 0..2 {
                    // Doubled levels are even: halved two at a time, they stay apart. Two products of 7 bits fit 15.
                    let columns = _mm256_srli_epi16::<1>(isa.load(&group[half]));
                    let pairs = _mm256_maddubs_epi16(levels, columns);
                    sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                }
            }
            for half in 0..2 {
                // SAFETY: both are 8 numbers, readable and writable; neither access asks for alignment.
                unsafe {
                    let norms = _mm256_loadu_si256(norms[half].as_ptr().cast());
                    let scores = _mm256_sub_epi32(norms, _mm256_slli_epi32::<1>(sums[half]));
                    _mm256_storeu_si256(out[half].as_mut_ptr().cast(), scores);
                }
            }
        }
    }
}

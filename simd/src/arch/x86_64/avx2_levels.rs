//! Numbers to levels on AVX2: 32 at a time.

#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    __m256i, _mm256_cvttps_epi32, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_packs_epi32,
    _mm256_packus_epi16, _mm256_permutevar8x32_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_storeu_si256, _mm256_sub_ps,
};

use crate::arch::portable_levels;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn levels(vector: &[f32], offset: &[f32], per_step: f32, highest: f32, out: &mut [u8]) {
    let (scale, most) = (_mm256_set1_ps(per_step), _mm256_set1_ps(highest));
    let of = |x: &[f32; 8], offset: &[f32; 8]| -> __m256i {
        // SAFETY: both are 8 readable numbers.
        let (x, offset) = unsafe { (_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(offset.as_ptr())) };
        // Of NaN and 0 the maximum is the second.
        let position = _mm256_max_ps(_mm256_mul_ps(_mm256_sub_ps(x, offset), scale), _mm256_setzero_ps());
        _mm256_cvttps_epi32(_mm256_min_ps(position, most))
    };
    let (chunks, rest) = out.as_chunks_mut::<32>();
    for ((out, x), offset) in chunks.iter_mut().zip(vector.as_chunks::<32>().0).zip(offset.as_chunks::<32>().0) {
        let (x, offset) = (x.as_chunks::<8>().0, offset.as_chunks::<8>().0);
        let low = _mm256_packs_epi32(of(&x[0], &offset[0]), of(&x[1], &offset[1]));
        let high = _mm256_packs_epi32(of(&x[2], &offset[2]), of(&x[3], &offset[3]));
        // Packing goes by halves of registers: fours are in order 0, 2, 4, 6, 1, 3, 5, 7 then.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let levels = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
        // SAFETY: the chunk is 32 writable bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), levels) };
    }
    let done = vector.len() - rest.len();
    portable_levels::levels(&vector[done..], &offset[done..], per_step, highest, rest);
}

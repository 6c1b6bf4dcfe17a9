//! Numbers to levels on AVX-512: 16 at a time, the last ones by a mask.

#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    _mm_mask_storeu_epi8, _mm512_cvtepi32_epi8, _mm512_cvttps_epi32, _mm512_maskz_loadu_ps, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn levels(vector: &[f32], offset: &[f32], per_step: f32, highest: f32, out: &mut [u8]) {
    let (scale, most) = (_mm512_set1_ps(per_step), _mm512_set1_ps(highest));
    for ((out, x), offset) in out.chunks_mut(16).zip(vector.chunks(16)).zip(offset.chunks(16)) {
        let present = u16::MAX >> (16 - out.len());
        // SAFETY: the mask admits the lanes below `out.len()`, which all three have, and no other is read or written.
        unsafe {
            let (x, offset) =
                (_mm512_maskz_loadu_ps(present, x.as_ptr()), _mm512_maskz_loadu_ps(present, offset.as_ptr()));
            // Of NaN and 0 the maximum is the second.
            let position = _mm512_max_ps(_mm512_mul_ps(_mm512_sub_ps(x, offset), scale), _mm512_setzero_ps());
            let levels = _mm512_cvttps_epi32(_mm512_min_ps(position, most));
            _mm_mask_storeu_epi8(out.as_mut_ptr().cast(), present, _mm512_cvtepi32_epi8(levels));
        }
    }
}

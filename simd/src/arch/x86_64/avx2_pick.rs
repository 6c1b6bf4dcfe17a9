//! Picking from scores on AVX2.

#![expect(unsafe_code, reason = "loads through pointers")]

use std::arch::x86_64::{
    _CMP_NGT_UQ, _CMP_NLT_UQ, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cmpgt_epi32, _mm256_fnmadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_sub_ps,
};

use crate::arch::portable_pick;
use crate::pick::key;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn smallest(scores: &[i32], k: usize, keys: &mut Vec<u64>) {
    portable_pick::smallest(scores, k, keys, |bound, keys| {
        let (chunks, rest) = scores.as_chunks::<8>();
        let bounds = _mm256_set1_epi32(bound);
        for (i, chunk) in chunks.iter().enumerate() {
            // SAFETY: the chunk is 8 readable numbers.
            let held = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
            let mut mask = !_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(held, bounds))) & 0xff;
            while mask != 0 {
                let place = mask.trailing_zeros() as usize;
                keys.push(key(chunk[place], 8 * i + place));
                mask &= mask - 1;
            }
        }
        portable_pick::add_within(rest, bound, 8 * chunks.len(), keys);
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn within(scores: &[f32], bound: f32) -> u64 {
    let (chunks, rest) = scores.as_chunks::<8>();
    let bounds = _mm256_set1_ps(bound);
    let mut places = 0;
    for (i, chunk) in chunks.iter().enumerate() {
        // SAFETY: the chunk is 8 readable numbers.
        let chunk = unsafe { _mm256_loadu_ps(chunk.as_ptr()) };
        places |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NGT_UQ>(chunk, bounds)) as u64) << (8 * i);
    }
    if rest.is_empty() {
        return places;
    }
    places | portable_pick::within(rest, bound) << (scores.len() - rest.len())
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn reaching(products: &[f32], (flat, steep): (&[f32], &[f32]), (height, length): (f32, f32)) -> u64 {
    let (chunks, rest) = products.as_chunks::<8>();
    let (heights, lengths) = (_mm256_set1_ps(height), _mm256_set1_ps(length));
    let mut places = 0;
    for (i, ((chunk, flat), steep)) in
        chunks.iter().zip(flat.as_chunks::<8>().0).zip(steep.as_chunks::<8>().0).enumerate()
    {
        // SAFETY: each is 8 readable numbers.
        let [product, flat, steep] = [chunk, flat, steep].map(|numbers| unsafe { _mm256_loadu_ps(numbers.as_ptr()) });
        let floor = _mm256_fnmadd_ps(steep, lengths, _mm256_sub_ps(heights, flat));
        places |= (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(product, floor)) as u64) << (8 * i);
    }
    let done = products.len() - rest.len();
    if rest.is_empty() {
        return places;
    }
    places | portable_pick::reaching(rest, (&flat[done..], &steep[done..]), (height, length)) << done
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn insert_key(keys: &mut [u64], key: u64) -> usize {
    portable_pick::insert_key(keys, key)
}

//! Picking from scores on AVX-512: comparisons give masks, and masks take the place of branches.

#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    _CMP_NGT_UQ, _CMP_NLT_UQ, _mm512_cmp_ps_mask, _mm512_cmplt_epi32_mask, _mm512_cmplt_epu64_mask, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_cmp_ps_mask, _mm512_mask_storeu_epi64, _mm512_maskz_loadu_epi64,
    _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_ps, _mm512_storeu_si512, _mm512_sub_ps,
};

use crate::arch::portable_pick;
use crate::pick::MINIMA;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn minima(scores: &[i32], out: &mut [i32; MINIMA]) {
    portable_pick::minima(scores, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn below(scores: &[i32], bound: i32, first: u32, out: &mut Vec<u32>) {
    let (chunks, rest) = scores.as_chunks::<16>();
    let bounds = _mm512_set1_epi32(bound);
    for (i, chunk) in chunks.iter().enumerate() {
        // SAFETY: the chunk is 16 readable numbers.
        let chunk = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
        let mut mask = _mm512_cmplt_epi32_mask(chunk, bounds);
        while mask != 0 {
            out.push(first + 16 * i as u32 + mask.trailing_zeros());
            mask &= mask - 1;
        }
    }
    let first = first + 16 * chunks.len() as u32;
    out.extend((first..).zip(rest).filter(|&(_, &score)| score < bound).map(|(place, _)| place));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn within(scores: &[f32], bound: f32) -> u64 {
    let (chunks, rest) = scores.as_chunks::<16>();
    let bounds = _mm512_set1_ps(bound);
    let mut places = 0;
    for (i, chunk) in chunks.iter().enumerate() {
        // SAFETY: the chunk is 16 readable numbers.
        let chunk = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
        places |= u64::from(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(chunk, bounds)) << (16 * i);
    }
    if rest.is_empty() {
        return places;
    }
    let present = (1_u16 << rest.len()) - 1;
    // SAFETY: the mask admits the lanes below `rest.len()`, and no other lane is read.
    let rest = unsafe { _mm512_maskz_loadu_ps(present, rest.as_ptr()) };
    places | u64::from(_mm512_mask_cmp_ps_mask::<_CMP_NGT_UQ>(present, rest, bounds)) << (16 * chunks.len())
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn reaching(products: &[f32], (flat, steep): (&[f32], &[f32]), (height, length): (f32, f32)) -> u64 {
    let (chunks, rest) = products.as_chunks::<16>();
    let (heights, lengths) = (_mm512_set1_ps(height), _mm512_set1_ps(length));
    let mut places = 0;
    for (i, ((chunk, flat), steep)) in
        chunks.iter().zip(flat.as_chunks::<16>().0).zip(steep.as_chunks::<16>().0).enumerate()
    {
        // SAFETY: each is 16 readable numbers.
        let [product, flat, steep] = [chunk, flat, steep].map(|numbers| unsafe { _mm512_loadu_ps(numbers.as_ptr()) });
        let floor = _mm512_fnmadd_ps(steep, lengths, _mm512_sub_ps(heights, flat));
        places |= u64::from(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(product, floor)) << (16 * i);
    }
    let done = products.len() - rest.len();
    if rest.is_empty() {
        return places;
    }
    places | portable_pick::reaching(rest, (&flat[done..], &steep[done..]), (height, length)) << done
}

/// From the back, eight keys at a time: those above `key` move up by one place, in one store.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn insert_key(keys: &mut [u64], key: u64) -> usize {
    let wanted = _mm512_set1_epi64(key as i64);
    let mut end = keys.len() - 1;
    while end >= 8 {
        let block = keys[end - 8..=end].as_mut_ptr();
        // SAFETY: the block is 9 keys, of which the first 8 are read and the last 8 written.
        unsafe {
            let held = _mm512_loadu_si512(block.cast());
            let below = _mm512_cmplt_epu64_mask(held, wanted);
            if below != 0 {
                _mm512_mask_storeu_epi64(block.add(1).cast(), !below, held);
                let place = end - 8 + below.count_ones() as usize;
                keys[place] = key;
                return place;
            }
            _mm512_storeu_si512(block.add(1).cast(), held);
        }
        end -= 8;
    }
    let present = (1_u8 << end) - 1;
    let block = keys[..=end].as_mut_ptr();
    // SAFETY: the masks admit the first `end` keys for reading, and for writing those one place later.
    let place = unsafe {
        let held = _mm512_maskz_loadu_epi64(present, block.cast());
        let below = _mm512_cmplt_epu64_mask(held, wanted) & present;
        _mm512_mask_storeu_epi64(block.add(1).cast(), present & !below, held);
        below.count_ones() as usize
    };
    keys[place] = key;
    place
}

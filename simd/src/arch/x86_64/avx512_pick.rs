//! Picking from scores on AVX-512: comparisons give masks, and masks take the place of branches.

#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    __m512i, _CMP_NGT_UQ, _CMP_NLT_UQ, _mm512_cmp_ps_mask, _mm512_cmple_epi32_mask, _mm512_cmplt_epu64_mask,
    _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_cmp_ps_mask, _mm512_mask_loadu_epi32,
    _mm512_mask_storeu_epi64, _mm512_maskz_loadu_epi64, _mm512_maskz_loadu_ps, _mm512_max_epi32, _mm512_min_epi32,
    _mm512_reduce_max_epi32, _mm512_reduce_min_epi32, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_ps,
    _mm512_storeu_si512, _mm512_sub_ps,
};

use crate::arch::portable_pick;
use crate::arch::portable_pick::GROUPS;
use crate::pick::key;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn smallest(scores: &[i32], k: usize, keys: &mut Vec<u64>) {
    keys.clear();
    let bound = if k <= GROUPS { bound_of(&minima(scores), k) } else { i32::MAX };
    add_within(scores, bound, keys);
    if keys.len() <= MOST_RANKED {
        rank(keys);
        keys.truncate(k);
    } else {
        portable_pick::keep_smallest(k, keys);
    }
}

/// The smallest score of each group, 16 groups a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn minima(scores: &[i32]) -> [__m512i; GROUPS / 16] {
    let mut minima = [_mm512_set1_epi32(i32::MAX); GROUPS / 16];
    let (chunks, rest) = scores.as_chunks::<GROUPS>();
    for chunk in chunks {
        for (minima, scores) in minima.iter_mut().zip(chunk.as_chunks::<16>().0) {
            // SAFETY: 16 readable numbers.
            *minima = _mm512_min_epi32(*minima, unsafe { _mm512_loadu_si512(scores.as_ptr().cast()) });
        }
    }
    for (minima, scores) in minima.iter_mut().zip(rest.chunks(16)) {
        // SAFETY: the mask admits the lanes below `scores.len()`, and no other lane is read.
        let scores = unsafe { _mm512_mask_loadu_epi32(*minima, u16::MAX >> (16 - scores.len()), scores.as_ptr()) };
        *minima = _mm512_min_epi32(*minima, scores);
    }
    minima
}

/// A number of which at least `k` minima are within, and few more, by halving.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn bound_of(minima: &[__m512i; GROUPS / 16], k: usize) -> i32 {
    let [a, b, c, d] = *minima;
    let mut low = _mm512_reduce_min_epi32(_mm512_min_epi32(_mm512_min_epi32(a, b), _mm512_min_epi32(c, d)));
    let mut high = _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_max_epi32(a, b), _mm512_max_epi32(c, d)));
    while low < high {
        // Rounded down, so that it is below `high`.
        let middle = ((i64::from(low) + i64::from(high)) >> 1) as i32;
        let middles = _mm512_set1_epi32(middle);
        let within = minima.iter().map(|&minima| _mm512_cmple_epi32_mask(minima, middles).count_ones()).sum::<u32>();
        if (within as usize) < k {
            low = middle + 1;
        } else {
            high = middle;
            if within as usize <= k + k / 4 {
                break;
            }
        }
    }
    high
}

/// Adds the keys of the scores that are not above a bound.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn add_within(scores: &[i32], bound: i32, keys: &mut Vec<u64>) {
    let (chunks, rest) = scores.as_chunks::<64>();
    let bounds = _mm512_set1_epi32(bound);
    for (i, chunk) in chunks.iter().enumerate() {
        let mut mask = 0;
        for (j, scores) in chunk.as_chunks::<16>().0.iter().enumerate() {
            // SAFETY: 16 readable numbers.
            let scores = unsafe { _mm512_loadu_si512(scores.as_ptr().cast()) };
            mask |= u64::from(_mm512_cmple_epi32_mask(scores, bounds)) << (16 * j);
        }
        while mask != 0 {
            let place = mask.trailing_zeros() as usize;
            keys.push(key(chunk[place], 64 * i + place));
            mask &= mask - 1;
        }
    }
    portable_pick::add_within(rest, bound, 64 * chunks.len(), keys);
}

/// Keys that are sorted by counting, for each, those that are smaller.
const MOST_RANKED: usize = 64;

/// Sorts at most [`MOST_RANKED`] keys, which all differ.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn rank(keys: &mut [u64]) {
    let (mut held, mut ranked) = ([u64::MAX; MOST_RANKED], [0; MOST_RANKED]);
    held[..keys.len()].copy_from_slice(keys);
    let blocks = &held.as_chunks::<8>().0[..keys.len().div_ceil(8)];
    for &key in &*keys {
        let wanted = _mm512_set1_epi64(key as i64);
        let smaller = |block: &[u64; 8]| {
            // SAFETY: 8 readable numbers.
            _mm512_cmplt_epu64_mask(unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }, wanted).count_ones()
        };
        ranked[blocks.iter().map(smaller).sum::<u32>() as usize % MOST_RANKED] = key;
    }
    keys.copy_from_slice(&ranked[..keys.len()]);
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

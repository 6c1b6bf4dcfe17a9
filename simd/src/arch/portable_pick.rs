//! Picking from scores in plain Rust.

use std::cmp::Ordering;

use crate::pick::key;

/// Groups of scores, every so many being of the same one, whose smallest give a bound.
pub(super) const GROUPS: usize = 64;

/// See [`CodeKernels::smallest`](crate::CodeKernels::smallest); `add_within(bound, keys)` adds the keys of the scores that are not above a
/// bound.
#[inline(always)]
pub(super) fn smallest(scores: &[i32], k: usize, keys: &mut Vec<u64>, add_within: impl Fn(i32, &mut Vec<u64>)) {
    keys.clear();
    let bound = if k <= GROUPS { *minima(scores).select_nth_unstable(k - 1).1 } else { i32::MAX };
    add_within(bound, keys);
    keep_smallest(k, keys);
}

/// Leaves the `k` smallest keys, sorted.
pub(super) fn keep_smallest(k: usize, keys: &mut Vec<u64>) {
    if keys.len() > k {
        keys.select_nth_unstable(k - 1);
        keys.truncate(k);
    }
    keys.sort_unstable();
}

/// The smallest score of each group; the largest number for a group without scores. Left to the compiler, which makes of it what the
/// caller's instruction set has.
#[inline(always)]
fn minima(scores: &[i32]) -> [i32; GROUPS] {
    let mut minima = [i32::MAX; GROUPS];
    let (chunks, rest) = scores.as_chunks::<GROUPS>();
    for chunk in chunks {
        for i in 0..GROUPS {
            minima[i] = minima[i].min(chunk[i]);
        }
    }
    for (minimum, &score) in minima.iter_mut().zip(rest) {
        *minimum = (*minimum).min(score);
    }
    minima
}

/// Adds the keys of the scores that are not above a bound, whose places count from `first`.
#[inline(always)]
pub(super) fn add_within(scores: &[i32], bound: i32, first: usize, keys: &mut Vec<u64>) {
    keys.extend((first..).zip(scores).filter(|&(_, &score)| score <= bound).map(|(place, &score)| key(score, place)));
}

/// See [`CodeKernels::within`](crate::CodeKernels::within).
#[inline(always)]
pub(super) fn within(scores: &[f32], bound: f32) -> u64 {
    let is_within = |score: f32| score.partial_cmp(&bound) != Some(Ordering::Greater);
    scores.iter().enumerate().fold(0, |places, (i, &score)| places | u64::from(is_within(score)) << i)
}

/// See [`CodeKernels::reaching`](crate::CodeKernels::reaching).
#[inline(always)]
pub(super) fn reaching(products: &[f32], (flat, steep): (&[f32], &[f32]), (height, length): (f32, f32)) -> u64 {
    let lines = products.iter().zip(flat).zip(steep).enumerate();
    let reaches = |product: f32, flat: f32, steep: f32| {
        product.partial_cmp(&(height - flat - steep * length)) != Some(Ordering::Less)
    };
    lines.fold(0, |places, (i, ((&product, &flat), &steep))| places | u64::from(reaches(product, flat, steep)) << i)
}

/// See [`CodeKernels::insert_key`](crate::CodeKernels::insert_key).
#[inline(always)]
pub(super) fn insert_key(keys: &mut [u64], key: u64) -> usize {
    let held = keys.len() - 1;
    let place = keys[..held].partition_point(|&other| other < key);
    keys.copy_within(place..held, place + 1);
    keys[place] = key;
    place
}

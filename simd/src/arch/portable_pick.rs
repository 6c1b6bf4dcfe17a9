//! Picking from scores in plain Rust.

use std::cmp::Ordering;

use crate::pick::MINIMA;

/// Left to the compiler, which makes of it what the caller's instruction set has.
#[inline(always)]
pub(super) fn minima(scores: &[i32], out: &mut [i32; MINIMA]) {
    let (chunks, rest) = scores.as_chunks::<MINIMA>();
    for chunk in chunks {
        for i in 0..MINIMA {
            out[i] = out[i].min(chunk[i]);
        }
    }
    for (out, &score) in out.iter_mut().zip(rest) {
        *out = (*out).min(score);
    }
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

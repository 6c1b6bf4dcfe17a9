//! Many vectors against many on NEON.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]

use std::arch::aarch64::{vdupq_n_s32, vld1q_s32, vreinterpretq_s8_s32, vshlq_n_s32, vshrq_n_u8, vst1q_s32, vsubq_s32};

use super::dot::Dot;
use super::neon_codes::Lines;
use crate::arch::lines::CodeIsa;
use crate::tile_columns::TILE_COLUMNS;

/// Rows multiplied with a vector at a time: two sums each.
const ROWS: usize = 4;

/// See [`CodeKernels::u8i8_products`](crate::CodeKernels::u8i8_products).
#[inline(always)]
pub(super) fn u8i8_products<D: Dot>(isa: Lines<D>, vectors: &[u8], rows: &[i8], width: usize, out: &mut [i32]) {
    if out.is_empty() {
        return;
    }
    let row_count = rows.len() / width;
    let row = |r: usize| rows[r * width..][..width].as_chunks::<64>().0;
    let whole = row_count - row_count % ROWS;
    for r in (0..whole).step_by(ROWS) {
        products(isa, vectors, [row(r), row(r + 1), row(r + 2), row(r + 3)], &mut out[r..], row_count);
    }
    for r in whole..row_count {
        products(isa, vectors, [row(r)], &mut out[r..], row_count);
    }
}

/// The inner products of all vectors with `R` rows; those of vector `v` go to `out[v * stride..]`. Levels count from 128, for
/// which the sum of a row makes up.
#[inline(always)]
fn products<D: Dot, const R: usize>(
    isa: Lines<D>,
    vectors: &[u8],
    rows: [&[[i8; 64]]; R],
    out: &mut [i32],
    stride: usize,
) {
    let mut sums_of_rows = [0; R];
    for r in 0..R {
        let mut sum = isa.no_integers();
        for (i, numbers) in rows[r].as_flattened().as_chunks::<16>().0.iter().enumerate() {
            sum[i % 2] = isa.add(sum[i % 2], isa.load_signed(numbers));
        }
        sums_of_rows[r] = isa.total(sum);
    }
    for (v, vector) in vectors.chunks_exact(rows[0].len() * 64).enumerate() {
        let mut sums = [isa.no_integers(); R];
        for (line, levels) in vector.as_chunks::<64>().0.iter().enumerate() {
            for r in 0..R {
                let (levels, numbers) = (levels.as_chunks::<16>().0, rows[r][line].as_chunks::<16>().0);
                for i in 0..4 {
                    let (levels, numbers) = (isa.centred(isa.load(&levels[i])), isa.load_signed(&numbers[i]));
                    sums[r][i % 2] = isa.dot(sums[r][i % 2], levels, numbers);
                }
            }
        }
        for r in 0..R {
            out[v * stride + r] = isa.total(sums[r]) + 128 * sums_of_rows[r];
        }
    }
}

/// Rows of a tile whose sums stay in registers with those of 16 columns: sixteen sums for eight loads.
const TILE_ROWS: usize = 4;

/// See [`CodeKernels::u7_tile`](crate::CodeKernels::u7_tile).
#[inline(always)]
pub(super) fn u7_tile<D: Dot>(isa: Lines<D>, rows: &[u8], columns: &[u8], norms: &[i32], out: &mut [i32]) {
    if out.is_empty() {
        return;
    }
    let count = norms.len();
    let width = columns.len() / count;
    let row = |r: usize| rows[r * width..][..width].as_chunks::<4>().0;
    let row_count = rows.len() / width;
    let whole = row_count - row_count % TILE_ROWS;
    for (b, norms) in norms.as_chunks::<TILE_COLUMNS>().0.iter().enumerate() {
        let block = columns[b * TILE_COLUMNS * width..][..TILE_COLUMNS * width].as_chunks::<64>().0;
        let out = &mut out[b * TILE_COLUMNS..];
        for r in (0..whole).step_by(TILE_ROWS) {
            tile(isa, [row(r), row(r + 1), row(r + 2), row(r + 3)], (block, norms), &mut out[r * count..], count);
        }
        for r in whole..row_count {
            tile(isa, [row(r)], (block, norms), &mut out[r * count..], count);
        }
    }
}

/// Writes `norm - 2 product` for `R` rows and the 16 columns of a block; those of row `r` go to `out[r * stride..]`. Four
/// components of a row meet those of four columns in one step, so no lane ever needs to be added to another.
#[inline(always)]
fn tile<D: Dot, const R: usize>(
    isa: Lines<D>,
    rows: [&[[u8; 4]]; R],
    (block, norms): (&[[u8; 64]], &[i32; TILE_COLUMNS]),
    out: &mut [i32],
    stride: usize,
) {
    // SAFETY: `isa` proves NEON.
    let mut sums = [[unsafe { vdupq_n_s32(0) }; 4]; R];
    for (group, columns) in block.iter().enumerate() {
        let (columns, _) = columns.as_chunks::<16>();
        for r in 0..R {
            // SAFETY: `isa` proves NEON.
            let levels = unsafe { vreinterpretq_s8_s32(vdupq_n_s32(i32::from_le_bytes(rows[r][group]))) };
            for i in 0..4 {
                // SAFETY: `isa` proves NEON. The columns' levels are doubled, which a byte with a sign has no room for.
                let columns = unsafe { vshrq_n_u8::<1>(isa.load(&columns[i])) };
                sums[r][i] = isa.dot(sums[r][i], levels, isa.signed(columns));
            }
        }
    }
    let (norms, _) = norms.as_chunks::<4>();
    for r in 0..R {
        let (out, _) = out[r * stride..][..TILE_COLUMNS].as_chunks_mut::<4>();
        for i in 0..4 {
            // SAFETY: `isa` proves NEON; both chunks are 4 numbers, readable and writable.
            unsafe {
                let scores = vsubq_s32(vld1q_s32(norms[i].as_ptr()), vshlq_n_s32::<1>(sums[r][i]));
                vst1q_s32(out[i].as_mut_ptr(), scores);
            }
        }
    }
}

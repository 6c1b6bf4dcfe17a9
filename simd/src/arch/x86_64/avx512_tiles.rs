//! Many vectors against many on AVX-512 with VNNI.

#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    __m512i, _mm_storeu_si128, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_sub_epi32,
};

use super::avx512_codes::Vnni;
use crate::tile_columns::TILE_COLUMNS;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn u8i8_products(vectors: &[u8], rows: &[i8], width: usize, out: &mut [i32]) {
    let isa = Vnni::new();
    let row_count = rows.len() / width;
    let row = |r: usize| rows[r * width..][..width].as_chunks::<64>().0;
    let vector_count = vectors.len() / width;
    let vector = |v: usize| vectors[v * width..][..width].as_chunks::<64>().0;
    let (whole, whole_vectors) = (row_count - row_count % ROWS, vector_count - vector_count % VECTORS);
    // Rows outside: some of them stay in the first-level cache, as all of a few vectors do.
    for r in (0..whole).step_by(ROWS) {
        let rows = [row(r), row(r + 1), row(r + 2), row(r + 3)];
        for v in (0..whole_vectors).step_by(VECTORS) {
            let four = [vector(v), vector(v + 1), vector(v + 2), vector(v + 3)];
            for (i, products) in products(isa, four, rows).into_iter().enumerate() {
                out[(v + i) * row_count + r..][..ROWS].copy_from_slice(&products);
            }
        }
        for v in whole_vectors..vector_count {
            let [products] = products(isa, [vector(v)], rows);
            out[v * row_count + r..][..ROWS].copy_from_slice(&products);
        }
    }
    for v in 0..vector_count {
        for r in whole..row_count {
            let [[product, ..]] = products(isa, [vector(v)], [row(r); ROWS]);
            out[v * row_count + r] = product;
        }
    }
}

/// Vectors and rows multiplied at a time: sixteen sums for eight loads.
const VECTORS: usize = 4;
const ROWS: usize = 4;

/// The inner products of `V` vectors with some rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn products<const V: usize>(isa: Vnni, vectors: [&[[u8; 64]]; V], rows: [&[[i8; 64]]; ROWS]) -> [[i32; ROWS]; V] {
    let mut sums = [[_mm512_setzero_si512(); ROWS]; V];
    for line in 0..vectors[0].len() {
        let mut numbers = [_mm512_setzero_si512(); ROWS];
        for r in 0..ROWS {
            numbers[r] = isa.load(&rows[r][line]);
        }
        for v in 0..V {
            let levels = isa.load(&vectors[v][line]);
            for r in 0..ROWS {
                sums[v][r] = _mm512_dpbusd_epi32(sums[v][r], levels, numbers[r]);
            }
        }
    }
    let mut products = [[0; ROWS]; V];
    for v in 0..V {
        // SAFETY: 4 writable numbers.
        unsafe { _mm_storeu_si128(products[v].as_mut_ptr().cast(), isa.four_sums(sums[v])) };
    }
    products
}

/// Rows, and blocks of columns, of a tile whose sums stay in registers: eight sums for six loads.
const TILE: (usize, usize) = (4, 2);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn u7_tile(rows: &[u8], columns: &[u8], norms: &[i32], out: &mut [i32]) {
    let isa = Vnni::new();
    let count = norms.len();
    let width = columns.len() / count;
    let row_count = rows.len() / width;
    let block_count = count / TILE_COLUMNS;
    let row = |r: usize| &rows[r * width..][..width];
    let block = |b: usize| columns[b * TILE_COLUMNS * width..][..TILE_COLUMNS * width].as_chunks::<64>().0;
    let whole_blocks = block_count - block_count % TILE.1;
    for r in (0..row_count).step_by(TILE.0) {
        let r_end = (r + TILE.0).min(row_count);
        for b in (0..whole_blocks).step_by(TILE.1) {
            if r_end - r == TILE.0 {
                let four = [row(r), row(r + 1), row(r + 2), row(r + 3)];
                let sums = tile::<{ TILE.0 }, { TILE.1 }>(isa, four, [block(b), block(b + 1)]);
                for (i, sums) in sums.into_iter().enumerate() {
                    store(sums, &norms[b * TILE_COLUMNS..], &mut out[(r + i) * count + b * TILE_COLUMNS..]);
                }
            } else {
                for r in r..r_end {
                    let [sums] = tile::<1, { TILE.1 }>(isa, [row(r)], [block(b), block(b + 1)]);
                    store(sums, &norms[b * TILE_COLUMNS..], &mut out[r * count + b * TILE_COLUMNS..]);
                }
            }
        }
        for b in whole_blocks..block_count {
            for r in r..r_end {
                let [sums] = tile::<1, 1>(isa, [row(r)], [block(b)]);
                store(sums, &norms[b * TILE_COLUMNS..], &mut out[r * count + b * TILE_COLUMNS..]);
            }
        }
    }
}

/// Twice the inner products of `R` rows with the 16 columns of each of `B` blocks. Four components of a row meet those of 16
/// columns in one instruction, so no lane ever needs to be added to another.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn tile<const R: usize, const B: usize>(isa: Vnni, rows: [&[u8]; R], blocks: [&[[u8; 64]]; B]) -> [[__m512i; B]; R] {
    let mut sums = [[_mm512_setzero_si512(); B]; R];
    let rows = rows.map(|row| row.as_chunks::<4>().0);
    for group in 0..rows[0].len() {
        let mut columns = [_mm512_setzero_si512(); B];
        for b in 0..B {
            columns[b] = isa.load(&blocks[b][group]);
        }
        for r in 0..R {
            let levels = _mm512_set1_epi32(i32::from_le_bytes(rows[r][group]));
            for b in 0..B {
                // Levels of 7 bits are the same numbers with a sign and without; doubled ones are not.
                sums[r][b] = _mm512_dpbusd_epi32(sums[r][b], columns[b], levels);
            }
        }
    }
    sums
}

/// Writes the norms less the sums, for the columns of `B` blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn store<const B: usize>(sums: [__m512i; B], norms: &[i32], out: &mut [i32]) {
    let (norms, _) = norms.as_chunks::<TILE_COLUMNS>();
    let (out, _) = out.as_chunks_mut::<TILE_COLUMNS>();
    for (i, sums) in sums.into_iter().enumerate() {
        // SAFETY: both chunks are 16 numbers, readable and writable; neither access asks for alignment.
        unsafe {
            let norms = _mm512_loadu_si512(norms[i].as_ptr().cast());
            _mm512_storeu_si512(out[i].as_mut_ptr().cast(), _mm512_sub_epi32(norms, sums));
        }
    }
}

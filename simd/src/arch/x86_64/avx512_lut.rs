//! Sums of numbers looked up in registers on AVX-512 with VBMI: eight rows at a time, whose codes stay where they are.
//!
//! One shuffle of bytes looks up 64 codes in two registers, which hold the tables of eight codes of a row: with eight bytes of
//! each of eight rows in a register, those of the low halves, then those of the high ones. The sums of eight bytes side by side
//! are then those of a row.

use std::arch::x86_64::{
    __m256i, __m512i, _mm512_add_epi8, _mm512_add_epi64, _mm512_castsi256_si512, _mm512_cvtepi64_ps,
    _mm512_inserti64x4, _mm512_permutex2var_epi8, _mm512_sad_epu8, _mm512_set1_epi8, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_srli_epi16, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64,
};

use super::avx2_codes::Avx2;
use super::avx512_codes::Vnni;
use crate::arch::rows::row;
use crate::codes::{LUT4_CHUNK, LUT4_TABLE};

/// Rows looked up at a time.
const ROWS: usize = 8;

/// See [`CodeKernels::lut4_by_id`](crate::CodeKernels::lut4_by_id). A last block that is not full is filled up with its first row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn lut4(table: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    let tables = table.as_chunks::<LUT4_TABLE>().0;
    let chunks = |id: u32| row(codes, id, tables.len() * LUT4_CHUNK).as_chunks::<LUT4_CHUNK>().0;
    let (blocks, rest) = out.as_chunks_mut::<ROWS>();
    let (block_ids, rest_ids) = ids.as_chunks::<ROWS>();
    for (out, ids) in blocks.iter_mut().zip(block_ids) {
        let mut rows = [&[][..]; ROWS];
        for r in 0..ROWS {
            rows[r] = chunks(ids[r]);
        }
        *out = sums_of_rows(tables, rows);
    }
    if let Some(&first) = rest_ids.first() {
        let mut rows = [chunks(first); ROWS];
        for r in 1..rest_ids.len() {
            rows[r] = chunks(rest_ids[r]);
        }
        for (out, sum) in rest.iter_mut().zip(sums_of_rows(tables, rows)) {
            *out = sum;
        }
    }
}

/// Sums below 2^24, so exact ones, of rows as long as the tables are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn sums_of_rows(tables: &[[u8; LUT4_TABLE]], mut rows: [&[[u8; LUT4_CHUNK]]; ROWS]) -> [f32; ROWS] {
    for row in &mut rows {
        // Says to the compiler that no index below needs a check.
        *row = &row[..tables.len()];
    }
    let mut sums = _mm512_setzero_si512();
    for chunk in 0..tables.len() {
        let mut chunks = [&[0; LUT4_CHUNK]; ROWS];
        for r in 0..ROWS {
            chunks[r] = &rows[r][chunk];
        }
        sums = _mm512_add_epi64(sums, sums_of_chunk(&tables[chunk], chunks));
    }
    Avx2::new().lanes(_mm512_cvtepi64_ps(sums))
}

/// A sum for each row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn sums_of_chunk(table: &[u8; LUT4_TABLE], rows: [&[u8; LUT4_CHUNK]; ROWS]) -> __m512i {
    /// `a & b | c`
    const JOIN: i32 = 0xea;
    let isa = Vnni::new();
    let (mask, places) = (_mm512_set1_epi8(15), _mm512_set1_epi64(0x7060_5040_3020_1000));
    let mut sums = _mm512_setzero_si512();
    let (bytes, tables) = (turned(rows), table.as_chunks::<64>().0);
    for (i, bytes) in bytes.into_iter().enumerate() {
        let low = _mm512_ternarylogic_epi64::<JOIN>(bytes, mask, places);
        let high = _mm512_ternarylogic_epi64::<JOIN>(_mm512_srli_epi16::<4>(bytes), mask, places);
        let low = _mm512_permutex2var_epi8(isa.load(&tables[4 * i]), low, isa.load(&tables[4 * i + 1]));
        let high = _mm512_permutex2var_epi8(isa.load(&tables[4 * i + 2]), high, isa.load(&tables[4 * i + 3]));
        // Two numbers of 7 bits fit a byte.
        let found = _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512());
        sums = _mm512_add_epi64(sums, found);
    }
    sums
}

/// Four registers, each with eight bytes of every row in order: the first eight, the next, and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn turned(rows: [&[u8; LUT4_CHUNK]; ROWS]) -> [__m512i; 4] {
    let isa = Avx2::new();
    let two = |a: usize, b: usize| {
        let b: __m256i = isa.load(rows[b]);
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(isa.load(rows[a])), b)
    };
    let (a, b, c, d) = (two(0, 2), two(1, 3), two(4, 6), two(5, 7));
    let (first, second) = (_mm512_unpacklo_epi64(a, b), _mm512_unpacklo_epi64(c, d));
    let (third, fourth) = (_mm512_unpackhi_epi64(a, b), _mm512_unpackhi_epi64(c, d));
    [
        _mm512_shuffle_i64x2::<0x88>(first, second),
        _mm512_shuffle_i64x2::<0x88>(third, fourth),
        _mm512_shuffle_i64x2::<0xdd>(first, second),
        _mm512_shuffle_i64x2::<0xdd>(third, fourth),
    ]
}

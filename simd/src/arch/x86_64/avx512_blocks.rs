//! Sums of numbers looked up in registers on AVX-512, for rows whose codes stand side by side: a line of them at a time, four
//! codes of sixteen rows in each half of its bytes.

use std::arch::x86_64::{
    __m512i, _mm_add_epi16, _mm_unpackhi_epi16, _mm_unpacklo_epi16, _mm256_add_epi16, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_set_m128i, _mm512_add_epi8, _mm512_add_epi16, _mm512_and_si512,
    _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_extracti64x4_epi64, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_sub_epi16,
};

use super::avx512_codes::Vnni;
use crate::arch::prefetch::prefetch;
use crate::codes::{LINE_BYTES, LUT4_BLOCK, LUT4_LINE_TABLE};

/// Blocks that share the loads of a table.
const TOGETHER: usize = 4;

/// See [`CodeKernels::lut4_blocks`](crate::CodeKernels::lut4_blocks).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
pub(super) fn lut4_blocks(table: &[u8], blocks: &[u8], ahead: &[u8], out: &mut [f32]) {
    let (tables, lines) = (table.as_chunks::<LUT4_LINE_TABLE>().0, blocks.as_chunks::<LINE_BYTES>().0);
    let mut ahead = ahead.chunks(TOGETHER * LINE_BYTES);
    let (together, rest) = out.as_chunks_mut::<LUT4_BLOCK>().0.as_chunks_mut::<TOGETHER>();
    let (blocks, rest_blocks) = lines.split_at(together.len() * TOGETHER * tables.len());
    for (out, blocks) in together.iter_mut().zip(blocks.chunks_exact(TOGETHER * tables.len())) {
        let mut each = [&[][..]; TOGETHER];
        for (b, lines) in each.iter_mut().zip(blocks.chunks_exact(tables.len())) {
            *b = lines;
        }
        *out = sums(tables, each, &mut ahead);
    }
    for (out, lines) in rest.iter_mut().zip(rest_blocks.chunks_exact(tables.len())) {
        [*out] = sums(tables, [lines], &mut ahead);
    }
    ahead.for_each(|lines| prefetch(lines.as_ptr(), lines.len()));
}

/// The sums of the rows of some blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn sums<'a, const B: usize>(
    tables: &[[u8; LUT4_LINE_TABLE]],
    mut blocks: [&[[u8; LINE_BYTES]]; B],
    ahead: &mut impl Iterator<Item = &'a [u8]>,
) -> [[f32; LUT4_BLOCK]; B] {
    for lines in &mut blocks {
        // Says to the compiler that no index below needs a check.
        *lines = &lines[..tables.len()];
    }
    let (isa, mask) = (Vnni::new(), _mm512_set1_epi8(15));
    // Of each block the sums of all rows, in which those of odd rows are 256 times too large, and the sums of odd rows.
    let mut both = [_mm512_setzero_si512(); B];
    let mut odd = [_mm512_setzero_si512(); B];
    for line in 0..tables.len() {
        if let Some(lines) = ahead.next() {
            prefetch(lines.as_ptr(), lines.len());
        }
        let [low, high] = tables[line].as_chunks::<64>().0 else { unreachable!() };
        let (low, high) = (isa.load(low), isa.load(high));
        for b in 0..B {
            let codes = isa.load(&blocks[b][line]);
            let of_low = _mm512_shuffle_epi8(low, _mm512_and_si512(codes, mask));
            let of_high = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), mask));
            // Two numbers of 7 bits fit a byte.
            let found = _mm512_add_epi8(of_low, of_high);
            both[b] = _mm512_add_epi16(both[b], found);
            odd[b] = _mm512_add_epi16(odd[b], _mm512_srli_epi16::<8>(found));
        }
    }
    let mut out = [[0.0; LUT4_BLOCK]; B];
    for b in 0..B {
        out[b] = in_order(_mm512_sub_epi16(both[b], _mm512_slli_epi16::<8>(odd[b])), odd[b]);
    }
    out
}

/// The numbers of even and of odd rows, four of each, added up and put in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512vbmi,gfni,popcnt")]
fn in_order(even: __m512i, odd: __m512i) -> [f32; LUT4_BLOCK] {
    let added = |v: __m512i| {
        let v = _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
        _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v))
    };
    let (even, odd) = (added(even), added(odd));
    let rows = _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
    Vnni::new().lanes(_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(rows)))
}

//! Sums of numbers looked up in registers on AVX2: sixteen rows at a time, turned so that a register has one byte of each.
//!
//! A shuffle looks up 16 times 4 bits in a table of 16 bytes, twice in a register. For that the codes of different rows must
//! lie side by side, as they do in inverted lists that are made so (André, Kermarrec and Le Scouarnec, "Cache locality is not
//! enough", VLDB 2015); the rows of a graph lie anywhere, and are turned in registers first.

#![expect(unsafe_code, reason = "intrinsics of an instruction set need a proof that the CPU has it")]
#![expect(clippy::unused_self, reason = "`self` is that proof")]

use std::arch::x86_64::{
    __m256i, _mm_add_epi16, _mm_unpackhi_epi16, _mm_unpacklo_epi16, _mm256_add_epi8, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_si128, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32,
    _mm256_extracti128_si256, _mm256_loadu2_m128i, _mm256_permute2x128_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_epi16,
    _mm256_unpackhi_epi8, _mm256_unpackhi_epi32, _mm256_unpacklo_epi8, _mm256_unpacklo_epi32,
};

use super::avx2_codes::Avx2;
use crate::arch::lut;
use crate::arch::prefetch::prefetch;
use crate::arch::rows::row;
use crate::codes::{LINE_BYTES, LUT4_BLOCK, LUT4_CHUNK, LUT4_LINE_TABLE, LUT4_TABLE};

/// Rows looked up at a time.
const ROWS: usize = 16;
/// Chunks after which sums of 16 bits are widened: each adds at most 16 times 2 * 127 to one.
const NARROW_CHUNKS: usize = 16;

/// Rows of a last block that are looked up one by one: turning costs as much for one row as for sixteen.
const FEW: usize = 2;

/// See [`CodeKernels::lut4_by_id`](crate::CodeKernels::lut4_by_id). A last block that is not full is filled up with its first
/// row.
#[inline(always)]
pub(super) fn lut4(isa: Avx2, table: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    let tables = table.as_chunks::<LUT4_TABLE>().0;
    let chunks = |id: u32| row(codes, id, tables.len() * LUT4_CHUNK).as_chunks::<LUT4_CHUNK>().0;
    let (blocks, rest) = out.as_chunks_mut::<ROWS>();
    let (block_ids, rest_ids) = ids.as_chunks::<ROWS>();
    for (out, ids) in blocks.iter_mut().zip(block_ids) {
        *out = isa.sums_of_rows(tables, ids.map(chunks));
    }
    if rest_ids.len() <= FEW {
        return lut::lut4(table, codes, rest_ids, rest);
    }
    let mut rows = [chunks(rest_ids[0]); ROWS];
    for (row, &id) in rows.iter_mut().zip(rest_ids) {
        *row = chunks(id);
    }
    for (out, sum) in rest.iter_mut().zip(isa.sums_of_rows(tables, rows)) {
        *out = sum;
    }
}

/// See [`CodeKernels::lut4_blocks`](crate::CodeKernels::lut4_blocks).
#[inline(always)]
pub(super) fn lut4_blocks(isa: Avx2, table: &[u8], blocks: &[u8], ahead: &[u8], out: &mut [f32]) {
    prefetch(ahead.as_ptr(), ahead.len());
    let tables = table.as_chunks::<LUT4_LINE_TABLE>().0;
    let blocks = blocks.as_chunks::<LINE_BYTES>().0.chunks_exact(tables.len());
    for (out, lines) in out.as_chunks_mut::<LUT4_BLOCK>().0.iter_mut().zip(blocks) {
        *out = isa.sums_of_block(tables, lines);
    }
}

impl Avx2 {
    /// The sums of the rows of a block. A register has two codes of each in its low halves, and two in its high ones.
    #[inline(always)]
    fn sums_of_block(self, tables: &[[u8; LUT4_LINE_TABLE]], lines: &[[u8; LINE_BYTES]]) -> [f32; LUT4_BLOCK] {
        // SAFETY: `self` proves AVX.
        let mut sums = [unsafe { _mm256_setzero_si256() }; 2];
        for (table, line) in tables.iter().zip(lines) {
            let (tables, halves) = (table.as_chunks::<32>().0, line.as_chunks::<32>().0);
            for half in 0..2 {
                // SAFETY: `self` proves AVX2.
                unsafe {
                    let (codes, mask) = (self.load(&halves[half]), _mm256_set1_epi8(15));
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask);
                    let of_low = _mm256_shuffle_epi8(self.load(&tables[half]), _mm256_and_si256(codes, mask));
                    let of_high = _mm256_shuffle_epi8(self.load(&tables[half + 2]), high);
                    sums = self.added(sums, _mm256_add_epi8(of_low, of_high));
                }
            }
        }
        let [both, odd] = sums;
        let mut out = [0.0; LUT4_BLOCK];
        // SAFETY: `self` proves AVX2; `out` is 16 writable floats.
        unsafe {
            let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
            let halved = |v| _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            let (even, odd) = (halved(even), halved(odd));
            let (first, second) = (_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd));
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(first)));
            _mm256_storeu_ps(out[8..].as_mut_ptr(), _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(second)));
        }
        out
    }

    /// Adds bytes, found for rows side by side, to the sums of all rows, in which those of odd rows are 256 times too large, and
    /// to the sums of odd rows.
    #[inline(always)]
    fn added(self, [both, odd]: [__m256i; 2], found: __m256i) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_add_epi16(both, found), _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(found))] }
    }

    #[inline(always)]
    fn sums_of_rows(self, tables: &[[u8; LUT4_TABLE]], rows: [&[[u8; LUT4_CHUNK]]; ROWS]) -> [f32; ROWS] {
        // SAFETY: `self` proves AVX.
        let mut wide = [unsafe { _mm256_setzero_si256() }; 2];
        for (group, tables) in tables.chunks(NARROW_CHUNKS).enumerate() {
            // SAFETY: as above.
            let mut sums = [unsafe { _mm256_setzero_si256() }; 2];
            for (at, table) in tables.iter().enumerate() {
                let chunk = rows.map(|row| &row[group * NARROW_CHUNKS + at]);
                let eighths = table.as_chunks::<{ LUT4_TABLE / 8 }>().0;
                // SAFETY: `self` proves AVX2.
                let bytes = self.turned(chunk, |a, b| unsafe { _mm256_unpacklo_epi8(a, b) });
                sums = self.look_up(sums, [[&eighths[0], &eighths[4]], [&eighths[1], &eighths[5]]], bytes);
                // SAFETY: as above.
                let bytes = self.turned(chunk, |a, b| unsafe { _mm256_unpackhi_epi8(a, b) });
                sums = self.look_up(sums, [[&eighths[2], &eighths[6]], [&eighths[3], &eighths[7]]], bytes);
            }
            wide = self.widened(wide, sums);
        }
        self.in_order(wide)
    }

    /// Eight bytes of each half of the chunks, those that `halved` takes: a register has one of each half, of all rows.
    ///
    /// A step takes the top bit of a register's number to the bottom of the places of its bytes, and the top bit of these
    /// places to the bottom of the numbers; after four, numbers and places have changed their parts.
    #[inline(always)]
    fn turned(self, rows: [&[u8; LUT4_CHUNK]; ROWS], halved: impl Fn(__m256i, __m256i) -> __m256i) -> [__m256i; 8] {
        let mut registers: [__m256i; 8] = std::array::from_fn(|i| halved(self.load(rows[i]), self.load(rows[i + 8])));
        for _ in 0..3 {
            registers = std::array::from_fn(|i| {
                let (a, b) = (registers[i / 2], registers[i / 2 + 4]);
                // SAFETY: `self` proves AVX2.
                unsafe { if i % 2 == 0 { _mm256_unpacklo_epi8(a, b) } else { _mm256_unpackhi_epi8(a, b) } }
            });
        }
        registers
    }

    /// Adds what the low and the high halves of turned bytes name in their tables, two for the halves of a register, to sums of
    /// 16 bits, as [`added`](Self::added) does.
    #[inline(always)]
    fn look_up(
        self,
        mut sums: [__m256i; 2],
        [low, high]: [[&[u8; LUT4_TABLE / 8]; 2]; 2],
        turned: [__m256i; 8],
    ) -> [__m256i; 2] {
        for (at, bytes) in turned.into_iter().enumerate() {
            // SAFETY: `self` proves AVX2; a table is 16 readable bytes.
            unsafe {
                let table = |[a, b]: [&[u8; LUT4_TABLE / 8]; 2]| {
                    let [a, b] = [a, b].map(|tables| tables.as_chunks::<16>().0[at].as_ptr().cast());
                    _mm256_loadu2_m128i(b, a)
                };
                let mask = _mm256_set1_epi8(15);
                let of_low = _mm256_shuffle_epi8(table(low), _mm256_and_si256(bytes, mask));
                let of_high = _mm256_shuffle_epi8(table(high), _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask));
                sums = self.added(sums, _mm256_add_epi8(of_low, of_high));
            }
        }
        sums
    }

    /// Adds the narrow sums to the wide ones of even and of odd rows.
    #[inline(always)]
    fn widened(self, wide: [__m256i; 2], [both, second]: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let first = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(second));
            let widen = |sums: __m256i, narrow: __m256i| {
                let low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(narrow));
                let high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(narrow));
                _mm256_add_epi32(sums, _mm256_add_epi32(low, high))
            };
            [widen(wide[0], first), widen(wide[1], second)]
        }
    }

    /// The sums of even and of odd rows, as numbers in the order of the rows.
    #[inline(always)]
    fn in_order(self, [even, odd]: [__m256i; 2]) -> [f32; ROWS] {
        let mut out = [0.0; ROWS];
        // SAFETY: `self` proves AVX2; `out` is 16 writable floats.
        unsafe {
            let (a, b) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
            let (low, high) = (_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b));
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtepi32_ps(low));
            _mm256_storeu_ps(out.as_mut_ptr().add(8), _mm256_cvtepi32_ps(high));
        }
        out
    }
}

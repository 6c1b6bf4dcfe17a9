//! Scoring rows of codes, line by line: every kernel of [`CodeKernels`](crate::CodeKernels), once over what an instruction
//! set does with a line.

use super::rows::{PREFETCH_IDS, prefetch_row, row};
use crate::codes::LINE_BYTES;

/// Rows scored at a time.
const ROWS: usize = 4;
/// How much of a row is asked for ahead; the hardware's own prefetcher follows from there.
const PREFETCH_BYTES: usize = 4 * LINE_BYTES;

/// What an instruction set does with one line of each kind of codes. A value is a proof that the CPU has the instruction set,
/// as for [`Isa`](super::isa::Isa), and the methods must be `#[inline(always)]` for the same reason.
pub(super) trait CodeIsa: Copy {
    /// Partial sums of integers.
    type Integers: Copy;
    /// Partial sums of `f32`.
    type Numbers: Copy;

    /// No sum yet.
    fn no_integers(self) -> Self::Integers;
    /// No sum yet.
    fn no_numbers(self) -> Self::Numbers;
    /// Adds `(8 c - q)²` for the 128 levels of a line, which share bytes: the first 64 are the low halves.
    fn add_u4(self, sum: Self::Integers, query: &[i8; 128], codes: &[u8; 64]) -> Self::Integers;
    /// Adds `(c - q)²` for levels of 7 bits.
    fn add_u7(self, sum: Self::Integers, query: &[u8; 64], codes: &[u8; 64]) -> Self::Integers;
    /// Adds `(c - q)²` for levels of 8 bits.
    fn add_u8(self, sum: Self::Numbers, query: &[f32; 64], codes: &[u8; 64]) -> Self::Numbers;
    /// Adds `(c - q)²` for the bits of binary16 numbers.
    fn add_f16(self, sum: Self::Numbers, query: &[f32; 32], codes: &[u16; 32]) -> Self::Numbers;
    /// Adds `(c - q)²` for the bits of bfloat16 numbers, the upper halves of `f32`.
    fn add_bf16(self, sum: Self::Numbers, query: &[f32; 32], codes: &[u16; 32]) -> Self::Numbers;
    /// Adds `c q` for the bits of a line: the query's four planes, 64 bytes each, hold the bits of its numbers 0..=15, the
    /// lowest first.
    fn add_dot1(self, sum: Self::Integers, query: &[u8; 256], codes: &[u8; 64]) -> Self::Integers;
    /// Adds `c q` for the 128 levels of a line, which share bytes as in `add_u4`.
    fn add_dot4(self, sum: Self::Integers, query: &[i8; 128], codes: &[u8; 64]) -> Self::Integers;
    /// Adds `c q` for levels of 8 bits.
    fn add_dot8(self, sum: Self::Integers, query: &[i8; 64], codes: &[u8; 64]) -> Self::Integers;
    /// The sum of the partial sums.
    fn sum_integers(self, sum: Self::Integers) -> f32;
    /// The same for some rows.
    #[inline(always)]
    fn sum_integers_of_rows(self, sums: [Self::Integers; ROWS]) -> [f32; ROWS] {
        let mut totals = [0.0; ROWS];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = self.sum_integers(sum);
        }
        totals
    }
    /// The sum of the partial sums.
    fn sum_numbers(self, sum: Self::Numbers) -> f32;
    /// The sums of some rows. Not by a closure: compiled by itself, it would lack the instruction set.
    #[inline(always)]
    fn sum_numbers_of_rows(self, sums: [Self::Numbers; ROWS]) -> [f32; ROWS] {
        let mut totals = [0.0; ROWS];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = self.sum_numbers(sum);
        }
        totals
    }
}

/// One kind of codes on one instruction set.
pub(super) trait Lines: Copy {
    /// Whether [`by_id`] asks for rows ahead of those it scores. Not for codes whose callers ask themselves, and earlier.
    const PREFETCHED: bool;
    /// An element of the query.
    type Query: Copy;
    /// An element of the codes.
    type Code: Copy;
    /// The query's elements for one line of a row, as an array.
    type QueryLine;
    /// A row's elements in one line, as an array.
    type CodeLine;
    /// Partial sums of one row.
    type Sum: Copy;

    /// The query in lines.
    fn query_lines(query: &[Self::Query]) -> &[Self::QueryLine];
    /// A row in lines.
    fn code_lines(row: &[Self::Code]) -> &[Self::CodeLine];
    /// No sum yet.
    fn zero(self) -> Self::Sum;
    /// Adds the terms of one line.
    fn add(self, sum: Self::Sum, query: &Self::QueryLine, codes: &Self::CodeLine) -> Self::Sum;
    /// The score.
    fn reduce(self, sum: Self::Sum) -> f32;
    /// The scores of some rows.
    fn reduce_rows(self, sums: [Self::Sum; ROWS]) -> [f32; ROWS];
}

/// Four bits per component.
#[derive(Clone, Copy)]
pub(super) struct U4<I>(pub(super) I);
/// Seven bits per component.
#[derive(Clone, Copy)]
pub(super) struct U7<I>(pub(super) I);
/// Eight bits per component.
#[derive(Clone, Copy)]
pub(super) struct U8<I>(pub(super) I);
/// Half-precision numbers.
#[derive(Clone, Copy)]
pub(super) struct F16<I>(pub(super) I);
/// Upper halves of `f32`.
#[derive(Clone, Copy)]
pub(super) struct Bf16<I>(pub(super) I);

/// Products with one bit per component.
#[derive(Clone, Copy)]
pub(super) struct Dot1<I>(pub(super) I);
/// Products with four bits per component.
#[derive(Clone, Copy)]
pub(super) struct Dot4<I>(pub(super) I);
/// Products with eight bits per component.
#[derive(Clone, Copy)]
pub(super) struct Dot8<I>(pub(super) I);

/// A kind of codes: its types, and the methods of [`CodeIsa`] that it is made of.
macro_rules! lines {
    ($kind:ident, $prefetched:literal, $query:ty, $query_line:literal, $code:ty, $code_line:literal, $sum:ident: $none:ident, $add:ident, $total:ident, $totals:expr) => {
        impl<I: CodeIsa> Lines for $kind<I> {
            const PREFETCHED: bool = $prefetched;
            type Query = $query;
            type Code = $code;
            type QueryLine = [$query; $query_line];
            type CodeLine = [$code; $code_line];
            type Sum = I::$sum;

            #[inline(always)]
            fn query_lines(query: &[$query]) -> &[Self::QueryLine] {
                query.as_chunks().0
            }

            #[inline(always)]
            fn code_lines(row: &[$code]) -> &[Self::CodeLine] {
                row.as_chunks().0
            }

            #[inline(always)]
            fn zero(self) -> Self::Sum {
                self.0.$none()
            }

            #[inline(always)]
            fn add(self, sum: Self::Sum, query: &Self::QueryLine, codes: &Self::CodeLine) -> Self::Sum {
                self.0.$add(sum, query, codes)
            }

            #[inline(always)]
            fn reduce(self, sum: Self::Sum) -> f32 {
                self.0.$total(sum)
            }

            #[inline(always)]
            fn reduce_rows(self, sums: [Self::Sum; ROWS]) -> [f32; ROWS] {
                $totals(self.0, sums)
            }
        }
    };
}

lines!(U4, false, i8, 128, u8, 64, Integers: no_integers, add_u4, sum_integers, I::sum_integers_of_rows);
lines!(U7, false, u8, 64, u8, 64, Integers: no_integers, add_u7, sum_integers, I::sum_integers_of_rows);
lines!(U8, true, f32, 64, u8, 64, Numbers: no_numbers, add_u8, sum_numbers, I::sum_numbers_of_rows);
lines!(F16, true, f32, 32, u16, 32, Numbers: no_numbers, add_f16, sum_numbers, I::sum_numbers_of_rows);
lines!(Bf16, true, f32, 32, u16, 32, Numbers: no_numbers, add_bf16, sum_numbers, I::sum_numbers_of_rows);

lines!(Dot1, false, u8, 256, u8, 64, Integers: no_integers, add_dot1, sum_integers, I::sum_integers_of_rows);
lines!(Dot4, false, i8, 128, u8, 64, Integers: no_integers, add_dot4, sum_integers, I::sum_integers_of_rows);
lines!(Dot8, false, i8, 64, u8, 64, Integers: no_integers, add_dot8, sum_integers, I::sum_integers_of_rows);

/// The scores of `query` with the rows of `codes` that `ids` names.
#[inline(always)]
pub(super) fn by_id<L: Lines>(isa: L, query: &[L::Query], codes: &[L::Code], ids: &[u32], out: &mut [f32]) {
    let width = L::query_lines(query).len() * (LINE_BYTES / size_of::<L::Code>());
    by_id_within(isa, query, (codes, width), ids, out);
}

/// The same for rows of `width` elements, of which no more than the query has lines for are read.
#[inline(always)]
pub(super) fn by_id_within<L: Lines>(
    isa: L,
    query: &[L::Query],
    (codes, width): (&[L::Code], usize),
    ids: &[u32],
    out: &mut [f32],
) {
    let query_lines = L::query_lines(query);
    if ids.len() != out.len() || size_of_val(query_lines) != size_of_val(query) {
        refuse(query.len(), ids.len(), out.len());
    }
    if L::PREFETCHED {
        for &id in &ids[..PREFETCH_IDS.min(ids.len())] {
            prefetch_row(codes, id, width, PREFETCH_BYTES);
        }
    }
    let (blocks, rest) = out.as_chunks_mut::<ROWS>();
    let (block_ids, rest_ids) = ids.as_chunks::<ROWS>();
    let mut next = PREFETCH_IDS;
    for (scores, block) in blocks.iter_mut().zip(block_ids) {
        if L::PREFETCHED {
            for &id in ids.get(next..).unwrap_or_default().iter().take(ROWS) {
                prefetch_row(codes, id, width, PREFETCH_BYTES);
            }
            next += ROWS;
        }
        // Not `block.map`, which the compiler leaves a call.
        let mut rows: [&[L::CodeLine]; ROWS] = [&[]; ROWS];
        for r in 0..ROWS {
            rows[r] = L::code_lines(row(codes, block[r], width));
        }
        *scores = isa.reduce_rows(sums(isa, query_lines, rows));
    }
    for (score, &id) in rest.iter_mut().zip(rest_ids) {
        let [sum] = sums(isa, query_lines, [L::code_lines(row(codes, id, width))]);
        *score = isa.reduce(sum);
    }
}

/// The partial sums of `R` rows. Each line of the query is loaded once for all of them.
#[inline(always)]
fn sums<L: Lines, const R: usize>(isa: L, query: &[L::QueryLine], rows: [&[L::CodeLine]; R]) -> [L::Sum; R] {
    let mut sums = [isa.zero(); R];
    let mut cut: [&[L::CodeLine]; R] = [&[]; R];
    for r in 0..R {
        // The length is the query's, and slicing says so to the compiler: no index below is checked at run time.
        cut[r] = &rows[r][..query.len()];
    }
    for line in 0..query.len() {
        for r in 0..R {
            sums[r] = isa.add(sums[r], &query[line], &cut[r][line]);
        }
    }
    sums
}

#[cold]
#[inline(never)]
fn refuse(query: usize, ids: usize, out: usize) -> ! {
    panic!(
        "a query of {query} elements, {ids} ids and room for {out} scores: lines must be whole and the lengths equal"
    );
}

//! Scoring rows of codes, line by line: every kernel of [`CodeKernels`](crate::CodeKernels), once over what an instruction
//! set does with a line.

use crate::codes::LINE_BYTES;

/// Rows scored at a time.
const ROWS: usize = 4;
/// Ids ahead of those being scored for which [`by_id`] asks, where it does.
const PREFETCH_IDS: usize = 8;
/// How much of a row is asked for; the hardware's own prefetcher follows from there.
const PREFETCH_LINES: usize = 4;

/// What one instruction set does with one kind of code. A value is a proof that the CPU has the instruction set, as for
/// [`Isa`](super::isa::Isa), and the methods must be `#[inline(always)]` for the same reason.
pub(super) trait Lines: Copy {
    /// An element of the query.
    type Query: Copy;
    /// An element of the codes.
    type Code: Copy;
    /// Partial sums of one row.
    type Sum: Copy;
    /// The query's elements for one line of a row, as an array.
    type QueryLine;
    /// A row's elements in one line, as an array.
    type CodeLine;

    /// Whether [`by_id`] asks for rows ahead of those it scores. Not for codes that searches walk over: they ask themselves,
    /// and earlier.
    const PREFETCHED: bool = true;

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
    /// The scores of [`ROWS`] rows.
    #[inline(always)]
    fn reduce_rows(self, sums: [Self::Sum; ROWS]) -> [f32; ROWS] {
        let [a, b, c, d] = sums;
        [self.reduce(a), self.reduce(b), self.reduce(c), self.reduce(d)]
    }
}

/// The scores of `query` with the rows of `codes` that `ids` names.
#[inline(always)]
pub(super) fn by_id<L: Lines>(isa: L, query: &[L::Query], codes: &[L::Code], ids: &[u32], out: &mut [f32]) {
    let query_lines = L::query_lines(query);
    let width = query_lines.len() * (LINE_BYTES / size_of::<L::Code>());
    if ids.len() != out.len() || size_of_val(query_lines) != size_of_val(query) {
        refuse(query.len(), ids.len(), out.len());
    }
    if L::PREFETCHED {
        for &id in &ids[..PREFETCH_IDS.min(ids.len())] {
            prefetch_row(codes, id, width);
        }
    }
    let (blocks, rest) = out.as_chunks_mut::<ROWS>();
    let (block_ids, rest_ids) = ids.as_chunks::<ROWS>();
    let mut next = PREFETCH_IDS;
    for (scores, block) in blocks.iter_mut().zip(block_ids) {
        if L::PREFETCHED {
            for &id in ids.get(next..).unwrap_or_default().iter().take(ROWS) {
                prefetch_row(codes, id, width);
            }
            next += ROWS;
        }
        let rows = block.map(|id| L::code_lines(row(codes, id, width)));
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

#[inline(always)]
fn row<C>(codes: &[C], id: u32, width: usize) -> &[C] {
    let start = id as usize * width;
    match codes.get(start..start + width) {
        Some(row) => row,
        None => refuse_id(id, codes.len(), width),
    }
}

#[inline(always)]
fn prefetch_row<C>(codes: &[C], id: u32, width: usize) {
    // Not checked: a prefetch of an address outside the codes does nothing, and the id is refused when its turn comes.
    let start = codes.as_ptr().wrapping_add((id as usize).wrapping_mul(width));
    super::prefetch(start.cast(), (width * size_of::<C>()).min(PREFETCH_LINES * LINE_BYTES));
}

#[cold]
#[inline(never)]
fn refuse(query: usize, ids: usize, out: usize) -> ! {
    panic!(
        "a query of {query} elements, {ids} ids and room for {out} scores: lines must be whole and the lengths equal"
    );
}

#[cold]
#[inline(never)]
fn refuse_id(id: u32, codes: usize, width: usize) -> ! {
    panic!("id {id} names no row of {codes} codes in rows of {width}");
}

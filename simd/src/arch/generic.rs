//! Every kernel, written once over an [`Isa`] and a [`Score`].
//!
//! Summation order. With chunks of a register's width, chunk `c` of a pair of vectors is added to accumulator `c mod 4`
//! while four whole chunks remain; of the last chunks, the first goes to accumulator 0, and so on; the elements after the
//! last whole chunk go to accumulator 3. Then `(0 + 1) + (2 + 3)`, then the lanes. Four accumulators hide the latency of a
//! fused multiply-add.
//!
//! Invariant: all kernels of one instruction set add in this order, so the score of a pair is one number, bit for bit,
//! whichever kernel computed it, beside whichever other rows. Instruction sets differ from each other: registers of
//! another width give other partial sums.
//!
//! Rounding: with `L` lanes a sum of `d` terms has at most `d / (4 L) + 2 + log2(L)` additions on the way from a term to
//! the result, so its error is below `(d / (4 L) + log2(L) + 5) * 2^-24 * Σ |term|`.
//!
//! Everything here is `#[inline(always)]`: it must be compiled inside the `#[target_feature]` functions that call it.
//! Inner loops count over fixed ranges, which are unrolled so that the accumulators stay in registers; iterators with
//! closures would hide the instruction set from the closure.

#![expect(
    clippy::needless_range_loop,
    reason = "indexes of fixed ranges over several arrays at once are what gets unrolled"
)]

use super::isa::{Isa, Score};
use super::rows::{PREFETCH_IDS, prefetch_row, row};

/// Accumulators per pair of vectors.
const ACCUMULATORS: usize = 4;

/// How much of a row is asked for: the hardware's own prefetcher follows from there. Asking for more gained nothing when
/// rows came from memory, and cost up to a third when they were cached.
const PREFETCH_BYTES: usize = 128;

/// Rows that a tile keeps in the first-level cache while queries pass over them.
const TILE_ROWS_BYTES: usize = 16 * 1024;
/// Queries that a tile keeps in the second-level cache while rows pass under them.
const TILE_QUERIES_BYTES: usize = 256 * 1024;

/// A vector cut up in the order of summation, into chunks `C`.
#[derive(Clone, Copy)]
struct Cut<'a, C> {
    groups: &'a [[C; ACCUMULATORS]],
    /// Fewer than [`ACCUMULATORS`].
    chunks: &'a [C],
    /// Fewer than a chunk.
    rest: &'a [f32],
}

#[inline(always)]
fn cut<I: Isa>(v: &[f32]) -> Cut<'_, I::Chunk> {
    let (chunks, rest) = I::chunks(v);
    let (groups, chunks) = chunks.as_chunks();
    Cut { groups, chunks, rest }
}

/// The score of two vectors.
#[inline(always)]
pub(super) fn pair<I: Isa, S: Score>(isa: I, a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        refuse_pair(a.len(), b.len());
    }
    let [score] = score_rows::<I, S, 1>(isa, a, [b]);
    score
}

/// The scores of `query` with contiguous rows, one after another: from memory they come more than twice as fast as three or
/// four at a time, whose lines the hardware's prefetchers do not take for one stream; in the cache no slower.
#[inline(always)]
pub(super) fn many<I: Isa, S: Score>(isa: I, query: &[f32], rows: &[f32], out: &mut [f32]) {
    let d = query.len();
    if out.len().checked_mul(d) != Some(rows.len()) {
        refuse_rows(d, rows.len(), out.len());
    }
    for (i, score) in out.iter_mut().enumerate() {
        [*score] = score_rows::<I, S, 1>(isa, query, consecutive(&rows[i * d..], d));
    }
}

/// The scores of `query` with the rows of `base` that `ids` names, `R` at a time.
#[inline(always)]
pub(super) fn by_id<I: Isa, S: Score, const R: usize>(
    isa: I,
    query: &[f32],
    base: &[f32],
    ids: &[u32],
    out: &mut [f32],
) {
    let d = query.len();
    if ids.len() != out.len() {
        refuse_ids(ids.len(), out.len());
    }
    debug_assert!(d == 0 || base.len().is_multiple_of(d), "{} floats are no whole rows of {d}", base.len());
    for &id in &ids[..PREFETCH_IDS.min(ids.len())] {
        prefetch_row(base, id, d, PREFETCH_BYTES);
    }
    let (blocks, rest) = out.as_chunks_mut::<R>();
    let (block_ids, rest_ids) = ids.as_chunks::<R>();
    let mut next = PREFETCH_IDS;
    for (scores, block) in blocks.iter_mut().zip(block_ids) {
        for &id in ids.get(next..).unwrap_or_default().iter().take(R) {
            prefetch_row(base, id, d, PREFETCH_BYTES);
        }
        next += R;
        let mut rows: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            rows[r] = row(base, block[r], d);
        }
        *scores = score_rows::<I, S, R>(isa, query, rows);
    }
    for (score, &id) in rest.iter_mut().zip(rest_ids) {
        [*score] = score_rows::<I, S, 1>(isa, query, [row(base, id, d)]);
    }
}

/// The scores of all `queries` with all `rows`, `Q` x `R` at a time.
///
/// A panel of rows stays in the first-level cache while a panel of queries, held by the second, passes over it.
#[inline(always)]
pub(super) fn tile<I: Isa, S: Score, const Q: usize, const R: usize>(
    isa: I,
    queries: &[f32],
    rows: &[f32],
    d: usize,
    out: &mut [f32],
) {
    if d == 0 {
        refuse_tile(queries.len(), rows.len(), d, out.len());
    }
    let (query_count, row_count) = (queries.len() / d, rows.len() / d);
    let whole = query_count * d == queries.len() && row_count * d == rows.len();
    if !whole || query_count.checked_mul(row_count) != Some(out.len()) {
        refuse_tile(queries.len(), rows.len(), d, out.len());
    }
    let (query_panel, row_panel) = panels(d, Q, R);
    for q_start in (0..query_count).step_by(query_panel) {
        let q_end = (q_start + query_panel).min(query_count);
        for r_start in (0..row_count).step_by(row_panel) {
            let r_end = (r_start + row_panel).min(row_count);
            let rows = &rows[r_start * d..r_end * d];
            for q in (q_start..q_end).step_by(Q) {
                if q + Q <= q_end {
                    let queries = consecutive::<Q>(&queries[q * d..], d);
                    tile_strip::<I, S, Q, R>(isa, queries, rows, &mut out[q * row_count + r_start..], row_count);
                } else {
                    for q in q..q_end {
                        let scores = &mut out[q * row_count..][r_start..r_end];
                        many::<I, S>(isa, &queries[q * d..][..d], rows, scores);
                    }
                }
            }
        }
    }
}

/// The scores of `Q` queries with a panel of rows; those of query `q` go to `out[q * stride..]`.
#[inline(always)]
fn tile_strip<I: Isa, S: Score, const Q: usize, const R: usize>(
    isa: I,
    queries: [&[f32]; Q],
    rows: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let d = queries[0].len();
    let count = rows.len() / d;
    let whole = count - count % R;
    for r in (0..whole).step_by(R) {
        let scores = score_tile::<I, S, Q, R>(isa, queries, consecutive(&rows[r * d..], d));
        for q in 0..Q {
            out[q * stride + r..][..R].copy_from_slice(&scores[q]);
        }
    }
    for q in 0..Q {
        for r in whole..count {
            [out[q * stride + r]] = score_rows::<I, S, 1>(isa, queries[q], consecutive(&rows[r * d..], d));
        }
    }
}

/// The scores of `query` with `R` rows of its length: the inner loop of [`pair`], [`many`] and [`by_id`]. Each register of
/// the query is loaded once for `R` rows.
#[inline(always)]
fn score_rows<I: Isa, S: Score, const R: usize>(isa: I, query: &[f32], rows: [&[f32]; R]) -> [f32; R] {
    let q = cut::<I>(query);
    let mut cuts = [q; R];
    for r in 0..R {
        // The length is the query's, and slicing says so to the compiler: no index below is checked at run time.
        cuts[r] = cut::<I>(&rows[r][..query.len()]);
    }
    let mut sums = [[isa.zero(); ACCUMULATORS]; R];
    for g in 0..q.groups.len() {
        for j in 0..ACCUMULATORS {
            let a = isa.load(&q.groups[g][j]);
            for r in 0..R {
                sums[r][j] = S::accumulate(isa, sums[r][j], a, isa.load(&cuts[r].groups[g][j]));
            }
        }
    }
    for j in 0..ACCUMULATORS - 1 {
        if j < q.chunks.len() {
            let a = isa.load(&q.chunks[j]);
            for r in 0..R {
                sums[r][j] = S::accumulate(isa, sums[r][j], a, isa.load(&cuts[r].chunks[j]));
            }
        }
    }
    if !q.rest.is_empty() {
        let a = isa.load_partial(q.rest);
        for r in 0..R {
            let b = isa.load_partial(cuts[r].rest);
            sums[r][ACCUMULATORS - 1] = S::accumulate(isa, sums[r][ACCUMULATORS - 1], a, b);
        }
    }
    let mut scores = [0.0; R];
    for r in 0..R {
        let [a, b, c, d] = sums[r];
        scores[r] = S::finish(isa.reduce(isa.add(isa.add(a, b), isa.add(c, d))));
    }
    scores
}

/// The scores of `Q` queries with `R` rows: the inner loop of [`tile`].
///
/// Four accumulators for each of `Q` x `R` pairs are more than there are registers, so the vectors are walked twice: once
/// for accumulators 0 and 1, once for 2 and 3. The data is in the first-level cache by then.
#[inline(always)]
fn score_tile<I: Isa, S: Score, const Q: usize, const R: usize>(
    isa: I,
    queries: [&[f32]; Q],
    rows: [&[f32]; R],
) -> [[f32; R]; Q] {
    let mut query_cuts = [cut::<I>(queries[0]); Q];
    for q in 1..Q {
        query_cuts[q] = cut::<I>(&queries[q][..queries[0].len()]);
    }
    let mut row_cuts = [query_cuts[0]; R];
    for r in 0..R {
        row_cuts[r] = cut::<I>(&rows[r][..queries[0].len()]);
    }
    let low = tile_half::<I, S, Q, R, 0>(isa, &query_cuts, &row_cuts);
    let high = tile_half::<I, S, Q, R, 2>(isa, &query_cuts, &row_cuts);
    let mut scores = [[0.0; R]; Q];
    for q in 0..Q {
        for r in 0..R {
            scores[q][r] = S::finish(isa.reduce(isa.add(low[q][r], high[q][r])));
        }
    }
    scores
}

/// The sum of accumulators `FIRST` and `FIRST + 1` for each pair of a query and a row.
#[inline(always)]
fn tile_half<I: Isa, S: Score, const Q: usize, const R: usize, const FIRST: usize>(
    isa: I,
    queries: &[Cut<'_, I::Chunk>; Q],
    rows: &[Cut<'_, I::Chunk>; R],
) -> [[I::Vector; R]; Q] {
    let mut sums = [[[isa.zero(); R]; Q]; 2];
    let mut a = [isa.zero(); Q];
    for g in 0..queries[0].groups.len() {
        for j in 0..2 {
            for q in 0..Q {
                a[q] = isa.load(&queries[q].groups[g][FIRST + j]);
            }
            for r in 0..R {
                let b = isa.load(&rows[r].groups[g][FIRST + j]);
                for q in 0..Q {
                    sums[j][q][r] = S::accumulate(isa, sums[j][q][r], a[q], b);
                }
            }
        }
    }
    for j in 0..2 {
        let last = FIRST + j == ACCUMULATORS - 1;
        let present = if last { !queries[0].rest.is_empty() } else { FIRST + j < queries[0].chunks.len() };
        if present {
            for q in 0..Q {
                a[q] = if last { isa.load_partial(queries[q].rest) } else { isa.load(&queries[q].chunks[FIRST + j]) };
            }
            for r in 0..R {
                let b = if last { isa.load_partial(rows[r].rest) } else { isa.load(&rows[r].chunks[FIRST + j]) };
                for q in 0..Q {
                    sums[j][q][r] = S::accumulate(isa, sums[j][q][r], a[q], b);
                }
            }
        }
    }
    let [mut half, odd] = sums;
    for q in 0..Q {
        for r in 0..R {
            half[q][r] = isa.add(half[q][r], odd[q][r]);
        }
    }
    half
}

/// Queries and rows of `d` elements in a panel, for blocks of so many.
pub(super) fn panels(d: usize, queries: usize, rows: usize) -> (usize, usize) {
    let panel = |bytes: usize, block: usize| (bytes / (d * size_of::<f32>())).next_multiple_of(block).max(block);
    (panel(TILE_QUERIES_BYTES, queries), panel(TILE_ROWS_BYTES, rows))
}

/// The first `N` rows of `d` elements.
#[inline(always)]
pub(super) fn consecutive<const N: usize>(rows: &[f32], d: usize) -> [&[f32]; N] {
    let mut found: [&[f32]; N] = [&[]; N];
    for i in 0..N {
        found[i] = &rows[i * d..][..d];
    }
    found
}

#[cold]
#[inline(never)]
fn refuse_pair(a: usize, b: usize) -> ! {
    panic!("two vectors of {a} and {b} elements have no distance: the dimensions must be equal");
}

#[cold]
#[inline(never)]
fn refuse_rows(d: usize, rows: usize, out: usize) -> ! {
    panic!("{out} scores of a query of {d} elements need rows of {out} x {d} floats, not {rows} floats");
}

#[cold]
#[inline(never)]
fn refuse_ids(ids: usize, out: usize) -> ! {
    panic!("{ids} ids give {ids} scores, but there is room for {out}: the lengths must be equal");
}

#[cold]
#[inline(never)]
fn refuse_tile(queries: usize, rows: usize, d: usize, out: usize) -> ! {
    panic!("queries of {queries} floats and rows of {rows} floats, {d} elements each, do not make {out} scores");
}

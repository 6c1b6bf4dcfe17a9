//! Inner products of many vectors with many, in the order of summation that is fastest: one register of partial sums for each
//! pair, as many pairs at a time as there are registers. Beside the kernels of `generic`, whose result for a pair never
//! depends on its company, this is a sieve: what passes is scored again.

use super::generic::{consecutive, panels};
use super::isa::Isa;
use super::prefetch::prefetch;

/// How far ahead rows are asked for when the first queries meet them: rows met some at a time do not look like one stream to
/// the hardware's prefetchers.
const PREFETCH_AHEAD: usize = 4096;

/// The products of all `queries` with all `rows`, `Q` x `R` at a time, to `out`, which is queries x rows. The shapes fit.
#[inline(always)]
pub(super) fn products<I: Isa, const Q: usize, const R: usize>(
    isa: I,
    queries: &[f32],
    rows: &[f32],
    d: usize,
    out: &mut [f32],
) {
    let (query_count, row_count) = (queries.len() / d, rows.len() / d);
    let (query_panel, row_panel) = panels(d, Q, R);
    for q_start in (0..query_count).step_by(query_panel) {
        let q_end = (q_start + query_panel).min(query_count);
        for r_start in (0..row_count).step_by(row_panel) {
            let r_end = (r_start + row_panel).min(row_count);
            let whole = r_end - (r_end - r_start) % R;
            for q in (q_start..q_end).step_by(Q) {
                let count = Q.min(q_end - q);
                for r in (r_start..whole).step_by(R) {
                    if q == q_start {
                        let ahead = rows.as_ptr().wrapping_add(r * d).cast::<u8>().wrapping_add(PREFETCH_AHEAD);
                        prefetch(ahead, R * d * size_of::<f32>());
                    }
                    let rows = consecutive::<R>(&rows[r * d..], d);
                    if count == Q {
                        let products = block::<I, Q, R>(isa, consecutive(&queries[q * d..], d), rows);
                        for i in 0..Q {
                            out[(q + i) * row_count + r..][..R].copy_from_slice(&products[i]);
                        }
                    } else {
                        for q in q..q + count {
                            let [products] = block::<I, 1, R>(isa, consecutive(&queries[q * d..], d), rows);
                            out[q * row_count + r..][..R].copy_from_slice(&products);
                        }
                    }
                }
                for r in whole..r_end {
                    for q in q..q + count {
                        let row = consecutive(&rows[r * d..], d);
                        [[out[q * row_count + r]]] = block::<I, 1, 1>(isa, consecutive(&queries[q * d..], d), row);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn block<I: Isa, const Q: usize, const R: usize>(isa: I, queries: [&[f32]; Q], rows: [&[f32]; R]) -> [[f32; R]; Q] {
    let d = queries[0].len();
    let (first, _) = I::chunks(queries[0]);
    let count = first.len();
    let mut query_chunks = [first; Q];
    let mut row_chunks = [first; R];
    for q in 0..Q {
        query_chunks[q] = &I::chunks(queries[q]).0[..count];
    }
    for r in 0..R {
        row_chunks[r] = &I::chunks(rows[r]).0[..count];
    }
    let mut sums = [[isa.zero(); R]; Q];
    let mut b = [isa.zero(); R];
    for c in 0..count {
        for r in 0..R {
            b[r] = isa.load(&row_chunks[r][c]);
        }
        for q in 0..Q {
            let a = isa.load(&query_chunks[q][c]);
            for r in 0..R {
                sums[q][r] = isa.fmadd(a, b[r], sums[q][r]);
            }
        }
    }
    let done = count * (size_of::<I::Chunk>() / size_of::<f32>());
    if done < d {
        for r in 0..R {
            b[r] = isa.load_partial(&rows[r][done..d]);
        }
        for q in 0..Q {
            let a = isa.load_partial(&queries[q][done..d]);
            for r in 0..R {
                sums[q][r] = isa.fmadd(a, b[r], sums[q][r]);
            }
        }
    }
    let mut products = [[0.0; R]; Q];
    for q in 0..Q {
        products[q] = isa.reduce_rows(sums[q]);
    }
    products
}

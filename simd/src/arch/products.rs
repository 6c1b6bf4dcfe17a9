//! Inner products of many vectors with many, in the order of summation that is fastest: a lane of a register for each pair, so
//! that nothing is added up across lanes. Beside the kernels of `generic`, whose result for a pair never depends on its company,
//! this is a sieve: what passes is scored again.
//!
//! Vectors that are met by many rows stand side by side, component by component ([`Columns`](crate::Columns)); a row is read as it
//! lies, each component of it once for all columns that have a register. After Goto and van de Geijn, "Anatomy of high-performance
//! matrix multiplication" (ACM TOMS 2008), without the packing of rows.

use super::isa::Isa;
use crate::columns::{COLUMN_GROUP, PANEL};

/// Rows of `d` components, the columns that they meet, and their products, rows x columns. The shapes fit.
pub(super) struct ProductTile<'a> {
    columns: &'a [[f32; COLUMN_GROUP]],
    rows: &'a [f32],
    d: usize,
    out: &'a mut [f32],
}

impl<'a> ProductTile<'a> {
    pub(super) fn new(columns: &'a [f32], rows: &'a [f32], d: usize, out: &'a mut [f32]) -> Self {
        Self { columns: columns.as_chunks().0, rows, d, out }
    }

    /// The products with the columns of groups from `group` on, `W` registers of them by `R` rows at a time, `V` registers being a
    /// group; the first group that is left because there are not so many more.
    #[inline(always)]
    pub(super) fn products<I: Isa, const V: usize, const W: usize, const R: usize>(
        &mut self,
        isa: I,
        group: usize,
    ) -> usize {
        let Self { columns, rows, d, ref mut out } = *self;
        let (count, at_once) = (columns.len() / d, W / V);
        let until = group + (count - group) / at_once * at_once;
        for panel in (0..d).step_by(PANEL) {
            let shape = Shape { d, width: count * COLUMN_GROUP, from: panel, until: (panel + PANEL).min(d) };
            for group in (group..until).step_by(at_once) {
                over_rows::<I, V, W, R>(isa, (columns, group), rows, shape, out);
            }
        }
        until
    }
}

/// Components from `from` up to `until` of rows of `d`, for `width` columns.
#[derive(Clone, Copy)]
struct Shape {
    d: usize,
    width: usize,
    from: usize,
    until: usize,
}

#[inline(always)]
fn over_rows<I: Isa, const V: usize, const W: usize, const R: usize>(
    isa: I,
    columns: (&[[f32; COLUMN_GROUP]], usize),
    rows: &[f32],
    shape: Shape,
    out: &mut [f32],
) {
    let (blocks, rest) = (rows.chunks_exact(R * shape.d), rows.chunks_exact(R * shape.d).remainder());
    let done = out.len() - rest.len() / shape.d * shape.width;
    let (whole, rest_out) = out.split_at_mut(done);
    for (rows, out) in blocks.zip(whole.chunks_exact_mut(R * shape.width)) {
        block::<I, V, W, R>(isa, columns, rows, shape, out);
    }
    for (row, out) in rest.chunks_exact(shape.d).zip(rest_out.chunks_exact_mut(shape.width)) {
        block::<I, V, W, 1>(isa, columns, row, shape, out);
    }
}

/// Components that are added at once.
const UNROLLED: usize = 4;

/// Adds the products of some components of `R` rows with columns in `W` registers.
#[inline(always)]
fn add_up<I: Isa, const V: usize, const W: usize, const R: usize>(
    isa: I,
    rows: [&[f32; UNROLLED]; R],
    columns: [&[[f32; COLUMN_GROUP]; UNROLLED]; W],
    sums: &mut [[I::Vector; W]; R],
) {
    for k in 0..UNROLLED {
        let mut b = [isa.zero(); W];
        for w in 0..W {
            b[w] = isa.load(&I::chunks(&columns[w][k]).0[w % V]);
        }
        for r in 0..R {
            let a = isa.splat(rows[r][k]);
            for w in 0..W {
                sums[r][w] = isa.fmadd(a, b[w], sums[r][w]);
            }
        }
    }
}

/// Adds the products of the components of `R` rows to what `out` has of earlier ones.
#[inline(always)]
fn block<I: Isa, const V: usize, const W: usize, const R: usize>(
    isa: I,
    (groups, group): (&[[f32; COLUMN_GROUP]], usize),
    rows: &[f32],
    shape: Shape,
    out: &mut [f32],
) {
    let Shape { d, width, from, until } = shape;
    let count = until - from;
    // Cut to one length, so that the compiler sees that no index below needs a check.
    let mut row = [&rows[..0]; R];
    for r in 0..R {
        row[r] = &rows[r * d + from..][..count];
    }
    let mut column = [&groups[..0]; W];
    for w in 0..W {
        column[w] = &groups[(group + w / V) * d + from..][..count];
    }
    let mut sums = [[isa.zero(); W]; R];
    // Several components between two looks at where the vectors are.
    let whole = count - count % UNROLLED;
    for part in (0..whole).step_by(UNROLLED) {
        let mut a = [&[0.0; UNROLLED]; R];
        for r in 0..R {
            a[r] = row[r][part..][..UNROLLED].as_array().unwrap_or(a[r]);
        }
        let mut b = [&[[0.0; COLUMN_GROUP]; UNROLLED]; W];
        for w in 0..W {
            b[w] = column[w][part..][..UNROLLED].as_array().unwrap_or(b[w]);
        }
        add_up::<I, V, W, R>(isa, a, b, &mut sums);
    }
    if whole < count {
        // Zeros add nothing.
        let (mut a, mut b) = ([[0.0; UNROLLED]; R], [[[0.0; COLUMN_GROUP]; UNROLLED]; W]);
        for r in 0..R {
            a[r][..count - whole].copy_from_slice(&row[r][whole..]);
        }
        for w in 0..W {
            b[w][..count - whole].copy_from_slice(&column[w][whole..]);
        }
        add_up::<I, V, W, R>(isa, a.each_ref(), b.each_ref(), &mut sums);
    }
    for r in 0..R {
        let out = &mut out[r * width + group * COLUMN_GROUP..][..W / V * COLUMN_GROUP];
        let out = I::chunks_mut(out);
        for w in 0..W {
            let sum = if from == 0 { sums[r][w] } else { isa.add(isa.load(&out[w]), sums[r][w]) };
            isa.store(sum, &mut out[w]);
        }
    }
}

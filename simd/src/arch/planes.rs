//! Products of a query with levels in planes of bits, the counts of bits taken apart: once over what an instruction set does
//! with 64 components of them.

use super::lines::{CodeIsa, Lines, by_id_within};
use crate::codes::PlaneRows;

/// Components whose bits of one place are a plane of 8 bytes.
const GROUP: usize = 64;

/// What an instruction set does with planes.
pub(super) trait PlaneIsa: CodeIsa {
    /// Adds `c q` for 64 levels of `BITS` bits, at most 7: bit `i` of plane `p` is bit `p` of level `i`, the lowest bits first.
    fn add_planes<const BITS: usize>(
        self,
        sum: Self::Integers,
        query: &[i8; GROUP],
        planes: &[[u8; 8]; BITS],
    ) -> Self::Integers;
}

/// Products with levels of `BITS` bits in planes.
#[derive(Clone, Copy)]
struct Planes<I, const BITS: usize>(I);

impl<I: PlaneIsa, const BITS: usize> Lines for Planes<I, BITS> {
    const PREFETCHED: bool = false;
    type Query = i8;
    type Code = u8;
    type QueryLine = [i8; GROUP];
    type CodeLine = [[u8; 8]; BITS];
    type Sum = I::Integers;

    #[inline(always)]
    fn query_lines(query: &[i8]) -> &[Self::QueryLine] {
        query.as_chunks().0
    }

    #[inline(always)]
    fn code_lines(row: &[u8]) -> &[Self::CodeLine] {
        row.as_chunks().0.as_chunks().0
    }

    #[inline(always)]
    fn zero(self) -> I::Integers {
        self.0.no_integers()
    }

    #[inline(always)]
    fn add(self, sum: I::Integers, query: &Self::QueryLine, codes: &Self::CodeLine) -> I::Integers {
        self.0.add_planes(sum, query, codes)
    }

    #[inline(always)]
    fn reduce(self, sum: I::Integers) -> f32 {
        self.0.sum_integers(sum)
    }

    #[inline(always)]
    fn reduce_rows(self, sums: [I::Integers; 4]) -> [f32; 4] {
        self.0.sum_integers_of_rows(sums)
    }
}

/// The products of `query` with the `rows` that `ids` names.
#[inline(always)]
pub(super) fn planes_by_id<I: PlaneIsa>(isa: I, query: &[i8], rows: PlaneRows<'_>, ids: &[u32], out: &mut [f32]) {
    let PlaneRows { codes, row_bytes, bits } = rows;
    let whole = query.len().is_multiple_of(GROUP) && query.len() / 8 * bits as usize <= row_bytes;
    match bits {
        _ if !whole => refuse(query.len(), rows),
        1 => by_id_within(Planes::<I, 1>(isa), query, (codes, row_bytes), ids, out),
        2 => by_id_within(Planes::<I, 2>(isa), query, (codes, row_bytes), ids, out),
        3 => by_id_within(Planes::<I, 3>(isa), query, (codes, row_bytes), ids, out),
        4 => by_id_within(Planes::<I, 4>(isa), query, (codes, row_bytes), ids, out),
        5 => by_id_within(Planes::<I, 5>(isa), query, (codes, row_bytes), ids, out),
        6 => by_id_within(Planes::<I, 6>(isa), query, (codes, row_bytes), ids, out),
        7 => by_id_within(Planes::<I, 7>(isa), query, (codes, row_bytes), ids, out),
        _ => refuse(query.len(), rows),
    }
}

#[cold]
#[inline(never)]
fn refuse(query: usize, PlaneRows { row_bytes, bits, .. }: PlaneRows<'_>) -> ! {
    panic!(
        "a query of {query} numbers does not meet rows of {row_bytes} bytes with {bits} bits, 1 to 7, for each of 64"
    );
}

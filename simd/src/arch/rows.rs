//! Rows of a matrix by number: the part that every gathering kernel shares.

use super::prefetch::prefetch;

/// How many ids ahead of the row being scored kernels ask for rows. Between 4 and 12 nothing could be told apart.
pub(super) const PREFETCH_IDS: usize = 8;

/// Row `id` of `rows`, which are `width` elements each.
#[inline(always)]
pub(super) fn row<T>(rows: &[T], id: u32, width: usize) -> &[T] {
    let start = id as usize * width;
    match rows.get(start..start + width) {
        Some(row) => row,
        None => refuse_id(id, rows.len(), width),
    }
}

/// Asks for the first `bytes` bytes of row `id`, or for all of it where it is shorter.
#[inline(always)]
pub(super) fn prefetch_row<T>(rows: &[T], id: u32, width: usize, bytes: usize) {
    // Not checked: a prefetch of an address outside the rows does nothing, and the id is refused when its turn comes.
    let start = rows.as_ptr().wrapping_add((id as usize).wrapping_mul(width));
    prefetch(start.cast(), bytes.min(width * size_of::<T>()));
}

#[cold]
#[inline(never)]
fn refuse_id(id: u32, elements: usize, width: usize) -> ! {
    panic!("id {id} names no row of {elements} elements in rows of {width}");
}

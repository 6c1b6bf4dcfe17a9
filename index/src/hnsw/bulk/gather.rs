//! Codes of points that lie anywhere, put side by side.

use crate::quant::{Codes, Sq7Rows};

/// Rows that are on their way from memory while one is copied.
const AHEAD: usize = 8;

/// Replaces `out` by the rows `ids`.
pub(super) fn gather(codes: Sq7Rows<'_>, ids: &[u32], out: &mut Vec<u8>) {
    out.clear();
    let mut ahead = ids.iter().skip(AHEAD);
    for &id in ids {
        if let Some(&id) = ahead.next() {
            codes.prefetch(id);
        }
        out.extend_from_slice(codes.row(id));
    }
}

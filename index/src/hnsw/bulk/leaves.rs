//! The nearest of each point within its group.

use nearlab_simd::{Aligned, TileColumns, code_kernels};

use super::nearest::Nearest;
use crate::Neighbor;
use crate::quant::Sq7Rows;

/// What a thread keeps from one group to the next.
#[derive(Default)]
pub(super) struct Scratch {
    rows: Vec<u8>,
    columns: TileColumns,
    scores: Aligned<i32>,
    nearest: Nearest,
}

/// Finds, for each member of a group, the `nearest` others in it: row after row, nearest first; `found` begins as
/// [`Neighbor::NONE`].
pub(super) fn nearest_in_leaf(
    codes: Sq7Rows<'_>,
    leaf: &[u32],
    nearest: usize,
    scratch: &mut Scratch,
    found: &mut [Neighbor],
) {
    let width = codes.width();
    scratch.rows.clear();
    for &id in leaf {
        scratch.rows.extend_from_slice(codes.row(id));
    }
    scratch.columns.fill(&scratch.rows, width);
    let (count, tile_rows) = (scratch.columns.count(), code_kernels().u7_tile_rows());
    scratch.scores.resize(tile_rows * count);
    let tiles = scratch.rows.chunks(tile_rows * width).zip(found.chunks_mut(tile_rows * nearest));
    for (tile, (rows, found)) in tiles.enumerate() {
        let scores = &mut scratch.scores[..rows.len() / width * count];
        code_kernels().u7_tile(rows, &scratch.columns, scores);
        for (i, (scores, found)) in scores.chunks_exact(count).zip(found.chunks_exact_mut(nearest)).enumerate() {
            let own = tile * tile_rows + i;
            let length: i32 = rows[i * width..][..width].iter().map(|&level| i32::from(level) * i32::from(level)).sum();
            let places = scratch.nearest.of(&scores[..leaf.len()], nearest + 1).filter(|&(_, place)| place != own);
            for (found, (score, place)) in found.iter_mut().zip(places) {
                *found = Neighbor { id: leaf[place], distance: (score + length) as f32 };
            }
        }
    }
}

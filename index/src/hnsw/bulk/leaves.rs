//! The nearest of each point within its group.

use nearlab_simd::{Aligned, TileColumns, code_kernels, score_and_place};

use super::gather::gather;
use crate::Neighbor;
use crate::quant::Sq7Rows;

/// What a thread keeps from one group to the next.
#[derive(Default)]
pub(super) struct Scratch {
    rows: Vec<u8>,
    columns: TileColumns,
    scores: Aligned<i32>,
    nearest: Vec<u64>,
}

/// Finds, for each member of a group, the `nearest` others in it: row after row, nearest first, then [`Neighbor::NONE`].
pub(super) fn nearest_in_leaf(
    codes: Sq7Rows<'_>,
    leaf: &[u32],
    nearest: usize,
    scratch: &mut Scratch,
    found: &mut [Neighbor],
) {
    let width = codes.width();
    found.fill(Neighbor::NONE);
    gather(codes, leaf, &mut scratch.rows);
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
            code_kernels().smallest(&scores[..leaf.len()], nearest + 1, &mut scratch.nearest);
            let others = scratch.nearest.iter().map(|&key| score_and_place(key)).filter(|&(_, place)| place != own);
            for (found, (score, place)) in found.iter_mut().zip(others) {
                *found = Neighbor { id: leaf[place], distance: (score + length) as f32 };
            }
        }
    }
}

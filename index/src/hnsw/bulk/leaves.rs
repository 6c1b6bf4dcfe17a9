//! The nearest of each point within its group.

use nearlab_simd::{Aligned, TileColumns, code_kernels, score_and_place};

use super::gather::gather;
use crate::Neighbor;
use crate::quant::{Codes, Sq7Rows};

/// What a thread keeps from one group to the next.
#[derive(Default)]
pub(super) struct Scratch {
    rows: Vec<u8>,
    columns: TileColumns,
    scores: Aligned<i32>,
    nearest: Vec<u64>,
    heights: Vec<f32>,
}

/// What is found for the members of a group: row after row, nearest first, then [`Neighbor::NONE`].
pub(super) struct Nearest<'a> {
    /// How many for each.
    pub(super) count: usize,
    /// As vectors.
    pub(super) found: &'a mut [Neighbor],
    /// As the queries that they would be, where there are heights; the distances are those of queries then.
    pub(super) as_queries: &'a mut [Neighbor],
}

/// Finds the nearest others for each member of a group. The `heights` are those of all vectors, or none.
pub(super) fn nearest_in_leaf(
    codes: Sq7Rows<'_>,
    heights: &[f32],
    leaf: &[u32],
    scratch: &mut Scratch,
    nearest: Nearest<'_>,
) {
    let (width, most) = (codes.width(), nearest.count);
    let Nearest { found, as_queries, .. } = nearest;
    found.fill(Neighbor::NONE);
    as_queries.fill(Neighbor::NONE);
    gather(codes, leaf, &mut scratch.rows);
    scratch.columns.fill(&scratch.rows, width);
    scratch.heights.clear();
    if !heights.is_empty() {
        scratch.heights.extend(leaf.iter().map(|&id| heights[id as usize]));
    }
    let twice = 2.0 / codes.unit();
    let (count, tile_rows) = (scratch.columns.count(), code_kernels().u7_tile_rows());
    scratch.scores.resize(tile_rows * count);
    for (tile, rows) in scratch.rows.chunks(tile_rows * width).enumerate() {
        let scores = &mut scratch.scores[..rows.len() / width * count];
        code_kernels().u7_tile(rows, &scratch.columns, scores);
        for (i, scores) in scores.chunks_exact_mut(count).enumerate() {
            let (own, scores) = (tile * tile_rows + i, &mut scores[..leaf.len()]);
            let length: i32 = rows[i * width..][..width].iter().map(|&level| i32::from(level) * i32::from(level)).sum();
            let places = own * most..(own + 1) * most;
            let mut keep = |scores: &[i32], found: &mut [Neighbor]| {
                code_kernels().smallest(scores, most + 1, &mut scratch.nearest);
                let others = scratch.nearest.iter().map(|&key| score_and_place(key)).filter(|&(_, place)| place != own);
                for (found, (score, place)) in found.iter_mut().zip(others) {
                    *found = Neighbor { id: leaf[place], distance: score.saturating_add(length) as f32 };
                }
            };
            keep(scores, &mut found[places.clone()]);
            if let Some(height) = scratch.heights.get(own) {
                for (score, other) in scores.iter_mut().zip(&scratch.heights) {
                    *score = score.saturating_add((twice * height * other) as i32);
                }
                keep(scores, &mut as_queries[places]);
            }
        }
    }
}

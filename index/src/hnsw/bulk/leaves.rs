//! The nearest of each point within its group.

use nearlab_simd::{Aligned, MINIMA, TileColumns, code_kernels};

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

/// The smallest scores of a row.
#[derive(Default)]
pub(super) struct Nearest {
    places: Vec<u32>,
    keys: Vec<u64>,
}

impl Nearest {
    /// The `k` smallest scores and their places, smallest first.
    ///
    /// A bound comes first: of the smallest scores of some groups, the k-th smallest. What lies above it need not be looked
    /// at twice.
    pub(super) fn of(&mut self, scores: &[i32], k: usize) -> impl Iterator<Item = (i32, usize)> {
        let mut minima = code_kernels().minima(scores);
        let bound = if k <= MINIMA { *minima.select_nth_unstable(k - 1).1 } else { i32::MAX };
        self.places.clear();
        code_kernels().below(scores, bound.saturating_add(1), 0, &mut self.places);
        self.keys.clear();
        self.keys.extend(self.places.iter().map(|&place| key(scores[place as usize], place)));
        if self.keys.len() > k {
            self.keys.select_nth_unstable(k - 1);
            self.keys.truncate(k);
        }
        self.keys.sort_unstable();
        self.keys.iter().map(|&key| (score_of(key), key as u32 as usize))
    }
}

/// Orders as (score, place).
fn key(score: i32, place: u32) -> u64 {
    u64::from(score as u32 ^ (1 << 31)) << 32 | u64::from(place)
}

fn score_of(key: u64) -> i32 {
    ((key >> 32) as u32 ^ (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn the_smallest_scores_come_first_and_ties_by_place() {
        let mut random = SplitMix64::new(4);
        let scores: Vec<i32> = (0..1000).map(|_| (random.unit() * 300.0) as i32 - 150).collect();
        let mut expected: Vec<(i32, usize)> = scores.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        let mut nearest = Nearest::default();
        for k in [1, 17, 400, 2000] {
            let found: Vec<_> = nearest.of(&scores, k).collect();
            assert_eq!(found, expected[..k.min(1000)]);
        }
    }
}

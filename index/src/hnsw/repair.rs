//! Taking deleted nodes out of the graph.
//!
//! A node that linked to deleted ones keeps its other links, and fills the free places with some of what those linked to, as
//! the usual heuristic chooses beside the links that are kept. After `FreshDiskANN` (Singh et al. 2021, arXiv:2105.09613,
//! algorithm 4), which chooses all links anew, layer by layer: here that took a quarter of the links and a point of recall in
//! ten rounds of replacing a tenth of the vectors.

use super::HnswParams;
use super::growth::Growth;
use super::select::{Selection, select_more};
use crate::quant::Symmetric;
use crate::{Counters, IdSet, Neighbor};

/// A row that was mended.
pub(super) struct Mended {
    pub(super) id: u32,
    pub(super) layer: u8,
    /// Sorted.
    pub(super) neighbors: Vec<Neighbor>,
}

/// The rows of a node that still lead to deleted ones, mended.
pub(super) fn mended<S: Symmetric>(
    codes: S,
    (growth, deleted, params): (&Growth, &IdSet, &HnswParams),
    id: u32,
    counters: &mut Counters,
) -> Vec<Mended> {
    let layers = 0..=growth.level(id);
    layers.filter_map(|layer| mended_row(codes, (growth, deleted, params), (id, layer), counters)).collect()
}

fn mended_row<S: Symmetric>(
    codes: S,
    (growth, deleted, params): (&Growth, &IdSet, &HnswParams),
    (id, layer): (u32, u8),
    counters: &mut Counters,
) -> Option<Mended> {
    let (gone, left): (Vec<Neighbor>, Vec<Neighbor>) =
        growth.neighbors(id, layer).partition(|neighbor| deleted.contains(neighbor.id));
    if gone.is_empty() {
        return None;
    }
    let mut heirs: Vec<u32> =
        gone.iter().flat_map(|gone| growth.neighbors(gone.id, layer)).map(|heir| heir.id).collect();
    heirs.sort_unstable();
    heirs.dedup();
    heirs.retain(|&heir| heir != id && !deleted.contains(heir) && left.iter().all(|neighbor| neighbor.id != heir));
    let mut distances = vec![0.0; heirs.len()];
    for &heir in &heirs {
        codes.prefetch(heir);
    }
    codes.score_row(id, &heirs, &mut distances);
    counters.add_scored(heirs.len(), codes.row_bytes());
    let mut heirs: Vec<Neighbor> =
        heirs.into_iter().zip(distances).map(|(id, distance)| Neighbor { id, distance }).collect();
    heirs.sort_unstable();
    let mut selection = Selection::by(params).beside(left);
    select_more((codes, &mut selection), (id, &heirs), growth.width(layer), counters);
    let mut neighbors = selection.selected;
    neighbors.sort_unstable();
    Some(Mended { id, layer, neighbors })
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::space::Space;

    #[test]
    fn what_a_deleted_node_led_to_is_linked_in_its_place() {
        let line = [0.0, 1.0, -2.0, 3.0, 1.5];
        let space = Space::new(&line, 1, Metric::L2);
        let mut growth = Growth::new(&[0; 5], 1).unwrap();
        let row = |id: u32, to: &[u32]| {
            let distance = |to: u32| (line[id as usize] - line[to as usize]).powi(2);
            let mut neighbors: Vec<_> = to.iter().map(|&to| Neighbor { id: to, distance: distance(to) }).collect();
            neighbors.sort_unstable();
            neighbors
        };
        for (id, to) in [(0, &[1, 2][..]), (1, &[0, 4]), (2, &[0]), (3, &[4]), (4, &[1, 3])] {
            growth.set((id, 0), &row(id, to));
        }
        let mut deleted = IdSet::new();
        deleted.insert(1);
        let mended_links = |id| -> Option<Vec<u32>> {
            let changes = mended(space, (&growth, &deleted, &HnswParams::default()), id, &mut Counters::default());
            changes.first().map(|change| change.neighbors.iter().map(|neighbor| neighbor.id).collect())
        };
        assert_eq!(mended_links(0), Some(vec![4, 2]));
        assert_eq!(mended_links(4), Some(vec![0, 3]));
        assert_eq!((mended_links(2), mended_links(3)), (None, None));
    }
}

//! Choosing a node's neighbours among candidates (algorithm 4, the heuristic).
//!
//! Nearest first, a candidate is taken unless it is nearer to a neighbour already taken than to the node itself: that
//! neighbour leads to it. The links that remain point in different directions. So far the paper and hnswlib; here a copy of a
//! neighbour is refused too, so that copies of one vector do not fill each other's links. A copy of the node itself is as
//! near to every candidate as the node, and refuses none: or two copies would know but each other. The paper's
//! `extendCandidates` is left out, as in hnswlib. With `alpha` above 100 a candidate is refused only where it is farther from the node than
//! so many percent of its distance to that neighbour: α of Vamana (Subramanya and others, `NeurIPS` 2019, algorithm 2).

use super::HnswParams;
use crate::memory::Capacity;
use crate::quant::Symmetric;
use crate::{Counters, Neighbor};

/// Neighbours that a candidate is compared with at once.
const BLOCK: usize = 4;
/// Candidates for each place whose vectors are asked for before any is compared: most places are taken by then.
const AHEAD: usize = 6;

/// The neighbours chosen, and the memory that choosing them takes.
#[derive(Debug)]
pub(super) struct Selection {
    /// How many times as near to a neighbour as to the node a refused candidate is, as scores say: they are squares of distances.
    times: f32,
    pub(super) selected: Vec<Neighbor>,
    ids: Vec<u32>,
    refused: Vec<Neighbor>,
}

impl Selection {
    /// By the rule of `params`.
    pub(super) fn by(params: &HnswParams) -> Self {
        Self { times: params.refused_times(), selected: Vec::new(), ids: Vec::new(), refused: Vec::new() }
    }

    /// With room for so many neighbours, chosen among so many candidates.
    pub(super) fn with_capacity(mut self, most: usize, candidates: usize) -> Self {
        self.selected.reserve_exact(most);
        self.ids.reserve_exact(most);
        self.refused.reserve_exact(candidates);
        self
    }

    /// Forgets what was selected.
    pub(super) fn clear(&mut self) {
        self.selected.clear();
    }

    /// Sorts what is selected. Where refused candidates are kept, those of the last choice come in first, until there are `most`.
    pub(super) fn finish(&mut self, most: usize, keep_pruned: bool) {
        let Self { selected, ids, refused, .. } = self;
        if keep_pruned {
            let free = most - selected.len();
            selected.extend(refused.iter().filter(|refused| !ids.contains(&refused.id)).take(free));
        }
        if !selected.is_sorted() {
            selected.sort_unstable();
        }
    }

    /// With neighbours that are selected already.
    pub(super) fn beside(self, selected: Vec<Neighbor>) -> Self {
        Self { selected, ..self }
    }
}

impl Capacity for Selection {
    fn capacity_bytes(&self) -> usize {
        self.selected.capacity_bytes() + self.ids.capacity_bytes() + self.refused.capacity_bytes()
    }
}

/// Leaves at most `most` of the `candidates` in the selection, those that come first before others: most often they are sorted by their
/// distance to the node. Left over places are filled with the first of the refused candidates when `keep_pruned` is set. The result is
/// sorted.
pub(super) fn select_neighbors<C: Symmetric>(
    (codes, selection): (C, &mut Selection),
    candidates: &[Neighbor],
    (most, keep_pruned): (usize, bool),
    counters: &mut Counters,
) {
    selection.clear();
    select_more((codes, &mut *selection), candidates, most, counters);
    selection.finish(most, keep_pruned);
}

/// Selects among the `candidates`, in their order, until `most` are selected, besides those that are already.
pub(super) fn select_more<C: Symmetric>(
    (codes, selection): (C, &mut Selection),
    candidates: &[Neighbor],
    most: usize,
    counters: &mut Counters,
) {
    let Selection { times, selected, ids, refused } = selection;
    refused.clear();
    ids.clear();
    ids.extend(selected.iter().map(|neighbor| neighbor.id));
    candidates.iter().take(AHEAD * most).for_each(|candidate| codes.prefetch(candidate.id));
    for &candidate in candidates {
        if selected.len() == most {
            break;
        }
        if is_led_to((codes, *times), candidate, ids, counters) {
            refused.push(candidate);
        } else {
            selected.push(candidate);
            ids.push(candidate.id);
        }
    }
}

/// Whether one of the selected nodes leads to the candidate.
fn is_led_to<C: Symmetric>(
    (codes, times): (C, f32),
    candidate: Neighbor,
    selected: &[u32],
    counters: &mut Counters,
) -> bool {
    selected.chunks(BLOCK).any(|ids| {
        let mut distances = [0.0; BLOCK];
        let distances = &mut distances[..ids.len()];
        codes.score_row(candidate.id, ids, distances);
        counters.add_scored(ids.len(), codes.row_bytes());
        distances.iter().any(|&distance| codes.leads((distance, candidate.distance), times))
    })
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::space::Space;

    /// Selects for a node at 0 on a line among all other points.
    fn selected(line: &[f32], most: usize, keep_pruned: bool) -> Vec<u32> {
        selected_by(100, line, (most, keep_pruned))
    }

    fn selected_by(alpha: usize, line: &[f32], (most, keep_pruned): (usize, bool)) -> Vec<u32> {
        let space = Space::new(line, 1, Metric::L2);
        let mut candidates: Vec<_> = (0..).zip(line).map(|(id, x)| Neighbor { id, distance: x * x }).collect();
        candidates.sort_unstable();
        let mut selection = Selection::by(&HnswParams { alpha, ..HnswParams::default() });
        // Twice, since its memory is used again.
        for _ in 0..2 {
            select_neighbors((space, &mut selection), &candidates, (most, keep_pruned), &mut Counters::default());
        }
        assert!(selection.selected.is_sorted());
        selection.selected.iter().map(|neighbor| neighbor.id).collect()
    }

    #[test]
    fn a_candidate_behind_a_selected_one_is_refused() {
        assert_eq!(selected(&[1.0, 2.0, -3.0, 4.0, -9.0], 4, false), [0, 2]);
    }

    #[test]
    fn a_candidate_that_is_not_nearer_by_alpha_is_kept() {
        // 3 is 2 from 1, half as far again as that from the node.
        let line = [1.0, 3.0, -8.0];
        assert_eq!(selected_by(149, &line, (3, false)), [0, 2]);
        assert_eq!(selected_by(151, &line, (3, false)), [0, 1, 2]);
        assert_eq!(selected_by(200, &[1.0, 1.0], (2, false)), [0]);
    }

    #[test]
    fn refused_candidates_fill_up_when_asked_to() {
        assert_eq!(selected(&[1.0, 2.0, -3.0, 4.0, -9.0], 4, true), [0, 1, 2, 3]);
        assert_eq!(selected(&[1.0, 2.0, -3.0], 1, true), [0]);
    }

    #[test]
    fn one_copy_of_a_vector_is_enough() {
        assert_eq!(selected(&[0.0, 0.0, 0.0, 5.0], 3, false), [0, 3]);
        assert_eq!(selected(&[1.0, 1.0, -2.0, -2.0], 4, false), [0, 2]);
    }
}

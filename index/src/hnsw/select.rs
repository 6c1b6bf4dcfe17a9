//! Choosing a node's neighbours among candidates (algorithm 4, the heuristic).
//!
//! Nearest first, a candidate is taken unless it is nearer to a neighbour already taken than to the node itself: that
//! neighbour leads to it. The links that remain point in different directions. So far the paper and hnswlib; here a copy of a
//! neighbour is refused too, so that copies of one vector do not fill each other's links. A copy of the node itself is as
//! near to every candidate as the node, and refuses none: or two copies would know but each other. The paper's
//! `extendCandidates` is left out, as in hnswlib. With `alpha` above 100 a candidate is refused only where it is farther from the node than
//! so many percent of its distance to that neighbour: α of Vamana (Subramanya and others, `NeurIPS` 2019, algorithm 2).
//!
//! Where scores are products, a long neighbour leads to nearly all candidates: rows end up with two or three links. So those that were
//! refused are looked at once more, and refused for good where a neighbour is nearer by distance than the node.

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
    /// The squared lengths of the selected, where scores are products.
    squares: Vec<f32>,
    refused: Vec<Neighbor>,
}

impl Selection {
    /// By the rule of `params`.
    pub(super) fn by(params: &HnswParams) -> Self {
        let times = params.refused_times();
        Self { times, selected: Vec::new(), ids: Vec::new(), squares: Vec::new(), refused: Vec::new() }
    }

    /// With room for so many neighbours, chosen among so many candidates.
    pub(super) fn with_capacity(mut self, most: usize, candidates: usize) -> Self {
        self.selected.reserve_exact(most);
        self.ids.reserve_exact(most);
        self.squares.reserve_exact(most);
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
        let chosen = self.selected.capacity_bytes() + self.ids.capacity_bytes() + self.squares.capacity_bytes();
        chosen + self.refused.capacity_bytes()
    }
}

/// Leaves at most `most` of a node's `candidates` in the selection, those that come first before others: most often they are sorted by
/// their distance to the node. Left over places are filled with the first of the refused candidates when `keep_pruned` is set. The
/// result is sorted.
pub(super) fn select_neighbors<C: Symmetric>(
    (codes, selection): (C, &mut Selection),
    (node, candidates): (u32, &[Neighbor]),
    (most, keep_pruned): (usize, bool),
    counters: &mut Counters,
) {
    selection.clear();
    select_more((codes, &mut *selection), (node, candidates), most, counters);
    selection.finish(most, keep_pruned);
}

/// Selects among the `candidates`, in their order, until `most` are selected, besides those that are already.
pub(super) fn select_more<C: Symmetric>(
    (codes, selection): (C, &mut Selection),
    (node, candidates): (u32, &[Neighbor]),
    most: usize,
    counters: &mut Counters,
) {
    let Selection { times, selected, ids, refused, .. } = selection;
    refused.clear();
    ids.clear();
    ids.extend(selected.iter().map(|neighbor| neighbor.id));
    candidates.iter().take(AHEAD * most).for_each(|candidate| codes.prefetch(candidate.id));
    for &candidate in candidates {
        if selected.len() == most {
            return;
        }
        let leads = |_, score| codes.leads((score, candidate.distance), *times);
        if is_led_to(codes, candidate.id, ids, counters, leads) {
            refused.push(candidate);
        } else {
            selected.push(candidate);
            ids.push(candidate.id);
        }
    }
    if let Some(squared_length) = codes.squared_length(node) {
        select_by_distance((codes, selection), squared_length, most, counters);
    }
}

/// Selects among the refused candidates of a node of this squared length, in their order, until `most` are selected: those to which no
/// selected one is nearer by distance.
fn select_by_distance<C: Symmetric>(
    (codes, selection): (C, &mut Selection),
    squared_length: f32,
    most: usize,
    counters: &mut Counters,
) {
    let Selection { selected, ids, squares, refused, .. } = selection;
    squares.clear();
    squares.extend(ids.iter().filter_map(|&id| codes.squared_length(id)));
    refused.retain(|&candidate| {
        // Squared distances, less the squared length of the candidate.
        let to_node = squared_length + 2.0 * candidate.distance;
        let leads = |at: usize, score| squares[at] + 2.0 * score <= to_node;
        if selected.len() == most || is_led_to(codes, candidate.id, ids, counters, leads) {
            return true;
        }
        selected.push(candidate);
        ids.push(candidate.id);
        squares.extend(codes.squared_length(candidate.id));
        false
    });
}

/// Whether one of the selected nodes leads to the candidate, as `leads` says of its place among them and its score with the candidate.
#[inline]
fn is_led_to<C: Symmetric>(
    codes: C,
    candidate: u32,
    selected: &[u32],
    counters: &mut Counters,
    leads: impl Fn(usize, f32) -> bool,
) -> bool {
    selected.chunks(BLOCK).zip((0..).step_by(BLOCK)).any(|(ids, first)| {
        let mut scores = [0.0; BLOCK];
        let scores = &mut scores[..ids.len()];
        codes.score_row(candidate, ids, scores);
        counters.add_scored(ids.len(), codes.row_bytes());
        scores.iter().zip(first..).any(|(&score, at)| leads(at, score))
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
            select_neighbors((space, &mut selection), (0, &candidates), (most, keep_pruned), &mut Counters::default());
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

    #[test]
    fn by_products_a_long_neighbor_does_not_keep_out_those_that_are_nearer_to_the_node() {
        // 1 is long, and has the largest product with all others.
        let plane = [[1.0, 1.0], [9.0, 9.0], [2.0, 0.5], [2.0, 0.4], [0.5, 1.9], [8.0, 8.5]].concat();
        let space = Space::new(&plane, 2, Metric::InnerProduct);
        let product = |id: usize| plane[2 * id] + plane[2 * id + 1];
        let mut candidates: Vec<_> = (1..6).map(|id| Neighbor { id, distance: -product(id as usize) }).collect();
        candidates.sort_unstable();
        let mut selection = Selection::by(&HnswParams::default());
        let mut select = |most| {
            select_neighbors((space, &mut selection), (0, &candidates), (most, false), &mut Counters::default());
            selection.selected.iter().map(|neighbor| neighbor.id).collect::<Vec<_>>()
        };
        assert_eq!(select(1), [1]);
        // 5 is nearer to 1 than to the node, and 3 to 2.
        assert_eq!((select(2), select(5)), (vec![1, 2], vec![1, 2, 4]));
    }
}

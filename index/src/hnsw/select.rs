//! Choosing a node's neighbours among candidates (algorithm 4, the heuristic).
//!
//! Nearest first, a candidate is taken unless it is nearer to a neighbour already taken than to the node itself: that
//! neighbour leads to it. The links that remain point in different directions. So far the paper and hnswlib; here a copy of a
//! neighbour is refused too, so that copies of one vector do not fill each other's links. A copy of the node itself is as
//! near to every candidate as the node, and refuses none: or two copies would know but each other. The paper's
//! `extendCandidates` is left out, as in hnswlib.

use crate::quant::Symmetric;
use crate::{Counters, Neighbor};

/// Neighbours that a candidate is compared with at once.
const BLOCK: usize = 4;
/// Candidates for each place whose vectors are asked for before any is compared: most places are taken by then.
const AHEAD: usize = 6;

/// At most `most` of the `candidates`, which are sorted by their distance to the node. Left over places are filled with
/// the nearest refused candidates when `keep_pruned` is set. The result is sorted too.
pub(super) fn select_neighbors<C: Symmetric>(
    codes: C,
    candidates: &[Neighbor],
    most: usize,
    keep_pruned: bool,
    counters: &mut Counters,
) -> Vec<Neighbor> {
    let mut selected = Vec::with_capacity(most.min(candidates.len()));
    let refused = select_more(codes, (&mut selected, most), candidates, counters);
    let free = most - selected.len();
    if keep_pruned && free > 0 && !refused.is_empty() {
        selected.extend(refused.into_iter().take(free));
        selected.sort_unstable();
    }
    selected
}

/// Selects among the sorted `candidates` until `most` are selected, besides those that are already; those refused.
pub(super) fn select_more<C: Symmetric>(
    codes: C,
    (selected, most): (&mut Vec<Neighbor>, usize),
    candidates: &[Neighbor],
    counters: &mut Counters,
) -> Vec<Neighbor> {
    let mut ids: Vec<u32> = Vec::with_capacity(most);
    ids.extend(selected.iter().map(|neighbor| neighbor.id));
    let mut refused = Vec::new();
    candidates.iter().take(AHEAD * most).for_each(|candidate| codes.prefetch(candidate.id));
    for &candidate in candidates {
        if selected.len() == most {
            break;
        }
        if is_led_to(codes, candidate, &ids, counters) {
            refused.push(candidate);
        } else {
            selected.push(candidate);
            ids.push(candidate.id);
        }
    }
    refused
}

/// Whether one of the selected nodes leads to the candidate.
fn is_led_to<C: Symmetric>(codes: C, candidate: Neighbor, selected: &[u32], counters: &mut Counters) -> bool {
    selected.chunks(BLOCK).any(|ids| {
        let mut distances = [0.0; BLOCK];
        let distances = &mut distances[..ids.len()];
        codes.score_row(candidate.id, ids, distances);
        counters.add_scored(ids.len(), codes.row_bytes());
        distances.iter().any(|&distance| codes.leads(distance, candidate.distance))
    })
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::space::Space;

    /// Selects for a node at 0 on a line among all other points.
    fn selected(line: &[f32], most: usize, keep_pruned: bool) -> Vec<u32> {
        let space = Space::new(line, 1, Metric::L2);
        let mut candidates: Vec<_> = (0..).zip(line).map(|(id, x)| Neighbor { id, distance: x * x }).collect();
        candidates.sort_unstable();
        let chosen = select_neighbors(space, &candidates, most, keep_pruned, &mut Counters::default());
        assert!(chosen.is_sorted());
        chosen.iter().map(|neighbor| neighbor.id).collect()
    }

    #[test]
    fn a_candidate_behind_a_selected_one_is_refused() {
        assert_eq!(selected(&[1.0, 2.0, -3.0, 4.0, -9.0], 4, false), [0, 2]);
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

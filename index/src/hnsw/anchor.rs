//! Making sure that something leads to each point of a batch on the base layer, before anybody searches for it.
//!
//! Where all targets of a point preferred others, its nearest target takes it in by force. An index that is searched at once can not
//! wait until [what is lost is tied](super::connect). A target whose row is full gives up its farthest link, and the point takes that
//! over, so that what was reached through it still is.
//!
//! But a target does so once a batch. The points of a batch do not see each other, so all those of a new cluster far from the others
//! come to the same target; if each pushed out the one before, they would hang one behind the other, and no search would follow them to
//! the end. So those for whom there is no room are linked with the nearest of those that were taken in before, as if they had been
//! inserted one after another.
//!
//! Invariant: no step makes a node unreachable that was not. The points are taken in their order, on one thread.

use super::changes::{RowChange, RowChanges};
use super::connect::score_pair;
use crate::memory::Capacity;
use crate::quant::Symmetric;
use crate::{Counters, Neighbor};

/// Mates that a point is linked with: one for so many places of a row.
const PLACES_PER_MATE: usize = 4;

/// The memory that this takes. Kept for the next batch.
#[derive(Debug, Default)]
pub(super) struct Anchor {
    /// The points, and whether something links to them.
    linked: Vec<(u32, bool)>,
    /// Points that were taken in: the row of their target, and their own.
    taken_in: Vec<(usize, usize)>,
    /// Those of one target that have room, and their own rows.
    mates: Vec<(Neighbor, usize)>,
}

impl Capacity for Anchor {
    fn capacity_bytes(&self) -> usize {
        self.linked.capacity_bytes() + self.taken_in.capacity_bytes() + self.mates.capacity_bytes()
    }
}

impl Anchor {
    /// Adds to the points' `own` rows, and to those `merged` with links back, what is missing. Rows are of `width` at most; `codes` are those
    /// that links are measured by.
    pub(super) fn link_all<S: Symmetric>(
        &mut self,
        (codes, width): (S, usize),
        (own, merged): (&mut RowChanges, &mut RowChanges),
        counters: &mut Counters,
    ) {
        self.look(own, merged);
        for row in 0..own.len() {
            let RowChange { id, layer, neighbors } = own.row(row);
            let lost = layer == 0 && self.linked.binary_search(&(id, true)).is_err();
            let Some(&nearest) = neighbors.first().filter(|_| lost) else { continue };
            let target = merged.iter().position(|row| row.layer == 0 && row.id == nearest.id);
            let Some(target) = target else { continue };
            let is_full = merged.row(target).neighbors.len() == width;
            if !(is_full && self.join((codes, width), own, (target, row), counters)) {
                let link = Neighbor { id, distance: nearest.distance };
                let given_up = merged.make_room(target, link, width);
                take_over((codes, width), own, (row, given_up), counters);
            }
            self.taken_in.push((target, row));
        }
    }

    /// Looks which points something links to.
    fn look(&mut self, own: &RowChanges, merged: &RowChanges) {
        let Self { linked, taken_in, mates } = self;
        linked.clear();
        linked.extend(own.iter().filter(|row| row.layer == 0).map(|row| (row.id, false)));
        linked.sort_unstable();
        taken_in.clear();
        taken_in.reserve(linked.len());
        mates.clear();
        mates.reserve(linked.len());
        let [Some(&(least, _)), Some(&(most, _))] = [linked.first(), linked.last()] else { return };
        let base = merged.iter().filter(|row| row.layer == 0).flat_map(|row| row.neighbors);
        for neighbor in base.filter(|neighbor| (least..=most).contains(&neighbor.id)) {
            if let Ok(at) = linked.binary_search_by_key(&neighbor.id, |&(id, _)| id) {
                linked[at].1 = true;
            }
        }
    }

    /// Links a point with the nearest of those that its target has taken in before, both ways; whether any of them had room.
    fn join<S: Symmetric>(
        &mut self,
        (codes, width): (S, usize),
        own: &mut RowChanges,
        (target, row): (usize, usize),
        counters: &mut Counters,
    ) -> bool {
        let Self { taken_in, mates, .. } = self;
        let id = own.row(row).id;
        mates.clear();
        for &(_, mate) in taken_in.iter().filter(|&&(by, _)| by == target) {
            let RowChange { id: mate_id, neighbors, .. } = own.row(mate);
            if neighbors.len() < width {
                mates.push((Neighbor { id: mate_id, distance: score_pair(codes, id, mate_id, counters) }, mate));
            }
        }
        mates.sort_unstable();
        // A point has links for half of its row at first, so there is room for these.
        for &(mate, mate_row) in mates.iter().take((width / PLACES_PER_MATE).max(1)) {
            own.make_room(mate_row, Neighbor { id, distance: mate.distance }, width);
            own.make_room(row, mate, width);
        }
        !mates.is_empty()
    }
}

/// Gives a point the link that was given up for it, unless it has it.
fn take_over<S: Symmetric>(
    (codes, width): (S, usize),
    own: &mut RowChanges,
    (row, given_up): (usize, Option<Neighbor>),
    counters: &mut Counters,
) {
    let Some(given_up) = given_up else { return };
    let RowChange { id, neighbors, .. } = own.row(row);
    if neighbors.iter().all(|neighbor| neighbor.id != given_up.id) {
        let distance = score_pair(codes, id, given_up.id, counters);
        own.make_room(row, Neighbor { distance, ..given_up }, width);
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::space::Space;

    /// Points on a line, of which those from the second on are taken in by the first, whose row has the links given. The rows of all.
    fn anchored(line: &[f32], links: &[u32], points: &[u32], width: usize) -> Vec<Vec<u32>> {
        let space = Space::new(line, 1, Metric::L2);
        let near = |from: u32, to: &[u32]| -> Vec<Neighbor> {
            let distance = |to: u32| (line[from as usize] - line[to as usize]).powi(2);
            let mut near: Vec<_> = to.iter().map(|&to| Neighbor { id: to, distance: distance(to) }).collect();
            near.sort_unstable();
            near
        };
        let (mut own, mut merged) = (RowChanges::default(), RowChanges::default());
        own.begin(width);
        for (row, &id) in points.iter().enumerate() {
            own.push(id, 0);
            own.rows().set(row, &near(id, &[0]));
        }
        merged.begin(width);
        merged.push(0, 0);
        merged.rows().set(0, &near(0, links));
        let (mut anchor, mut counters) = (Anchor::default(), Counters::default());
        anchor.link_all((space, width), (&mut own, &mut merged), &mut counters);
        let rows = merged.iter().chain(own.iter());
        rows.map(|row| row.neighbors.iter().map(|neighbor| neighbor.id).collect()).collect()
    }

    /// The target at 0, two old nodes on its other side, and new ones far away, side by side.
    const LINE: [f32; 8] = [0.0, -1.0, -2.0, 100.0, 101.0, 102.0, 103.0, 104.0];

    #[test]
    fn a_target_with_room_takes_points_in_beside_its_links() {
        assert_eq!(anchored(&LINE, &[1], &[3, 4], 4), [vec![1, 3, 4], vec![0], vec![0]]);
        assert_eq!(anchored(&LINE, &[1, 3], &[3], 4), [vec![1, 3], vec![0]], "it is linked already");
    }

    #[test]
    fn what_a_full_target_gives_up_is_taken_over() {
        assert_eq!(anchored(&LINE, &[1, 2], &[3], 2), [vec![1, 3], vec![0, 2]]);
        // Also where it is of the same batch, and linked from nowhere else.
        assert_eq!(anchored(&LINE, &[1, 4], &[3, 4], 2), [vec![1, 3], vec![4, 0], vec![0]]);
    }

    #[test]
    fn a_target_gives_up_one_link_and_those_that_come_later_join_those_before() {
        let rows = anchored(&LINE, &[1, 2, 3, 4], &[3, 4, 5, 6, 7], 4);
        assert_eq!(rows[0], [1, 2, 3, 5]);
        assert_eq!(rows[1..], [vec![0], vec![0], vec![4, 6, 0], vec![5, 7, 0], vec![6, 0]]);
    }

    #[test]
    fn nobody_is_cut_off_whatever_the_order_and_the_width() {
        let line: Vec<f32> = (0..100).map(|i| (i * 37 % 100) as f32).collect();
        for width in [4, 6, 32] {
            let points: Vec<u32> = (10..100).collect();
            let rows = anchored(&line, &(1..10).take(width).collect::<Vec<_>>(), &points, width);
            let (mut open, mut reached) = (vec![0_u32], vec![false; 100]);
            while let Some(id) = open.pop() {
                if !std::mem::replace(&mut reached[id as usize], true) {
                    let row = [0].into_iter().chain(points.iter().copied()).position(|of| of == id);
                    open.extend(row.into_iter().flat_map(|row| &rows[row]));
                }
            }
            assert!(points.iter().all(|&id| reached[id as usize]), "{width}");
            assert!((1..10).take(width).all(|id| reached[id]), "{width}");
            assert!(rows.iter().all(|row| row.len() <= width), "{width}");
        }
    }
}

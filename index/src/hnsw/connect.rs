//! Making every node reachable on the base layer.
//!
//! Shrinking a node's links can take a node's last link from others: some in ten thousand on ordinary data, many among
//! copies of one vector and under inner product, where short vectors are nobody's nearest. Such a node would never be
//! found. After the last insertion, and under inner product as a live graph grows, each is linked from a near node that is
//! reachable; this is not in the paper (NSG spans a tree for the same reason, Fu et al., VLDB 2019).
//!
//! Invariants: a step makes one node reachable and none unreachable, so the steps end with every node reachable. Nodes are
//! taken in the order of their ids; the result does not depend on the number of threads. Nothing here writes into the graph, which
//! may be searched meanwhile.

use std::collections::HashMap;

use super::changes::RowChanges;
use super::rows::Rows;
use crate::quant::Symmetric;
use crate::{Counters, IdSet, Neighbor};

/// Nodes that a search would never meet, and those that it can.
pub(super) struct Lost {
    entry_point: u32,
    reached: Vec<bool>,
    nodes: Vec<u32>,
}

impl Lost {
    /// Looks for them in the whole graph; those that were `deleted` do not count.
    pub(super) fn of(base: &Rows, entry_point: u32, deleted: &IdSet) -> Self {
        let mut reached = vec![false; base.len()];
        Draft::of(base).mark(entry_point, &mut reached);
        let nodes = (0..base.len() as u32).filter(|&id| !reached[id as usize] && !deleted.contains(id)).collect();
        Self { entry_point, reached, nodes }
    }

    /// The rows that link them into what can be reached, to be written in their order. Each leaves everything reachable that was.
    pub(super) fn tied<C: Symmetric>(self, codes: C, base: &Rows, counters: &mut Counters) -> RowChanges {
        let Self { entry_point, mut reached, nodes: mut lost } = self;
        let mut draft = Draft::of(base);
        while !lost.is_empty() {
            let before = lost.len();
            lost.retain(|&id| {
                // An earlier step may have reached it.
                if reached[id as usize] {
                    return false;
                }
                let near = draft.neighbors(id).find(|neighbor| reached[neighbor.id as usize]);
                if let Some(near) = near {
                    draft.link(codes, near, id, counters);
                    draft.mark(id, &mut reached);
                }
                near.is_none()
            });
            if lost.len() == before {
                // A component that knows no one outside: tie its first node to the entry point.
                let distance = score_pair(codes, lost[0], entry_point, counters);
                draft.link(codes, Neighbor { id: entry_point, distance }, lost[0], counters);
                draft.mark(lost[0], &mut reached);
            }
        }
        draft.changes
    }
}

/// The rows of the base layer as they will be.
struct Draft<'a> {
    base: &'a Rows,
    changes: RowChanges,
    /// The last change of each row that has one.
    last: HashMap<u32, usize>,
}

impl<'a> Draft<'a> {
    fn of(base: &'a Rows) -> Self {
        let mut changes = RowChanges::default();
        changes.begin(base.width());
        Self { base, changes, last: HashMap::new() }
    }

    fn neighbors(&self, id: u32) -> impl Iterator<Item = Neighbor> {
        let changed = self.last.get(&id).map(|&row| self.changes.row(row).neighbors);
        let written = changed.is_none().then(|| self.base.neighbors(id as usize));
        changed.into_iter().flatten().copied().chain(written.into_iter().flatten())
    }

    fn set(&mut self, id: u32, neighbors: &[Neighbor]) {
        let row = self.changes.len();
        self.changes.push(id, 0);
        self.changes.rows().set(row, neighbors);
        self.last.insert(id, row);
    }

    /// Links `from`, which is reachable, to `lost`, which is not. A full row gives up its farthest link, and `lost` takes that
    /// over, so that what was reached through it still is.
    fn link<C: Symmetric>(&mut self, codes: C, from: Neighbor, lost: u32, counters: &mut Counters) {
        let width = self.base.width();
        let mut row: Vec<Neighbor> = self.neighbors(from.id).collect();
        if row.len() == width
            && let Some(given_up) = row.pop()
        {
            let mut own: Vec<Neighbor> = self.neighbors(lost).collect();
            if own.iter().all(|neighbor| neighbor.id != given_up.id) {
                own.truncate(width - 1);
                own.push(Neighbor { id: given_up.id, distance: score_pair(codes, lost, given_up.id, counters) });
                own.sort_unstable();
                self.set(lost, &own);
            }
        }
        row.push(Neighbor { id: lost, distance: from.distance });
        row.sort_unstable();
        self.set(from.id, &row);
    }

    /// Marks everything that can be reached from `start`.
    fn mark(&self, start: u32, reached: &mut [bool]) {
        let mut open = vec![start];
        reached[start as usize] = true;
        while let Some(id) = open.pop() {
            for neighbor in self.neighbors(id) {
                if !std::mem::replace(&mut reached[neighbor.id as usize], true) {
                    open.push(neighbor.id);
                }
            }
        }
    }
}

pub(super) fn score_pair<C: Symmetric>(codes: C, a: u32, b: u32, counters: &mut Counters) -> f32 {
    let mut score = [0.0];
    codes.score_row(a, &[b], &mut score);
    counters.add_scored(1, codes.row_bytes());
    score[0]
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::space::Space;

    /// A graph over points on a line, then connected; the links of each node.
    fn connected(line: &[f32], width: usize, links: &[&[u32]]) -> Vec<Vec<u32>> {
        let space = Space::new(line, 1, Metric::L2);
        let mut base = Rows::new(line.len(), width).unwrap();
        for (id, links) in links.iter().enumerate() {
            let distance = |to: u32| (line[id] - line[to as usize]).powi(2);
            let mut row: Vec<_> = links.iter().map(|&to| Neighbor { id: to, distance: distance(to) }).collect();
            row.sort_unstable();
            base.set(id, &row);
        }
        let lost = Lost::of(&base, 0, &IdSet::new());
        let mut reached = lost.reached.clone();
        for row in lost.tied(space, &base, &mut Counters::default()).iter() {
            base.set(row.id as usize, row.neighbors);
            let before = std::mem::replace(&mut reached, Lost::of(&base, 0, &IdSet::new()).reached);
            assert!(before.iter().zip(&reached).all(|(before, now)| now >= before), "{before:?} {reached:?}");
        }
        assert_eq!(reached, vec![true; line.len()]);
        (0..line.len()).map(|id| base.neighbors(id).map(|neighbor| neighbor.id).collect()).collect()
    }

    #[test]
    fn a_lost_node_is_linked_from_its_nearest_reachable_neighbor() {
        let rows = connected(&[0.0, 1.0, 2.0], 2, &[&[1], &[0], &[1]]);
        assert_eq!(rows, [vec![1], vec![0, 2], vec![1]]);
    }

    #[test]
    fn a_full_row_hands_its_farthest_link_to_the_lost_node() {
        let rows = connected(&[0.0, 1.0, 9.0, 1.5], 2, &[&[1, 2], &[0], &[0], &[0]]);
        assert_eq!(rows[0], [1, 3]);
        assert_eq!(rows[3], [0, 2]);
        // A lost node that is full as well gives up its own farthest link.
        let rows = connected(&[0.0, 1.0, 9.0, 1.5], 1, &[&[1], &[2], &[0], &[0]]);
        assert_eq!(rows, [[3], [2], [0], [1]]);
    }

    #[test]
    fn a_component_of_its_own_is_tied_to_the_entry_point() {
        let rows = connected(&[0.0, 1.0, 50.0, 51.0], 2, &[&[1], &[0], &[3], &[2]]);
        assert_eq!(rows[0], [1, 2]);
        connected(&[0.0; 5], 1, &[&[], &[], &[], &[], &[]]);
    }
}

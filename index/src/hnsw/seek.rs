//! Seeking the neighbours of new points (algorithm 1), in a graph that nobody changes meanwhile.
//!
//! Everything here reads; what is found is applied afterwards, by whoever may write. So any number of threads seek side by
//! side without a lock, and what they find does not depend on how many they are.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::HnswParams;
use super::graph::View;
use super::growth::{Growth, RowChange};
use super::select::select_neighbors;
use super::walk::{Route, Walk};
use crate::quant::{SelfQuery, Symmetric};
use crate::{Counters, IdSet, Neighbor};

/// Points that a thread seeks neighbours for at the same time.
const INTERLEAVED: usize = 4;

/// What points are compared by.
#[derive(Clone, Copy)]
pub(super) struct Scorers<T, S> {
    /// Codes through which candidates are found.
    pub(super) traversal: T,
    /// Codes by which neighbours are chosen among the candidates, and on which the links' distances are measured.
    pub(super) selection: S,
    /// Whether the two measure in different units, so that candidates must be scored anew before they are chosen from.
    pub(super) rescore: bool,
}

/// A point's neighbours, layer by layer from the base.
pub(super) struct Insertion {
    pub(super) id: u32,
    pub(super) layers: Vec<Vec<Neighbor>>,
    pub(super) complete: bool,
}

impl Insertion {
    fn new(id: u32, level: u8) -> Self {
        Self { id, layers: vec![Vec::new(); usize::from(level) + 1], complete: false }
    }
}

/// A link back from `target` to the `source` that was inserted.
pub(super) struct BackLink {
    layer: u8,
    target: u32,
    source: Neighbor,
}

/// The walks of one thread.
type Crew<Q> = [Walk<Q>];

/// The walks of all threads of a pool.
#[derive(Debug)]
pub(super) struct Crews<Q>(Vec<Mutex<Vec<Walk<Q>>>>);

impl<Q: Default> Crews<Q> {
    /// Walks for each thread of the rayon pool it is called in.
    pub(super) fn new(m: usize) -> Self {
        let mut crews = Self(Vec::new());
        crews.man(m);
        crews
    }

    /// Makes sure that each thread of the rayon pool has its walks.
    pub(super) fn man(&mut self, m: usize) {
        let crew = || Mutex::new((0..INTERLEAVED).map(|_| Walk::new(m)).collect());
        let threads = rayon::current_num_threads().max(self.0.len());
        self.0.resize_with(threads, crew);
    }

    /// Lends the calling thread its own walks: the lock is never waited for.
    fn with_own<R>(&self, work: impl FnOnce(&mut Crew<Q>) -> R) -> R {
        let own = &self.0[rayon::current_thread_index().unwrap_or(0)];
        work(&mut own.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What all walks counted since they were last asked.
    pub(super) fn take_counters(&mut self) -> Counters {
        let crews = self.0.iter_mut().map(|crew| crew.get_mut().unwrap_or_else(PoisonError::into_inner));
        crews.flatten().map(Walk::take_counters).sum()
    }
}

/// A graph, and what its points are compared by.
pub(super) struct Seeker<'a, T, S> {
    pub(super) scorers: Scorers<T, S>,
    pub(super) growth: &'a Growth,
    /// Nodes that lead on, but that nobody links to any more.
    pub(super) deleted: &'a IdSet,
    pub(super) params: &'a HnswParams,
    /// The lowest layer that is linked.
    pub(super) lowest: u8,
}

impl<T: SelfQuery, S: Symmetric> Seeker<'_, T, S> {
    /// The neighbours of some points whose codes are in place; none where the graph has no entry point. On the rayon pool it
    /// is called in.
    pub(super) fn seek(&self, ids: &[u32], crews: &Crews<T::Query>) -> Vec<Insertion> {
        let parts = ids.par_chunks(INTERLEAVED);
        parts.flat_map_iter(|ids| crews.with_own(|crew| self.seek_together(ids, crew))).collect()
    }

    /// Algorithm 1, lines 4 to 10 without the writing, for as many points as there are walks at most. The walks take turns,
    /// so that one works while another waits for memory.
    fn seek_together(&self, ids: &[u32], crew: &mut Crew<T::Query>) -> Vec<Insertion> {
        let growth = self.growth;
        let mut insertions: Vec<Insertion> = ids.iter().map(|&id| Insertion::new(id, growth.level(id))).collect();
        let (Some(entry_point), Some(max_level)) = (growth.entry_point, growth.max_level()) else { return insertions };
        let view = View { codes: self.scorers.traversal, links: growth.links() };
        let ef = self.params.ef_construction.min(growth.len());
        for (walk, &id) in crew.iter_mut().zip(ids) {
            view.codes.prepare_row(id, &mut walk.query);
            walk.begin(view, Route { entry_point, max_level, layer: growth.level(id).min(max_level), ef });
        }
        let mut walking = insertions.len();
        while walking > 0 {
            for (walk, insertion) in crew.iter_mut().zip(&mut insertions) {
                if insertion.complete || !walk.step(view) {
                    continue;
                }
                let layer = walk.layer();
                insertion.layers[usize::from(layer)] = self.select(insertion.id, walk);
                if layer > self.lowest {
                    walk.go_below(view);
                } else {
                    insertion.complete = true;
                    walking -= 1;
                }
            }
        }
        insertions
    }

    /// The neighbours of a new point on the layer whose candidates the walk has found.
    fn select(&self, id: u32, walk: &mut Walk<T::Query>) -> Vec<Neighbor> {
        let candidates = self.candidates(id, walk);
        let HnswParams { m, keep_pruned, .. } = *self.params;
        select_neighbors(self.scorers.selection, &candidates, m, keep_pruned, &mut walk.counters)
    }

    /// The pool's candidates with their distances to `id`, nearest first.
    fn candidates(&self, id: u32, walk: &mut Walk<T::Query>) -> Vec<Neighbor> {
        let mut candidates: Vec<Neighbor> =
            walk.pool.iter().filter(|candidate| !self.deleted.contains(candidate.id)).collect();
        if self.scorers.rescore {
            rescore(self.scorers.selection, id, &mut candidates, &mut walk.counters);
        }
        candidates
    }

    /// Algorithm 1, lines 11 to 16: the rows that links back change, shrunk where they are too long. Sorted by layer and
    /// node; on the rayon pool it is called in.
    pub(super) fn merged(&self, mut back: Vec<BackLink>) -> (Vec<RowChange>, Counters) {
        back.par_sort_unstable_by_key(|link| (link.layer, link.target, link.source));
        let by_target: Vec<&[BackLink]> = back.chunk_by(|a, b| (a.layer, a.target) == (b.layer, b.target)).collect();
        let merged: Vec<(RowChange, Counters)> = by_target.par_iter().map(|links| self.merged_row(links)).collect();
        let (changes, counters): (Vec<_>, Vec<_>) = merged.into_iter().unzip();
        (changes, counters.into_iter().sum())
    }

    /// The row of a target with new links, which all have the same layer and target.
    fn merged_row(&self, links: &[BackLink]) -> (RowChange, Counters) {
        let mut counters = Counters::default();
        let (id, layer) = (links[0].target, links[0].layer);
        let mut neighbors: Vec<Neighbor> = self.growth.neighbors(id, layer).collect();
        neighbors.extend(links.iter().map(|link| link.source));
        neighbors.sort_unstable();
        neighbors.dedup_by_key(|neighbor| neighbor.id);
        let width = self.growth.width(layer);
        if neighbors.len() > width {
            neighbors = select_neighbors(self.scorers.selection, &neighbors, width, false, &mut counters);
        }
        (RowChange { id, layer, neighbors }, counters)
    }
}

/// Measures candidates anew from `id`, and sorts them.
pub(super) fn rescore<S: Symmetric>(codes: S, id: u32, candidates: &mut [Neighbor], counters: &mut Counters) {
    let ids: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
    for &id in &ids {
        codes.prefetch(id);
    }
    let mut distances = vec![0.0; ids.len()];
    codes.score_row(id, &ids, &mut distances);
    counters.add_scored(ids.len(), codes.row_bytes());
    candidates.iter_mut().zip(distances).for_each(|(candidate, distance)| candidate.distance = distance);
    candidates.sort_unstable();
}

/// Makes sure that each new point, whose own rows these are, is linked from somewhere on the base layer: where every target
/// preferred others, the nearest gives up its farthest link. An index that is searched at once can not wait for
/// [`tie`](super::connect::tie).
pub(super) fn anchored(mut merged: Vec<RowChange>, own: &[RowChange], width: usize) -> Vec<RowChange> {
    let base = || merged.iter().filter(|row| row.layer == 0);
    let linked: HashSet<u32> = base().flat_map(|row| &row.neighbors).map(|neighbor| neighbor.id).collect();
    let lost = own.iter().filter(|row| row.layer == 0 && !linked.contains(&row.id));
    for (id, nearest) in lost.filter_map(|row| row.neighbors.first().map(|nearest| (row.id, nearest))) {
        if let Some(target) = merged.iter_mut().find(|row| row.layer == 0 && row.id == nearest.id) {
            target.neighbors.truncate(width - 1);
            target.neighbors.push(Neighbor { id, distance: nearest.distance });
            target.neighbors.sort_unstable();
        }
    }
    merged
}

/// The points' own rows, from layer `lowest` upwards, and the links back to them.
pub(super) fn own_rows(insertions: Vec<Insertion>, lowest: u8) -> (Vec<RowChange>, Vec<BackLink>) {
    let (mut rows, mut back) = (Vec::with_capacity(insertions.len()), Vec::new());
    for Insertion { id, layers, .. } in insertions {
        for (layer, neighbors) in (0..).zip(layers).skip(usize::from(lowest)) {
            back.extend(neighbors.iter().map(|neighbor| BackLink {
                layer,
                target: neighbor.id,
                source: Neighbor { id, distance: neighbor.distance },
            }));
            rows.push(RowChange { id, layer, neighbors });
        }
    }
    (rows, back)
}

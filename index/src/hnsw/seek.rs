//! Seeking the neighbours of new points (algorithm 1), in a graph that nobody changes meanwhile.
//!
//! Everything here reads; what is found is applied afterwards, by whoever may write. So any number of threads seek side by
//! side without a lock, and what they find does not depend on how many they are. Where there are no more points than one thread seeks
//! at once, no other is asked: that would take longer than it saves.
//!
//! Nothing here allocates once the crews and what is found have grown to the largest batch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::HnswParams;
use super::anchor::Anchor;
use super::changes::{RowChanges, RowsMut};
use super::graph::View;
use super::growth::Growth;
use super::select::{Selection, select_neighbors};
use super::walk::{Patience, Route, Walk};
use crate::memory::Capacity;
use crate::quant::{AsQueries, RowQuery, SelfQuery, Symmetric};
use crate::{Counters, IdSet, Neighbor};

/// Points that a thread seeks neighbours for at the same time.
pub(super) const INTERLEAVED: usize = 4;
/// Rows that a thread merges before another may take some over.
const MERGED_AT_ONCE: usize = 32;

/// What points are compared by.
#[derive(Clone, Copy)]
pub(super) struct Scorers<'a, T, S> {
    /// Codes through which candidates are found.
    pub(super) traversal: T,
    /// Codes by which neighbours are chosen among the candidates, and on which the links' distances are measured.
    pub(super) selection: S,
    /// Whether the two measure in different units, so that candidates must be scored anew before they are chosen from.
    pub(super) rescore: bool,
    /// The [`Heights`](crate::quant::Heights) of the vectors whose candidates are those that the vectors would have as queries, in that
    /// order; otherwise none.
    pub(super) heights: &'a [f32],
}

/// A link back from `target` to the `source` that was inserted.
#[derive(Debug, Clone, Copy)]
struct BackLink {
    layer: u8,
    target: u32,
    source: Neighbor,
}

/// The rows that a batch of points changes. Kept for the next batch.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The points' own, point after point, each from its lowest layer upwards.
    pub(super) own: RowChanges,
    /// Those that link back to them, sorted by layer and node.
    pub(super) merged: RowChanges,
    back: Vec<BackLink>,
    /// Where the links back of each merged row begin, and where those of the last end. More than 2^32 come together in bulk.
    begins: Vec<usize>,
    anchor: Anchor,
}

impl Found {
    /// The links back from the points' own rows, sorted, and a merged row for each target, still empty.
    fn turn_back(&mut self, width: usize, alone: bool) {
        let Self { own, merged, back, begins, .. } = self;
        back.clear();
        for row in own.iter() {
            back.extend(row.neighbors.iter().map(|neighbor| BackLink {
                layer: row.layer,
                target: neighbor.id,
                source: Neighbor { id: row.id, distance: neighbor.distance },
            }));
        }
        let key = |link: &BackLink| (link.layer, link.target, link.source);
        if alone {
            back.sort_unstable_by_key(key);
        } else {
            back.par_sort_unstable_by_key(key);
        }
        begins.clear();
        merged.begin(width);
        let mut begin = 0;
        for links in back.chunk_by(|a, b| (a.layer, a.target) == (b.layer, b.target)) {
            begins.push(begin);
            merged.push(links[0].target, links[0].layer);
            begin += links.len();
        }
        begins.push(begin);
    }
}

impl Capacity for Found {
    fn capacity_bytes(&self) -> usize {
        let rows = self.own.capacity_bytes() + self.merged.capacity_bytes();
        rows + self.back.capacity_bytes() + self.begins.capacity_bytes() + self.anchor.capacity_bytes()
    }
}

/// The walks of one thread, and its memory for choosing.
#[derive(Debug)]
struct Crew<Q> {
    walks: Vec<Walk<RowQuery<Q>>>,
    candidates: Vec<Neighbor>,
    rescored: Rescored,
    selection: Selection,
    counters: Counters,
}

impl<Q: Default> Crew<Q> {
    /// For graphs of these parameters: as many candidates as they ask for, or more.
    fn new(params: &HnswParams) -> Self {
        let (m, most) = (params.m, params.ef_construction.max(4 * params.m));
        Self {
            walks: (0..INTERLEAVED).map(|_| Walk::new(m)).collect(),
            candidates: Vec::with_capacity(most),
            rescored: Rescored { ids: Vec::with_capacity(most), distances: Vec::with_capacity(most) },
            selection: Selection::by(params).with_capacity(2 * m, most),
            counters: Counters::default(),
        }
    }
}

impl<Q: Capacity> Capacity for Crew<Q> {
    fn capacity_bytes(&self) -> usize {
        self.walks.iter().map(Capacity::capacity_bytes).sum::<usize>()
            + self.candidates.capacity_bytes()
            + self.rescored.ids.capacity_bytes()
            + self.rescored.distances.capacity_bytes()
            + self.selection.capacity_bytes()
    }
}

/// The crews of all threads of a pool.
#[derive(Debug)]
pub(super) struct Crews<Q>(Vec<Mutex<Crew<Q>>>);

impl<Q: Default> Crews<Q> {
    /// A crew for each thread of the rayon pool it is called in.
    pub(super) fn new(params: &HnswParams) -> Self {
        let mut crews = Self(Vec::new());
        crews.man(params);
        crews
    }

    /// Makes sure that each thread of the rayon pool has its crew.
    pub(super) fn man(&mut self, params: &HnswParams) {
        let threads = rayon::current_num_threads().max(self.0.len());
        self.0.resize_with(threads, || Mutex::new(Crew::new(params)));
    }

    /// The calling thread's own crew: the lock is never waited for. A thread of another pool than the crews' comes alone.
    fn own(&self) -> MutexGuard<'_, Crew<Q>> {
        let own = rayon::current_thread_index().unwrap_or(0) % self.0.len();
        self.0[own].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all crews counted since they were last asked.
    pub(super) fn take_counters(&mut self) -> Counters {
        let crews = self.0.iter_mut().map(|crew| crew.get_mut().unwrap_or_else(PoisonError::into_inner));
        let of = |crew: &mut Crew<Q>| {
            let walks: Counters = crew.walks.iter_mut().map(Walk::take_counters).sum();
            walks + std::mem::take(&mut crew.counters)
        };
        crews.map(of).sum()
    }
}

impl<Q: Capacity> Capacity for Crews<Q> {
    fn capacity_bytes(&self) -> usize {
        self.0.iter().map(|crew| crew.lock().unwrap_or_else(PoisonError::into_inner).capacity_bytes()).sum()
    }
}

/// A graph, and what its points are compared by.
pub(super) struct Seeker<'a, T, S> {
    pub(super) scorers: Scorers<'a, T, S>,
    pub(super) growth: &'a Growth,
    /// Nodes that lead on, but that nobody links to any more who finds enough others.
    pub(super) deleted: &'a IdSet,
    pub(super) params: &'a HnswParams,
    /// The lowest layer that is linked.
    pub(super) lowest: u8,
}

impl<T: SelfQuery, S: Symmetric> Seeker<'_, T, S> {
    /// Finds the own rows of some points whose codes are in place; without links where the graph has no entry point. On the rayon
    /// pool it is called in, unless they are few.
    pub(super) fn seek(&self, ids: &[u32], crews: &Crews<T::Query>, found: &mut Found) {
        found.own.begin(self.growth.width(0));
        for &id in ids {
            (self.lowest..=self.growth.level(id)).for_each(|layer| found.own.push(id, layer));
        }
        self.seek_in_parts(ids, found.own.rows(), crews);
    }

    fn seek_in_parts(&self, ids: &[u32], rows: RowsMut<'_>, crews: &Crews<T::Query>) {
        if ids.len() <= INTERLEAVED {
            return self.seek_together(ids, rows, &mut crews.own());
        }
        let (front, back) = ids.split_at((ids.len() / 2).next_multiple_of(INTERLEAVED));
        let (front_rows, back_rows) = rows.split_at(front.iter().map(|&id| self.layers_of(id)).sum());
        let seek = |ids, rows| self.seek_in_parts(ids, rows, crews);
        rayon::join(|| seek(front, front_rows), || seek(back, back_rows));
    }

    /// Rows that a new point has.
    fn layers_of(&self, id: u32) -> usize {
        usize::from(self.growth.level(id) + 1 - self.lowest)
    }

    /// Algorithm 1, lines 4 to 10 without the writing, for as many points as there are walks at most. The walks take turns,
    /// so that one works while another waits for memory.
    fn seek_together(&self, ids: &[u32], mut rows: RowsMut<'_>, crew: &mut Crew<T::Query>) {
        let growth = self.growth;
        let (Some(entry_point), Some(max_level)) = (growth.entry_point, growth.max_level()) else { return };
        let codes = AsQueries::new(self.scorers.traversal, self.scorers.heights);
        let view = View { codes, links: growth.links() };
        let ef = self.params.ef_construction.min(growth.len());
        let Crew { walks, candidates, rescored, selection, .. } = crew;
        // The first row of each point whose walk is not over.
        let (mut first_rows, mut first_row) = ([None; INTERLEAVED], 0);
        for ((walk, &id), first) in walks.iter_mut().zip(ids).zip(&mut first_rows) {
            view.codes.prepare_row(id, &mut walk.query);
            walk.begin(
                view,
                Route {
                    entry_point,
                    max_level,
                    layer: growth.level(id).min(max_level),
                    ef,
                    patience: Patience::ENDLESS,
                },
            );
            *first = Some(first_row);
            first_row += self.layers_of(id);
        }
        while first_rows.iter().any(Option::is_some) {
            for ((walk, &id), walking) in walks.iter_mut().zip(ids).zip(&mut first_rows) {
                let Some(first) = *walking else { continue };
                if !walk.step(view) {
                    continue;
                }
                self.find_candidates(id, walk, (candidates, rescored));
                let layer = walk.layer();
                let chosen = (self.params.chosen_on(layer), self.params.keep_pruned);
                let selecting = (self.scorers.selection, &mut *selection);
                select_neighbors(selecting, (id, candidates), chosen, &mut walk.counters);
                rows.set(first + usize::from(layer - self.lowest), &selection.selected);
                if layer > self.lowest {
                    walk.go_below(view);
                } else {
                    *walking = None;
                }
            }
        }
    }

    /// Replaces `candidates` by the pool's, with their distances to `id`: nearest first, or in the order in which `id` would find them as
    /// a query. Those that were deleted count only where there are hardly any others: nothing would lead to the new point otherwise.
    fn find_candidates(
        &self,
        id: u32,
        walk: &mut Walk<RowQuery<T::Query>>,
        (candidates, rescored): (&mut Vec<Neighbor>, &mut Rescored),
    ) {
        candidates.clear();
        candidates.extend(walk.pool.iter().filter(|candidate| !self.deleted.contains(candidate.id)));
        if candidates.len() < self.params.m && candidates.len() < walk.pool.len() {
            candidates.clear();
            candidates.extend(walk.pool.iter());
        }
        let as_queries = !self.scorers.heights.is_empty();
        if !self.scorers.rescore && !as_queries {
            return;
        }
        rescored.rescore(self.scorers.selection, id, candidates, &mut walk.counters);
        if !as_queries {
            candidates.sort_unstable();
        }
    }

    /// Algorithm 1, lines 11 to 16: finds the rows that links back to the own rows change, shrunk where they are too long. On
    /// the rayon pool it is called in, unless the points are few.
    pub(super) fn merge(&self, crews: &Crews<T::Query>, found: &mut Found, alone: bool) {
        found.turn_back(self.growth.width(0), alone);
        let Found { merged, back, begins, .. } = found;
        let at_once = if alone { usize::MAX } else { MERGED_AT_ONCE };
        merged.rows().in_parts(0, at_once, &|first, mut rows| {
            let mut crew = crews.own();
            for row in 0..rows.len() {
                let links = begins[first + row]..begins[first + row + 1];
                rows.set(row, self.merged_row(&back[links], &mut crew));
            }
        });
    }

    /// Makes sure that something leads to each of the points on the base layer.
    pub(super) fn anchor(&self, crews: &Crews<T::Query>, found: &mut Found) {
        let Found { own, merged, anchor, .. } = found;
        let mut crew = crews.own();
        anchor.link_all((self.scorers.selection, self.growth.width(0)), (own, merged), &mut crew.counters);
    }

    /// The row of a target with new links, which all have the same layer and target.
    fn merged_row<'c>(&self, links: &[BackLink], crew: &'c mut Crew<T::Query>) -> &'c [Neighbor] {
        let Crew { candidates, selection, counters, .. } = crew;
        let (id, layer) = (links[0].target, links[0].layer);
        candidates.clear();
        candidates.extend(self.growth.neighbors(id, layer));
        candidates.extend(links.iter().map(|link| link.source));
        candidates.sort_unstable();
        candidates.dedup_by_key(|neighbor| neighbor.id);
        let width = self.growth.width(layer);
        if candidates.len() <= width {
            return candidates;
        }
        select_neighbors((self.scorers.selection, &mut *selection), (id, candidates), (width, false), counters);
        &selection.selected
    }
}

/// The memory for measuring candidates anew.
#[derive(Debug, Default)]
pub(super) struct Rescored {
    ids: Vec<u32>,
    distances: Vec<f32>,
}

impl Rescored {
    /// Measures candidates anew from `id`.
    pub(super) fn rescore<S: Symmetric>(
        &mut self,
        codes: S,
        id: u32,
        candidates: &mut [Neighbor],
        counters: &mut Counters,
    ) {
        let Self { ids, distances } = self;
        ids.clear();
        ids.extend(candidates.iter().map(|candidate| candidate.id));
        for &id in &*ids {
            codes.prefetch(id);
        }
        distances.resize(ids.len(), 0.0);
        codes.score_row(id, ids, distances);
        counters.add_scored(ids.len(), codes.row_bytes());
        candidates.iter_mut().zip(&*distances).for_each(|(candidate, &distance)| candidate.distance = distance);
    }
}

//! The growing graph (algorithm 1), in batches that any number of threads insert alike.
//!
//! Per batch: every point searches the graph as it was before the batch and selects its neighbours (parallel, nothing is
//! written); the points' own rows are written; the links back are sorted by (layer, target, distance, source), each target
//! merges its own and selects again on overflow (parallel by target, nothing is written); the targets' rows are written.
//! There are no locks on nodes, and the outcome does not depend on the threads. After ParlayANN (Manohar et al., `PPoPP`
//! 2024), applied to HNSW.
//!
//! Points are inserted in an order shuffled by the seed, so that data sorted by cluster does not put a cluster into one
//! batch.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::HnswParams;
use super::batch::Batches;
use super::connect::connect;
use super::graph::{Graph, Links, View, upper_offsets};
use super::level::level_of;
use super::rows::Rows;
use super::select::select_neighbors;
use super::walk::{Route, Walk};
use crate::index::MAX_VECTORS;
use crate::quant::{Codes, SelfQuery, Symmetric};
use crate::random::{mix, permutation};
use crate::space::step;
use crate::{BuildError, Counters, Neighbor, Progress, Stage};

/// What a build compares vectors by.
#[derive(Clone, Copy)]
pub(super) struct Scorers<T, S> {
    /// Codes through which candidates are found.
    pub(super) traversal: T,
    /// Codes by which neighbours are chosen among the candidates, and on which the links' distances are measured.
    pub(super) selection: S,
    /// Whether the two measure in different units, so that candidates must be scored anew before they are chosen from.
    pub(super) rescore: bool,
}

/// A graph that grows; [`freeze`](Builder::freeze) ends that.
pub(super) struct Builder<T, S> {
    scorers: Scorers<T, S>,
    pub(super) params: HnswParams,
    levels: Vec<u8>,
    upper_offsets: Vec<u32>,
    base: Rows,
    upper: Rows,
    entry_point: Option<u32>,
    /// The lowest layer that insertions link.
    pub(super) lowest: u8,
    counters: Counters,
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

/// Points that a thread seeks neighbours for at the same time.
const INTERLEAVED: usize = 4;

/// The walks of one thread.
type Crew<T> = [Walk<<T as Codes>::Query>];

/// The walks of all threads of the pool.
struct Crews<T: Codes>(Vec<Mutex<Vec<Walk<T::Query>>>>);

impl<T: Codes> Crews<T> {
    fn new(nodes: usize, m: usize) -> Self {
        let crew = || (0..INTERLEAVED).map(|_| Walk::new(nodes, m)).collect();
        Self((0..rayon::current_num_threads()).map(|_| Mutex::new(crew())).collect())
    }

    /// Lends the calling thread its own walks: the lock is never waited for.
    fn with_own<R>(&self, work: impl FnOnce(&mut Crew<T>) -> R) -> R {
        let own = &self.0[rayon::current_thread_index().unwrap_or(0)];
        work(&mut own.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What all walks counted.
    fn into_counters(self) -> Counters {
        let crews = self.0.into_iter().map(|crew| crew.into_inner().unwrap_or_else(PoisonError::into_inner));
        crews.flatten().map(|mut walk| walk.take_counters()).sum()
    }
}

/// A link back from `target` to the `source` that was inserted.
struct BackLink {
    layer: u8,
    target: u32,
    source: Neighbor,
}

impl<T: SelfQuery, S: Symmetric> Builder<T, S> {
    pub(super) fn new(scorers: Scorers<T, S>, params: HnswParams) -> Result<Self, BuildError> {
        let n = scorers.selection.len();
        let levels: Vec<u8> = (0..n as u32).into_par_iter().map(|id| level_of(id, params.seed, params.m)).collect();
        let upper_offsets = upper_offsets(&levels).ok_or(BuildError::TooMany { expected: MAX_VECTORS, found: n })?;
        let upper_rows = upper_offsets[levels.len()] as usize;
        Ok(Self {
            scorers,
            params,
            base: Rows::new(levels.len(), 2 * params.m),
            upper: Rows::new(upper_rows, params.m),
            levels,
            upper_offsets,
            entry_point: None,
            lowest: 0,
            counters: Counters::default(),
        })
    }

    /// Inserts every point, on the rayon pool it is called in.
    pub(super) fn insert_all(&mut self, batches: Batches, progress: &dyn Progress) -> Result<(), BuildError> {
        self.insert(&permutation(self.levels.len(), mix(self.params.seed)), batches, progress)
    }

    /// Inserts points in the given order.
    pub(super) fn insert(
        &mut self,
        order: &[u32],
        batches: Batches,
        progress: &dyn Progress,
    ) -> Result<(), BuildError> {
        let n = order.len();
        let levels: Vec<u8> = order.iter().map(|&id| self.levels[id as usize]).collect();
        let crews = Crews::new(self.levels.len(), self.params.m);
        let mut done = 0;
        while done < n {
            step(progress, Stage::Construct, done, n)?;
            let batch = batches.next(&levels, done, self.max_level());
            done = batch.end;
            self.insert_batch(&order[batch], &crews);
        }
        step(progress, Stage::Construct, n, n)?;
        self.counters += crews.into_counters();
        Ok(())
    }

    /// Makes every node reachable and fixes the graph.
    pub(super) fn freeze(mut self) -> (Graph, Counters) {
        if let Some(entry_point) = self.entry_point {
            connect(self.scorers.selection, &mut self.base, entry_point, &mut self.counters);
        }
        let graph = Graph {
            m: self.params.m,
            base: self.base.into_links().into(),
            levels: self.levels.into(),
            upper_offsets: self.upper_offsets.into(),
            upper: self.upper.into_links().into(),
            entry_point: self.entry_point,
        };
        (graph, self.counters)
    }

    /// Points, linked or not.
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    pub(super) fn level(&self, id: u32) -> u8 {
        self.levels[id as usize]
    }

    pub(super) fn selection(&self) -> S {
        self.scorers.selection
    }

    pub(super) fn count(&mut self, counters: Counters) {
        self.counters += counters;
    }

    /// Where no point was inserted, searches begin at the first.
    pub(super) fn ensure_entry_point(&mut self) {
        if self.entry_point.is_none() && !self.levels.is_empty() {
            self.entry_point = Some(0);
        }
    }

    fn max_level(&self) -> Option<u8> {
        self.entry_point.map(|id| self.levels[id as usize])
    }

    fn view(&self) -> View<'_, T> {
        let links = Links {
            m: self.params.m,
            base: self.base.links(),
            upper_offsets: &self.upper_offsets,
            upper: self.upper.links(),
        };
        View { codes: self.scorers.traversal, links }
    }

    fn insert_batch(&mut self, ids: &[u32], crews: &Crews<T>) {
        let insertions: Vec<Insertion> = ids
            .par_chunks(INTERLEAVED)
            .flat_map_iter(|ids| crews.with_own(|crew| self.find_neighbors(ids, crew)))
            .collect();
        self.apply(&insertions);
        for &id in ids {
            if self.max_level().is_none_or(|max_level| self.levels[id as usize] > max_level) {
                self.entry_point = Some(id);
            }
        }
    }

    /// Writes points' own rows, then the links back.
    pub(super) fn apply(&mut self, insertions: &[Insertion]) {
        let mut back = Vec::with_capacity(insertions.len() * self.params.m);
        for insertion in insertions {
            for (layer, neighbors) in (0..).zip(&insertion.layers).skip(usize::from(self.lowest)) {
                self.set(insertion.id, layer, neighbors);
                back.extend(neighbors.iter().map(|neighbor| BackLink {
                    layer,
                    target: neighbor.id,
                    source: Neighbor { id: insertion.id, distance: neighbor.distance },
                }));
            }
        }
        self.link_back(back);
    }

    /// Algorithm 1, lines 4 to 10 without the writing, for as many points as there are walks at most. The walks take turns,
    /// so that one works while another waits for memory.
    fn find_neighbors(&self, ids: &[u32], crew: &mut Crew<T>) -> Vec<Insertion> {
        let mut insertions: Vec<Insertion> =
            ids.iter().map(|&id| Insertion::new(id, self.levels[id as usize])).collect();
        let (Some(entry_point), Some(max_level)) = (self.entry_point, self.max_level()) else { return insertions };
        let view = self.view();
        let ef = self.params.ef_construction.min(self.levels.len());
        for (walk, &id) in crew.iter_mut().zip(ids) {
            view.codes.prepare_row(id, &mut walk.query);
            let layer = self.levels[id as usize].min(max_level);
            walk.begin(view, Route { entry_point, max_level, layer, ef });
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
        let HnswParams { m, keep_pruned, .. } = self.params;
        select_neighbors(self.scorers.selection, &candidates, m, keep_pruned, &mut walk.counters)
    }

    /// The pool's candidates with their distances to `id`, nearest first.
    fn candidates(&self, id: u32, walk: &mut Walk<T::Query>) -> Vec<Neighbor> {
        let mut candidates: Vec<Neighbor> = walk.pool.iter().collect();
        if self.scorers.rescore {
            let ids: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
            for &id in &ids {
                self.scorers.selection.prefetch(id);
            }
            let mut distances = vec![0.0; ids.len()];
            self.scorers.selection.score_row(id, &ids, &mut distances);
            walk.counters.add_scored(ids.len(), self.scorers.selection.row_bytes());
            candidates.iter_mut().zip(distances).for_each(|(candidate, distance)| candidate.distance = distance);
            candidates.sort_unstable();
        }
        candidates
    }

    /// Algorithm 1, lines 11 to 16: the links back, and shrinking.
    fn link_back(&mut self, mut back: Vec<BackLink>) {
        back.par_sort_unstable_by_key(|link| (link.layer, link.target, link.source));
        let by_target: Vec<&[BackLink]> = back.chunk_by(|a, b| (a.layer, a.target) == (b.layer, b.target)).collect();
        let merged: Vec<(Vec<Neighbor>, Counters)> = by_target.par_iter().map(|links| self.merged_row(links)).collect();
        for (links, (row, counters)) in by_target.iter().zip(merged) {
            self.set(links[0].target, links[0].layer, &row);
            self.counters += counters;
        }
    }

    /// The row of a target with new links, which all have the same layer and target.
    fn merged_row(&self, links: &[BackLink]) -> (Vec<Neighbor>, Counters) {
        let mut counters = Counters::default();
        let (rows, row) = self.row(links[0].target, links[0].layer);
        let mut candidates: Vec<Neighbor> = rows.neighbors(row).collect();
        candidates.extend(links.iter().map(|link| link.source));
        candidates.sort_unstable();
        candidates.dedup_by_key(|candidate| candidate.id);
        if candidates.len() > rows.width() {
            candidates = select_neighbors(self.scorers.selection, &candidates, rows.width(), false, &mut counters);
        }
        (candidates, counters)
    }

    fn row(&self, id: u32, layer: u8) -> (&Rows, usize) {
        if layer == 0 { (&self.base, id as usize) } else { (&self.upper, self.upper_row(id, layer)) }
    }

    fn set(&mut self, id: u32, layer: u8, neighbors: &[Neighbor]) {
        if layer == 0 {
            self.base.set(id as usize, neighbors);
        } else {
            let row = self.upper_row(id, layer);
            self.upper.set(row, neighbors);
        }
    }

    fn upper_row(&self, id: u32, layer: u8) -> usize {
        self.upper_offsets[id as usize] as usize + usize::from(layer) - 1
    }
}

//! Building a graph (algorithm 1), in batches that any number of threads insert alike.
//!
//! Per batch: every point seeks its neighbours in the graph as it was before the batch (parallel, nothing is written); the
//! points' own rows are written; the links back are sorted by (layer, target, distance, source), each target merges its own
//! and selects again on overflow (parallel by target, nothing is written); the targets' rows are written. There are no locks on
//! nodes, and the outcome does not depend on the threads. After ParlayANN (Manohar et al., `PPoPP` 2024), applied to HNSW.
//!
//! Points are inserted in an order shuffled by the seed, so that data sorted by cluster does not put a cluster into one
//! batch.

use rayon::prelude::*;

use super::HnswParams;
use super::batch::Batches;
use super::connect::Lost;
use super::graph::Graph;
use super::growth::Growth;
use super::level::level_of;
use super::seek::{Crews, Found, INTERLEAVED, Scorers, Seeker};
use crate::quant::{SelfQuery, Symmetric};
use crate::random::{mix, permutation};
use crate::space::step;
use crate::{BuildError, Counters, IdSet, Progress, Stage};

/// A graph that grows; [`freeze`](Builder::freeze) ends that.
pub(super) struct Builder<'a, T, S> {
    scorers: Scorers<'a, T, S>,
    pub(super) params: HnswParams,
    growth: Growth,
    /// The lowest layer that insertions link.
    pub(super) lowest: u8,
    counters: Counters,
}

impl<'a, T: SelfQuery, S: Symmetric> Builder<'a, T, S> {
    pub(super) fn new(scorers: Scorers<'a, T, S>, params: HnswParams) -> Result<Self, BuildError> {
        let n = scorers.selection.len();
        let levels: Vec<u8> = (0..n as u32).into_par_iter().map(|id| level_of(id, params.seed, params.m)).collect();
        let growth = Growth::new(&levels, params.m)?;
        Ok(Self { scorers, params, growth, lowest: 0, counters: Counters::default() })
    }

    /// Inserts every point, on the rayon pool it is called in.
    pub(super) fn insert_all(&mut self, batches: Batches, progress: &dyn Progress) -> Result<(), BuildError> {
        self.insert(&permutation(self.len(), mix(self.params.seed)), batches, progress)
    }

    /// Inserts points in the given order.
    pub(super) fn insert(
        &mut self,
        order: &[u32],
        batches: Batches,
        progress: &dyn Progress,
    ) -> Result<(), BuildError> {
        let n = order.len();
        let levels: Vec<u8> = order.iter().map(|&id| self.level(id)).collect();
        let (mut crews, mut found) = (Crews::new(&self.params), Found::default());
        let mut done = 0;
        while done < n {
            step(progress, Stage::Construct, done, n)?;
            let batch = batches.next(&levels[done..], done, self.growth.max_level());
            self.insert_batch(&order[done..done + batch], &crews, &mut found);
            done += batch;
        }
        step(progress, Stage::Construct, n, n)?;
        self.counters += crews.take_counters();
        Ok(())
    }

    /// Makes every node reachable and fixes the graph.
    pub(super) fn freeze(mut self) -> (Graph, Counters) {
        if let Some(entry_point) = self.growth.entry_point {
            let lost = Lost::of(self.growth.base(), entry_point, &IdSet::new());
            let tied = lost.tied(self.scorers.selection, self.growth.base(), &mut self.counters);
            self.growth.set_all(&tied);
        }
        (self.growth.freeze(), self.counters)
    }

    /// Points, linked or not.
    pub(super) fn len(&self) -> usize {
        self.growth.len()
    }

    pub(super) fn level(&self, id: u32) -> u8 {
        self.growth.level(id)
    }

    pub(super) fn selection(&self) -> S {
        self.scorers.selection
    }

    /// Those of [`Scorers`].
    pub(super) fn heights(&self) -> &'a [f32] {
        self.scorers.heights
    }

    pub(super) fn count(&mut self, counters: Counters) {
        self.counters += counters;
    }

    /// Where no point was inserted, searches begin at the first.
    pub(super) fn ensure_entry_point(&mut self) {
        if self.growth.entry_point.is_none() && self.len() > 0 {
            self.growth.entry_point = Some(0);
        }
    }

    fn seeker<'s>(&'s self, deleted: &'s IdSet) -> Seeker<'s, T, S> {
        let Self { scorers, growth, params, lowest, .. } = self;
        Seeker { scorers: *scorers, growth, deleted, params, lowest: *lowest }
    }

    fn insert_batch(&mut self, ids: &[u32], crews: &Crews<T::Query>, found: &mut Found) {
        self.seeker(&IdSet::new()).seek(ids, crews, found);
        self.apply(found, crews, ids.len() <= INTERLEAVED);
        for &id in ids {
            if self.growth.max_level().is_none_or(|max_level| self.level(id) > max_level) {
                self.growth.entry_point = Some(id);
            }
        }
    }

    /// Writes points' own rows, then the links back; on the calling thread `alone`, or on the rayon pool it is called in.
    pub(super) fn apply(&mut self, found: &mut Found, crews: &Crews<T::Query>, alone: bool) {
        self.growth.set_all(&found.own);
        self.seeker(&IdSet::new()).merge(crews, found, alone);
        self.growth.set_all(&found.merged);
    }
}

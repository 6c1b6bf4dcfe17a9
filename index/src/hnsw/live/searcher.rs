//! Searching while others change the index.

use nearlab_storage::Vectors;

use super::LiveHnsw;
use crate::hnsw::HnswSearchParams;
use crate::hnsw::search::Scratch;
use crate::index::{assert_batch, one_by_one};
use crate::scratch::Idle;
use crate::{Counters, IdSet, Neighbor, Searcher};

/// Queries of a batch that are searched between two chances for the writer.
const RUN: usize = 32;

/// One thread's searches of a [`LiveHnsw`].
#[derive(Debug)]
pub struct LiveSearcher<'a> {
    live: &'a LiveHnsw,
    params: HnswSearchParams,
    scratch: Scratch,
    /// Where the scratch came from, unless it was lent.
    idle: Option<&'a Idle<Scratch>>,
}

impl<'a> LiveSearcher<'a> {
    /// `params` are valid.
    pub(super) fn new(live: &'a LiveHnsw, params: HnswSearchParams) -> Self {
        Self { live, params, scratch: live.idle.take(), idle: Some(&live.idle) }
    }

    /// `params` are valid.
    pub(crate) fn with_scratch(live: &'a LiveHnsw, params: HnswSearchParams, scratch: Scratch) -> Self {
        Self { live, params, scratch, idle: None }
    }

    /// The memory of the searches, for those of another index.
    pub(crate) fn into_scratch(mut self) -> Scratch {
        std::mem::take(&mut self.scratch)
    }
}

impl Drop for LiveSearcher<'_> {
    fn drop(&mut self) {
        if let Some(idle) = self.idle {
            idle.put(std::mem::take(&mut self.scratch));
        }
    }
}

impl Searcher for LiveSearcher<'_> {
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        let state = self.live.read();
        self.scratch.one(state.searched(&self.live.euclid), self.params, (query, k), out)
    }

    /// Some queries at a time see one state of the index.
    fn search_batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        assert_batch(queries.len(), k, out.len());
        let mut counters = Counters::default();
        for first in (0..queries.len()).step_by(RUN) {
            let run = first..(first + RUN).min(queries.len());
            let out = &mut out[run.start * k..run.end * k];
            let state = self.live.read();
            let searched = state.searched(&self.live.euclid);
            counters += self.scratch.batch(searched, self.params, (queries.rows(run), k), out);
        }
        counters
    }

    fn search_among(&mut self, query: &[f32], k: usize, among: &IdSet, out: &mut Vec<Neighbor>) -> Counters {
        let state = self.live.read();
        self.scratch.one_among(state.searched(&self.live.euclid), self.params, (query, k, among), out)
    }

    fn search_batch_among(
        &mut self,
        queries: Vectors<'_, f32>,
        k: usize,
        among: &IdSet,
        out: &mut [Neighbor],
    ) -> Counters {
        let mut found = std::mem::take(&mut self.scratch.found);
        let counters =
            one_by_one((queries, k), &mut found, out, |query, found| self.search_among(query, k, among, found));
        self.scratch.found = found;
        counters
    }
}

//! Searching the graph (algorithm 5): what is searched, and the memory of one thread's searches, by the codes that are walked over.

use nearlab_storage::Vectors;

use super::Hnsw;
use super::among::Among;
use super::apart::{Apart, Hidden};
use super::codes::{Rerank, Walked};
use super::graph::Links;
use super::pace::Pace;
use super::params::HnswSearchParams;
use super::plan::{Plan, Walkers};
use crate::index::{assert_batch, assert_query, one_by_one};
use crate::memory::Capacity;
use crate::quant::{AffineQuery, Euclid, PqQuery, Sq4Query};
use crate::scratch::Idle;
use crate::{Counters, IdSet, Neighbor, Searcher};

/// One thread's searches of an [`Hnsw`].
#[derive(Debug)]
pub struct HnswSearcher<'a> {
    searched: Searched<'a>,
    params: HnswSearchParams,
    scratch: Scratch,
    /// Where the scratch came from, unless it was lent.
    idle: Option<&'a Idle<Scratch>>,
}

impl<'a> HnswSearcher<'a> {
    /// `params` are valid.
    pub(super) fn new(hnsw: &'a Hnsw, params: HnswSearchParams) -> Self {
        Self { searched: hnsw.searched(), params, scratch: hnsw.idle.take(), idle: Some(&hnsw.idle) }
    }

    /// `params` are valid.
    pub(crate) fn with_scratch(hnsw: &'a Hnsw, params: HnswSearchParams, scratch: Scratch) -> Self {
        Self { searched: hnsw.searched(), params, scratch, idle: None }
    }

    /// The memory of the searches, for those of another index.
    pub(crate) fn into_scratch(mut self) -> Scratch {
        std::mem::take(&mut self.scratch)
    }
}

impl Drop for HnswSearcher<'_> {
    fn drop(&mut self) {
        if let Some(idle) = self.idle {
            idle.put(std::mem::take(&mut self.scratch));
        }
    }
}

impl Searcher for HnswSearcher<'_> {
    /// Algorithm 5. The base layer starts from where the descent ended and from the entry point too: every node is
    /// reachable from the latter, so with `ef_search >= n` every vector is scored.
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        self.scratch.one(self.searched, self.params, (query, k), out)
    }

    fn search_batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        self.scratch.batch(self.searched, self.params, (queries, k), out)
    }

    fn search_among(&mut self, query: &[f32], k: usize, among: &IdSet, out: &mut Vec<Neighbor>) -> Counters {
        self.scratch.one_among(self.searched, self.params, (query, k, among), out)
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

/// What is searched: a graph, codes and what is left of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Searched<'a> {
    pub(super) euclid: &'a Euclid,
    pub(super) traversal: Walked<'a>,
    pub(super) rerank: &'a Rerank,
    pub(super) links: Links<'a>,
    /// None where nothing is left to find.
    pub(super) entry_point: Option<u32>,
    pub(super) max_level: u8,
    pub(super) deleted: &'a IdSet,
    pub(super) apart: &'a Apart,
    /// Nodes that are linked, of which `dead` were deleted.
    pub(super) linked: usize,
    pub(super) dead: usize,
    pub(super) pace: Pace,
}

impl<'a> Searched<'a> {
    /// Nodes that no walk finds.
    pub(super) fn hidden(&self) -> Hidden<'a> {
        Hidden { deleted: self.deleted, apart: self.apart.ids() }
    }
}

/// The memory of one thread's searches, by the kind of a prepared query.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    plain: Walkers<Vec<f32>>,
    sq4: Walkers<Sq4Query>,
    affine: Walkers<AffineQuery>,
    pq: Walkers<PqQuery>,
    /// What was found for one query of a batch.
    pub(super) found: Vec<Neighbor>,
}

impl Capacity for Scratch {
    fn capacity_bytes(&self) -> usize {
        let Self { plain, sq4, affine, pq, found } = self;
        let coded = sq4.capacity_bytes() + affine.capacity_bytes() + pq.capacity_bytes();
        plain.capacity_bytes() + coded + found.capacity_bytes()
    }
}

/// Does something with the plan over whichever codes are walked, and the walkers for their queries: here the choice of codes is
/// taken apart.
macro_rules! with_plan {
    ($scratch:ident, $searched:ident, $entry_point:ident, $params:ident, |$plan:ident, $walkers:ident| $search:expr) => {
        with_plan!(
            ($scratch, $searched, $entry_point, $params, |$plan, $walkers| $search),
            F32 plain, Half plain, Sq8 plain, Sq4 sq4, Affine affine, Pq pq, Blocks pq
        )
    };
    (
        ($scratch:ident, $searched:ident, $entry_point:ident, $params:ident, |$plan:ident, $walkers:ident| $search:expr),
        $($codes:ident $queries:ident),*
    ) => {
        match $searched.traversal {
            $(Walked::$codes(codes) => {
                let ($plan, $walkers) =
                    (Plan::new($searched, $entry_point, codes.rows(), $params), &mut $scratch.$queries);
                $search
            })*
        }
    };
}

impl Scratch {
    /// Searches for one query.
    pub(super) fn one(
        &mut self,
        searched: Searched<'_>,
        params: HnswSearchParams,
        (query, k): (&[f32], usize),
        out: &mut Vec<Neighbor>,
    ) -> Counters {
        assert_query(query, searched.euclid.dim);
        out.clear();
        let Some(entry_point) = searched.entry_point.filter(|_| k > 0) else { return Counters::default() };
        with_plan!(self, searched, entry_point, params, |plan, walkers| plan.one(&mut walkers.slots, query, k, out))
    }

    /// Searches for one query among some.
    pub(super) fn one_among(
        &mut self,
        searched: Searched<'_>,
        params: HnswSearchParams,
        (query, k, ids): (&[f32], usize, &IdSet),
        out: &mut Vec<Neighbor>,
    ) -> Counters {
        let nodes = searched.links.base.len() / (2 * searched.links.m);
        if ids.covers(nodes) {
            return self.one(searched, params, (query, k), out);
        }
        assert_query(query, searched.euclid.dim);
        out.clear();
        let Some(entry_point) = searched.entry_point.filter(|_| k > 0) else { return Counters::default() };
        let among = Among { ids, hidden: searched.hidden(), nodes };
        with_plan!(self, searched, entry_point, params, |plan, walkers| plan.one_among(
            &mut walkers.slots,
            (query, k),
            among,
            out
        ))
    }

    /// Searches for the queries of a batch.
    pub(super) fn batch(
        &mut self,
        searched: Searched<'_>,
        params: HnswSearchParams,
        (queries, k): (Vectors<'_, f32>, usize),
        out: &mut [Neighbor],
    ) -> Counters {
        assert_batch(queries.len(), k, out.len());
        if !queries.is_empty() {
            assert_query(queries.row(0), searched.euclid.dim);
        }
        let Some(entry_point) = searched.entry_point.filter(|_| k > 0) else {
            out.fill(Neighbor::NONE);
            return Counters::default();
        };
        with_plan!(self, searched, entry_point, params, |plan, walkers| plan.batch(walkers, queries, k, out))
    }
}

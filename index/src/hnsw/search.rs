//! Descending through the upper layers and searching the base layer (algorithm 5), one query at a time or a few at once.
//!
//! One query waits for memory at every hop. A batch therefore walks [`INTERLEAVED`] queries in turns: while the memory that
//! one has asked for is on its way, the others work. The steps of a query do not depend on what walks beside it, so the
//! results are those of one at a time. Nothing here allocates once the scratch has grown to `ef` and the widest row.

use nearlab_storage::Vectors;

use super::Hnsw;
use super::codes::{EndQuery, Finish, RerankRows, Traversal};
use super::graph::View;
use super::params::HnswSearchParams;
use super::walk::{Route, Walk};
use crate::index::{assert_batch, assert_query, fill_row};
use crate::quant::{Codes, Euclid, F16Rows, Length, Sq4Rows, Sq8Rows};
use crate::space::Space;
use crate::{Counters, Neighbor, Searcher};

/// Queries of a batch that walk at the same time.
const INTERLEAVED: usize = 4;

/// One thread's searches of an [`Hnsw`].
pub struct HnswSearcher<'a>(AnySearch<'a>);

enum AnySearch<'a> {
    F32(Search<'a, Space<'a>>),
    F16(Search<'a, F16Rows<'a>>),
    Sq8(Search<'a, Sq8Rows<'a>>),
    Sq4(Search<'a, Sq4Rows<'a>>),
}

impl<'a> HnswSearcher<'a> {
    pub(super) fn new(hnsw: &'a Hnsw, params: HnswSearchParams) -> Self {
        Self(match &hnsw.traversal {
            Traversal::F32(vectors) => {
                AnySearch::F32(Search::new(hnsw, Space::new(vectors, hnsw.euclid.dim, hnsw.euclid.metric), params))
            }
            Traversal::F16(f16) => AnySearch::F16(Search::new(hnsw, f16.rows(), params)),
            Traversal::Sq8(sq8) => AnySearch::Sq8(Search::new(hnsw, sq8.rows(), params)),
            Traversal::Sq4(sq4) => AnySearch::Sq4(Search::new(hnsw, sq4.rows(), params)),
        })
    }
}

impl std::fmt::Debug for HnswSearcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HnswSearcher").finish_non_exhaustive()
    }
}

impl Searcher for HnswSearcher<'_> {
    /// Algorithm 5. The base layer starts from where the descent ended and from the entry point too: every node is
    /// reachable from the latter, so with `ef_search >= n` every vector is scored.
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        match &mut self.0 {
            AnySearch::F32(search) => search.one(query, k, out),
            AnySearch::F16(search) => search.one(query, k, out),
            AnySearch::Sq8(search) => search.one(query, k, out),
            AnySearch::Sq4(search) => search.one(query, k, out),
        }
    }

    fn search_batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        match &mut self.0 {
            AnySearch::F32(search) => search.batch(queries, k, out),
            AnySearch::F16(search) => search.batch(queries, k, out),
            AnySearch::Sq8(search) => search.batch(queries, k, out),
            AnySearch::Sq4(search) => search.batch(queries, k, out),
        }
    }
}

/// Searches over one kind of codes.
struct Search<'a, C: Codes> {
    plan: Plan<'a, C>,
    slots: Vec<Slot<C::Query>>,
}

/// What all searches of a searcher share.
struct Plan<'a, C> {
    view: View<'a, C>,
    rerank_rows: RerankRows<'a>,
    euclid: &'a Euclid,
    entry_point: Option<u32>,
    max_level: u8,
    params: HnswSearchParams,
}

/// One walking query.
struct Slot<Q> {
    walk: Walk<Q>,
    /// Whether the walk is over and its candidates' rerank codes are on their way.
    arrived: bool,
    k: usize,
    lifted: Vec<f32>,
    length: Length,
    finish: Finish,
}

impl<'a, C: Codes + 'a> Search<'a, C> {
    fn new(hnsw: &'a Hnsw, codes: C, params: HnswSearchParams) -> Self {
        let plan = Plan {
            view: View { codes, links: hnsw.graph.links() },
            rerank_rows: hnsw.rerank.rows(&hnsw.euclid),
            euclid: &hnsw.euclid,
            entry_point: hnsw.graph.entry_point,
            max_level: hnsw.graph.max_level(),
            params,
        };
        Self { plan, slots: Vec::new() }
    }

    fn grow_slots(&mut self, slots: usize) {
        while self.slots.len() < slots {
            self.slots.push(Slot {
                walk: Walk::new(self.plan.view.codes.len(), self.plan.view.links.m),
                arrived: false,
                k: 0,
                lifted: Vec::new(),
                length: Length::default(),
                finish: Finish::default(),
            });
        }
    }

    fn one(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        assert_query(query, self.plan.euclid.dim);
        out.clear();
        let Some(entry_point) = self.plan.entry_point.filter(|_| k > 0) else { return Counters::default() };
        self.grow_slots(1);
        let slot = &mut self.slots[0];
        self.plan.begin(slot, entry_point, query, k);
        while !self.plan.step(slot, query) {}
        out.extend_from_slice(&slot.finish.found);
        slot.walk.take_counters()
    }

    fn batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        assert_batch(queries.len(), k, out.len());
        let Some(entry_point) = self.plan.entry_point.filter(|_| k > 0) else {
            out.fill(Neighbor::NONE);
            return Counters::default();
        };
        if !queries.is_empty() {
            assert_query(queries.row(0), self.plan.euclid.dim);
        }
        let width = INTERLEAVED.min(queries.len());
        self.grow_slots(width);
        let slots = &mut self.slots[..width];
        // The query that walks in each slot.
        let mut walking = [None; INTERLEAVED];
        for (i, (slot, walking)) in slots.iter_mut().zip(&mut walking).enumerate() {
            self.plan.begin(slot, entry_point, queries.row(i), k);
            *walking = Some(i);
        }
        let (mut begun, mut left) = (width, queries.len());
        while left > 0 {
            for (slot, walking) in slots.iter_mut().zip(&mut walking) {
                let Some(query) = *walking else { continue };
                if !self.plan.step(slot, queries.row(query)) {
                    continue;
                }
                fill_row(&mut out[query * k..][..k], &slot.finish.found);
                left -= 1;
                *walking = (begun < queries.len()).then_some(begun);
                if let Some(query) = *walking {
                    self.plan.begin(slot, entry_point, queries.row(query), k);
                    begun += 1;
                }
            }
        }
        slots.iter_mut().map(|slot| slot.walk.take_counters()).sum()
    }
}

impl<C: Codes> Plan<'_, C> {
    fn begin(&self, slot: &mut Slot<C::Query>, entry_point: u32, query: &[f32], k: usize) {
        let codes = self.view.codes;
        (slot.k, slot.arrived) = (k, false);
        slot.length = self.euclid.lift_query(query, &mut slot.lifted);
        codes.prepare(if C::LIFTED { &slot.lifted } else { query }, &mut slot.walk.query);
        let ef = self.params.ef_search.max(k).min(codes.len());
        slot.walk.begin(self.view, Route { entry_point, max_level: self.max_level, layer: 0, ef });
    }

    /// Takes one step; whether it was the last.
    #[inline]
    fn step(&self, slot: &mut Slot<C::Query>, query: &[f32]) -> bool {
        if slot.arrived {
            let query = EndQuery { raw: query, lifted: &slot.lifted, length: slot.length };
            let unit = C::LIFTED.then(|| self.view.codes.unit());
            slot.finish.rank((self.rerank_rows, self.euclid), query, (unit, slot.k), &mut slot.walk.counters);
            return true;
        }
        if slot.walk.step(self.view) {
            let kept = match (self.rerank_rows, self.params.rerank) {
                (RerankRows::None, _) => slot.k,
                (_, 0) => 2 * slot.k + 10,
                (_, rerank) => rerank.max(slot.k),
            };
            slot.finish.begin(self.rerank_rows, slot.walk.pool.iter().take(kept));
            slot.arrived = true;
        }
        false
    }
}

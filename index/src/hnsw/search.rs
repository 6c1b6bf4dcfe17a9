//! Descending through the upper layers and searching the base layer (algorithm 5), one query at a time or a few at once.
//!
//! One query waits for memory at every hop. A batch therefore walks some queries in turns: while the memory that one has
//! asked for is on its way, the others work. The steps of a query do not depend on what walks beside it, so the
//! results are those of one at a time. Nothing here allocates once the scratch has grown to `ef` and the widest row.

use nearlab_storage::Vectors;

use super::Hnsw;
use super::among::{Among, Matched};
use super::codes::{EndQuery, Finish, Rerank, RerankRows, Walked};
use super::graph::{Links, View};
use super::pace::{MOST_INTERLEAVED, Pace};
use super::params::{HnswSearchParams, Layers};
use super::walk::{Patience, Route, Walk};
use crate::index::{assert_batch, assert_query, fill_row, one_by_one};
use crate::memory::Capacity;
use crate::quant::{AffineQuery, Codes, Euclid, Length, PqQuery, Sq4Query};
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
    /// Nodes that are linked, of which `dead` were deleted.
    pub(super) linked: usize,
    pub(super) dead: usize,
    pub(super) pace: Pace,
}

/// The memory of one thread's searches, by the kind of a prepared query.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    plain: Vec<Slot<Vec<f32>>>,
    sq4: Vec<Slot<Sq4Query>>,
    affine: Vec<Slot<AffineQuery>>,
    pq: Vec<Slot<PqQuery>>,
    /// What was found for one query of a batch.
    pub(super) found: Vec<Neighbor>,
}

impl Capacity for Scratch {
    fn capacity_bytes(&self) -> usize {
        let Self { plain, sq4, affine, pq, found } = self;
        bytes_of(plain) + bytes_of(sq4) + bytes_of(affine) + bytes_of(pq) + found.capacity_bytes()
    }
}

fn bytes_of<Q: Capacity>(slots: &Vec<Slot<Q>>) -> usize {
    slots.capacity() * size_of::<Slot<Q>>() + slots.iter().map(Capacity::capacity_bytes).sum::<usize>()
}

/// Does something with the plan over whichever codes are walked, and the slots for their queries: here the choice of codes is
/// taken apart.
macro_rules! with_plan {
    ($scratch:ident, $searched:ident, $entry_point:ident, $params:ident, |$plan:ident, $slots:ident| $search:expr) => {
        with_plan!(
            ($scratch, $searched, $entry_point, $params, |$plan, $slots| $search),
            F32 plain, Half plain, Sq8 plain, Sq4 sq4, Affine affine, Pq pq
        )
    };
    (
        ($scratch:ident, $searched:ident, $entry_point:ident, $params:ident, |$plan:ident, $slots:ident| $search:expr),
        $($codes:ident $queries:ident),*
    ) => {
        match $searched.traversal {
            $(Walked::$codes(codes) => {
                let ($plan, $slots) =
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
        with_plan!(self, searched, entry_point, params, |plan, slots| plan.one(slots, query, k, out))
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
        let among = Among { ids, deleted: searched.deleted, nodes };
        with_plan!(self, searched, entry_point, params, |plan, slots| plan.one_among(slots, (query, k), among, out))
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
        with_plan!(self, searched, entry_point, params, |plan, slots| plan.batch(slots, queries, k, out))
    }
}

/// What all searches of a call share.
pub(super) struct Plan<'a, C> {
    pub(super) view: View<'a, C>,
    pub(super) rerank_rows: RerankRows<'a>,
    pub(super) euclid: &'a Euclid,
    pub(super) entry_point: u32,
    pub(super) max_level: u8,
    pub(super) deleted: &'a IdSet,
    pub(super) ef_search: usize,
    /// Candidates kept for each that may be found: more than one where deleted nodes take up places.
    pub(super) share: f64,
    pub(super) rerank: usize,
    pub(super) patience: usize,
    pub(super) pace: Pace,
}

/// One walking query.
#[derive(Debug)]
pub(super) struct Slot<Q> {
    pub(super) walk: Walk<Q>,
    /// Whether the walk is over and its candidates' rerank codes are on their way.
    arrived: bool,
    pub(super) k: usize,
    pub(super) lifted: Vec<f32>,
    pub(super) length: Length,
    pub(super) finish: Finish,
    /// What a search among some needs besides.
    pub(super) matched: Matched,
}

impl<Q: Capacity> Capacity for Slot<Q> {
    fn capacity_bytes(&self) -> usize {
        let Self { walk, lifted, finish, matched, .. } = self;
        walk.capacity_bytes() + lifted.capacity_bytes() + finish.capacity_bytes() + matched.capacity_bytes()
    }
}

impl<Q: Default> Slot<Q> {
    fn new(m: usize) -> Self {
        Self {
            walk: Walk::new(m),
            arrived: false,
            k: 0,
            lifted: Vec::new(),
            length: Length::default(),
            finish: Finish::default(),
            matched: Matched::new(m),
        }
    }
}

impl<'a, C: Codes + 'a> Plan<'a, C> {
    pub(super) fn new(searched: Searched<'a>, entry_point: u32, codes: C, params: HnswSearchParams) -> Self {
        let Searched { linked, dead, .. } = searched;
        Self {
            view: View { codes, links: searched.links },
            rerank_rows: searched.rerank.rows(),
            euclid: searched.euclid,
            entry_point,
            max_level: if params.layers == Layers::Base { 0 } else { searched.max_level },
            deleted: searched.deleted,
            ef_search: params.ef_search,
            share: linked as f64 / (linked - dead).max(1) as f64,
            rerank: params.rerank,
            patience: params.patience,
            pace: searched.pace.chosen(params),
        }
    }

    /// The first `count` slots, of which missing ones are made.
    pub(super) fn slots<'s>(&self, slots: &'s mut Vec<Slot<C::Query>>, count: usize) -> &'s mut [Slot<C::Query>] {
        while slots.len() < count {
            slots.push(Slot::new(self.view.links.m));
        }
        &mut slots[..count]
    }

    fn one(&self, slots: &mut Vec<Slot<C::Query>>, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        let slot = &mut self.slots(slots, 1)[0];
        self.begin(slot, query, k);
        while !self.step(slot, query) {}
        out.extend_from_slice(&slot.finish.found);
        slot.walk.take_counters()
    }

    fn batch(
        &self,
        slots: &mut Vec<Slot<C::Query>>,
        queries: Vectors<'_, f32>,
        k: usize,
        out: &mut [Neighbor],
    ) -> Counters {
        let count = self.pace.interleave.min(queries.len());
        let (slots, half) = (self.slots(slots, count), count / 2);
        // The query that walks in each slot. Half of them are a step ahead of the others, so that in these turns one that has
        // collected rows is followed by one that scores.
        let mut walking = [None; MOST_INTERLEAVED];
        let turns: [[usize; 2]; MOST_INTERLEAVED] = std::array::from_fn(|i| [i, (i + half) % count.max(1)]);
        for (i, (slot, walking)) in slots.iter_mut().zip(&mut walking).enumerate() {
            self.begin(slot, queries.row(i), k);
            if i >= half {
                slot.walk.step_asking(self.view, &[]);
            }
            *walking = Some(i);
        }
        let (mut begun, mut left, mut last) = (count, queries.len(), 0);
        while left > 0 {
            for &now in turns[..count].as_flattened() {
                let Some(query) = walking[now] else { continue };
                if !self.step_beside(slots, (now, std::mem::replace(&mut last, now)), queries.row(query)) {
                    continue;
                }
                let slot = &mut slots[now];
                fill_row(&mut out[query * k..][..k], &slot.finish.found);
                left -= 1;
                walking[now] = (begun < queries.len()).then_some(begun);
                if let Some(query) = walking[now] {
                    self.begin(slot, queries.row(query), k);
                    slot.walk.step_asking(self.view, &[]);
                    begun += 1;
                }
            }
        }
        slots.iter_mut().map(|slot| slot.walk.take_counters()).sum()
    }

    /// Takes one step of the slot `now`, and asks for what the slot `last` wants; whether it was the last.
    #[inline]
    fn step_beside(&self, slots: &mut [Slot<C::Query>], (now, last): (usize, usize), query: &[f32]) -> bool {
        match slots.get_disjoint_mut([now, last]) {
            Ok([slot, last]) => self.step_asking(slot, query, last.walk.wanted()),
            // Alone.
            Err(_) => self.step(&mut slots[now], query),
        }
    }

    fn begin(&self, slot: &mut Slot<C::Query>, query: &[f32], k: usize) {
        self.prepare(slot, query, k);
        let ef = (self.ef_search.max(k) as f64 * self.share).ceil() as usize;
        let most = if self.patience == 0 { usize::MAX } else { self.patience };
        let patience = Patience { nearest: (self.kept(k) as f64 * self.share).ceil() as usize, most };
        slot.walk.begin(self.view, Route { patience, ..self.route(ef.min(self.view.codes.len())) });
    }

    /// Makes a query ready for a walk.
    pub(super) fn prepare(&self, slot: &mut Slot<C::Query>, query: &[f32], k: usize) {
        self.lift(slot, query, k);
        self.encode(slot, query);
    }

    /// Makes a query ready for the rerank codes.
    pub(super) fn lift(&self, slot: &mut Slot<C::Query>, query: &[f32], k: usize) {
        (slot.k, slot.arrived) = (k, false);
        slot.length = self.euclid.lift_query(query, &mut slot.lifted);
    }

    /// Makes a lifted query ready for the codes that are walked over.
    pub(super) fn encode(&self, slot: &mut Slot<C::Query>, query: &[f32]) {
        self.view.codes.prepare(if C::LIFTED { &slot.lifted } else { query }, &mut slot.walk.query);
    }

    /// The way to the base layer.
    pub(super) fn route(&self, ef: usize) -> Route {
        Route { entry_point: self.entry_point, max_level: self.max_level, layer: 0, ef, patience: Patience::ENDLESS }
    }

    /// Candidates that the last scores are found for.
    pub(super) fn kept(&self, k: usize) -> usize {
        match (self.rerank_rows, self.rerank) {
            (RerankRows::None, _) => k,
            (_, 0) => 2 * k + 10,
            (_, rerank) => rerank.max(k),
        }
    }

    /// Leaves the `k` best of the candidates, which have arrived, in the slot.
    pub(super) fn rank(&self, slot: &mut Slot<C::Query>, query: &[f32]) {
        let query = EndQuery { raw: query, lifted: &slot.lifted, length: slot.length };
        let unit = C::LIFTED.then(|| self.view.codes.unit());
        slot.finish.rank((self.rerank_rows, self.euclid), query, (unit, slot.k), &mut slot.walk.counters);
    }

    /// Takes one step; whether it was the last.
    #[inline]
    fn step(&self, slot: &mut Slot<C::Query>, query: &[f32]) -> bool {
        let over = self.step_asking(slot, query, &[]);
        slot.walk.ask(self.view, self.pace.ahead);
        over
    }

    /// Takes one step, and asks for the rows `others`; whether it was the last.
    #[inline]
    fn step_asking(&self, slot: &mut Slot<C::Query>, query: &[f32], others: &[u32]) -> bool {
        if slot.arrived {
            self.view.codes.prefetch_all(others);
            self.rank(slot, query);
            return true;
        }
        if slot.walk.step_asking(self.view, others) {
            let left = slot.walk.pool.iter().filter(|candidate| !self.deleted.contains(candidate.id));
            let scored = (self.view.codes, &slot.walk.query, slot.k);
            slot.finish.begin(self.rerank_rows, left.take(self.kept(slot.k)), scored);
            slot.arrived = true;
        }
        false
    }
}

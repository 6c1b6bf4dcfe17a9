//! Searches of one call, step by step: one query at a time, or a batch of which some walk in turns.
//!
//! One query waits for memory at every hop. A batch therefore walks some queries in turns: while the memory that one has asked for is on its
//! way, the others work. The steps of a query do not depend on what walks beside it, so the results are those of one at a time.
//! Nothing here allocates once the scratch has grown to `ef` and the widest row.

use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::among::Matched;
use super::apart::{Apart, Hidden};
use super::codes::RerankRows;
use super::finish::{EndQuery, Finish};
use super::graph::View;
use super::pace::{MOST_INTERLEAVED, Pace};
use super::params::{HnswSearchParams, Layers};
use super::ready::Ready;
use super::search::Searched;
use super::walk::{Patience, Route, Walk, Wanted};
use crate::index::fill_row;
use crate::memory::Capacity;
use crate::quant::{Codes, Euclid, Length};
use crate::{Counters, Neighbor};

/// What all searches of a call share.
pub(super) struct Plan<'a, C> {
    pub(super) view: View<'a, C>,
    pub(super) rerank_rows: RerankRows<'a>,
    pub(super) euclid: &'a Euclid,
    pub(super) entry_point: u32,
    pub(super) max_level: u8,
    pub(super) hidden: Hidden<'a>,
    apart: &'a Apart,
    pub(super) ef_search: usize,
    /// Candidates kept for each that may be found: more than one where hidden nodes take up places.
    pub(super) share: f64,
    /// Nodes that a walk may find, where it meets others too; otherwise 0.
    pub(super) left: usize,
    pub(super) rerank: usize,
    pub(super) patience: usize,
    pub(super) pace: Pace,
}

/// The memory of one thread's searches by codes that make a `Q` of a query.
#[derive(Debug)]
pub(super) struct Walkers<Q> {
    pub(super) slots: Vec<Slot<Q>>,
    ready: Ready<Q>,
}

impl<Q: Default> Default for Walkers<Q> {
    fn default() -> Self {
        Self { slots: Vec::new(), ready: Ready::default() }
    }
}

impl<Q: Capacity> Capacity for Walkers<Q> {
    fn capacity_bytes(&self) -> usize {
        let slots = self.slots.iter().map(Capacity::capacity_bytes).sum::<usize>();
        self.slots.capacity() * size_of::<Slot<Q>>() + slots + self.ready.capacity_bytes()
    }
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
        let Searched { linked, dead, apart, .. } = searched;
        let hidden = dead + apart.ids().len();
        // Long vectors take up places near every query in their direction. Zeros under cosine are far from all.
        let long = if searched.euclid.metric == Metric::InnerProduct { hidden } else { dead };
        Self {
            view: View { codes, links: searched.links },
            rerank_rows: searched.rerank.rows(),
            euclid: searched.euclid,
            entry_point,
            max_level: if params.layers == Layers::Base { 0 } else { searched.max_level },
            hidden: searched.hidden(),
            apart,
            ef_search: params.ef_search,
            share: linked as f64 / linked.saturating_sub(long).max(1) as f64,
            // What is being inserted is set apart before it is linked, so there may be fewer nodes.
            left: if hidden > 0 { linked.saturating_sub(hidden) } else { 0 },
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

    pub(super) fn one(
        &self,
        slots: &mut Vec<Slot<C::Query>>,
        query: &[f32],
        k: usize,
        out: &mut Vec<Neighbor>,
    ) -> Counters {
        let slot = &mut self.slots(slots, 1)[0];
        self.begin(slot, query, self.wanted(k));
        while !self.step(slot, query) {}
        self.join(slot, query, |_| true);
        out.extend_from_slice(&slot.finish.found);
        slot.walk.take_counters()
    }

    pub(super) fn batch(
        &self,
        Walkers { slots, ready }: &mut Walkers<C::Query>,
        queries: Vectors<'_, f32>,
        k: usize,
        out: &mut [Neighbor],
    ) -> Counters {
        let (count, wanted) = (self.pace.interleave.min(queries.len()), self.wanted(k));
        let (slots, half) = (self.slots(slots, count), count / 2);
        ready.clear();
        // The query that walks in each slot. Half of them are a step ahead of the others, so that in these turns one that has
        // collected rows is followed by one that scores.
        let mut walking = [None; MOST_INTERLEAVED];
        let turns: [[usize; 2]; MOST_INTERLEAVED] = std::array::from_fn(|i| [i, (i + half) % count.max(1)]);
        for (i, (slot, walking)) in slots.iter_mut().zip(&mut walking).enumerate() {
            self.begin_of((slot, ready), (queries, i), wanted);
            if i >= half {
                slot.walk.step_asking(self.view, Wanted::Nothing);
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
                self.join(slot, queries.row(query), |_| true);
                fill_row(&mut out[query * k..][..k], &slot.finish.found);
                left -= 1;
                walking[now] = (begun < queries.len()).then_some(begun);
                if let Some(query) = walking[now] {
                    self.begin_of((slot, ready), (queries, query), wanted);
                    slot.walk.step_asking(self.view, Wanted::Nothing);
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
        self.set_out(slot, k);
    }

    /// Begins the search for a query of a batch; they begin in order.
    fn begin_of(
        &self,
        (slot, ready): (&mut Slot<C::Query>, &mut Ready<C::Query>),
        (queries, number): (Vectors<'_, f32>, usize),
        k: usize,
    ) {
        let codes = self.view.codes;
        if codes.together() == 1 {
            return self.begin(slot, queries.row(number), k);
        }
        (slot.k, slot.arrived) = (k, false);
        let forms = (&mut slot.lifted, &mut slot.walk.query);
        slot.length = ready.take((queries, number), (codes, self.euclid), forms);
        self.set_out(slot, k);
    }

    /// Begins the walk of a query that is ready.
    fn set_out(&self, slot: &mut Slot<C::Query>, k: usize) {
        let ef = (self.ef_search.max(k) as f64 * self.share).ceil() as usize;
        let most = if self.patience == 0 { usize::MAX } else { self.patience };
        let patience = Patience { nearest: (self.kept(k) as f64 * self.share).ceil() as usize, most };
        slot.walk.begin(self.view, Route { patience, ..self.route(ef.min(self.view.codes.len())) });
    }

    /// How many of `k` neighbours there can be: as many as there are nodes.
    pub(super) fn wanted(&self, k: usize) -> usize {
        k.min(self.view.codes.len())
    }

    /// How many candidates a walk that is over should have kept: what is near a query may all be hidden, however little that is
    /// of all nodes. None where it found as many as are wanted, or all there are.
    fn wider(&self, slot: &Slot<C::Query>) -> Option<usize> {
        let wanted = slot.k.min(self.left);
        let left = slot.walk.pool.iter().filter(|candidate| !self.hidden.contains(candidate.id));
        if left.take(wanted).count() == wanted {
            return None;
        }
        slot.walk.wider(self.view.codes.len())
    }

    /// Makes a query ready for a walk.
    pub(super) fn prepare(&self, slot: &mut Slot<C::Query>, query: &[f32], k: usize) {
        self.lift(slot, query, k);
        self.encode(slot, query);
    }

    /// Makes a query ready for the rerank codes, and for those that are walked over where these take it lifted.
    pub(super) fn lift(&self, slot: &mut Slot<C::Query>, query: &[f32], k: usize) {
        (slot.k, slot.arrived) = (k, false);
        if C::LIFTED || !matches!(self.rerank_rows, RerankRows::None) {
            slot.length = self.euclid.lift_query(query, &mut slot.lifted);
        }
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

    /// Leaves the `k` best of the candidates, which have arrived, in the slot; or asks for more of these, and is to be called again.
    pub(super) fn rank(&self, slot: &mut Slot<C::Query>, query: &[f32]) -> bool {
        let query = EndQuery { raw: query, lifted: &slot.lifted, length: slot.length };
        let unit = C::LIFTED.then(|| self.view.codes.unit());
        slot.finish.rank((self.rerank_rows, self.euclid), query, (unit, slot.k), &mut slot.walk.counters)
    }

    /// Puts those that are set apart, and admitted, where they belong among what was found.
    pub(super) fn join(&self, slot: &mut Slot<C::Query>, query: &[f32], admits: impl Fn(u32) -> bool) {
        self.apart.join((query, slot.k), admits, &mut slot.finish.found, &mut slot.walk.counters);
    }

    /// Takes one step; whether it was the last.
    #[inline]
    fn step(&self, slot: &mut Slot<C::Query>, query: &[f32]) -> bool {
        let over = self.step_asking(slot, query, Wanted::Nothing);
        slot.walk.ask(self.view, self.pace.ahead);
        over
    }

    /// Takes one step, and asks for the codes `others`; whether it was the last.
    #[inline]
    fn step_asking(&self, slot: &mut Slot<C::Query>, query: &[f32], others: Wanted<'_>) -> bool {
        if slot.arrived {
            others.prefetch(self.view.codes);
            return self.rank(slot, query);
        }
        if slot.walk.step_asking(self.view, others) {
            if let Some(ef) = self.wider(slot) {
                if self.scans_sooner(ef) {
                    self.scan(slot, query);
                    return true;
                }
                slot.walk.begin(self.view, self.route(ef));
                return false;
            }
            let left = slot.walk.pool.iter().filter(|candidate| !self.hidden.contains(candidate.id));
            let scored = (self.view.codes, &slot.walk.query, slot.k);
            slot.finish.begin(self.rerank_rows, left.take(self.kept(slot.k)), scored);
            slot.arrived = true;
        }
        false
    }
}

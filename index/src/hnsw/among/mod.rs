//! Searching among the nodes that a set of ids admits, the matches, in one of three ways.
//!
//! | way | what it does | where it is best |
//! |---|---|---|
//! | scan | scores every match | few matches, or none near the query |
//! | walk through (`Walk::pass_through`) | algorithm 2 over all nodes, keeping matches as results, until `ef` are found and nothing nearer is left | most nodes near the query match |
//! | walk by two hops (`Walk::leap`) | algorithm 2 over the matches alone, whose neighbours are the matches that one or two links away | some do |
//!
//! Two hops are those of ACORN-1 (Patel et al., "ACORN: Performant and Predicate-Agnostic Search Over Vector Embeddings and
//! Structured Data", SIGMOD 2024).
//!
//! The choice is made by cost ([`cost`]). How many matches there are is known, so the cost of the scan is; what a walk would cost
//! depends on how many nodes match *near the query*, so unless twice the cost of any walk is more than the scan's, a walk through begins and
//! looks. It gives up as soon as the largest share of matches that is likely, after what it met, says that it will cost more than half of
//! the scan, and that two hops would. These go on where they would cost less than that and where the share says that matches are linked well enough to find one another; the
//! scan does everything else. So a filter that admits what is near the query is walked, one that admits only what is far away is
//! scanned, whatever their selectivity. A walk by two hops that was promising and has cost as much as the scan is given up for it.
//!
//! Coarse codes tell neighbours apart, not vectors that are all about as far away, as are those that match a filter of which
//! nothing near the query is part. A scan therefore has more candidates scored anew than a search, and where any of the additional ones
//! proves to be among the nearest, it scores all matches by the rerank codes; so it does at once where they are few.
//!
//! Not here: filters that are not sets, graphs built for filters, the interleaving of a batch's queries.

mod cost;
mod walks;

use super::apart::Hidden;
use super::codes::RerankRows;
use super::finish::EndQuery;
use super::plan::{Plan, Slot};
use super::pool::Pool;
use crate::memory::Capacity;
use crate::quant::Codes;
use crate::scatter::score_scattered;
use crate::top_k::TopK;
use crate::{Counters, IdSet, Neighbor};
use cost::Costs;
use walks::{Limits, Outcome};

/// Candidates that a scan by coarse codes has scored anew, for each that a search has.
const CHECKED: usize = 4;
/// The share of many matches after which a scan by coarse codes looks whether they tell the nearest: one in so many.
const FIRST_PART: usize = 8;

/// What a search is to find something among.
#[derive(Clone, Copy)]
pub(super) struct Among<'a> {
    pub(super) ids: &'a IdSet,
    pub(super) hidden: Hidden<'a>,
    /// The graph's nodes; ids beyond are none.
    pub(super) nodes: usize,
}

impl Among<'_> {
    /// Whether a node is a match.
    #[inline]
    fn admits(self, id: u32) -> bool {
        self.ids.contains(id) && !self.hidden.contains(id)
    }

    /// All matches, smallest id first.
    fn matches(self) -> impl Iterator<Item = u32> {
        // Most often nothing is.
        let hidden = (!self.hidden.is_empty()).then_some(self.hidden);
        let ids = self.ids.iter().take_while(move |&id| (id as usize) < self.nodes);
        ids.filter(move |&id| hidden.is_none_or(|hidden| !hidden.contains(id)))
    }
}

/// The memory of searches among some.
#[derive(Debug)]
pub(super) struct Matched {
    /// The matches found: by walks, and by scans whose best are ranked anew.
    pool: Pool,
    /// By other scans.
    top: TopK,
    /// Neighbours of a match that are none, through which a walk by two hops goes.
    failing: Vec<u32>,
    /// Matches to score, and their scores.
    ids: Vec<u32>,
    scores: Vec<f32>,
}

impl Matched {
    /// For a graph with so many links per node.
    pub(super) fn new(m: usize) -> Self {
        let (failing, ids, scores) = (Vec::with_capacity(2 * m), Vec::with_capacity(4 * m), Vec::with_capacity(4 * m));
        Self { pool: Pool::default(), top: TopK::default(), failing, ids, scores }
    }
}

impl Capacity for Matched {
    fn capacity_bytes(&self) -> usize {
        let Self { pool, top, failing, ids, scores } = self;
        let found = pool.capacity_bytes() + top.capacity_bytes();
        found + failing.capacity_bytes() + ids.capacity_bytes() + scores.capacity_bytes()
    }
}

impl<'a, C: Codes + 'a> Plan<'a, C> {
    /// Searches for one query among some nodes.
    pub(super) fn one_among(
        &self,
        slots: &mut Vec<Slot<C::Query>>,
        (query, k): (&[f32], usize),
        among: Among<'_>,
        out: &mut Vec<Neighbor>,
    ) -> Counters {
        let (slot, k) = (&mut self.slots(slots, 1)[0], self.wanted(k));
        self.lift(slot, query, k);
        // Those that are hidden, or that are none of the index's, are not known to be few.
        let matches = (among.ids.len() as f64 / self.share).ceil().min(among.nodes as f64);
        let costs = Costs::of(self.view);
        let ef = self.ef_search.max(k);
        let scan = costs.scan(matches, among.nodes);
        let walks = matches > ef as f64 && scan / 2.0 > costs.walk(ef, 1.0);
        let finely = self.is_fine(matches, k);
        if walks || !finely {
            self.encode(slot, query);
        }
        if walks && self.walk_among(slot, among, (ef, scan)) {
            let scored = (self.view.codes, &slot.walk.query, k);
            slot.finish.begin(self.rerank_rows, slot.matched.pool.iter().take(self.kept(k)), scored);
            while !self.rank(slot, query) {}
        } else if finely || !self.scan_coarsely(slot, query, (among.matches(), matches)) {
            self.scan_finely(slot, query, among.matches());
        }
        self.join(slot, query, |id| among.ids.contains(id));
        out.extend_from_slice(&slot.finish.found);
        slot.walk.take_counters()
    }

    /// Whether scoring all that is not hidden takes less time than a walk that keeps `ef` candidates.
    pub(super) fn scans_sooner(&self, ef: usize) -> bool {
        let costs = Costs::of(self.view);
        costs.scan(self.left as f64, self.view.codes.len()) < costs.walk(ef, 1.0)
    }

    /// Leaves the `k` nearest of all that is not hidden in the slot, whose query is ready.
    pub(super) fn scan(&self, slot: &mut Slot<C::Query>, query: &[f32]) {
        let (hidden, nodes, left) = (self.hidden, self.view.codes.len() as u32, self.left as f64);
        let matches = || (0..nodes).filter(move |&id| !hidden.contains(id));
        if self.is_fine(left, slot.k) || !self.scan_coarsely(slot, query, (matches(), left)) {
            self.scan_finely(slot, query, matches());
        }
    }

    /// Walks where that promises to cost half of the scan at most, and as long as it costs no more than the scan; whether the
    /// nearest matches were found.
    fn walk_among(&self, slot: &mut Slot<C::Query>, among: Among<'_>, (ef, scan): (usize, f64)) -> bool {
        let Slot { walk, matched, .. } = slot;
        let limits = Limits { costs: Costs::of(self.view), ef, scan };
        walk.begin(self.view, self.route(1));
        while walk.descends() {
            walk.step(self.view);
        }
        match walk.pass_through(self.view, among, matched, limits) {
            Outcome::Found => true,
            Outcome::TooDear { share, degree } => {
                limits.leaps(share, degree) && walk.leap(self.view, among, matched, limits)
            }
            Outcome::RanDry => false,
        }
    }

    /// Whether scoring all matches by the rerank codes costs no more than doing so by coarser ones, and ranking the best anew.
    fn is_fine(&self, matches: f64, k: usize) -> bool {
        if matches!(self.rerank_rows, RerankRows::None) {
            return false;
        }
        let fine = Costs::of_rows(self.rerank_rows.row_bytes(), self.view.links);
        // Candidates are ranked twice where matches are many, and cost the pool as much elsewhere.
        let ranked = 2.0 * fine.walked * (CHECKED * self.kept(k)) as f64;
        fine.scan(matches, 0) <= Costs::of(self.view).scan(matches, 0) + ranked
    }

    /// Leaves the `k` nearest matches in the slot, found by scoring all by the rerank codes.
    fn scan_finely(&self, slot: &mut Slot<C::Query>, query: &[f32], matches: impl Iterator<Item = u32>) {
        let Slot { walk, matched, finish, lifted, length, k, .. } = slot;
        let query = EndQuery { raw: query, lifted, length: *length };
        matched.top.begin(*k);
        let matches = (matches, &mut matched.top);
        finish.scan((self.rerank_rows, self.euclid), query, matches, &mut walk.counters);
    }

    /// Scores all matches by the codes that searches walk over, and leaves the `k` nearest in the slot; whether these are known to be
    /// the nearest.
    fn scan_coarsely(
        &self,
        slot: &mut Slot<C::Query>,
        query: &[f32],
        (matches, count): (impl Iterator<Item = u32>, f64),
    ) -> bool {
        if !matches!(self.rerank_rows, RerankRows::None) {
            return self.scan_and_rank(slot, query, (matches, count as usize));
        }
        let Slot { walk, matched: Matched { top, .. }, finish, k, .. } = slot;
        top.begin(*k);
        let matches = matches.map(|id| (id, id));
        score_scattered((self.view.codes, &walk.query), matches, &mut walk.counters, |ids, scores| {
            top.offer(ids, scores);
        });
        top.finish(&mut finish.found);
        self.rank(slot, query)
    }

    /// Scores all matches by the codes that searches walk over, and ranks more candidates by the rerank codes than a walk does. It ends
    /// as soon as that shows that the others do not tell the nearest, which it looks at twice where matches are many; whether they did.
    fn scan_and_rank(
        &self,
        slot: &mut Slot<C::Query>,
        query: &[f32],
        (matches, count): (impl Iterator<Item = u32>, usize),
    ) -> bool {
        let room = (CHECKED * self.kept(slot.k)).min(self.view.codes.len());
        let first = count / FIRST_PART;
        let parts = if first > room { [first, usize::MAX] } else { [0, usize::MAX] };
        slot.matched.pool.begin(room);
        let mut matches = matches.map(|id| (id, id));
        for part in parts.into_iter().filter(|&part| part > 0) {
            let Slot { walk, matched, .. } = slot;
            let part = matches.by_ref().take(part);
            score_scattered((self.view.codes, &walk.query), part, &mut walk.counters, |ids, scores| {
                matched.pool.offer(ids, scores);
            });
            let scored = (self.view.codes, &slot.walk.query, slot.k);
            slot.finish.begin(self.rerank_rows, slot.matched.pool.iter(), scored);
            while !self.rank(slot, query) {}
            if slot.matched.pool.len() == room && !self.bears_out(slot) {
                return false;
            }
        }
        true
    }

    /// Whether the nearest are all among the candidates that a search would have scored anew.
    fn bears_out(&self, slot: &Slot<C::Query>) -> bool {
        let kept = self.kept(slot.k);
        slot.finish.found.iter().all(|found| slot.matched.pool.iter().take(kept).any(|kept| kept.id == found.id))
    }
}

#[cfg(test)]
mod tests;

//! Algorithm 2 among matches: through nodes that are none, and by two hops.

use nearlab_simd::{WITHIN, code_kernels};

use super::cost::Costs;
use super::{Among, Matched};
use crate::hnsw::graph::{NO_LINK, View};
use crate::hnsw::walk::{Walk, Wanted};
use crate::quant::Codes;

/// Nodes met before the share of matches among them is believed, for each of `m`.
const FIRST: usize = 8;
/// Matches within two links of a node that make their graph one: fewer, and walks by two hops end early.
const LINKED: f64 = 24.0;
/// Matches that a walk by two hops finds, for each that one through all nodes does: it misses some.
const LEAPT: usize = 2;

/// How far a walk may go.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) costs: Costs,
    /// Matches to find.
    pub(super) ef: usize,
    /// What scoring all matches would cost.
    pub(super) scan: f64,
}

impl Limits {
    /// Whether a walk through all nodes is to be given up: it would cost more than half of the scan, and so would, while little is known, a
    /// walk by two hops, at the largest share of matches that is likely.
    fn exceeded(self, done: &Done, m: usize) -> bool {
        let dear = |share| self.costs.walk(self.ef, share) > self.scan / 2.0;
        if done.met >= (FIRST * m) as u64 {
            return dear(done.share());
        }
        let share = done.largest_share();
        dear(share) && !self.leaps(share, done.degree())
    }

    /// Whether a walk by two hops finds its way where there is this share of matches and this mean degree, and costs no more than half
    /// of the scan.
    pub(super) fn leaps(self, share: f64, degree: f64) -> bool {
        share * degree * degree >= LINKED && self.costs.leap(LEAPT * self.ef, share, degree) <= self.scan / 2.0
    }
}

/// How a walk through all nodes ended.
pub(super) enum Outcome {
    /// With `ef` matches, and no way to a nearer one.
    Found,
    /// With the prospect of costing too much, given the share of matches among the nodes met and their mean degree.
    TooDear { share: f64, degree: f64 },
    /// With no way to go.
    RanDry,
}

/// What a walk has done so far.
#[derive(Default)]
struct Done {
    rows: u64,
    scored: u64,
    links: u64,
    /// Nodes that might have been kept, and matches among them.
    met: u64,
    passed: u64,
}

impl Done {
    fn cost(&self, costs: Costs) -> f64 {
        self.scored as f64 * costs.walked + self.rows as f64 * costs.row
    }

    /// Matches among the nodes met; never quite none.
    fn share(&self) -> f64 {
        self.passed.max(1) as f64 / self.met.max(1) as f64
    }

    /// Two standard deviations above that of those met.
    fn largest_share(&self) -> f64 {
        let passed = self.passed as f64;
        ((passed + 2.0 * (passed + 1.0).sqrt()) / self.met.max(1) as f64).min(1.0)
    }

    /// Links of a node.
    fn degree(&self) -> f64 {
        self.links as f64 / self.rows.max(1) as f64
    }
}

impl<Q: Default> Walk<Q> {
    /// Goes on from where the descent ended, through all nodes, and keeps matches in the pool of `matched`.
    pub(super) fn pass_through<C: Codes<Query = Q>>(
        &mut self,
        view: View<'_, C>,
        among: Among<'_>,
        matched: &mut Matched,
        limits: Limits,
    ) -> Outcome {
        let (ef, most) = (limits.ef, limits.scan / 2.0);
        let results = &mut matched.pool;
        results.begin(ef);
        self.pool.begin((most / limits.costs.walked) as usize + ef);
        self.visited.clear();
        for start in [self.nearest, self.first] {
            if self.visited.meet(start.id) {
                self.pool.insert(start.id, start.distance);
                if among.admits(start.id) {
                    results.insert(start.id, start.distance);
                }
            }
        }
        let kernels = code_kernels();
        let mut done = Done::default();
        while let Some(candidate) = self.pool.expand_nearest() {
            if candidate.distance > results.farthest() {
                return Outcome::Found;
            }
            done.links += self.gather_new(view, candidate.id, 0) as u64;
            view.codes.prefetch_all(&self.ids[..self.gathered]);
            self.score(view.codes, Wanted::Nothing);
            done.rows += 1;
            done.scored += self.gathered as u64;
            let (ids, scores) = (&self.ids[..self.gathered], &self.scores[..self.gathered]);
            for (ids, scores) in ids.chunks(WITHIN).zip(scores.chunks(WITHIN)) {
                let mut places = kernels.within(scores, results.farthest());
                done.met += u64::from(places.count_ones());
                while places != 0 {
                    let place = places.trailing_zeros() as usize;
                    places &= places - 1;
                    self.pool.insert(ids[place], scores[place]);
                    if among.admits(ids[place]) {
                        results.insert(ids[place], scores[place]);
                        done.passed += 1;
                    }
                }
            }
            let missing = results.len() < ef;
            if done.cost(limits.costs) > most || missing && limits.exceeded(&done, view.links.m) {
                return Outcome::TooDear { share: done.share(), degree: done.degree() };
            }
        }
        if results.len() == ef { Outcome::Found } else { Outcome::RanDry }
    }

    /// Goes on from where the descent ended, by one hop or two from match to match, and keeps matches in the pool of `matched`;
    /// whether it found `ef` of them, and no way to a nearer one.
    pub(super) fn leap<C: Codes<Query = Q>>(
        &mut self,
        view: View<'_, C>,
        among: Among<'_>,
        matched: &mut Matched,
        limits: Limits,
    ) -> bool {
        let ef = LEAPT * limits.ef;
        matched.pool.begin(ef);
        self.visited.clear();
        let mut done = Done::default();
        for start in [self.nearest, self.first] {
            if self.visited.meet(start.id) {
                if among.admits(start.id) {
                    matched.pool.insert(start.id, start.distance);
                } else {
                    self.leap_from((view, among), matched, start.id, &mut done);
                }
            }
        }
        while let Some(candidate) = matched.pool.expand_nearest() {
            self.leap_from((view, among), matched, candidate.id, &mut done);
            if done.cost(limits.costs) > limits.scan {
                return false;
            }
        }
        matched.pool.len() == ef
    }

    /// Scores the matches within two hops of a node that were not met yet: those it links to, and then, until there are as many as a row
    /// of links has places, those that its other neighbours link to.
    fn leap_from<C: Codes<Query = Q>>(
        &mut self,
        (view, among): (View<'_, C>, Among<'_>),
        matched: &mut Matched,
        id: u32,
        done: &mut Done,
    ) {
        let Matched { pool, failing, ids, scores, .. } = matched;
        ids.clear();
        failing.clear();
        for link in view.links.of(id, 0) {
            if among.admits(link) {
                if self.visited.meet(link) {
                    view.codes.prefetch(link);
                    ids.push(link);
                }
            } else if !self.visited.contains(link) {
                view.links.prefetch(link, 0);
                failing.push(link);
            }
        }
        self.count_hop(view, 0);
        done.rows += 1;
        let enough = view.links.width(0);
        for &through in failing.iter() {
            if ids.len() >= enough {
                break;
            }
            // Its matches are met once and for all.
            self.visited.meet(through);
            for &link in view.links.row(through, 0) {
                if link == NO_LINK {
                    break;
                }
                if among.admits(link) && self.visited.meet(link) {
                    view.codes.prefetch(link);
                    ids.push(link);
                }
            }
            self.count_hop(view, 0);
            done.rows += 1;
        }
        scores.resize(ids.len(), 0.0);
        view.codes.score(&self.query, ids, scores);
        self.counters.add_scored(ids.len(), view.codes.row_bytes());
        done.scored += ids.len() as u64;
        pool.offer(ids, scores);
    }
}

//! One search on its way through the layers, in steps short enough to be interleaved with those of other searches.
//!
//! Above the layer where it is to keep candidates, a walk goes greedily (algorithm 2 with ef = 1); there, and on the layers
//! below if it is sent on, it keeps `ef` of them (algorithm 2). A hop is two steps, each of which begins with memory that the
//! one before asked for: one reads a node's links and collects those not met yet; the other scores their codes, and asks for the
//! links of the next node. Between the two another walk may take its turn while the memory comes. It is that one's step which
//! asks for the codes, a few at a time between its own work: memory answers so many requests at once and no more, and whoever
//! makes more at a time waits. Where the codes of a node's neighbours lie side by side, a hop is one step.

use nearlab_simd::LUT4_BLOCK;

use super::graph::{NO_LINK, View};
use super::pace::Ahead;
use super::pool::Pool;
use super::visited::Visited;
use crate::memory::Capacity;
use crate::quant::Codes;
use crate::{Counters, Neighbor};

/// Where a walk begins, and where it keeps candidates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    /// The node where it begins, and the highest layer of that node.
    pub(super) entry_point: u32,
    pub(super) max_level: u8,
    /// The first layer, from above, on which candidates are kept; not above `max_level`.
    pub(super) layer: u8,
    /// How many are kept.
    pub(super) ef: usize,
    pub(super) patience: Patience,
}

/// When a walk ends before its candidates are used up: once so many nodes have been expanded since the nearest ones last changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How many of the nearest candidates matter.
    pub(super) nearest: usize,
    /// Expansions without a change among them.
    pub(super) most: usize,
}

impl Patience {
    /// Every candidate is expanded.
    pub(super) const ENDLESS: Self = Self { nearest: 0, most: usize::MAX };
}

/// The step that a walk takes next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// Read the links of a node on a layer.
    Gather(u32, u8),
    /// Score what was read there.
    Score(u8),
    /// Read the links of a node on the base layer, and score its neighbours, whose codes lie side by side.
    Scan(u32),
}

/// The codes that a step reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    Nothing,
    Rows(&'a [u32]),
    /// Those of a node's neighbours, which lie side by side.
    Group(u32),
}

impl Wanted<'_> {
    #[inline]
    pub(super) fn prefetch<C: Codes>(self, codes: C) {
        match self {
            Self::Nothing => (),
            Self::Rows(ids) => codes.prefetch_all(ids),
            Self::Group(node) => codes.prefetch_group(node),
        }
    }
}

/// The memory and the state of one search.
#[derive(Debug)]
pub(super) struct Walk<Q> {
    pub(super) query: Q,
    pub(super) pool: Pool,
    route: Route,
    next: Next,
    pub(super) first: Neighbor,
    pub(super) nearest: Neighbor,
    pub(super) visited: Visited,
    /// Neighbours to score, in the first `gathered` places, and their scores: as wide as a row of the base layer.
    pub(super) ids: Vec<u32>,
    pub(super) gathered: usize,
    pub(super) scores: Vec<f32>,
    pub(super) counters: Counters,
}

impl<Q: Capacity> Capacity for Walk<Q> {
    fn capacity_bytes(&self) -> usize {
        self.query.capacity_bytes()
            + self.pool.capacity_bytes()
            + self.visited.capacity_bytes()
            + self.ids.capacity_bytes()
            + self.scores.capacity_bytes()
    }
}

impl<Q: Default> Walk<Q> {
    pub(super) fn new(m: usize) -> Self {
        Self {
            query: Q::default(),
            pool: Pool::default(),
            route: Route { entry_point: 0, max_level: 0, layer: 0, ef: 0, patience: Patience::ENDLESS },
            next: Next::Score(0),
            first: Neighbor::NONE,
            nearest: Neighbor::NONE,
            visited: Visited::default(),
            ids: vec![0; 2 * m],
            gathered: 0,
            scores: vec![0.0; (2 * m).next_multiple_of(LUT4_BLOCK)],
            counters: Counters::default(),
        }
    }

    /// The counters since they were last taken.
    pub(super) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Begins a search for [`query`](Self::query), which must be ready.
    ///
    /// Candidates are kept from where the greedy way ended and from the entry point too: every node is reachable from the
    /// latter on the base layer, so with `ef >= n` all of them are met.
    pub(super) fn begin<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, route: Route) {
        self.route = route;
        self.visited.cover(view.codes.len());
        let mut score = [0.0];
        view.codes.score(&self.query, &[route.entry_point], &mut score);
        self.counters.add_scored(1, view.codes.row_bytes());
        self.first = Neighbor { id: route.entry_point, distance: score[0] };
        self.nearest = self.first;
        if route.max_level > route.layer {
            self.next = Next::Gather(route.entry_point, route.max_level);
        } else {
            self.keep_candidates(view, route.layer);
        }
    }

    /// Takes one step, and asks for the rows that the next one scores; whether it was the last on a layer whose candidates, then
    /// complete, are in the pool.
    #[inline]
    pub(super) fn step<C: Codes<Query = Q>>(&mut self, view: View<'_, C>) -> bool {
        let over = self.step_asking(view, Wanted::Nothing);
        self.ask(view, Ahead::Links);
        over
    }

    /// Asks for what the next steps read: the rows to score, and of the candidate that follows the one being expanded, unless a nearer
    /// one is found, first its links, then the codes that they lead to.
    #[inline]
    pub(super) fn ask<C: Codes<Query = Q>>(&self, view: View<'_, C>, ahead: Ahead) {
        self.wanted().prefetch(view.codes);
        match self.next {
            Next::Score(layer) => {
                if ahead == Ahead::Codes && layer == self.route.layer {
                    let links = self.pool.next_nearest().into_iter().flat_map(|id| view.links.of(id, layer));
                    links.filter(|&id| !self.visited.contains(id)).for_each(|id| view.codes.prefetch(id));
                }
            }
            Next::Gather(_, layer) if layer == self.route.layer && ahead != Ahead::Nothing => {
                self.pool.next_nearest().into_iter().for_each(|id| view.links.prefetch(id, layer));
            }
            Next::Scan(_) if ahead != Ahead::Nothing => {
                if let Some(id) = self.pool.next_nearest() {
                    view.links.prefetch(id, 0);
                    if ahead == Ahead::Codes {
                        view.codes.prefetch_group(id);
                    }
                }
            }
            Next::Gather(..) | Next::Scan(_) => (),
        }
    }

    /// The codes that the next step scores.
    #[inline]
    pub(super) fn wanted(&self) -> Wanted<'_> {
        match self.next {
            Next::Gather(..) => Wanted::Nothing,
            Next::Score(_) => Wanted::Rows(&self.ids[..self.gathered]),
            Next::Scan(node) => Wanted::Group(node),
        }
    }

    /// Takes one step as [`step`](Self::step) does, but asks for the codes `others` that another walk [wants](Self::wanted) instead of
    /// its own.
    #[inline]
    pub(super) fn step_asking<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, others: Wanted<'_>) -> bool {
        if matches!(self.next, Next::Gather(..)) {
            others.prefetch(view.codes);
        }
        match self.next {
            Next::Scan(node) => {
                self.scan(view, node, others);
                return !self.expand(view, 0);
            }
            Next::Gather(id, layer) => {
                if layer > self.route.layer {
                    self.gather_all(view, id, layer);
                } else {
                    self.gather_new(view, id, layer);
                }
                self.next = Next::Score(layer);
            }
            Next::Score(layer) if layer > self.route.layer => match self.score_nearest(view.codes, others) {
                Some(nearer) if nearer < self.nearest => {
                    self.nearest = nearer;
                    view.links.prefetch(nearer.id, layer);
                    self.next = Next::Gather(nearer.id, layer);
                }
                _ if layer - 1 > self.route.layer => self.next = Next::Gather(self.nearest.id, layer - 1),
                _ => self.keep_candidates(view, self.route.layer),
            },
            Next::Score(layer) => {
                self.score_to_pool(view.codes, others);
                return !self.expand(view, layer);
            }
        }
        false
    }

    /// Whether the walk is still above the layer on which it is to keep candidates.
    pub(super) fn descends(&self) -> bool {
        matches!(self.next, Next::Gather(_, layer) | Next::Score(layer) if layer > self.route.layer)
    }

    /// How many candidates, of at most so many nodes, a walk is to keep that meets more than this one, which is over; none where this
    /// one has met all that it can reach.
    pub(super) fn wider(&self, nodes: usize) -> Option<usize> {
        let Route { ef, patience, .. } = self.route;
        let impatient = patience.most < usize::MAX;
        let left_out = self.pool.len() == ef && ef < nodes;
        (impatient || left_out).then_some((2 * ef).min(nodes))
    }

    /// The layer on which candidates are kept.
    pub(super) fn layer(&self) -> u8 {
        self.route.layer
    }

    /// Sends a walk on whose layer is complete: the candidates found are where the search of the layer below begins.
    pub(super) fn go_below<C: Codes<Query = Q>>(&mut self, view: View<'_, C>) {
        self.route.layer -= 1;
        self.pool.restart();
        self.begin_layer(view, self.route.layer);
    }

    fn keep_candidates<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, layer: u8) {
        self.pool.begin(self.route.ef);
        self.pool.watch(self.route.patience.nearest);
        self.pool.insert(self.nearest.id, self.nearest.distance);
        if self.nearest.id != self.first.id {
            self.pool.insert(self.first.id, self.first.distance);
        }
        self.begin_layer(view, layer);
    }

    /// Forgets what was met, except what is in the pool, and begins with the nearest of it.
    fn begin_layer<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, layer: u8) {
        self.visited.clear();
        for entry in self.pool.iter() {
            self.visited.meet(entry.id);
        }
        self.expand(view, layer);
    }

    /// Goes on to the nearest candidate not expanded yet; whether there is one, and patience.
    #[inline]
    fn expand<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, layer: u8) -> bool {
        if self.pool.unchanged() >= self.route.patience.most {
            return false;
        }
        let Some(Neighbor { id, .. }) = self.pool.expand_nearest() else { return false };
        view.links.prefetch(id, layer);
        self.next = if C::GROUPED && layer == 0 { Next::Scan(id) } else { Next::Gather(id, layer) };
        true
    }

    /// Collects all links of a node.
    #[inline]
    fn gather_all<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, id: u32, layer: u8) {
        self.gathered = 0;
        for link in view.links.of(id, layer) {
            self.ids[self.gathered] = link;
            self.gathered += 1;
        }
        self.count_hop(view, layer);
    }

    /// Collects the links of a node that the walk has not met yet; how many links it has.
    #[inline]
    pub(super) fn gather_new<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, id: u32, layer: u8) -> usize {
        let row = view.links.row(id, layer);
        let ids = &mut self.ids[..row.len()];
        let (mut gathered, mut links) = (0, 0);
        for &link in row {
            if link == NO_LINK {
                break;
            }
            // Written whether new or not, counted only when new: no branch to mispredict.
            ids[gathered] = link;
            gathered += usize::from(self.visited.insert(link));
            links += 1;
        }
        self.gathered = gathered;
        self.visited.remember(&ids[..gathered]);
        self.count_hop(view, layer);
        links
    }

    /// Scores all neighbours of a node, and offers those to the pool that were not offered before: what was too far once stays so.
    #[inline]
    fn scan<C: Codes<Query = Q>>(&mut self, view: View<'_, C>, node: u32, others: Wanted<'_>) {
        let row = view.links.row(node, 0);
        let links = row.iter().filter(|&&link| link != NO_LINK).count();
        let scores = &mut self.scores[..links.next_multiple_of(LUT4_BLOCK)];
        let ahead = if let Wanted::Group(node) = others {
            Some(node)
        } else {
            others.prefetch(view.codes);
            None
        };
        view.codes.score_group(&self.query, node, scores, ahead);
        let Self { pool, visited, .. } = self;
        pool.offer_if(&row[..links], &self.scores[..links], |id| visited.meet(id));
        self.counters.add_scored(links, view.codes.row_bytes());
        self.count_hop(view, 0);
    }

    /// Scores what was collected, and asks for `others` meanwhile.
    #[inline]
    pub(super) fn score<C: Codes<Query = Q>>(&mut self, codes: C, others: Wanted<'_>) {
        let scores = &mut self.scores[..self.gathered];
        let others = if let Wanted::Rows(ids) = others {
            ids
        } else {
            others.prefetch(codes);
            &[]
        };
        codes.score_asking(&self.query, &self.ids[..self.gathered], scores, others);
        self.counters.add_scored(self.gathered, codes.row_bytes());
    }

    /// Scores what was collected; the nearest of it.
    #[inline]
    fn score_nearest<C: Codes<Query = Q>>(&mut self, codes: C, others: Wanted<'_>) -> Option<Neighbor> {
        self.score(codes, others);
        let scored = self.ids[..self.gathered].iter().zip(&self.scores);
        scored.map(|(&id, &distance)| Neighbor { id, distance }).min()
    }

    /// Scores what was collected, and offers it to the pool.
    #[inline]
    fn score_to_pool<C: Codes<Query = Q>>(&mut self, codes: C, others: Wanted<'_>) {
        self.score(codes, others);
        self.pool.offer(&self.ids[..self.gathered], &self.scores[..self.gathered]);
    }

    #[inline]
    pub(super) fn count_hop<C: Codes>(&mut self, view: View<'_, C>, layer: u8) {
        self.counters.hops += 1;
        self.counters.bytes_read += (view.links.width(layer) * size_of::<u32>()) as u64;
    }
}

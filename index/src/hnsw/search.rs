//! Searching one layer (algorithm 2), descending through the upper ones, and the two together (algorithm 5).
//!
//! The unvisited neighbours of a node are collected first and scored in one call, so that the kernel can prefetch their
//! vectors. Nothing here allocates once the scratch has grown to `ef` and the widest row.

use super::Hnsw;
use super::graph::View;
use super::pool::Pool;
use super::visited::Visited;
use crate::index::assert_query;
use crate::space::PreparedQuery;
use crate::{Counters, Neighbor, Searcher};

/// The memory of one searching thread.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) pool: Pool,
    visited: Visited,
    /// Neighbours to score, and their distances: as wide as a row of the base layer.
    ids: Vec<u32>,
    distances: Vec<f32>,
    pub(super) counters: Counters,
}

impl Scratch {
    pub(super) fn new(nodes: usize, m: usize) -> Self {
        Self {
            pool: Pool::default(),
            visited: Visited::new(nodes),
            ids: Vec::with_capacity(2 * m),
            distances: vec![0.0; 2 * m],
            counters: Counters::default(),
        }
    }

    /// The counters since they were last taken.
    pub(super) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Scores the collected ids, which come from one node's row.
    #[inline]
    fn score(&mut self, view: View<'_>, query: &[f32], layer: u8) {
        self.counters.hops += 1;
        self.counters.bytes_read += (view.links.width(layer) * size_of::<u32>()) as u64;
        view.space.score(query, &self.ids, &mut self.distances[..self.ids.len()], &mut self.counters);
    }
}

/// The distance of one node to the query.
pub(super) fn score_one(view: View<'_>, query: &[f32], id: u32, counters: &mut Counters) -> Neighbor {
    let mut distance = [0.0];
    view.space.score(query, &[id], &mut distance, counters);
    Neighbor { id, distance: distance[0] }
}

/// Goes from `from` to ever nearer nodes on each of `layers`, highest first, until no neighbour is nearer (algorithm 2
/// with ef = 1).
pub(super) fn descend(
    view: View<'_>,
    query: &[f32],
    from: Neighbor,
    layers: impl Iterator<Item = u8>,
    scratch: &mut Scratch,
) -> Neighbor {
    let mut nearest = from;
    for layer in layers {
        loop {
            scratch.ids.clear();
            scratch.ids.extend(view.links.of(nearest.id, layer));
            scratch.score(view, query, layer);
            let candidates =
                scratch.ids.iter().zip(&scratch.distances).map(|(&id, &distance)| Neighbor { id, distance });
            match candidates.min() {
                Some(nearer) if nearer < nearest => nearest = nearer,
                _ => break,
            }
        }
    }
    nearest
}

/// Expands the scratch's pool on `layer` until its `ef` candidates have no nearer neighbours (algorithm 2). The pool
/// holds the entry points.
pub(super) fn search_layer(view: View<'_>, query: &[f32], layer: u8, scratch: &mut Scratch) {
    scratch.visited.clear();
    for entry in scratch.pool.iter() {
        scratch.visited.insert(entry.id);
    }
    while let Some(id) = scratch.pool.expand_nearest() {
        let Scratch { ids, visited, .. } = scratch;
        ids.clear();
        ids.extend(view.links.of(id, layer).filter(|&link| visited.insert(link)));
        scratch.score(view, query, layer);
        for (&id, &distance) in scratch.ids.iter().zip(&scratch.distances) {
            scratch.pool.insert(id, distance);
        }
    }
}

/// One thread's searches of an [`Hnsw`].
#[derive(Debug)]
pub struct HnswSearcher<'a> {
    view: View<'a>,
    entry_point: Option<u32>,
    max_level: u8,
    ef_search: usize,
    query: PreparedQuery,
    scratch: Scratch,
}

impl<'a> HnswSearcher<'a> {
    pub(super) fn new(hnsw: &'a Hnsw, ef_search: usize) -> Self {
        let view = hnsw.view();
        Self {
            view,
            entry_point: hnsw.graph.entry_point,
            max_level: hnsw.graph.max_level(),
            ef_search,
            query: PreparedQuery::default(),
            scratch: Scratch::new(view.space.len(), hnsw.graph.m),
        }
    }
}

impl Searcher for HnswSearcher<'_> {
    /// Algorithm 5. The base layer starts from where the descent ended and from the entry point too: every node is
    /// reachable from the latter, so with `ef_search >= n` the search is exact.
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        assert_query(query, self.view.space.dim());
        out.clear();
        let Some(entry_point) = self.entry_point.filter(|_| k > 0) else { return Counters::default() };
        let query = self.query.prepare(self.view.space.metric(), query);
        let scratch = &mut self.scratch;
        let first = score_one(self.view, query, entry_point, &mut scratch.counters);
        let nearest = descend(self.view, query, first, (1..=self.max_level).rev(), scratch);
        scratch.pool.begin(self.ef_search.max(k).min(self.view.space.len()));
        scratch.pool.insert(nearest.id, nearest.distance);
        if nearest.id != first.id {
            scratch.pool.insert(first.id, first.distance);
        }
        search_layer(self.view, query, 0, scratch);
        out.extend(scratch.pool.iter().take(k));
        scratch.take_counters()
    }
}

//! Searching the lists of the nearest centroids.

use super::Ivf;
use crate::index::assert_query;
use crate::neighbor::Neighbor;
use crate::quant::Codes;
use crate::space::{PreparedQuery, Space};
use crate::top_k::TopK;
use crate::{Counters, IdSet, Searcher};

/// Rows scored at once: their distances stay in the first-level cache.
const BLOCK_ROWS: usize = 256;

/// One thread's searches of an [`Ivf`].
#[derive(Debug)]
pub struct IvfSearcher<'a> {
    pub(super) space: Space<'a>,
    pub(super) centroids: Space<'a>,
    pub(super) offsets: &'a [u64],
    pub(super) ids: &'a [u32],
    pub(super) places: &'a [u32],
    pub(super) nprobe: usize,
    query: PreparedQuery,
    /// The query of a search among some.
    pub(super) own_query: Vec<f32>,
    pub(super) top: TopK,
    pub(super) centroid_distances: Vec<f32>,
    /// Keys of (distance, list).
    pub(super) nearest_lists: Vec<u64>,
}

impl<'a> IvfSearcher<'a> {
    pub(super) fn new(ivf: &'a Ivf, nprobe: usize) -> Self {
        let nlist = ivf.offsets.len() - 1;
        Self {
            space: ivf.space(),
            centroids: ivf.centroid_space(),
            offsets: &ivf.offsets,
            ids: &ivf.ids,
            places: &ivf.places,
            nprobe: nprobe.min(nlist),
            query: PreparedQuery::default(),
            own_query: Vec::new(),
            top: TopK::default(),
            centroid_distances: vec![0.0; nlist],
            nearest_lists: Vec::with_capacity(nlist),
        }
    }
}

impl Searcher for IvfSearcher<'_> {
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        assert_query(query, self.space.dim());
        let mut counters = Counters::default();
        self.top.begin(k.min(self.space.len()));
        if k > 0 {
            let query = self.query.prepare(self.space.metric(), query);
            self.centroids.score_rows(query, 0, &mut self.centroid_distances, &mut counters);
            choose_lists(&self.centroid_distances, self.nprobe, &mut self.nearest_lists);
            for &list in &self.nearest_lists {
                let list = Neighbor::from_key(list).id as usize;
                let places = self.offsets[list] as usize..self.offsets[list + 1] as usize;
                scan(self.space, query, &self.ids[places.clone()], places.start, (&mut self.top, &mut counters));
            }
            counters.lists_probed += self.nearest_lists.len() as u64;
        }
        self.top.finish(out);
        counters
    }

    /// Scores the matches in the nearest lists, of which there are more the fewer match; or, where matches are few or far from the
    /// query, all of them.
    fn search_among(&mut self, query: &[f32], k: usize, among: &IdSet, out: &mut Vec<Neighbor>) -> Counters {
        if among.covers(self.space.len()) {
            return self.search(query, k, out);
        }
        assert_query(query, self.space.dim());
        let mut counters = Counters::default();
        self.top.begin(k.min(self.space.len()));
        if k > 0 {
            self.space.prepare(query, &mut self.own_query);
            self.find_among(k, among, &mut counters);
        }
        self.top.finish(out);
        counters
    }
}

/// The `nprobe` nearest lists, nearest first: later lists then find the heap full of good candidates.
fn choose_lists(distances: &[f32], nprobe: usize, nearest: &mut Vec<u64>) {
    nearest.clear();
    nearest.extend((0..).zip(distances).map(|(id, &distance)| Neighbor { id, distance }.key()));
    if nprobe < nearest.len() {
        nearest.select_nth_unstable(nprobe);
        nearest.truncate(nprobe);
    }
    nearest.sort_unstable();
}

/// Offers every vector of a list that begins at place `from` and holds `ids`.
fn scan(space: Space<'_>, query: &[f32], ids: &[u32], from: usize, (top, counters): (&mut TopK, &mut Counters)) {
    let mut distances = [0.0; BLOCK_ROWS];
    for (block, ids) in ids.chunks(BLOCK_ROWS).enumerate() {
        let distances = &mut distances[..ids.len()];
        space.score_rows(query, from + block * BLOCK_ROWS, distances, counters);
        top.extend(ids.iter().copied().zip(distances.iter().copied()));
    }
    counters.bytes_read += size_of_val(ids) as u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_lists_come_in_order_and_ties_go_to_the_smaller_number() {
        let mut nearest = Vec::new();
        let mut choose = |nprobe| {
            choose_lists(&[3.0, 1.0, 2.0, 1.0], nprobe, &mut nearest);
            nearest.iter().map(|&key| Neighbor::from_key(key).id).collect::<Vec<_>>()
        };
        assert_eq!(choose(1), [1]);
        assert_eq!(choose(3), [1, 3, 2]);
        assert_eq!(choose(9), [1, 3, 2, 0]);
    }
}

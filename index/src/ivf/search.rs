//! Searching the lists of the nearest centroids.

use nearlab_storage::Vectors;

use super::Ivf;
use crate::index::{assert_query, one_by_one};
use crate::memory::Capacity;
use crate::neighbor::Neighbor;
use crate::quant::Codes;
use crate::scratch::Idle;
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
    pub(super) scratch: Scratch,
    /// Where the scratch came from, unless it was lent.
    idle: Option<&'a Idle<Scratch>>,
}

/// The memory of one thread's searches.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    query: PreparedQuery,
    /// The query of a search among some.
    pub(super) own_query: Vec<f32>,
    pub(super) top: TopK,
    pub(super) centroid_distances: Vec<f32>,
    /// Keys of (distance, list).
    pub(super) nearest_lists: Vec<u64>,
    /// What was found for one query of a batch.
    found: Vec<Neighbor>,
}

impl Capacity for Scratch {
    fn capacity_bytes(&self) -> usize {
        let Self { query, own_query, top, centroid_distances, nearest_lists, found } = self;
        let queries = query.capacity_bytes() + own_query.capacity_bytes();
        let lists = centroid_distances.capacity_bytes() + nearest_lists.capacity_bytes();
        queries + top.capacity_bytes() + lists + found.capacity_bytes()
    }
}

impl Drop for IvfSearcher<'_> {
    fn drop(&mut self) {
        if let Some(idle) = self.idle {
            idle.put(std::mem::take(&mut self.scratch));
        }
    }
}

impl<'a> IvfSearcher<'a> {
    pub(super) fn new(ivf: &'a Ivf, nprobe: usize) -> Self {
        let mut searcher = Self::with_scratch(ivf, nprobe, ivf.idle.take());
        searcher.idle = Some(&ivf.idle);
        searcher
    }

    /// `nprobe` is valid.
    pub(crate) fn with_scratch(ivf: &'a Ivf, nprobe: usize, mut scratch: Scratch) -> Self {
        let nlist = ivf.offsets.len() - 1;
        scratch.centroid_distances.resize(nlist, 0.0);
        Self {
            space: ivf.space(),
            centroids: ivf.centroid_space(),
            offsets: &ivf.offsets,
            ids: &ivf.ids,
            places: &ivf.places,
            nprobe: nprobe.min(nlist),
            scratch,
            idle: None,
        }
    }

    /// The memory of the searches, for those of another index.
    pub(crate) fn into_scratch(mut self) -> Scratch {
        std::mem::take(&mut self.scratch)
    }
}

impl Searcher for IvfSearcher<'_> {
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        assert_query(query, self.space.dim());
        let Self { space, centroids, offsets, ids, scratch, .. } = self;
        let Scratch { query: prepared, top, centroid_distances, nearest_lists, .. } = scratch;
        let mut counters = Counters::default();
        top.begin(k.min(space.len()));
        if k > 0 {
            let query = prepared.prepare(space.metric(), query);
            centroids.score_rows(query, 0, centroid_distances, &mut counters);
            choose_lists(centroid_distances, self.nprobe, nearest_lists);
            for &list in &*nearest_lists {
                let list = Neighbor::from_key(list).id as usize;
                let places = offsets[list] as usize..offsets[list + 1] as usize;
                scan(*space, query, &ids[places.clone()], places.start, (top, &mut counters));
            }
            counters.lists_probed += nearest_lists.len() as u64;
        }
        top.finish(out);
        counters
    }

    fn search_batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        let mut found = std::mem::take(&mut self.scratch.found);
        let counters = one_by_one((queries, k), &mut found, out, |query, found| self.search(query, k, found));
        self.scratch.found = found;
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
        self.scratch.top.begin(k.min(self.space.len()));
        if k > 0 {
            self.space.prepare(query, &mut self.scratch.own_query);
            self.find_among(k, among, &mut counters);
        }
        self.scratch.top.finish(out);
        counters
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
        top.offer(ids, distances);
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

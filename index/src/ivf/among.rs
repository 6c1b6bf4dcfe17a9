//! Searching among the vectors that a set of ids admits, the matches.
//!
//! Lists are scanned, nearest first, for the matches in them, and only these are scored. The `k` nearest of n matches in N vectors
//! lie as far apart as the `k N / n` nearest of all, so more lists are scanned than without a filter: `sqrt(N / n)` times as many where
//! matches are spread evenly, fewer where they are frequent near the query. All matches are scored, at the places where they
//! lie, when that is no more than a search without a filter scores, and when the nearest lists show that matches are rare
//! near the query: those that are far away are about as far as one another, and the order of the lists says little about them.

use nearlab_simd::prefetch;

use super::search::IvfSearcher;
use crate::neighbor::Neighbor;
use crate::scatter::{ahead, score_scattered};
use crate::space::Space;
use crate::top_k::TopK;
use crate::{Counters, IdSet};

/// Matches are rare near the query where they are at least so many times as rare as on the whole.
const RARE: f64 = 2.0;

impl IvfSearcher<'_> {
    /// Offers to the heap those among which the `k` nearest matches to the prepared query are.
    pub(super) fn find_among(&mut self, k: usize, among: &IdSet, counters: &mut Counters) {
        let len = self.space.len();
        let usual = self.nprobe * len / self.scratch.centroid_distances.len();
        let few = among.len() <= k.max(usual + self.scratch.centroid_distances.len());
        if few || !self.scan_lists(k, among, counters) {
            self.scratch.top.begin(k.min(len));
            let ids = among.iter().take_while(|&id| (id as usize) < len);
            let ids = ahead(ids, |id| prefetch(&self.places[id as usize..][..1]));
            let matches = ids.map(|id| (self.places[id as usize], id));
            offer(self.space, &self.scratch.own_query, matches, (&mut self.scratch.top, counters));
        }
    }

    /// Scans the nearest lists; whether there were matches enough in them.
    fn scan_lists(&mut self, k: usize, among: &IdSet, counters: &mut Counters) -> bool {
        self.centroids.score_rows(&self.scratch.own_query, 0, &mut self.scratch.centroid_distances, counters);
        self.scratch.nearest_lists.clear();
        let lists = (0..).zip(&self.scratch.centroid_distances).map(|(id, &distance)| Neighbor { id, distance }.key());
        self.scratch.nearest_lists.extend(lists);
        let (len, nlist) = (self.space.len(), self.scratch.nearest_lists.len());
        let share = among.len().min(len) as f64 / len as f64;
        let usual = (self.nprobe * len) as f64 / nlist as f64;
        let enough = k.max((share.sqrt() * usual) as usize);
        // As many lists as without a filter, then as many again as there were, and so on.
        let (mut scanned, mut sorted, mut seen, mut found) = (0, 0, 0, 0);
        while scanned < self.nprobe || (scanned < nlist && found < enough) {
            if scanned == sorted {
                sorted = nlist.min(self.nprobe.max(2 * sorted));
                sort_first(&mut self.scratch.nearest_lists[scanned..], sorted - scanned);
            }
            let list = Neighbor::from_key(self.scratch.nearest_lists[scanned]).id as usize;
            let places = self.offsets[list] as usize..self.offsets[list + 1] as usize;
            seen += places.len();
            let before = counters.distance_computations;
            let ids = places.clone().map(|place| place as u32).zip(&self.ids[places]);
            let matches = ids.filter(|(_, id)| among.contains(**id)).map(|(place, &id)| (place, id));
            offer(self.space, &self.scratch.own_query, matches, (&mut self.scratch.top, counters));
            found += (counters.distance_computations - before) as usize;
            scanned += 1;
            if scanned == self.nprobe && (found as f64) * RARE < share * seen as f64 {
                break;
            }
        }
        counters.lists_probed += scanned as u64;
        counters.bytes_read += (seen * size_of::<u32>()) as u64;
        scanned == nlist || found >= enough
    }
}

/// Offers vectors, given as (place, id), to the heap.
#[inline]
fn offer(
    space: Space<'_>,
    query: &Vec<f32>,
    matches: impl Iterator<Item = (u32, u32)>,
    (top, counters): (&mut TopK, &mut Counters),
) {
    score_scattered((space, query), matches, counters, |ids, distances| top.offer(ids, distances));
}

/// Puts the `count` smallest first, in order.
fn sort_first(keys: &mut [u64], count: usize) {
    if count < keys.len() {
        keys.select_nth_unstable(count);
    }
    keys[..count].sort_unstable();
}

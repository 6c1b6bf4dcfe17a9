//! The candidates of a search: the paper's `C` and `W` in one sorted array.
//!
//! Of all nodes met, only the `ef` nearest matter: `W` holds them, and a node of `C` that is not among them would end
//! the search. So one array of at most `ef` entries, sorted, each with a flag "expanded", is both (as in NSG and
//! DiskANN). The nearest entry that is not expanded is `C`'s head; when there is none, the search is over.
//!
//! An entry is one u64: distance above id above flag, so that entries compare as (distance, id).

use nearlab_simd::{CodeKernels, WITHIN, code_kernels};

use crate::Neighbor;
use crate::memory::Capacity;

/// At most `ef` candidates, nearest first.
#[derive(Debug)]
pub(super) struct Pool {
    kernels: &'static CodeKernels,
    entries: Vec<u64>,
    ef: usize,
    /// All entries before this one are expanded.
    cursor: usize,
    /// How many of the nearest are watched.
    watched: usize,
    /// Candidates expanded since one of the watched changed.
    unchanged: usize,
}

const EXPANDED: u64 = 1;

impl Default for Pool {
    fn default() -> Self {
        Self { kernels: code_kernels(), entries: Vec::new(), ef: 0, cursor: 0, watched: 0, unchanged: 0 }
    }
}

impl Capacity for Pool {
    fn capacity_bytes(&self) -> usize {
        self.entries.capacity_bytes()
    }
}

impl Pool {
    /// Empties the pool and sets its size.
    pub(super) fn begin(&mut self, ef: usize) {
        self.entries.clear();
        self.entries.reserve(ef);
        self.ef = ef;
        self.cursor = 0;
        self.watch(0);
    }

    /// Counts from now on how many candidates are expanded without a change among the nearest so many.
    pub(super) fn watch(&mut self, nearest: usize) {
        (self.watched, self.unchanged) = (nearest, 0);
    }

    /// Candidates expanded since one of the watched changed.
    pub(super) fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// Makes every candidate one to expand again: the next layer starts from them.
    pub(super) fn restart(&mut self) {
        (self.cursor, self.unchanged) = (0, 0);
        for entry in &mut self.entries {
            *entry &= !EXPANDED;
        }
    }

    /// Offers nodes that the pool has not been offered before.
    #[inline]
    pub(super) fn offer(&mut self, ids: &[u32], distances: &[f32]) {
        self.offer_if(ids, distances, |_| true);
    }

    /// Offers nodes, of which those that are not too far are asked whether the pool has not been offered them before.
    #[inline]
    pub(super) fn offer_if(&mut self, ids: &[u32], distances: &[f32], mut new: impl FnMut(u32) -> bool) {
        for (ids, distances) in ids.chunks(WITHIN).zip(distances.chunks(WITHIN)) {
            // Most are farther than all that the pool holds: one comparison of many lanes, and no branch for each.
            let mut places = self.kernels.within(distances, self.farthest());
            while places != 0 {
                let place = places.trailing_zeros() as usize;
                places &= places - 1;
                if new(ids[place]) {
                    self.insert(ids[place], distances[place]);
                }
            }
        }
    }

    /// What a node must not be farther than to be kept.
    #[inline]
    pub(super) fn farthest(&self) -> f32 {
        match self.entries.last() {
            Some(&last) if self.entries.len() == self.ef => neighbor_of(last).distance,
            _ => f32::INFINITY,
        }
    }

    /// Offers a node that the pool has not been offered before.
    #[inline]
    pub(super) fn insert(&mut self, id: u32, distance: f32) {
        let entry = entry_of(Neighbor { id, distance });
        if self.entries.len() == self.ef {
            if self.entries.last().is_none_or(|&last| entry >= last) {
                return;
            }
        } else {
            self.entries.push(0);
        }
        let at = self.kernels.insert_key(&mut self.entries, entry);
        self.cursor = self.cursor.min(at);
        if at < self.watched {
            self.unchanged = 0;
        }
    }

    /// The nearest candidate that was not expanded, which now is.
    #[inline]
    pub(super) fn expand_nearest(&mut self) -> Option<Neighbor> {
        while let Some(entry) = self.entries.get_mut(self.cursor) {
            self.cursor += 1;
            if *entry & EXPANDED == 0 {
                *entry |= EXPANDED;
                self.unchanged += 1;
                return Some(neighbor_of(*entry));
            }
        }
        None
    }

    /// The candidate that is expanded next unless a nearer one is found.
    #[inline]
    pub(super) fn next_nearest(&self) -> Option<u32> {
        let waiting = self.entries.get(self.cursor..)?.iter().find(|&&entry| entry & EXPANDED == 0);
        waiting.map(|&entry| neighbor_of(entry).id)
    }

    /// How many candidates there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All candidates, nearest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Neighbor> {
        self.entries.iter().map(|&entry| neighbor_of(entry))
    }
}

/// Ids are below 2^31, so there is room for the flag below them.
fn entry_of(neighbor: Neighbor) -> u64 {
    let key = neighbor.key();
    (key & !u64::from(u32::MAX)) | ((key & u64::from(u32::MAX)) << 1)
}

fn neighbor_of(entry: u64) -> Neighbor {
    let low = entry & u64::from(u32::MAX);
    Neighbor::from_key((entry ^ low) | (low >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_expanded_first_also_when_nearer_ones_come_later() {
        let mut pool = Pool::default();
        pool.begin(3);
        pool.insert(10, 5.0);
        pool.insert(11, 7.0);
        let expand_nearest = |pool: &mut Pool| pool.expand_nearest().map(|nearest| nearest.id);
        assert_eq!(expand_nearest(&mut pool), Some(10));
        pool.insert(12, 1.0);
        pool.insert(13, 6.0);
        assert_eq!(expand_nearest(&mut pool), Some(12));
        assert_eq!(expand_nearest(&mut pool), Some(13));
        assert_eq!(expand_nearest(&mut pool), None);
        assert_eq!(pool.iter().map(|n| n.id).collect::<Vec<_>>(), [12, 10, 13]);
        pool.restart();
        assert_eq!(expand_nearest(&mut pool), Some(12));
    }

    #[test]
    fn expansions_are_counted_until_one_of_the_nearest_changes() {
        let mut pool = Pool::default();
        pool.begin(4);
        pool.watch(2);
        pool.insert(1, 5.0);
        pool.insert(2, 6.0);
        assert!(pool.expand_nearest().is_some() && pool.expand_nearest().is_some());
        pool.insert(3, 7.0);
        assert_eq!(pool.unchanged(), 2, "the third is not watched");
        pool.insert(4, 5.5);
        assert_eq!(pool.unchanged(), 0);
        pool.begin(4);
        pool.insert(1, 5.0);
        assert!(pool.expand_nearest().is_some());
        pool.insert(2, 1.0);
        assert_eq!(pool.unchanged(), 1, "nothing is watched");
    }

    #[test]
    fn a_full_pool_refuses_what_is_not_nearer_and_ties_go_to_the_smaller_id() {
        let mut pool = Pool::default();
        pool.begin(2);
        for (id, distance) in [(5, 1.0), (4, 1.0), (6, 1.0), (3, 1.0), (2, 9.0)] {
            pool.insert(id, distance);
        }
        assert_eq!(pool.iter().map(|n| n.id).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn the_largest_id_and_negative_distances_survive_the_packing() {
        let neighbor = Neighbor { id: i32::MAX as u32, distance: -2.5 };
        assert_eq!(neighbor_of(entry_of(neighbor) | EXPANDED), neighbor);
    }
}

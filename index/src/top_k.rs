//! The k smallest of a stream of distances: a bounded max-heap over (distance, id) keys.

use std::collections::BinaryHeap;

use crate::Neighbor;
use crate::memory::Capacity;

/// Keeps the `k` smallest neighbours pushed since [`begin`](TopK::begin). Its memory is kept from search to search.
#[derive(Debug, Default)]
pub(crate) struct TopK {
    keys: BinaryHeap<u64>,
    k: usize,
    /// No key above this one can enter: the largest kept one when full.
    limit: u64,
    /// The distance in `limit`; NaN, which nothing is greater than, while anything can enter.
    worst: f32,
}

impl Capacity for TopK {
    fn capacity_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<u64>()
    }
}

impl TopK {
    pub(crate) fn begin(&mut self, k: usize) {
        self.keys.clear();
        self.k = k;
        self.limit = if k == 0 { 0 } else { u64::MAX };
        self.worst = f32::NAN;
    }

    /// Offers neighbours: pairs of id and distance.
    #[inline]
    pub(crate) fn extend(&mut self, neighbors: impl Iterator<Item = (u32, f32)>) {
        for (id, distance) in neighbors {
            // Most are refused here, by one comparison; NaN goes on to the key's total order.
            if distance > self.worst {
                continue;
            }
            let key = Neighbor { id, distance }.key();
            if key < self.limit {
                self.insert(key);
            }
        }
    }

    /// Offers the neighbours of some ids, at these distances.
    #[inline]
    pub(crate) fn offer(&mut self, ids: &[u32], distances: &[f32]) {
        self.extend(ids.iter().copied().zip(distances.iter().copied()));
    }

    /// The distance that a neighbour must not exceed to enter; NaN while anything can.
    #[inline]
    pub(crate) fn worst(&self) -> f32 {
        self.worst
    }

    fn insert(&mut self, key: u64) {
        if self.keys.len() < self.k {
            self.keys.push(key);
            if self.keys.len() < self.k {
                return;
            }
        } else if let Some(mut largest) = self.keys.peek_mut() {
            *largest = key;
        }
        self.limit = self.keys.peek().copied().unwrap_or(0);
        self.worst = Neighbor::from_key(self.limit).distance;
    }

    /// Empties the heap into `out`, nearest first.
    pub(crate) fn finish(&mut self, out: &mut Vec<Neighbor>) {
        out.clear();
        out.extend(self.keys.drain().map(Neighbor::from_key));
        out.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(k: usize, distances: &[f32]) -> Vec<(u32, f32)> {
        let mut top = TopK::default();
        let mut out = Vec::new();
        // Twice, since a searcher reuses it.
        for _ in 0..2 {
            top.begin(k);
            top.extend((0..).zip(distances.iter().copied()));
            top.finish(&mut out);
        }
        out.iter().map(|n| (n.id, n.distance)).collect()
    }

    #[test]
    fn the_smallest_are_kept_in_order_and_ties_go_to_the_smaller_id() {
        assert_eq!(top(3, &[5.0, 1.0, 3.0, 1.0, 0.5]), [(4, 0.5), (1, 1.0), (3, 1.0)]);
        assert_eq!(top(2, &[1.0, 1.0, 1.0]), [(0, 1.0), (1, 1.0)]);
    }

    #[test]
    fn fewer_than_k_are_all_kept_and_k_of_zero_keeps_none() {
        assert_eq!(top(9, &[2.0, -1.0]), [(1, -1.0), (0, 2.0)]);
        assert_eq!(top(0, &[2.0, -1.0]), []);
    }
}

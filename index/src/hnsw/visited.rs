//! The set of nodes a search has met: one bit per node, so that the set of a million stays in the second-level cache.
//! Emptied by taking back what was put in, or, where that is as much work, by clearing all words: so what is to be taken back
//! has its room from the start.

use crate::memory::Capacity;

/// Marks nodes.
#[derive(Debug, Default)]
pub(super) struct Visited {
    words: Vec<u64>,
    /// What was put in, while it is no more than there are words.
    met: Vec<u32>,
    /// Whether it is more.
    overflown: bool,
}

impl Capacity for Visited {
    fn capacity_bytes(&self) -> usize {
        self.words.capacity_bytes() + self.met.capacity_bytes()
    }
}

impl Visited {
    /// Makes room for ids below `nodes`.
    #[inline]
    pub(super) fn cover(&mut self, nodes: usize) {
        if self.words.len() < nodes.div_ceil(64) {
            self.words.resize(nodes.div_ceil(64), 0);
            self.met.reserve(self.words.capacity() - self.met.len());
        }
    }

    /// Forgets all nodes.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.overflown) {
            self.words.fill(0);
            self.met.clear();
        }
        for id in self.met.drain(..) {
            self.words[id as usize / 64] = 0;
        }
    }

    /// Adds a node; whether it is new. Whoever adds must [`remember`](Self::remember) those that are.
    #[inline]
    pub(super) fn insert(&mut self, id: u32) -> bool {
        let word = &mut self.words[id as usize / 64];
        let bit = 1 << (id % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Adds a node, and notes it where it is new; whether it is.
    #[inline]
    pub(super) fn meet(&mut self, id: u32) -> bool {
        let new = self.insert(id);
        if new {
            self.remember(&[id]);
        }
        new
    }

    /// Whether a node is in the set.
    #[inline]
    pub(super) fn contains(&self, id: u32) -> bool {
        self.words[id as usize / 64] >> (id % 64) & 1 == 1
    }

    /// Notes what must be taken back.
    #[inline]
    pub(super) fn remember(&mut self, ids: &[u32]) {
        if self.met.len() + ids.len() <= self.met.capacity() {
            self.met.extend_from_slice(ids);
        } else {
            self.overflown = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_forgotten_at_each_clear() {
        let mut visited = Visited::default();
        visited.cover(130);
        for _ in 0..3 {
            assert!(visited.insert(1) && visited.insert(129) && visited.insert(64));
            assert!(!visited.insert(1) && !visited.insert(129));
            visited.remember(&[1, 129, 64]);
            visited.clear();
        }
    }

    #[test]
    fn more_nodes_than_there_is_room_for_are_forgotten_too() {
        let mut visited = Visited::default();
        visited.cover(1000);
        let room = visited.capacity_bytes();
        for _ in 0..2 {
            for id in 0..1000 {
                assert!(visited.insert(id) && visited.contains(id));
                visited.remember(&[id]);
            }
            visited.clear();
        }
        assert_eq!(visited.capacity_bytes(), room);
    }
}

//! The set of nodes a search has met: one bit per node, so that the set of a million stays in the second-level cache.
//! Emptied by taking back what was put in.

/// Marks nodes.
#[derive(Debug, Default)]
pub(super) struct Visited {
    words: Vec<u64>,
    met: Vec<u32>,
}

impl Visited {
    /// Makes room for ids below `nodes`.
    #[inline]
    pub(super) fn cover(&mut self, nodes: usize) {
        if self.words.len() < nodes.div_ceil(64) {
            self.words.resize(nodes.div_ceil(64), 0);
        }
    }

    /// Forgets all nodes.
    pub(super) fn clear(&mut self) {
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

    /// Whether a node is in the set.
    #[inline]
    pub(super) fn contains(&self, id: u32) -> bool {
        self.words[id as usize / 64] >> (id % 64) & 1 == 1
    }

    /// Notes what must be taken back.
    #[inline]
    pub(super) fn remember(&mut self, ids: &[u32]) {
        self.met.extend_from_slice(ids);
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
}

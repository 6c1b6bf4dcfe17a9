//! The nodes that were deleted: one bit per node.

/// A set of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeSet {
    /// Bit `id % 64` of word `id / 64`; words that are missing are zeros.
    words: Vec<u64>,
    count: usize,
}

impl NodeSet {
    /// The set whose words, as [`words`](Self::words) gives them, are these.
    pub(super) fn of_words(words: &[u64]) -> Self {
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        Self { words: words.to_vec(), count }
    }

    /// The words for nodes below `nodes`.
    pub(super) fn words(&self, nodes: usize) -> Vec<u64> {
        let mut words = self.words.clone();
        words.resize(nodes.div_ceil(64), 0);
        words
    }

    /// How many nodes are in the set.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn contains(&self, id: u32) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Adds a node; whether it is new.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        if self.contains(id) {
            return false;
        }
        let word = id as usize / 64;
        self.words.resize(self.words.len().max(word + 1), 0);
        self.words[word] |= 1 << (id % 64);
        self.count += 1;
        true
    }

    /// Takes a node out.
    pub(super) fn remove(&mut self, id: u32) {
        if self.contains(id) {
            self.words[id as usize / 64] &= !(1 << (id % 64));
            self.count -= 1;
        }
    }

    /// The nodes, smallest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.words.len() as u32 * 64).filter(|&id| self.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_not_taken_out() {
        let mut set = NodeSet::default();
        assert!(set.insert(70) && set.insert(3) && !set.insert(70) && set.insert(64));
        assert!(set.contains(70) && !set.contains(71) && !set.contains(100_000));
        set.remove(64);
        set.remove(64);
        set.remove(9999);
        assert_eq!((set.iter().collect::<Vec<_>>(), set.count()), (vec![3, 70], 2));
        assert_eq!(NodeSet::of_words(&set.words(70)), set);
        assert_eq!(set.words(200).len(), 4);
    }
}

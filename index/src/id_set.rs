//! Sets of ids: one bit per id.

use crate::memory::Capacity;

/// A set of ids, as a bitmap: looking an id up costs one load, whatever the set, and the set takes `max / 8` bytes, where `max`
/// is the largest id that was ever put in.
///
/// ```
/// use nearlab_index::IdSet;
///
/// let even: IdSet = (0..100).filter(|id| id % 2 == 0).collect();
/// assert_eq!((even.len(), even.contains(42), even.contains(43), even.contains(1000)), (50, true, false, false));
/// assert_eq!(IdSet::from_words(vec![0b101, 0b1]).iter().collect::<Vec<_>>(), [0, 2, 64]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct IdSet {
    /// Bit `id % 64` of word `id / 64`; words that are missing are zeros.
    words: Vec<u64>,
    len: usize,
}

impl IdSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { words: Vec::new(), len: 0 }
    }

    /// The set that holds `64 w + b` where bit `b`, counted from the lowest, of word `w` is set.
    ///
    /// Panics when there are more than 2^26 words: ids are `u32`.
    pub fn from_words(words: Vec<u64>) -> Self {
        assert!(words.len() <= 1 << 26, "a set of ids has at most 2^26 words, found {}", words.len());
        let len = words.iter().map(|word| word.count_ones() as usize).sum();
        Self { words, len }
    }

    /// The bits, as [`from_words`](Self::from_words) takes them. Words at the end may be zeros or missing.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Number of ids. Known, not counted.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `id` is in the set. There is no id so large that this panics.
    #[inline]
    pub fn contains(&self, id: u32) -> bool {
        self.word(id as usize / 64) >> (id % 64) & 1 == 1
    }

    /// Whether all ids below `bound` are in the set.
    pub fn covers(&self, bound: usize) -> bool {
        let (whole, rest) = (bound / 64, bound % 64);
        let ones = (1 << rest) - 1;
        self.len >= bound && self.words[..whole].iter().all(|&word| word == u64::MAX) && self.word(whole) & ones == ones
    }

    /// Adds an id; whether it is new.
    pub fn insert(&mut self, id: u32) -> bool {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += usize::from(new);
        new
    }

    /// Takes an id out; whether it was there.
    pub fn remove(&mut self, id: u32) -> bool {
        let there = self.contains(id);
        if there {
            self.words[id as usize / 64] &= !(1 << (id % 64));
            self.len -= 1;
        }
        there
    }

    /// Makes room for ids below `bound`, so that putting them in allocates nothing.
    pub fn reserve(&mut self, bound: usize) {
        self.words.reserve(bound.div_ceil(64).saturating_sub(self.words.len()));
    }

    /// Forgets all ids; the memory stays.
    pub fn clear(&mut self) {
        self.words.fill(0);
        self.len = 0;
    }

    /// The ids, smallest first. Costs a step per word and one per id.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        Ids { words: &self.words, first: 0, left: 0 }
    }

    /// The word of ids `64 at..64 at + 64`.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }
}

/// Words that are skipped together where all are zeros, as most are of a set of few ids.
const SKIPPED: usize = 8;

/// The ids of a set, smallest first.
struct Ids<'a> {
    /// Those not begun.
    words: &'a [u64],
    /// The first id of those not begun; 2^32 is 0.
    first: u32,
    /// What is left of the word before.
    left: u64,
}

impl Iterator for Ids<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            while let Some((zeros, rest)) = self.words.split_first_chunk::<SKIPPED>()
                && zeros.iter().fold(0, |all, word| all | word) == 0
            {
                (self.words, self.first) = (rest, self.first.wrapping_add(64 * SKIPPED as u32));
            }
            (self.left, self.words) = self.words.split_first().map(|(&word, rest)| (word, rest))?;
            self.first = self.first.wrapping_add(64);
        }
        let id = self.first.wrapping_sub(64) + self.left.trailing_zeros();
        self.left &= self.left - 1;
        Some(id)
    }
}

impl Capacity for IdSet {
    fn capacity_bytes(&self) -> usize {
        self.words.capacity_bytes()
    }
}

impl PartialEq for IdSet {
    /// Whether both hold the same ids.
    fn eq(&self, other: &Self) -> bool {
        let words = self.words.len().max(other.words.len());
        self.len == other.len && (0..words).all(|at| self.word(at) == other.word(at))
    }
}

impl Eq for IdSet {}

impl Extend<u32> for IdSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, ids: I) {
        for id in ids {
            self.insert(id);
        }
    }
}

impl FromIterator<u32> for IdSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut set = Self::new();
        set.extend(ids);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_not_taken_out() {
        let mut set = IdSet::new();
        assert!(set.insert(70) && set.insert(3) && !set.insert(70) && set.insert(64));
        assert!(set.contains(70) && !set.contains(71) && !set.contains(100_000) && !set.contains(u32::MAX));
        assert!(set.remove(64) && !set.remove(64) && !set.remove(9999));
        assert_eq!((set.iter().collect::<Vec<_>>(), set.len()), (vec![3, 70], 2));
        assert_eq!(IdSet::from_words(set.words().to_vec()), set);
        assert!(!set.is_empty() && IdSet::new().is_empty());
        let room = set.capacity_bytes();
        set.clear();
        set.reserve(50);
        assert_eq!((set.len(), set.contains(3), set.capacity_bytes()), (0, false, room));
        set.reserve(6400);
        assert!(set.capacity_bytes() >= 800);
    }

    #[test]
    fn sets_of_the_same_ids_are_equal_however_many_words_they_have() {
        let mut longer: IdSet = [5, 500].into_iter().collect();
        longer.remove(500);
        assert_eq!(longer, [5].into_iter().collect());
        assert_ne!(longer, [6].into_iter().collect());
        assert_eq!(IdSet::from_words(vec![0; 9]), IdSet::new());
    }

    #[test]
    fn the_first_and_the_last_bit_of_a_word_are_ids_too() {
        let ids = [0, 63, 64, 127, 128, 191];
        assert_eq!(ids.into_iter().collect::<IdSet>().iter().collect::<Vec<_>>(), ids);
        assert_eq!(IdSet::from_words(vec![u64::MAX; 2]).iter().collect::<Vec<_>>(), (0..128).collect::<Vec<_>>());
    }

    #[test]
    fn a_set_covers_the_ids_below_its_first_gap() {
        let mut set: IdSet = (0..130).collect();
        assert!(set.covers(0) && set.covers(128) && set.covers(130) && !set.covers(131));
        set.remove(64);
        set.insert(1000);
        assert!(set.covers(64) && !set.covers(65) && !set.covers(128) && !IdSet::new().covers(1));
    }
}

//! How many points are inserted at once (prefix doubling, after ParlayANN).
//!
//! The points of a batch do not see each other, so a batch must stay small beside what it is inserted into. A point that
//! raises the highest layer is inserted alone, so that no other point begins a layer beside it.

/// After the first points, one in this many of the points already inserted are inserted at once.
const SHARE: usize = 50;

/// How the points are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batches {
    /// Points inserted one at a time at first.
    pub(super) alone: usize,
    /// Most points inserted at once.
    pub(super) most: usize,
}

impl Batches {
    /// One at a time for the first thousand, then growing with the graph.
    pub(super) const GROWING: Self = Self { alone: 1000, most: usize::MAX };
    /// The same, but never so many that their links take long to write.
    pub(super) const LIVE: Self = Self { alone: 1000, most: 128 };

    /// How many of the points left, which have `levels`, are inserted at once into a graph of `inserted` points whose highest
    /// level is `max_level`.
    pub(super) fn next(self, levels: &[u8], inserted: usize, max_level: Option<u8>) -> usize {
        let raises = |&level: &u8| max_level.is_none_or(|max_level| level > max_level);
        let size = if inserted < self.alone { 1 } else { (inserted / SHARE).clamp(1, self.most) };
        let size = size.min(levels.len());
        levels[..size].iter().position(raises).unwrap_or(size).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_single_at_first_then_a_share_of_what_is_inserted() {
        let levels = vec![0; 10_000];
        assert_eq!(Batches::GROWING.next(&levels, 0, None), 1);
        assert_eq!(Batches::GROWING.next(&levels, 999, Some(0)), 1);
        assert_eq!(Batches::GROWING.next(&levels, 5000, Some(0)), 100);
        assert_eq!(Batches::GROWING.next(&levels[..10], 9990, Some(0)), 10);
        assert_eq!(Batches::GROWING.next(&levels, 100_000, Some(0)), 2000);
        assert_eq!(Batches::LIVE.next(&levels, 100_000, Some(0)), 128);
        assert_eq!(Batches { alone: usize::MAX, ..Batches::GROWING }.next(&levels, 5000, Some(0)), 1);
    }

    #[test]
    fn a_point_that_raises_the_highest_layer_is_alone() {
        let mut levels = vec![0; 10_000];
        levels[5010] = 2;
        assert_eq!(Batches::GROWING.next(&levels[5000..], 5000, Some(1)), 10);
        assert_eq!(Batches::GROWING.next(&levels[5010..], 5010, Some(1)), 1);
        assert_eq!(Batches::GROWING.next(&levels[5000..], 5000, Some(2)), 100);
    }
}

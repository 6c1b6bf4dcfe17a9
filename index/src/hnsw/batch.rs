//! How many points are inserted at once (prefix doubling, after ParlayANN).
//!
//! The points of a batch do not see each other, so a batch must stay small beside what it is inserted into. A point that
//! raises the highest layer is inserted alone, so that no other point begins a layer beside it.

use std::ops::Range;

/// After the first points, one in this many of the points already inserted are inserted at once.
const SHARE: usize = 50;

/// How the points are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batches {
    /// Points inserted one at a time at first.
    pub(super) alone: usize,
}

impl Batches {
    /// One at a time for the first thousand, then growing with the graph.
    pub(super) const GROWING: Self = Self { alone: 1000 };

    /// The batch that begins at place `from` of the insertion order, whose points have `levels`, when the highest level so
    /// far is `max_level`.
    pub(super) fn next(self, levels: &[u8], from: usize, max_level: Option<u8>) -> Range<usize> {
        let raises = |&level: &u8| max_level.is_none_or(|max_level| level > max_level);
        let size = if from < self.alone { 1 } else { (from / SHARE).max(1) };
        let to = (from + size).min(levels.len());
        let undisturbed = levels[from..to].iter().position(raises).unwrap_or(to - from);
        from..from + undisturbed.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_single_at_first_then_a_share_of_what_is_inserted() {
        let levels = vec![0; 10_000];
        assert_eq!(Batches::GROWING.next(&levels, 0, None), 0..1);
        assert_eq!(Batches::GROWING.next(&levels, 999, Some(0)), 999..1000);
        assert_eq!(Batches::GROWING.next(&levels, 5000, Some(0)), 5000..5100);
        assert_eq!(Batches::GROWING.next(&levels, 9990, Some(0)), 9990..10_000);
        assert_eq!(Batches { alone: usize::MAX }.next(&levels, 5000, Some(0)), 5000..5001);
    }

    #[test]
    fn a_point_that_raises_the_highest_layer_is_alone() {
        let mut levels = vec![0; 10_000];
        levels[5010] = 2;
        assert_eq!(Batches::GROWING.next(&levels, 5000, Some(1)), 5000..5010);
        assert_eq!(Batches::GROWING.next(&levels, 5010, Some(1)), 5010..5011);
        assert_eq!(Batches::GROWING.next(&levels, 5000, Some(2)), 5000..5100);
    }
}

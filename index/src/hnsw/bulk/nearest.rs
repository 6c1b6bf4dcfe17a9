//! Picking the smallest of many scores: the nearest of a group, or the leaders of a point.

use nearlab_simd::{MINIMA, code_kernels};

/// The smallest scores of a row.
#[derive(Default)]
pub(super) struct Nearest {
    places: Vec<u32>,
    keys: Vec<u64>,
}

impl Nearest {
    /// The `k` smallest scores and their places, smallest first.
    ///
    /// A bound comes first: of the smallest scores of some groups, the k-th smallest. What lies above it need not be looked
    /// at twice.
    pub(super) fn of(&mut self, scores: &[i32], k: usize) -> impl Iterator<Item = (i32, usize)> {
        let mut minima = code_kernels().minima(scores);
        let bound = if k <= MINIMA { *minima.select_nth_unstable(k - 1).1 } else { i32::MAX };
        self.places.clear();
        code_kernels().below(scores, bound.saturating_add(1), 0, &mut self.places);
        self.keys.clear();
        self.keys.extend(self.places.iter().map(|&place| key(scores[place as usize], place)));
        if self.keys.len() > k {
            self.keys.select_nth_unstable(k - 1);
            self.keys.truncate(k);
        }
        self.keys.sort_unstable();
        self.keys.iter().map(|&key| (score_of(key), key as u32 as usize))
    }
}

/// Orders as (score, place).
fn key(score: i32, place: u32) -> u64 {
    u64::from(score as u32 ^ (1 << 31)) << 32 | u64::from(place)
}

fn score_of(key: u64) -> i32 {
    ((key >> 32) as u32 ^ (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn the_smallest_scores_come_first_and_ties_by_place() {
        let mut random = SplitMix64::new(4);
        let scores: Vec<i32> = (0..1000).map(|_| (random.unit() * 300.0) as i32 - 150).collect();
        let mut expected: Vec<(i32, usize)> = scores.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        let mut nearest = Nearest::default();
        for k in [1, 17, 400, 2000] {
            let found: Vec<_> = nearest.of(&scores, k).collect();
            assert_eq!(found, expected[..k.min(1000)]);
        }
    }
}

//! What a search or a build did, counted exactly: the same on every run, so gates can compare it.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Work done by one search, one batch or one build. Returned by the call that did the work, never global.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Vectors scored against a query or each other, by their codes too; one that is scored anew counts again.
    pub distance_computations: u64,
    /// Graph nodes whose neighbours were read, on all layers.
    pub hops: u64,
    /// Inverted lists scanned.
    pub lists_probed: u64,
    /// Bytes of vectors and adjacency read by those distances and hops, each counted as often as it was read.
    pub bytes_read: u64,
}

impl Counters {
    /// Adds that `rows` vectors of `row_bytes` were scored.
    #[inline]
    pub(crate) fn add_scored(&mut self, rows: usize, row_bytes: usize) {
        self.distance_computations += rows as u64;
        self.bytes_read += (rows * row_bytes) as u64;
    }
}

/// Stops at the largest number: a file may say that its build counted any.
impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        let sums = [
            (&mut self.distance_computations, other.distance_computations),
            (&mut self.hops, other.hops),
            (&mut self.lists_probed, other.lists_probed),
            (&mut self.bytes_read, other.bytes_read),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_field_by_field() {
        let a = Counters { distance_computations: 1, hops: 2, lists_probed: 3, bytes_read: 4 };
        let b = Counters { distance_computations: 10, hops: 20, lists_probed: 30, bytes_read: 40 };
        let sum = Counters { distance_computations: 11, hops: 22, lists_probed: 33, bytes_read: 44 };
        assert_eq!(a + b, sum);
        assert_eq!([a, b].into_iter().sum::<Counters>(), sum);
        let most = Counters { hops: u64::MAX - 1, ..a };
        assert_eq!((most + b).hops, u64::MAX);
    }
}

//! A query of product quantisation: the tables in which its distances are looked up.

use nearlab_simd::{CENTROIDS, LUT4_LINE, code_kernels};

use crate::memory::Capacity;

/// The largest number in a table of 4-bit codes.
const MOST: f32 = 127.0;

/// The tables of a query.
#[derive(Debug, Default)]
pub(crate) struct PqQuery {
    /// Squared distances to all centroids.
    pub(super) distances: Vec<f32>,
    /// With 4-bit codes: what they exceed the smallest of their sub-space by, in steps.
    pub(super) table: Vec<u8>,
    pub(super) step: f32,
    /// The sum of the smallest.
    lowest: f32,
    /// What a code stands for.
    pub(super) decoded: Vec<f32>,
}

impl Capacity for PqQuery {
    fn capacity_bytes(&self) -> usize {
        self.distances.capacity_bytes() + self.table.capacity() + self.decoded.capacity_bytes()
    }
}

impl PqQuery {
    /// Rounds the distances to tables of 16 for rows of `row_bytes`. One step for all, so that their sums can be added.
    pub(super) fn round(&mut self, row_bytes: usize) {
        self.table.clear();
        self.table.resize(2 * row_bytes * CENTROIDS, 0);
        let spaces = self.distances.as_chunks::<CENTROIDS>().0;
        let mut widest = f32::MIN_POSITIVE * MOST;
        self.lowest = 0.0;
        for space in spaces {
            let least = extreme(space, |a, b| a < b);
            widest = widest.max(extreme(space, |a, b| a > b) - least);
            self.lowest += least;
        }
        self.step = widest / MOST;
        let per_step = self.step.recip();
        for (space, table) in spaces.iter().zip(self.table.as_chunks_mut::<CENTROIDS>().0) {
            let least = extreme(space, |a, b| a < b);
            for (number, x) in table.iter_mut().zip(space) {
                // At most the widest in steps, and half a step: cut off to 127 or less. What is not finite makes zeros.
                *number = ((x - least) * per_step + 0.5) as i32 as u8;
            }
        }
    }

    /// Scores of the rows of blocks of `lines` lines.
    #[inline]
    pub(super) fn score_blocks(&self, lines: usize, (blocks, ahead): (&[u8], &[u8]), out: &mut [f32]) {
        let tables = &self.table[..lines * LUT4_LINE * CENTROIDS];
        code_kernels().lut4_blocks(tables, blocks, ahead, out);
        self.unround(out);
    }

    /// Makes distances of sums.
    #[inline]
    pub(super) fn unround(&self, sums: &mut [f32]) {
        for sum in sums {
            *sum = self.lowest + self.step * *sum;
        }
    }
}

/// The number that comes before all others: by halves, which registers compare at once.
fn extreme(numbers: &[f32; CENTROIDS], before: impl Fn(f32, f32) -> bool) -> f32 {
    let mut left = *numbers;
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            left[i] = if before(left[i + half], left[i]) { left[i + half] } else { left[i] };
        }
    }
    left[0]
}

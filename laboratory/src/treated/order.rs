//! Orders of the same vectors.

use nearlab_simd::{Metric, kernels};
use nearlab_storage::Vectors;
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// Vectors that a group of [`Order::Grouped`] has, about.
const GROUP: usize = 500;

/// An order of the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As they are given.
    #[default]
    Given,
    /// None.
    Shuffled,
    /// By the nearest of some of them, these in the order of a walk to the nearest left.
    Grouped,
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Given, Self::Shuffled, Self::Grouped];

    /// The name in experiments.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Shuffled => "shuffled",
            Self::Grouped => "grouped",
        }
    }

    /// The rows in this order. On the threads of the pool that it is called on.
    pub(super) fn rows(self, vectors: Vectors<'_, f32>, metric: Metric, seed: u64) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..vectors.len() as u32).collect();
        if self == Self::Given {
            return rows;
        }
        shuffle(&mut rows, seed);
        if self == Self::Grouped {
            let heads = walk(vectors, metric, rows[..rows.len().div_ceil(GROUP)].to_vec());
            let groups: Vec<usize> = (0..vectors.len())
                .into_par_iter()
                .map(|row| nearest(vectors, metric, (row, &heads)).unwrap_or_default())
                .collect();
            rows.sort_by_key(|&row| (groups[row as usize], row));
        }
        rows
    }
}

/// The place in `heads` of the one nearest to a row.
fn nearest(vectors: Vectors<'_, f32>, metric: Metric, (row, heads): (usize, &[u32])) -> Option<usize> {
    let distance = kernels().distance(metric);
    let to = |place: usize| distance(vectors.row(row), vectors.row(heads[place] as usize));
    let distances: Vec<f32> = (0..heads.len()).map(to).collect();
    (0..heads.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b]))
}

/// The rows in the order of a walk from the last of them, always to the nearest left.
fn walk(vectors: Vectors<'_, f32>, metric: Metric, mut left: Vec<u32>) -> Vec<u32> {
    let mut walked = Vec::with_capacity(left.len());
    let mut at = left.pop();
    while let Some(row) = at {
        walked.push(row);
        at = nearest(vectors, metric, (row as usize, &left)).map(|place| left.swap_remove(place));
    }
    walked
}

/// Puts some into an order that depends on the seed alone.
pub(super) fn shuffle(some: &mut [u32], seed: u64) {
    some.shuffle(&mut Pcg64::seed_from_u64(seed));
}

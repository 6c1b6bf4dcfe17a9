//! Neighbours for all points at once: similar points are put together in small, overlapping groups, and within a group
//! everything is compared with everything.
//!
//! A search that looks for a new point's neighbours fetches each vector from somewhere else in memory. In a group of some
//! hundred vectors that lie together, comparing costs a fraction: registers hold several rows at a time, and no vector is
//! fetched twice. After `HCNNG` (Muñoz et al., Pattern Recognition 2019) and `PiPNN`. The outcome depends on
//! the seed, not on the threads.

mod gather;
mod leaves;
mod link;
mod partition;
mod runs;

use nearlab_storage::Resident;
use rayon::prelude::*;

use super::HnswParams;
use crate::quant::{Codes, Sq7Rows};
use crate::random::mix;
use crate::{BuildError, Counters, Neighbor, Progress};
use leaves::{Scratch, nearest_in_leaf};
use partition::partition;
use runs::Runs;

/// Groups that a point joins each time that all points are divided. Fewer, and the neighbours across the borders of a group
/// are missed.
const FANOUT: usize = 3;
/// Neighbours found for each point in each of its groups.
const NEAREST: usize = 16;

/// Refuses more points than have numbers for all their memberships.
fn check_memberships(points: usize, replicas: usize) -> Result<(), BuildError> {
    let expected = u32::MAX as usize / (FANOUT * replicas);
    if points <= expected { Ok(()) } else { Err(BuildError::TooMany { expected, found: points }) }
}

/// The neighbours found for all points.
pub(super) struct Candidates {
    /// Memberships x [`NEAREST`], group after group.
    found: Resident<Neighbor>,
    /// The memberships of each point, point after point, and where each point's begin.
    memberships: Vec<u32>,
    begins: Vec<u32>,
}

impl Candidates {
    /// Puts the points into groups, and looks in each.
    pub(super) fn find(
        codes: Sq7Rows<'_>,
        params: &HnswParams,
        counters: &mut Counters,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let mut leaves: Vec<Vec<u32>> = Vec::new();
        for replica in 0..params.replicas as u64 {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            leaves.extend(partition(codes, (FANOUT, params.leaf), mix(params.seed ^ mix(replica))));
        }
        let room = leaves.iter().map(Vec::len).sum::<usize>() * NEAREST;
        let refused = |_| BuildError::Memory { bytes: room * size_of::<Neighbor>() };
        // Zeros, which no thread has touched yet: each group's are made neighbours by the thread that fills them.
        let mut found = Resident::<Neighbor>::zeroed(room).map_err(refused)?;
        let mut rows = &mut *found;
        let mut work = Vec::with_capacity(leaves.len());
        for leaf in &leaves {
            let (own, rest) = rows.split_at_mut(leaf.len() * NEAREST);
            work.push((leaf, own));
            rows = rest;
        }
        work.into_par_iter().try_for_each_init(Scratch::default, |scratch, (leaf, found)| {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            nearest_in_leaf(codes, leaf, NEAREST, scratch, found);
            Ok(())
        })?;
        let compared: usize = leaves.iter().map(|leaf| leaf.len() * leaf.len()).sum();
        counters.add_scored(compared, codes.row_bytes());
        let (memberships, begins) = memberships_of(&leaves, codes.len());
        Ok(Self { found, memberships, begins })
    }

    /// Replaces `out` by what was found for a point, nearest first, each neighbour once: it is as far away in every group.
    fn of(&self, id: u32, runs: &mut Runs, out: &mut Vec<Neighbor>) {
        runs.clear();
        for &membership in &self.memberships[self.begins[id as usize] as usize..self.begins[id as usize + 1] as usize] {
            let found = &self.found[membership as usize * NEAREST..][..NEAREST];
            runs.push(found.iter().take_while(|neighbor| !neighbor.is_none()).map(|neighbor| neighbor.key()));
        }
        out.clear();
        out.extend(runs.merged().iter().map(|&key| Neighbor::from_key(key)));
    }
}

/// The places at which each point is a member, by counting.
fn memberships_of(leaves: &[Vec<u32>], n: usize) -> (Vec<u32>, Vec<u32>) {
    let mut begins = vec![0_u32; n + 1];
    for &id in leaves.iter().flatten() {
        begins[id as usize + 1] += 1;
    }
    for i in 0..n {
        begins[i + 1] += begins[i];
    }
    let mut next = begins.clone();
    let mut memberships = vec![0; begins[n] as usize];
    for (membership, &id) in leaves.iter().flatten().enumerate() {
        memberships[next[id as usize] as usize] = membership as u32;
        next[id as usize] += 1;
    }
    (memberships, begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memberships_than_have_numbers_are_refused() {
        assert_eq!(check_memberships(700_000_000, 2), Ok(()));
        let expected = 715_827_882;
        assert_eq!(check_memberships(expected, 2), Ok(()));
        let found = expected + 1;
        assert_eq!(check_memberships(found, 2), Err(BuildError::TooMany { expected, found }));
    }
}

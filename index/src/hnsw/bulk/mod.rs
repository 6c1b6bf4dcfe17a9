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
use leaves::{Nearest, Scratch, nearest_in_leaf};
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
    /// The same, of the points as the queries that they would be; none where that makes no difference.
    as_queries: Resident<Neighbor>,
    /// The memberships of each point, point after point, and where each point's begin.
    memberships: Vec<u32>,
    begins: Vec<u32>,
}

impl Candidates {
    /// Puts the points into groups, and looks in each. The `heights` are those of all points, or none.
    pub(super) fn find(
        (codes, heights): (Sq7Rows<'_>, &[f32]),
        params: &HnswParams,
        counters: &mut Counters,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let (mut leaves, mut compared) = (Vec::<Vec<u32>>::new(), 0);
        for replica in 0..params.replicas as u64 {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let (groups, scored) = partition(codes, (FANOUT, params.leaf), mix(params.seed ^ mix(replica)));
            leaves.extend(groups);
            compared += scored;
        }
        let places = leaves.iter().map(Vec::len).sum::<usize>() * NEAREST;
        let mut found = room(places)?;
        let mut as_queries = room(if heights.is_empty() { 0 } else { places })?;
        let (mut rows, mut query_rows) = (&mut *found, &mut *as_queries);
        let mut work = Vec::with_capacity(leaves.len());
        for leaf in &leaves {
            let (own, rest) = rows.split_at_mut(leaf.len() * NEAREST);
            let (own_queries, query_rest) = query_rows.split_at_mut(own.len().min(query_rows.len()));
            work.push((leaf, Nearest { count: NEAREST, found: own, as_queries: own_queries }));
            (rows, query_rows) = (rest, query_rest);
        }
        work.into_par_iter().try_for_each_init(Scratch::default, |scratch, (leaf, nearest)| {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            nearest_in_leaf(codes, heights, leaf, scratch, nearest);
            Ok(())
        })?;
        compared += leaves.iter().map(|leaf| leaf.len() * leaf.len()).sum::<usize>();
        counters.add_scored(compared, codes.row_bytes());
        let (memberships, begins) = memberships_of(&leaves, codes.len());
        Ok(Self { found, as_queries, memberships, begins })
    }

    /// Replaces `out` by what was found for a point, nearest first, each neighbour once: it is as far away in every group.
    fn of(&self, id: u32, runs: &mut Runs, out: &mut Vec<Neighbor>) {
        self.merged(&self.found, id, runs, out);
    }

    /// Replaces `out` by what was found for the query that a point would be, nearest first, each neighbour once.
    fn of_query(&self, id: u32, runs: &mut Runs, out: &mut Vec<Neighbor>) {
        self.merged(&self.as_queries, id, runs, out);
    }

    fn merged(&self, found: &[Neighbor], id: u32, runs: &mut Runs, out: &mut Vec<Neighbor>) {
        runs.clear();
        for &membership in &self.memberships[self.begins[id as usize] as usize..self.begins[id as usize + 1] as usize] {
            let found = &found[membership as usize * NEAREST..][..NEAREST];
            runs.push(found.iter().take_while(|neighbor| !neighbor.is_none()).map(|neighbor| neighbor.key()));
        }
        out.clear();
        out.extend(runs.merged().iter().map(|&key| Neighbor::from_key(key)));
    }
}

/// Room for so many neighbours: zeros, which no thread has touched yet. Each group's are made neighbours by the thread that fills them.
fn room(places: usize) -> Result<Resident<Neighbor>, BuildError> {
    Resident::zeroed(places).map_err(|_| BuildError::Memory { bytes: places * size_of::<Neighbor>() })
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

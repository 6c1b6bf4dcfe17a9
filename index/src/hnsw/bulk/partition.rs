//! Dividing points into overlapping groups: some of them, taken at random, lead; every point joins the nearest leaders.
//! Groups that are too large are divided again.
//!
//! A leader that all points join divides nothing. Most often it is one of many copies, as of zeros among unit vectors, which are nearer
//! to the others than they are to each other: copies are put apart, for beside them nobody would find another neighbour.

use std::sync::atomic::{AtomicUsize, Ordering};

use nearlab_simd::{Aligned, TileColumns, code_kernels, score_and_place};
use rayon::prelude::*;

use super::gather::gather;
use crate::quant::{Codes, Sq7Rows};
use crate::random::{mix, permutation, sample};

/// Most leaders at a time: so many rows stay in the second-level cache.
const MOST_LEADERS: usize = 256;
/// Points that look for their leaders as one unit of parallel work.
const CHUNK: usize = 1024;

/// Times that a group is divided again. A handful suffices; what is not small by then has leaders that divide next to nothing.
const MOST_LEVELS: usize = 64;

/// All points, each in `fanout` groups of at most `leaf`; and how many distances to leaders that took.
pub(super) fn partition(codes: Sq7Rows<'_>, (fanout, leaf): (usize, usize), seed: u64) -> (Vec<Vec<u32>>, usize) {
    let scored = AtomicUsize::new(0);
    let division = Division { fanout, leaf, levels: MOST_LEVELS, scored: &scored };
    let groups = divided(codes, (0..codes.len() as u32).collect(), division, seed);
    (groups, scored.into_inner())
}

/// How points are divided.
#[derive(Clone, Copy)]
struct Division<'a> {
    /// Groups that each joins.
    fanout: usize,
    /// Points of the largest group that is not divided again.
    leaf: usize,
    /// Times that groups are divided again.
    levels: usize,
    /// Distances so far.
    scored: &'a AtomicUsize,
}

fn divided(codes: Sq7Rows<'_>, ids: Vec<u32>, division: Division<'_>, seed: u64) -> Vec<Vec<u32>> {
    let Division { fanout, leaf, levels, scored } = division;
    if ids.len() <= leaf {
        return vec![ids];
    }
    if levels == 0 {
        return by_chance(&ids, leaf, seed);
    }
    // Groups come out of very different sizes: at half the largest on average, few must be divided again.
    let count = (ids.len() * fanout / (leaf / 2).max(1)).clamp(fanout + 1, MOST_LEADERS).min(ids.len());
    let leaders: Vec<u32> = sample(ids.len(), count, seed).into_iter().map(|place| ids[place as usize]).collect();
    let mut groups = groups_of(codes, &ids, &leaders, fanout);
    scored.fetch_add(ids.len() * leaders.len(), Ordering::Relaxed);
    let levels = levels - 1;
    if let Some(copied) = copied_leader(codes, &leaders, &groups, ids.len()) {
        return apart(codes, ids, copied, Division { levels, ..division }, seed);
    }
    if groups.iter().any(|group| group.len() == ids.len()) {
        groups.retain(|group| group.len() < ids.len());
        if !hold_all(&groups, ids.len()) {
            return by_chance(&ids, leaf, seed);
        }
    }
    groups.retain(|group| !group.is_empty());
    let groups = joined(groups, leaf / 4);
    let division = Division { fanout: 1, levels, ..division };
    let parts: Vec<Vec<Vec<u32>>> = groups
        .into_par_iter()
        .enumerate()
        .map(|(i, group)| divided(codes, group, division, mix(seed.wrapping_add(i as u64 + 1))))
        .collect();
    parts.into_iter().flatten().collect()
}

/// A leader that all `n` points join, but for other leaders at most, and of which there are copies among these.
fn copied_leader(codes: Sq7Rows<'_>, leaders: &[u32], groups: &[Vec<u32>], n: usize) -> Option<u32> {
    let copies = |leader: u32| leaders.iter().filter(|&&other| codes.row(other) == codes.row(leader)).count();
    let joined_by_all = leaders.iter().zip(groups).filter(|(_, group)| group.len() + leaders.len() >= n);
    joined_by_all.map(|(&leader, _)| leader).find(|&leader| copies(leader) > 1)
}

/// Divides the copies of a point by chance, and the others without them.
fn apart(codes: Sq7Rows<'_>, ids: Vec<u32>, copied: u32, division: Division<'_>, seed: u64) -> Vec<Vec<u32>> {
    let (copies, others): (Vec<u32>, Vec<u32>) = ids.into_iter().partition(|&id| codes.row(id) == codes.row(copied));
    let mut groups = by_chance(&copies, division.leaf, seed);
    if !others.is_empty() {
        groups.extend(divided(codes, others, division, mix(seed)));
    }
    groups
}

/// Groups of at most `leaf`, for points that no leader divides: others with each seed.
fn by_chance(ids: &[u32], leaf: usize, seed: u64) -> Vec<Vec<u32>> {
    let order = permutation(ids.len(), seed);
    let size = ids.len().div_ceil(ids.len().div_ceil(leaf));
    let group = |places: &[u32]| {
        let mut group: Vec<u32> = places.iter().map(|&place| ids[place as usize]).collect();
        group.sort_unstable();
        group
    };
    order.chunks(size).map(group).collect()
}

/// Whether each of `n` points is in one of the groups.
fn hold_all(groups: &[Vec<u32>], n: usize) -> bool {
    let mut held: Vec<u32> = groups.iter().flatten().copied().collect();
    held.sort_unstable();
    held.dedup();
    held.len() == n
}

/// The points that join each of some leaders.
fn groups_of(codes: Sq7Rows<'_>, ids: &[u32], leaders: &[u32], fanout: usize) -> Vec<Vec<u32>> {
    let mut columns = TileColumns::default();
    let mut rows = Vec::new();
    gather(codes, leaders, &mut rows);
    columns.fill(&rows, codes.width());
    let joined: Vec<Vec<u16>> =
        ids.par_chunks(CHUNK).map(|ids| nearest_leaders(codes, ids, &columns, fanout)).collect();
    let mut groups = vec![Vec::new(); leaders.len()];
    for (&id, leaders) in ids.iter().zip(joined.iter().flat_map(|chunk| chunk.chunks_exact(fanout))) {
        for &leader in leaders {
            groups[usize::from(leader)].push(id);
        }
    }
    groups
}

/// The `fanout` nearest leaders of each point.
fn nearest_leaders(codes: Sq7Rows<'_>, ids: &[u32], leaders: &TileColumns, fanout: usize) -> Vec<u16> {
    let tile_rows = code_kernels().u7_tile_rows();
    let mut rows = Vec::with_capacity(tile_rows * codes.width());
    let (mut scores, mut best) = (Aligned::default(), Vec::new());
    let mut nearest = Vec::with_capacity(ids.len() * fanout);
    for ids in ids.chunks(tile_rows) {
        gather(codes, ids, &mut rows);
        scores.resize(ids.len() * leaders.count());
        code_kernels().u7_tile(&rows, leaders, &mut scores);
        for scores in scores.chunks_exact(leaders.count()) {
            code_kernels().smallest(scores, fanout, &mut best);
            nearest.extend(best.iter().map(|&key| score_and_place(key).1 as u16));
        }
    }
    nearest
}

/// Groups smaller than `least` put together with those that follow.
fn joined(groups: Vec<Vec<u32>>, least: usize) -> Vec<Vec<u32>> {
    let mut joined: Vec<Vec<u32>> = Vec::with_capacity(groups.len());
    for group in groups {
        match joined.last_mut() {
            Some(last) if last.len() < least || group.len() < least && last.len() < 2 * least => last.extend(group),
            _ => joined.push(group),
        }
    }
    for group in &mut joined {
        group.sort_unstable();
        group.dedup();
    }
    joined
}

#[cfg(test)]
mod tests {
    use nearlab_simd::{Metric, normalize};
    use nearlab_storage::Vectors;

    use super::*;
    use crate::quant::{Euclid, Lifted, Sq7};
    use crate::random::SplitMix64;

    const DIM: usize = 48;
    const N: usize = 3000;
    const LEAF: usize = 256;

    /// The codes of unit vectors in all directions, of which one in `zeros_in` is zero instead.
    fn codes(zeros_in: usize) -> Sq7 {
        let mut random = SplitMix64::new(7);
        let mut normal = || (0..4).map(|_| random.unit() as f32 - 0.5).sum::<f32>();
        let mut data: Vec<f32> =
            (0..N * DIM).map(|i| if (i / DIM).is_multiple_of(zeros_in) { 0.0 } else { normal() }).collect();
        data.chunks_exact_mut(DIM).for_each(normalize);
        let vectors = Vectors::new(&data, DIM);
        let euclid = Euclid::of(vectors, Metric::L2);
        Sq7::encode(&Lifted::new(vectors, &euclid), None).unwrap()
    }

    fn groups(codes: &Sq7, seed: u64) -> Vec<Vec<u32>> {
        let (groups, scored) = partition(codes.rows(), (3, LEAF), seed);
        assert!(scored >= N * 4, "{scored}");
        assert!(groups.iter().all(|group| group.len() <= LEAF && group.is_sorted()));
        assert!(hold_all(&groups, N));
        groups
    }

    #[test]
    fn copies_that_are_near_to_all_are_put_apart() {
        for zeros_in in [3, 10] {
            let (codes, zero) = (codes(zeros_in), |id: u32| (id as usize).is_multiple_of(zeros_in));
            let others = (0..N as u32).filter(|&id| !zero(id)).count();
            for seed in 0..3 {
                let groups = groups(&codes, seed);
                let mixed = groups.iter().filter(|group| group.iter().any(|&id| zero(id) != zero(group[0]))).count();
                assert_eq!(mixed, 0, "one in {zeros_in}, seed {seed}");
                let members = groups.iter().flatten().filter(|&&id| !zero(id)).count();
                assert!(members > 2 * others, "each is in three groups, but for some that were joined: {members}");
            }
            assert_ne!(groups(&codes, 0), groups(&codes, 1), "other groups with each seed");
        }
    }

    #[test]
    fn a_leader_of_all_without_copies_is_left_out() {
        let leads = |seed: &u64| sample(N, N * 3 / (LEAF / 2), *seed).contains(&0);
        let seed = (0..10_000).find(leads).unwrap();
        let groups = groups(&codes(N), seed);
        let members: usize = groups.iter().map(Vec::len).sum();
        assert!(members > 3 * N / 2, "each joins two other leaders: {members}");
        assert!(groups.iter().any(|group| group[0] == 0 && group.len() > 1), "it is with others");
    }

    #[test]
    fn copies_of_one_vector_are_divided_by_chance() {
        let codes = codes(1);
        let (one, other) = (groups(&codes, 0), groups(&codes, 1));
        assert_ne!(one, other);
        assert!(one.iter().all(|group| group.len() == N / N.div_ceil(LEAF)), "none is left over");
    }

    #[test]
    fn what_leaders_do_not_divide_is_divided_by_chance_in_the_end() {
        let codes = codes(N);
        let scored = AtomicUsize::new(0);
        let division = Division { fanout: 3, leaf: LEAF, levels: 0, scored: &scored };
        let groups = divided(codes.rows(), (0..N as u32).collect(), division, 1);
        assert!(hold_all(&groups, N) && groups.len() == N.div_ceil(LEAF));
    }
}

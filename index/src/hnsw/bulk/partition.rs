//! Dividing points into overlapping groups: some of them, taken at random, lead; every point joins the nearest leaders.
//! Groups that are too large are divided again.

use nearlab_simd::{Aligned, TileColumns, code_kernels, score_and_place};
use rayon::prelude::*;

use super::gather::gather;
use crate::quant::{Codes, Sq7Rows};
use crate::random::{mix, sample};

/// Most leaders at a time: so many rows stay in the second-level cache.
const MOST_LEADERS: usize = 256;
/// Points that look for their leaders as one unit of parallel work.
const CHUNK: usize = 1024;

/// All points, each in `fanout` groups of at most `leaf`.
pub(super) fn partition(codes: Sq7Rows<'_>, (fanout, leaf): (usize, usize), seed: u64) -> Vec<Vec<u32>> {
    divided(codes, (0..codes.len() as u32).collect(), (fanout, leaf), seed)
}

fn divided(codes: Sq7Rows<'_>, ids: Vec<u32>, (fanout, leaf): (usize, usize), seed: u64) -> Vec<Vec<u32>> {
    if ids.len() <= leaf {
        return vec![ids];
    }
    // Groups come out of very different sizes: at half the largest on average, few must be divided again.
    let leaders = (ids.len() * fanout / (leaf / 2).max(1)).clamp(fanout + 1, MOST_LEADERS).min(ids.len());
    let groups = groups_of(codes, &ids, leaders, fanout, seed);
    if groups.iter().any(|group| group.len() == ids.len()) {
        // Copies of one vector: no leader divides them.
        return ids.chunks(leaf).map(<[u32]>::to_vec).collect();
    }
    let groups = joined(groups, leaf / 4);
    let parts: Vec<Vec<Vec<u32>>> = groups
        .into_par_iter()
        .enumerate()
        .map(|(i, group)| divided(codes, group, (1, leaf), mix(seed.wrapping_add(i as u64 + 1))))
        .collect();
    parts.into_iter().flatten().collect()
}

/// The points that join each of some leaders.
fn groups_of(codes: Sq7Rows<'_>, ids: &[u32], leaders: usize, fanout: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut columns = TileColumns::default();
    let mut rows = Vec::new();
    let leading: Vec<u32> = sample(ids.len(), leaders, seed).into_iter().map(|place| ids[place as usize]).collect();
    gather(codes, &leading, &mut rows);
    columns.fill(&rows, codes.width());
    let joined: Vec<Vec<u16>> =
        ids.par_chunks(CHUNK).map(|ids| nearest_leaders(codes, ids, &columns, fanout)).collect();
    let mut groups = vec![Vec::new(); leaders];
    for (&id, leaders) in ids.iter().zip(joined.iter().flat_map(|chunk| chunk.chunks_exact(fanout))) {
        for &leader in leaders {
            groups[usize::from(leader)].push(id);
        }
    }
    groups.retain(|group| !group.is_empty());
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

//! Exact neighbours among the matches of each query's filter.

use nearlab_storage::Vectors;
use rayon::ThreadPool;

use super::Drawn;
use crate::{prepared::Prepared, progress::Progress, truth::Nearest};

/// Matches compared at once: they are copied together first.
const BLOCK_ROWS: usize = 1 << 14;

/// The `k` nearest matches of each report query, queries x k, nearest first, ties by id. `k` is at most the number of matches.
pub(super) fn exact(
    data: &Prepared,
    drawn: &Drawn,
    k: usize,
    (pool, progress): (&ThreadPool, &dyn Progress),
) -> Vec<i32> {
    let (train, test) = (data.train(), data.test());
    let mut neighbors = vec![-1; test.len() * k];
    for (filter, matches) in drawn.matches.iter().enumerate() {
        progress.report("exact neighbours among matches", filter as u64, drawn.matches.len() as u64);
        let users: Vec<usize> = (0..test.len()).filter(|&query| drawn.of_query[query] as usize == filter).collect();
        if users.is_empty() {
            continue;
        }
        let queries: Vec<f32> = users.iter().flat_map(|&query| test.row(query)).copied().collect();
        let mut nearest = Nearest::new(Vectors::new(&queries, test.dim()), data.metric(), k);
        for (block, ids) in matches.chunks(BLOCK_ROWS).enumerate() {
            let rows: Vec<f32> = ids.iter().flat_map(|&id| train.row(id as usize)).copied().collect();
            nearest.push((block * BLOCK_ROWS) as u32, Vectors::new(&rows, train.dim()), pool);
        }
        // Positions among the matches, which ascend as the ids do: ties stay in order.
        for (&query, found) in users.iter().zip(nearest.finish().neighbors.chunks_exact(k)) {
            for (place, &position) in neighbors[query * k..][..k].iter_mut().zip(found) {
                *place = matches[position as usize] as i32;
            }
        }
    }
    progress.report("exact neighbours among matches", drawn.matches.len() as u64, drawn.matches.len() as u64);
    neighbors
}

//! Latency mode: the queries one at a time on one thread, each timed by itself. Filtered mode: the same, each query among the
//! vectors that its filter admits.
//!
//! A sample is the time of one `search` call, from just before to just after; copying its ids into the output (whose
//! memory is already there) is not part of it. `wall_seconds` is the whole loop, copying and clock reads included, so
//! QPS never comes out better than what a caller would see.

use std::time::Instant;

use nearlab_index::{Counters, Index, Neighbor, ParamError, Searcher};

use super::{Pass, engine::Job, filters::LoadedFilters, usage::Usage};

/// Queries between two progress reports of a warm-up pass.
const PROGRESS_EVERY: usize = 64;

/// Warms up, then measures one pass.
pub(super) fn measure<I: Index>(index: &I, params: &I::SearchParams, job: &Job<'_>) -> Result<Pass, ParamError> {
    let mut searcher = index.searcher(params)?;
    let k = job.request.k;
    Ok(timed(job, |_, query, found| searcher.search(query, k, found)))
}

/// Warms up, then measures one pass among what the filters admit.
pub(super) fn measure_among<I: Index>(
    index: &I,
    params: &I::SearchParams,
    job: &Job<'_>,
    filters: &LoadedFilters,
) -> Result<Pass, ParamError> {
    let mut searcher = index.searcher(params)?;
    let k = job.request.k;
    Ok(timed(job, |position, query, found| searcher.search_among(query, k, filters.of(position), found)))
}

/// The passes over all queries; `search` is asked with a query's position and its vector.
fn timed(job: &Job<'_>, mut search: impl FnMut(usize, &[f32], &mut Vec<Neighbor>) -> Counters) -> Pass {
    let (queries, k) = (job.queries, job.request.k);
    let mut found = Vec::with_capacity(k + 1);
    let total = (queries.len() * (job.request.warmup + 1)) as u64;
    let mut done = 0;
    for _ in 0..job.request.warmup {
        for (position, query) in queries.iter().enumerate() {
            search(position, query, &mut found);
            if position % PROGRESS_EVERY == 0 {
                (job.progress)(done + position as u64, total);
            }
        }
        done += queries.len() as u64;
    }
    (job.progress)(done, total);

    let mut ids = vec![-1i32; queries.len() * k];
    let mut nanoseconds = vec![0u64; queries.len()];
    let mut counters = Counters::default();
    let before = Usage::now();
    let start = Instant::now();
    for (position, ((query, row), nanoseconds)) in
        queries.iter().zip(ids.chunks_exact_mut(k)).zip(&mut nanoseconds).enumerate()
    {
        let asked = Instant::now();
        counters += search(position, query, &mut found);
        *nanoseconds = asked.elapsed().as_nanos() as u64;
        for (id, neighbor) in row.iter_mut().zip(&found) {
            *id = neighbor.id as i32;
        }
    }
    let wall_seconds = start.elapsed().as_secs_f64();
    let usage = Usage::now() - before;
    Pass { ids, nanoseconds, wall_seconds, usage, counters }
}

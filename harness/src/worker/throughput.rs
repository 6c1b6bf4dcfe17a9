//! Throughput mode: all queries at once over a fixed number of threads, one wall clock.
//!
//! Threads, their searchers, their output memory and the warm-up passes all exist before the clock starts. Work is
//! claimed in runs of queries that shrink towards the end (guided self-scheduling, Polychronopoulos and Kuck, IEEE Transactions on
//! Computers 1987), so a slow query holds up one thread only. The wall time is the latest end minus
//! the earliest start over the threads themselves: a coordinating thread's own wake-up is in neither.

use std::{
    ops::Range,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use nearlab_index::{Counters, Index, Neighbor, ParamError, Searcher};

use super::{Pass, engine::Job, usage::Usage};

/// Most queries that a thread claims at once. An index may work on several queries of a call side by side, and has less to do
/// so with at the end of each call; peers get all queries in one.
const MAX_RUN: usize = 1024;
/// Fewest, where there are more.
const MIN_RUN: usize = 16;

/// What one thread did in the timed pass.
struct Share {
    started: Instant,
    ended: Instant,
    counters: Counters,
    /// The runs claimed, in order; `neighbors` holds them one after another.
    runs: Vec<Range<usize>>,
    neighbors: Vec<Neighbor>,
}

/// Warms up, then measures one pass.
pub(super) fn measure<I: Index>(index: &I, params: &I::SearchParams, job: &Job<'_>) -> Result<Pass, ParamError> {
    let (queries, k, threads) = (job.queries.len(), job.request.k, job.request.threads.max(1));
    // Refused parameters must be known before threads wait for each other.
    drop(index.searcher(params)?);
    let passes: Vec<AtomicUsize> = (0..=job.request.warmup).map(|_| AtomicUsize::new(0)).collect();
    let (warm, go) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let plan = Plan { index, params, job, threads, passes: &passes, warm: &warm, go: &go };
    let (before, shares, after) = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| plan.work())).collect();
        warm.wait();
        let before = Usage::now();
        go.wait();
        let shares: Result<Vec<Share>, ParamError> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        (before, shares, Usage::now())
    });
    let shares = shares?;
    let started = shares.iter().map(|share| share.started).min().unwrap_or_else(Instant::now);
    let ended = shares.iter().map(|share| share.ended).max().unwrap_or(started);
    let mut pass = Pass {
        ids: vec![-1; queries * k],
        nanoseconds: Vec::new(),
        wall_seconds: (ended - started).as_secs_f64(),
        usage: after - before,
        counters: Counters::default(),
    };
    for share in &shares {
        pass.counters += share.counters;
        scatter(share, k, &mut pass.ids);
    }
    Ok(pass)
}

struct Plan<'a, I: Index> {
    index: &'a I,
    params: &'a I::SearchParams,
    job: &'a Job<'a>,
    threads: usize,
    /// Next unclaimed query of each pass; the last pass is the timed one.
    passes: &'a [AtomicUsize],
    warm: &'a Barrier,
    go: &'a Barrier,
}

impl<I: Index> Plan<'_, I> {
    fn work(&self) -> Result<Share, ParamError> {
        let (queries, k) = (self.job.queries, self.job.request.k);
        let searcher = self.index.searcher(self.params);
        // Every page of the output is touched here, not under the clock.
        let mut neighbors = vec![Neighbor::NONE; queries.len() * k];
        let mut runs = Vec::with_capacity(queries.len().div_ceil(MIN_RUN));
        let Ok(mut searcher) = searcher else {
            self.warm.wait();
            self.go.wait();
            return searcher.map(|_| unreachable!("an error was just seen"));
        };
        let total = (queries.len() * self.passes.len()) as u64;
        let (timed, warmups) = self.passes.split_last().expect("there is always the timed pass");
        for (number, pass) in warmups.iter().enumerate() {
            while let Some(range) = claim(pass, self.threads, queries.len()) {
                (self.job.progress)((number * queries.len() + range.start) as u64, total);
                let out = &mut neighbors[..range.len() * k];
                searcher.search_batch(queries.rows(range), k, out);
            }
        }
        neighbors.fill(Neighbor::NONE);
        self.warm.wait();
        self.go.wait();

        let mut counters = Counters::default();
        let mut filled = 0;
        let started = Instant::now();
        while let Some(range) = claim(timed, self.threads, queries.len()) {
            runs.push(range.clone());
            let end = filled + range.len() * k;
            counters += searcher.search_batch(queries.rows(range), k, &mut neighbors[filled..end]);
            filled = end;
        }
        let ended = Instant::now();
        Ok(Share { started, ended, counters, runs, neighbors })
    }
}

/// Half of a thread's fair share of the queries left, in multiples of [`MIN_RUN`], for an index may work on as many side by side; all of them
/// where there is one thread.
fn claim(next: &AtomicUsize, threads: usize, queries: usize) -> Option<Range<usize>> {
    let run = |start: usize| {
        let left = queries.saturating_sub(start);
        let share = if threads > 1 { left.div_ceil(2 * threads) } else { left };
        share.next_multiple_of(MIN_RUN).min(MAX_RUN).min(left)
    };
    let claimed = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |start| {
        let run = run(start);
        (run > 0).then_some(start + run)
    });
    claimed.ok().map(|start| start..start + run(start))
}

/// Puts one thread's neighbours where their queries are.
fn scatter(share: &Share, k: usize, ids: &mut [i32]) {
    let mut neighbors = share.neighbors.iter();
    for run in &share.runs {
        for (id, neighbor) in ids[run.start * k..run.end * k].iter_mut().zip(&mut neighbors) {
            *id = if *neighbor == Neighbor::NONE { -1 } else { neighbor.id as i32 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_claimed_once_in_runs_that_shrink() {
        for (queries, threads) in [(0, 1), (1, 2), (15, 1), (1000, 1), (1000, 2), (10_000, 1), (10_000, 3), (17, 8)] {
            let next = AtomicUsize::new(0);
            let runs: Vec<_> = std::iter::from_fn(|| claim(&next, threads, queries)).collect();
            assert!(runs.iter().cloned().flatten().eq(0..queries), "{queries} {threads}: {runs:?}");
            assert!(runs.is_sorted_by(|a, b| a.len() >= b.len()), "{queries} {threads}: {runs:?}");
            assert!(runs.iter().all(|run| run.len() <= MAX_RUN), "{queries} {threads}: {runs:?}");
        }
        let next = AtomicUsize::new(0);
        assert_eq!((claim(&next, 2, 1000), claim(&next, 2, 1000)), (Some(0..256), Some(256..448)));
    }
}

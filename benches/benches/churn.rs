//! What becomes of recall as a live graph changes: a table for `reports/record/churn.md`.
//!
//!     cargo bench -p nearlab-benches --bench churn -- PREPARED.nearlab ...
//!
//! takes prepared data sets. Half of the vectors are indexed; then, ten times, a tenth of them is deleted and as many of the others
//! inserted, and what is found is held against an exact search, beside a graph that is built anew over the same vectors.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot set itself up has nothing to measure"
)]

#[path = "data/real.rs"]
mod real;

use std::time::Instant;

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes};
use nearlab_index::{Build, Index, Mutable, Neighbor, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;
use real::Real;

const ROUNDS: usize = 10;
const QUERIES: usize = 1000;
const K: usize = 10;
const EF_SEARCH: usize = 80;

/// Answers of an index, and the distances that each took.
fn search<I: Index>(index: &I, params: &I::SearchParams, queries: Vectors<'_, f32>) -> (Vec<u32>, u64) {
    let mut out = vec![Neighbor::NONE; queries.len() * K];
    let counters = index.searcher(params).unwrap().search_batch(queries, K, &mut out);
    (out.iter().map(|neighbor| neighbor.id).collect(), counters.distance_computations / queries.len() as u64)
}

fn recall(found: &[u32], exact: &[u32]) -> f64 {
    let hits = |(found, exact): (&[u32], &[u32])| found.iter().filter(|id| exact.contains(id)).count();
    let hits: usize = found.chunks(K).zip(exact.chunks(K)).map(hits).sum();
    hits as f64 / exact.len() as f64
}

/// The vectors that stand at each id, and whose turn is next.
struct Churn<'a> {
    real: &'a Real,
    /// The base row of each id.
    rows: Vec<usize>,
    next: usize,
    state: u64,
}

impl Churn<'_> {
    /// So many ids, none twice, any with the same chance.
    fn some(&mut self, count: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..self.rows.len() as u32).collect();
        for place in 0..count {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let other = place + (self.state >> 33) as usize % (ids.len() - place);
            ids.swap(place, other);
        }
        ids.truncate(count);
        ids
    }

    /// Vectors of the base that come next.
    fn fresh(&mut self, count: usize) -> Vec<usize> {
        let all = self.real.train().len();
        let rows = (self.next..self.next + count).map(|row| row % all).collect();
        self.next += count;
        rows
    }

    fn vectors(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter().flat_map(|&row| self.real.train().row(row)).copied().collect()
    }
}

/// One line of the table; recall of the graph built anew.
fn compare(
    churn: &Churn<'_>,
    live: &impl Index<SearchParams = HnswSearchParams>,
    pool: &ThreadPool,
    params: &HnswParams,
) -> String {
    let (dim, metric) = (churn.real.dim, churn.real.metric);
    let held = churn.vectors(&churn.rows);
    let held = Vectors::new(&held, dim);
    let queries = churn.real.test().rows(0..QUERIES.min(churn.real.test().len()));
    let flat = Flat::build(held, metric, &FlatParams {}, pool, &()).unwrap();
    let (exact, _) = search(&flat, &FlatSearchParams {}, queries);
    let anew = Hnsw::build(held, metric, params, pool, &()).unwrap();
    let searched = HnswSearchParams { rerank: 50, ..HnswSearchParams::new(EF_SEARCH) };
    let (found, distances) = search(live, &searched, queries);
    let (found_anew, distances_anew) = search(&anew, &searched, queries);
    format!("{:.4} | {distances} | {:.4} | {distances_anew}", recall(&found, &exact), recall(&found_anew, &exact))
}

fn run(real: &Real, pool: &ThreadPool) {
    let params = HnswParams {
        m: if real.metric == Metric::L2 { 16 } else { 24 },
        codes: TraversalCodes::Sq4,
        components: if real.dim >= 512 { real.dim / 768 * 128 } else { 0 },
        rerank_codes: if real.metric == Metric::L2 { RerankCodes::Sq8 } else { RerankCodes::F16 },
        construction: Construction::Bulk,
        replicas: 3,
        ..HnswParams::default()
    };
    let half = real.train().len() / 2;
    let mut churn = Churn { real, rows: (0..half).collect(), next: half, state: 1 };
    let live = Hnsw::build(real.train().rows(0..half), real.metric, &params, pool, &()).unwrap();
    let live = live.into_live(pool).unwrap();
    println!("\n{}: {half} of {} vectors of {}\n", real.name, real.train().len(), real.dim);
    println!("| round | recall@10 | distances | built anew | distances | delete s | optimise s | insert s |");
    println!("|---|---|---|---|---|---|---|---|");
    println!("| 0 | {} | | | |", compare(&churn, &live, pool, &params));
    for round in 1..=ROUNDS {
        let (gone, come) = (churn.some(half / 10), churn.fresh(half / 10));
        let vectors = churn.vectors(&come);
        let start = Instant::now();
        assert_eq!(live.delete(&gone), gone.len());
        let deleted = start.elapsed().as_secs_f64();
        live.optimize(pool, &()).unwrap();
        let optimised = start.elapsed().as_secs_f64() - deleted;
        let start = Instant::now();
        let ids = live.insert(Vectors::new(&vectors, real.dim), pool).unwrap();
        let inserted = start.elapsed().as_secs_f64();
        for (id, row) in ids.into_iter().zip(come) {
            churn.rows[id as usize] = row;
        }
        let line = compare(&churn, &live, pool, &params);
        println!("| {round} | {line} | {deleted:.2} | {optimised:.2} | {inserted:.2} |");
    }
}

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for real in Real::named() {
        run(&real, &pool);
    }
}

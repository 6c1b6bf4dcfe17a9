//! Whether it matters to searches in which order vectors lie and in what pages: a table for `reports/record/layout.md`.
//!
//!     cargo bench -p nearlab-benches --bench layout -- PREPARED.nearlab ...
//!
//! takes prepared data sets. One graph is built over each order of the same vectors; all searches take turns on one thread, and the
//! table has medians.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot set itself up has nothing to measure"
)]

#[path = "data/real.rs"]
mod real;

use std::time::Instant;

use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes};
use nearlab_index::{Build, Index, Neighbor, Persist, Searcher};
use nearlab_simd::{Metric, kernels};
use nearlab_storage::Vectors;
use rayon::ThreadPool;
use rayon::prelude::*;
use real::Real;

/// Rounds in which every search takes its turn.
const ROUNDS: usize = 9;
/// Queries of a round.
const QUERIES: usize = 2000;
const EF_SEARCH: usize = 64;
/// Vectors a group of the grouped order has, about.
const GROUP: usize = 500;

/// Rows as they are given, in no order, and by the nearest of some of them, these in the order of a walk to the nearest left.
fn orders(rows: Vectors<'_, f32>, metric: Metric) -> [(&'static str, Vec<usize>); 3] {
    let given: Vec<usize> = (0..rows.len()).collect();
    // A multiplicative generator of full period modulo a prime above any n here visits every row once.
    let mut shuffled = Vec::with_capacity(rows.len());
    let mut at = 1_u64;
    while shuffled.len() < rows.len() {
        at = at * 16_807 % 2_147_483_647;
        shuffled.push(at as usize);
    }
    let keys = shuffled.clone();
    shuffled.clone_from(&given);
    shuffled.sort_by_key(|&row| keys[row]);
    let mut left: Vec<usize> = shuffled[..rows.len().div_ceil(GROUP)].to_vec();
    let distance = |a: usize, b: usize| kernels().distance(metric)(rows.row(a), rows.row(b));
    let mut heads = vec![left.pop().unwrap()];
    while let Some(nearest) = (0..left.len()).min_by(|&a, &b| {
        distance(heads[heads.len() - 1], left[a]).total_cmp(&distance(heads[heads.len() - 1], left[b]))
    }) {
        heads.push(left.swap_remove(nearest));
    }
    let group = |row: usize| {
        (0..heads.len()).min_by(|&a, &b| distance(row, heads[a]).total_cmp(&distance(row, heads[b]))).unwrap()
    };
    let groups: Vec<usize> = given.par_iter().map(|&row| group(row)).collect();
    let mut grouped = given.clone();
    grouped.sort_by_key(|&row| groups[row]);
    [("as given", given), ("shuffled", shuffled), ("grouped", grouped)]
}

fn build(rows: Vectors<'_, f32>, metric: Metric, pool: &ThreadPool) -> Hnsw {
    let params = HnswParams {
        codes: TraversalCodes::Sq4,
        components: if rows.dim() >= 512 { rows.dim() / 768 * 128 } else { 0 },
        rerank_codes: if metric == Metric::L2 { RerankCodes::Sq8 } else { RerankCodes::F16 },
        construction: Construction::Bulk,
        replicas: 3,
        ..HnswParams::default()
    };
    Hnsw::build(rows, metric, &params, pool, &()).unwrap()
}

/// One line of the table.
struct Line<'a> {
    order: &'a str,
    pages: &'a str,
    index: Hnsw,
    distances: u64,
    batch: Vec<f64>,
    single: Vec<f64>,
}

impl<'a> Line<'a> {
    fn new(order: &'a str, pages: &'a str, index: Hnsw) -> Self {
        Self { order, pages, index, distances: 0, batch: Vec::new(), single: Vec::new() }
    }

    fn measure(&mut self, queries: Vectors<'_, f32>) {
        let mut searcher = self.index.searcher(&HnswSearchParams::new(EF_SEARCH)).unwrap();
        let (mut out, mut found) = (vec![Neighbor::NONE; queries.len() * 10], Vec::new());
        let start = Instant::now();
        self.distances = searcher.search_batch(queries, 10, &mut out).distance_computations;
        self.batch.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for query in queries {
            searcher.search(query, 10, &mut found);
        }
        self.single.push(start.elapsed().as_secs_f64());
    }

    fn print(&mut self, queries: usize) {
        let spread = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            let each = |time: f64| time * 1e6 / queries as f64;
            format!("{:.1} ({:.1} to {:.1})", each(times[ROUNDS / 2]), each(times[0]), each(times[ROUNDS - 1]))
        };
        let distances = self.distances / queries as u64;
        let (batch, single) = (spread(&mut self.batch), spread(&mut self.single));
        println!("| {} | {} | {distances} | {batch} | {single} |", self.order, self.pages);
    }
}

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for real in Real::named() {
        let (rows, folder) = (real.train(), tempfile::tempdir().unwrap());
        let mut lines = Vec::new();
        for (order, by) in pool.install(|| orders(rows, real.metric)) {
            let ordered: Vec<f32> = by.iter().flat_map(|&row| rows.row(row)).copied().collect();
            let index = build(Vectors::new(&ordered, real.dim), real.metric, &pool);
            if order == "as given" {
                let path = folder.path().join("index");
                index.save(&path).unwrap();
                let opened = || Hnsw::open(&path).unwrap();
                lines.push(Line::new(order, "of the file, mapped", opened()));
                rustix::thread::disable_transparent_huge_pages(true).unwrap();
                lines.push(Line::new(order, "4 KiB", opened().into_resident().unwrap()));
                rustix::thread::disable_transparent_huge_pages(false).unwrap();
            }
            lines.push(Line::new(order, "2 MiB", index));
        }
        let queries = real.test().rows(0..QUERIES.min(real.test().len()));
        for round in 0..ROUNDS {
            lines.rotate_left(round % 2);
            for line in &mut lines {
                line.measure(queries);
            }
        }
        lines.sort_by_key(|line| (line.order, line.pages));
        println!("\n{}: {} vectors of {}\n", real.name, rows.len(), real.dim);
        println!("| order | pages | distances | batch, µs a query | one at a time |\n|---|---|---|---|---|");
        for line in &mut lines {
            line.print(queries.len());
        }
    }
}

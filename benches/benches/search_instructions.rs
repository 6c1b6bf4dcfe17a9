//! Instructions of fixed searches, counted by Callgrind: the same on every run of one build on one instruction set.
//!
//! Callgrind knows no AVX-512, so under it the AVX2 kernels run.

#![expect(missing_docs, reason = "gungraun's macros write public items")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up has nothing to measure")]

mod data;

use std::hint::black_box;

use data::clustered;
use gungraun::{library_benchmark, library_benchmark_group, main};
use nearlab_index::hnsw::{Hnsw, HnswParams, HnswSearchParams};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, Counters, Index, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

/// Small, because building runs under Callgrind too, though it is not counted.
const N: usize = 2000;
const DIM: usize = 32;

/// An index and queries.
struct Fixture<I> {
    index: I,
    queries: Vec<f32>,
}

fn fixture<I: Build>(params: &I::Params) -> Fixture<I> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let index = I::build(Vectors::new(&clustered(N, DIM, 1), DIM), Metric::L2, params, &pool, &()).unwrap();
    Fixture { index, queries: clustered(50, DIM, 2) }
}

fn hnsw_fixture() -> Fixture<Hnsw> {
    fixture(&HnswParams { m: 8, ef_construction: 40, ..HnswParams::default() })
}

fn ivf_fixture() -> Fixture<Ivf> {
    fixture(&IvfParams { nlist: 32, ..IvfParams::default() })
}

/// Fifty searches. The fixture is returned, so that dropping it is not counted.
fn search_all<I: Index>(fixture: Fixture<I>, params: &I::SearchParams) -> (Fixture<I>, Counters) {
    let mut counters = Counters::default();
    let mut found = Vec::with_capacity(10);
    let mut searcher = fixture.index.searcher(params).unwrap();
    for query in fixture.queries.chunks_exact(DIM) {
        counters += searcher.search(black_box(query), 10, &mut found);
    }
    drop(searcher);
    (fixture, counters)
}

#[library_benchmark]
#[bench::ef_search_64(hnsw_fixture())]
fn hnsw(fixture: Fixture<Hnsw>) -> (Fixture<Hnsw>, Counters) {
    black_box(search_all(fixture, &HnswSearchParams::new(64)))
}

#[library_benchmark]
#[bench::nprobe_4(ivf_fixture())]
fn ivf(fixture: Fixture<Ivf>) -> (Fixture<Ivf>, Counters) {
    black_box(search_all(fixture, &IvfSearchParams { nprobe: 4 }))
}

library_benchmark_group!(name = searches, benchmarks = [hnsw, ivf]);
main!(library_benchmark_groups = searches);

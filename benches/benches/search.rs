//! Wall-clock time of one search per index on seeded data (20,000 x 64), for a developer's eye: it gates nothing.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up has nothing to measure")]

mod data;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use data::clustered;
use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Hnsw, HnswParams, HnswSearchParams};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, Index, Neighbor, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

const N: usize = 20_000;
const DIM: usize = 64;
const K: usize = 10;

fn build<I: Build>(params: &I::Params) -> I {
    let pool = rayon::ThreadPoolBuilder::new().build().unwrap();
    I::build(Vectors::new(&clustered(N, DIM, 1), DIM), Metric::L2, params, &pool, &()).unwrap()
}

fn single<I: Index>(criterion: &mut Criterion, name: &str, index: &I, params: &I::SearchParams) {
    let queries = clustered(1000, DIM, 2);
    let mut queries = queries.chunks_exact(DIM).cycle();
    let mut searcher = index.searcher(params).unwrap();
    let mut found = Vec::new();
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| searcher.search(black_box(queries.next().unwrap()), K, &mut found));
    });
}

fn searches(criterion: &mut Criterion) {
    let flat: Flat = build(&FlatParams {});
    single(criterion, "flat", &flat, &FlatSearchParams {});
    let queries = clustered(100, DIM, 2);
    let mut found = vec![Neighbor::NONE; 100 * K];
    let mut searcher = flat.searcher(&FlatSearchParams {}).unwrap();
    criterion.bench_function("flat batch of 100", |bencher| {
        bencher.iter(|| searcher.search_batch(Vectors::new(black_box(&queries), DIM), K, &mut found));
    });
    let hnsw: Hnsw = build(&HnswParams::default());
    for ef_search in [16, 64, 256] {
        single(criterion, &format!("hnsw ef_search {ef_search}"), &hnsw, &HnswSearchParams::new(ef_search));
    }
    let ivf: Ivf = build(&IvfParams { nlist: 256, ..IvfParams::default() });
    for nprobe in [1, 8, 64] {
        single(criterion, &format!("ivf nprobe {nprobe}"), &ivf, &IvfSearchParams { nprobe });
    }
}

criterion_group!(benches, searches);
criterion_main!(benches);

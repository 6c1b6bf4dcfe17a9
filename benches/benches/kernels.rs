//! Wall-clock time of every kernel under every tier this CPU can run.
//!
//! `cached` inputs stay in the second-level cache; `uncached` ones are larger than it by far, and gathered rows come from
//! anywhere in them. Throughput counts scored pairs and the bytes of their rows. Not a gate: two runs of one binary
//! differ by several per cent on a shared machine; `benches/instructions.rs` counts instead.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearlab_simd::{Kernels, Metric, available};

const DIMENSIONS: [usize; 3] = [100, 128, 1536];
const CACHED_BYTES: usize = 256 * 1024;
const UNCACHED_BYTES: usize = 128 * 1024 * 1024;
/// As many as a graph search scores per hop.
const IDS: usize = 32;
const TILE_QUERIES: usize = 64;

/// Values in [-1, 1) from a fixed linear congruential sequence.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1;
    (0..count).map(|_| random(&mut state) as f32 / (1_u64 << 23) as f32 - 1.0).collect()
}

/// The next 24 bits of the sequence.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 40
}

fn group<'a>(c: &'a mut Criterion, name: &str, pairs: usize, d: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(50);
    group.throughput(Throughput::ElementsAndBytes { elements: pairs as u64, bytes: (pairs * d * 4) as u64 });
    group
}

fn id(kernels: &Kernels, d: usize) -> BenchmarkId {
    BenchmarkId::new(kernels.tier().as_str(), d)
}

fn pair(c: &mut Criterion) {
    for (metric, name) in [(Metric::L2, "l2"), (Metric::InnerProduct, "inner_product")] {
        for d in DIMENSIONS {
            let (a, b) = (numbers(d), numbers(d));
            let mut group = group(c, &format!("{name}/pair"), 1, d);
            for kernels in available() {
                let distance = kernels.distance(metric);
                group.bench_function(id(kernels, d), |bencher| bencher.iter(|| distance(black_box(&a), black_box(&b))));
            }
        }
    }
}

fn many(c: &mut Criterion) {
    for (place, bytes) in [("cached", CACHED_BYTES), ("uncached", UNCACHED_BYTES)] {
        for d in DIMENSIONS {
            let n = bytes / (d * 4);
            let (query, rows, mut out) = (numbers(d), numbers(n * d), vec![0.0; n]);
            for (metric, name) in [(Metric::L2, "l2"), (Metric::InnerProduct, "inner_product")] {
                let mut group = group(c, &format!("{name}/many_{place}"), n, d);
                for kernels in available() {
                    group.bench_function(id(kernels, d), |bencher| {
                        bencher.iter(|| kernels.distances_many(metric, black_box(&query), black_box(&rows), &mut out));
                    });
                }
            }
        }
    }
}

fn by_id(c: &mut Criterion) {
    for (place, bytes) in [("cached", CACHED_BYTES), ("uncached", UNCACHED_BYTES)] {
        for d in DIMENSIONS {
            let n = bytes / (d * 4);
            let (query, base, mut out) = (numbers(d), numbers(n * d), [0.0; IDS]);
            let mut state = 7;
            let hops: Vec<[u32; IDS]> =
                (0..4096).map(|_| [(); IDS].map(|()| (random(&mut state) % n as u64) as u32)).collect();
            let mut group = group(c, &format!("l2/by_id_{place}"), IDS, d);
            for kernels in available() {
                let mut next = hops.iter().cycle();
                group.bench_function(id(kernels, d), |bencher| {
                    bencher.iter(|| {
                        let ids = next.next().expect("a cycle does not end");
                        kernels.distances_by_id(Metric::L2, black_box(&query), &base, ids, &mut out);
                    });
                });
            }
        }
    }
}

fn tile(c: &mut Criterion) {
    for (metric, name) in [(Metric::L2, "l2"), (Metric::InnerProduct, "inner_product")] {
        for d in DIMENSIONS {
            let n = CACHED_BYTES / (d * 4);
            let (queries, rows, mut out) = (numbers(TILE_QUERIES * d), numbers(n * d), vec![0.0; TILE_QUERIES * n]);
            let mut group = group(c, &format!("{name}/tile"), TILE_QUERIES * n, d);
            for kernels in available() {
                group.bench_function(id(kernels, d), |bencher| {
                    bencher.iter(|| kernels.distances_tile(metric, black_box(&queries), black_box(&rows), d, &mut out));
                });
            }
        }
    }
}

criterion_group!(benches, pair, many, by_id, tile);
criterion_main!(benches);

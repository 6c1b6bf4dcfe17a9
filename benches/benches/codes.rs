//! Wall-clock time of the kernels for codes, under every tier this CPU can run.
//!
//! Rows are gathered by id: `cached` ones stay in the second-level cache, `uncached` ones come from anywhere in 256 MiB. Not a
//! gate: two runs of one binary differ by several per cent on a shared machine. It shows a kernel by itself; a search asks
//! for its rows earlier, and does more between them.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearlab_simd::{CodeKernels, TileColumns, available_codes};

const CACHED_BYTES: usize = 256 * 1024;
const UNCACHED_BYTES: usize = 256 * 1024 * 1024;
/// As many as a graph search scores per hop.
const IDS: usize = 32;
/// Rows and columns of a tile: a group of bulk construction.
const TILE: (usize, usize) = (8, 1024);

/// The next 24 bits of a fixed linear congruential sequence.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 40
}

fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1;
    (0..count).map(|_| (random(&mut state) & 127) as u8).collect()
}

fn group<'a>(c: &'a mut Criterion, name: &str, pairs: usize, row_bytes: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(50);
    group.throughput(Throughput::ElementsAndBytes { elements: pairs as u64, bytes: (pairs * row_bytes) as u64 });
    group
}

/// One kernel over rows of `row_bytes`, gathered by id.
fn gathered(
    c: &mut Criterion,
    (name, components): (&str, usize),
    row_bytes: usize,
    score: impl Fn(&CodeKernels, &[u8], &[u32], &mut [f32]),
) {
    for (place, size) in [("cached", CACHED_BYTES), ("uncached", UNCACHED_BYTES)] {
        let n = size / row_bytes;
        let (codes, mut out) = (bytes(n * row_bytes), [0.0; IDS]);
        let mut state = 7;
        let hops: Vec<[u32; IDS]> =
            (0..4096).map(|_| [(); IDS].map(|()| (random(&mut state) % n as u64) as u32)).collect();
        let mut group = group(c, &format!("{name}/by_id_{place}"), IDS, row_bytes);
        for kernels in available_codes() {
            let mut next = hops.iter().cycle();
            group.bench_function(BenchmarkId::new(kernels.tier().as_str(), components), |bencher| {
                bencher.iter(|| {
                    let ids = next.next().expect("a cycle does not end");
                    score(kernels, black_box(&codes), ids, &mut out);
                });
            });
        }
    }
}

fn by_id(c: &mut Criterion) {
    for components in [128, 256, 1536] {
        let query: Vec<i8> = bytes(components).into_iter().map(|x| x as i8).collect();
        gathered(c, ("u4", components), components / 2, |kernels, codes, ids, out| {
            kernels.u4_by_id(black_box(&query), codes, ids, out);
        });
        let query = bytes(components);
        gathered(c, ("u7", components), components, |kernels, codes, ids, out| {
            kernels.u7_by_id(black_box(&query), codes, ids, out);
        });
        let query: Vec<f32> = bytes(components).into_iter().map(f32::from).collect();
        gathered(c, ("u8", components), components, |kernels, codes, ids, out| {
            kernels.u8_by_id(black_box(&query), codes, ids, out);
        });
    }
}

fn tile(c: &mut Criterion) {
    for components in [128, 1536] {
        let (rows, columns) = (bytes(TILE.0 * components), bytes(TILE.1 * components));
        let mut tile = TileColumns::default();
        tile.fill(&columns, components);
        let mut out = vec![0; TILE.0 * tile.count()];
        let mut group = group(c, "u7/tile", TILE.0 * TILE.1, components);
        for kernels in available_codes() {
            group.bench_function(BenchmarkId::new(kernels.tier().as_str(), components), |bencher| {
                bencher.iter(|| kernels.u7_tile(black_box(&rows), &tile, &mut out));
            });
        }
    }
}

criterion_group!(benches, by_id, tile);
criterion_main!(benches);

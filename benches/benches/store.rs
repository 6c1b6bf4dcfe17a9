//! The vector store beside what the machine does without it: bulk load beside writing a plain file and syncing it, reads by id
//! beside copies of slices at known places. On the disk of the temporary folder (`TMPDIR`).

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up has nothing to measure")]

mod data;

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use data::clustered;
use nearlab_storage::Vectors;
use nearlab_storage::store::{CompactOptions, Durability, ElementKind, IdKind, Shape, StoreOptions, VectorStore};

/// Bytes of rows that are loaded.
const LOADED: usize = 256 << 20;
/// Bytes of rows in one change of a bulk load.
const BATCH: usize = 8 << 20;
/// Ids that are read with one call.
const READ: [usize; 3] = [1, 64, 256];
/// Spreads ids over all numbers, each of its own.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn shape(dim: usize) -> Shape {
    Shape { dim, element: ElementKind::F32, ids: IdKind::Numbers }
}

fn store(folder: &Path, dim: usize) -> VectorStore {
    VectorStore::create(folder, &StoreOptions::new(shape(dim))).unwrap()
}

/// Loads rows for the ids 0, `step`, twice `step` and so on, wrapping, and makes them durable.
fn load(store: &VectorStore, batch: &[f32], rows: usize, step: u64) {
    let dim = store.shape().dim;
    for from in (0..rows).step_by(batch.len() / dim) {
        let count = (batch.len() / dim).min(rows - from);
        let ids: Vec<u64> = (from as u64..(from + count) as u64).map(|row| row.wrapping_mul(step)).collect();
        store.write(&ids[..], Vectors::new(&batch[..count * dim], dim), Durability::None).unwrap();
    }
    store.sync().unwrap();
}

fn loads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bulk load");
    group.throughput(Throughput::Bytes(LOADED as u64)).sample_size(10).measurement_time(Duration::from_secs(10));
    for dim in [128, 1536] {
        let batch = clustered(BATCH / (4 * dim), dim, 1);
        let rows = LOADED / (4 * dim);
        group.bench_function(BenchmarkId::new("store", dim), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        let folder = tempfile::tempdir().unwrap();
                        let store = store(&folder.path().join("store"), dim);
                        let start = Instant::now();
                        load(&store, &batch, rows, 1);
                        start.elapsed()
                    })
                    .sum()
            });
        });
        group.bench_function(BenchmarkId::new("plain file", dim), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        let folder = tempfile::tempdir().unwrap();
                        let mut file = File::create(folder.path().join("plain")).unwrap();
                        let start = Instant::now();
                        for from in (0..rows).step_by(batch.len() / dim) {
                            let count = (batch.len() / dim).min(rows - from);
                            let bytes = bytemuck::cast_slice::<f32, u8>(&batch[..count * dim]);
                            file.write_all(black_box(bytes)).unwrap();
                        }
                        file.sync_data().unwrap();
                        start.elapsed()
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    for dim in [128, 1536] {
        let folder = tempfile::tempdir().unwrap();
        let rows = LOADED / (4 * dim);
        let batch = clustered(BATCH / (4 * dim), dim, 1);
        let stores = [("store, ids in runs", 1), ("store, ids scattered", SPREAD)].map(|(name, step)| {
            let store = store(&folder.path().join(name), dim);
            load(&store, &batch, rows, step);
            (name, step, store)
        });
        // The same rows, in the same map, at places that are known: the first segment holds them all, in this order.
        let snapshot = stores[0].2.snapshot();
        let plain = snapshot.segments::<f32>().unwrap()[0].vectors.as_slice();
        assert_eq!(plain.len(), rows * dim);
        let wanted: Vec<usize> = (0..1 << 16).map(|i: usize| i.wrapping_mul(SPREAD as usize) % rows).collect();
        for read in READ {
            let mut group = criterion.benchmark_group(format!("read {read} by id"));
            let (mut out, mut found) = (vec![0.0_f32; read * dim], vec![false; read]);
            group.throughput(Throughput::Bytes((read * dim * 4) as u64));
            for (name, step, store) in &stores {
                let ids: Vec<u64> = wanted.iter().map(|&row| (row as u64).wrapping_mul(*step)).collect();
                let mut chunks = ids.chunks_exact(read).cycle();
                group.bench_function(BenchmarkId::new(*name, dim), |bencher| {
                    bencher.iter(|| store.read(chunks.next().unwrap(), &mut out, &mut found).unwrap());
                });
                let snapshot = store.snapshot();
                group.bench_function(BenchmarkId::new(name.replace("store", "snapshot"), dim), |bencher| {
                    bencher.iter(|| snapshot.read(chunks.next().unwrap(), &mut out, &mut found).unwrap());
                });
            }
            let mut chunks = wanted.chunks_exact(read).cycle();
            group.bench_function(BenchmarkId::new("plain copy", dim), |bencher| {
                bencher.iter(|| {
                    for (row, out) in chunks.next().unwrap().iter().zip(out.chunks_exact_mut(dim)) {
                        out.copy_from_slice(&plain[row * dim..][..dim]);
                    }
                    black_box(&mut out);
                });
            });
            group.finish();
        }
    }
}

fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change of one row of 1536");
    let row = clustered(1, 1536, 1);
    for (name, durability) in [("none", Durability::None), ("flush", Durability::Flush), ("sync", Durability::Sync)] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("store"), 1536);
        let mut id = 0_u64;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                id = (id + 1) % 10_000;
                store.write(&[id], Vectors::new(&row, 1536), durability).unwrap()
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("compaction");
    group.sample_size(10).throughput(Throughput::Bytes(LOADED as u64 / 2));
    group.bench_function("of 256 MiB half of which is dead", |bencher| {
        let batch = clustered(BATCH / 512, 128, 1);
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let folder = tempfile::tempdir().unwrap();
                    let store = store(&folder.path().join("store"), 128);
                    load(&store, &batch, LOADED / 512, 1);
                    load(&store, &batch, LOADED / 1024, 1);
                    let start = Instant::now();
                    store.compact(&CompactOptions::default()).unwrap();
                    start.elapsed()
                })
                .sum()
        });
    });
    group.finish();
}

criterion_group!(benches, loads, reads, changes);
criterion_main!(benches);

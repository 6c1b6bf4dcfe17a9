//! The tables by id of a vector store, apart from its rows, which have one byte: finding, loading, and changes while snapshots are held.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up has nothing to measure")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearlab_storage::Vectors;
use nearlab_storage::store::{Durability, ElementKind, IdKind, Ids, Shape, Snapshot, StoreOptions, VectorStore};
use tempfile::TempDir;

/// Ids of a store.
const COUNT: usize = 1 << 20;
/// Ids of one change of a bulk load.
const BATCH: usize = 1 << 14;
/// Ids that are looked up with one call.
const FOUND: usize = 256;

/// Whether ids come in order.
#[derive(Debug, Clone, Copy)]
enum Order {
    Ascending,
    Scattered,
}

/// The `i`-th id.
fn id(order: Order, i: usize) -> u64 {
    match order {
        Order::Ascending => i as u64,
        Order::Scattered => (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

fn empty(kind: IdKind) -> (TempDir, VectorStore) {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { dim: 1, element: ElementKind::U8, ids: kind };
    let store = VectorStore::create(folder.path().join("store"), &StoreOptions::new(shape)).unwrap();
    (folder, store)
}

fn name(id: u64) -> String {
    format!("document-{id}")
}

fn put(store: &VectorStore, ids: &[u64]) {
    let rows = vec![0_u8; ids.len()];
    let rows = Vectors::new(&rows, 1);
    if store.shape().ids == IdKind::Numbers {
        store.write(ids, rows, Durability::None).unwrap();
    } else {
        let names: Vec<String> = ids.iter().map(|&id| name(id)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        store.write(&names[..], rows, Durability::None).unwrap();
    }
}

fn load(store: &VectorStore, order: Order) {
    for from in (0..COUNT).step_by(BATCH) {
        let ids: Vec<u64> = (from..from + BATCH).map(|i| id(order, i)).collect();
        put(store, &ids);
    }
}

fn kinds() -> [(&'static str, IdKind, Order); 3] {
    [
        ("ascending", IdKind::Numbers, Order::Ascending),
        ("scattered", IdKind::Numbers, Order::Scattered),
        ("names", IdKind::Names, Order::Ascending),
    ]
}

fn loads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.throughput(Throughput::Elements(COUNT as u64)).sample_size(10);
    for (label, kind, order) in kinds() {
        group.bench_function(label, |bencher| {
            bencher.iter_custom(|times| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..times {
                    let (_folder, store) = empty(kind);
                    let start = Instant::now();
                    load(&store, order);
                    elapsed += start.elapsed();
                }
                elapsed
            });
        });
    }
    group.finish();
}

fn finds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find 256");
    for (label, kind, order) in kinds() {
        let (_folder, store) = empty(kind);
        load(&store, order);
        eprintln!("{label}: {:.1} bytes of memory an id", store.stats().memory_bytes as f64 / COUNT as f64);
        let snapshot = store.snapshot();
        // In an order of their own, and as many that are not there.
        let wanted = |i: usize| id(order, i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % COUNT);
        for (what, absent) in [("there", 0), ("not there", 1 << 40)] {
            let ids: Vec<u64> = (0..1 << 16).map(|i| wanted(i) ^ absent).collect();
            let names: Vec<String> = ids.iter().map(|&id| name(id)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let all = if kind == IdKind::Numbers { Ids::Numbers(&ids) } else { Ids::Names(&names) };
            group.throughput(Throughput::Elements(FOUND as u64));
            group.bench_function(BenchmarkId::new(label, what), |bencher| {
                let mut from = 0;
                bencher.iter(|| {
                    from = (from + FOUND) % ids.len();
                    find(&snapshot, all, from)
                });
            });
        }
    }
    group.finish();
}

fn find(snapshot: &Snapshot, ids: Ids<'_>, from: usize) -> Vec<Option<u32>> {
    let until = from + FOUND;
    match ids {
        Ids::Numbers(ids) => snapshot.slots_of(black_box(&ids[from..until])).unwrap(),
        Ids::Names(names) => snapshot.slots_of(black_box(&names[from..until])).unwrap(),
    }
}

/// Replaces one vector after another, with no snapshot, with one that was taken first, and with a new one each time, as a
/// collection does it.
fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change of one of 1M");
    let (_folder, store) = empty(IdKind::Numbers);
    load(&store, Order::Ascending);
    for (label, hold, renew) in
        [("alone", false, false), ("a snapshot held", true, false), ("a new one each", true, true)]
    {
        group.bench_function(label, |bencher| {
            bencher.iter_custom(|times| {
                let mut held = hold.then(|| store.snapshot());
                let mut elapsed = Duration::ZERO;
                for i in 0..times {
                    let id = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % COUNT as u64;
                    let start = Instant::now();
                    put(&store, &[id]);
                    elapsed += start.elapsed();
                    if renew {
                        held = Some(store.snapshot());
                    }
                }
                drop(held);
                elapsed
            });
        });
    }
    group.finish();
}

criterion_group!(benches, finds, loads, changes);
criterion_main!(benches);

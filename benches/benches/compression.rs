//! What packing saves and costs on real vectors, beside the lossy forms: a table for `reports/record/compression.md`.
//!
//!     cargo bench -p nearlab-benches --bench compression -- PREPARED.nearlab ...
//!
//! takes prepared data sets. Times are those of the thread's processor, median of three, since the machine is shared.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot set itself up has nothing to measure"
)]

#[path = "data/real.rs"]
mod real;

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, TraversalCodes};
use nearlab_index::{Build, IdSet, Index, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::store::{
    Codec, Durability, Element, IdKind, PackOptions, Shape, Snapshot, StoreOptions, VectorStore,
};
use real::Real;
use rustix::time::{ClockId, clock_gettime};

/// Bytes of f32 rows that are packed.
const PACKED: usize = 32 << 20;
/// Rows that are read after all are unpacked.
const READ: usize = 20_000;
/// Vectors that codes are made of, those that are scored, and queries.
const CODED: usize = 2000;
const SCORED: usize = 200;
const QUERIES: usize = 50;

/// Seconds of processor time that `run` takes, and what it returns.
fn seconds<R>(run: impl FnOnce() -> R) -> (f64, R) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    };
    let start = now();
    let result = run();
    (now() - start, result)
}

fn median(mut of: impl FnMut() -> f64) -> f64 {
    let mut times = [of(), of(), of()];
    times.sort_by(f64::total_cmp);
    times[1]
}

fn all<T: Element>(snapshot: &Snapshot) -> f64 {
    seconds(|| snapshot.segments::<T>().unwrap().len()).0
}

/// Loads rows into a store of one full segment.
fn load<T: Element>(folder: &Path, rows: Vectors<'_, T>) -> VectorStore {
    let shape = Shape { dim: rows.dim(), element: T::KIND, ids: IdKind::Numbers };
    let bytes = size_of_val(rows.as_slice());
    let store = VectorStore::create(folder, &StoreOptions { segment_bytes: bytes as u64, ..StoreOptions::new(shape) });
    let (store, ids) = (store.unwrap(), (0..rows.len() as u64).collect::<Vec<_>>());
    store.write(&ids[..], rows, Durability::Sync).unwrap();
    store
}

/// One line of the table: ratio, MB/s to pack and to unpack, and the cost of a row that is read later.
fn pack<T: Element>(name: &str, rows: Vectors<'_, T>, options: Option<PackOptions>) {
    let bytes = size_of_val(rows.as_slice()) as f64;
    let folder = tempfile::tempdir().unwrap();
    let (mut stored, mut round) = (0, 0);
    let packing = median(|| {
        round += 1;
        let store = load(&folder.path().join(round.to_string()), rows);
        let time = options.map_or(0.0, |options| seconds(|| store.pack(&options).unwrap()).0);
        stored = store.stats().stored_bytes;
        time
    });
    let path = folder.path().join("1");
    let unpacking = median(|| all::<T>(&VectorStore::open_read_only(&path).unwrap().snapshot()));
    let snapshot = VectorStore::open_read_only(&path).unwrap().snapshot();
    let slots = || (0..READ).map(|i| (i.wrapping_mul(0x9e37_79b9) % rows.len()) as u32);
    // A row from anywhere, each time with its block.
    let firsts = slots().take(50);
    let first = median(|| {
        let fresh = VectorStore::open_read_only(&path).unwrap().snapshot();
        let read = |slot| fresh.row::<T>(slot).unwrap().unwrap()[0];
        seconds(|| firsts.clone().map(read).fold(T::zeroed(), |_, last| last)).0 / 50.0
    });
    all::<T>(&snapshot);
    let mut out = vec![T::zeroed(); rows.dim()];
    let later = median(|| {
        let read = |slot| out.copy_from_slice(snapshot.row::<T>(slot).unwrap().unwrap());
        seconds(|| slots().for_each(read)).0 / READ as f64
    });
    let speed = |time: f64| if time == 0.0 { "-".to_owned() } else { format!("{:.0}", bytes / 1e6 / time) };
    println!(
        "| {name} | {} | {:.2} | {} | {} | {:.1} | {:.0} |",
        T::KIND,
        bytes / stored as f64,
        speed(packing),
        speed(unpacking),
        first * 1e6,
        later * 1e9
    );
}

fn pack_all<T: Element>(rows: Vectors<'_, T>) {
    pack("none", rows, None);
    let zstd = |level| Codec::Zstd { level };
    for codec in [Codec::Lz4, zstd(1), zstd(3), zstd(9)] {
        pack(&format!("shuffle + {codec}"), rows, Some(PackOptions { codec, shuffle: true, ..PackOptions::default() }));
        if codec == Codec::Lz4 || codec == zstd(3) {
            pack(&codec.to_string(), rows, Some(PackOptions { codec, shuffle: false, ..PackOptions::default() }));
        }
    }
}

/// The mean error of rows in another form, as a share of their length.
fn error(rows: Vectors<'_, f32>, back: impl Fn(f32) -> f32) -> f64 {
    let share = |row: &[f32]| {
        let (off, len) = row
            .iter()
            .fold((0.0, 0.0), |(off, len), &x| (off + f64::from(back(x) - x).powi(2), len + f64::from(x).powi(2)));
        if len == 0.0 { 0.0 } else { (off / len).sqrt() }
    };
    rows.iter().map(share).sum::<f64>() / rows.len() as f64
}

/// Rows in shorter elements: how fast they are made, and what they lose.
fn narrow(rows: Vectors<'_, f32>) {
    let bytes = size_of_val(rows.as_slice()) as f64;
    let line = |name: &str, ratio: f64, time: f64, error: f64| {
        println!("| {name} | {ratio:.1} | {:.0} | {error:.1e} |", bytes / 1e6 / time);
    };
    let halves = || rows.as_slice().iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
    line("f16 rows", 2.0, median(|| seconds(halves).0), error(rows, |x| f16::from_f32(x).to_f32()));
    if error(rows, |x| f32::from(x as u8)) == 0.0 {
        let whole = || rows.as_slice().iter().map(|&x| x as u8).collect::<Vec<_>>();
        line("u8 rows", 4.0, median(|| seconds(whole).0), 0.0);
    }
}

/// The codes of an index: bytes a vector, the time to score one, and the error of the squared distance.
fn codes(rows: Vectors<'_, f32>, queries: Vectors<'_, f32>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let (coded, dim) = (Vectors::new(&rows.as_slice()[..CODED * rows.dim()], rows.dim()), rows.dim());
    let mut among = IdSet::default();
    for i in 0..SCORED {
        among.insert((i * (CODED / SCORED)) as u32);
    }
    let queries = Vectors::new(&queries.as_slice()[..queries.len().min(QUERIES) * dim], dim);
    let mut exact = BTreeMap::new();
    for codes in TraversalCodes::ALL {
        let params = HnswParams { codes, construction: Construction::Bulk, ..HnswParams::default() };
        let index = Hnsw::build(coded, Metric::L2, &params, &pool, &()).unwrap();
        let memory = index.memory().0;
        let bytes = memory.get("codes").or(memory.get("vectors")).copied().unwrap() as f64 / CODED as f64;
        let mut searcher = index.searcher(&HnswSearchParams::new(SCORED)).unwrap();
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        let mut search = |measure: bool| {
            for (i, query) in queries.iter().enumerate() {
                searcher.search_among(query, SCORED, &among, &mut found);
                assert_eq!(found.len(), SCORED);
                for neighbor in found.iter().filter(|_| measure) {
                    let distance = f64::from(neighbor.distance);
                    let known = *exact.entry((i, neighbor.id)).or_insert(distance);
                    errors.push((distance - known).abs() / known.max(f64::MIN_POSITIVE));
                }
            }
        };
        // f32 comes first: its distances are the exact ones.
        search(true);
        let time = median(|| seconds(|| search(false)).0) / (queries.len() * SCORED) as f64;
        println!(
            "| {} | {:.1} | {:.0} | {:.1e} |",
            codes.name(),
            (4 * dim) as f64 / bytes,
            time * 1e9,
            errors.iter().sum::<f64>() / errors.len() as f64
        );
    }
}

fn main() {
    for real in Real::named() {
        let (train, dim) = (real.train(), real.dim);
        let rows = train.rows(0..train.len().min(PACKED / (4 * dim)));
        println!("\n{}: {} vectors of {dim}, {}\n", real.name, rows.len(), real.metric);
        println!(
            "| rows | element | ratio | pack MB/s | unpack MB/s | first read µs | later read ns |\n|---|---|---|---|---|---|---|"
        );
        pack_all(rows);
        let halves: Vec<f16> = rows.as_slice().iter().map(|&x| f16::from_f32(x)).collect();
        pack_all(Vectors::new(&halves, dim));
        println!("\n| rows | ratio | encode MB/s | relative error |\n|---|---|---|---|");
        narrow(rows);
        println!("\n| codes | ratio | score ns | relative error of the squared distance |\n|---|---|---|---|");
        codes(rows, real.test());
    }
}

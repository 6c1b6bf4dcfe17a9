//! What every index promises, checked over all of them by one suite.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Hnsw, HnswParams, HnswSearchParams};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, BuildError, Counters, Neighbor, Persist, Progress, Searcher, Stage};
use nearlab_simd::{Metric, kernels, normalize};
use nearlab_storage::{OpenError, Vectors};
use rayon::ThreadPool;

const DIM: usize = 12;

/// An index under test, with parameters small enough for small data.
trait Contract: Build + Persist {
    fn small() -> Self::Params;
    /// Parameters that search everything.
    fn exhaustive() -> Self::SearchParams;
    /// Parameters that are refused.
    fn wrong() -> Vec<Self::Params>;
    fn wrong_search() -> Vec<Self::SearchParams>;
}

impl Contract for Flat {
    fn small() -> FlatParams {
        FlatParams {}
    }
    fn exhaustive() -> FlatSearchParams {
        FlatSearchParams {}
    }
    fn wrong() -> Vec<FlatParams> {
        vec![]
    }
    fn wrong_search() -> Vec<FlatSearchParams> {
        vec![]
    }
}

impl Contract for Hnsw {
    fn small() -> HnswParams {
        HnswParams { m: 6, ef_construction: 40, seed: 3, ..HnswParams::default() }
    }
    fn exhaustive() -> HnswSearchParams {
        HnswSearchParams::new(1_000_000)
    }
    fn wrong() -> Vec<HnswParams> {
        vec![HnswParams { m: 0, ..Self::small() }]
    }
    fn wrong_search() -> Vec<HnswSearchParams> {
        vec![HnswSearchParams::new(0)]
    }
}

impl Contract for Ivf {
    fn small() -> IvfParams {
        IvfParams { nlist: 16, sample_per_list: 30, iterations: 5, seed: 3 }
    }
    fn exhaustive() -> IvfSearchParams {
        IvfSearchParams { nprobe: 1_000_000 }
    }
    fn wrong() -> Vec<IvfParams> {
        vec![IvfParams { nlist: 0, ..Self::small() }]
    }
    fn wrong_search() -> Vec<IvfSearchParams> {
        vec![IvfSearchParams { nprobe: 0 }]
    }
}

/// Runs each test of the suite over every index.
macro_rules! over_every_index {
    ($($test:ident),* $(,)?) => {
        mod flat { $(#[test] fn $test() { super::$test::<super::Flat>(); })* }
        mod hnsw { $(#[test] fn $test() { super::$test::<super::Hnsw>(); })* }
        mod ivf { $(#[test] fn $test() { super::$test::<super::Ivf>(); })* }
    };
}

over_every_index!(
    an_exhaustive_search_equals_comparing_with_every_vector,
    a_batch_equals_single_searches,
    more_neighbors_than_vectors_give_all_and_none_give_none,
    an_empty_index_finds_nothing,
    a_handful_of_vectors_is_enough,
    every_copy_of_a_vector_is_found,
    nan_and_infinities_are_refused_with_row_and_column,
    zero_vectors_have_cosine_distance_one,
    a_saved_index_opens_with_the_same_results,
    a_damaged_file_is_refused,
    a_foreign_file_is_refused,
    any_number_of_threads_builds_the_same,
    a_cancelled_build_ends_with_an_error,
    progress_ends_every_stage_it_begins,
    parameters_out_of_range_are_refused,
    a_query_of_nan_neither_panics_nor_hangs,
    a_query_of_another_dimension_panics,
    memory_and_stats_describe_the_index,
);

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Numbers in [0, 1) that depend on the seed alone.
fn uniform(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

/// `n x dim` vectors, Gaussian around `clusters` centres.
fn clustered(n: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut uniform = uniform(seed);
    let mut normal = || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos();
    let centres: Vec<f32> = (0..clusters * dim).map(|_| 2.0 * normal()).collect();
    (0..n * dim).map(|i| centres[(i / dim * 31 % clusters) * dim + i % dim] + normal()).collect()
}

fn build<I: Contract>(data: &[f32], metric: Metric) -> I {
    I::build(Vectors::new(data, DIM), metric, &I::small(), &pool(2), &()).unwrap()
}

fn search<I: Contract>(index: &I, query: &[f32], k: usize) -> Vec<Neighbor> {
    let mut found = vec![Neighbor::NONE; 3];
    index.searcher(&I::exhaustive()).unwrap().search(query, k, &mut found);
    found
}

/// Distances to every vector, sorted.
fn truth(data: &[f32], metric: Metric, query: &[f32], k: usize) -> Vec<Neighbor> {
    let prepare = |vector: &[f32]| {
        let mut vector = vector.to_vec();
        if metric == Metric::Cosine {
            normalize(&mut vector);
        }
        vector
    };
    let (query, distance) = (prepare(query), kernels().distance(metric));
    let mut all: Vec<_> = (0..)
        .zip(data.chunks_exact(DIM))
        .map(|(id, row)| Neighbor { id, distance: distance(&query, &prepare(row)) })
        .collect();
    all.sort_unstable();
    all.truncate(k);
    all
}

fn an_exhaustive_search_equals_comparing_with_every_vector<I: Contract>() {
    let data = clustered(1500, DIM, 20, 1);
    let queries = clustered(20, DIM, 20, 2);
    for metric in Metric::ALL {
        let index = build::<I>(&data, metric);
        assert_eq!((index.len(), index.dim(), index.metric(), index.is_empty()), (1500, DIM, metric, false));
        for query in queries.chunks_exact(DIM) {
            // Equality here is that of ids and of the distances' bits, and the truth is sorted without repetitions.
            assert_eq!(search(&index, query, 30), truth(&data, metric, query, 30), "{metric}");
        }
    }
}

fn a_batch_equals_single_searches<I: Contract>() {
    let data = clustered(700, DIM, 9, 3);
    let queries = clustered(75, DIM, 9, 4);
    for metric in Metric::ALL {
        let index = build::<I>(&data, metric);
        let mut searcher = index.searcher(&I::exhaustive()).unwrap();
        for k in [1, 7, 800] {
            let mut batch = vec![Neighbor { id: 5, distance: 5.0 }; 75 * k];
            let counters = searcher.search_batch(Vectors::new(&queries, DIM), k, &mut batch);
            let mut singles = Counters::default();
            let mut found = Vec::new();
            for (query, row) in queries.chunks_exact(DIM).zip(batch.chunks_exact(k)) {
                singles += searcher.search(query, k, &mut found);
                assert_eq!(found, row[..k.min(700)]);
                assert!(row[k.min(700)..].iter().all(|neighbor| neighbor.is_none()));
            }
            assert_eq!(counters, singles);
        }
        assert_eq!(searcher.search_batch(Vectors::new(&queries, DIM), 0, &mut []), Counters::default());
        assert_eq!(searcher.search_batch(Vectors::new(&[], DIM), 3, &mut []), Counters::default());
    }
}

fn more_neighbors_than_vectors_give_all_and_none_give_none<I: Contract>() {
    let data = clustered(40, DIM, 3, 5);
    let index = build::<I>(&data, Metric::L2);
    assert_eq!(search(&index, &data[..DIM], 100), truth(&data, Metric::L2, &data[..DIM], 100));
    assert_eq!(search(&index, &data[..DIM], 0), []);
}

fn an_empty_index_finds_nothing<I: Contract>() {
    let folder = tempfile::tempdir().unwrap();
    let index = build::<I>(&[], Metric::L2);
    assert!(index.is_empty());
    let _ = (index.memory(), index.stats(), index.digest());
    index.save(&folder.path().join("index")).unwrap();
    for index in [index, I::open(&folder.path().join("index")).unwrap()] {
        assert_eq!(search(&index, &[1.0; DIM], 5), []);
        let mut out = vec![Neighbor { id: 1, distance: 1.0 }; 5];
        let query = [1.0; DIM];
        index.searcher(&I::exhaustive()).unwrap().search_batch(Vectors::new(&query, DIM), 5, &mut out);
        assert!(out.iter().all(|neighbor| neighbor.is_none()));
    }
}

fn a_handful_of_vectors_is_enough<I: Contract>() {
    for n in 1..=8 {
        let data = clustered(n, DIM, 2, 6);
        for metric in Metric::ALL {
            let index = build::<I>(&data, metric);
            assert_eq!(search(&index, &data[..DIM], n), truth(&data, metric, &data[..DIM], n), "n = {n}");
        }
    }
}

fn every_copy_of_a_vector_is_found<I: Contract>() {
    let mut data = clustered(600, DIM, 5, 7);
    for i in 1..150 {
        data.copy_within(0..DIM, i * 4 * DIM);
    }
    for metric in Metric::ALL {
        let index = build::<I>(&data, metric);
        assert_eq!(search(&index, &data[..DIM], 150), truth(&data, metric, &data[..DIM], 150), "{metric}");
    }
    // Nothing but copies.
    let data = data[..DIM].repeat(300);
    let index = build::<I>(&data, Metric::L2);
    let ids: Vec<u32> = search(&index, &data[..DIM], 300).iter().map(|neighbor| neighbor.id).collect();
    assert_eq!(ids, (0..300).collect::<Vec<_>>());
}

fn nan_and_infinities_are_refused_with_row_and_column<I: Contract>() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut data = clustered(30, DIM, 2, 8);
        data[17 * DIM + 5] = value;
        let error = I::build(Vectors::new(&data, DIM), Metric::L2, &I::small(), &pool(1), &()).err().unwrap();
        assert!(matches!(error, BuildError::NotFinite { row: 17, column: 5, .. }), "{error}");
    }
}

fn zero_vectors_have_cosine_distance_one<I: Contract>() {
    let mut data = clustered(50, DIM, 2, 9);
    data[..3 * DIM].fill(0.0);
    let index = build::<I>(&data, Metric::Cosine);
    let found = search(&index, &data[10 * DIM..11 * DIM], 50);
    let of_zero: Vec<_> = found.iter().filter(|neighbor| neighbor.id < 3).collect();
    assert!(of_zero.len() == 3 && of_zero.iter().all(|neighbor| neighbor.distance == 1.0));
    let found = search(&index, &[0.0; DIM], 50);
    assert!(found.len() == 50 && found.iter().all(|neighbor| neighbor.distance == 1.0));
}

fn a_saved_index_opens_with_the_same_results<I: Contract>() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let data = clustered(500, DIM, 7, 10);
    for metric in Metric::ALL {
        let index = build::<I>(&data, metric);
        index.save(&path).unwrap();
        let opened = I::open(&path).unwrap();
        assert_eq!((opened.len(), opened.dim(), opened.metric()), (500, DIM, metric));
        assert_eq!((opened.digest(), opened.memory()), (index.digest(), index.memory()));
        assert_eq!((opened.stats(), opened.build_counters()), (index.stats(), index.build_counters()));
        for query in data.chunks_exact(DIM).take(10) {
            assert_eq!(search(&opened, query, 9), search(&index, query, 9));
        }
    }
    let error = build::<I>(&data, Metric::L2).save(Path::new("/missing/folder/index")).unwrap_err();
    assert!(error.to_string().contains("/missing/folder/index"), "{error}");
}

fn a_damaged_file_is_refused<I: Contract>() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    build::<I>(&clustered(100, DIM, 3, 11), Metric::L2).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // Each damaged file is a new one: mapped files never change.
    let damaged = |bytes: &[u8]| {
        let path = folder.path().join("damaged");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        I::open(&path).err().map(|error| error.to_string())
    };
    assert_eq!(damaged(&whole), None);
    for at in (0..whole.len()).step_by(509) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let message = damaged(&bytes).unwrap_or_else(|| panic!("byte {at} of {} was not missed", whole.len()));
        assert!(message.contains("damaged"), "{message}");
    }
    for len in [0, 7, 4096, whole.len() - 1] {
        assert!(damaged(&whole[..len]).is_some(), "{len} bytes were enough");
    }
}

fn a_foreign_file_is_refused<I: Contract>() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let data = clustered(20, DIM, 2, 12);
    build::<Flat>(&data, Metric::L2).save(&path).unwrap();
    if let Err(error) = I::open(&path) {
        assert!(matches!(error, OpenError::ForeignKind { .. }), "{error}");
    }
    build::<Ivf>(&data, Metric::L2).save(&path).unwrap();
    if let Err(error) = I::open(&path) {
        assert!(matches!(error, OpenError::ForeignKind { .. }), "{error}");
    }
    std::fs::write(&path, b"\x89HDF\r\n\x1a\n something else, long enough to be looked at").unwrap();
    assert!(I::open(&path).is_err());
    assert!(matches!(I::open(&folder.path().join("missing")).err().unwrap(), OpenError::Io { .. }));
}

fn any_number_of_threads_builds_the_same<I: Contract>() {
    let data = clustered(2600, DIM, 15, 13);
    for metric in [Metric::L2, Metric::InnerProduct] {
        let built = |threads| {
            let index = I::build(Vectors::new(&data, DIM), metric, &I::small(), &pool(threads), &()).unwrap();
            (index.digest(), index.build_counters())
        };
        let one = built(1);
        assert_eq!(one, built(2));
        assert_eq!(one, built(3));
    }
}

fn a_cancelled_build_ends_with_an_error<I: Contract>() {
    /// Cancelled at the first report.
    struct Impatient(AtomicBool);
    impl Progress for Impatient {
        fn report(&self, _: Stage, _: u64, _: u64) {
            self.0.store(true, Ordering::Relaxed);
        }
        fn cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
    let data = clustered(300, DIM, 3, 14);
    let progress = Impatient(AtomicBool::new(false));
    let outcome = I::build(Vectors::new(&data, DIM), Metric::L2, &I::small(), &pool(2), &progress);
    assert_eq!(outcome.err(), Some(BuildError::Cancelled));
}

fn progress_ends_every_stage_it_begins<I: Contract>() {
    struct Log(Mutex<Vec<(Stage, u64, u64)>>);
    impl Progress for Log {
        fn report(&self, stage: Stage, done: u64, total: u64) {
            self.0.lock().unwrap().push((stage, done, total));
        }
    }
    let data = clustered(1200, DIM, 3, 15);
    let progress = Log(Mutex::default());
    I::build(Vectors::new(&data, DIM), Metric::L2, &I::small(), &pool(2), &progress).unwrap();
    let log = progress.0.into_inner().unwrap();
    assert!(log.iter().any(|&(stage, ..)| stage == Stage::Construct));
    for pair in log.windows(2) {
        let ((stage, done, total), (next, next_done, _)) = (pair[0], pair[1]);
        assert!(if stage == next { done <= next_done } else { done == total }, "{pair:?}");
    }
    assert!(log.last().is_some_and(|&(_, done, total)| done == total));
}

fn parameters_out_of_range_are_refused<I: Contract>() {
    let data = clustered(10, DIM, 1, 16);
    for params in I::wrong() {
        let error = I::build(Vectors::new(&data, DIM), Metric::L2, &params, &pool(1), &()).err().unwrap();
        assert!(matches!(error, BuildError::Param(_)), "{error}");
    }
    let index = build::<I>(&data, Metric::L2);
    for params in I::wrong_search() {
        assert!(index.searcher(&params).err().unwrap().to_string().contains("must be from 1 to"));
    }
}

fn a_query_of_nan_neither_panics_nor_hangs<I: Contract>() {
    let data = clustered(200, DIM, 2, 17);
    for metric in Metric::ALL {
        let found = search(&build::<I>(&data, metric), &[f32::NAN; DIM], 10);
        assert!(found.len() <= 10);
    }
}

fn a_query_of_another_dimension_panics<I: Contract>() {
    let index = build::<I>(&clustered(10, DIM, 1, 18), Metric::L2);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| search(&index, &[0.0; DIM + 1], 1)));
    let message = outcome.err().and_then(|payload| payload.downcast::<String>().ok()).unwrap();
    assert_eq!(*message, "the query has 13 components, the index 12");
}

fn memory_and_stats_describe_the_index<I: Contract>() {
    let data = clustered(300, DIM, 4, 19);
    let index = build::<I>(&data, Metric::L2);
    let memory = index.memory();
    assert_eq!(memory.0["vectors"], size_of_val(&data[..]) as u64);
    assert!(memory.total() >= memory.0["vectors"]);
    assert!(index.stats().values().all(|value| value.is_finite()));
    let counters = index.searcher(&I::exhaustive()).unwrap().search(&data[..DIM], 5, &mut Vec::new());
    assert!(counters.distance_computations >= 300);
    assert!(counters.bytes_read >= size_of_val(&data[..]) as u64);
}

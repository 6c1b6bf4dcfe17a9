//! What indexes, stores and collections say about their memory, against what the kernel says about the process: within 5 %.
//!
//! Each case is a process of its own, which this test starts, and what takes a build is opened in another process than it was built in: an
//! allocator keeps some of what was freed, and what a build needed and dropped is not the index's. For the same reason glibc is told
//! to give large pieces back when they are freed, which it leaves open otherwise.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![expect(clippy::print_stdout, reason = "the figures are worth seeing when all is well, too")]

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use nearlab_index::collection::{Collection, CollectionConfig, IndexConfig, Records, SearchOptions};
use nearlab_index::flat::{Flat, FlatParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, LiveHnsw, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{Ivf, IvfParams};
use nearlab_index::{Build, Index, Memory, Mutable, Neighbor, Persist, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Document, Field, FieldKind, Filter, Schema, Value};
use nearlab_storage::mmap::Map;
use nearlab_storage::store::{Durability, ElementKind, IdKind, Shape, StoreOptions, VectorStore};
use rayon::ThreadPool;

/// Which case a process is to measure.
const CASE: &str = "NEARLAB_TEST_MEMORY";
/// Where it finds what an earlier process saved.
const FOLDER: &str = "NEARLAB_TEST_MEMORY_IN";
const N: usize = 100_000;
/// Vectors that are put in after everything was opened.
const INSERTED: usize = 2000;
/// Records that are loaded at once.
const LOADED: usize = 5000;
const DIM: usize = 32;
/// How far the sum of the components may be from the kernel's figure.
const TOLERANCE: f64 = 0.05;

/// The vectors, in a file that is mapped: not anonymous memory.
struct Rows(Map);

impl Rows {
    fn new(n: usize) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = BufWriter::new(file);
        let mut seed = 7_u64;
        for _ in 0..n * DIM {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            writer.write_all(&((seed >> 40) as f32 / (1 << 24) as f32).to_le_bytes()).unwrap();
        }
        let file = writer.into_inner().unwrap();
        Self(Map::open(file.path()).unwrap())
    }

    fn all(&self) -> Vectors<'_, f32> {
        Vectors::new(bytemuck::cast_slice(&self.0), DIM)
    }
}

/// The kernel's figure for the memory of this process that no file has, in bytes.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// Two threads that have run.
fn pool() -> ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.broadcast(|_| ());
    pool
}

fn agree(case: &str, components: &BTreeMap<&'static str, u64>, grown: u64) {
    let counted: u64 = components.values().sum();
    let off = counted as f64 / grown as f64 - 1.0;
    println!("{case}: counted {counted}, the kernel {grown}, {:+.2} %: {components:?}", 100.0 * off);
    assert!(off.abs() <= TOLERANCE, "{case}: counted {counted} bytes, the kernel {grown}: {components:?}");
}

fn of_index<I: Index>(index: &I) -> BTreeMap<&'static str, u64> {
    let Memory(mut components) = index.memory();
    components.insert("scratch", index.scratch_bytes());
    components
}

/// Builds something, and compares what it says with what the kernel says.
fn built<I: Index>(case: &str, build: impl FnOnce(Vectors<'_, f32>, &ThreadPool) -> I) {
    let (rows, pool) = (Rows::new(N), pool());
    let before = anonymous();
    let index = build(rows.all(), &pool);
    agree(case, &of_index(&index), anonymous() - before);
}

fn params(codes: TraversalCodes, rerank_codes: RerankCodes) -> HnswParams {
    HnswParams { m: 8, codes, rerank_codes, construction: Construction::Bulk, ..HnswParams::default() }
}

/// Saves a graph over all vectors but the last.
fn save_hnsw(folder: &Path, params: HnswParams) {
    let rows = Rows::new(N);
    Hnsw::build(rows.all().rows(0..N - INSERTED), Metric::L2, &params, &pool(), &())
        .unwrap()
        .save(&folder.join("index"))
        .unwrap();
}

/// An index that was made resident, and searched: with the scratch of its searchers. Levels and upper layers stay in the file.
fn resident(case: &str, folder: &Path) {
    let rows = Rows::new(16);
    let before = anonymous();
    let index = Hnsw::open(&folder.join("index")).unwrap().into_resident().unwrap();
    let mut searchers = [(); 8].map(|()| index.searcher(&HnswSearchParams::new(2000)).unwrap());
    let mut out = vec![Neighbor::NONE; 160];
    for searcher in &mut searchers {
        searcher.search_batch(rows.all(), 10, &mut out);
    }
    drop(searchers);
    let mut components = of_index(&index);
    components.retain(|&name, _| name != "levels" && name != "upper_graph");
    agree(case, &components, anonymous() - before);
}

fn live(folder: &Path, rows: Vectors<'_, f32>, pool: &ThreadPool) -> LiveHnsw {
    let live = Hnsw::open(&folder.join("index")).unwrap().into_live(pool).unwrap();
    live.insert(rows.rows(N - INSERTED..N), pool).unwrap();
    live
}

fn store() {
    let (rows, folder) = (Rows::new(2 * N), tempfile::tempdir().unwrap());
    let ids: Vec<u64> = (0..2 * N as u64).map(|id| id * 7).collect();
    let shape = Shape { dim: DIM, element: ElementKind::F32, ids: IdKind::Numbers };
    let before = anonymous();
    let store = VectorStore::create(folder.path().join("store"), &StoreOptions::new(shape)).unwrap();
    for first in (0..ids.len()).step_by(5000) {
        let rows = rows.all().rows(first..first + 5000);
        store.write(&ids[first..first + 5000], rows, Durability::None).unwrap();
    }
    agree("store", &BTreeMap::from([("ids", store.stats().memory_bytes)]), anonymous() - before);
}

fn schema() -> Schema {
    Schema::new([Field::new("number", FieldKind::Integer)]).unwrap()
}

/// Puts records, so many at a time, with documents where the collection has fields.
fn put(collection: &Collection, rows: Vectors<'_, f32>, (range, at_once): (Range<usize>, usize)) {
    let fields = collection.config().schema.is_some();
    for first in range.step_by(at_once) {
        let ids: Vec<u64> = (first..first + at_once).map(|id| id as u64).collect();
        let document = |id: &u64| Document::new().with("number", Value::Integer(*id as i64));
        let documents: Vec<_> = ids.iter().filter(|_| fields).map(document).collect();
        let records =
            Records { ids: (&ids[..]).into(), vectors: rows.rows(first..first + at_once), documents: &documents };
        if at_once == LOADED {
            collection.load(&records, Durability::None)
        } else {
            collection.upsert(&records, Durability::None)
        }
        .unwrap();
    }
}

fn save_collection(folder: &Path, schema: Option<Schema>) {
    let index = IndexConfig::Hnsw(params(TraversalCodes::Sq8, RerankCodes::None));
    let (metric, element, ids) = (Metric::L2, ElementKind::F32, IdKind::Numbers);
    let config = CollectionConfig { dim: DIM, metric, element, ids, index, schema };
    let collection = Collection::create(folder.join("collection"), config, 2).unwrap();
    put(&collection, Rows::new(N).all(), (0..N, LOADED));
    collection.optimize(&()).unwrap();
}

/// A collection that is opened, searched, and changed a little.
fn collection(case: &str, folder: &Path) {
    let rows = Rows::new(N);
    let before = anonymous();
    let collection = Collection::open(folder.join("collection"), 2).unwrap();
    let filter = collection.config().schema.as_ref().map(|schema| Filter::parse(schema, "number < 50000").unwrap());
    let options = SearchOptions { filter: filter.as_ref(), ..SearchOptions::default() };
    let mut searcher = collection.searcher();
    rows.all().rows(0..16).iter().for_each(|query| drop(searcher.search(query, 10, &options).unwrap()));
    drop(searcher);
    put(&collection, rows.all(), (0..INSERTED, 50));
    agree(case, &collection.stats().memory, anonymous() - before);
}

#[test]
#[ignore = "it is the process that is measured, not a test"]
fn one_case() {
    // An array that grew in huge pages may lie in up to 2 MiB more than it fills.
    rustix::thread::disable_transparent_huge_pages(true).unwrap();
    let (case, folder) = (std::env::var(CASE).unwrap(), PathBuf::from(std::env::var(FOLDER).unwrap()));
    match case.as_str() {
        "flat" => built(&case, |rows, pool| Flat::build(rows, Metric::L2, &FlatParams {}, pool, &()).unwrap()),
        "ivf" => built(&case, |rows, pool| {
            let params = IvfParams { nlist: 64, ..IvfParams::default() };
            Ivf::build(rows, Metric::L2, &params, pool, &()).unwrap()
        }),
        "save hnsw" => save_hnsw(&folder, params(TraversalCodes::Sq4, RerankCodes::Sq8)),
        "hnsw" => resident(&case, &folder),
        "live hnsw" => built(&case, |rows, pool| live(&folder, rows, pool)),
        "save hnsw of f32" => save_hnsw(&folder, params(TraversalCodes::F32, RerankCodes::None)),
        "live hnsw of f32" => built(&case, |rows, pool| live(&folder, rows, pool)),
        "store" => store(),
        "save collection" => save_collection(&folder, None),
        "save collection with fields" => save_collection(&folder, Some(schema())),
        "collection" | "collection with fields" => collection(&case, &folder),
        unknown => panic!("there is no case {unknown}"),
    }
}

/// Runs cases one after another, each in a process of its own, in one folder.
fn in_turn(cases: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for case in cases {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_case", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(CASE, case)
            .env(FOLDER, folder.path())
            .env("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=65536:glibc.malloc.trim_threshold=65536")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&process.stdout);
        said.lines().filter(|line| line.contains("counted")).for_each(|line| println!("{line}"));
        assert!(process.status.success(), "{case}: {said}{}", String::from_utf8_lossy(&process.stderr));
    }
}

#[test]
fn components_of_indexes_add_up_to_what_the_kernel_counts() {
    in_turn(&["flat", "ivf", "save hnsw", "hnsw", "live hnsw", "save hnsw of f32", "live hnsw of f32"]);
}

#[test]
fn components_of_a_store_add_up_to_what_the_kernel_counts() {
    in_turn(&["store"]);
}

#[test]
fn components_of_a_collection_add_up_to_what_the_kernel_counts() {
    in_turn(&["save collection", "collection"]);
}

#[test]
fn components_of_a_collection_with_fields_add_up_to_what_the_kernel_counts() {
    in_turn(&["save collection with fields", "collection with fields"]);
}

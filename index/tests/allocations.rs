//! What searches, inserts and changes allocate once they are warm: nothing, but for what ADR 17 names. Counted by dhat, which is the
//! allocator of this process; so there is one test in it, and nothing runs beside what is counted: not libtest either, which allocates when it
//! says that a test has been running for a minute. So this is a program, and fails by panicking.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![expect(clippy::print_stdout, reason = "it reports as tests do")]

use std::ops::Range;
use std::path::Path;
use std::sync::Barrier;

use nearlab_index::collection::{Collection, CollectionConfig, Hit, IndexConfig, Records, SearchOptions};
use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, LiveHnsw, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, IdSet, Index, Mutable, Neighbor, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Document, Field, FieldKind, Filter, Schema, Value};
use nearlab_storage::store::{
    Change, Committed, Durability, ElementKind, IdKind, Ids, Shape, StoreOptions, VectorStore,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const DIM: usize = 24;
const K: usize = 10;
const QUERIES: usize = 64;
/// Blocks that 300 changes add: a checksum of each, in an array that doubles.
const ADDED: u64 = 1;
/// The same where ids were loaded in ascending order and are given other slots: these are entered by hash, in groups that double, and are
/// copied once more under a snapshot.
const ADDED_OUT_OF_RUNS: u64 = ADDED + 3;
/// Jobs of a rayon pool for each of which one block of its queue is allocated.
const JOBS_PER_BLOCK: usize = 63;

/// `SplitMix64` (Steele, Lea, Flood 2014): vectors of numbers between 0 and 1.
fn vectors(n: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    };
    (0..n * DIM).map(|_| next()).collect()
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Blocks that some work allocates.
fn blocks(work: impl FnOnce()) -> u64 {
    let before = dhat::HeapStats::get().total_blocks;
    work();
    dhat::HeapStats::get().total_blocks - before
}

/// Blocks that two threads allocate together, each of which does the work once before.
fn blocks_of_two(work: impl Fn(&mut dyn FnMut()) + Sync) -> u64 {
    let (warm, counted, done) = (Barrier::new(3), Barrier::new(3), Barrier::new(3));
    let mut allocated = 0;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut turn = 0;
                work(&mut || {
                    // Between the two turns.
                    turn += 1;
                    if turn == 1 {
                        warm.wait();
                        counted.wait();
                    }
                });
                done.wait();
            });
        }
        warm.wait();
        allocated = blocks(|| {
            counted.wait();
            done.wait();
        });
    });
    allocated
}

/// Every kind of search, for queries that differ from turn to turn.
fn search_all<S: Searcher>(searcher: &mut S, queries: Vectors<'_, f32>, among: &IdSet, out: &mut Out) {
    for query in queries {
        searcher.search(query, K, &mut out.found);
        searcher.search_among(query, K, among, &mut out.found);
    }
    searcher.search_batch(queries, K, &mut out.batch);
    searcher.search_batch_among(queries, K, among, &mut out.batch);
}

struct Out {
    found: Vec<Neighbor>,
    batch: Vec<Neighbor>,
}

impl Out {
    fn new() -> Self {
        Self { found: Vec::with_capacity(K), batch: vec![Neighbor::NONE; QUERIES * K] }
    }
}

fn searches_allocate_nothing<I: Index>(name: &str, index: &I, params: &I::SearchParams) {
    let (queries, others) = (vectors(QUERIES, 2), vectors(QUERIES, 3));
    let (queries, others) = (Vectors::new(&queries, DIM), Vectors::new(&others, DIM));
    for every in [2, 30] {
        let among: IdSet = (0..index.len() as u32).filter(|id| id % every == 0).collect();
        let mut out = Out::new();
        let mut searcher = index.searcher(params).unwrap();
        search_all(&mut searcher, queries, &among, &mut out);
        assert_eq!(blocks(|| search_all(&mut searcher, others, &among, &mut out)), 0, "{name}: one thread");
        drop(searcher);
        let anew = blocks(|| search_all(&mut index.searcher(params).unwrap(), others, &among, &mut out));
        assert_eq!(anew, 0, "{name}: a searcher made where one was dropped");
        let two = blocks_of_two(|between| {
            let (mut searcher, mut out) = (index.searcher(params).unwrap(), Out::new());
            search_all(&mut searcher, queries, &among, &mut out);
            between();
            search_all(&mut searcher, others, &among, &mut out);
            between();
        });
        // What the threads drop at their end is not allocated.
        assert_eq!(two, 0, "{name}: two threads");
    }
    assert!(index.scratch_bytes() > 0);
}

fn every_kind_of_codes() -> [HnswParams; 9] {
    let with = |codes, rerank_codes, components| {
        let params =
            HnswParams { m: 8, ef_construction: 60, construction: Construction::Bulk, ..HnswParams::default() };
        HnswParams { codes, rerank_codes, components, ..params }
    };
    [
        with(TraversalCodes::F32, RerankCodes::None, 0),
        with(TraversalCodes::F16, RerankCodes::None, 0),
        with(TraversalCodes::Sq8, RerankCodes::F32, 0),
        with(TraversalCodes::Sq4, RerankCodes::Sq8, 0),
        with(TraversalCodes::Sq4, RerankCodes::F16, 12),
        with(TraversalCodes::Rabitq4, RerankCodes::F32, 0),
        with(TraversalCodes::Pq4, RerankCodes::Sq8, 0),
        with(TraversalCodes::Pq8, RerankCodes::F16, 0),
        with(TraversalCodes::Pq4Blocks, RerankCodes::F32, 0),
    ]
}

/// Inserts some rows, so many at a time; blocks that this allocates.
fn insert(live: &LiveHnsw, (rows, at_once): (Vectors<'_, f32>, usize), pool: &ThreadPool, ids: &mut Vec<u32>) -> u64 {
    blocks(|| {
        for first in (0..rows.len()).step_by(at_once) {
            live.insert_into(rows.rows(first..first + at_once), pool, ids).unwrap();
        }
    })
}

/// From 600 nodes on, whose bits are 10 words. So when there are more than 640, 1,280 or 2,560 nodes, three arrays on the heap double: the
/// bits and the list of the walk that seeks, and the bits of the deleted nodes. All others lie in maps, which the kernel lengthens.
fn inserts_allocate_what_doubles(name: &str, index: Hnsw, pool: &ThreadPool) {
    let live = index.into_live(pool).unwrap();
    let rows = vectors(3200, 7);
    let rows = Vectors::new(&rows, DIM);
    let mut ids = Vec::with_capacity(200);
    let mut insert = |range: Range<usize>, at_once| insert(&live, (rows.rows(range), at_once), pool, &mut ids);
    insert(0..400, 1);
    assert_eq!(insert(400..424, 1), 0, "{name}: one at a time, to 1,024 nodes");
    assert_eq!(insert(424..1424, 1), 3, "{name}: one at a time, to 2,024 nodes");
    insert(1424..1488, 4);
    assert_eq!(insert(1488..1508, 4), 0, "{name}: four at a time");
    insert(1508..2108, 200);
    let jobs = 120;
    let queue = insert(2108..2108 + 5 * jobs, 5);
    assert!(queue <= (jobs / JOBS_PER_BLOCK) as u64 + 1, "{name}: {queue} blocks for {jobs} jobs of the pool");
    let many = insert(2708..3108, 200);
    // What batches are worked out in grows to the largest of them.
    assert!(many <= 16, "{name}: {many} blocks for 400 vectors, 200 at a time");
    let deletes = blocks(|| (0..600).for_each(|id| assert_eq!(live.delete(&[id]), 1)));
    assert_eq!(deletes, 0, "{name}: deletes");
}

fn config(index: IndexConfig) -> CollectionConfig {
    let (metric, element, ids) = (Metric::L2, ElementKind::F32, IdKind::Numbers);
    CollectionConfig { dim: DIM, metric, element, ids, index, schema: None }
}

fn searches_of_a_collection_allocate_nothing(name: &str, collection: &Collection) {
    let (queries, others) = (vectors(QUERIES, 2), vectors(QUERIES, 3));
    let (queries, others) = (Vectors::new(&queries, DIM), Vectors::new(&others, DIM));
    let search = |queries: Vectors<'_, f32>, hits: &mut Vec<Hit>| {
        let (mut searcher, options) = (collection.searcher(), SearchOptions::default());
        for query in queries {
            searcher.search_into(query, K, &options, hits).unwrap();
            assert_eq!(hits.len(), K);
        }
    };
    let mut hits = Vec::with_capacity(K);
    search(queries, &mut hits);
    assert_eq!(blocks(|| search(others, &mut hits)), 0, "{name}: one thread");
    let two = blocks_of_two(|between| {
        let (mut searcher, options) = (collection.searcher(), SearchOptions::default());
        let mut hits = Vec::with_capacity(K);
        for queries in [queries, others] {
            queries.iter().for_each(|query| searcher.search_into(query, K, &options, &mut hits).unwrap());
            between();
        }
    });
    assert_eq!(two, 0, "{name}: two threads");
    let one = blocks(|| drop(collection.searcher().search(queries.row(0), K, &SearchOptions::default()).unwrap()));
    assert_eq!(one, 1, "{name}: the answer itself");
}

/// Under one filter, whose matches are found out by the first.
fn filtered_searches_allocate_nothing(index: IndexConfig, folder: &Path) {
    let schema = Schema::new([Field::new("price", FieldKind::Integer)]).unwrap();
    let filter = Filter::parse(&schema, "price < 3").unwrap();
    let name = index.name();
    let config = CollectionConfig { schema: Some(schema), ..config(index) };
    let collection = Collection::create(folder.join(format!("{name} with fields")), config, 1).unwrap();
    let (ids, rows): (Vec<u64>, Vec<f32>) = ((0..2000).collect(), vectors(2000, 5));
    let documents: Vec<Document> =
        ids.iter().map(|&id| Document::new().with("price", Value::Integer(id as i64 % 10))).collect();
    let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &documents };
    collection.upsert(&records, Durability::None).unwrap();
    collection.optimize(&()).unwrap();
    let queries = vectors(50, 6);
    let options = SearchOptions { filter: Some(&filter), ..SearchOptions::default() };
    let (mut searcher, mut hits) = (collection.searcher(), Vec::with_capacity(K));
    let mut search = || {
        for query in Vectors::new(&queries, DIM) {
            searcher.search_into(query, K, &options, &mut hits).unwrap();
        }
    };
    search();
    assert_eq!(blocks(search), 0, "{name}");
}

/// As those of a collection, under a snapshot that is taken between two changes. `ids` are those below 12,000.
fn changes_of_a_store_allocate_nothing(folder: &Path, ids: impl Iterator<Item = u64>, added: u64) {
    let shape = Shape { dim: DIM, element: ElementKind::F32, ids: IdKind::Numbers };
    let store = VectorStore::create(folder, &StoreOptions::new(shape)).unwrap();
    let (ids, rows): (Vec<u64>, Vec<f32>) = (ids.collect(), vectors(12_000, 5));
    let rows = Vectors::new(&rows, DIM);
    store.write(&ids[..], rows, Durability::None).unwrap();
    let (mut snapshot, mut committed) = (store.snapshot(), Committed::default());
    let mut change = |turns: Range<usize>| {
        for turn in turns {
            let ids = [(turn * 7919 % 12_000) as u64];
            let mut commit = |put: Ids<'_>, delete| {
                let change =
                    Change { put, rows: rows.rows(turn..turn + put.len()).into(), delete, attachment: b"said" };
                store.commit_into(&change, Durability::Flush, &mut committed).unwrap();
                snapshot = store.snapshot();
            };
            if turn % 2 == 0 {
                commit(Ids::NONE, (&ids).into());
            }
            commit((&ids).into(), Ids::NONE);
        }
    };
    change(0..200);
    let changed = blocks(|| change(200..400));
    assert!(changed <= added, "{changed} blocks for 300 changes of a store");
}

/// A record is put in place of another, or deleted and put again. What it adds is allocated.
fn changes_of_a_collection_allocate_nothing(name: &str, collection: &Collection) {
    let rows = vectors(400, 9);
    let rows = Vectors::new(&rows, DIM);
    let change = |turns: Range<usize>| {
        for turn in turns {
            // All over the ids, and so over the pages that hold them.
            let ids = [(turn * 7919 % 12_000) as u64];
            let records = Records { ids: (&ids).into(), vectors: rows.rows(turn..turn + 1), documents: &[] };
            if turn % 2 == 0 {
                collection.upsert(&records, Durability::Flush).unwrap();
            } else {
                collection.delete(&ids, Durability::Flush).unwrap();
                collection.insert(&records, Durability::Flush).unwrap();
            }
        }
    };
    change(0..200);
    let changed = blocks(|| change(200..400));
    assert!(changed <= ADDED_OUT_OF_RUNS, "{name}: {changed} blocks for 300 changes");
}

fn main() {
    const NAME: &str = "searches_and_changes_allocate_nothing_once_they_are_warm";
    if std::env::args().any(|arg| arg == "--list") {
        println!("{NAME}: test");
        return;
    }
    searches_and_changes_allocate_nothing_once_they_are_warm();
    println!("test {NAME} ... ok");
}

fn searches_and_changes_allocate_nothing_once_they_are_warm() {
    let pool = pool(1);
    let data = vectors(4000, 1);
    let data = Vectors::new(&data, DIM);
    let flat = Flat::build(data, Metric::Cosine, &FlatParams {}, &pool, &()).unwrap();
    let ivf = Ivf::build(data, Metric::L2, &IvfParams { nlist: 40, ..IvfParams::default() }, &pool, &()).unwrap();
    let built = |params, rows: Range<usize>| Hnsw::build(data.rows(rows), Metric::L2, &params, &pool, &()).unwrap();
    let graphs = every_kind_of_codes().map(|params| {
        let name = format!("{} {}", params.codes.name(), params.rerank_codes.name());
        let live = built(params, 0..4000).into_live(&pool).unwrap();
        (name, built(params, 0..4000), live, built(params, 0..600))
    });
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<u64> = (0..12_000).collect();
    let rows = vectors(12_000, 5);
    let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &[] };
    let with_ivf = IndexConfig::Ivf(IvfParams { nlist: 40, ..IvfParams::default() });
    let collections = [IndexConfig::Flat, IndexConfig::Hnsw(every_kind_of_codes()[3]), with_ivf].map(|index| {
        let name = index.name();
        let collection = Collection::create(folder.path().join(name), config(index), 1).unwrap();
        collection.upsert(&records, Durability::None).unwrap();
        collection.optimize(&()).unwrap();
        (name, collection)
    });

    let _profiler = dhat::Profiler::builder().testing().build();
    changes_of_a_store_allocate_nothing(&folder.path().join("descending"), (0..12_000).rev(), ADDED);
    changes_of_a_store_allocate_nothing(&folder.path().join("ascending"), 0..12_000, ADDED_OUT_OF_RUNS);
    searches_allocate_nothing("flat", &flat, &FlatSearchParams {});
    searches_allocate_nothing("ivf", &ivf, &IvfSearchParams { nprobe: 4 });
    for (name, frozen, live, small) in graphs {
        searches_allocate_nothing(&format!("hnsw {name}"), &frozen, &HnswSearchParams::new(40));
        searches_allocate_nothing(&format!("live {name}"), &live, &HnswSearchParams::new(40));
        inserts_allocate_what_doubles(&name, small, &pool);
    }
    for (name, collection) in &collections {
        searches_of_a_collection_allocate_nothing(name, collection);
        changes_of_a_collection_allocate_nothing(name, collection);
    }
    drop(collections);
    for index in [IndexConfig::Flat, IndexConfig::Hnsw(every_kind_of_codes()[3])] {
        filtered_searches_allocate_nothing(index, folder.path());
    }
    let read_only = Collection::open_read_only(folder.path().join("hnsw")).unwrap();
    searches_of_a_collection_allocate_nothing("read-only", &read_only);
}

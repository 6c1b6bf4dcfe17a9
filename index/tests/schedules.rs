//! A collection under schedules that shuttle chooses: every lock and atomic of the collection and of its store is a place where
//! another thread may go on. The index and the database of documents are one step each.
//!
//! `just schedules` runs them. A schedule that fails is printed; `shuttle::replay` runs it again.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::sync::Arc;

use nearlab_index::collection::{
    Collection, CollectionConfig, CollectionError, CollectionSearcher, GRAPH_FROM, IndexConfig, Records, SearchOptions,
};
use nearlab_index::hnsw::{HnswParams, HnswSearchParams};
use nearlab_index::ivf::IvfParams;
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Document, Field, FieldKind, Filter, Schema, Value};
use nearlab_storage::store::{Durability, ElementKind, Id, IdKind};
use shuttle::thread;

const DIM: usize = 2;
/// Enough for a graph.
const RECORDS: u64 = GRAPH_FROM as u64 + 2;

/// On every schedule of some hundred, half of them by chance, half of them with few changes of threads (PCT, Burckhardt and
/// others 2010).
fn on_schedules(run: impl Fn() + Clone + Send + Sync + 'static) {
    let schedules = std::env::var("NEARLAB_SCHEDULES").map_or(200, |count| count.parse().unwrap());
    shuttle::check_random(run.clone(), schedules / 2);
    shuttle::check_pct(run, schedules / 2, 3);
}

fn schema() -> Schema {
    Schema::new([Field::new("change", FieldKind::Integer)]).unwrap()
}

fn collection(folder: &tempfile::TempDir, index: IndexConfig) -> Collection {
    let config = CollectionConfig {
        dim: DIM,
        metric: Metric::L2,
        element: ElementKind::F32,
        ids: IdKind::Numbers,
        index,
        schema: Some(schema()),
    };
    Collection::create(folder.path().join("c"), config, 1).unwrap()
}

fn hnsw() -> IndexConfig {
    IndexConfig::Hnsw(HnswParams { m: 4, ef_construction: 16, ..HnswParams::default() })
}

/// Puts records whose vectors and documents both say `change`; `how` is a way of the collection.
fn put(
    collection: &Collection,
    how: impl Fn(&Collection, &Records<'_>, Durability) -> Result<u64, CollectionError>,
    (ids, change): (&[u64], i64),
) {
    let vectors: Vec<f32> = ids.iter().flat_map(|&id| [change as f32, id as f32]).collect();
    let documents = vec![Document::new().with("change", Value::Integer(change)); ids.len()];
    let records = Records { ids: ids.into(), vectors: Vectors::new(&vectors, DIM), documents: &documents };
    how(collection, &records, Durability::None).unwrap();
}

fn options(filter: Option<&Filter>) -> SearchOptions<'_> {
    SearchOptions { filter, hnsw: HnswSearchParams::new(64), documents: true, ..SearchOptions::default() }
}

fn found(collection: &Collection, filter: Option<&Filter>) -> Vec<(u64, i64)> {
    found_by(collection.searcher(), filter)
}

/// What a search for everything finds: each record once, and its document says what its vector does.
fn found_by(mut searcher: CollectionSearcher<'_>, filter: Option<&Filter>) -> Vec<(u64, i64)> {
    let hits = searcher.search(&[0.0, 0.0], 4 * RECORDS as usize, &options(filter)).unwrap();
    let mut found: Vec<(u64, i64)> = hits
        .iter()
        .map(|hit| {
            let Id::Number(id) = hit.id else { panic!("ids are numbers") };
            let change = ((hit.distance - (id * id) as f32).max(0.0)).sqrt() as i64;
            let says = hit.document.as_ref().and_then(|document| document.get("change"));
            assert_eq!(says, Some(&Value::Integer(change)), "a document of another vector");
            (id, change)
        })
        .collect();
    found.sort_unstable();
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "a record was found twice: {found:?}");
    found
}

/// One thread replaces every record and takes one out, one searches, one keeps the collection in shape.
fn searches_see_the_records_between_two_changes(index: IndexConfig) {
    on_schedules(move || {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let collection = Arc::new(collection(&folder, index.clone()));
        let ids: Vec<u64> = (0..RECORDS).collect();
        put(&collection, Collection::upsert, (&ids, 1));
        let writer = Arc::clone(&collection);
        let changed = ids.clone();
        let writer = thread::spawn(move || {
            put(&writer, Collection::upsert, (&changed, 2));
            writer.delete(&[0], Durability::None).unwrap();
            // What the index takes in only when it is optimised.
            put(&writer, Collection::load, (&changed, 3));
        });
        let keeper = Arc::clone(&collection);
        let keeper = thread::spawn(move || keeper.optimize(&()).unwrap());
        let searcher = Arc::clone(&collection);
        let searcher = thread::spawn(move || {
            let second = Filter::parse(&schema(), "change = 2").unwrap();
            let mut last = 1;
            for _ in 0..2 {
                let all = found(&searcher, None);
                assert!(all.len() as u64 >= RECORDS - 1, "records are missing: {all:?}");
                assert!(all.iter().all(|&(_, change)| change == all[0].1), "of two moments: {all:?}");
                assert!(all[0].1 >= last, "an earlier moment than the one before");
                last = all[0].1;
                let some = found(&searcher, Some(&second));
                assert!(some.is_empty() || some.len() as u64 >= RECORDS - 1, "half a filter: {some:?}");
                assert!(
                    some.iter().all(|&(_, change)| change == 2),
                    "vectors that are not of their documents: {some:?}"
                );
                let record = searcher.get(&[1]).unwrap().pop().flatten().unwrap();
                let says = record.document.unwrap().get("change").cloned();
                assert_eq!(says, Some(Value::Integer(record.vector[0] as i64)), "a document of another vector");
            }
            let snapshot = searcher.snapshot().unwrap();
            let first = found_by(snapshot.searcher(), None);
            assert_eq!(first.len(), snapshot.len());
            let filtered = found_by(snapshot.searcher(), Some(&second));
            assert_eq!(filtered, if first[0].1 == 2 { first.clone() } else { Vec::new() });
            assert_eq!(found_by(snapshot.searcher(), None), first, "a snapshot that changes");
        });
        for thread in [writer, keeper, searcher] {
            thread.join().unwrap();
        }
        assert_eq!(found(&collection, None), ids.iter().map(|&id| (id, 3)).collect::<Vec<_>>());
        assert_eq!(collection.verify().unwrap(), []);
    });
}

#[test]
fn searches_of_a_flat_collection_see_the_records_between_two_changes() {
    searches_see_the_records_between_two_changes(IndexConfig::Flat);
}

#[test]
fn searches_of_a_graph_see_the_records_between_two_changes() {
    searches_see_the_records_between_two_changes(hnsw());
}

#[test]
fn searches_of_lists_see_the_records_between_two_changes() {
    searches_see_the_records_between_two_changes(IndexConfig::Ivf(IvfParams { nlist: 2, ..IvfParams::default() }));
}

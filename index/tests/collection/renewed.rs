//! An index that can not be built or saved, and one of which nothing is left.

use std::fs;
use std::path::Path;

use nearlab_index::BuildError;
use nearlab_index::collection::{Collection, CollectionConfig, CollectionError, GRAPH_FROM, Records};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::disk::{Crash, Fault, Rehearsal, lay_out};
use nearlab_storage::store::{Durability, Shape, StoreOptions};

use super::model::{
    DIM, Model, Seeded, agree, answers_agree, config, copy, hnsw, ids_of, ivf, plain_hnsw, thorough, upsert,
};

/// Puts records of so many ids.
fn put(collection: &Collection, (first, count): (u64, u64), seeded: &mut Seeded) -> Result<u64, CollectionError> {
    let ids: Vec<u64> = (first..first + count).collect();
    let rows: Vec<f32> = ids.iter().flat_map(|_| seeded.vector()).collect();
    let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &[] };
    collection.upsert(&records, Durability::Sync)
}

#[test]
fn a_collection_whose_first_graph_can_not_be_built_goes_on_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("c"), folder.path().join("other"));
    let exact = CollectionConfig { schema: None, ..config(plain_hnsw(), Metric::InnerProduct) };
    let coded = CollectionConfig { index: hnsw(), ..exact.clone() };
    let (mut seeded, n) = (Seeded(53), GRAPH_FROM as u64);
    // One of its vectors is too long for codes, which earlier versions did not refuse.
    let mut rows: Vec<f32> = (0..n).flat_map(|_| seeded.vector()).collect();
    rows[7 * DIM..8 * DIM].fill(1e20);
    let ids: Vec<u64> = (0..n).collect();
    let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &[] };
    Collection::create(&path, exact, 2).unwrap().load(&records, Durability::Sync).unwrap();
    let refusing = Collection::create(&other, coded, 1).unwrap();
    let refused = refusing.load(&records, Durability::None);
    assert!(matches!(refused, Err(CollectionError::Build(BuildError::TooLong { row: 7, .. }))), "{refused:?}");
    assert_eq!((refusing.len(), refusing.sequence()), (0, 0));
    drop(refusing);
    fs::copy(other.join("collection.json"), path.join("collection.json")).unwrap();

    let collection = Collection::open(&path, 2).unwrap();
    let unindexed = || collection.stats().unindexed as u64;
    put(&collection, (n, 1), &mut seeded).unwrap();
    assert_eq!((collection.len() as u64, unindexed()), (n + 1, n + 1));
    let why = collection.optimize(&()).unwrap_err();
    assert!(matches!(why, CollectionError::Build(BuildError::TooLong { .. })), "{why}");
    collection.delete(&[7], Durability::Sync).unwrap();
    // Not until there are twice as many.
    put(&collection, (n + 1, n + 1), &mut seeded).unwrap();
    assert_eq!(unindexed(), 2 * n + 1);
    put(&collection, (2 * n + 2, 1), &mut seeded).unwrap();
    assert_eq!(unindexed(), 0);
    collection.optimize(&()).unwrap();
    assert_eq!(collection.verify().unwrap(), []);
}

/// Each record, of ids from 0 on, is the nearest to its own vector, and nothing is damaged.
fn finds_all(collection: &Collection) {
    let mut searcher = collection.searcher();
    for id in 0..collection.len() as u64 {
        let record = collection.get(&[id]).unwrap().pop().flatten().unwrap();
        let hits = searcher.search(&record.vector, 1, &thorough()).unwrap();
        assert_eq!((ids_of(&hits), hits[0].distance), (vec![id], 0.0));
    }
    assert_eq!(collection.verify().unwrap(), []);
}

/// The names of the index's files.
fn saved(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut saved: Vec<String> = names.filter(|name| name.starts_with("index") || name.starts_with("nodes")).collect();
    saved.sort();
    saved
}

#[test]
fn an_index_that_was_not_saved_to_the_end_is_never_taken_for_half_of_the_next() {
    let begun = |folder: &Path| {
        let disk = Rehearsal::in_folder(folder).unwrap();
        let config = CollectionConfig { schema: None, ..config(ivf(), Metric::L2) };
        let options = StoreOptions::new(Shape { dim: DIM, element: config.element, ids: config.ids });
        let collection = Collection::create_on(disk.clone(), (config, &options), 1).unwrap();
        put(&collection, (0, 100), &mut Seeded(59)).unwrap();
        let calls = disk.calls();
        (disk, collection, calls)
    };
    // The call that makes the name of the last file durable.
    let folder = tempfile::tempdir().unwrap();
    let (disk, collection, from) = begun(folder.path());
    collection.optimize(&()).unwrap();
    assert_eq!(saved(folder.path()), ["index-00000001", "nodes-00000001"]);
    let is_named = |at: &usize| disk.after(*at, Crash::Kill { seed: 0 }).contains_key("nodes-00000001");
    let last = (from..disk.calls()).find(is_named).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (disk, collection, again) = begun(folder.path());
    assert_eq!(again, from);
    disk.fail(Fault::Sync, last, 1);
    let error = collection.optimize(&()).unwrap_err().to_string();
    assert!(error.contains("nodes-00000001"), "{error}");
    assert!(saved(folder.path()).is_empty());
    // The slots are others now, and so are those of the nodes.
    put(&collection, (0, 1), &mut Seeded(61)).unwrap();
    let from = disk.calls();
    collection.optimize(&()).unwrap();
    assert_eq!(saved(folder.path()), ["index-00000002", "nodes-00000002"]);
    for at in from..=disk.calls() {
        let left = tempfile::tempdir().unwrap();
        lay_out(&disk.after(at, Crash::Kill { seed: at as u64 }), left.path()).unwrap();
        finds_all(&Collection::open(left.path(), 1).unwrap());
    }
}

#[test]
fn an_index_of_which_nothing_is_left_leaves_nothing() {
    for index in [hnsw(), ivf()] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let collection = Collection::create(&path, config(index, Metric::L2), 1).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(67));
        upsert(&collection, &mut model, &mut seeded, 100);
        collection.optimize(&()).unwrap();
        let (before, was) = (collection.snapshot().unwrap(), model.clone());
        let all: Vec<u64> = model.0.keys().copied().collect();
        collection.delete(&all[..], Durability::Sync).unwrap();
        model.0.clear();
        collection.optimize(&()).unwrap();
        agree(&collection, &model, &mut seeded);
        assert!(saved(&path).is_empty());
        answers_agree(&before, Metric::L2, &was, &mut seeded);
        drop(before);
        // What is put in after that is there, and so it is for who finds what a killed process leaves.
        upsert(&collection, &mut model, &mut seeded, 50);
        let left = folder.path().join("left");
        copy(&path, &left);
        for collection in [&collection, &Collection::open(&left, 1).unwrap()] {
            agree(collection, &model, &mut seeded);
            collection.optimize(&()).unwrap();
            assert_eq!(collection.stats().unindexed, 0);
            agree(collection, &model, &mut seeded);
        }
        assert_eq!(saved(&path), ["index-00000002", "nodes-00000002"]);
    }
}

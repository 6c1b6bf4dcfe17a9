//! Collections as their users see them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod extremes;
mod flips;
mod golden;
mod killed;
mod made;
mod model;
mod read_only;
mod rehearsed;
mod renewed;
mod snapshots;
mod upkeep;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearlab_index::collection::{
    Collection, CollectionConfig, CollectionError, Hit, IndexConfig, Records, SearchOptions,
};
use nearlab_index::hnsw::{HnswParams, TraversalCodes};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Document, Filter, Value};
use nearlab_storage::store::{Durability, ElementKind, Id, Ids, PackOptions};

use model::{
    Admits, DIM, Model, Seeded, agree, answers_agree, config, copy, document, hnsw, ids_of, ivf, plain_hnsw, schema,
    thorough, upsert,
};

#[test]
fn every_index_finds_what_is_there_through_changes_openings_and_ends_without_warning() {
    for (index, metric) in [
        (IndexConfig::Flat, Metric::Cosine),
        (IndexConfig::Flat, Metric::InnerProduct),
        (hnsw(), Metric::L2),
        (plain_hnsw(), Metric::L2),
        (hnsw(), Metric::Cosine),
        (plain_hnsw(), Metric::Cosine),
        (ivf(), Metric::L2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().join("0");
        let mut collection = Collection::create(&path, config(index, metric), 2).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(1));
        agree(&collection, &model, &mut seeded);
        for round in 1..=14 {
            upsert(&collection, &mut model, &mut seeded, 40);
            let gone: Vec<u64> =
                (0..15).map(|_| seeded.below(400)).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            collection.delete(&gone[..], Durability::Flush).unwrap();
            model.0.retain(|id, _| !gone.contains(id));
            agree(&collection, &model, &mut seeded);
            match round % 7 {
                3 => {
                    collection.optimize(&()).unwrap();
                    let unindexed = if collection.config().index == IndexConfig::Flat { model.0.len() } else { 0 };
                    assert_eq!(collection.stats().unindexed, unindexed);
                }
                5 => {
                    drop(collection);
                    collection = Collection::open(&path, 2).unwrap();
                }
                6 => {
                    let next = folder.path().join(round.to_string());
                    copy(&path, &next);
                    collection = Collection::open(&next, 2).unwrap();
                    path = next;
                }
                _ => continue,
            }
            agree(&collection, &model, &mut seeded);
        }
        drop(collection);
        agree(&Collection::open_read_only(&path).unwrap(), &model, &mut seeded);
    }
}

#[test]
fn a_graph_is_built_once_there_are_vectors_enough_and_follows_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let plain = CollectionConfig { schema: None, ..config(hnsw(), Metric::L2) };
    let collection = Collection::create(folder.path().join("c"), plain, 2).unwrap();
    let mut seeded = Seeded(5);
    let rows: Vec<f32> = (0..10_500).flat_map(|_| seeded.vector()).collect();
    let ids: Vec<u64> = (0..10_500).collect();
    for (ids, rows) in ids.chunks(3500).zip(rows.chunks(3500 * DIM)) {
        let records = Records { ids: ids.into(), vectors: Vectors::new(rows, DIM), documents: &[] };
        collection.insert(&records, Durability::None).unwrap();
    }
    assert_eq!(collection.stats().unindexed, 0);
    let mut searcher = collection.searcher();
    let found = (0..200).filter(|&id| {
        let hits = searcher.search(&rows[id * DIM..][..DIM], 1, &SearchOptions::default()).unwrap();
        ids_of(&hits) == [id as u64] && hits[0].distance == 0.0
    });
    assert!(found.count() > 195);
    // More than there is, at once: the graph is built anew.
    let more: Vec<u64> = (10_500..22_000).collect();
    let rows: Vec<f32> = more.iter().flat_map(|_| seeded.vector()).collect();
    let records = Records { ids: (&more[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &[] };
    collection.load(&records, Durability::None).unwrap();
    assert_eq!(collection.stats().unindexed, 11_500);
    let found = |collection: &Collection| {
        let mut searcher = collection.searcher();
        let mut hits = |i: usize| searcher.search(&rows[i * DIM..][..DIM], 1, &SearchOptions::default()).unwrap();
        (0..100).filter(|&i| ids_of(&hits(i)) == [10_500 + i as u64]).count()
    };
    assert_eq!(found(&collection), 100);
    collection.optimize(&()).unwrap();
    assert_eq!((collection.stats().unindexed, found(&collection) > 97), (0, true));
    collection.delete(&more[..], Durability::None).unwrap();
    drop(searcher);
    drop(collection);
    // The graph was never saved: it is built again.
    let collection = Collection::open(folder.path().join("c"), 2).unwrap();
    assert_eq!((collection.len(), collection.verify().unwrap().len()), (10_500, 0));
    collection.optimize(&()).unwrap();
    assert_eq!(collection.stats().unindexed, 0);
}

/// Of a vector of its id and its version in turns, by its distance to zero.
fn version_of(hit: &Hit) -> i64 {
    let id = ids_of(std::slice::from_ref(hit))[0] as f32;
    (hit.distance / (DIM / 2) as f32 - id * id).sqrt().round() as i64
}

#[test]
fn readers_see_every_record_in_one_version_while_all_are_replaced() {
    for index in [IndexConfig::Flat, hnsw(), plain_hnsw()] {
        let folder = tempfile::tempdir().unwrap();
        let collection = Collection::create(folder.path().join("c"), config(index, Metric::L2), 1).unwrap();
        let ids: Vec<u64> = (0..60).collect();
        let put = |version: i64| {
            let rows: Vec<f32> =
                ids.iter().flat_map(|&id| [id as f32, version as f32].into_iter().cycle().take(DIM)).collect();
            let documents = vec![document(version); ids.len()];
            let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &documents };
            collection.upsert(&records, Durability::None).unwrap();
        };
        put(1);
        collection.optimize(&()).unwrap();
        let writing = AtomicBool::new(true);
        let all = Filter::parse(&schema(), "price >= 0").unwrap();
        std::thread::scope(|scope| {
            for filter in [None, Some(&all)] {
                let (collection, writing) = (&collection, &writing);
                scope.spawn(move || {
                    let mut searcher = collection.searcher();
                    let options = SearchOptions { filter, documents: true, ..thorough() };
                    while writing.load(Ordering::Relaxed) {
                        let hits = searcher.search(&[0.0; DIM], 60, &options).unwrap();
                        assert_eq!(hits.len(), 60, "{filter:?}");
                        let version = version_of(&hits[0]);
                        assert!(hits.iter().all(|hit| hit.document == Some(document(version))), "{hits:?}");
                    }
                });
            }
            for version in 2..60 {
                put(version);
                if version % 20 == 0 {
                    collection.optimize(&()).unwrap();
                }
            }
            writing.store(false, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_backup_is_a_collection_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(hnsw(), Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(9));
    upsert(&collection, &mut model, &mut seeded, 200);
    collection.optimize(&()).unwrap();
    upsert(&collection, &mut model, &mut seeded, 30);
    let backup = folder.path().join("backup");
    collection.backup(&backup).unwrap();
    assert!(matches!(collection.backup(&backup), Err(CollectionError::Exists(_))));
    collection.delete(&(0..400).collect::<Vec<u64>>()[..], Durability::Sync).unwrap();
    assert!(collection.is_empty());
    let mut tuned_agrees = |copy: Collection| {
        copy.tune(&Duration::default).unwrap();
        agree(&copy, &model, &mut seeded);
    };
    tuned_agrees(Collection::open_read_only(&backup).unwrap());
    tuned_agrees(Collection::open(&backup, 1).unwrap());
    assert!(collection.stats().disk_bytes > 0);
}

#[test]
fn packed_vectors_are_found_and_given_back_and_snapshots_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(hnsw(), Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(19));
    upsert(&collection, &mut model, &mut seeded, 300);
    let (before, was) = (collection.snapshot().unwrap(), model.clone());
    let all = PackOptions { growing: true, ..PackOptions::default() };
    assert_eq!(collection.pack(&all).unwrap().rows, model.0.len() as u64);
    agree(&collection, &model, &mut seeded);
    assert_eq!(collection.cool().unwrap(), (model.0.len() * DIM * size_of::<f32>()) as u64);
    upsert(&collection, &mut model, &mut seeded, 50);
    collection.optimize(&()).unwrap();
    agree(&collection, &model, &mut seeded);
    answers_agree(&before, Metric::L2, &was, &mut seeded);
    drop(before);
    let path = collection.folder().to_owned();
    drop(collection);
    let reader = Collection::open_read_only(&path).unwrap();
    assert!(matches!(reader.pack(&all), Err(CollectionError::Store(_))));
    agree(&reader, &model, &mut seeded);
}

#[test]
fn components_are_kept_as_asked_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for element in [ElementKind::U8, ElementKind::F16] {
        let config = CollectionConfig { element, ..config(hnsw(), Metric::L2) };
        let collection = Collection::create(folder.path().join(element.to_string()), config, 1).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(3));
        upsert(&collection, &mut model, &mut seeded, 100);
        collection.optimize(&()).unwrap();
        upsert(&collection, &mut model, &mut seeded, 10);
        agree(&collection, &model, &mut seeded);
        let half = [0.5; DIM];
        let records = Records { ids: (&[1]).into(), vectors: Vectors::new(&half, DIM), documents: &[] };
        let outcome = collection.upsert(&records, Durability::None).map_err(|error| error.to_string());
        if element == ElementKind::U8 {
            assert_eq!(outcome.unwrap_err(), "expected whole numbers from 0 to 255, found 0.5 in row 0, column 0");
        } else {
            outcome.unwrap();
            let mut large = [0.0; DIM];
            large[3] = 65520.0;
            let records = Records { ids: (&[1]).into(), vectors: Vectors::new(&large, DIM), documents: &[] };
            let error = collection.upsert(&records, Durability::None).unwrap_err().to_string();
            assert!(error.ends_with("found 65520 in row 0, column 3"), "{error}");
        }
    }
}

#[test]
fn the_records_that_pass_a_filter_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(5));
    upsert(&collection, &mut model, &mut seeded, 100);
    for (text, admits) in [
        ("price < 300", (|price| price < 300) as Admits),
        ("not sold", |price| price % 4 != 0),
        ("price > 5000", |_| false),
    ] {
        let filter = Filter::parse(&schema(), text).unwrap();
        let mut found: Vec<Id> = collection.matching(&filter).unwrap();
        found.sort();
        let expected: Vec<Id> =
            model.0.iter().filter(|(_, (_, price))| admits(*price)).map(|(&id, _)| Id::Number(id)).collect();
        assert_eq!(found, expected, "{text}");
    }
    let bare = CollectionConfig { schema: None, ..config(IndexConfig::Flat, Metric::L2) };
    let bare = Collection::create(folder.path().join("bare"), bare, 1).unwrap();
    let filter = Filter::parse(&schema(), "sold").unwrap();
    assert!(matches!(bare.matching(&filter), Err(CollectionError::NoSchema)));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let collection = Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let row = [1.0; DIM];
    let upsert = |ids: Ids<'_>, row: &[f32], documents: &[Document]| {
        let records = Records { ids, vectors: Vectors::new(row, DIM), documents };
        collection.insert(&records, Durability::None).map_err(|error| error.to_string())
    };
    let wrong = Document::new().with("price", Value::Bool(true));
    let error = upsert((&[1]).into(), &row, &[wrong]).unwrap_err();
    assert!(error.starts_with("record 0: ") && error.contains("price"), "{error}");
    assert_eq!(
        upsert((&[1]).into(), &row, &[Document::new(), Document::new()]).unwrap_err(),
        "expected a document for each of 1 vectors, found 2"
    );
    assert_eq!(upsert((&["a"]).into(), &row, &[]).unwrap_err(), "expected ids that are numbers, found names");
    assert!(upsert((&[1]).into(), &[f32::NAN; DIM], &[]).unwrap_err().contains("row 0, column 0 is NaN"));
    assert!(collection.is_empty() && collection.sequence() == 0);
    upsert((&[1]).into(), &row, &[]).unwrap();
    assert_eq!(upsert((&[1]).into(), &row, &[]).unwrap_err(), "expected ids that are new, found 1, which is there");
    assert!(Collection::open(&path, 1).unwrap_err().to_string().contains("open for writing elsewhere"));
    assert!(matches!(
        Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1),
        Err(CollectionError::Exists(_))
    ));
    drop(collection);
    let reader = Collection::open_read_only(&path).unwrap();
    assert!(reader.delete(&[1], Durability::None).unwrap_err().to_string().contains("was opened read-only"));
    assert!(Collection::open(folder.path().join("none"), 1).unwrap_err().to_string().contains("holds no collection"));
    let codes = HnswParams { codes: TraversalCodes::Sq4, ..HnswParams::default() };
    let refused =
        Collection::create(folder.path().join("d"), config(IndexConfig::Hnsw(codes), Metric::L2), 1).unwrap_err();
    assert!(refused.to_string().contains("rerank codes"), "{refused}");
    fs::write(path.join("collection.json"), "{\"version\": 1, \"dim\": 3}").unwrap();
    assert!(
        Collection::open(&path, 1).unwrap_err().to_string().contains("does not describe a collection: missing field")
    );
}

#[test]
fn a_damaged_index_is_named_and_done_without() {
    let folder = tempfile::tempdir().unwrap();
    for index in [hnsw(), ivf()] {
        let path = folder.path().join(index.name());
        let collection = Collection::create(&path, config(index, Metric::L2), 1).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(11));
        upsert(&collection, &mut model, &mut seeded, 200);
        collection.optimize(&()).unwrap();
        drop(collection);
        for name in ["index-00000001", "nodes-00000001"] {
            let whole = fs::read(path.join(name)).unwrap();
            let mut bytes = whole.clone();
            bytes[4096] ^= 1;
            fs::write(path.join(name), &bytes).unwrap();
            let reader = Collection::open_read_only(&path).unwrap();
            assert_eq!(reader.stats().unindexed, model.0.len());
            let damage = reader.verify().unwrap();
            assert!(damage.len() == 1 && damage[0].0.contains(name), "{damage:?}");
            fs::write(path.join(name), &whole).unwrap();
        }
        agree(&Collection::open_read_only(&path).unwrap(), &model, &mut seeded);
    }
}

#[test]
fn whoever_reads_is_told_of_another_process_and_of_one_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, left) = (folder.path().join("c"), folder.path().join("left"));
    let collection = Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(13));
    upsert(&collection, &mut model, &mut seeded, 20);
    let error = Collection::open_read_only(&path).unwrap_err().to_string();
    assert!(error.contains("metadata.redb is open elsewhere"), "{error}");
    copy(&path, &left);
    let error = Collection::open_read_only(&left).unwrap_err().to_string();
    assert!(error.contains("is at change 0, the vectors at 1: open the collection for changes once"), "{error}");
    agree(&Collection::open(&left, 1).unwrap(), &model, &mut seeded);
    agree(&Collection::open_read_only(&left).unwrap(), &model, &mut seeded);
    // Killed when metadata had nothing to catch up: who reads puts it in order in memory.
    collection.sync().unwrap();
    let synced = folder.path().join("synced");
    copy(&path, &synced);
    let unchanged = fs::read(synced.join("metadata.redb")).unwrap();
    agree(&Collection::open_read_only(&synced).unwrap(), &model, &mut seeded);
    assert!(fs::read(synced.join("metadata.redb")).unwrap() == unchanged);
}

#[test]
fn damaged_metadata_is_named_and_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let collection = Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(17));
    (0..6).for_each(|_| upsert(&collection, &mut model, &mut seeded, 200));
    drop(collection);
    let file = path.join("metadata.redb");
    let whole = fs::read(&file).unwrap();
    let filter = Filter::parse(&schema(), "price < 500").unwrap();
    let mut named = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        bytes[12288 + seeded.below(whole.len() as u64 - 12288) as usize] ^= 1 << seeded.below(8);
        fs::write(&file, &bytes).unwrap();
        let told = |error: CollectionError| {
            let message = error.to_string();
            assert!(message.contains("metadata.redb is damaged: found a page at byte "), "{message}");
        };
        match Collection::open_read_only(&path) {
            Ok(reader) => {
                match reader.matching(&filter) {
                    Ok(found) => assert_eq!(found.len(), model.0.values().filter(|(_, price)| *price < 500).count()),
                    Err(error) => told(error),
                }
                let damage = reader.verify().unwrap();
                assert!(damage.len() == 1 && damage[0].0.contains("metadata.redb is damaged"), "{damage:?}");
                named += 1;
            }
            Err(error) => told(error),
        }
    }
    assert!(named > 0);
    fs::write(&file, &whole).unwrap();
    agree(&Collection::open(&path, 1).unwrap(), &model, &mut seeded);
}

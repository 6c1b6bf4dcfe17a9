//! Collections as they were at a moment, while they change.

use nearlab_index::collection::{Collection, CollectionConfig, CollectionError, IndexConfig, SearchOptions};
use nearlab_simd::Metric;
use nearlab_storage::metadata::Filter;
use nearlab_storage::store::{Durability, Id};

use super::model::{Model, Seeded, agree, answers_agree, config, document, hnsw, ivf, plain_hnsw, schema, upsert};

/// Puts some records, in place of others, and takes some out.
fn change(collection: &Collection, model: &mut Model, seeded: &mut Seeded) {
    upsert(collection, model, seeded, 40);
    let gone: std::collections::BTreeSet<u64> = (0..15).map(|_| seeded.below(400)).collect();
    let gone: Vec<u64> = gone.into_iter().collect();
    collection.delete(&gone[..], Durability::Flush).unwrap();
    model.0.retain(|id, _| !gone.contains(id));
}

#[test]
fn a_snapshot_stays_what_it_was_whatever_is_changed_and_however_the_index_is_renewed() {
    let indexes = [IndexConfig::Flat, hnsw(), plain_hnsw(), ivf()];
    for (index, metric) in indexes.into_iter().zip([Metric::Cosine, Metric::L2, Metric::L2, Metric::L2]) {
        let folder = tempfile::tempdir().unwrap();
        let collection = Collection::create(folder.path().join("c"), config(index, metric), 2).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(3));
        let empty = collection.snapshot().unwrap();
        for _ in 0..4 {
            change(&collection, &mut model, &mut seeded);
        }
        collection.optimize(&()).unwrap();
        assert!(
            empty.is_empty()
                && empty.searcher().search(&seeded.vector(), 3, &SearchOptions::default()).unwrap().is_empty()
        );
        drop(empty);
        // One before the index is grown or built anew, one in between, one when nothing is behind.
        let mut kept = Vec::new();
        for round in 0..9 {
            kept.push((collection.snapshot().unwrap(), model.clone()));
            change(&collection, &mut model, &mut seeded);
            if round % 3 == 1 {
                collection.optimize(&()).unwrap();
            }
            for (snapshot, model) in &kept {
                answers_agree(snapshot, metric, model, &mut seeded);
            }
            agree(&collection, &model, &mut seeded);
            if kept.len() == 4 {
                // Not the oldest, nor the newest.
                kept.remove(2);
            }
        }
        assert!(kept.iter().all(|(snapshot, _)| snapshot.sequence() < collection.sequence()));
        drop(kept);
        collection.optimize(&()).unwrap();
        agree(&collection, &model, &mut seeded);
        let unindexed = if collection.config().index == IndexConfig::Flat { model.0.len() } else { 0 };
        assert_eq!(collection.stats().unindexed, unindexed);
    }
}

#[test]
fn what_matches_in_a_snapshot_is_of_its_moment_and_other_threads_may_ask_it() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(plain_hnsw(), Metric::L2), 2).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(4));
    change(&collection, &mut model, &mut seeded);
    let snapshot = collection.snapshot().unwrap();
    let cheap = Filter::parse(&schema(), "price < 500").unwrap();
    let ids = |model: &Model| -> Vec<u64> {
        model.0.iter().filter(|(_, (_, price))| *price < 500).map(|(id, _)| *id).collect()
    };
    let expected = ids(&model);
    std::thread::scope(|scope| {
        let (snapshot, cheap) = (&snapshot, &cheap);
        let asked = scope.spawn(move || {
            let mut answers = Vec::new();
            for _ in 0..50 {
                let mut found: Vec<u64> = snapshot.matching(cheap).unwrap().iter().map(number).collect();
                found.sort_unstable();
                answers.push(found);
            }
            answers
        });
        for _ in 0..5 {
            change(&collection, &mut model, &mut seeded);
        }
        assert!(asked.join().unwrap().into_iter().all(|found| found == expected));
    });
    assert_ne!(ids(&model), expected);
    let record = snapshot.get(&expected[..1]).unwrap().pop().flatten().unwrap();
    assert!(record.document.is_some_and(|says| (0..500).any(|price| says == document(price))));
}

fn number(id: &Id) -> u64 {
    match id {
        Id::Number(id) => *id,
        Id::Name(name) => panic!("{name} is a name"),
    }
}

#[test]
fn a_snapshot_of_a_collection_without_fields_refuses_filters() {
    let folder = tempfile::tempdir().unwrap();
    let plain = CollectionConfig { schema: None, ..config(IndexConfig::Flat, Metric::L2) };
    let collection = Collection::create(folder.path().join("c"), plain, 1).unwrap();
    let filter = Filter::parse(&schema(), "sold").unwrap();
    assert!(matches!(collection.snapshot().unwrap().matching(&filter), Err(CollectionError::NoSchema)));
}

//! Collections that released versions wrote open forever.

use std::fs;
use std::path::{Path, PathBuf};

use nearlab_index::collection::{Collection, CollectionConfig, Records};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::disk::Folder;
use nearlab_storage::store::{Durability, ElementKind, IdKind, PackOptions, Shape, StoreOptions};

use super::model::{DIM, Model, Seeded, agree, config, copy, document, hnsw, ivf, thorough, with_ids};

/// By the version of `collection.json`; what stands beside it is store 1 and 2, metadata 2, nodes 1, HNSW 2, IVF 1.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/collection-{name}"))
}

/// Puts records that are told by their ids and the round.
fn put(collection: Option<&Collection>, model: &mut Model, ids: std::ops::Range<u64>, round: u64) {
    let row =
        |id: u64| (0..DIM as u64).map(|at| ((id * 31 + at * at * 7 + round * 11) % 256) as f32).collect::<Vec<_>>();
    let price = |id: u64| ((id * 13 + round) % 1000) as i64;
    if let Some(collection) = collection {
        let numbers: Vec<u64> = ids.clone().collect();
        let rows: Vec<f32> = ids.clone().flat_map(row).collect();
        let fields = collection.config().schema.is_some();
        let documents: Vec<_> = ids.clone().filter(|_| fields).map(|id| document(price(id))).collect();
        let (vectors, documents) = (Vectors::new(&rows, DIM), &documents[..]);
        with_ids(collection.config().ids, &numbers, |ids| {
            collection.upsert(&Records { ids, vectors, documents }, Durability::Flush).unwrap();
        });
    }
    model.0.extend(ids.map(|id| (id, (row(id), price(id)))));
}

/// What the golden collections hold; put into one, if there is one. Changes that came after the index was saved are part of it.
fn content(collection: Option<&Collection>) -> Model {
    let mut model = Model::default();
    put(collection, &mut model, 0..300, 1);
    put(collection, &mut model, 50..120, 2);
    if let Some(collection) = collection {
        collection.optimize(&()).unwrap();
        collection.pack(&PackOptions { growing: true, ..PackOptions::default() }).unwrap();
    }
    put(collection, &mut model, 290..310, 3);
    let gone: Vec<u64> = (0..310).step_by(9).collect();
    if let Some(collection) = collection {
        with_ids(collection.config().ids, &gone, |ids| collection.delete(ids, Durability::Flush).unwrap());
    }
    model.0.retain(|id, _| !gone.contains(id));
    model
}

fn kinds() -> [(&'static str, CollectionConfig); 3] {
    // Without fields: the database of the other is large enough.
    let lists = CollectionConfig { schema: None, ..config(ivf(), Metric::Cosine) };
    let named = CollectionConfig { element: ElementKind::U8, ids: IdKind::Names, ..lists.clone() };
    [("v1-hnsw", config(hnsw(), Metric::L2)), ("v1-ivf", lists), ("v2-ivf", named)]
}

#[test]
#[ignore = "it writes the golden files of the versions of today, where there are none"]
fn the_golden_collections_are_written() {
    for (name, config) in kinds().into_iter().filter(|(name, _)| !golden(name).exists()) {
        let path = golden(name);
        fs::create_dir(&path).unwrap();
        let shape = Shape { dim: DIM, element: config.element, ids: config.ids };
        let options = StoreOptions { segment_bytes: 1 << 15, ..StoreOptions::new(shape) };
        let collection = Collection::create_on(Folder::at(&path), (config, &options), 1).unwrap();
        content(Some(&collection));
    }
}

#[test]
fn collections_that_earlier_versions_wrote_open_forever() {
    for (name, config) in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        copy(&golden(name), &path);
        let (mut model, mut seeded) = (content(None), Seeded(2));
        for read_only in [true, false] {
            let collection = if read_only { Collection::open_read_only(&path) } else { Collection::open(&path, 1) };
            let collection = collection.unwrap();
            assert_eq!(collection.config(), &config);
            let unindexed = collection.stats().unindexed;
            assert!(unindexed < 30, "the index is of use: {unindexed} vectors are not in it");
            holds(&collection, &model, &mut seeded);
        }
        let collection = Collection::open(&path, 1).unwrap();
        put(Some(&collection), &mut model, 100..130, 4);
        collection.optimize(&()).unwrap();
        holds(&collection, &model, &mut seeded);
    }
}

fn holds(collection: &Collection, model: &Model, seeded: &mut Seeded) {
    if collection.config().schema.is_some() {
        return agree(collection, model, seeded);
    }
    assert_eq!((collection.len(), collection.verify().unwrap()), (model.0.len(), vec![]));
    let mut searcher = collection.searcher();
    for (id, (vector, _)) in &model.0 {
        let record = with_ids(collection.config().ids, &[*id], |ids| collection.get(ids)).unwrap();
        let record = record.into_iter().next().flatten().unwrap();
        assert_eq!((&record.vector, record.document), (vector, None));
        let hits = searcher.search(vector, 7, &thorough()).unwrap();
        let expected = model.nearest(Metric::Cosine, vector, 7, |_| true);
        assert!(
            hits.iter().zip(expected).all(|(hit, (_, distance))| (f64::from(hit.distance) - distance).abs() < 1e-4)
        );
    }
}

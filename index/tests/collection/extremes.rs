//! What a collection makes of vectors at the ends of `f32`, and of files that do not belong together.

use std::fs;

use nearlab_index::collection::{Collection, CollectionConfig, IndexConfig, Records, SearchOptions};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::store::Durability;

use crate::model::{DIM, config};

#[test]
fn cosine_distances_do_not_depend_on_lengths_however_long_or_short() {
    let folder = tempfile::tempdir().unwrap();
    let config = CollectionConfig { dim: 2, schema: None, ..config(IndexConfig::Flat, Metric::Cosine) };
    let collection = Collection::create(folder.path().join("c"), config, 1).unwrap();
    let rows = [1e20, 0.0, 0.0, 1e20, 1e-25, 1e-25, 0.0, 0.0, -3.0, 0.0];
    let records = Records { ids: (&[0, 1, 2, 3, 4]).into(), vectors: Vectors::new(&rows, 2), documents: &[] };
    collection.upsert(&records, Durability::None).unwrap();
    for query in [[1.0, 0.0], [1e-30, 0.0], [1e30, 0.0]] {
        let mut hits = collection.searcher().search(&query, 5, &SearchOptions::default()).unwrap();
        hits.sort_by(|a, b| a.id.cmp(&b.id));
        let expected = [0.0, 1.0, 1.0 - 0.5_f32.sqrt(), 1.0, 2.0];
        for (hit, expected) in hits.iter().zip(expected) {
            assert!((hit.distance - expected).abs() < 1e-5, "{query:?}: {hit:?} is not at {expected}");
        }
    }
}

#[test]
fn what_says_other_than_the_files_beside_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    drop(Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap());
    let file = path.join("collection.json");
    let text = fs::read_to_string(&file).unwrap();
    // As version 1, which has no checksum.
    let (_, members) = text.split_once(",\n").unwrap();
    let old = format!("{{{}", members.replace("\"version\": 2", "\"version\": 1"));
    fs::write(&file, &old).unwrap();
    drop(Collection::open(&path, 1).unwrap());
    let damaged = [
        (
            old.replace(&format!("\"dim\": {DIM}"), "\"dim\": 0"),
            "it says vectors of 0 f32, ids that are numbers, its store",
        ),
        (old.replace("\"f32\"", "\"f16\""), "it says vectors of 16 f16"),
        (old.replace("\"version\": 1", "\"version\": 2"), "no checksum from byte 0 on"),
        (old.replace("\"version\": 1", "\"version\": 3"), "version 3, which is not 1 to 2"),
        (text.replace("\"price\"", "\"prize\""), "checksum "),
        (text.replace("\"checksum\": \"", "\"checksum\": \"0"), "no checksum from byte 0 on"),
    ];
    for (text, found) in damaged {
        fs::write(&file, text).unwrap();
        for error in [Collection::open(&path, 1).err(), Collection::open_read_only(&path).err()] {
            let error = error.unwrap().to_string();
            assert!(
                error.contains("collection.json does not describe a collection: ") && error.contains(found),
                "{error}"
            );
        }
    }
    fs::write(&file, old.replace("\"price\"", "\"prize\"")).unwrap();
    let error = Collection::open_read_only(&path).unwrap_err().to_string();
    assert!(error.ends_with("its fields are not those of its metadata"), "{error}");
    assert!(Collection::open(&path, 1).unwrap_err().to_string().contains("has another schema"));
    fs::write(&file, text).unwrap();
    drop(Collection::open(&path, 1).unwrap());
}

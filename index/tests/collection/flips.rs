//! A bit that changes in any file of a collection is noticed before what it says is served.

use std::fs;
use std::path::{Path, PathBuf};

use nearlab_index::collection::{Collection, CollectionError, SearchOptions};
use nearlab_simd::Metric;
use nearlab_storage::metadata::Filter;

use crate::model::{Model, Seeded, config, content, hnsw, schema, thorough, upsert};

/// Bits of each file.
const FLIPS: usize = 40;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Asks for everything, and compares it with what it should be.
fn ask(path: &Path, model: &Model, seeded: &mut Seeded) -> Result<(), CollectionError> {
    let collection = Collection::open_read_only(path)?;
    assert_eq!(content(&collection, 400)?, *model);
    let (mut searcher, query) = (collection.searcher(), seeded.vector());
    let filter = Filter::parse(&schema(), "price < 500").unwrap();
    for filter in [None, Some(&filter)] {
        let hits = searcher.search(&query, 7, &SearchOptions { filter, ..thorough() })?;
        let expected = model.nearest(Metric::L2, &query, 7, |price| filter.is_none() || price < 500);
        let distances: Vec<f64> = hits.iter().map(|hit| f64::from(hit.distance)).collect();
        assert_eq!(distances, expected.into_iter().map(|(_, distance)| distance).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn a_flipped_bit_in_any_file_of_a_collection_is_reported_or_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let (mut model, mut seeded) = (Model::default(), Seeded(5));
    let collection = Collection::create(&path, config(hnsw(), Metric::L2), 1).unwrap();
    (0..3).for_each(|_| upsert(&collection, &mut model, &mut seeded, 90));
    collection.optimize(&()).unwrap();
    upsert(&collection, &mut model, &mut seeded, 30);
    drop(collection);
    for file in files(&path) {
        let whole = fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let mut refused = 0;
        for _ in 0..if whole.is_empty() { 0 } else { FLIPS } {
            let (at, bit) = (seeded.below(whole.len() as u64) as usize, seeded.below(8));
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            fs::write(&file, &damaged).unwrap();
            if let Err(error) = ask(&path, &model, &mut seeded) {
                assert!(error.to_string().contains(name), "bit {bit} of byte {at} of {name}: {error}");
                refused += 1;
            }
        }
        fs::write(&file, &whole).unwrap();
        assert!(name != "collection.json" || refused == FLIPS, "{refused}");
    }
    ask(&path, &model, &mut seeded).unwrap();
}

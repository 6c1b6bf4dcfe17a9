//! A collection one of whose files holds anything: an error, or a collection that can be searched, changed and opened again.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nearlab_fuzz::collection::{DIM, RECORDS, Sound};
use nearlab_fuzz::metadata::{FILTERS, INDEXED, record, schema};
use nearlab_fuzz::scratch_file;
use nearlab_index::collection::{Collection, CollectionError, Records, SearchOptions};
use nearlab_storage::Vectors;
use nearlab_storage::metadata::Filter;
use nearlab_storage::store::Durability;

static SOUND: LazyLock<Sound> = LazyLock::new(|| Sound::make(&scratch_file()));

fn ask(collection: &Collection) -> Result<(), CollectionError> {
    let _ = (collection.stats(), collection.verify());
    let ids: Vec<u64> = (0..RECORDS).collect();
    let _ = collection.get(&ids[..])?;
    let filter = Filter::parse(&schema(INDEXED), FILTERS[0]).expect("a sound filter");
    for filter in [None, Some(&filter).filter(|_| collection.config().schema.is_some())] {
        let options = SearchOptions { filter, documents: true, ..SearchOptions::default() };
        let hits = collection.searcher().search(&[1.0; DIM], 5, &options)?;
        assert!(hits.len() <= 5 && hits.is_sorted_by(|a, b| a.distance <= b.distance));
    }
    Ok(())
}

fn change(collection: &Collection) -> Result<(), CollectionError> {
    let documents: Vec<_> = (0..2).map(record).filter(|_| collection.config().schema.is_some()).collect();
    let vectors = [2.0; 2 * DIM];
    let records = Records { ids: (&[3, 77]).into(), vectors: Vectors::new(&vectors, DIM), documents: &documents };
    collection.upsert(&records, Durability::Flush)?;
    collection.delete(&[4], Durability::None)?;
    collection.optimize(&())
}

fn open_and_change(folder: &Path) -> Option<usize> {
    let collection = Collection::open(folder, 1).ok()?;
    let _ = ask(&collection);
    change(&collection).ok()?;
    let _ = ask(&collection);
    Some(collection.len())
}

fuzz_target!(|input: &[u8]| {
    let folder = scratch_file();
    if SOUND.write(input, &folder).is_none() {
        return;
    }
    if let Ok(collection) = Collection::open_read_only(&folder) {
        let _ = ask(&collection);
    }
    if let Some(len) = open_and_change(&folder) {
        let collection = Collection::open(&folder, 1).expect("a collection that was changed");
        assert_eq!(collection.len(), len);
    }
});

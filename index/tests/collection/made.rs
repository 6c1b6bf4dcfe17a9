//! Collections that are being made: there as a whole, or made again.

use std::fs;

use nearlab_index::collection::{Collection, CollectionError, IndexConfig};
use nearlab_simd::Metric;
use nearlab_storage::disk::{Crash, Fault, Rehearsal, lay_out};
use nearlab_storage::store::{Durability, Shape, StoreOptions};

use crate::model::{DIM, Model, Seeded, config, go_on, hnsw};
use crate::rehearsed::scratch;

#[test]
fn a_collection_that_is_being_made_is_there_as_a_whole_or_can_be_made_again() {
    let folder = scratch();
    let config = config(hnsw(), Metric::L2);
    let shape = Shape { dim: DIM, element: config.element, ids: config.ids };
    let options = StoreOptions { segment_bytes: 4096, ..StoreOptions::new(shape) };
    let create = |disk: &Rehearsal| Collection::create_on(disk.clone(), (config.clone(), &options), 1);
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    drop(create(&disk).unwrap());
    let mut again = 0;
    for at in 0..=disk.calls() {
        for crash in [Crash::Kill { seed: at as u64 }, Crash::PowerCut { seed: at as u64 }] {
            let folder = scratch();
            lay_out(&disk.after(at, crash), folder.path()).unwrap();
            let collection = if folder.path().join("collection.json").exists() {
                Collection::open(folder.path(), 1).unwrap()
            } else {
                again += 1;
                create(&Rehearsal::in_folder(folder.path()).unwrap()).unwrap()
            };
            go_on(&collection, &mut Model::default(), Durability::Sync, &mut Seeded(1));
        }
    }
    assert!(again > 10);
    for fault in [Fault::ShortWrite, Fault::Io, Fault::Full, Fault::Sync] {
        for from in 0..disk.calls() {
            let folder = scratch();
            let disk = Rehearsal::in_folder(folder.path()).unwrap();
            disk.fail(fault, from, 1);
            let collection = create(&disk).or_else(|_| create(&disk)).or_else(|_| Collection::open_on(disk.clone(), 1));
            // What can not fail in this way while it is made is not to fail later.
            disk.fail(fault, 0, 0);
            go_on(&collection.unwrap(), &mut Model::default(), Durability::Sync, &mut Seeded(1));
        }
    }
}

#[test]
fn nothing_of_somebody_else_is_replaced_by_a_new_collection() {
    let folder = scratch();
    let create = || Collection::create(folder.path(), config(IndexConfig::Flat, Metric::L2), 1);
    fs::write(folder.path().join("notes"), "mine").unwrap();
    assert!(matches!(create(), Err(CollectionError::Exists(_))));
    fs::write(folder.path().join("unfinished"), "").unwrap();
    assert!(matches!(create(), Err(CollectionError::Exists(_))));
    fs::remove_file(folder.path().join("notes")).unwrap();
    fs::create_dir(folder.path().join("vectors")).unwrap();
    fs::write(folder.path().join("vectors/notes"), "mine").unwrap();
    assert!(matches!(create(), Err(CollectionError::Exists(_))));
    fs::remove_file(folder.path().join("vectors/notes")).unwrap();
    let held = fs::File::open(folder.path().join("unfinished")).unwrap();
    held.lock().unwrap();
    assert!(matches!(create(), Err(CollectionError::Exists(_))), "somebody is making it");
    drop(held);
    drop(create().unwrap());
    assert!(!folder.path().join("unfinished").exists());
}

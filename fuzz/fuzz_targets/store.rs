//! Any manifest, log and segments as a vector store: an error, or a store that can be read, changed and opened again.
#![no_main]

use std::fs;
use std::path::Path;

use half::f16;
use libfuzzer_sys::fuzz_target;
use nearlab_fuzz::scratch_file;
use nearlab_fuzz::store::write_store;
use nearlab_storage::Vectors;
use nearlab_storage::store::{
    Codec, CompactOptions, Durability, Element, ElementKind, Id, IdKind, Ids, PackOptions, Snapshot, StoreError,
    VectorStore,
};

/// Slots that are looked at.
const MOST: usize = 200;

/// Hands the id over as the ones of a call.
fn with_ids<R>(ids: &[Id], run: impl FnOnce(Ids<'_>) -> R) -> R {
    let numbers: Vec<u64> =
        ids.iter().filter_map(|id| if let Id::Number(id) = id { Some(*id) } else { None }).collect();
    let names: Vec<&str> = ids.iter().filter_map(|id| if let Id::Name(id) = id { Some(&**id) } else { None }).collect();
    if names.is_empty() { run(Ids::Numbers(&numbers)) } else { run(Ids::Names(&names)) }
}

/// What a snapshot says of each slot; rows may be damaged.
fn look<T: Element>(snapshot: &Snapshot) -> Vec<Id> {
    let mut ids = Vec::new();
    for (slot, sequence) in snapshot.slots().take(MOST) {
        assert!(snapshot.row::<T>(slot).is_err() || snapshot.row::<T>(slot).is_ok_and(|row| row.is_some()));
        let id = snapshot.id(slot).expect("the slot holds a vector");
        let found = with_ids(std::slice::from_ref(&id), |ids| snapshot.slots_of(ids)).expect("ids of the store's kind");
        assert_eq!(found, [Some(slot)], "of {id}, which came with {sequence}");
        ids.push(id);
    }
    assert_eq!(snapshot.slots().count(), snapshot.len());
    let dim = snapshot.shape().dim;
    let asked = &ids[..ids.len().min(3)];
    let (mut rows, mut found) = (vec![T::zeroed(); asked.len() * dim], vec![false; asked.len()]);
    if let Ok(read) = with_ids(asked, |ids| snapshot.read(ids, &mut rows, &mut found)) {
        assert_eq!(read, asked.len());
    }
    let _ = snapshot.segments::<T>();
    ids
}

fn ask<T: Element>(store: &VectorStore) -> Vec<Id> {
    let _ = (store.stats(), store.verify(), store.since(0), store.since(store.sequence()));
    look::<T>(&store.snapshot())
}

fn change<T: Element>(store: &VectorStore, known: &[Id]) -> Result<(), StoreError> {
    let shape = store.shape();
    let new = match shape.ids {
        IdKind::Numbers => Id::Number(7),
        IdKind::Names => Id::Name("new".into()),
    };
    let mut put: Vec<Id> = known.iter().take(1).filter(|id| **id != new).cloned().collect();
    put.push(new);
    let written = vec![T::zeroed(); put.len() * shape.dim];
    let vectors = Vectors::new(&written, shape.dim);
    with_ids(&put, |ids| store.write(ids, vectors, Durability::Sync))?;
    let (mut rows, mut found) = (vec![T::zeroed(); written.len()], vec![false; put.len()]);
    with_ids(&put, |ids| store.read(ids, &mut rows, &mut found)).expect("rows just written");
    assert!(found.iter().all(|found| *found));
    with_ids(&known[..known.len().min(2)], |ids| store.delete(ids, Durability::Flush))?;
    with_ids(&put, |ids| store.write(ids, vectors, Durability::None))?;
    store.sync()
}

fn use_it<T: Element>(store: VectorStore, folder: &Path) {
    let known = ask::<T>(&store);
    let changed = change::<T>(&store, &known);
    ask::<T>(&store);
    let (len, sequence) = (store.len(), store.sequence());
    drop(store);
    if changed.is_err() {
        return;
    }
    let store = VectorStore::open(folder).expect("a store that was sound after a change");
    assert_eq!((store.len(), store.sequence()), (len, sequence));
    let _ = (store.pack(&PackOptions { codec: Codec::Lz4, shuffle: true, growing: true }), store.cool());
    ask::<T>(&store);
    let _ = (store.compact(&CompactOptions { min_dead: 0.01 }), store.checkpoint());
    ask::<T>(&store);
    drop(store);
    let store = VectorStore::open_read_only(folder).expect("a store that was sound after a checkpoint");
    assert_eq!((store.len(), store.sequence()), (len, sequence));
    ask::<T>(&store);
}

fuzz_target!(|input: &[u8]| {
    let folder = scratch_file();
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("room for a folder");
    if write_store(input, &folder).is_none() {
        return;
    }
    let kind = |store: &VectorStore| store.shape().element;
    let seen = VectorStore::open_read_only(&folder).map(|store| {
        match kind(&store) {
            ElementKind::F32 => ask::<f32>(&store),
            ElementKind::F16 => ask::<f16>(&store),
            ElementKind::U8 => ask::<u8>(&store),
        };
        (store.len(), store.sequence())
    });
    let store = match VectorStore::open(&folder) {
        Ok(store) => store,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(seen.expect("what can be written can be read"), (store.len(), store.sequence()));
    match kind(&store) {
        ElementKind::F32 => use_it::<f32>(store, &folder),
        ElementKind::F16 => use_it::<f16>(store, &folder),
        ElementKind::U8 => use_it::<u8>(store, &folder),
    }
});

//! Exchange with LevelDB: by ourselves, and with Python's `plyvel`, which is the LevelDB of its authors. `NEARLAB_PYTHON` names an
//! interpreter that has it; without one that test says so and passes.
#![cfg(feature = "leveldb")]
#![expect(clippy::unwrap_used, reason = "what prepares a test stands outside its function")]

use std::env;
use std::path::Path;
use std::process::Command;

use nearlab_storage::metadata::{
    Change, Document, Durability, Field, FieldKind, LevelDbError, MetadataStore, Schema, encode,
};
use serde_json::{Value as Json, json};

fn schema() -> Schema {
    Schema::new([
        Field::new("name", FieldKind::String),
        Field::new("year", FieldKind::Integer),
        Field::new("price", FieldKind::Float),
        Field::new("sold", FieldKind::Bool),
        Field::new("made", FieldKind::Timestamp),
        Field::new("labels", FieldKind::Tags),
    ])
    .unwrap()
}

fn record(slot: u32) -> Json {
    match slot % 3 {
        0 => json!({"name": format!("né {slot}"), "year": -i64::from(slot), "price": f64::from(slot) / 7.0}),
        1 => json!({"sold": true, "made": "2024-01-01T00:00:00.000001Z", "labels": ["a", "b"]}),
        _ => json!({}),
    }
}

fn slots() -> impl Iterator<Item = u32> {
    (0..3000).chain([u32::MAX])
}

fn store(folder: &Path, name: &str) -> MetadataStore {
    MetadataStore::create(folder.join(name), schema()).unwrap()
}

fn filled(folder: &Path) -> MetadataStore {
    let store = store(folder, "filled.redb");
    let documents: Vec<(u32, Vec<u8>)> = slots()
        .map(|slot| (slot, encode(&schema(), &Document::from_json(&schema(), &record(slot)).unwrap()).unwrap()))
        .collect();
    let changes: Vec<_> = documents.iter().map(|(slot, document)| Change::Put { slot: *slot, document }).collect();
    store.apply(1, &changes, Durability::Deferred).unwrap();
    store
}

fn assert_full(store: &MetadataStore) {
    let all: Vec<u32> = slots().collect();
    assert_eq!(store.slots().unwrap().iter().collect::<Vec<_>>(), all);
    for (slot, document) in all.iter().zip(store.get(&all).unwrap()) {
        assert_eq!(document.unwrap().to_json(), record(*slot));
    }
}

#[test]
fn what_is_exported_is_imported_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leveldb");
    assert_eq!(filled(folder.path()).export_leveldb(&path).unwrap(), 3001);
    let copy = store(folder.path(), "copy.redb");
    assert_eq!(copy.import_leveldb(&path, 7, Durability::Immediate).unwrap(), 3001);
    assert_full(&copy);
    assert_eq!(copy.sequence().unwrap(), 7);
    assert!(matches!(copy.import_leveldb(&path, 7, Durability::Immediate), Err(LevelDbError::Apply(_))));
    assert!(matches!(copy.export_leveldb(&path), Err(LevelDbError::Exists { .. })));
}

#[test]
fn records_of_another_form_are_refused_with_their_key() {
    for (key, value, expected) in [
        ("7", "{}", "record \"7\": expected a key of ten digits"),
        ("9999999999", "{}", "expected a key of ten digits that are a slot of 32 bits"),
        ("0000000007", "{", "record \"0000000007\": expected a JSON object"),
        ("0000000007", r#"{"year": "old"}"#, "field `year`: expected an integer of 64 bits, found \"old\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leveldb");
        let store = store(folder.path(), "empty.redb");
        let message = store.import_leveldb(&path, 1, Durability::Immediate).unwrap_err().to_string();
        assert!(message.starts_with("cannot use the LevelDB database"), "{message}");
        let mut database = rusty_leveldb::DB::open(&path, rusty_leveldb::Options::default()).unwrap();
        database.put(key.as_bytes(), value.as_bytes()).unwrap();
        database.close().unwrap();
        drop(database);
        let message = store.import_leveldb(&path, 1, Durability::Immediate).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert_eq!(store.sequence().unwrap(), 0);
    }
}

const PYTHON: &str = r#"
import json, sys, plyvel
ours, theirs = sys.argv[1:]
read = {key: json.loads(value) for key, value in plyvel.DB(ours)}
assert list(read) == [b"%010d" % slot for slot in [*range(3000), 2**32 - 1]], len(read)
assert read[b"0000000003"] == {"name": "né 3", "year": -3, "price": 3 / 7}, read[b"0000000003"]
assert read[b"0000000001"] == {"sold": True, "made": "2024-01-01T00:00:00.000001Z", "labels": ["a", "b"]}
database = plyvel.DB(theirs, create_if_missing=True)
for key, value in read.items():
    database.put(key, json.dumps(value).encode())
database.compact_range()
database.close()
"#;

#[test]
fn plyvel_reads_what_we_write_and_we_what_it_writes() {
    let python = env::var_os("NEARLAB_PYTHON").unwrap_or_else(|| "python3".into());
    let has_plyvel = Command::new(&python).args(["-c", "import plyvel"]).output();
    if !has_plyvel.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {} has no module plyvel (pip install plyvel)", python.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    filled(folder.path()).export_leveldb(&ours).unwrap();
    let output = Command::new(&python).args(["-c", PYTHON]).args([&ours, &theirs]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let copy = store(folder.path(), "copy.redb");
    assert_eq!(copy.import_leveldb(&theirs, 1, Durability::Deferred).unwrap(), 3001);
    assert_full(&copy);
}

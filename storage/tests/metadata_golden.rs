//! Files of metadata that earlier versions wrote open forever.
#![expect(clippy::unwrap_used, reason = "what prepares a test stands outside its function")]

use std::fs;
use std::path::{Path, PathBuf};

use nearlab_storage::metadata::{
    Change, Document, Durability, Field, FieldKind, Filter, MetadataStore, Schema, Timestamp, Value, encode,
};

/// Enough for a block of a single key.
const RECORDS: u32 = 600;

fn schema() -> Schema {
    let kinds = [
        ("s", FieldKind::String),
        ("i", FieldKind::Integer),
        ("f", FieldKind::Float),
        ("b", FieldKind::Bool),
        ("t", FieldKind::Timestamp),
        ("g", FieldKind::Tags),
    ];
    let indexed = kinds.iter().map(|(name, kind)| Field::new(*name, *kind));
    Schema::new(indexed.chain([Field::new("note", FieldKind::String).unindexed()])).unwrap()
}

fn document(slot: u32) -> Document {
    let number = i64::from(slot % 7) - 3;
    let document = Document::new()
        .with("s", Value::String(["red", "green", "n\u{e9}"][slot as usize % 3].to_owned()))
        .with("i", Value::Integer(number))
        .with("f", Value::Float(number as f64 / 2.0))
        .with("b", Value::Bool(true))
        .with("t", Value::Timestamp(Timestamp::from_microseconds(number * 1_000_000).unwrap()))
        .with("g", Value::Tags((0..slot % 4).map(|i| format!("tag-{i}")).collect()));
    if slot.is_multiple_of(5) { document.with("note", Value::String(format!("note {slot}"))) } else { document }
}

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/metadata-v{version}.redb"))
}

#[test]
#[ignore = "it writes the golden file of the version of today, where there is none"]
fn the_golden_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.redb");
    let store = MetadataStore::create(&path, schema()).unwrap();
    let documents: Vec<Vec<u8>> = (0..RECORDS).map(|slot| encode(&schema(), &document(slot)).unwrap()).collect();
    let put = (0..).zip(&documents).map(|(slot, document)| Change::Put { slot, document });
    store.apply(5, &put.collect::<Vec<_>>(), Durability::Immediate).unwrap();
    store.apply(7, &[Change::Remove { slot: 0 }, Change::Remove { slot: 100 }], Durability::Immediate).unwrap();
    drop(store);
    let version = 2;
    assert!(!golden(version).exists(), "what is there stays as it is");
    fs::copy(path, golden(version)).unwrap();
}

fn check(store: &MetadataStore, sequence: u64, gone: &[u32]) {
    let there = |slot: &u32| *slot < RECORDS && !gone.contains(slot);
    assert_eq!((store.schema(), store.sequence().unwrap()), (&schema(), sequence));
    let slots: Vec<u32> = (0..RECORDS + 3).collect();
    let expected: Vec<Option<Document>> = slots.iter().map(|slot| there(slot).then(|| document(*slot))).collect();
    assert_eq!(store.get(&slots).unwrap(), expected);
    let found = |text: &str, admits: &dyn Fn(u32) -> bool| {
        let filter = Filter::parse(&schema(), text).unwrap();
        let expected: Vec<u32> = slots.iter().copied().filter(|slot| there(slot) && admits(*slot)).collect();
        assert_eq!(store.filter(&filter).unwrap().iter().collect::<Vec<_>>(), expected, "{text}");
        let estimate = store.estimate(&filter).unwrap();
        assert!((estimate.low..=estimate.high).contains(&(expected.len() as u64)), "{text}: {estimate:?}");
    };
    found("b", &|_| true);
    found("s == \"n\u{e9}\" and i < 0", &|slot| slot % 3 == 2 && slot % 7 < 3);
    found("f between -0.5 and 1 or g contains \"tag-2\"", &|slot| (2..=5).contains(&(slot % 7)) || slot % 4 == 3);
    found("t > \"1970-01-01T00:00:01.5Z\"", &|slot| slot % 7 > 4);
    found("missing(note) and not s == \"red\"", &|slot| slot % 5 != 0 && slot % 3 != 0);
    found("note == \"note 35\"", &|slot| slot == 35);
}

fn opens_forever(version: u32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.redb");
    fs::copy(golden(version), &path).unwrap();
    check(&MetadataStore::open_read_only(&path).unwrap(), 7, &[0, 100]);
    let store = MetadataStore::open(&path, &schema()).unwrap();
    check(&store, 7, &[0, 100]);
    let document = encode(&schema(), &document(100)).unwrap();
    let changes = [Change::Put { slot: 100, document: &document }, Change::Remove { slot: 599 }];
    store.apply(8, &changes, Durability::Deferred).unwrap();
    assert!(store.verify().unwrap().is_empty());
    drop(store);
    check(&MetadataStore::open(&path, &schema()).unwrap(), 8, &[0, 599]);
}

#[test]
fn metadata_that_version_1_wrote_opens_forever() {
    opens_forever(1);
}

#[test]
fn metadata_that_version_2_wrote_opens_forever() {
    opens_forever(2);
}

#[test]
fn metadata_of_any_version_that_are_abandoned_keep_what_was_durable_and_nothing_else() {
    for version in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.redb");
        fs::copy(golden(version), &path).unwrap();
        let store = MetadataStore::open(&path, &schema()).unwrap();
        store.apply(8, &[Change::Remove { slot: 599 }], Durability::Deferred).unwrap();
        check(&store, 8, &[0, 100, 599]);
        store.abandon();
        check(&MetadataStore::open(&path, &schema()).unwrap(), 7, &[0, 100]);
    }
}

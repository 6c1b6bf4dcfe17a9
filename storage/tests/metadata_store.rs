//! The store's promises beyond filters: sequences, durability, refusals, and what a failing disk leaves behind.
#![expect(clippy::unwrap_used, reason = "what prepares a test stands outside its function")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nearlab_storage::metadata::{
    ApplyError, Change, Document, Durability, Field, FieldKind, Filter, MetadataStore, ReadError, RoaringBitmap,
    Schema, StorageBackend, StoreOpenError, Value, encode,
};

fn schema() -> Schema {
    Schema::new([Field::new("year", FieldKind::Integer), Field::new("name", FieldKind::String)]).unwrap()
}

fn bytes(year: i64) -> Vec<u8> {
    let document = Document::new().with("year", Value::Integer(year)).with("name", Value::String(format!("n{year}")));
    encode(&schema(), &document).unwrap()
}

fn put(store: &MetadataStore, sequence: u64, slot: u32, year: i64) {
    store.apply(sequence, &[Change::Put { slot, document: &bytes(year) }], Durability::Deferred).unwrap();
}

fn found(store: &MetadataStore, filter: &str) -> Vec<u32> {
    store.filter(&Filter::parse(store.schema(), filter).unwrap()).unwrap().iter().collect()
}

fn in_folder(work: impl FnOnce(PathBuf)) {
    let folder = tempfile::tempdir().unwrap();
    work(folder.path().join("metadata.redb"));
}

#[test]
fn an_old_sequence_is_refused_and_changes_nothing() {
    in_folder(|path| {
        let store = MetadataStore::create(&path, schema()).unwrap();
        assert_eq!(store.sequence().unwrap(), 0);
        put(&store, 5, 1, 2000);
        for given in [0, 4, 5] {
            let error = store.apply(given, &[Change::Remove { slot: 1 }], Durability::Immediate).unwrap_err();
            let expected =
                format!("{} has come to sequence 5: expected a later one than that, found {given}", path.display());
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!((store.sequence().unwrap(), found(&store, "year == 2000")), (5, vec![1]));
        store.apply(u64::MAX, &[], Durability::Immediate).unwrap();
        assert_eq!(store.sequence().unwrap(), u64::MAX);
    });
}

#[test]
fn of_several_changes_to_a_slot_the_last_one_counts() {
    in_folder(|path| {
        let store = MetadataStore::create(path, schema()).unwrap();
        let (a, b) = (bytes(1), bytes(2));
        let twice = [
            Change::Put { slot: 3, document: &a },
            Change::Put { slot: 4, document: &a },
            Change::Put { slot: 3, document: &b },
            Change::Remove { slot: 4 },
            Change::Remove { slot: 5 },
            Change::Put { slot: 5, document: &b },
        ];
        store.apply(1, &twice, Durability::Deferred).unwrap();
        assert_eq!(found(&store, "year == 2"), [3, 5]);
        assert!(found(&store, "year == 1").is_empty());
        assert_eq!(store.slots().unwrap(), RoaringBitmap::from_iter([3, 5]));
        // The same once more changes nothing but the sequence.
        store.apply(2, &twice, Durability::Deferred).unwrap();
        assert_eq!(found(&store, "exists(name)"), [3, 5]);
    });
}

#[test]
fn a_document_of_another_schema_leaves_the_store_as_it_was() {
    in_folder(|path| {
        let store = MetadataStore::create(&path, schema()).unwrap();
        put(&store, 1, 0, 7);
        let good = bytes(8);
        let changes = [Change::Put { slot: 1, document: &good }, Change::Put { slot: 2, document: b"\x01\x01\x09" }];
        let error = store.apply(2, &changes, Durability::Immediate).unwrap_err();
        assert!(matches!(error, ApplyError::Document { slot: 2, .. }));
        let message = "slot 2: the document is damaged at byte 2: expected a field from 0 to below 2, found 9";
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!((store.sequence().unwrap(), found(&store, "exists(year)")), (1, vec![0]));
    });
}

#[test]
fn a_cleared_store_starts_anew() {
    in_folder(|path| {
        let store = MetadataStore::create(&path, schema()).unwrap();
        put(&store, 9, 0, 7);
        store.clear().unwrap();
        assert_eq!((store.sequence().unwrap(), store.slots().unwrap().len()), (0, 0));
        assert_eq!(store.get(&[0]).unwrap(), [None]);
        put(&store, 1, 2, 7);
        assert_eq!(found(&store, "year == 7"), [2]);
    });
}

#[test]
fn readers_see_the_schema_of_the_file_and_may_not_write() {
    in_folder(|path| {
        let store = MetadataStore::create(&path, schema()).unwrap();
        put(&store, 1, 3, 7);
        store.sync().unwrap();
        let busy = MetadataStore::open_read_only(&path).unwrap_err().to_string();
        assert!(busy.contains("open elsewhere"), "{busy}");
        drop(store);

        let first = MetadataStore::open_read_only(&path).unwrap();
        let second = MetadataStore::open_read_only(&path).unwrap();
        assert_eq!((first.schema(), found(&second, "year < 8")), (&schema(), vec![3]));
        assert!(format!("{first:?}").contains("metadata.redb"));
        for refused in [first.apply(2, &[], Durability::Immediate), first.sync(), first.clear()] {
            let message = refused.unwrap_err().to_string();
            assert_eq!(
                message,
                format!("cannot change the metadata {}: it was opened for reading only", path.display())
            );
        }
    });
}

#[test]
fn files_that_are_no_store_of_this_schema_are_refused() {
    in_folder(|path| {
        assert!(MetadataStore::open(&path, &schema()).unwrap_err().to_string().contains("cannot open the metadata"));
        drop(MetadataStore::create(&path, schema()).unwrap());
        let error = MetadataStore::create(&path, schema()).unwrap_err();
        assert!(matches!(error, StoreOpenError::Exists { .. }), "{error}");

        let other = Schema::new([Field::new("year", FieldKind::Integer)]).unwrap();
        let message = MetadataStore::open(&path, &other).unwrap_err().to_string();
        let expected =
            r#"has another schema: expected {"fields":[{"name":"year","kind":"integer","indexed":true}]}, found {"#;
        assert!(message.contains(expected), "{message}");

        fs::write(&path, b"something else").unwrap();
        assert!(MetadataStore::open_read_only(&path).is_err());
    });
    in_folder(|path| {
        drop(redb::Database::create(&path).unwrap());
        let message = MetadataStore::open(&path, &schema()).unwrap_err().to_string();
        assert!(message.ends_with("expected version 1, found none"), "{message}");
    });
    for (name, value, expected) in [
        ("version", &9_u32.to_le_bytes()[..], "expected version 1, found 9"),
        ("schema", b"{", "a schema that cannot be read"),
        ("version", b"1", "expected version 1, found none"),
    ] {
        in_folder(|path| {
            drop(bare(&path));
            tamper(&path, |transaction| {
                let state = redb::TableDefinition::<&str, &[u8]>::new("state");
                transaction.open_table(state).unwrap().insert(name, value).unwrap();
            });
            let message = MetadataStore::open(&path, &schema()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        });
    }
}

/// A store of version 1, whose tables can be changed behind its back.
fn bare(path: &Path) -> MetadataStore {
    let file = fs::File::options().read(true).write(true).create_new(true).open(path).unwrap();
    MetadataStore::with_backend(redb::backends::FileBackend::new(file).unwrap(), schema()).unwrap()
}

fn tamper(path: &Path, with: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    with(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn what_makes_no_sense_inside_is_an_error_and_no_panic() {
    type Key = (u16, &'static [u8], u32);
    let blocks = redb::TableDefinition::<Key, &[u8]>::new("blocks");
    let spoiled = |with: &dyn Fn(&redb::WriteTransaction), check: &dyn Fn(&MetadataStore)| {
        in_folder(|path| {
            let store = bare(&path);
            put(&store, 1, 3, 7);
            store.sync().unwrap();
            drop(store);
            tamper(&path, with);
            check(&MetadataStore::open(&path, &schema()).unwrap());
        });
    };
    let filter = Filter::parse(&schema(), "year == 7").unwrap();
    let seven = (1_u64 << 63 | 7).to_be_bytes();
    let block = (0, &seven[..], 3);
    spoiled(&|t| drop(t.open_table(blocks).unwrap().insert(block, &b"\x09"[..]).unwrap()), &|store| {
        let error = store.filter(&filter).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }));
        assert!(error.to_string().ends_with("is damaged: found in an index a block of no known form"), "{error}");
        assert!(store.apply(2, &[Change::Remove { slot: 3 }], Durability::Deferred).is_err());
    });
    spoiled(&|t| drop(t.open_table(blocks).unwrap().remove(block).unwrap()), &|store| {
        let error = store.apply(2, &[Change::Remove { slot: 3 }], Durability::Deferred).unwrap_err();
        assert!(error.to_string().contains("directory names a block that is not there"), "{error}");
    });
    let documents = redb::TableDefinition::<u32, &[u8]>::new("documents");
    spoiled(&|t| drop(t.open_table(documents).unwrap().insert(3, &b"\x07"[..]).unwrap()), &|store| {
        let error = store.get(&[3]).unwrap_err();
        assert!(error.to_string().contains("byte 0: expected version 1, found 7"), "{error}");
        assert!(matches!(store.clear(), Ok(())));
    });
    let state = redb::TableDefinition::<&str, &[u8]>::new("state");
    spoiled(&|t| drop(t.open_table(state).unwrap().remove("sequence").unwrap()), &|store| {
        assert!(store.sequence().unwrap_err().to_string().ends_with("found no sequence"));
    });
}

#[test]
fn an_estimate_keeps_within_its_bounds_whatever_is_counted() {
    type Key = (u16, &'static [u8], u32);
    let directory = redb::TableDefinition::<Key, (u32, u32)>::new("directory");
    let seven = (1_u64 << 63 | 7).to_be_bytes();
    for (counts, of_records) in [((u32::MAX, 1), (1, 1)), ((5, 0), (1, 1)), ((1, 1), (0, 1)), ((0, 0), (u32::MAX, 1))] {
        in_folder(|path| {
            let store = bare(&path);
            put(&store, 1, 3, 7);
            store.sync().unwrap();
            drop(store);
            tamper(&path, |transaction| {
                let mut directory = transaction.open_table(directory).unwrap();
                directory.insert((0, &seven[..], 3), counts).unwrap();
                directory.insert((u16::MAX, &[0, 0][..], 3), of_records).unwrap();
            });
            let store = MetadataStore::open(&path, &schema()).unwrap();
            for text in ["year == 7", "not year == 7", "year == 7 or year > 8", "year > 6 and year < 9", "exists(year)"]
            {
                let estimate = store.estimate(&Filter::parse(&schema(), text).unwrap()).unwrap();
                assert!(estimate.low <= estimate.high && estimate.high <= estimate.records, "{text}: {estimate:?}");
                let bounds = estimate.low as f64..=estimate.high as f64;
                assert!(bounds.contains(&estimate.expected), "{text}: {estimate:?}");
            }
        });
    }
}

#[test]
#[should_panic(expected = "another schema")]
fn a_filter_of_another_schema_is_a_mistake_of_the_programmer() {
    let store = MetadataStore::with_backend(redb::backends::InMemoryBackend::new(), schema()).unwrap();
    let other = Schema::new([Field::new("year", FieldKind::Integer)]).unwrap();
    drop(store.filter(&Filter::parse(&other, "year == 1").unwrap()));
}

/// A disk in memory that can be told to fail, and to lose what was not synced.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Operations that still succeed, if they are counted.
    left: Option<usize>,
}

impl Disk {
    fn working<T>(&self, work: impl FnOnce(&mut Platter) -> T) -> io::Result<T> {
        let mut platter = self.0.lock().unwrap();
        match &mut platter.left {
            Some(0) => return Err(io::Error::other("the disk is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(work(&mut platter))
    }

    /// The disk after a power cut.
    fn after_a_cut(&self) -> Self {
        let synced = self.0.lock().unwrap().synced.clone();
        Self(Arc::new(Mutex::new(Platter { now: synced.clone(), synced, left: None })))
    }

    fn fail_after(&self, operations: usize) {
        self.0.lock().unwrap().left = Some(operations);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.working(|platter| platter.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.working(|platter| out.copy_from_slice(&platter.now[offset as usize..offset as usize + out.len()]))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.working(|platter| platter.now.resize(len as usize, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.working(|platter| platter.synced = platter.now.clone())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.working(|platter| platter.now[offset as usize..offset as usize + data.len()].copy_from_slice(data))
    }
}

/// All documents are those of one sequence: sequence s has put the year s at slots 0 to 9.
fn assert_whole(store: &MetadataStore) -> u64 {
    let sequence = store.sequence().unwrap();
    let expected: Vec<u32> = if sequence == 0 { vec![] } else { (0..10).collect() };
    assert_eq!(found(store, &format!("year == {sequence} and name == \"n{sequence}\"")), expected);
    assert_eq!(store.slots().unwrap().iter().collect::<Vec<_>>(), expected);
    assert_eq!(found(store, "exists(year)"), expected);
    sequence
}

fn put_all(store: &MetadataStore, sequence: u64, durability: Durability) -> Result<(), ApplyError> {
    let document = bytes(sequence as i64);
    let changes: Vec<_> = (0..10).map(|slot| Change::Put { slot, document: &document }).collect();
    store.apply(sequence, &changes, durability)
}

#[test]
fn a_power_cut_goes_back_to_what_was_durable() {
    let disk = Disk::default();
    let store = MetadataStore::with_backend(disk.clone(), schema()).unwrap();
    put_all(&store, 1, Durability::Immediate).unwrap();
    put_all(&store, 2, Durability::Deferred).unwrap();
    assert_eq!(assert_whole(&store), 2);
    let reopened = MetadataStore::with_backend(disk.after_a_cut(), schema()).unwrap();
    assert_eq!(assert_whole(&reopened), 1);
    store.sync().unwrap();
    let reopened = MetadataStore::with_backend(disk.after_a_cut(), schema()).unwrap();
    assert_eq!(assert_whole(&reopened), 2);
    let other = Schema::new([]).unwrap();
    let error = MetadataStore::with_backend(disk.after_a_cut(), other).unwrap_err();
    assert!(error.to_string().starts_with("(a storage backend) has another schema"), "{error}");
}

#[test]
fn a_disk_that_fails_anywhere_leaves_a_whole_store() {
    for operations in 0.. {
        let disk = Disk::default();
        let store = MetadataStore::with_backend(disk.clone(), schema()).unwrap();
        put_all(&store, 1, Durability::Immediate).unwrap();
        disk.fail_after(operations);
        let outcome =
            put_all(&store, 2, Durability::Immediate).and_then(|()| put_all(&store, 3, Durability::Immediate));
        if outcome.is_err() {
            // It says so from then on, until it is opened again.
            assert!(put_all(&store, 4, Durability::Immediate).is_err());
        }
        drop(store);
        let reopened = MetadataStore::with_backend(disk.after_a_cut(), schema()).unwrap();
        let sequence = assert_whole(&reopened);
        assert!((1..=3).contains(&sequence) && (outcome.is_err() || sequence == 3));
        put_all(&reopened, sequence + 1, Durability::Immediate).unwrap();
        assert_whole(&reopened);
        if outcome.is_ok() {
            assert!(operations > 3, "the disk was used");
            return;
        }
    }
}

#[test]
fn a_disk_that_fails_at_the_start_is_an_error() {
    for operations in 0.. {
        let disk = Disk::default();
        disk.fail_after(operations);
        match MetadataStore::with_backend(disk, schema()) {
            Ok(_) => return,
            Err(error) => assert!(matches!(error, StoreOpenError::Database { .. }), "{error}"),
        }
    }
}

//! Metadata beside another process that wants the same file.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nearlab_storage::disk::FileLock;
use nearlab_storage::metadata::{Field, FieldKind, MetadataStore, Schema, StoreOpenError};

use crate::scratch;
use crate::watched::{Call, Watched};

const NAME: &str = "metadata.redb";
const UNFINISHED: &str = "metadata.redb.new";

fn schema(field: &str) -> Schema {
    Schema::new([Field::new(field, FieldKind::Integer)]).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_is_not_what_was_asked_for_is_locked_until_it_is_closed() {
    let folder = scratch();
    let path = folder.path().join(NAME);
    drop(MetadataStore::create(&path, schema("a")).unwrap());
    // How often something was written while nobody else could have the lock, and while somebody could.
    let tally = Arc::<[AtomicUsize; 2]>::default();
    let counted = Arc::clone(&tally);
    let disk = Watched::new(folder.path(), move |call, _| {
        if call == Call::Write {
            let is_free = FileLock::exclusive(File::open(&path).unwrap()).is_ok();
            counted[usize::from(is_free)].fetch_add(1, Ordering::Relaxed);
        }
    });
    let error = MetadataStore::open_on(&disk, NAME, &schema("b")).unwrap_err();
    assert!(matches!(error, StoreOpenError::ForeignSchema { .. }), "{error}");
    let [locked, free] = [0, 1].map(|i: usize| tally[i].load(Ordering::Relaxed));
    assert!(locked > 0 && free == 0, "of {locked} and {free} writes, the latter came after the lock was given back");
}

#[test]
fn who_comes_second_to_make_metadata_takes_nothing_from_who_has_made_them() {
    let folder = scratch();
    let path = folder.path().join(NAME);
    let first = path.clone();
    // Both have looked, and found nothing.
    let disk = Watched::new(folder.path(), move |call, name| {
        if (call, name) == (Call::Create, UNFINISHED) {
            drop(MetadataStore::create(&first, schema("a")).unwrap());
        }
    });
    let error = MetadataStore::create_on(&disk, NAME, schema("b")).unwrap_err();
    assert!(matches!(error, StoreOpenError::Exists { .. }), "{error}");
    assert_eq!(names(folder.path()), [NAME]);
    drop(MetadataStore::open(&path, &schema("a")).unwrap());
}

#[test]
fn who_comes_second_to_make_metadata_takes_nothing_from_who_is_making_them() {
    let folder = scratch();
    let begun = folder.path().join(UNFINISHED);
    let held = Mutex::new(None);
    let disk = Watched::new(folder.path(), move |call, name| {
        if (call, name) == (Call::Create, UNFINISHED) {
            let file = File::create_new(&begun).unwrap();
            *held.lock().unwrap() = Some(FileLock::exclusive(file).unwrap());
        }
    });
    // It finds the file when it makes its own, and then when it looks.
    for _ in 0..2 {
        let error = MetadataStore::create_on(&disk, NAME, schema("b")).unwrap_err();
        assert!(matches!(error, StoreOpenError::Locked { .. }), "{error}");
        assert_eq!(names(folder.path()), [UNFINISHED]);
    }
    drop(disk);
    // Of a process that was killed.
    drop(MetadataStore::create(folder.path().join(NAME), schema("b")).unwrap());
    assert_eq!(names(folder.path()), [NAME]);
}

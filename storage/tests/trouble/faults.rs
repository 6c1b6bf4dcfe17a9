//! Calls that fail.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nearlab_storage::disk::{Fault, Rehearsal};
use nearlab_storage::store::{Durability, StoreError, VectorStore};

use crate::watched::{Call, Watched};
use crate::{options, scratch, versions, write};

/// The first segment of a store, where its rows begin, and bytes of one.
const SEGMENT: &str = "segment-00000002";
const ROWS_AT: u64 = 4096;
const ROW: usize = 16;
/// Bytes of the stamp that a log begins with, and of a mark.
const STAMP: usize = 64;
const MARK: usize = 48;

/// The content of every file of a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_read_that_fails_while_a_store_is_opened_is_an_error_and_leaves_all_as_it_was() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(4)).unwrap();
    (1..=3).for_each(|version| drop(write(&store, &[1, 2, 3], version, Durability::Flush).unwrap()));
    drop(store);
    let before = files(folder.path());
    let mut call = 0;
    let store = loop {
        disk.fail_reads(disk.reads() + call, 1);
        match VectorStore::open_on(disk.clone()) {
            Ok(store) => break store,
            Err(error) => {
                assert!(matches!(error, StoreError::Io { .. }), "call {call}: {error}");
                assert!(files(folder.path()) == before, "call {call}: {error}");
            }
        }
        call += 1;
    };
    assert!(call > 8, "the log, three segments and five spans of rows were read, not {call}");
    assert_eq!(versions(&store.snapshot(), &[1, 2, 3]), [3; 3]);
}

#[test]
fn a_segment_that_can_not_be_read_does_not_end_the_log() {
    let folder = scratch();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    write(&store, &[1, 2], 1, Durability::Flush).unwrap();
    write(&store, &[3, 4, 5], 1, Durability::Flush).unwrap();
    drop(store);
    let before = files(folder.path());
    let segments = before.iter().filter(|(name, _)| name.starts_with("segment-"));
    for (name, bytes) in segments.clone() {
        let path = folder.path().join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        for outcome in [VectorStore::open(folder.path()), VectorStore::open_read_only(folder.path())] {
            let error = outcome.unwrap_err();
            assert!(matches!(&error, StoreError::Io { path: found, .. } if *found == path), "{error}");
        }
        fs::remove_dir(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        assert!(files(folder.path()) == before);
    }
    assert_eq!(segments.count(), 2);
    let store = VectorStore::open(folder.path()).unwrap();
    assert_eq!(versions(&store.snapshot(), &[1, 2, 3, 4, 5]), [1; 5]);
}

#[test]
fn a_snapshot_outlives_its_store_whatever_the_next_one_writes() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(8)).unwrap();
    write(&store, &[7], 1, Durability::Flush).unwrap();
    write(&store, &[1], 1, Durability::None).unwrap();
    let snapshot = store.snapshot();
    // What waits in memory does not come to the disk when the store is closed.
    disk.fail(Fault::Io, disk.calls(), 1);
    drop(store);
    let store = VectorStore::open_on(disk.clone()).unwrap();
    assert_eq!(store.sequence(), 1);
    write(&store, &[2], 2, Durability::Sync).unwrap();
    assert_eq!(versions(&snapshot, &[1, 2, 7]), [1, 0, 1]);
    assert_eq!(versions(&store.snapshot(), &[1, 2, 7]), [0, 2, 1]);
    drop(store);
    let store = VectorStore::open_on(disk).unwrap();
    write(&store, &[3], 3, Durability::Flush).unwrap();
    assert_eq!((versions(&store.snapshot(), &[1, 2, 3, 7]), store.stats().segments), (vec![0, 2, 3, 1], 2));
    assert_eq!(versions(&snapshot, &[1, 2, 3, 7]), [1, 0, 0, 1]);
}

/// The only log is durable up to a mark: no byte before it can change unnoticed.
fn check_mark(folder: &Path) {
    let log = folder.join("log-00000001");
    let whole = fs::read(&log).unwrap();
    assert!(whole.len() > STAMP + MARK);
    for at in (STAMP..whole.len() - MARK).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(&log, &damaged).unwrap();
        let error = VectorStore::open_read_only(folder).unwrap_err();
        assert!(error.is_corruption(), "byte {at}: {error}");
    }
    fs::write(&log, &whole).unwrap();
    assert_eq!(versions(&VectorStore::open_read_only(folder).unwrap().snapshot(), &[1, 2]), [1; 2]);
}

#[test]
fn what_a_change_of_nothing_made_durable_is_told_from_what_was_interrupted() {
    let folder = scratch();
    let store = VectorStore::create(folder.path(), &options(8)).unwrap();
    write(&store, &[1, 2], 1, Durability::Flush).unwrap();
    store.delete(&[1000], Durability::Sync).unwrap();
    check_mark(folder.path());
    let length = store.stats().log_bytes;
    store.delete(&[1000], Durability::Sync).unwrap();
    assert_eq!(store.stats().log_bytes, length, "there was nothing left to make durable");
}

#[test]
fn what_a_checkpoint_that_failed_made_durable_is_told_from_what_was_interrupted() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(8)).unwrap();
    write(&store, &[1, 2], 1, Durability::Flush).unwrap();
    disk.fail(Fault::Full, disk.calls(), 1);
    assert!(matches!(store.checkpoint(), Err(StoreError::Io { .. })));
    check_mark(folder.path());
    store.checkpoint().unwrap();
}

#[test]
fn a_change_that_fails_gives_back_the_room_of_its_rows() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(1000)).unwrap();
    write(&store, &[1], 1, Durability::Flush).unwrap();
    write(&store, &[2], 1, Durability::None).unwrap();
    let length = || fs::metadata(folder.path().join(SEGMENT)).unwrap().len();
    let before = length();
    let ids: Vec<u64> = (10..500).collect();
    // While its rows are written, or its record.
    for call in [0, 1] {
        for fault in [Fault::Full, Fault::Io] {
            disk.fail(fault, disk.calls() + call, 1);
            let outcome = write(&store, &ids, 2, Durability::Flush);
            assert!(matches!(outcome, Err(StoreError::Io { .. })), "{outcome:?}");
            assert_eq!(length(), before, "call {call}, {fault:?}");
        }
    }
    assert_eq!(versions(&store.snapshot(), &[1, 2, 10]), [1, 1, 0]);
    write(&store, &[10], 3, Durability::Sync).unwrap();
    drop(store);
    let store = VectorStore::open_on(disk).unwrap();
    assert_eq!((versions(&store.snapshot(), &[1, 2, 10, 11]), store.stats().segments), (vec![1, 1, 3, 0], 1));
}

#[test]
fn a_mark_for_which_there_was_no_room_follows_when_something_is_synced_next() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(8)).unwrap();
    // Two at a time: a record of one ends with bytes that fill it up, which no checksum holds.
    write(&store, &[3, 4], 1, Durability::Sync).unwrap();
    // After the rows and the record.
    disk.fail(Fault::Full, disk.calls() + 2, 1);
    write(&store, &[1, 2], 1, Durability::Sync).unwrap();
    let unmarked = store.stats().log_bytes;
    for _ in 0..2 {
        store.sync().unwrap();
        assert_eq!(store.stats().log_bytes, unmarked + MARK as u64);
    }
    check_mark(folder.path());
}

#[test]
fn a_mark_for_which_there_was_no_room_when_a_store_was_opened_follows_too() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(8)).unwrap();
    write(&store, &[1, 2], 1, Durability::Flush).unwrap();
    drop(store);
    // After the rows, two syncs, and the end of the log, which are written again.
    disk.fail(Fault::Full, disk.calls() + 4, 1);
    let store = VectorStore::open_on(disk).unwrap();
    let unmarked = store.stats().log_bytes;
    for _ in 0..2 {
        store.sync().unwrap();
        assert_eq!(store.stats().log_bytes, unmarked + MARK as u64);
    }
    check_mark(folder.path());
}

/// A store whose second change is in the system's memory, and nobody knows whether it is on the disk.
fn with_doubtful_rows(folder: &Path) {
    let store = VectorStore::create(folder, &options(8)).unwrap();
    write(&store, &[1], 1, Durability::Sync).unwrap();
    write(&store, &[2, 3], 1, Durability::Flush).unwrap();
}

/// Lets a segment hold other bytes from its second row on.
fn overwrite(segment: &Path, bytes: &[u8]) {
    let file = File::options().write(true).open(segment).unwrap();
    file.write_all_at(bytes, ROWS_AT + ROW as u64).unwrap();
}

#[test]
fn rows_that_the_disk_turns_out_not_to_hold_are_not_written_back_as_if_it_did() {
    let folder = scratch();
    with_doubtful_rows(folder.path());
    let segment = folder.path().join(SEGMENT);
    // A sync had failed: after the rows were looked for, the system forgot them, and shows what the disk holds.
    let disk = Watched::new(folder.path(), move |call, name| {
        if (call, name) == (Call::Open, SEGMENT) {
            overwrite(&segment, &[0; 2 * ROW]);
        }
    });
    let store = VectorStore::open_on(disk).unwrap();
    assert_eq!((store.sequence(), versions(&store.snapshot(), &[1, 2, 3])), (1, vec![1, 0, 0]));
    assert!(store.verify().is_empty());
    write(&store, &[2], 2, Durability::Sync).unwrap();
    drop(store);
    let store = VectorStore::open(folder.path()).unwrap();
    assert_eq!(versions(&store.snapshot(), &[1, 2, 3]), [1, 2, 0]);
    assert!(store.verify().is_empty());
}

#[test]
fn rows_that_are_others_whenever_they_are_read_are_an_error_that_names_their_segment() {
    let folder = scratch();
    with_doubtful_rows(folder.path());
    let segment = folder.path().join(SEGMENT);
    let rows = fs::read(&segment).unwrap()[ROWS_AT as usize + ROW..].to_vec();
    let (path, sound) = (segment.clone(), rows.clone());
    let disk = Watched::new(folder.path(), move |call, name| match call {
        Call::Open if name == SEGMENT => overwrite(&path, &[0; 2 * ROW]),
        Call::ReadRange if name == SEGMENT => overwrite(&path, &sound),
        _ => {}
    });
    let error = VectorStore::open_on(disk).unwrap_err();
    assert!(matches!(&error, StoreError::Io { path, .. } if *path == segment), "{error}");
    overwrite(&segment, &rows);
    let store = VectorStore::open(folder.path()).unwrap();
    assert_eq!(versions(&store.snapshot(), &[1, 2, 3]), [1; 3]);
}

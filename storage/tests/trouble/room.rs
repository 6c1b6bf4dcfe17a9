//! Room and files that a store gives back: what was written in vain, and what nobody writes to any more.

use std::fs;
use std::path::{Path, PathBuf};

use nearlab_storage::disk::{Fault, Rehearsal};
use nearlab_storage::store::{CompactOptions, Durability, PackOptions, StoreError, VectorStore};

use crate::{options, scratch, versions, write};

/// Bytes before the rows of a segment, and of a row.
const ROWS_AT: u64 = 4096;
const ROW: u64 = 16;

/// The files of the segments in a folder.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("segment-")).collect()
}

/// The bytes of all of them.
fn stored(folder: &Path) -> u64 {
    segments(folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn what_an_interrupted_change_wrote_is_given_back_by_a_compaction() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(1000)).unwrap();
    let (kept, lost): (Vec<u64>, Vec<u64>) = ((0..10).collect(), (10..500).collect());
    write(&store, &kept, 1, Durability::Sync).unwrap();
    // After its rows, before its record.
    let killed_at = disk.calls() + 1;
    write(&store, &lost, 1, Durability::Flush).unwrap();
    drop(store);
    let folder = scratch();
    let store = VectorStore::open_on(disk.killed(killed_at, folder.path()).unwrap()).unwrap();
    assert_eq!((store.len(), stored(folder.path())), (10, ROWS_AT + 500 * ROW));
    let compacted = store.compact(&CompactOptions::default()).unwrap();
    assert_eq!((compacted.segments, compacted.moved, compacted.freed_bytes), (1, 10, 490 * ROW));
    assert_eq!((versions(&store.snapshot(), &kept), stored(folder.path())), (vec![1; 10], ROWS_AT + 10 * ROW));
    assert_eq!(store.compact(&CompactOptions::default()).unwrap().segments, 0, "there is nothing left to do");
}

/// Moves rows; how many segments.
type Move = fn(&VectorStore) -> Result<usize, StoreError>;

#[test]
fn a_segment_from_which_nothing_was_moved_after_all_goes_on() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(1000)).unwrap();
    write(&store, &[1, 2, 3, 4], 1, Durability::Flush).unwrap();
    store.delete(&[1, 2], Durability::Flush).unwrap();
    let moves: [Move; 2] = [
        |store| store.compact(&CompactOptions::default()).map(|compacted| compacted.segments),
        |store| store.pack(&PackOptions { growing: true, ..PackOptions::default() }).map(|packed| packed.segments),
    ];
    for (version, what) in (2..).zip(moves) {
        // No room for the segment that the rows would move to.
        disk.fail(Fault::Full, disk.calls(), 1);
        let outcome = what(&store);
        assert!(matches!(outcome, Err(StoreError::Io { .. })), "{outcome:?}");
        write(&store, &[3], version, Durability::Sync).unwrap();
        assert_eq!((store.stats().segments, segments(folder.path()).len()), (1, 1), "no other was begun");
    }
    drop(store);
    let store = VectorStore::open_on(disk).unwrap();
    assert_eq!(versions(&store.snapshot(), &[1, 2, 3, 4]), [0, 0, 3, 1]);
    assert!(store.verify().is_empty());
}

/// Segments in a folder that this process has open.
#[cfg(target_os = "linux")]
fn open_segments(folder: &Path) -> usize {
    let folder = folder.canonicalize().unwrap().join("segment-");
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|path| path.to_str().is_some_and(|path| path.starts_with(folder.to_str().unwrap()))).count()
}

#[cfg(target_os = "linux")]
#[test]
fn segments_that_durable_changes_have_filled_are_not_kept_open() {
    let folder = scratch();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    // They fill what is left of a segment and begin the next, or fill one to its end, or many at once.
    for first in (0..60).step_by(3) {
        write(&store, &[first, first + 1, first + 2], 1, Durability::Sync).unwrap();
        assert!(open_segments(folder.path()) <= 1, "after {first}");
    }
    write(&store, &(100..139).collect::<Vec<u64>>(), 1, Durability::Sync).unwrap();
    assert_eq!((store.stats().segments, open_segments(folder.path())), (25, 1), "the last one has room for a row");
}

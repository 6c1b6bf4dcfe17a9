//! Metadata that can not be read for a moment while what crashes left of them is put in order: that is no reason to take them for
//! closed, with pages in them that were being written.

use nearlab_storage::disk::{Crash, Rehearsal, lay_out};
use nearlab_storage::metadata::{Change, Durability, MetadataStore, StoreOpenError};
use tempfile::TempDir;

use crate::metadata::{Content, NAME, SLOTS, content, document, schema};
use crate::model::{Seeded, scratch};

/// How often the power goes, and then a process ends that opens what was left.
const CRASHES: u64 = 200;

fn open(disk: &Rehearsal) -> Result<MetadataStore, StoreOpenError> {
    MetadataStore::open_on(disk, NAME, &schema())
}

/// What change `sequence` puts into every slot.
fn numbers(sequence: u64) -> Content {
    (0..SLOTS).map(|slot| (slot, i64::from(slot) % 7 + sequence as i64)).collect()
}

fn put(store: &MetadataStore, sequence: u64) {
    let documents: Vec<(u32, Vec<u8>)> =
        numbers(sequence).into_iter().map(|(slot, number)| (slot, document(number))).collect();
    let changes = documents.iter().map(|(slot, document)| Change::Put { slot: *slot, document });
    store.apply(sequence, &changes.collect::<Vec<_>>(), Durability::Immediate).unwrap();
}

/// The disk as a process finds it after a crash at call `at`.
fn after(disk: &Rehearsal, at: usize, crash: Crash) -> (TempDir, Rehearsal) {
    let folder = scratch();
    lay_out(&disk.after(at, crash), folder.path()).unwrap();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    (folder, disk)
}

#[test]
fn metadata_that_could_not_be_read_after_crashes_are_whole_once_they_can_be() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = MetadataStore::create_on(&disk, NAME, schema()).unwrap();
    put(&store, 1);
    let begun = disk.calls();
    put(&store, 2);
    let made = disk.calls() - begun;
    drop(store);
    let (mut seeded, mut refused) = (Seeded(11), 0);
    for _ in 0..CRASHES {
        let at = begun + seeded.below(made as u64 + 1) as usize;
        let (_first, found) = after(&disk, at, Crash::PowerCut { seed: seeded.next() });
        let store = open(&found).unwrap();
        let (calls, reads) = (found.calls(), found.reads());
        drop(store);
        let again = seeded.below(calls as u64 + 1) as usize;
        let seed = seeded.next();
        let crash = if seeded.below(2) == 0 { Crash::Kill { seed } } else { Crash::PowerCut { seed } };
        let (_second, found) = after(&found, again, crash);
        let read = seeded.below(reads as u64) as usize;
        found.fail_reads(read, 1);
        if let Err(error) = open(&found) {
            assert!(matches!(error, StoreOpenError::Database { .. }), "{error}");
            refused += 1;
        }
        found.fail_reads(0, 0);
        let told = format!("crashes at call {at}, then at call {again} of the opening, then read {read} failed");
        let store = open(&found).unwrap_or_else(|error| panic!("{told}: {error}"));
        let sequence = store.sequence().unwrap();
        assert!(matches!(sequence, 1 | 2) && content(&store).unwrap() == numbers(sequence), "{told}: {sequence}");
        assert!(store.verify().unwrap().is_empty(), "{told}");
    }
    assert!(refused > CRASHES / 4, "of {CRASHES} openings {refused} could not read");
}

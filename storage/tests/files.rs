//! Which files a store keeps open, and where it leaves none.

use std::fs;
use std::path::Path;

use nearlab_storage::Vectors;
use nearlab_storage::store::{Durability, ElementKind, IdKind, Shape, StoreError, StoreOptions, VectorStore};

const DIM: usize = 8;
const SEGMENTS: u64 = 300;

/// Files in `folder` that this process has open; none where the system does not tell.
fn open_files(folder: &Path) -> usize {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(|path| path.starts_with(folder)).count()
}

fn options(rows_of_segment: u64) -> StoreOptions {
    let shape = Shape { dim: DIM, element: ElementKind::U8, ids: IdKind::Numbers };
    StoreOptions { segment_bytes: rows_of_segment * DIM as u64, ..StoreOptions::new(shape) }
}

#[test]
fn few_files_are_open_however_many_segments_changes_fill() {
    for durability in [Durability::None, Durability::Flush, Durability::Sync] {
        // One change after another, and all in one.
        for at_once in [1, SEGMENTS] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store");
            let store = VectorStore::create(&path, &options(1)).unwrap();
            let row = |id: u64| [id as u8, (id >> 8) as u8, 1, 2, 3, 4, 5, 6];
            for first in (0..SEGMENTS).step_by(at_once as usize) {
                let ids: Vec<u64> = (first..first + at_once).collect();
                let rows: Vec<u8> = ids.iter().flat_map(|&id| row(id)).collect();
                store.write(&ids[..], Vectors::new(&rows, DIM), durability).unwrap();
            }
            let open = open_files(&path);
            assert!(open < 100, "{durability:?}, {at_once} at once: {open}");
            drop(store);
            let store = VectorStore::open(&path).unwrap();
            let ids: Vec<u64> = (0..SEGMENTS).collect();
            let (mut rows, mut found) = (vec![0_u8; ids.len() * DIM], vec![false; ids.len()]);
            assert_eq!(store.read(&ids[..], &mut rows, &mut found).unwrap(), ids.len());
            assert!(ids.iter().zip(rows.chunks_exact(DIM)).all(|(&id, found)| found == row(id)));
            assert!(store.verify().is_empty());
        }
    }
}

#[test]
fn nothing_is_left_in_a_folder_that_is_somebody_elses() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes"), "mine").unwrap();
    let refused = VectorStore::create(folder.path(), &options(10)).unwrap_err();
    assert!(matches!(refused, StoreError::Exists(_)), "{refused}");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes"]);
}

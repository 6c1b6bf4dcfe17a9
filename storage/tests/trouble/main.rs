//! A store while something goes wrong or somebody else is at work: calls fail, files are replaced under a reader, a snapshot
//! outlives its store, two want the same file, and what was in vain is given back.
#![expect(clippy::unwrap_used, reason = "a test, all of it")]

mod faults;
mod metadata;
mod readers;
mod room;
mod watched;

use nearlab_storage::Vectors;
use nearlab_storage::store::{
    Committed, Durability, ElementKind, IdKind, Shape, Snapshot, StoreError, StoreOptions, VectorStore,
};
use tempfile::TempDir;

const DIM: usize = 4;

/// A store with room for so many rows in a segment.
fn options(rows: u64) -> StoreOptions {
    let shape = Shape { dim: DIM, element: ElementKind::F32, ids: IdKind::Numbers };
    StoreOptions { segment_bytes: rows * shape.row_bytes() as u64, ..StoreOptions::new(shape) }
}

/// In memory, where there is such a folder: nothing here hangs on the disk.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Vectors that say which version of which id they are.
fn rows(ids: &[u64], version: u64) -> Vec<f32> {
    ids.iter().flat_map(|&id| [id as f32, version as f32, 0.5, -1.0]).collect()
}

fn write(store: &VectorStore, ids: &[u64], version: u64, durability: Durability) -> Result<Committed, StoreError> {
    store.write(ids, Vectors::new(&rows(ids, version), DIM), durability)
}

/// The versions that the ids have, 0 for none.
fn versions(snapshot: &Snapshot, ids: &[u64]) -> Vec<u64> {
    let (mut rows, mut found) = (vec![0.0_f32; ids.len() * DIM], vec![false; ids.len()]);
    snapshot.read(ids, &mut rows, &mut found).unwrap();
    let version = |((id, row), found): ((&u64, &[f32]), &bool)| {
        let version = row[1] as u64;
        assert!(row == if *found { self::rows(&[*id], version) } else { vec![0.0; DIM] }, "id {id}: {row:?}");
        version
    };
    ids.iter().zip(rows.chunks(DIM)).zip(&found).map(version).collect()
}

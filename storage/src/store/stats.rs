//! Figures about a store, and the check of all of it.

use std::sync::Arc;

use super::segment::Segment;
use super::{StoreError, Told, VectorStore};
use crate::sync::atomic::Ordering;

/// Figures about a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Vectors.
    pub vectors: usize,
    /// Rows in segments, those of deleted and replaced vectors too.
    pub rows: u64,
    /// Segments.
    pub segments: usize,
    /// Of these, packed.
    pub packed_segments: usize,
    /// The number of the last change.
    pub sequence: u64,
    /// Bytes of rows.
    pub row_bytes: u64,
    /// Bytes of rows on the disk: fewer where segments are packed.
    pub stored_bytes: u64,
    /// Bytes of packed rows that were read, and lie in memory.
    pub unpacked_bytes: u64,
    /// Bytes of the log; none where the store is open read-only.
    pub log_bytes: u64,
    /// Bytes of memory that ids, slots, checksums and what of the log was not written yet take up, about. Rows are mapped and are the
    /// system's to keep or to drop, but for those that were unpacked.
    pub memory_bytes: u64,
}

impl VectorStore {
    /// Figures about the store. Waits for nobody: of a change that is being made they tell nothing yet.
    pub fn stats(&self) -> StoreStats {
        let Told { log_bytes, writer_bytes } = &self.told;
        let (log_bytes, writer_bytes) = (log_bytes.load(Ordering::Relaxed), writer_bytes.load(Ordering::Relaxed));
        let view = Arc::clone(&self.read_view());
        let rows = view.segments.iter().map(|segment| u64::from(segment.rows())).sum();
        let row_bytes = self.meta.shape.row_bytes() as u64;
        let packed: Vec<(u64, u64)> = view.segments.iter().filter_map(|segment| segment.packed_bytes()).collect();
        let bytes = |segment: &Arc<Segment>| {
            segment.packed_bytes().map_or(u64::from(segment.rows()) * row_bytes, |(stored, _)| stored)
        };
        StoreStats {
            vectors: view.live,
            rows,
            segments: view.segments.len(),
            sequence: view.sequence,
            packed_segments: packed.len(),
            row_bytes: rows * row_bytes,
            stored_bytes: view.segments.iter().map(bytes).sum(),
            unpacked_bytes: packed.iter().map(|(_, unpacked)| unpacked).sum(),
            log_bytes,
            memory_bytes: view.memory() as u64 + writer_bytes,
        }
    }

    /// Compares every row with its checksum; what does not fit. The rest was compared when the store was opened. Of packed
    /// segments nothing stays unpacked.
    pub fn verify(&self) -> Vec<StoreError> {
        let snapshot = self.snapshot();
        snapshot.view.segments.iter().flat_map(|segment| segment.damage().collect::<Vec<_>>()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vectors;
    use crate::store::{Durability, ElementKind, IdKind, Shape, StoreOptions};

    #[test]
    fn figures_wait_for_no_change_and_tell_of_it_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { dim: 2, element: ElementKind::U8, ids: IdKind::Numbers };
        let store = VectorStore::create(folder.path(), &StoreOptions::new(shape)).unwrap();
        let empty = store.stats().log_bytes;
        let mut writer = store.lock_writer().unwrap();
        writer.log.mark(0);
        assert_eq!(store.stats().log_bytes, empty, "the log is being changed");
        drop(writer);
        let marked = store.stats().log_bytes;
        store.write(&[1], Vectors::new(&[1_u8, 2], 2), Durability::None).unwrap();
        assert!(empty < marked && marked < store.stats().log_bytes);
    }
}

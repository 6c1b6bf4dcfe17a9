//! The vector store: vectors in memory-mapped segments, found by ids of the user's own, that survive what befalls a machine.
//!
//! A store is a folder:
//!
//! | file              | holds                                                                                  |
//! |-------------------|----------------------------------------------------------------------------------------|
//! | `manifest`        | everything at one moment but the rows: ids, slots, checksums; replaced as a whole      |
//! | `log-N`           | what happened since; a change counts once its record stands there whole                |
//! | `segment-N`       | rows, page-aligned, appended and never changed; or packed, in compressed blocks        |
//! | `lock`            | nothing: who writes holds a lock on it                                                 |
//!
//! A vector has an **id**, which the user chose, and a **slot**, a small number that indexes and metadata know it by for as long
//! as it lives; the slot of one that was deleted is given again. Where the row lies is the store's own business, and changes
//! when it is compacted. There is one writer at a time and any number of readers, none of which waits for a disk; a
//! [`Snapshot`] sees what was there when it was taken for as long as it is kept.
//!
//! Rows that are seldom read can be [packed](VectorStore::pack): their segments are compressed, and what is read of them is unpacked
//! into memory.
//!
//! What a change promises is chosen with each ([`Durability`]), and what is promised is tested by crashing at every call that
//! reaches the disk (`tests/crash`). `docs/durability.md` states it; `docs/formats.md` gives every byte; ADR 12 says why.
//!
//! ```
//! use nearlab_storage::Vectors;
//! use nearlab_storage::store::{Durability, ElementKind, IdKind, Shape, StoreOptions, VectorStore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("store");
//! let shape = Shape { dim: 2, element: ElementKind::F32, ids: IdKind::Names };
//! let store = VectorStore::create(&folder, &StoreOptions::new(shape))?;
//! store.write(&["north", "east"], Vectors::new(&[0.0_f32, 1.0, 1.0, 0.0], 2), Durability::Sync)?;
//! let before = store.snapshot();
//! store.delete(&["north"], Durability::Flush)?;
//!
//! let (mut rows, mut found) = ([0.0_f32; 4], [false; 2]);
//! store.read(&["east", "north"], &mut rows, &mut found)?;
//! assert_eq!((rows, found), ([1.0, 0.0, 0.0, 0.0], [true, false]));
//! assert_eq!(before.read(&["east", "north"], &mut rows, &mut found)?, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoint;
mod codec;
mod compact;
mod error;
mod follow;
mod key;
mod keys;
mod linear;
mod log;
mod manifest;
mod open;
mod pack;
mod packed;
mod paged;
mod recover;
mod relocate;
mod runs;
mod segment;
mod shape;
mod snapshot;
mod spare;
mod stamp;
mod stats;
mod table;
mod view;
mod write;
mod writer;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};

pub use codec::Codec;
pub use compact::{CompactOptions, Compacted};
pub use error::StoreError;
pub use follow::Past;
pub use open::StoreOptions;
pub use pack::{PackOptions, Packed};
pub use shape::{Durability, Element, ElementKind, Id, IdKind, Ids, MAX_DIM, Rows, Shape};
pub use snapshot::{SegmentView, Snapshot};
pub use stats::StoreStats;
pub use write::{Change, Committed};

use crate::disk::{Disk, FileLock};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use manifest::Meta;
use view::View;
use writer::Writer;

/// Vectors on the disk; see the [module](self).
pub struct VectorStore {
    disk: Box<dyn Disk>,
    meta: Meta,
    view: RwLock<Arc<View>>,
    /// None where the store is open read-only.
    writer: Option<Mutex<Writer>>,
    told: Told,
    /// Held while compacting or packing.
    compacting: Mutex<()>,
    _lock: Option<FileLock>,
}

impl fmt::Debug for VectorStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.read_view();
        let (vectors, sequence) = (view.live, view.sequence);
        f.debug_struct("VectorStore")
            .field("disk", &self.disk)
            .field("shape", &self.meta.shape)
            .field("vectors", &vectors)
            .field("sequence", &sequence)
            .finish_non_exhaustive()
    }
}

impl VectorStore {
    /// What all its vectors have in common.
    pub fn shape(&self) -> Shape {
        self.meta.shape
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.read_view().live
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the last change: each has one more than the one before, the first has 1.
    pub fn sequence(&self) -> u64 {
        self.read_view().sequence
    }

    /// What is there now, and stays so for as long as the snapshot is kept. Costs nothing but what later changes have to
    /// copy because of it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { shape: self.meta.shape, view: Arc::clone(&self.read_view()) }
    }

    /// Reads vectors into `rows`, which has room for one for each of the `ids`; how many there are. Where `found` says false
    /// there is none of that id, and the row is zeros.
    ///
    /// Panics when `rows` or `found` has another length.
    pub fn read<'a, T: Element>(
        &self,
        ids: impl Into<Ids<'a>>,
        rows: &mut [T],
        found: &mut [bool],
    ) -> Result<usize, StoreError> {
        // The rows may have to come from the disk: nobody is to wait for that.
        let view = Arc::clone(&self.read_view());
        snapshot::read(&view, self.meta.shape, ids.into(), (rows, found))
    }

    fn read_view(&self) -> RwLockReadGuard<'_, Arc<View>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_view(&self) -> RwLockWriteGuard<'_, Arc<View>> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_writer(&self) -> Result<Writing<'_>, StoreError> {
        let writer = self.writer.as_ref().ok_or_else(|| StoreError::ReadOnly(self.disk.folder().to_owned()))?;
        let writer = writer.lock().unwrap_or_else(|poisoned| {
            let mut writer = poisoned.into_inner();
            // Whether its change is in the log is anyone's guess.
            writer.unsure.get_or_insert_with(|| "a change ended in a panic".to_owned());
            writer
        });
        Ok(Writing { writer, told: &self.told })
    }
}

/// What the writer was like when its lock was last given back.
#[derive(Debug, Default)]
struct Told {
    /// How long the log is.
    log_bytes: AtomicU64,
    /// Bytes of memory.
    writer_bytes: AtomicU64,
}

impl Told {
    fn by(&self, writer: &Writer) {
        self.log_bytes.store(writer.log.len(), Ordering::Relaxed);
        self.writer_bytes.store(writer.memory() as u64, Ordering::Relaxed);
    }
}

/// The writer's lock. It leaves figures behind, for those who do not wait for it.
struct Writing<'a> {
    writer: MutexGuard<'a, Writer>,
    told: &'a Told,
}

impl Deref for Writing<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.told.by(&self.writer);
    }
}

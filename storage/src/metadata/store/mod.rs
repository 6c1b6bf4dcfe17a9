//! The store: documents, indexes and the sequence it has come to, in one database.

mod apply;
#[cfg(feature = "leveldb")]
mod leveldb;
mod select;

#[cfg(feature = "leveldb")]
pub use leveldb::LevelDbError;
pub use select::Estimate;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use redb::{
    Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
};
use roaring::RoaringBitmap;

use super::document::Document;
use super::encoding::decode;
use super::error::{ApplyError, Fault, ReadError, StoreOpenError};
use super::index::range::{IndexReader, KeyRange};
use super::index::update::IndexWriter;
use super::index::{PRESENCE, RECORD};
use super::schema::Schema;
use crate::atomic::folder_of;

pub(super) const DOCUMENTS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("documents");
const STATE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("state");

/// The version of the tables.
const VERSION: u32 = 1;
/// Memory for pages that were read or are to be written. A million records of five fields take about twice that on disk;
/// what filters read of them fits.
const CACHE_BYTES: usize = 256 * 1024 * 1024;
/// The path that messages give to a store on a disk of its user's.
const NO_PATH: &str = "(a storage backend)";

/// What happens to one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The record at `slot` has these values from now on, and none of those it had.
    Put {
        /// The record.
        slot: u32,
        /// Its document, [encoded](super::encode) under the store's schema.
        document: &'a [u8],
    },
    /// There is no record at `slot` any more; nothing happens if there was none.
    Remove {
        /// The record.
        slot: u32,
    },
}

impl Change<'_> {
    pub(super) fn slot(&self) -> u32 {
        match self {
            Self::Put { slot, .. } | Self::Remove { slot } => *slot,
        }
    }
}

/// When changes outlive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// With the next change that is [`Durability::Immediate`] or the next [`MetadataStore::sync`]. Until then a power cut, or the
    /// death of the process, takes the store back to an earlier sequence, never to a state between two.
    Deferred,
    /// As soon as the call returns.
    Immediate,
}

enum Handle {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
}

/// Metadata of records, found by slot and by filter.
///
/// Any number of threads may read while one changes: each call sees the state between two changes.
pub struct MetadataStore {
    path: PathBuf,
    schema: Schema,
    handle: Handle,
}

impl fmt::Debug for MetadataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataStore").field("path", &self.path).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl MetadataStore {
    /// An empty store at sequence 0 in a new file, which is durable when this returns. A crash before that can leave a file
    /// that [`open`](Self::open) refuses.
    pub fn create(path: impl Into<PathBuf>, schema: Schema) -> Result<Self, StoreOpenError> {
        let path = path.into();
        if path.try_exists().unwrap_or(true) {
            return Err(StoreOpenError::Exists { path });
        }
        let database = builder().create(&path).map_err(|cause| Fault::from(cause).opening(&path))?;
        let store = Self::initialised(path, database, schema)?;
        let synced = File::open(folder_of(&store.path)).and_then(|folder| folder.sync_all());
        synced.map_err(|cause| Fault::from(redb::StorageError::Io(cause)).opening(&store.path))?;
        Ok(store)
    }

    /// The store in an existing file, which must have been made with `schema`. After a crash redb repairs it first.
    pub fn open(path: impl Into<PathBuf>, schema: &Schema) -> Result<Self, StoreOpenError> {
        let path = path.into();
        let database = builder().open(&path).map_err(|cause| Fault::from(cause).opening(&path))?;
        Self::checked(path, Handle::Writable(database), Some(schema))
    }

    /// The store in an existing file, for reading, with the schema that it has. Others may read it at the same time; a store
    /// that a crash left behind must be [opened](Self::open) for writing once before.
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<Self, StoreOpenError> {
        let path = path.into();
        let database = builder().open_read_only(&path).map_err(|cause| Fault::from(cause).opening(&path))?;
        Self::checked(path, Handle::ReadOnly(database), None)
    }

    /// The store on a disk of the caller's: a new one if the disk is empty, or else the one that is there, which must have been
    /// made with `schema`.
    pub fn with_backend(backend: impl StorageBackend, schema: Schema) -> Result<Self, StoreOpenError> {
        let path = PathBuf::from(NO_PATH);
        let opening = |fault: Fault| fault.opening(&path);
        let database = builder().create_with_backend(backend).map_err(|cause| opening(cause.into()))?;
        let transaction = database.begin_read().map_err(|cause| opening(cause.into()))?;
        let is_new = transaction.list_tables().map_err(|cause| opening(cause.into()))?.next().is_none();
        drop(transaction);
        if is_new {
            return Self::initialised(path, database, schema);
        }
        Self::checked(path, Handle::Writable(database), Some(&schema))
    }

    fn initialised(path: PathBuf, database: Database, schema: Schema) -> Result<Self, StoreOpenError> {
        let store = Self { path, schema, handle: Handle::Writable(database) };
        match store.reset(0) {
            Ok(()) => Ok(store),
            Err(fault) => Err(fault.opening(&store.path)),
        }
    }

    fn checked(path: PathBuf, handle: Handle, expected: Option<&Schema>) -> Result<Self, StoreOpenError> {
        let state = |name: &str| -> Result<Option<Vec<u8>>, Fault> {
            let transaction = begin_read(&handle)?;
            if transaction.list_tables()?.all(|table| redb::TableHandle::name(&table) != "state") {
                return Ok(None);
            }
            Ok(transaction.open_table(STATE)?.get(name)?.map(|bytes| bytes.value().to_vec()))
        };
        let version = state("version").map_err(|fault| fault.opening(&path))?;
        if version.as_deref() != Some(&VERSION.to_le_bytes()) {
            let found = match version.as_deref().map(<[u8; 4]>::try_from) {
                Some(Ok(bytes)) => u32::from_le_bytes(bytes).to_string(),
                _ => "none".to_owned(),
            };
            return Err(StoreOpenError::Version { path, expected: VERSION, found });
        }
        let written = state("schema").map_err(|fault| fault.opening(&path))?.unwrap_or_default();
        let schema: Schema = serde_json::from_slice(&written)
            .map_err(|error| Fault::Damaged(format!("a schema that cannot be read: {error}")).opening(&path))?;
        match expected {
            Some(expected) if *expected != schema => {
                let (expected, found) = (json(expected), json(&schema));
                Err(StoreOpenError::ForeignSchema { path, expected, found })
            }
            _ => Ok(Self { path, schema, handle }),
        }
    }

    /// Bytes of the pages that are kept in memory, as redb counts them; no more than 256 MiB.
    pub fn cache_bytes(&self) -> u64 {
        let stats = match &self.handle {
            Handle::Writable(database) => database.cache_stats(),
            Handle::ReadOnly(database) => database.cache_stats(),
        };
        stats.used_bytes() as u64
    }

    /// The schema that the store was made with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The number of the last changes that were applied; 0 before the first.
    pub fn sequence(&self) -> Result<u64, ReadError> {
        self.reading(|transaction| sequence(&transaction.open_table(STATE)?))
    }

    /// The slots that have a record.
    pub fn slots(&self) -> Result<RoaringBitmap, ReadError> {
        self.reading(|transaction| IndexReader::open(transaction)?.slots(PRESENCE, &[KeyRange::only(&RECORD)]))
    }

    /// The documents at these slots, in their order; `None` where there is no record.
    pub fn get(&self, slots: &[u32]) -> Result<Vec<Option<Document>>, ReadError> {
        self.reading(|transaction| {
            let documents = transaction.open_table(DOCUMENTS)?;
            let document = |slot: &u32| -> Result<Option<Document>, Fault> {
                let bytes = documents.get(*slot)?;
                bytes.map(|bytes| Ok(decode(&self.schema, bytes.value())?)).transpose()
            };
            slots.iter().map(document).collect()
        })
    }

    /// Makes everything that was applied durable.
    pub fn sync(&self) -> Result<(), ApplyError> {
        let database = self.writable()?;
        // Any durable transaction takes all earlier ones with it.
        let synced = || -> Result<(), Fault> { Ok(database.begin_write()?.commit()?) };
        synced().map_err(|fault| fault.applying(&self.path))
    }

    /// Forgets all records and goes back to sequence 0, durably, so that a log can be applied from its start.
    pub fn clear(&self) -> Result<(), ApplyError> {
        self.writable()?;
        self.reset(0).map_err(|fault| fault.applying(&self.path))
    }

    fn reset(&self, sequence: u64) -> Result<(), Fault> {
        let Handle::Writable(database) = &self.handle else { return Ok(()) };
        let transaction = database.begin_write()?;
        transaction.delete_table(DOCUMENTS)?;
        transaction.open_table(DOCUMENTS)?;
        IndexWriter::empty(&transaction)?;
        {
            let mut state = transaction.open_table(STATE)?;
            state.insert("version", &VERSION.to_le_bytes()[..])?;
            state.insert("schema", json(&self.schema).as_bytes())?;
            state.insert("sequence", &sequence.to_le_bytes()[..])?;
        }
        Ok(transaction.commit()?)
    }

    fn writable(&self) -> Result<&Database, ApplyError> {
        match &self.handle {
            Handle::Writable(database) => Ok(database),
            Handle::ReadOnly(_) => Err(ApplyError::ReadOnly { path: self.path.clone() }),
        }
    }

    /// Runs `read` on the state between two changes.
    pub(super) fn reading<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, ReadError> {
        begin_read(&self.handle).and_then(|transaction| read(&transaction)).map_err(|fault| fault.reading(&self.path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn begin_read(handle: &Handle) -> Result<ReadTransaction, Fault> {
    Ok(match handle {
        Handle::Writable(database) => database.begin_read()?,
        Handle::ReadOnly(database) => database.begin_read()?,
    })
}

fn sequence(state: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Fault> {
    let bytes = state.get("sequence")?;
    let number = bytes.and_then(|bytes| bytes.value().try_into().ok());
    number.map(u64::from_le_bytes).ok_or_else(|| Fault::Damaged("no sequence".to_owned()))
}

fn json(schema: &Schema) -> String {
    serde_json::to_string(schema).expect("a schema has a JSON form")
}

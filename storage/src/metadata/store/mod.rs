//! The store: documents, indexes and the sequence it has come to, in one database.

mod apply;
#[cfg(feature = "leveldb")]
mod leveldb;
mod open;
mod select;
mod snapshot;
mod verify;

#[cfg(feature = "leveldb")]
pub use leveldb::LevelDbError;
pub use select::Estimate;
pub use snapshot::MetadataSnapshot;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadOnlyDatabase, ReadableDatabase, TableDefinition};

use super::error::{ApplyError, Fault};
use super::index::update::IndexWriter;
use super::pages::{GivenUp, PageFile};
use super::schema::Schema;
use crate::disk::FileLock;

pub(super) const DOCUMENTS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("documents");
const STATE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("state");

/// The version of the tables.
const VERSION: u32 = 1;

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
    /// Of a file that was not closed, and may not be changed: it was put in order in memory.
    Repaired(Database),
}

/// Metadata of records, found by slot and by filter.
///
/// Any number of threads may read while one changes: each call sees the state between two changes.
pub struct MetadataStore {
    path: PathBuf,
    schema: Schema,
    handle: Handle,
    /// The file under the database; none of version 1, and of a backend of the caller's.
    pages: Option<Arc<PageFile>>,
    /// Whether nothing more is to be written to a file of version 1.
    given_up: GivenUp,
    _lock: Option<FileLock>,
}

impl fmt::Debug for MetadataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataStore").field("path", &self.path).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl MetadataStore {
    /// Bytes of the pages that are kept in memory, as redb counts them; no more than 256 MiB.
    pub fn cache_bytes(&self) -> u64 {
        let stats = match &self.handle {
            Handle::Writable(database) | Handle::Repaired(database) => database.cache_stats(),
            Handle::ReadOnly(database) => database.cache_stats(),
        };
        stats.used_bytes() as u64
    }

    /// The schema that the store was made with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Makes everything that was applied durable.
    pub fn sync(&self) -> Result<(), ApplyError> {
        let database = self.writable()?;
        // Any durable transaction takes all earlier ones with it.
        let synced = || -> Result<(), Fault> { Ok(database.begin_write()?.commit()?) };
        synced().map_err(|fault| self.told(fault).applying(&self.path))
    }

    /// Lets the store end as if the process were killed: what is not durable by now is not made so, as closing it otherwise would. A
    /// backend of the caller's is closed all the same.
    pub fn abandon(self) {
        match &self.pages {
            Some(pages) => pages.give_up(),
            None => self.given_up.give_up(),
        }
    }

    /// Forgets all records and goes back to sequence 0, durably, so that a log can be applied from its start.
    pub fn clear(&self) -> Result<(), ApplyError> {
        self.writable()?;
        self.reset(0).map_err(|fault| self.told(fault).applying(&self.path))
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
            Handle::ReadOnly(_) | Handle::Repaired(_) => Err(ApplyError::ReadOnly { path: self.path.clone() }),
        }
    }

    fn told(&self, fault: Fault) -> Fault {
        open::told(self.pages.as_deref(), fault)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn json(schema: &Schema) -> String {
    serde_json::to_string(schema).expect("a schema has a JSON form")
}

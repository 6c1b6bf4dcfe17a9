//! Records to and from LevelDB, for programs in other languages: an interchange format, not a store.
//!
//! One key per record: the slot in decimal, padded with zeros to ten digits, so that LevelDB's order is the slots'. The value is the
//! document as a JSON object, as [`Document::from_json`] reads it. There are no other keys, and no schema: who imports has one.
//!
//! rusty-leveldb never syncs what it writes; [`MetadataStore::export_leveldb`] does so afterwards, file by file. It trusts the
//! files that it reads, so import only what you would run.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use redb::ReadableTable;
use rusty_leveldb::{DB, LdbIterator, Options, Status};

use super::{Change, DOCUMENTS, Durability, MetadataStore};
use crate::metadata::document::{Document, clipped};
use crate::metadata::encoding::{decode, encode};
use crate::metadata::error::{ApplyError, Fault, ReadError};

/// Why records could not be exchanged with a LevelDB database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LevelDbError {
    /// Something has the name of the folder that was to be written.
    #[error("cannot export to {}: expected no file or folder of that name, found one", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// LevelDB refused.
    #[error("cannot use the LevelDB database {}: {cause}", path.display())]
    LevelDb {
        /// The folder.
        path: PathBuf,
        /// What LevelDB said.
        cause: Status,
    },
    /// The system refused to make what was written durable.
    #[error("cannot write {}: {cause}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A key or a value that is no record of the store's schema. Nothing was imported.
    #[error("the LevelDB database {} has an unfitting record {key}: {cause}", path.display())]
    Record {
        /// The folder.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it or its value.
        cause: String,
    },
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store refused the records.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl MetadataStore {
    /// Writes all records to a new LevelDB database in the folder `path` and tells how many there are. What an error leaves of the
    /// folder is of no use.
    pub fn export_leveldb(&self, path: &Path) -> Result<u64, LevelDbError> {
        if path.try_exists().unwrap_or(true) {
            return Err(LevelDbError::Exists { path: path.to_owned() });
        }
        let refused = |cause| LevelDbError::LevelDb { path: path.to_owned(), cause };
        let mut database = DB::open(path, Options::default()).map_err(refused)?;
        let (mut count, mut outcome) = (0, Ok(()));
        self.reading(|transaction| {
            for entry in transaction.open_table(DOCUMENTS)?.iter()? {
                let (slot, bytes) = entry?;
                let document = decode(self.schema(), bytes.value()).map_err(Fault::from)?;
                let (key, value) = (format!("{:010}", slot.value()), document.to_json().to_string());
                outcome = database.put(key.as_bytes(), value.as_bytes());
                if outcome.is_err() {
                    break;
                }
                count += 1;
            }
            Ok(())
        })?;
        outcome.and_then(|()| database.flush()).and_then(|()| database.close()).map_err(refused)?;
        drop(database);
        sync_all(path).map_err(|cause| LevelDbError::Io { path: path.to_owned(), cause })?;
        Ok(count)
    }

    /// Puts every record of the LevelDB database in the folder `path`, as the changes numbered `sequence`, and tells how many there
    /// are. Records of the store at other slots stay. All are in memory at once.
    pub fn import_leveldb(&self, path: &Path, sequence: u64, durability: Durability) -> Result<u64, LevelDbError> {
        let refused = |cause| LevelDbError::LevelDb { path: path.to_owned(), cause };
        let options = Options { create_if_missing: false, paranoid_checks: true, ..Options::default() };
        let mut database = DB::open(path, options).map_err(refused)?;
        let mut records = database.new_iter().map_err(refused)?;
        let mut documents: Vec<(u32, Vec<u8>)> = Vec::new();
        while records.advance() {
            let Some((key, value)) = records.current() else { break };
            let document = self.record(&key, &value).map_err(|cause| {
                let key = clipped(format!("{:?}", String::from_utf8_lossy(&key)));
                LevelDbError::Record { path: path.to_owned(), key, cause }
            })?;
            documents.push(document);
        }
        let changes: Vec<Change<'_>> =
            documents.iter().map(|(slot, document)| Change::Put { slot: *slot, document }).collect();
        self.apply(sequence, &changes, durability)?;
        Ok(documents.len() as u64)
    }

    fn record(&self, key: &[u8], value: &[u8]) -> Result<(u32, Vec<u8>), String> {
        let is_padded = key.len() == 10 && key.iter().all(u8::is_ascii_digit);
        let slot = std::str::from_utf8(key).ok().filter(|_| is_padded).and_then(|text| text.parse().ok());
        let slot = slot.ok_or("expected a key of ten digits that are a slot of 32 bits")?;
        let json = serde_json::from_slice(value).map_err(|error| format!("expected a JSON object, found {error}"))?;
        let document = Document::from_json(self.schema(), &json).map_err(|error| error.to_string())?;
        Ok((slot, encode(self.schema(), &document).map_err(|error| error.to_string())?))
    }
}

fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

//! What can go wrong with a store of metadata. Every message of a public error names the file.

use std::io;
use std::path::{Path, PathBuf};

use super::encoding::DecodeError;
use super::index::block::BadBlock;

/// Why a store could not be created or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreOpenError {
    /// The database refused: the file cannot be read or written, another process has it open, or it is no database.
    #[error("cannot open the metadata {}: {cause}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        cause: Box<redb::Error>,
    },
    /// Bytes are not what was written.
    #[error("{} is damaged: found {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// Another process has the store open. One process changes it, or many read it.
    #[error("{} is open elsewhere: expected no process that changes it, and no other at all to change it; end the other", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A store was to be created where there is something already.
    #[error("cannot create the metadata {}: expected no file of that name, found one", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The database holds something else, or a store in a version that this build does not know.
    #[error("{} is not metadata that this build reads: expected version {expected}, found {found}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The only version this build reads.
        expected: u32,
        /// The file's version, or `none`.
        found: String,
    },
    /// The store was made with another schema.
    #[error("{} has another schema: expected {expected}, found {found}", path.display())]
    ForeignSchema {
        /// The file.
        path: PathBuf,
        /// The schema that was asked for, as JSON.
        expected: String,
        /// The schema of the file, as JSON.
        found: String,
    },
}

/// Why changes were not applied. The store is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The store has these changes, or later ones, already.
    #[error("{} has come to sequence {found}: expected a later one than that, found {given}", path.display())]
    Sequence {
        /// The file.
        path: PathBuf,
        /// How far the store has come.
        found: u64,
        /// The sequence of the changes.
        given: u64,
    },
    /// A document that the schema does not allow.
    #[error("cannot change the metadata {}: slot {slot}: {cause}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// The slot whose document it is.
        slot: u32,
        /// What is wrong with it.
        cause: DecodeError,
    },
    /// The store was opened for reading.
    #[error("cannot change the metadata {}: it was opened for reading only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The database refused. After an error of the disk it refuses everything until it is opened again.
    #[error("cannot change the metadata {}: {cause}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        cause: Box<redb::Error>,
    },
    /// What the store has written earlier makes no sense.
    #[error("{} is damaged: found {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
}

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The database refused. After an error of the disk it refuses everything until it is opened again.
    #[error("cannot read the metadata {}: {cause}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        cause: Box<redb::Error>,
    },
    /// What the store has written earlier makes no sense.
    #[error("{} is damaged: found {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
}

/// What goes wrong inside, before the path is known.
#[derive(Debug)]
pub(super) enum Fault {
    Database(Box<redb::Error>),
    Damaged(String),
}

impl Fault {
    pub(super) fn applying(self, path: &Path) -> ApplyError {
        let path = path.to_owned();
        match self {
            Self::Database(cause) => ApplyError::Database { path, cause },
            Self::Damaged(found) => ApplyError::Damaged { path, found },
        }
    }

    pub(super) fn reading(self, path: &Path) -> ReadError {
        let path = path.to_owned();
        match self {
            Self::Database(cause) => ReadError::Database { path, cause },
            Self::Damaged(found) => ReadError::Damaged { path, found },
        }
    }

    pub(super) fn opening(self, path: &Path) -> StoreOpenError {
        let path = path.to_owned();
        let cause = match self {
            Self::Database(cause) => cause,
            Self::Damaged(found) => return StoreOpenError::Damaged { path, found },
        };
        match *cause {
            redb::Error::DatabaseAlreadyOpen => StoreOpenError::Locked { path },
            _ => StoreOpenError::Database { path, cause },
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError, SetDurabilityError);

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Database(Box::new(redb::Error::Io(error)))
    }
}

impl From<BadBlock> for Fault {
    fn from(BadBlock(what): BadBlock) -> Self {
        Self::Damaged(format!("in an index {what}"))
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(format!("a document of which it must be said that {error}"))
    }
}

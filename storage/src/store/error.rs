//! What can go wrong with a store. Every message is one whole sentence that names the file or the value.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::shape::{ElementKind, IdKind};
use crate::{OpenError, WriteError};

/// Why a store could not be opened, read or changed. Where a change fails, nothing of it is visible; whether it is there after
/// the store was opened anew is open only where [`StoreError::Unsure`] says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused something.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was to be done, in words: `read`, `write`, `sync`, ...
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There is a store already where one was to be made.
    #[error("{} holds a store already: expected an empty or missing folder", .0.display())]
    Exists(PathBuf),
    /// There is no store.
    #[error("{} holds no store: expected a file `manifest` in it, found none", .0.display())]
    NoStore(PathBuf),
    /// Another process, or another part of this one, has the store open for writing.
    #[error("{} is open for writing elsewhere: expected to be the only writer; open it read-only, or end the other", .0.display())]
    Locked(PathBuf),
    /// The manifest is not what was written.
    #[error(transparent)]
    Manifest(#[from] OpenError),
    /// A manifest could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {offset}: expected {expected}, found {found}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damaged part begins.
        offset: u64,
        /// What should stand there, such as a checksum.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The store was opened without the right to change it.
    #[error("{} was opened read-only: expected a store open for writing", .0.display())]
    ReadOnly(PathBuf),
    /// A sync failed, so that nobody knows what the disk holds: what was written last may or may not be there when the store
    /// is opened again, which is the only way on. Reads go on.
    #[error("{} accepts no more changes until it is opened again: {cause}", path.display())]
    Unsure {
        /// The store.
        path: PathBuf,
        /// What failed, in words.
        cause: String,
    },
    /// Vectors have another number of components than the store's.
    #[error("expected vectors of {expected} components, found {found}")]
    Dim {
        /// Components of the store's vectors.
        expected: usize,
        /// Components of those given.
        found: usize,
    },
    /// Components are of another type than the store's.
    #[error("expected components of type {expected}, found {found}")]
    Element {
        /// The store's type.
        expected: ElementKind,
        /// The one given.
        found: ElementKind,
    },
    /// Ids are of another kind than the store's.
    #[error("expected ids that are {expected}, found {found}")]
    Ids {
        /// The store's kind.
        expected: IdKind,
        /// The one given.
        found: IdKind,
    },
    /// There are not as many ids as vectors.
    #[error("expected an id for each of {expected} vectors, found {found}")]
    Count {
        /// Vectors.
        expected: usize,
        /// Ids.
        found: usize,
    },
    /// An id stands in a change twice.
    #[error("expected each id once in a change, found {0} twice")]
    Twice(String),
    /// A parameter is out of range.
    #[error("expected {name} {expected}, found {found}")]
    Param {
        /// The parameter.
        name: &'static str,
        /// Its range, in words.
        expected: &'static str,
        /// The value, as it is written.
        found: String,
    },
    /// No slot is left.
    #[error("expected at most {expected} vectors in a store, found {found}")]
    Full {
        /// The most there can be.
        expected: u64,
        /// How many there would be.
        found: u64,
    },
    /// No number is left for another file.
    #[error("expected at most {expected} files in the life of a store, found them all made")]
    Files {
        /// The most there can be.
        expected: u32,
    },
}

impl StoreError {
    /// An error of the system, with what was being done to which file.
    pub(super) fn io<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> Self + use<'p> {
        move |cause| Self::Io { doing, path: path.to_owned(), cause }
    }

    pub(super) fn param(name: &'static str, expected: &'static str, found: impl fmt::Display) -> Self {
        Self::Param { name, expected, found: found.to_string() }
    }

    pub(super) fn corrupt(path: &Path, offset: u64, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::Corrupt { path: path.to_owned(), offset, expected: expected.to_string(), found: found.to_string() }
    }

    /// Whether bytes of the store are not what was written.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
            || matches!(self, Self::Manifest(error) if !matches!(error, OpenError::Io { .. }))
    }
}

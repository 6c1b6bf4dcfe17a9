//! What can go wrong with a collection.

use std::io;
use std::path::PathBuf;

use nearlab_storage::metadata::{ApplyError, DocumentError, ReadError, StoreOpenError};
use nearlab_storage::store::StoreError;

use crate::{BuildError, OpenError, ParamError, SaveError};

/// Why a collection could not be opened, searched or changed. A change that fails is not visible, unless
/// [`CollectionError::Behind`] says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// The system refused something.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was to be done, in words.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There is no collection.
    #[error("{} holds no collection: expected a file `collection.json` in it, found none", .0.display())]
    NoCollection(PathBuf),
    /// There is something already where a collection, or a copy of one, was to be made.
    #[error("{} exists already: expected an empty or missing folder", .0.display())]
    Exists(PathBuf),
    /// The file that says what the collection is can not be understood.
    #[error("{} does not describe a collection: {found}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, in words.
        found: String,
    },
    /// The vector store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The metadata could not be opened.
    #[error(transparent)]
    OpenMetadata(#[from] StoreOpenError),
    /// The metadata could not be changed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The metadata could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The metadata is behind the vectors, and the log does not go back far enough to catch up.
    #[error("{} is at change {found}: expected the log to tell what came after, found that it begins later", path.display())]
    Gap {
        /// The metadata's file.
        path: PathBuf,
        /// The last change it holds.
        found: u64,
    },
    /// The metadata is behind the vectors, and nothing may be changed.
    #[error("{} is at change {found}, the vectors at {expected}: open the collection for changes once, so that it catches up", path.display())]
    Stale {
        /// The metadata's file.
        path: PathBuf,
        /// The last change of the vectors.
        expected: u64,
        /// The last change it holds.
        found: u64,
    },
    /// What is attached to a change is not what the collection attaches.
    #[error("change {sequence} of the log in {} does not hold the documents of its records: {found}", path.display())]
    Attachment {
        /// The folder of the vectors.
        path: PathBuf,
        /// The change.
        sequence: u64,
        /// What is wrong, in words.
        found: String,
    },
    /// A change was made and is kept, but not everything that follows from it could be done; it is when the collection is opened
    /// again, which is the only way on. Searches go on without it.
    #[error("{} accepts no more changes until it is opened again: {cause}", path.display())]
    Behind {
        /// The collection.
        path: PathBuf,
        /// What failed.
        cause: String,
    },
    /// An index file.
    #[error(transparent)]
    OpenIndex(#[from] OpenError),
    /// A file could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The index could not be built, or vectors are refused.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A parameter is out of its range.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// A document does not fit the schema.
    #[error("record {row}: {cause}")]
    Document {
        /// The record, from 0.
        row: usize,
        /// What does not fit.
        cause: DocumentError,
    },
    /// Documents or a filter for a collection without fields.
    #[error("the collection has no fields: expected vectors only")]
    NoSchema,
    /// There are not as many documents as vectors.
    #[error("expected a document for each of {expected} vectors, found {found}")]
    Documents {
        /// Vectors.
        expected: usize,
        /// Documents.
        found: usize,
    },
    /// An id to insert is there.
    #[error("expected ids that are new, found {0}, which is there")]
    Taken(String),
    /// A component can not be kept as the collection's type.
    #[error("expected whole numbers from 0 to 255, found {value} in row {row}, column {column}")]
    NotU8 {
        /// Row of the vector, from 0.
        row: usize,
        /// Component of the vector, from 0.
        column: usize,
        /// The component.
        value: f32,
    },
    /// A component is too large for the collection's type.
    #[error(
        "expected numbers that 16-bit floats hold, from -65504 to 65504, found {value} in row {row}, column {column}"
    )]
    NotF16 {
        /// Row of the vector, from 0.
        row: usize,
        /// Component of the vector, from 0.
        column: usize,
        /// The component.
        value: f32,
    },
    /// The collection was opened without the right to change it.
    #[error("{} was opened read-only: expected a collection open for writing", .0.display())]
    ReadOnly(PathBuf),
}

//! Why a run stops.

use std::{
    io,
    path::{Path, PathBuf},
};

use nearlab_reports::records::WriteError;

use super::folder::FolderError;
use crate::{spec::SpecError, trial::PinError};

/// Why a run stops. What happens to single trials is recorded instead and never stops a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The experiment cannot be understood, or its data set cannot be used.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The prepared data set cannot be opened.
    #[error("the prepared data set {} cannot be opened: {message}", path.display())]
    OpenPrepared {
        /// The file in the cache.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The run's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The records.
    #[error(transparent)]
    Records(#[from] WriteError),
    /// Pinning.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A file of the run cannot be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A trial of a store needs more room than there is.
    #[error("{}: {what} needs {needed} of disk, but {free} are free; give room, or choose another folder with --out", path.display())]
    DiskFull {
        /// Where it would write.
        path: PathBuf,
        /// The trial.
        what: String,
        /// Bytes needed, in words.
        needed: String,
        /// Bytes free, in words.
        free: String,
    },
    /// Tables or report.
    #[error("cannot write the report: {0}")]
    Report(String),
    /// A worker's library is not the one that its index was measured with.
    #[error(
        "{index} was measured with another version in this run: expected {expected}, found {found} in trial {trial}; \
         figures of two versions do not belong in one run (go back to {expected}, or start another run with --new)"
    )]
    Library {
        /// The trial.
        trial: String,
        /// The index or the store.
        index: String,
        /// Library recorded.
        expected: String,
        /// Library now.
        found: String,
    },
    /// A worker's files are not those that the run was planned with.
    #[error(
        "the worker {} of {index} has changed since the run began (it, or a Python file beside it): put it back and \
         run the same command to go on; as it is, the same command starts another run",
        path.display()
    )]
    WorkerChanged {
        /// The index or the store.
        index: String,
        /// The program.
        path: PathBuf,
    },
    /// A rebuilt index is not the one that was measured before.
    #[error(
        "trial {trial} ({index}) was built again and differs: expected digest {expected}, found {found}; \
         the same seed must give the same index, so the run cannot be continued (start another with --new)"
    )]
    Digest {
        /// The trial.
        trial: String,
        /// The index.
        index: String,
        /// Digest recorded.
        expected: String,
        /// Digest now.
        found: String,
    },
}

impl RunError {
    /// A file that cannot be used.
    pub(crate) fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

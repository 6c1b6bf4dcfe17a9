//! Why a file could not be read: always the file, the place in it, what was expected and what was found.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A data file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: `open`, `read base vectors`, ...
        action: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The file ends before the data its own header announces.
    #[error("{path}: {place} is truncated: expected {expected} bytes, found {found}")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Matrix, row or header.
        place: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// The bytes do not say what this format must say.
    #[error("{path}: {place}: expected {expected}, found {found}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Matrix, row, header field or attribute.
        place: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
}

impl ReadError {
    pub(crate) fn io(path: &Path, action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), action: action.into(), source }
    }

    pub(crate) fn truncated(path: &Path, place: impl Into<String>, expected: u64, found: u64) -> Self {
        Self::Truncated { path: path.to_path_buf(), place: place.into(), expected, found }
    }

    pub(crate) fn malformed(
        path: &Path,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            place: place.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

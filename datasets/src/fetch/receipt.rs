//! A receipt: what a file was when it was last checked against the catalogue.

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::FetchError;
use crate::catalog::{Entry, Place};

/// Identity of a checked file by what the file system says about it, and what it was checked against.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    path: PathBuf,
    bytes: u64,
    modified_ns: u64,
    /// SHA-256 of the entry, which the file was found to have.
    sha256: Option<String>,
    /// Address of the entry.
    url: Option<String>,
    /// `ETag` or `Last-Modified` of what was downloaded: for people who ask where a file came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

impl Receipt {
    /// For the file at `path` as it is now, as the file of `entry`.
    pub(super) fn of(entry: &Entry, path: &Path, version: Option<String>) -> Result<Self, FetchError> {
        let metadata = std::fs::metadata(path).map_err(FetchError::io("read", path))?;
        let modified = metadata.modified().map_err(FetchError::io("read", path))?;
        let modified_ns = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let url = match &entry.place {
            Place::Url(url) => Some(url.clone()),
            Place::File(_) => None,
        };
        Ok(Self {
            path: path.to_owned(),
            bytes: metadata.len(),
            modified_ns,
            sha256: entry.sha256.clone(),
            url,
            version,
        })
    }

    /// The receipt at `at`. An absent or unreadable one is none.
    pub(super) fn read(at: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(at).ok()?).ok()
    }

    /// Whether both are for the same state of the same file.
    pub(super) fn same_file(&self, other: &Self) -> bool {
        (&self.path, self.bytes, self.modified_ns) == (&other.path, other.bytes, other.modified_ns)
    }

    /// Whether both are for the same file of the same entry.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.same_file(other) && self.same_address(other) && self.sha256 == other.sha256
    }

    /// Whether both are for entries of the same address.
    pub(super) fn same_address(&self, other: &Self) -> bool {
        self.url == other.url
    }

    /// Writes the receipt to `at`, whole or not at all.
    pub(super) fn write(&self, at: &Path) -> Result<(), FetchError> {
        write_json(at, self)
    }
}

/// Writes `value` as JSON to `at` by way of a temporary name in the same folder, which is made if need be.
pub(super) fn write_json(at: &Path, value: &impl Serialize) -> Result<(), FetchError> {
    let folder = at.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(FetchError::io("create", folder))?;
    let temporary = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder);
    let mut file = temporary.map_err(FetchError::io("write", at))?;
    serde_json::to_writer(&mut file, value).map_err(|error| FetchError::io("write", at)(error.into()))?;
    file.persist(at).map_err(|error| FetchError::io("write", at)(error.error))?;
    Ok(())
}

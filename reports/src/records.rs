//! `records.jsonl`: appended line by line, read back whole.
//!
//! Invariants: a line counts once its newline is on disk ([`Writer::append`] syncs before it returns), so a process
//! killed at any moment leaves at most one torn line, at the end. Both sides treat a last line without newline as never
//! written: [`read`] skips it, [`Writer::open`] cuts it off. Any other damage is an error, never skipped.
//!
//! One writer per file: the writer holds the system's advisory lock for as long as it lives.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::record::{Event, Line, SCHEMA_VERSION};

/// Why records could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refused; a full disk is this one.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The records file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process is appending to the same run.
    #[error("{}: another session is writing to this run; wait for it, or start a new run", path.display())]
    Locked {
        /// The records file.
        path: PathBuf,
    },
}

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// The records file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A complete line is not a record.
    #[error("{}:{line}: not a record: {message}", path.display())]
    Line {
        /// The records file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What the parser expected and found.
        message: String,
    },
    /// A line was written by a newer nearlab.
    #[error("{}:{line}: schema version {found}, but this program reads up to {SCHEMA_VERSION}", path.display())]
    Version {
        /// The records file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// Version in the line.
        found: u32,
    },
}

/// Appends records; each is on disk when [`append`](Self::append) returns.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
}

impl Writer {
    /// Opens or creates `path`, locks it, and cuts off a torn last line.
    pub fn open(path: &Path) -> Result<Self, WriteError> {
        let failed = |action| move |source| WriteError::Io { path: path.to_owned(), action, source };
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed("open for appending"))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(WriteError::Locked { path: path.to_owned() }),
            // A file system without locks is no reason not to measure.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let whole = whole_lines(&bytes);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(failed("cut off a torn last line"))?;
            file.seek(SeekFrom::End(0)).map_err(failed("seek"))?;
        }
        file.sync_all().map_err(failed("sync"))?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // Makes the new name itself survive a power cut.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder of"))?;
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends one event as one line, and waits until it is on disk.
    ///
    /// After an error the file may end in a torn line; the next [`Writer::open`] cuts it off.
    pub fn append(&mut self, event: Event) -> Result<(), WriteError> {
        let failed = |action, source: io::Error| WriteError::Io { path: self.path.clone(), action, source };
        let line = Line { schema_version: SCHEMA_VERSION, event };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| failed("encode a line of", error.into()))?;
        bytes.push(b'\n');
        // One write call per line: a reader never sees half a line except after a crash.
        self.file.write_all(&bytes).map_err(|source| failed("append to", source))?;
        self.file.sync_data().map_err(|source| failed("sync", source))
    }

    /// The records file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads every complete line. A last line without newline was never finished and is left out.
pub fn read(path: &Path) -> Result<Vec<Line>, ReadError> {
    let bytes = std::fs::read(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    let whole = &bytes[..whole_lines(&bytes)];
    whole
        .split(|&byte| byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| parse(path, at + 1, line))
        .collect()
}

/// Length of `bytes` up to and with the last newline.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
}

fn parse(path: &Path, line: usize, bytes: &[u8]) -> Result<Line, ReadError> {
    /// Read first, so that a newer schema is named as such and not as a missing field.
    #[derive(serde::Deserialize)]
    struct Head {
        schema_version: u32,
    }
    let refused = |error: serde_json::Error| ReadError::Line {
        path: path.to_owned(),
        line,
        // serde_json counts lines within the one line given; only the column says something.
        message: error.to_string().replace(" at line 1 column ", " at column "),
    };
    let head: Head = serde_json::from_slice(bytes).map_err(refused)?;
    if head.schema_version > SCHEMA_VERSION {
        return Err(ReadError::Version { path: path.to_owned(), line, found: head.schema_version });
    }
    serde_json::from_slice(bytes).map_err(refused)
}

//! What can go wrong with a file. Every message is one whole sentence that names the file, so none carries a `source`
//! that a caller would have to print too.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::container::{FileKind, SectionId};

/// Why a file could not be opened, or a part of it not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused to open, map or advise on the file.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file ends before its header says it does, or before the end of the header.
    #[error("{} is cut short: expected {expected} bytes, found {found}", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// The length that the header gives, or the header's own length when not even that is there.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// The file goes on after the end that its header gives.
    #[error("{} is longer than it was written: expected {expected} bytes, found {found}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The length that the header gives.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// The file does not begin with the magic bytes.
    #[error("{} is not a nearlab file: expected it to begin with \"NEARLAB\\0\", found \"{}\"", path.display(), found.escape_ascii())]
    NotNearlab {
        /// The file.
        path: PathBuf,
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// The layout of the header is one that this build does not know.
    #[error("{} has container version {found}, expected {expected}: it was written by another nearlab", path.display())]
    ContainerVersion {
        /// The file.
        path: PathBuf,
        /// The only container version this build reads.
        expected: u32,
        /// The file's container version.
        found: u32,
    },
    /// The file is whole, but holds another kind of thing.
    #[error("{} holds the wrong kind of data: expected `{expected}`, found `{found}`", path.display())]
    ForeignKind {
        /// The file.
        path: PathBuf,
        /// The kind that was asked for.
        expected: FileKind,
        /// The kind that the file declares.
        found: FileKind,
    },
    /// The file is of the right kind, in a version of it that the caller does not read.
    #[error("{} has version {found} of the format `{kind}`, expected {}", path.display(), versions(*oldest, *newest))]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's kind.
        kind: FileKind,
        /// The oldest version the caller reads.
        oldest: u32,
        /// The newest version the caller reads.
        newest: u32,
        /// The file's version.
        found: u32,
    },
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {offset}: {place} should have {expected}, found {found}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damaged part begins.
        offset: u64,
        /// What that part is.
        place: Place,
        /// What should stand there, such as a checksum.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The file is valid but lacks a section that its kind must have.
    #[error("{} has no section `{section}`: found {}", path.display(), names(found))]
    MissingSection {
        /// The file.
        path: PathBuf,
        /// The section asked for.
        section: SectionId,
        /// The sections that are there.
        found: Vec<SectionId>,
    },
    /// A section's length does not fit what it is read as.
    #[error("{} has an unfitting section `{section}`: expected {expected}, found {found} bytes", path.display())]
    SectionShape {
        /// The file.
        path: PathBuf,
        /// The section.
        section: SectionId,
        /// The shape it was read as, in words.
        expected: String,
        /// The section's length in bytes.
        found: u64,
    },
}

/// A place inside a container file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The header page: magic, kind, versions and section table.
    Header,
    /// The bytes of a section.
    Section(SectionId),
    /// The zero bytes between a section's end and the next page.
    Padding(SectionId),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::Section(id) => write!(f, "section `{id}`"),
            Self::Padding(id) => write!(f, "the padding after section `{id}`"),
        }
    }
}

/// Why a file could not be written. In each case nothing new is left on the disk and an older file of the same name is
/// untouched, except where [`WriteError::Io`] comes from the very last step (see [`AtomicFile::commit`]).
///
/// [`AtomicFile::commit`]: crate::AtomicFile::commit
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The system refused to create, write, sync or rename; a full disk comes here.
    #[error("cannot write {}: {cause}", path.display())]
    Io {
        /// The file that was to be written: its final name, not the temporary one.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A section was begun, then dropped before its end was declared, so the file can no longer be completed.
    #[error("cannot write {}: section `{section}` was begun but not finished", path.display())]
    Unfinished {
        /// The file that was to be written.
        path: PathBuf,
        /// The section that has no end.
        section: SectionId,
    },
}

impl WriteError {
    /// Puts `path` to an error of writing it. An error that already is a `WriteError` inside (it came through
    /// [`std::io::Write`] of this crate's writers) is taken out again rather than wrapped twice.
    pub fn from_io(path: &Path, cause: io::Error) -> Self {
        cause.downcast::<Self>().unwrap_or_else(|cause| Self::Io { path: path.to_owned(), cause })
    }

    /// Whether the disk, or the user's share of it, was full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { cause, .. }
            if matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// For use behind [`std::io::Write`]: the kind stays, and the message keeps the path.
impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Io { cause, .. } => cause.kind(),
            WriteError::Unfinished { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

fn versions(oldest: u32, newest: u32) -> String {
    if oldest == newest { format!("version {oldest}") } else { format!("version {oldest} to {newest}") }
}

fn names(sections: &[SectionId]) -> String {
    if sections.is_empty() {
        return "none".to_owned();
    }
    sections.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_a_sentence_with_the_path_and_both_sides() {
        let path = PathBuf::from("a.bin");
        let section = SectionId::new("links");
        let cases = [
            (
                OpenError::TooShort { path: path.clone(), expected: 8192, found: 12 },
                "a.bin is cut short: expected 8192 bytes, found 12",
            ),
            (
                OpenError::NotNearlab { path: path.clone(), found: *b"\x89HDF\r\n\x1a\n" },
                r#"a.bin is not a nearlab file: expected it to begin with "NEARLAB\0", found "\x89HDF\r\n\x1a\n""#,
            ),
            (
                OpenError::Version { path: path.clone(), kind: FileKind::new("hnsw"), oldest: 1, newest: 1, found: 3 },
                "a.bin has version 3 of the format `hnsw`, expected version 1",
            ),
            (
                OpenError::Version { path: path.clone(), kind: FileKind::new("ivf"), oldest: 1, newest: 2, found: 3 },
                "a.bin has version 3 of the format `ivf`, expected version 1 to 2",
            ),
            (
                OpenError::MissingSection { path: path.clone(), section, found: vec![] },
                "a.bin has no section `links`: found none",
            ),
            (
                OpenError::MissingSection {
                    path: path.clone(),
                    section,
                    found: vec![SectionId::new("meta"), SectionId::new("train")],
                },
                "a.bin has no section `links`: found `meta`, `train`",
            ),
            (
                OpenError::Corrupt {
                    path,
                    offset: 4096,
                    place: Place::Section(section),
                    expected: "checksum 01".to_owned(),
                    found: "02".to_owned(),
                },
                "a.bin is damaged at byte 4096: section `links` should have checksum 01, found 02",
            ),
        ];
        for (error, message) in cases {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_write_error_passes_through_io_and_comes_out_the_same() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let inner = WriteError::from_io(Path::new("final"), full());
        assert!(inner.is_disk_full());
        let passed = io::Error::from(inner);
        assert_eq!(passed.kind(), io::ErrorKind::StorageFull);
        let outer = WriteError::from_io(Path::new("other"), passed);
        assert_eq!(outer.to_string(), format!("cannot write final: {}", full()));

        let unfinished = WriteError::Unfinished { path: "final".into(), section: SectionId::new("links") };
        assert!(!unfinished.is_disk_full());
        let outer = WriteError::from_io(Path::new("other"), unfinished.into());
        assert_eq!(outer.to_string(), "cannot write final: section `links` was begun but not finished");
    }
}

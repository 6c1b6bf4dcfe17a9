//! The container: one file of named, page-aligned, checksummed sections.
//!
//! [`ContainerWriter`] builds it, [`Container`] maps it, `layout` is the one place where both learn which byte stands
//! where, and `docs/formats.md` says the same in prose.
//!
//! Invariants: a file has exactly one layout for a given list of sections (they follow each other without gaps other
//! than the padding to the page, which is zero), so there is nothing in a valid file that no checksum or rule covers.
//! Numbers are little-endian. What the sections mean is the business of the kind's own reader.

mod layout;
mod reader;
mod writer;

use std::fmt;

pub use layout::{MAX_SECTIONS, Section};
pub use reader::{Container, Verify};
pub use writer::{ContainerWriter, SectionWriter};

/// What a file holds, such as `hnsw`: up to eight ASCII bytes, the rest zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKind(pub [u8; 8]);

/// The name of a section within its file, such as `links`: up to eight ASCII bytes, the rest zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SectionId(pub [u8; 8]);

impl FileKind {
    /// The kind of this name. Panics, at compile time in a `const`, unless it is 1 to 8 visible ASCII characters.
    pub const fn new(name: &str) -> Self {
        Self(padded(name))
    }
}

impl SectionId {
    /// The section of this name. Panics, at compile time in a `const`, unless it is 1 to 8 visible ASCII characters.
    pub const fn new(name: &str) -> Self {
        Self(padded(name))
    }
}

const fn padded(name: &str) -> [u8; 8] {
    let name = name.as_bytes();
    assert!(!name.is_empty() && name.len() <= 8, "the name of a kind or section has 1 to 8 characters");
    let mut bytes = [0; 8];
    let mut i = 0;
    while i < name.len() {
        assert!(name[i].is_ascii_graphic(), "the name of a kind or section is made of visible ASCII characters");
        bytes[i] = name[i];
        i += 1;
    }
    bytes
}

/// The name without its padding, whatever bytes a foreign file has there.
fn shown(bytes: [u8; 8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    write!(f, "{}", bytes[..end].escape_ascii())
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(self.0, f)
    }
}

impl fmt::Debug for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKind({self})")
    }
}

impl fmt::Display for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(self.0, f)
    }
}

impl fmt::Debug for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SectionId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_its_padding_and_with_odd_bytes_escaped() {
        assert_eq!(FileKind::new("hnsw").0, *b"hnsw\0\0\0\0");
        assert_eq!(format!("{} {:?}", FileKind::new("hnsw"), FileKind::new("hnsw")), "hnsw FileKind(hnsw)");
        assert_eq!(format!("{:?}", SectionId::new("metadata")), "SectionId(metadata)");
        assert_eq!(SectionId(*b"\xff\0a\n\0\0\0\0").to_string(), r"\xff\x00a\n");
        assert_eq!(SectionId([0; 8]).to_string(), "");
    }

    #[test]
    #[should_panic(expected = "1 to 8 characters")]
    fn a_name_of_nine_characters_is_refused() {
        let _ = SectionId::new("neighbors");
    }

    #[test]
    #[should_panic(expected = "visible ASCII")]
    fn a_name_with_a_blank_is_refused() {
        let _ = FileKind::new("a b");
    }
}

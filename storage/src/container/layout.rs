//! Which byte stands where. `docs/formats.md` is this file in prose; change them together.
//!
//! Header page (4096 bytes), all numbers little-endian:
//!
//! | bytes      | content                                        |
//! |------------|------------------------------------------------|
//! | 0..8       | magic `NEARLAB\0`                              |
//! | 8..12      | byte order mark 0x01020304                     |
//! | 12..16     | container version                              |
//! | 16..24     | kind                                           |
//! | 24..28     | format version of the kind                     |
//! | 28..32     | number of sections                             |
//! | 32..40     | length of the file                             |
//! | 40..64     | zero                                           |
//! | 64..4064   | section table, 32 bytes each, the unused zero  |
//! | 4064..4088 | zero                                           |
//! | 4088..4096 | XXH3-64 of bytes 0..4088                       |
//!
//! Table entry: id (8), offset (8), length (8), XXH3-64 of the section's bytes (8).

use std::ops::RangeInclusive;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::{FileKind, SectionId};
use crate::{OpenError, Place};

/// Sections begin at multiples of this, and so does the end of the file. It is the smallest page of the machines in
/// use and the block that direct input asks for; it is a property of the format, not of the machine.
pub(super) const PAGE: u64 = 4096;
/// The most sections a file can have: as many as the header page has room for.
pub const MAX_SECTIONS: usize = 125;

const MAGIC: [u8; 8] = *b"NEARLAB\0";
const BYTE_ORDER: u32 = 0x0102_0304;
const CONTAINER_VERSION: u32 = 1;
const TABLE: usize = 64;
const ENTRY: usize = 32;
const CHECKSUM: usize = PAGE as usize - 8;

/// One line of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The section's name.
    pub id: SectionId,
    /// Where it begins, in bytes from the start of the file: a multiple of 4096.
    pub offset: u64,
    /// Its length in bytes, without the padding that follows.
    pub len: u64,
    /// XXH3-64 (seed 0) of its bytes.
    pub checksum: u64,
}

impl Section {
    /// Where the next section begins, or `None` when no file can be that long.
    pub(super) fn next_offset(&self) -> Option<u64> {
        self.offset.checked_add(self.len)?.checked_next_multiple_of(PAGE)
    }
}

/// The header page, decoded.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: FileKind,
    pub(super) format_version: u32,
    pub(super) file_len: u64,
    pub(super) sections: Vec<Section>,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; PAGE as usize] {
        assert!(self.sections.len() <= MAX_SECTIONS, "a container has at most {MAX_SECTIONS} sections");
        let mut page = [0; PAGE as usize];
        page[0..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&BYTE_ORDER.to_le_bytes());
        page[12..16].copy_from_slice(&CONTAINER_VERSION.to_le_bytes());
        page[16..24].copy_from_slice(&self.kind.0);
        page[24..28].copy_from_slice(&self.format_version.to_le_bytes());
        page[28..32].copy_from_slice(&(self.sections.len() as u32).to_le_bytes());
        page[32..40].copy_from_slice(&self.file_len.to_le_bytes());
        for (section, entry) in self.sections.iter().zip(page[TABLE..].chunks_exact_mut(ENTRY)) {
            entry[0..8].copy_from_slice(&section.id.0);
            entry[8..16].copy_from_slice(&section.offset.to_le_bytes());
            entry[16..24].copy_from_slice(&section.len.to_le_bytes());
            entry[24..32].copy_from_slice(&section.checksum.to_le_bytes());
        }
        let checksum = xxh3_64(&page[..CHECKSUM]);
        page[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        page
    }

    /// Decodes and checks the header of `file`, from what says most about a wrong file to what says least: is it
    /// ours, is it undamaged, is it the kind and version wanted, is it whole, does the table fit the file.
    pub(super) fn decode(
        file: &[u8],
        path: &Path,
        kind: FileKind,
        supported: &RangeInclusive<u32>,
    ) -> Result<Self, OpenError> {
        let page = intact_page(file, path)?;
        let header = Self {
            kind: FileKind(bytes_at(page, 16)),
            format_version: u32_at(page, 24),
            file_len: u64_at(page, 32),
            sections: table(page, path)?,
        };
        if header.kind != kind {
            return Err(OpenError::ForeignKind { path: path.to_owned(), expected: kind, found: header.kind });
        }
        if !supported.contains(&header.format_version) {
            return Err(OpenError::Version {
                path: path.to_owned(),
                kind,
                oldest: *supported.start(),
                newest: *supported.end(),
                found: header.format_version,
            });
        }
        let (expected, found) = (header.file_len, file.len() as u64);
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => Err(OpenError::TooShort { path: path.to_owned(), expected, found }),
            std::cmp::Ordering::Greater => Err(OpenError::TooLong { path: path.to_owned(), expected, found }),
            std::cmp::Ordering::Equal => {
                header.check_layout(path)?;
                Ok(header)
            }
        }
    }

    /// Sections lie one after the other, each on its page, under names of their own, and fill the file to its end.
    /// Only a faulty or malicious writer fails here: the checksum has been checked.
    fn check_layout(&self, path: &Path) -> Result<(), OpenError> {
        let mut end = PAGE;
        for (i, section) in self.sections.iter().enumerate() {
            let name = section.id;
            if self.sections[..i].iter().any(|earlier| earlier.id == name) {
                return Err(damaged(path, "sections of different names", format!("`{name}` twice")));
            }
            if section.offset != end {
                let expected = format!("section `{name}` at byte {end}");
                return Err(damaged(path, expected, format!("it at byte {}", section.offset)));
            }
            end = section.next_offset().filter(|&end| end <= self.file_len).ok_or_else(|| {
                let expected = format!("section `{name}` inside the file of {} bytes", self.file_len);
                damaged(path, expected, format!("{} bytes from byte {}", section.len, section.offset))
            })?;
        }
        if end != self.file_len {
            return Err(damaged(path, format!("a file length of {end}"), self.file_len.to_string()));
        }
        Ok(())
    }
}

/// The header page, after the checks that need no meaning: long enough, ours, of a layout we know, undamaged.
fn intact_page<'a>(file: &'a [u8], path: &Path) -> Result<&'a [u8], OpenError> {
    let too_short = || OpenError::TooShort { path: path.to_owned(), expected: PAGE, found: file.len() as u64 };
    let found = *file.first_chunk::<8>().ok_or_else(too_short)?;
    if found != MAGIC {
        return Err(OpenError::NotNearlab { path: path.to_owned(), found });
    }
    let page = file.get(..PAGE as usize).ok_or_else(too_short)?;
    if u32_at(page, 8) != BYTE_ORDER {
        return Err(damaged(path, format!("byte order mark {BYTE_ORDER:08x}"), format!("{:08x}", u32_at(page, 8))));
    }
    // Before the checksum, because a later container may keep its checksum elsewhere.
    if u32_at(page, 12) != CONTAINER_VERSION {
        return Err(OpenError::ContainerVersion {
            path: path.to_owned(),
            expected: CONTAINER_VERSION,
            found: u32_at(page, 12),
        });
    }
    let (expected, found) = (u64_at(page, CHECKSUM), xxh3_64(&page[..CHECKSUM]));
    if found != expected {
        return Err(damaged(path, format!("checksum {expected:016x}"), format!("{found:016x}")));
    }
    Ok(page)
}

fn table(page: &[u8], path: &Path) -> Result<Vec<Section>, OpenError> {
    let count = u32_at(page, 28) as usize;
    if count > MAX_SECTIONS {
        return Err(damaged(path, format!("at most {MAX_SECTIONS} sections"), count.to_string()));
    }
    let used = TABLE + count * ENTRY;
    if page[40..TABLE].iter().chain(&page[used..CHECKSUM]).any(|&byte| byte != 0) {
        return Err(damaged(path, "zero in its unused bytes", "something else".to_owned()));
    }
    let entries = page[TABLE..used].chunks_exact(ENTRY);
    Ok(entries
        .map(|entry| Section {
            id: SectionId(bytes_at(entry, 0)),
            offset: u64_at(entry, 8),
            len: u64_at(entry, 16),
            checksum: u64_at(entry, 24),
        })
        .collect())
}

fn damaged(path: &Path, expected: impl Into<String>, found: String) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), offset: 0, place: Place::Header, expected: expected.into(), found }
}

fn bytes_at<const N: usize>(page: &[u8], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&page[offset..offset + N]);
    bytes
}

fn u32_at(page: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes_at(page, offset))
}

fn u64_at(page: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes_at(page, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FileKind = FileKind::new("test");

    fn section(name: &str, offset: u64, len: u64) -> Section {
        Section { id: SectionId::new(name), offset, len, checksum: 1 }
    }

    /// The header page of a file with these sections, followed by zeros up to `file_len`.
    fn file(file_len: u64, sections: Vec<Section>) -> Vec<u8> {
        let mut bytes = Header { kind: KIND, format_version: 1, file_len, sections }.encode().to_vec();
        bytes.resize(file_len.min(1 << 20) as usize, 0);
        bytes
    }

    /// Gives a header that was tampered with the checksum that fits it, as a malicious writer would.
    fn seal(bytes: &mut [u8]) {
        let checksum = xxh3_64(&bytes[..CHECKSUM]);
        bytes[CHECKSUM..PAGE as usize].copy_from_slice(&checksum.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Header, OpenError> {
        Header::decode(bytes, Path::new("a.bin"), KIND, &(1..=1))
    }

    #[test]
    fn a_header_decodes_to_what_was_encoded() {
        let sections = vec![section("empty", 4096, 0), section("a", 4096, 5000), section("b", 12288, 1)];
        let header = decode(&file(16384, sections.clone())).unwrap();
        assert_eq!((header.kind, header.format_version, header.file_len), (KIND, 1, 16384));
        assert_eq!(header.sections, sections);
        assert!(decode(&file(4096, vec![])).unwrap().sections.is_empty());
    }

    #[test]
    fn the_table_takes_its_full_number_of_sections_and_no_more() {
        let sections: Vec<_> = (0..MAX_SECTIONS).map(|i| section(&i.to_string(), 4096, 0)).collect();
        let mut bytes = file(4096, sections);
        assert_eq!(decode(&bytes).unwrap().sections.len(), MAX_SECTIONS);
        for count in [126, u32::MAX] {
            bytes[28..32].copy_from_slice(&count.to_le_bytes());
            seal(&mut bytes);
            let message = decode(&bytes).unwrap_err().to_string();
            assert_eq!(
                message,
                format!("a.bin is damaged at byte 0: the header should have at most 125 sections, found {count}")
            );
        }
    }

    #[test]
    #[should_panic(expected = "at most 125 sections")]
    fn a_header_of_too_many_sections_is_never_encoded() {
        file(4096, vec![section("a", 4096, 0); MAX_SECTIONS + 1]);
    }

    #[test]
    fn a_table_that_does_not_fit_the_file_is_refused_for_what_it_is() {
        let cases = [
            (file(8192, vec![section("a", 4096, 1), section("a", 8192, 0)]), "`a` twice"),
            (file(8192, vec![section("a", 4097, 1)]), "section `a` at byte 4096, found it at byte 4097"),
            (file(12288, vec![section("a", 4096, 1), section("b", 4096, 1)]), "section `b` at byte 8192"),
            (file(8192, vec![section("a", 4096, 4097)]), "inside the file of 8192 bytes, found 4097 bytes"),
            (file(8192, vec![section("a", 4096, u64::MAX)]), "inside the file of 8192 bytes"),
            (file(8192, vec![section("a", 4096, u64::MAX - 4096)]), "inside the file of 8192 bytes"),
            (file(12288, vec![section("a", 4096, 1)]), "a file length of 8192, found 12288"),
            (file(5000, vec![section("a", 4096, 904)]), "inside the file of 5000 bytes"),
        ];
        for (bytes, message) in cases {
            let error = decode(&bytes).unwrap_err();
            assert!(matches!(error, OpenError::Corrupt { place: Place::Header, .. }), "{error:?}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn bytes_without_a_meaning_must_be_zero() {
        for at in [40, 63, TABLE + ENTRY, CHECKSUM - 1] {
            let mut bytes = file(8192, vec![section("a", 4096, 1)]);
            bytes[at] = 1;
            seal(&mut bytes);
            let message = decode(&bytes).unwrap_err().to_string();
            assert!(message.contains("zero in its unused bytes"), "byte {at}: {message}");
        }
    }

    #[test]
    fn another_byte_order_or_container_version_is_named() {
        let mut bytes = file(4096, vec![]);
        bytes[8..12].reverse();
        let message = decode(&bytes).unwrap_err().to_string();
        assert_eq!(
            message,
            "a.bin is damaged at byte 0: the header should have byte order mark 01020304, found 04030201"
        );
        let mut bytes = file(4096, vec![]);
        bytes[12] = 2;
        let message = decode(&bytes).unwrap_err().to_string();
        assert_eq!(message, "a.bin has container version 2, expected 1: it was written by another nearlab");
    }
}

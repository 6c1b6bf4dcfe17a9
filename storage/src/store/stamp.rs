//! The first bytes of a log and of a segment: which file of which store it is. `docs/formats.md` gives the layout.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;

/// Length of a stamp.
pub(super) const STAMP: usize = 64;

const MAGIC: [u8; 8] = *b"NEARLAB\0";
const BYTE_ORDER: u32 = 0x0102_0304;
const VERSION: u32 = 1;

/// Which file of which store this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// `log`, `segment` or `packed`, filled up with zeros.
    pub(super) kind: [u8; 8],
    pub(super) store: [u8; 16],
    pub(super) number: u32,
    /// Bytes of a row, in a segment.
    pub(super) row_bytes: u32,
    /// Rows that a segment has room for.
    pub(super) capacity: u32,
}

impl Stamp {
    pub(super) const LOG: [u8; 8] = *b"log\0\0\0\0\0";
    pub(super) const SEGMENT: [u8; 8] = *b"segment\0";
    pub(super) const PACKED: [u8; 8] = *b"packed\0\0";

    pub(super) fn encode(&self) -> [u8; STAMP] {
        let mut bytes = [0; STAMP];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&BYTE_ORDER.to_le_bytes());
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.kind);
        bytes[24..40].copy_from_slice(&self.store);
        bytes[40..44].copy_from_slice(&self.number.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.row_bytes.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.capacity.to_le_bytes());
        let checksum = xxh3_64(&bytes[..56]);
        bytes[56..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Whether `file` begins with this stamp.
    pub(super) fn check(&self, file: &[u8], path: &Path) -> Result<(), StoreError> {
        let expected = self.encode();
        match file.get(..STAMP) {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(StoreError::corrupt(path, 0, Hex(&expected), Hex(found))),
            None => Err(StoreError::corrupt(
                path,
                0,
                format_args!("a stamp of {STAMP} bytes"),
                format_args!("a file of {} bytes", file.len()),
            )),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the stamp ")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

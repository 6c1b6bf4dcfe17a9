//! The first bytes of an HDF5 file (HDF5 File Format Specification 3.0, section II.A): the signature, and the end of the
//! file as its writer left it, by which a file that was cut off is known before anything else in it is believed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::source::ReadError;

/// The signature stands at byte 0, or after a user block at 512, 1024, 2048, ...
const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Refuses a file without a signature, or shorter than it says.
pub(super) fn check(path: &Path, file: &File, length: u64) -> Result<(), ReadError> {
    let at = find_signature(path, file, length)?;
    match announced_end(file, at) {
        Some(end) if end > length => Err(ReadError::truncated(path, "the file", end, length)),
        _ => Ok(()),
    }
}

fn find_signature(path: &Path, file: &File, length: u64) -> Result<u64, ReadError> {
    let mut first = [0; 8];
    let mut at = 0;
    while at + 8 <= length {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).map_err(|e| ReadError::io(path, "read the signature", e))?;
        if &bytes == SIGNATURE {
            return Ok(at);
        }
        if at == 0 {
            first = bytes;
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
    let found = match length {
        0..8 => format!("{length} bytes"),
        _ => format!("`{}`", first.escape_ascii()),
    };
    Err(ReadError::malformed(path, "first bytes", "the HDF5 signature `\\x89HDF\\r\\n\\x1a\\n`", found))
}

/// The end-of-file address of the superblock that starts at `at`; nothing where it cannot be read, or addresses are not
/// eight bytes long: then the library decides.
fn announced_end(file: &File, at: u64) -> Option<u64> {
    let mut head = [0; 16];
    file.read_exact_at(&mut head, at).ok()?;
    let (address_bytes, end_at) = match head[8] {
        0 => (head[13], 40),
        1 => (head[13], 44),
        2 | 3 => (head[9], 28),
        _ => return None,
    };
    if address_bytes != 8 {
        return None;
    }
    let mut end = [0; 8];
    file.read_exact_at(&mut end, at + end_at).ok()?;
    Some(u64::from_le_bytes(end)).filter(|&end| end != u64::MAX)
}

//! Which byte of a page file stands where. `docs/formats.md` gives the same as a table.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What the database calls a page.
pub(super) const PAGE: u64 = 4096;
/// A page with its checksum before it.
pub(super) const STRIDE: u64 = PAGE + 8;
/// Length of the stamp that a file begins with.
pub(super) const STAMP: usize = 64;
/// The two copies of page 0.
pub(super) const COPIES_AT: [u64; 2] = [4096, 8192];
/// A copy of page 0: one sector, which a disk writes whole or not at all.
pub(super) const COPY: usize = 512;
/// So much of page 0 is kept; the database uses less, the rest is zero.
pub(super) const HEAD: usize = COPY - 16;
/// Page 1.
const REST_AT: u64 = 12288;

const MAGIC: [u8; 8] = *b"NEARLAB\0";
const BYTE_ORDER: u32 = 0x0102_0304;
const KIND: [u8; 8] = *b"metadata";
/// Version 1 is the database's own file, without checksums.
pub(super) const VERSION: u32 = 2;

/// Where in the database's header its flags stand, and the one which says that it was not closed.
const FLAGS_AT: usize = 9;
const UNCLOSED: u8 = 2;

/// The first bytes of a file whose checksums are seeded with `key`.
pub(super) fn stamp(key: u64) -> [u8; STAMP] {
    let mut bytes = [0; STAMP];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&BYTE_ORDER.to_le_bytes());
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&KIND);
    bytes[24..32].copy_from_slice(&key.to_le_bytes());
    let checksum = xxh3_64(&bytes[..56]);
    bytes[56..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The key of the stamp, or what is found instead.
pub(super) fn key_of(bytes: &[u8; STAMP]) -> Result<u64, String> {
    let key = u64_at(bytes, 24);
    if *bytes == stamp(key) {
        return Ok(key);
    }
    if u64_at(bytes, 56) == xxh3_64(&bytes[..56]) {
        let version = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        return Err(format!("version {version}, expected {VERSION} at most"));
    }
    Err("a damaged stamp at byte 0".to_owned())
}

/// Where a page lies, with its checksum; not page 0.
pub(super) fn place(page: u64) -> u64 {
    REST_AT + (page - 1) * STRIDE
}

/// The length of the file in which a database has `len` bytes.
pub(super) fn physical(len: u64) -> u64 {
    if len == 0 { COPIES_AT[0] } else { place(len / PAGE) }
}

/// The length of the database in a file of `len` bytes; none if there is no such length.
pub(super) fn logical(len: u64) -> Option<u64> {
    if len == COPIES_AT[0] {
        return Some(0);
    }
    let rest = len.checked_sub(REST_AT)?;
    rest.is_multiple_of(STRIDE).then_some((rest / STRIDE + 1) * PAGE)
}

/// The checksum of a page; 0 of one that was never written.
pub(super) fn checksum(key: u64, page: u64, bytes: &[u8]) -> u64 {
    let sum = xxh3_64_with_seed(bytes, key ^ page);
    if sum == 0 { 1 } else { sum }
}

/// What is wrong with a page and the checksum before it, in words.
pub(super) fn mistake(key: u64, page: u64, stored: &[u8]) -> Option<String> {
    let (expected, bytes) = (u64_at(stored, 0), &stored[8..]);
    let found = checksum(key, page, bytes);
    if expected == found || (expected == 0 && bytes.iter().all(|&byte| byte == 0)) {
        return None;
    }
    Some(format!("a page at byte {} with the checksum {found:#018x}, expected {expected:#018x}", place(page)))
}

/// Page 0, and how many times it had been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) turn: u64,
    pub(super) bytes: [u8; HEAD],
}

impl Head {
    /// A copy of it.
    pub(super) fn encode(&self, key: u64) -> [u8; COPY] {
        let mut copy = [0; COPY];
        copy[8..16].copy_from_slice(&self.turn.to_le_bytes());
        copy[16..].copy_from_slice(&self.bytes);
        let checksum = checksum(key, 0, &copy[8..]);
        copy[..8].copy_from_slice(&checksum.to_le_bytes());
        copy
    }

    /// What a copy holds, if it is whole.
    pub(super) fn decode(key: u64, copy: &[u8; COPY]) -> Option<Self> {
        let mut bytes = [0; HEAD];
        bytes.copy_from_slice(&copy[16..]);
        (u64_at(copy, 0) == checksum(key, 0, &copy[8..])).then(|| Self { turn: u64_at(copy, 8), bytes })
    }

    /// Whether the database was not closed.
    pub(super) fn is_unclosed(&self) -> bool {
        self.bytes[FLAGS_AT] & UNCLOSED != 0
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_go_there_and_back() {
        for len in [0, PAGE, 2 * PAGE, 100 * PAGE] {
            assert_eq!(logical(physical(len)), Some(len));
        }
        assert_eq!((physical(PAGE), physical(2 * PAGE)), (12288, 12288 + 4104));
        for len in [0, 64, 4095, 8192, 12287, 12289, 12288 + 4096] {
            assert_eq!(logical(len), None, "{len}");
        }
    }

    #[test]
    fn a_stamp_gives_its_key_and_nothing_else_does() {
        let whole = stamp(77);
        assert_eq!(key_of(&whole), Ok(77));
        for bit in 0..STAMP * 8 {
            let mut damaged = whole;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(key_of(&damaged).unwrap_err().contains("damaged"), "{bit}");
        }
        let mut later = whole;
        later[12] = 3;
        let checksum = xxh3_64(&later[..56]);
        later[56..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(key_of(&later).unwrap_err(), "version 3, expected 2 at most");
    }

    #[test]
    fn a_page_that_moved_or_changed_is_noticed_and_one_never_written_is_not() {
        let mut stored = vec![0; STRIDE as usize];
        assert_eq!(mistake(5, 3, &stored), None);
        stored[100] = 1;
        assert!(mistake(5, 3, &stored).is_some());
        let sum = checksum(5, 3, &stored[8..]);
        stored[..8].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(mistake(5, 3, &stored), None);
        assert!(mistake(5, 4, &stored).unwrap().starts_with("a page at byte 24600 with the checksum 0x"));
        assert!(mistake(4, 3, &stored).is_some());
        let head = Head { turn: 9, bytes: [7; HEAD] };
        let mut copy = head.encode(5);
        assert_eq!(Head::decode(5, &copy), Some(head));
        copy[20] ^= 1;
        assert_eq!(Head::decode(5, &copy), None);
    }
}

//! The log: what happened since the manifest was written, one record after another. It is the truth; vectors and ids of a
//! commit count once its record stands here whole.
//!
//! A record is 48 bytes and a payload, filled up with zeros to a multiple of 8:
//!
//! | bytes  | content                                                                  |
//! |--------|--------------------------------------------------------------------------|
//! | 0..4   | magic `nlog`                                                             |
//! | 4..8   | kind: 1 commit, 2 segment, 3 mark                                        |
//! | 8..16  | length of the payload                                                    |
//! | 16..24 | sequence: of the commit, or of the last one before                       |
//! | 24..32 | synced: so many bytes of the log were durable, and the rows they speak of|
//! | 32..40 | XXH3-64 of the payload                                                   |
//! | 40..48 | XXH3-64 of bytes 0..40, seeded with the log's key (see below)             |
//!
//! The key of a log is the XXH3-64 of its store's id, seeded with its number: what stands in an attachment is never taken for
//! a record.
//!
//! `synced` tells an interrupted write from damage: what was durable once and can not be read now is damaged. A mark says
//! nothing else; it follows each sync.

mod commit;
mod replay;
mod writer;

pub(super) use commit::{Commit, OwnedIds, Span};
pub(super) use replay::{Replayed, replay};
pub(super) use writer::{LogWriter, Stuck, log_name};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const MAGIC: [u8; 4] = *b"nlog";
/// Length of a record's header.
const HEADER: usize = 48;
/// Records begin at multiples of this.
const ALIGN: usize = 8;

/// The kinds of records.
const COMMIT: u32 = 1;
const SEGMENT: u32 = 2;
const MARK: u32 = 3;

/// The key of a log of `store`.
pub(super) fn key_of(store: &[u8; 16], number: u32) -> u64 {
    xxh3_64_with_seed(store, u64::from(number))
}

/// What a record says.
#[derive(Debug)]
pub(super) enum Entry {
    /// Vectors came and went.
    Commit(Commit),
    /// A segment was begun: its number and the rows it has room for.
    Segment { number: u32, capacity: u32 },
    /// Nothing but how far the log is durable.
    Mark,
}

/// The first bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: u32,
    len: u64,
    sequence: u64,
    synced: u64,
    payload: u64,
}

impl Header {
    fn of(kind: u32, payload: &[u8], sequence: u64, synced: u64) -> Self {
        Self { kind, len: payload.len() as u64, sequence, synced, payload: xxh3_64(payload) }
    }

    fn encode(&self, key: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.kind.to_le_bytes());
        for (at, value) in [(8, self.len), (16, self.sequence), (24, self.synced), (32, self.payload)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let checksum = xxh3_64_with_seed(&bytes[..40], key);
        bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header at the beginning of `bytes`, if it is whole.
    fn decode(bytes: &[u8], key: u64) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let sound = bytes[..4] == MAGIC && xxh3_64_with_seed(&bytes[..40], key) == u64_at(40);
        sound.then(|| Self {
            kind: u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")),
            len: u64_at(8),
            sequence: u64_at(16),
            synced: u64_at(24),
            payload: u64_at(32),
        })
    }
}

//! Reading a log again: every record that stands there whole, up to the first that does not.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::{ALIGN, COMMIT, Commit, Entry, HEADER, Header, MAGIC, MARK, SEGMENT};
use crate::store::StoreError;
use crate::store::stamp::STAMP;

/// What a log says.
#[derive(Debug)]
pub(in crate::store) struct Replayed {
    /// What happened, each with where its record begins.
    pub(in crate::store) entries: Vec<(u64, Entry)>,
    /// Where the next record goes: what stands there now was not finished.
    pub(in crate::store) end: u64,
    /// So many bytes were durable once, and the rows they speak of.
    pub(in crate::store) synced: u64,
}

/// Reads the records of the log with this key, after its stamp; the first commit follows `sequence`.
///
/// A record that is not whole ends the log if it can be one that was being written when the end came, and is damage if it was
/// durable once.
pub(in crate::store) fn replay(file: &[u8], path: &Path, key: u64, mut sequence: u64) -> Result<Replayed, StoreError> {
    let synced = synced(file, key);
    let mut replayed = Replayed { entries: Vec::new(), end: STAMP as u64, synced };
    while replayed.end < file.len() as u64 {
        let at = replayed.end;
        match record(file, at as usize, key) {
            Ok((header, payload)) => {
                let entry = entry(header, payload).map_err(|(expected, found)| {
                    StoreError::corrupt(path, at, format_args!("a record with {expected}"), found)
                })?;
                sequence += u64::from(matches!(entry, Entry::Commit(_)));
                if header.sequence != sequence {
                    let expected = format_args!("a record of sequence {sequence}");
                    return Err(StoreError::corrupt(path, at, expected, header.sequence));
                }
                replayed.entries.push((at, entry));
                replayed.end = after(at as usize, payload.len()) as u64;
            }
            Err(found) if at < synced => return Err(StoreError::corrupt(path, at, "a whole record", found)),
            Err(_) => break,
        }
    }
    Ok(replayed)
}

/// The most that any whole record says was durable, wherever it stands: one that can not be read hides none behind it.
fn synced(file: &[u8], key: u64) -> u64 {
    let mut synced = STAMP as u64;
    let mut at = STAMP;
    while at + HEADER <= file.len() {
        at = match record(file, at, key) {
            Ok((header, payload)) => {
                synced = synced.max(header.synced);
                after(at, payload.len())
            }
            Err(_) => at + ALIGN,
        };
    }
    synced
}

fn after(at: usize, payload: usize) -> usize {
    (at + HEADER + payload).next_multiple_of(ALIGN)
}

/// The record at `at`, or what stands there instead.
fn record(file: &[u8], at: usize, key: u64) -> Result<(Header, &[u8]), &'static str> {
    let rest = &file[at..];
    if !rest.starts_with(&MAGIC) {
        return Err("other bytes");
    }
    let header = Header::decode(rest, key).ok_or("a record whose header does not fit its checksum")?;
    let padded = header.len.checked_next_multiple_of(ALIGN as u64);
    let fits = padded.is_some_and(|padded| padded <= (rest.len() - HEADER) as u64);
    let payload = fits.then(|| &rest[HEADER..HEADER + header.len as usize]);
    let payload = payload.ok_or("a record that goes on after the end of the file")?;
    if xxh3_64(payload) != header.payload {
        return Err("a record whose payload does not fit its checksum");
    }
    Ok((header, payload))
}

/// What a whole record says, or what was expected and found: nobody wrote such a record.
fn entry(header: Header, payload: &[u8]) -> Result<Entry, (&'static str, String)> {
    match header.kind {
        COMMIT => {
            Commit::decode(header.sequence, payload).map(Entry::Commit).map_err(|found| ("a sound commit", found))
        }
        SEGMENT => {
            let (parts, rest) = payload.as_chunks::<4>();
            match (parts, rest) {
                ([number, capacity], []) => {
                    Ok(Entry::Segment { number: u32::from_le_bytes(*number), capacity: u32::from_le_bytes(*capacity) })
                }
                _ => Err(("a segment in 8 bytes", format!("{} bytes", payload.len()))),
            }
        }
        MARK => Ok(Entry::Mark),
        kind => Err(("a kind from 1 to 3", kind.to_string())),
    }
}

//! The file of a packed segment: its rows block by block, each compressed by itself.
//!
//! It is written once and never changed. A block is unpacked into memory when one of its rows is first read, compared with its
//! checksums, and stays there for as long as its segment is kept. `docs/formats.md` gives every byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;
use super::codec::{Library, Packer, Packing};
use super::log::Span;
use super::segment::{block_rows, segment_name};
use super::stamp::{STAMP, Stamp};
use crate::disk::Disk;
use crate::mmap::{Map, Pieces};

/// Bytes between the stamp and the index.
const HEAD: usize = 32;
/// Where the index begins.
const INDEX_AT: usize = STAMP + HEAD;
/// Bytes of an entry of the index.
const ENTRY: usize = 16;

/// A block in the file.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Where it ends.
    end: u64,
    /// XXH3-64 of what stands in the file.
    hash: u64,
}

/// A file that was opened.
#[derive(Debug)]
struct PackedFile {
    path: PathBuf,
    map: Map,
    packing: Packing,
    /// Bytes of its rows.
    len: usize,
    /// Bytes of the rows of a block; of the last one, up to so many.
    block: usize,
    blocks: Vec<Block>,
}

/// The rows of a packed segment.
#[derive(Debug)]
pub(super) struct PackedRows {
    file: Arc<PackedFile>,
    unpacked: Pieces,
}

/// Writes a packed segment of the rows, which come in order and are as many as its stamp says, and makes it durable, but for
/// its name. The checksums of its rows.
pub(super) fn write<'a>(
    disk: &dyn Disk,
    stamp: &Stamp,
    mut packer: Packer,
    mut rows: impl Iterator<Item = Result<&'a [u8], StoreError>>,
) -> Result<Vec<Span>, StoreError> {
    let name = segment_name(stamp.number);
    let path = disk.path(&name);
    let file = disk.create(&name).map_err(StoreError::io("create", &path))?;
    let block = block_rows(stamp.row_bytes as usize);
    let mut end = data_at(stamp.capacity.div_ceil(block) as usize);
    let (mut index, mut spans, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for first in (0..stamp.capacity).step_by(block as usize) {
        plain.clear();
        rows.by_ref().take(block as usize).try_for_each(|row| row.map(|row| plain.extend_from_slice(row)))?;
        let stored = packer.pack(&plain).map_err(StoreError::io("pack rows for", &path))?;
        file.write_all_at(end, stored).map_err(StoreError::io("write", &path))?;
        end += stored.len() as u64;
        index.extend(end.to_le_bytes());
        index.extend(xxh3_64(stored).to_le_bytes());
        let rows = (stamp.capacity - first).min(block);
        spans.push(Span { segment: stamp.number, first, rows, hash: xxh3_64(&plain) });
    }
    let mut head = stamp.encode().to_vec();
    head.extend((packer.packing().library as u32).to_le_bytes());
    head.extend(packer.packing().width.to_le_bytes());
    head.extend(end.to_le_bytes());
    head.extend(xxh3_64(&index).to_le_bytes());
    head.extend(xxh3_64(&head[STAMP..]).to_le_bytes());
    head.extend(index);
    file.write_all_at(0, &head).map_err(StoreError::io("write", &path))?;
    file.sync().map_err(StoreError::io("sync", &path))?;
    Ok(spans)
}

/// Where the blocks begin.
fn data_at(blocks: usize) -> u64 {
    (INDEX_AT + blocks * ENTRY) as u64
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl PackedRows {
    /// Opens the file of a packed segment, whose stamp says how many rows it holds.
    pub(super) fn open(path: &Path, stamp: &Stamp) -> Result<Self, StoreError> {
        let map = Map::open(path).map_err(StoreError::io("map", path))?;
        stamp.check(&map, path)?;
        let (row_bytes, rows) = (stamp.row_bytes as usize, stamp.capacity);
        let block = block_rows(row_bytes);
        let count = rows.div_ceil(block) as usize;
        let wrong = |at: usize, expected: &str, found: String| StoreError::corrupt(path, at as u64, expected, found);
        let Some(head) = map.get(STAMP..data_at(count) as usize) else {
            return Err(wrong(map.len(), &format!("an index of {count} blocks"), "the end of the file".to_owned()));
        };
        let (head, index) = head.split_at(HEAD);
        let (expected, found) = (u64_at(head, 24), xxh3_64(&head[..24]));
        if found != expected {
            return Err(wrong(STAMP, &format!("a head with checksum {expected:016x}"), format!("{found:016x}")));
        }
        let (expected, found) = (u64_at(head, 16), xxh3_64(index));
        if found != expected {
            return Err(wrong(INDEX_AT, &format!("an index with checksum {expected:016x}"), format!("{found:016x}")));
        }
        let packing =
            packing(head, row_bytes).map_err(|found| wrong(STAMP, "a way of packing that is known", found))?;
        let (len, block) = (rows as usize * row_bytes, block as usize * row_bytes);
        let entries = index.chunks_exact(ENTRY).map(|entry| Block { end: u64_at(entry, 0), hash: u64_at(entry, 8) });
        let blocks: Vec<Block> = entries.collect();
        let mut start = data_at(count);
        for (i, &Block { end, .. }) in blocks.iter().enumerate() {
            // None is longer than its rows.
            let most = start + (len - i * block).min(block) as u64;
            if end <= start || end > most {
                let expected = format!("the end of a block from {} to {most}", start + 1);
                return Err(wrong(INDEX_AT + i * ENTRY, &expected, end.to_string()));
            }
            start = end;
        }
        if u64_at(head, 8) != start || (map.len() as u64) < start {
            return Err(wrong(map.len(), &format!("a file of {start} bytes"), format!("{}", map.len())));
        }
        let unpacked = Pieces::reserve(len, block).map_err(StoreError::io("find memory for the rows of", path))?;
        let file = PackedFile { path: path.to_owned(), map, packing, len, block, blocks };
        Ok(Self { file: Arc::new(file), unpacked })
    }

    /// The same file, nothing of which is unpacked.
    pub(super) fn cooled(&self) -> Result<Self, StoreError> {
        let PackedFile { path, len, block, .. } = &*self.file;
        let unpacked = Pieces::reserve(*len, *block).map_err(StoreError::io("find memory for the rows of", path))?;
        Ok(Self { file: Arc::clone(&self.file), unpacked })
    }

    /// Bytes of the file.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.file.map.len() as u64
    }

    /// Bytes of rows that lie in memory.
    pub(super) fn unpacked_bytes(&self) -> usize {
        self.unpacked.filled()
    }

    /// Unpacks a block whose rows have a checksum, unless it is.
    pub(super) fn unpack(&self, block: usize, hash: u64) -> Result<(), StoreError> {
        self.unpacked.fill(block, |rows| self.file.read(block, hash, rows))
    }

    /// Compares a block in the file with its checksums; nothing of it stays in memory.
    pub(super) fn compare(&self, block: usize, hash: u64) -> Result<(), StoreError> {
        let len = (self.file.len - block * self.file.block).min(self.file.block);
        self.file.read(block, hash, &mut vec![0; len])
    }

    /// Bytes of rows that were unpacked.
    #[inline]
    pub(super) fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.unpacked.bytes(range)
    }
}

impl PackedFile {
    fn read(&self, block: usize, hash: u64, rows: &mut [u8]) -> Result<(), StoreError> {
        let start = block.checked_sub(1).map_or_else(|| data_at(self.blocks.len()), |before| self.blocks[before].end);
        let Block { end, hash: stored_hash } = self.blocks[block];
        let stored = &self.map[start as usize..end as usize];
        let wrong = |expected: String, found: String| StoreError::corrupt(&self.path, start, expected, found);
        let found = xxh3_64(stored);
        if found != stored_hash {
            return Err(wrong(format!("a block with checksum {stored_hash:016x}"), format!("{found:016x}")));
        }
        let unpacked = self.packing.unpack(stored, rows);
        unpacked.map_err(|found| wrong(format!("a block of {} packed bytes", rows.len()), found))?;
        let found = xxh3_64(rows);
        if found != hash {
            return Err(wrong(format!("rows with checksum {hash:016x}"), format!("{found:016x}")));
        }
        Ok(())
    }
}

fn packing(head: &[u8], row_bytes: usize) -> Result<Packing, String> {
    let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let library = [Library::Lz4, Library::Zstd].into_iter().find(|&library| library as u32 == u32_at(0));
    match (library, u32_at(4)) {
        (Some(library), width @ (1 | 2 | 4)) if row_bytes.is_multiple_of(width as usize) => {
            Ok(Packing { library, width })
        }
        (_, width) => Err(format!("library {} for elements of {width} bytes", u32_at(0))),
    }
}

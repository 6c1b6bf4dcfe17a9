//! A segment: rows of vectors in a file, from front to back.
//!
//! The rows begin on the second page of the file, so that they can be used where they lie. They come in blocks of some 64 KiB,
//! and each has a checksum: spans of consecutive rows that were written together, and whole blocks once a manifest was
//! written. Rows that were there when the file was opened are compared with theirs when a row of the span is first read. Of a
//! packed segment, which never grows, that is when its block is unpacked.

mod checksums;

use std::fs::File;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;
use super::log::Span;
use super::packed::PackedRows;
use super::stamp::Stamp;
use crate::disk::{Disk, DiskFile};
use crate::mmap::Window;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Where the rows begin.
pub(super) const ROWS_AT: usize = 4096;
/// Bytes of a block, at most, unless one row is longer.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes whose writing to the disk begins at once.
const WRITTEN_BACK: u64 = 4 << 20;

/// The name of the file of segment `number`.
pub(super) fn segment_name(number: u32) -> String {
    format!("segment-{number:08}")
}

/// Rows of a block.
pub(super) fn block_rows(row_bytes: usize) -> u32 {
    (BLOCK_BYTES / row_bytes).max(1) as u32
}

/// Rows that were there when the file was opened.
#[derive(Debug)]
struct Opened {
    span: Span,
    /// Whether they were compared with their checksum.
    sound: AtomicBool,
}

/// Where rows are read.
#[derive(Debug)]
enum Held {
    Plain(Window),
    Packed(PackedRows),
}

#[derive(Debug)]
pub(super) struct Segment {
    stamp: Stamp,
    path: PathBuf,
    held: Held,
    /// For writing, where the segment may still grow.
    file: Mutex<Option<Box<dyn DiskFile>>>,
    opened: Vec<Opened>,
    opened_rows: u32,
    /// Bytes that the file held after these rows when it was opened.
    left: u64,
    /// Spans written since.
    appended: Mutex<Vec<Span>>,
}

impl Segment {
    /// Begins a segment and makes it durable, but for its name.
    pub(super) fn create(disk: &dyn Disk, stamp: Stamp) -> Result<Self, StoreError> {
        let name = segment_name(stamp.number);
        let path = disk.path(&name);
        let file = disk.create(&name).map_err(StoreError::io("create", &path))?;
        file.write_all_at(0, &stamp.encode()).map_err(StoreError::io("write", &path))?;
        file.set_len(ROWS_AT as u64).map_err(StoreError::io("lengthen", &path))?;
        file.sync().map_err(StoreError::io("sync", &path))?;
        let held = Held::Plain(window(&path, file_len(&stamp, stamp.capacity), ROWS_AT)?);
        let (opened, appended) = (Vec::new(), Mutex::new(Vec::new()));
        Ok(Self { stamp, path, held, file: Mutex::new(Some(file)), opened, opened_rows: 0, left: 0, appended })
    }

    /// Opens a segment that holds the rows of `spans`, which follow one another from row 0; to go on where `grows` says so,
    /// unless it is packed. Then the spans are its blocks.
    pub(super) fn open(disk: &dyn Disk, stamp: Stamp, spans: &[Span], grows: bool) -> Result<Self, StoreError> {
        let name = segment_name(stamp.number);
        let path = disk.path(&name);
        if stamp.kind == Stamp::PACKED {
            let held = PackedRows::open(&path, &stamp)?;
            return Ok(Self::packed(stamp, path, spans.iter().copied(), held));
        }
        let rows = spans.last().map_or(0, |span| span.first + span.rows);
        let file = grows.then(|| disk.open(&name).map_err(StoreError::io("open", &path))).transpose()?;
        let found = std::fs::metadata(&path).map_err(StoreError::io("read", &path))?.len();
        let used = file_len(&stamp, rows);
        check_len(&path, found, used)?;
        let window = window(&path, if grows { file_len(&stamp, stamp.capacity) } else { used }, used)?;
        stamp.check(window.bytes(0..ROWS_AT), &path)?;
        let opened = spans.iter().map(|&span| Opened { span, sound: AtomicBool::new(false) }).collect();
        let (file, appended) = (Mutex::new(file), Mutex::new(Vec::new()));
        let left = found - used as u64;
        Ok(Self { stamp, path, held: Held::Plain(window), file, opened, opened_rows: rows, left, appended })
    }

    fn packed(stamp: Stamp, path: PathBuf, blocks: impl Iterator<Item = Span>, held: PackedRows) -> Self {
        let opened = blocks.map(|span| Opened { span, sound: AtomicBool::new(false) }).collect();
        let (file, appended) = (Mutex::new(None), Mutex::new(Vec::new()));
        Self { stamp, path, held: Held::Packed(held), file, opened, opened_rows: stamp.capacity, left: 0, appended }
    }

    /// The same segment, nothing of which is unpacked, where it is packed and something is.
    pub(super) fn cooled(&self) -> Result<Option<Self>, StoreError> {
        let Held::Packed(packed) = &self.held else { return Ok(None) };
        if packed.unpacked_bytes() == 0 {
            return Ok(None);
        }
        let blocks = self.opened.iter().map(|opened| opened.span);
        Ok(Some(Self::packed(self.stamp, self.path.clone(), blocks, packed.cooled()?)))
    }

    /// Its file's bytes and those of its rows that lie unpacked in memory, where it is packed.
    pub(super) fn packed_bytes(&self) -> Option<(u64, u64)> {
        match &self.held {
            Held::Plain(_) => None,
            Held::Packed(packed) => Some((packed.stored_bytes(), packed.unpacked_bytes() as u64)),
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.stamp.number
    }

    /// Rows that the segment has room for.
    pub(super) fn capacity(&self) -> u32 {
        self.stamp.capacity
    }

    /// Rows that were committed.
    pub(super) fn rows(&self) -> u32 {
        match &self.held {
            Held::Plain(window) => ((window.len() - ROWS_AT) / self.row_bytes()) as u32,
            Held::Packed(_) => self.opened_rows,
        }
    }

    /// Rows that its file takes up the room of: those that were committed, and those that an interrupted change left after them, in
    /// whose place none is written any more.
    pub(super) fn rows_of_file(&self) -> u64 {
        u64::from(self.rows()) + self.left / self.row_bytes() as u64
    }

    /// Bytes of memory, about: the checksums of its rows.
    pub(super) fn memory(&self) -> usize {
        self.opened.capacity() * size_of::<Opened>() + self.appended().capacity() * size_of::<Span>()
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.stamp.row_bytes as usize
    }

    /// Whether rows may follow.
    pub(super) fn grows(&self) -> bool {
        self.file().is_some() && self.rows() < self.capacity()
    }

    /// Whether rows may follow in a file that was opened: it has room, and ends with the rows that count. What stands after them may
    /// be lent by a snapshot, of a store that was open in this process before and could not write what its log said of them.
    pub(super) fn goes_on(&self) -> Result<bool, StoreError> {
        if !self.grows() {
            return Ok(false);
        }
        let file = self.file();
        let Some(file) = file.as_ref() else { return Ok(false) };
        let found = file.len().map_err(StoreError::io("read", &self.path))?;
        Ok(found == file_len(&self.stamp, self.rows()) as u64)
    }

    /// Cuts off what was written after the rows that count, which nobody was lent: a change that failed is not to keep a full disk
    /// full. Nothing else hangs on it, so that an error is passed over.
    pub(super) fn cut_off(&self) {
        if let Some(file) = self.file().as_ref() {
            let _ = file.set_len(file_len(&self.stamp, self.rows()) as u64);
        }
    }

    /// Writes rows after those that are there. They do not count yet.
    pub(super) fn write(&self, first: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let file = self.file();
        let file = file.as_ref().expect("only a segment that grows is written to");
        let offset = file_len(&self.stamp, first) as u64;
        file.write_all_at(offset, bytes).map_err(StoreError::io("write", &self.path))?;
        // Whole pages that nobody writes to again: a sync to come finds them on their way.
        let (from, to) = (offset / WRITTEN_BACK, (offset + bytes.len() as u64) / WRITTEN_BACK);
        if from < to {
            file.start_writeback(from * WRITTEN_BACK..to * WRITTEN_BACK);
        }
        Ok(())
    }

    /// The spans of rows that would follow those that are there.
    pub(super) fn spans(&self, mut first: u32, bytes: &[u8]) -> impl Iterator<Item = Span> {
        let block = block_rows(self.row_bytes());
        let mut rest = bytes;
        iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let rows = (block - first % block).min((rest.len() / self.row_bytes()) as u32);
            let (taken, left) = rest.split_at(rows as usize * self.row_bytes());
            let span = Span { segment: self.number(), first, rows, hash: xxh3_64(taken) };
            first += rows;
            rest = left;
            Some(span)
        })
    }

    /// Writes rows again that were compared with their checksum a moment ago: the system may have given up on them when a sync
    /// failed. Whether they are what they were then; if not, nothing is written: it may have dropped them meanwhile, and the map
    /// shows what the disk holds.
    pub(super) fn rewrite(&self, span: Span) -> Result<bool, StoreError> {
        // What is compared and what is written are the same bytes, whatever the map shows next.
        let rows = self.bytes(span.first..span.first + span.rows).to_vec();
        let are_same = xxh3_64(&rows) == span.hash;
        if are_same {
            self.write(span.first, &rows)?;
        }
        Ok(are_same)
    }

    /// Lets rows count that were written: those of `span`, which follows what is there.
    pub(super) fn extend(&self, span: Span) {
        let Held::Plain(window) = &self.held else { unreachable!("a packed segment does not grow") };
        // In this order: whoever finds the span may read its rows.
        window.extend(file_len(&self.stamp, span.first + span.rows));
        self.appended().push(span);
    }

    /// Makes the rows durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let synced = self.file().as_ref().map_or(Ok(()), |file| file.sync());
        synced.map_err(StoreError::io("sync", &self.path))?;
        self.seal_if_full();
        Ok(())
    }

    /// Gives the open file back where no row has room any more. All are durable.
    pub(super) fn seal_if_full(&self) {
        if self.rows() == self.capacity() {
            self.seal();
        }
    }

    /// No row follows, and all are durable: gives the open file back.
    pub(super) fn seal(&self) {
        *self.file() = None;
    }

    fn appended(&self) -> MutexGuard<'_, Vec<Span>> {
        self.appended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, Option<Box<dyn DiskFile>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row's bytes; the first time, an error when they are not what was written.
    #[inline]
    pub(super) fn row(&self, row: u32) -> Result<&[u8], StoreError> {
        if row < self.opened_rows {
            let opened = &self.opened[self.opened_with(row)];
            if !opened.sound.load(Ordering::Acquire) {
                self.check(opened)?;
            }
        }
        Ok(self.bytes(row..row + 1))
    }

    /// The bytes of all rows, compared with their checksums.
    pub(super) fn all(&self) -> Result<&[u8], StoreError> {
        for opened in self.opened.iter().filter(|opened| !opened.sound.load(Ordering::Acquire)) {
            self.check(opened)?;
        }
        Ok(self.bytes(0..self.rows()))
    }

    fn check(&self, opened: &Opened) -> Result<(), StoreError> {
        self.compare(opened.span)?;
        opened.sound.store(true, Ordering::Release);
        Ok(())
    }

    /// The span with which a row was there at the open.
    #[inline]
    fn opened_with(&self, row: u32) -> usize {
        let guess = (row / block_rows(self.row_bytes())) as usize;
        match self.opened.get(guess) {
            Some(Opened { span, .. }) if (span.first..span.first + span.rows).contains(&row) => guess,
            _ => self.opened.partition_point(|opened| opened.span.first <= row) - 1,
        }
    }

    /// The block that a span of a packed segment is.
    fn block_of(&self, span: Span) -> usize {
        (span.first / block_rows(self.row_bytes())) as usize
    }

    #[inline]
    fn bytes(&self, rows: Range<u32>) -> &[u8] {
        match &self.held {
            Held::Plain(window) => window.bytes(file_len(&self.stamp, rows.start)..file_len(&self.stamp, rows.end)),
            Held::Packed(packed) => {
                let row_bytes = self.row_bytes();
                packed.bytes(rows.start as usize * row_bytes..rows.end as usize * row_bytes)
            }
        }
    }
}

/// The length of a file with so many rows.
fn file_len(stamp: &Stamp, rows: u32) -> usize {
    ROWS_AT + rows as usize * stamp.row_bytes as usize
}

fn check_len(path: &Path, found: u64, expected: usize) -> Result<(), StoreError> {
    if found >= expected as u64 {
        return Ok(());
    }
    Err(StoreError::corrupt(
        path,
        found,
        format_args!("at least {expected} bytes"),
        format_args!("the end of the file"),
    ))
}

fn window(path: &Path, room: usize, len: usize) -> Result<Window, StoreError> {
    let open = File::open(path).and_then(|file| Window::open(&file, room, len));
    open.map_err(StoreError::io("map", path))
}

//! Packing: rows that are seldom read take up less room on the disk, and none in memory until they are read.
//!
//! Rows move as they do in a compaction, but into segments whose blocks are compressed. What is read of them is unpacked into
//! memory, where it stays until [`VectorStore::cool`]; ADR 14 gives ratios and costs.

use std::sync::{Arc, PoisonError};

use super::relocate::{Form, Victims};
use super::{Codec, StoreError, VectorStore};

/// How segments are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions {
    /// The library that compresses blocks.
    pub codec: Codec,
    /// Whether the bytes of a block are sorted by their place in an element first. Of u8 there is nothing to sort.
    pub shuffle: bool,
    /// Whether the segment that grows is packed too: the next rows then begin another.
    pub growing: bool,
}

impl Default for PackOptions {
    /// Zstandard at level 1, shuffled, what does not grow any more.
    fn default() -> Self {
        Self { codec: Codec::Zstd { level: 1 }, shuffle: true, growing: false }
    }
}

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// Segments that are no more.
    pub segments: usize,
    /// Rows that were packed; those that did not count any more are gone.
    pub rows: u64,
    /// Bytes that these rows have.
    pub row_bytes: u64,
    /// Bytes of the files that hold them now.
    pub packed_bytes: u64,
}

impl VectorStore {
    /// Compresses all rows but those of packed segments and, unless it is asked for, of the one that grows. Nothing that a reader
    /// sees changes, and slots stay. A second call waits for the first, and for [`compact`](Self::compact).
    ///
    /// Rows that are read are unpacked, a block of some 64 KiB at a time, and then lie in memory of the process's own, which the
    /// system can not drop as it can a mapped file's: worth it for what is seldom read.
    pub fn pack(&self, options: &PackOptions) -> Result<Packed, StoreError> {
        options.codec.check()?;
        let _one = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let victims = self.cold(options.growing)?;
        let width = if options.shuffle { self.meta.shape.element.bytes() } else { 1 };
        let relocated = self.relocate(&victims, Form::Packed(options.codec, width))?;
        Ok(Packed {
            segments: victims.numbers.len(),
            rows: relocated.moved,
            row_bytes: relocated.moved * self.meta.shape.row_bytes() as u64,
            packed_bytes: relocated.packed_bytes,
        })
    }

    /// The segments to pack.
    fn cold(&self, growing: bool) -> Result<Victims, StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        let view = Arc::clone(&self.read_view());
        // One that is full grows no more.
        let grown = writer.active.take_if(|active| growing || !active.grows());
        let active = writer.active.as_ref().map(|active| active.number());
        let cold = view.segments.iter().filter(|segment| segment.packed_bytes().is_none());
        let numbers = cold.map(|segment| segment.number()).filter(|number| Some(*number) != active).collect();
        Ok(Victims { view, numbers, grown })
    }

    /// Gives back the memory that rows of packed segments were unpacked into, but for what snapshots keep; how many bytes. Waits
    /// for a change, compaction or packing at work.
    pub fn cool(&self) -> Result<u64, StoreError> {
        let _one = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = self.read_view().segments.clone();
        let mut given_back = 0;
        for segment in &segments {
            let Some(cooled) = segment.cooled()? else { continue };
            given_back += segment.packed_bytes().map_or(0, |(_, unpacked)| unpacked);
            let mut view = self.write_view();
            let view = Arc::make_mut(&mut view);
            if let Some(known) = view.segments.iter_mut().find(|known| known.number() == segment.number()) {
                *known = Arc::new(cooled);
            }
        }
        if given_back > 0 && self.writer.is_some() {
            self.lock_writer()?.past.clear();
        }
        Ok(given_back)
    }
}

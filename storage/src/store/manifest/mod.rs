//! The manifest: all that a store holds at one moment, but for the rows themselves; a container that is replaced as a whole.
//!
//! `docs/formats.md` gives its sections.

mod reader;
mod writer;

use bytemuck::{Pod, Zeroable};

pub(super) use reader::read;
pub(super) use writer::write;

use super::log::{OwnedIds, Span};
use super::shape::Shape;
use super::stamp::Stamp;
use super::view::Slot;
use crate::container::{FileKind, SectionId};

/// The name of the file.
pub(in crate::store) const NAME: &str = "manifest";
/// The name of one in the making.
pub(in crate::store) const UNFINISHED: &str = "manifest.new";

const KIND: FileKind = FileKind::new("store");
/// The version of a manifest that names packed segments; others have version 1.
const PACKED_VERSION: u32 = 2;
const META: SectionId = SectionId::new("meta");
const SEGMENTS: SectionId = SectionId::new("segments");
const KEPT: SectionId = SectionId::new("kept");
const SPANS: SectionId = SectionId::new("spans");
const PLACES: SectionId = SectionId::new("places");
const SEQUENCES: SectionId = SectionId::new("seqs");
const NUMBERS: SectionId = SectionId::new("numbers");
const NAME_ENDS: SectionId = SectionId::new("nameends");
const NAMES: SectionId = SectionId::new("names");

/// What a manifest says of the store as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Meta {
    pub(in crate::store) store: [u8; 16],
    pub(in crate::store) shape: Shape,
    /// Rows that a new segment has room for.
    pub(in crate::store) segment_rows: u32,
    /// How long a log may grow, unless the manifest is longer.
    pub(in crate::store) checkpoint_bytes: u64,
    /// The number of the log that goes on from here.
    pub(in crate::store) log: u32,
    /// The number of the next file.
    pub(in crate::store) next_file: u32,
}

impl Meta {
    /// The stamp of one of the store's logs.
    pub(in crate::store) fn log_stamp(&self, number: u32) -> Stamp {
        Stamp { kind: Stamp::LOG, store: self.store, number, row_bytes: 0, capacity: 0 }
    }

    /// The stamp of one of its segments, with room for so many rows.
    pub(in crate::store) fn segment_stamp(&self, number: u32, capacity: u32) -> Stamp {
        let row_bytes = self.shape.row_bytes() as u32;
        Stamp { kind: Stamp::SEGMENT, store: self.store, number, row_bytes, capacity }
    }

    /// The stamp of one of its packed segments, of so many rows.
    pub(in crate::store) fn packed_stamp(&self, number: u32, rows: u32) -> Stamp {
        Stamp { kind: Stamp::PACKED, ..self.segment_stamp(number, rows) }
    }
}

/// What a manifest says of a segment.
#[derive(Debug, Clone)]
pub(in crate::store) struct SegmentMeta {
    pub(in crate::store) number: u32,
    pub(in crate::store) capacity: u32,
    pub(in crate::store) packed: bool,
    pub(in crate::store) spans: Vec<Span>,
}

/// A log that is over, kept for those who follow the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(in crate::store) struct KeptLog {
    pub(in crate::store) number: u32,
    zero: u32,
    /// The last change before it, and its last.
    pub(in crate::store) before: u64,
    pub(in crate::store) last: u64,
}

impl KeptLog {
    pub(in crate::store) fn new(number: u32, before: u64, last: u64) -> Self {
        Self { number, zero: 0, before, last }
    }
}

/// A manifest that was read.
#[derive(Debug)]
pub(in crate::store) struct Manifest {
    pub(in crate::store) meta: Meta,
    pub(in crate::store) sequence: u64,
    pub(in crate::store) segments: Vec<SegmentMeta>,
    pub(in crate::store) slots: Vec<Slot>,
    /// By slot; those of slots without a vector mean nothing.
    pub(in crate::store) ids: OwnedIds,
    /// One after another, up to the log that goes on from here.
    pub(in crate::store) kept: Vec<KeptLog>,
    pub(in crate::store) bytes: u64,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MetaRecord {
    store: [u8; 16],
    sequence: u64,
    slots: u64,
    checkpoint_bytes: u64,
    dim: u32,
    element: u32,
    ids: u32,
    segment_rows: u32,
    log: u32,
    next_file: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SegmentRecord {
    number: u32,
    capacity: u32,
    spans: u32,
    /// 0 plain, 1 packed.
    form: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SpanRecord {
    first: u32,
    rows: u32,
    hash: u64,
}

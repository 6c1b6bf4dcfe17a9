//! The manifest: all that a store holds at one moment, but for the rows themselves; a container that is replaced as a whole.
//!
//! `docs/formats.md` gives its sections.

use std::fmt::Display;
use std::io::{BufWriter, IntoInnerError};

use bytemuck::{Pod, Zeroable};

use super::StoreError;
use super::keys::Keys;
use super::log::{OwnedIds, Span};
use super::shape::{ElementKind, IdKind, Shape};
use super::stamp::Stamp;
use super::view::{Place, Slot, View};
use crate::container::{FileKind, SectionId, SectionWriter, Verify};
use crate::disk::{Disk, Stream};
use crate::{Container, ContainerWriter, OpenError, Place as FilePlace, WriteError};

/// The name of the file.
pub(super) const NAME: &str = "manifest";
/// The name of one in the making.
pub(super) const UNFINISHED: &str = "manifest.new";

const KIND: FileKind = FileKind::new("store");
const VERSION: u32 = 1;
const META: SectionId = SectionId::new("meta");
const SEGMENTS: SectionId = SectionId::new("segments");
const KEPT: SectionId = SectionId::new("kept");
const SPANS: SectionId = SectionId::new("spans");
const PLACES: SectionId = SectionId::new("places");
const SEQUENCES: SectionId = SectionId::new("seqs");
const NUMBERS: SectionId = SectionId::new("numbers");
const NAME_ENDS: SectionId = SectionId::new("nameends");
const NAMES: SectionId = SectionId::new("names");

/// The highest number of a change in a manifest: those after it can be counted without an overflow.
const MAX_SEQUENCE: u64 = u64::MAX / 2;
/// Elements that are gathered before they are written.
const GATHERED: usize = 8192;

/// What a manifest says of the store as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) store: [u8; 16],
    pub(super) shape: Shape,
    /// Rows that a new segment has room for.
    pub(super) segment_rows: u32,
    /// How long a log may grow, unless the manifest is longer.
    pub(super) checkpoint_bytes: u64,
    /// The number of the log that goes on from here.
    pub(super) log: u32,
    /// The number of the next file.
    pub(super) next_file: u32,
}

impl Meta {
    /// The stamp of one of the store's logs.
    pub(super) fn log_stamp(&self, number: u32) -> Stamp {
        Stamp { kind: Stamp::LOG, store: self.store, number, row_bytes: 0, capacity: 0 }
    }

    /// The stamp of one of its segments, with room for so many rows.
    pub(super) fn segment_stamp(&self, number: u32, capacity: u32) -> Stamp {
        let row_bytes = self.shape.row_bytes() as u32;
        Stamp { kind: Stamp::SEGMENT, store: self.store, number, row_bytes, capacity }
    }
}

/// What a manifest says of a segment.
#[derive(Debug)]
pub(super) struct SegmentMeta {
    pub(super) number: u32,
    pub(super) capacity: u32,
    pub(super) spans: Vec<Span>,
}

/// A log that is over, kept for those who follow the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct KeptLog {
    pub(super) number: u32,
    zero: u32,
    /// The last change before it, and its last.
    pub(super) before: u64,
    pub(super) last: u64,
}

impl KeptLog {
    pub(super) fn new(number: u32, before: u64, last: u64) -> Self {
        Self { number, zero: 0, before, last }
    }
}

/// A manifest that was read.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) meta: Meta,
    pub(super) sequence: u64,
    pub(super) segments: Vec<SegmentMeta>,
    pub(super) slots: Vec<Slot>,
    /// By slot; those of slots without a vector mean nothing.
    pub(super) ids: OwnedIds,
    /// One after another, up to the log that goes on from here.
    pub(super) kept: Vec<KeptLog>,
    pub(super) bytes: u64,
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
    zero: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SpanRecord {
    first: u32,
    rows: u32,
    hash: u64,
}

type Sink = BufWriter<Stream>;

/// Writes a manifest of `view` under the name of one in the making, and makes it durable, but for its name. Its length.
pub(super) fn write(disk: &dyn Disk, meta: &Meta, view: &View, kept: &[KeptLog]) -> Result<u64, StoreError> {
    let path = disk.path(UNFINISHED);
    let file = disk.create(UNFINISHED).map_err(StoreError::io("create", &path))?;
    let sink = BufWriter::with_capacity(1 << 18, Stream::new(file));
    let mut writer = ContainerWriter::over(disk.path(NAME), sink, KIND, VERSION)?;
    put_meta(&mut writer, meta, view)?;
    put_segments(&mut writer, view)?;
    writer.section(KEPT, kept)?;
    let places = view.slots.iter().map(|slot| [slot.place.segment, slot.place.row]);
    put_all(writer.begin(PLACES)?, places)?;
    put_all(writer.begin(SEQUENCES)?, view.slots.iter().map(|slot| slot.sequence))?;
    match &view.keys {
        Keys::Numbers(table) => put_all(writer.begin(NUMBERS)?, table.keys().copied())?,
        Keys::Names(table) => {
            let mut end = 0;
            let ends = table.keys().map(|name| {
                end += name.len() as u64;
                end
            });
            put_all(writer.begin(NAME_ENDS)?, ends)?;
            let mut section = writer.begin(NAMES)?;
            table.keys().try_for_each(|name| section.put(name.as_bytes()))?;
            section.finish()?;
        }
    }
    let stream = writer.complete()?.into_inner().map_err(IntoInnerError::into_error);
    let file = stream.map_err(StoreError::io("write", &path))?.file;
    file.sync().map_err(StoreError::io("sync", &path))?;
    file.len().map_err(StoreError::io("read", &path))
}

fn put_meta(writer: &mut ContainerWriter<Sink>, meta: &Meta, view: &View) -> Result<(), StoreError> {
    let record = MetaRecord {
        store: meta.store,
        sequence: view.sequence,
        slots: view.slots.len() as u64,
        checkpoint_bytes: meta.checkpoint_bytes,
        dim: meta.shape.dim as u32,
        element: meta.shape.element as u32,
        ids: meta.shape.ids as u32,
        segment_rows: meta.segment_rows,
        log: meta.log,
        next_file: meta.next_file,
    };
    Ok(writer.section(META, &[record])?)
}

fn put_segments(writer: &mut ContainerWriter<Sink>, view: &View) -> Result<(), StoreError> {
    let mut segments = Vec::new();
    let mut spans = Vec::new();
    for segment in &view.segments {
        let blocks = segment.blocks();
        let (number, capacity) = (segment.number(), segment.capacity());
        segments.push(SegmentRecord { number, capacity, spans: blocks.len() as u32, zero: 0 });
        spans.extend(blocks.iter().map(|span| SpanRecord { first: span.first, rows: span.rows, hash: span.hash }));
    }
    writer.section(SEGMENTS, &segments)?;
    Ok(writer.section(SPANS, &spans)?)
}

fn put_all<T: Pod>(mut section: SectionWriter<'_, Sink>, elements: impl Iterator<Item = T>) -> Result<(), WriteError> {
    let mut gathered = Vec::with_capacity(GATHERED);
    for element in elements {
        gathered.push(element);
        if gathered.len() == GATHERED {
            section.put(&gathered)?;
            gathered.clear();
        }
    }
    section.put(&gathered)?;
    section.finish()
}

/// Reads and checks the manifest of a store.
pub(super) fn read(disk: &dyn Disk) -> Result<Manifest, StoreError> {
    let file = Container::open(disk.path(NAME), KIND, VERSION..=VERSION, Verify::Sections)?;
    let record = *one::<MetaRecord>(&file, META)?;
    let slots = usize::try_from(record.slots).map_err(|_| wrong(&file, META, "slots that fit", &record.slots))?;
    let Some(&element) = ElementKind::ALL.get(record.element as usize) else {
        return Err(wrong(&file, META, "a type of components from 0 to 2", &record.element).into());
    };
    let Some(&ids) = IdKind::ALL.get(record.ids as usize) else {
        return Err(wrong(&file, META, "a kind of ids from 0 to 1", &record.ids).into());
    };
    let shape = Shape { dim: record.dim as usize, element, ids };
    if shape.check().is_err() {
        return Err(wrong(&file, META, "from 1 to 65536 components", &record.dim).into());
    }
    let MetaRecord { store, segment_rows, checkpoint_bytes, log, next_file, sequence, .. } = record;
    let meta = Meta { store, shape, segment_rows, checkpoint_bytes, log, next_file };
    if segment_rows == 0 {
        return Err(wrong(&file, META, "room for a row in a new segment", &segment_rows).into());
    }
    if sequence > MAX_SEQUENCE {
        return Err(wrong(&file, META, &format!("a change of a number up to {MAX_SEQUENCE}"), &sequence).into());
    }
    let (segments, kept) = (segments(&file)?, kept_logs(&file, sequence)?);
    let numbers = segments.iter().map(|segment| segment.number).chain(kept.iter().map(|log| log.number)).chain([log]);
    if let Some(number) = numbers.max().filter(|&number| number >= next_file) {
        return Err(wrong(&file, META, &format!("files of numbers below {next_file}"), &number).into());
    }
    let places = file.buffer_of::<[u32; 2]>(PLACES, slots)?;
    let sequences = file.buffer_of::<u64>(SEQUENCES, slots)?;
    let slot = |(&[segment, row], &sequence): (&[u32; 2], &u64)| Slot { place: Place { segment, row }, sequence };
    Ok(Manifest {
        meta,
        sequence,
        segments,
        slots: places.iter().zip(&*sequences).map(slot).collect(),
        ids: read_ids(&file, ids, slots)?,
        kept,
        bytes: file.file_len(),
    })
}

fn segments(file: &Container) -> Result<Vec<SegmentMeta>, OpenError> {
    let mut records = file.view::<SpanRecord>(SPANS)?;
    let mut segments = Vec::new();
    for segment in file.view::<SegmentRecord>(SEGMENTS)? {
        let Some((spans, rest)) = records.split_at_checked(segment.spans as usize) else {
            return Err(wrong(file, SPANS, &format!("{} spans of a segment", segment.spans), &records.len()));
        };
        records = rest;
        let (mut next, mut read) = (0_u32, Vec::with_capacity(spans.len()));
        for &SpanRecord { first, rows, hash } in spans {
            let end = first.checked_add(rows).filter(|&end| first == next && rows > 0 && end <= segment.capacity);
            next = end.ok_or_else(|| wrong(file, SPANS, &format!("a span from row {next}"), &first))?;
            read.push(Span { segment: segment.number, first, rows, hash });
        }
        segments.push(SegmentMeta { number: segment.number, capacity: segment.capacity, spans: read });
    }
    if !records.is_empty() {
        return Err(wrong(file, SPANS, "no more spans", &records.len()));
    }
    if !segments.is_sorted_by(|a, b| a.number < b.number) {
        return Err(wrong(file, SEGMENTS, "segments by number", &"another order"));
    }
    Ok(segments)
}

fn kept_logs(file: &Container, sequence: u64) -> Result<Vec<KeptLog>, OpenError> {
    let kept = file.view::<KeptLog>(KEPT)?;
    let next = kept.iter().skip(1).map(|log| log.before).chain([sequence]);
    match kept.iter().zip(next).find(|(log, next)| log.before > log.last || log.last != *next) {
        None => Ok(kept.to_vec()),
        Some((log, next)) => Err(wrong(file, KEPT, &format!("a log up to change {next}"), &log.last)),
    }
}

fn read_ids(file: &Container, kind: IdKind, slots: usize) -> Result<OwnedIds, OpenError> {
    if kind == IdKind::Numbers {
        return Ok(OwnedIds::Numbers(file.buffer_of::<u64>(NUMBERS, slots)?.to_vec()));
    }
    let ends = file.buffer_of::<u64>(NAME_ENDS, slots)?;
    let bytes = file.bytes(NAMES)?;
    let mut from = 0;
    let name = |&end: &u64| {
        let end = usize::try_from(end).ok();
        let name = end.and_then(|end| bytes.get(from..end)).and_then(|name| std::str::from_utf8(name).ok());
        from = end.unwrap_or(from);
        name.map(std::sync::Arc::from).ok_or_else(|| wrong(file, NAME_ENDS, "the end of a name", &from))
    };
    ends.iter().map(name).collect::<Result<_, _>>().map(OwnedIds::Names)
}

fn one<T: Pod>(file: &Container, id: SectionId) -> Result<&T, OpenError> {
    match file.view::<T>(id)? {
        [one] => Ok(one),
        more => Err(wrong(file, id, "one record", &more.len())),
    }
}

fn wrong(file: &Container, id: SectionId, expected: &str, found: &dyn Display) -> OpenError {
    OpenError::Corrupt {
        path: file.path().to_owned(),
        place: FilePlace::Section(id),
        expected: expected.to_owned(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Folder;
    use crate::store::{Durability, StoreOptions, VectorStore};
    use crate::{OpenError, Vectors};

    const SHAPE: Shape = Shape { dim: 2, element: ElementKind::F32, ids: IdKind::Numbers };

    /// An empty store with another manifest than its own, made by `with`.
    fn with_manifest<R>(
        with: impl FnOnce(&mut Meta, &mut View, &mut Vec<KeptLog>),
        run: impl FnOnce(&Folder) -> R,
    ) -> R {
        let folder = tempfile::tempdir().unwrap();
        drop(VectorStore::create(folder.path(), &StoreOptions::new(SHAPE)).unwrap());
        let disk = Folder::at(folder.path());
        let (mut meta, mut view, mut kept) = (read(&disk).unwrap().meta, View::empty(IdKind::Numbers), Vec::new());
        with(&mut meta, &mut view, &mut kept);
        write(&disk, &meta, &view, &kept).unwrap();
        disk.rename(UNFINISHED, NAME).unwrap();
        run(&disk)
    }

    fn refusal(with: impl FnOnce(&mut Meta, &mut View, &mut Vec<KeptLog>)) -> String {
        match with_manifest(with, |disk| VectorStore::open(disk.folder())) {
            Err(StoreError::Manifest(error @ OpenError::Corrupt { .. })) => error.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn segments_without_room_are_refused() {
        let message = refusal(|meta, _, _| meta.segment_rows = 0);
        assert!(message.contains("room for a row in a new segment") && message.ends_with("found 0"), "{message}");
    }

    #[test]
    fn a_change_after_which_none_can_be_counted_is_refused() {
        let message = refusal(|_, view, _| view.sequence = u64::MAX);
        assert!(message.contains("up to 9223372036854775807") && message.contains(&u64::MAX.to_string()), "{message}");
    }

    #[test]
    fn files_that_will_be_made_are_none_that_there_are() {
        let message = refusal(|meta, _, _| meta.next_file = 1);
        assert!(message.contains("files of numbers below 1") && message.ends_with("found 1"), "{message}");
        let message = refusal(|_, _, kept| kept.push(KeptLog::new(7, 0, 0)));
        assert!(message.contains("files of numbers below 2") && message.ends_with("found 7"), "{message}");
    }

    #[test]
    fn a_store_that_has_made_all_its_files_says_so() {
        with_manifest(
            |meta, _, _| meta.next_file = u32::MAX,
            |disk| {
                let store = VectorStore::open(disk.folder()).unwrap();
                for _ in 0..2 {
                    let error = store.write(&[1], Vectors::new(&[0.0_f32; 2], 2), Durability::Sync).unwrap_err();
                    assert!(matches!(error, StoreError::Files { expected: u32::MAX }), "{error}");
                    assert!(matches!(store.checkpoint(), Err(StoreError::Files { .. })));
                }
                assert!(store.is_empty());
            },
        );
    }
}

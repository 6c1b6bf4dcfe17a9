//! Reading a manifest, and checking what it says.

use bytemuck::Pod;

use super::{
    KEPT, KIND, KeptLog, META, Manifest, Meta, MetaRecord, NAME, NAME_ENDS, NAMES, NUMBERS, PACKED_VERSION, PLACES,
    SEGMENTS, SEQUENCES, SPANS, SegmentMeta, SegmentRecord, SpanRecord,
};
use crate::container::{SectionId, Verify};
use crate::disk::Disk;
use crate::store::StoreError;
use crate::store::log::{OwnedIds, Span};
use crate::store::segment::block_rows;
use crate::store::shape::{ElementKind, IdKind, Shape};
use crate::store::view::{Place, Slot};
use crate::{Container, OpenError};

/// The highest number of a change in a manifest: those after it can be counted without an overflow.
const MAX_SEQUENCE: u64 = u64::MAX / 2;

/// Reads and checks the manifest of a store.
pub(in crate::store) fn read(disk: &dyn Disk) -> Result<Manifest, StoreError> {
    let file = Container::open(disk.path(NAME), KIND, 1..=PACKED_VERSION, Verify::Sections)?;
    let record = *one::<MetaRecord>(&file, META)?;
    let slots = usize::try_from(record.slots).map_err(|_| file.corrupt(META, "slots that fit", &record.slots))?;
    let Some(&element) = ElementKind::ALL.get(record.element as usize) else {
        return Err(file.corrupt(META, "a type of components from 0 to 2", &record.element).into());
    };
    let Some(&ids) = IdKind::ALL.get(record.ids as usize) else {
        return Err(file.corrupt(META, "a kind of ids from 0 to 1", &record.ids).into());
    };
    let shape = Shape { dim: record.dim as usize, element, ids };
    if shape.check().is_err() {
        return Err(file.corrupt(META, "from 1 to 65536 components", &record.dim).into());
    }
    let MetaRecord { store, segment_rows, checkpoint_bytes, log, next_file, sequence, .. } = record;
    let meta = Meta { store, shape, segment_rows, checkpoint_bytes, log, next_file };
    if segment_rows == 0 {
        return Err(file.corrupt(META, "room for a row in a new segment", &segment_rows).into());
    }
    if sequence > MAX_SEQUENCE {
        return Err(file.corrupt(META, &format!("a change of a number up to {MAX_SEQUENCE}"), &sequence).into());
    }
    let (segments, kept) = (segments(&file, shape)?, kept_logs(&file, sequence)?);
    let numbers = segments.iter().map(|segment| segment.number).chain(kept.iter().map(|log| log.number)).chain([log]);
    if let Some(number) = numbers.max().filter(|&number| number >= next_file) {
        return Err(file.corrupt(META, &format!("files of numbers below {next_file}"), &number).into());
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

fn segments(file: &Container, shape: Shape) -> Result<Vec<SegmentMeta>, OpenError> {
    let mut records = file.view::<SpanRecord>(SPANS)?;
    let mut segments = Vec::new();
    for segment in file.view::<SegmentRecord>(SEGMENTS)? {
        let Some((spans, rest)) = records.split_at_checked(segment.spans as usize) else {
            return Err(file.corrupt(SPANS, &format!("{} spans of a segment", segment.spans), &records.len()));
        };
        records = rest;
        let (mut next, mut read) = (0_u32, Vec::with_capacity(spans.len()));
        for &SpanRecord { first, rows, hash } in spans {
            let end = first.checked_add(rows).filter(|&end| first == next && rows > 0 && end <= segment.capacity);
            next = end.ok_or_else(|| file.corrupt(SPANS, &format!("a span from row {next}"), &first))?;
            read.push(Span { segment: segment.number, first, rows, hash });
        }
        let packed = file.version() == PACKED_VERSION && segment.form != 0;
        if packed && (segment.form != 1 || !are_blocks(&read, segment.capacity, block_rows(shape.row_bytes()))) {
            let expected = format!("the blocks of segment {}, all of which is packed", segment.number);
            return Err(file.corrupt(SEGMENTS, &expected, &format!("form {} of {} spans", segment.form, read.len())));
        }
        segments.push(SegmentMeta { number: segment.number, capacity: segment.capacity, packed, spans: read });
    }
    if !records.is_empty() {
        return Err(file.corrupt(SPANS, "no more spans", &records.len()));
    }
    if !segments.is_sorted_by(|a, b| a.number < b.number) {
        return Err(file.corrupt(SEGMENTS, "segments by number", &"another order"));
    }
    Ok(segments)
}

/// Whether spans, which follow one another, are blocks of so many rows, the last of which may be shorter.
fn are_blocks(spans: &[Span], rows: u32, block: u32) -> bool {
    let whole = spans.iter().all(|span| span.first % block == 0 && span.rows == block.min(rows - span.first));
    whole && spans.last().is_some_and(|last| last.first + last.rows == rows)
}

fn kept_logs(file: &Container, sequence: u64) -> Result<Vec<KeptLog>, OpenError> {
    let kept = file.view::<KeptLog>(KEPT)?;
    let next = kept.iter().skip(1).map(|log| log.before).chain([sequence]);
    match kept.iter().zip(next).find(|(log, next)| log.before > log.last || log.last != *next) {
        None => Ok(kept.to_vec()),
        Some((log, next)) => Err(file.corrupt(KEPT, &format!("a log up to change {next}"), &log.last)),
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
        name.map(std::sync::Arc::from).ok_or_else(|| file.corrupt(NAME_ENDS, "the end of a name", &from))
    };
    ends.iter().map(name).collect::<Result<_, _>>().map(OwnedIds::Names)
}

fn one<T: Pod>(file: &Container, id: SectionId) -> Result<&T, OpenError> {
    match file.view::<T>(id)? {
        [one] => Ok(one),
        more => Err(file.corrupt(id, "one record", &more.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{UNFINISHED, write};
    use super::*;
    use crate::disk::Folder;
    use crate::store::view::View;
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

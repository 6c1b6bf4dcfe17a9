//! Writing a manifest.

use std::io::{BufWriter, IntoInnerError};

use bytemuck::Pod;

use super::{
    KEPT, KIND, KeptLog, META, Meta, MetaRecord, NAME, NAME_ENDS, NAMES, NUMBERS, PACKED_VERSION, PLACES, SEGMENTS,
    SEQUENCES, SPANS, SegmentRecord, SpanRecord, UNFINISHED,
};
use crate::container::SectionWriter;
use crate::disk::{Disk, Stream};
use crate::store::StoreError;
use crate::store::keys::Keys;
use crate::store::view::View;
use crate::{ContainerWriter, WriteError};

/// Elements that are gathered before they are written.
const GATHERED: usize = 8192;

type Sink = BufWriter<Stream>;

/// Writes a manifest of `view` under the name of one in the making, and makes it durable, but for its name. Its length.
pub(in crate::store) fn write(disk: &dyn Disk, meta: &Meta, view: &View, kept: &[KeptLog]) -> Result<u64, StoreError> {
    let path = disk.path(UNFINISHED);
    let file = disk.create(UNFINISHED).map_err(StoreError::io("create", &path))?;
    let sink = BufWriter::with_capacity(1 << 18, Stream::new(file));
    let packed = view.segments.iter().any(|segment| segment.packed_bytes().is_some());
    let version = if packed { PACKED_VERSION } else { 1 };
    let mut writer = ContainerWriter::over(disk.path(NAME), sink, KIND, version)?;
    put_meta(&mut writer, meta, view)?;
    put_segments(&mut writer, view)?;
    writer.section(KEPT, kept)?;
    let places = view.slots().map(|slot| [slot.place.segment, slot.place.row]);
    put_all(writer.begin(PLACES)?, places)?;
    put_all(writer.begin(SEQUENCES)?, view.slots().map(|slot| slot.sequence))?;
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
        slots: view.keys.len() as u64,
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
        let (number, capacity, form) =
            (segment.number(), segment.capacity(), u32::from(segment.packed_bytes().is_some()));
        segments.push(SegmentRecord { number, capacity, spans: blocks.len() as u32, form });
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

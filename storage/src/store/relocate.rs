//! Rows that count move out of segments, into new ones that take their place.
//!
//! The rows are copied while others read and write; only then is the writer kept waiting, for as long as a manifest takes to be
//! written. Readers never wait: a snapshot keeps the old files until it is dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::codec::{Codec, Packer};
use super::log::Span;
use super::packed;
use super::segment::Segment;
use super::view::{Place, View};
use super::{StoreError, VectorStore};

/// Bytes of rows that are copied at once.
const COPIED: usize = 1 << 20;

/// The segments that rows move out of, none of which grows any more.
pub(super) struct Victims {
    /// In which they are.
    pub(super) view: Arc<View>,
    pub(super) numbers: BTreeSet<u32>,
    /// The one of them that grew until now, if one did: it goes on when nothing comes of it.
    pub(super) grown: Option<Arc<Segment>>,
}

/// The segments that rows move to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Plain,
    /// With the elements shuffled that are so many bytes wide.
    Packed(Codec, usize),
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Relocated {
    /// Rows that the files of the segments took up the room of that are no more.
    pub(super) rows: u64,
    /// Of these, rows that moved.
    pub(super) moved: u64,
    /// The bytes that the files of the new segments have, where they are packed.
    pub(super) packed_bytes: u64,
}

/// A row that was copied.
struct Move {
    slot: u32,
    from: Place,
    to: Place,
}

impl VectorStore {
    /// Moves the rows that count out of the victims, whose room is given back. Nothing that a reader sees changes.
    pub(super) fn relocate(&self, victims: &Victims, form: Form) -> Result<Relocated, StoreError> {
        if victims.numbers.is_empty() {
            return Ok(Relocated::default());
        }
        let mut begun = Vec::new();
        let copied = self.copy(victims, form, &mut begun);
        let outcome = copied.and_then(|(copies, moves)| self.replace(victims, &copies, &moves));
        if outcome.is_err() {
            let mut writer = self.lock_writer()?;
            if writer.unsure.is_none() {
                self.remove_segments(begun.into_iter());
            }
            if let Some(grown) = &victims.grown {
                writer.go_on_in(Arc::clone(grown));
            }
        }
        outcome
    }

    /// Copies the rows that count into new segments, and makes them durable, but for their names. The numbers of those are
    /// `begun` even where it fails.
    fn copy(
        &self,
        Victims { view, numbers, .. }: &Victims,
        form: Form,
        begun: &mut Vec<u32>,
    ) -> Result<(Vec<Arc<Segment>>, Vec<Move>), StoreError> {
        let live = view.live().filter(|(_, known)| numbers.contains(&known.place.segment));
        let mut rows: Vec<(Place, u32)> = live.map(|(slot, known)| (known.place, slot)).collect();
        rows.sort_unstable_by_key(|(place, _)| (place.segment, place.row));
        // A new checksum must not vouch for rows that an old one does not.
        for rows in rows.chunk_by(|a, b| a.0.segment == b.0.segment) {
            let segment = view.segment(rows[0].0.segment).expect("a place lies in a segment of its view");
            segment.compare_holding(rows.iter().map(|(place, _)| place.row))?;
        }
        let (mut copies, mut moves) = (Vec::new(), Vec::with_capacity(rows.len()));
        for rows in rows.chunks(self.meta.segment_rows as usize) {
            let number = self.lock_writer()?.next_file()?;
            begun.push(number);
            let sources = rows.iter().map(|(from, _)| {
                let segment = view.segment(from.segment).expect("a place lies in a segment of its view");
                segment.row(from.row)
            });
            let copy = match form {
                Form::Plain => self.copy_plain(number, sources)?,
                Form::Packed(codec, width) => self.copy_packed((number, rows.len() as u32), sources, codec, width)?,
            };
            copies.push(Arc::new(copy));
            let places = (0..).map(|row| Place { segment: number, row });
            moves.extend(rows.iter().zip(places).map(|(&(from, slot), to)| Move { slot, from, to }));
        }
        Ok((copies, moves))
    }

    fn copy_plain<'a>(
        &self,
        number: u32,
        mut rows: impl ExactSizeIterator<Item = Result<&'a [u8], StoreError>>,
    ) -> Result<Segment, StoreError> {
        let copy = self.new_segment(number)?;
        let at_once = (COPIED / copy.row_bytes()).max(1);
        let mut bytes = Vec::with_capacity(COPIED);
        while rows.len() > 0 {
            bytes.clear();
            rows.by_ref().take(at_once).try_for_each(|row| row.map(|row| bytes.extend_from_slice(row)))?;
            let first = copy.rows();
            copy.write(first, &bytes)?;
            copy.spans(first, &bytes).for_each(|span| copy.extend(span));
        }
        copy.sync()?;
        copy.seal();
        Ok(copy)
    }

    fn copy_packed<'a>(
        &self,
        (number, count): (u32, u32),
        rows: impl Iterator<Item = Result<&'a [u8], StoreError>>,
        codec: Codec,
        width: usize,
    ) -> Result<Segment, StoreError> {
        let stamp = self.meta.packed_stamp(number, count);
        let packer = Packer::new(codec, width).map_err(StoreError::io("pack rows in", self.disk.folder()))?;
        let spans: Vec<Span> = packed::write(&*self.disk, &stamp, packer, rows)?;
        Segment::open(&*self.disk, stamp, &spans, false)
    }

    /// Lets the copies take the place of the victims.
    fn replace(
        &self,
        Victims { numbers, .. }: &Victims,
        copies: &[Arc<Segment>],
        moves: &[Move],
    ) -> Result<Relocated, StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        let mut view = View::clone(&self.read_view());
        let of_victims = view.segments.iter().filter(|segment| numbers.contains(&segment.number()));
        let rows = of_victims.map(|segment| segment.rows_of_file()).sum();
        view.segments.retain(|segment| !numbers.contains(&segment.number()));
        view.segments.extend(copies.iter().cloned());
        view.segments.sort_unstable_by_key(|segment| segment.number());
        for Move { slot, from, to } in moves {
            // A vector that was replaced or deleted meanwhile lies elsewhere or nowhere.
            if view.place(*slot) == Some(*from) {
                view.keys.put(*slot, *to, &mut writer.spare.keys);
            }
        }
        self.replace_manifest(&mut writer, &view)?;
        // Unmapping what was there takes a while: not under the lock.
        let old = std::mem::replace(&mut *self.write_view(), Arc::new(view));
        drop(old);
        writer.past.clear();
        writer.dirty.retain(|segment| !numbers.contains(&segment.number()));
        self.remove_segments(numbers.iter().copied());
        let packed_bytes = copies.iter().filter_map(|copy| copy.packed_bytes()).map(|(stored, _)| stored).sum();
        Ok(Relocated { rows, moved: moves.len() as u64, packed_bytes })
    }
}

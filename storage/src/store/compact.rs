//! Compaction: rows that still count move together, and the room of the others is given back.
//!
//! The rows are copied while others read and write; only then is the writer kept waiting, for as long as a manifest takes to be
//! written. Readers never wait: a snapshot keeps the old files until it is dropped.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::segment::Segment;
use super::view::{Place, View};
use super::{StoreError, VectorStore};

/// Bytes of rows that are copied at once.
const COPIED: usize = 1 << 20;

/// Which segments are compacted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactOptions {
    /// Those of whose rows at least this share, above 0 and up to 1, does not count any more.
    pub min_dead: f64,
}

impl Default for CompactOptions {
    /// A fifth.
    fn default() -> Self {
        Self { min_dead: 0.2 }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Segments that are no more.
    pub segments: usize,
    /// Rows that moved.
    pub moved: u64,
    /// Bytes of rows that were given back.
    pub freed_bytes: u64,
}

/// A row that was copied.
struct Move {
    slot: u32,
    from: Place,
    to: Place,
}

impl VectorStore {
    /// Gives back the room of rows that do not count any more. Nothing that a reader sees changes, and slots stay. A second
    /// call waits for the first.
    pub fn compact(&self, options: &CompactOptions) -> Result<Compacted, StoreError> {
        if !(options.min_dead > 0.0 && options.min_dead <= 1.0) {
            return Err(StoreError::param("min_dead", "above 0 and up to 1", options.min_dead));
        }
        let _one = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let (view, victims) = self.victims(*options)?;
        if victims.is_empty() {
            return Ok(Compacted::default());
        }
        let mut copies = Vec::new();
        let outcome = self.copy(&view, &victims, &mut copies).and_then(|moves| self.replace(&victims, &copies, &moves));
        if outcome.is_err() && self.lock_writer()?.unsure.is_none() {
            self.remove_segments(copies.iter().map(|copy| copy.number()));
        }
        outcome
    }

    /// The segments to compact, none of which grows any more.
    fn victims(&self, options: CompactOptions) -> Result<(Arc<View>, BTreeSet<u32>), StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        let view = Arc::clone(&self.read_view());
        let mut live = vec![0_u64; view.segments.len()];
        for (_, known) in view.live() {
            let at = view.segments.binary_search_by_key(&known.place.segment, |segment| segment.number());
            live[at.expect("a place lies in a segment of its view")] += 1;
        }
        let dead = |(segment, live): &(&Arc<Segment>, u64)| {
            let rows = u64::from(segment.rows());
            // One without rows was left by a change that failed.
            let empty = rows == 0 && writer.active.as_ref().is_none_or(|active| active.number() != segment.number());
            empty || *live < rows && (rows - live) as f64 >= options.min_dead * rows as f64
        };
        let counted = view.segments.iter().zip(live);
        let victims: BTreeSet<u32> = counted.filter(dead).map(|(segment, _)| segment.number()).collect();
        writer.active.take_if(|active| victims.contains(&active.number()));
        Ok((view, victims))
    }

    /// Copies the rows that count into new segments, and makes them durable, but for their names.
    fn copy(
        &self,
        view: &View,
        victims: &BTreeSet<u32>,
        copies: &mut Vec<Arc<Segment>>,
    ) -> Result<Vec<Move>, StoreError> {
        let mut rows: Vec<(Place, u32)> = view
            .live()
            .filter(|(_, known)| victims.contains(&known.place.segment))
            .map(|(s, k)| (k.place, s))
            .collect();
        rows.sort_unstable_by_key(|(place, _)| (place.segment, place.row));
        // A new checksum must not vouch for rows that an old one does not.
        for rows in rows.chunk_by(|a, b| a.0.segment == b.0.segment) {
            let segment = view.segment(rows[0].0.segment).expect("a place lies in a segment of its view");
            segment.compare_holding(rows.iter().map(|(place, _)| place.row))?;
        }
        let mut moves = Vec::with_capacity(rows.len());
        let mut bytes = Vec::with_capacity(COPIED);
        let mut rest = &rows[..];
        while !rest.is_empty() {
            if !copies.last().is_some_and(|copy| copy.grows()) {
                let number = self.lock_writer()?.next_file()?;
                copies.push(Arc::new(self.new_segment(number)?));
            }
            let copy = copies.last().expect("one was begun");
            let (first, row_bytes) = (copy.rows(), copy.row_bytes());
            let room = (copy.capacity() - first) as usize;
            let (taken, left) = rest.split_at(rest.len().min(room).min((COPIED / row_bytes).max(1)));
            bytes.clear();
            for (to, &(from, slot)) in (first..).zip(taken) {
                let segment = view.segment(from.segment).expect("a place lies in a segment of its view");
                bytes.extend_from_slice(segment.row(from.row)?);
                moves.push(Move { slot, from, to: Place { segment: copy.number(), row: to } });
            }
            copy.write(first, &bytes)?;
            copy.spans(first, &bytes).into_iter().for_each(|span| copy.extend(span));
            rest = left;
        }
        copies.iter().try_for_each(|copy| copy.sync().map(|()| copy.seal()))?;
        Ok(moves)
    }

    /// Lets the copies take the place of the victims.
    fn replace(
        &self,
        victims: &BTreeSet<u32>,
        copies: &[Arc<Segment>],
        moves: &[Move],
    ) -> Result<Compacted, StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        let mut view = View::clone(&self.read_view());
        let of_victims = view.segments.iter().filter(|segment| victims.contains(&segment.number()));
        let given_back: u64 = of_victims.map(|segment| u64::from(segment.rows())).sum();
        view.segments.retain(|segment| !victims.contains(&segment.number()));
        view.segments.extend(copies.iter().cloned());
        view.segments.sort_unstable_by_key(|segment| segment.number());
        for Move { slot, from, to } in moves {
            // A vector that was replaced or deleted meanwhile lies elsewhere or nowhere.
            if view.place(*slot) == Some(*from) {
                view.slots.get_mut(*slot as usize).place = *to;
            }
        }
        self.replace_manifest(&mut writer, &view)?;
        // Unmapping what was there takes a while: not under the lock.
        let old = std::mem::replace(&mut *self.write_view(), Arc::new(view));
        drop(old);
        writer.dirty.retain(|segment| !victims.contains(&segment.number()));
        self.remove_segments(victims.iter().copied());
        let row_bytes = self.meta.shape.row_bytes() as u64;
        let freed_bytes = (given_back - moves.len() as u64) * row_bytes;
        Ok(Compacted { segments: victims.len(), moved: moves.len() as u64, freed_bytes })
    }
}

//! Changing a store: rows first, then the record that makes them count, then what readers see.

use std::collections::HashSet;
use std::sync::Arc;

use super::log::{Commit, Span};
use super::segment::Segment;
use super::shape::{Durability, Element, Ids, Rows};
use super::snapshot::checked_ids;
use super::spare::KEPT_BYTES;
use super::writer::{Begun, Writer};
use super::{StoreError, VectorStore};
use crate::Vectors;

/// Records that wait in memory are handed to the system when they are as many bytes as this.
const UNWRITTEN: usize = 1 << 20;
/// The longest id that is a name, in bytes.
const MAX_NAME: usize = 1 << 16;
/// The most slots there can be: an index's ids are `i32` in files.
const MAX_SLOTS: usize = i32::MAX as usize;

/// What is changed at once: all of it is visible and kept, or none.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Ids of the vectors to put; one that is there is replaced.
    pub put: Ids<'a>,
    /// The vectors, one for each of these.
    pub rows: Rows<'a>,
    /// Ids of vectors to take out; those that are not there are passed over.
    pub delete: Ids<'a>,
    /// Kept with the change in the log, for whoever follows it; see [`VectorStore::since`].
    pub attachment: &'a [u8],
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// Its number.
    pub sequence: u64,
    /// The slot of each vector that was put, in order.
    pub slots: Vec<u32>,
    /// The slots of vectors that are no more: deleted, or replaced.
    pub freed: Vec<u32>,
}

impl VectorStore {
    /// Puts a vector for each of the `ids`, in place of any that is there.
    pub fn write<'a, T: Element>(
        &self,
        ids: impl Into<Ids<'a>>,
        vectors: Vectors<'a, T>,
        durability: Durability,
    ) -> Result<Committed, StoreError> {
        let change = Change { put: ids.into(), rows: vectors.into(), delete: Ids::NONE, attachment: &[] };
        self.commit(&change, durability)
    }

    /// Takes the vectors of the `ids` out, as far as they are there.
    pub fn delete<'a>(&self, ids: impl Into<Ids<'a>>, durability: Durability) -> Result<Committed, StoreError> {
        let none = Vectors::<u8>::new(&[], self.meta.shape.dim);
        let change = Change { put: Ids::NONE, rows: none.into(), delete: ids.into(), attachment: &[] };
        self.commit(&change, durability)
    }

    /// Makes a change. A change of nothing has no number of its own, but what was changed before becomes as durable as it says.
    pub fn commit(&self, change: &Change<'_>, durability: Durability) -> Result<Committed, StoreError> {
        let mut committed = Committed::default();
        self.commit_into(change, durability, &mut committed)?;
        Ok(committed)
    }

    /// As [`commit`](Self::commit), in the memory of `committed`: once the store is warm, a change allocates nothing but what it adds,
    /// and the names that it is given.
    pub fn commit_into(
        &self,
        change: &Change<'_>,
        durability: Durability,
        committed: &mut Committed,
    ) -> Result<(), StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        let bytes = self.check(change)?;
        let mut commit = std::mem::replace(&mut writer.commit, Commit::empty(self.meta.shape.ids));
        let made = self.make(&mut writer, (change, bytes), durability, &mut commit);
        if made.is_ok() {
            committed.sequence = commit.sequence;
            committed.slots.clone_from(&commit.slots);
            committed.freed.clone_from(&commit.freed);
        }
        if commit.memory() <= KEPT_BYTES {
            writer.commit = commit;
        }
        made
    }

    /// Makes a change that was checked, whose rows are `bytes`.
    fn make(
        &self,
        writer: &mut Writer,
        (change, bytes): (&Change<'_>, &[u8]),
        durability: Durability,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        commit.begin(change.put, change.attachment);
        self.free(change, &mut commit.freed);
        if change.put.is_empty() && commit.freed.is_empty() && change.attachment.is_empty() {
            commit.sequence = self.sequence();
            return writer.settle_and_mark(self, durability);
        }
        self.give_slots(writer, change.put.len(), &mut commit.slots)?;
        commit.sequence = self.sequence() + 1;
        let begun = writer.begin();
        let placed = self.place(writer, bytes, &mut commit.spans);
        let logged = placed.and_then(|()| self.log(writer, commit, durability));
        logged.inspect_err(|_| self.undo(writer, begun))?;
        self.publish(writer, commit);
        if durability == Durability::Sync {
            self.seal_full(&commit.spans);
            writer.mark(commit.sequence);
        }
        if writer.log.len() > writer.checkpoint_at && self.checkpoint_by(writer).is_err() {
            // The change is made, whatever becomes of the manifest: it is tried again when the log has doubled.
            writer.checkpoint_at = writer.log.len() * 2;
        }
        Ok(())
    }

    /// Makes everything that was changed so far durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        writer.settle_and_mark(self, Durability::Sync)
    }

    /// The bytes of the rows to put, if the change is sound.
    fn check<'a>(&self, change: &Change<'a>) -> Result<&'a [u8], StoreError> {
        let shape = self.meta.shape;
        checked_ids(shape, change.put)?;
        checked_ids(shape, change.delete)?;
        if change.put.len() != change.rows.len() {
            return Err(StoreError::Count { expected: change.rows.len(), found: change.put.len() });
        }
        match (change.put, change.delete) {
            (Ids::Numbers(put), Ids::Numbers(delete)) => distinct(put.iter().chain(delete))?,
            (Ids::Names(put), Ids::Names(delete)) => distinct(put.iter().chain(delete))?,
            (Ids::Numbers(ids), Ids::Names(_)) | (Ids::Names(_), Ids::Numbers(ids)) if !ids.is_empty() => {
                distinct(ids.iter())?;
            }
            (Ids::Names(ids), _) | (_, Ids::Names(ids)) => distinct(ids.iter())?,
        }
        if let Ids::Names(names) = change.put
            && let Some(long) = names.iter().find(|name| name.len() > MAX_NAME)
        {
            return Err(StoreError::param("length of a name", "up to 65536 bytes", long.len()));
        }
        if change.rows.is_empty() { Ok(&[]) } else { shape.bytes_of(change.rows) }
    }

    /// Notes the slots of vectors that the change replaces or deletes.
    fn free(&self, change: &Change<'_>, freed: &mut Vec<u32>) {
        let view = self.read_view();
        for ids in [change.put, change.delete] {
            view.keys.find(ids, |found| freed.extend(found.map(|(slot, _)| slot)));
        }
    }

    /// Gives slots to so many vectors: free ones first.
    fn give_slots(&self, writer: &Writer, count: usize, slots: &mut Vec<u32>) -> Result<(), StoreError> {
        let known = self.read_view().keys.len();
        let new = count.saturating_sub(writer.free.len());
        if known + new > MAX_SLOTS {
            return Err(StoreError::Full { expected: MAX_SLOTS as u64, found: (known + new) as u64 });
        }
        slots.extend(writer.free.iter().rev().copied().chain(known as u32..).take(count));
        Ok(())
    }

    /// Writes rows into segments, where they do not count yet; which `spans` they are.
    fn place(&self, writer: &mut Writer, mut rest: &[u8], spans: &mut Vec<Span>) -> Result<(), StoreError> {
        while !rest.is_empty() {
            let segment = match &writer.active {
                // One that these rows have filled counts fewer than it will hold.
                Some(active) if active.grows() && room(active, spans) > 0 => Arc::clone(active),
                _ => self.begin_segment(writer)?,
            };
            let first = segment.capacity() - room(&segment, spans);
            let rows = (room(&segment, spans) as usize).min(rest.len() / segment.row_bytes());
            let (bytes, left) = rest.split_at(rows * segment.row_bytes());
            segment.write(first, bytes)?;
            spans.extend(segment.spans(first, bytes));
            if !writer.dirty.iter().any(|dirty| dirty.number() == segment.number()) {
                writer.dirty.push(segment);
            }
            rest = left;
        }
        Ok(())
    }

    fn begin_segment(&self, writer: &mut Writer) -> Result<Arc<Segment>, StoreError> {
        writer.sync_full(self)?;
        let number = writer.next_file()?;
        let segment = self.new_segment(number)?;
        let folder = self.disk.folder();
        self.disk.sync_folder().map_err(|cause| writer.unsure(self, &StoreError::io("sync", folder)(cause)))?;
        let segment = Arc::new(segment);
        writer.log.segment((number, segment.capacity()), self.sequence());
        Arc::make_mut(&mut self.write_view()).add_segment(Arc::clone(&segment));
        writer.active = Some(Arc::clone(&segment));
        Ok(segment)
    }

    pub(super) fn new_segment(&self, number: u32) -> Result<Segment, StoreError> {
        let segment = Segment::create(&*self.disk, self.meta.segment_stamp(number, self.meta.segment_rows));
        segment.inspect_err(|_| self.remove_segments([number].into_iter()))
    }

    /// Forgets a change that failed, its rows, and the segments that were begun for it, unless nobody knows whether it happened.
    fn undo(&self, writer: &mut Writer, begun: Begun) {
        if writer.unsure.is_some() {
            return;
        }
        writer.log.forget(begun.log_len);
        writer.active = begun.active;
        if let Some(active) = &writer.active {
            active.cut_off();
        }
        let ours = |segment: &Arc<Segment>| segment.number() >= begun.next_file;
        writer.dirty.retain(|segment| !ours(segment));
        let numbers: Vec<u32> = {
            let mut view = self.write_view();
            let from = view.segments.partition_point(|segment| !ours(segment));
            if from == view.segments.len() {
                return;
            }
            Arc::make_mut(&mut view).segments.drain(from..).map(|segment| segment.number()).collect()
        };
        self.remove_segments(numbers.into_iter());
    }

    /// Puts the record of a change where `durability` wants it. On an error the change has not happened, or nobody knows.
    fn log(&self, writer: &mut Writer, commit: &Commit, durability: Durability) -> Result<(), StoreError> {
        writer.log.commit(commit);
        let durability = match durability {
            Durability::None if writer.log.unwritten() > UNWRITTEN => Durability::Flush,
            chosen => chosen,
        };
        writer.settle(self, durability)
    }

    fn publish(&self, writer: &mut Writer, commit: &Commit) {
        writer.reclaim();
        let past = {
            let mut view = self.write_view();
            let past = writer.spare.part(&mut view);
            let view = Arc::make_mut(&mut view);
            for &span in &commit.spans {
                view.segment(span.segment).expect("its rows were written there").extend(span);
            }
            view.apply(commit, &mut writer.spare).expect("what was checked fits");
            past
        };
        if let Some(past) = past {
            writer.keep(past);
        }
        let used = writer.free.len().min(commit.slots.len());
        writer.free.truncate(writer.free.len() - used);
        writer.free.extend(&commit.freed);
    }

    /// Gives the files back of the segments that a change has filled which is durable. When they were synced its rows did not count yet.
    fn seal_full(&self, spans: &[Span]) {
        let view = self.read_view();
        for spans in spans.chunk_by(|a, b| a.segment == b.segment) {
            view.segment(spans[0].segment).expect("its rows were written there").seal_if_full();
        }
    }
}

/// Rows that the segment has room for after those that count and those of `spans`.
fn room(segment: &Segment, spans: &[Span]) -> u32 {
    let ours = spans.iter().rev().take_while(|span| span.segment == segment.number());
    segment.capacity() - segment.rows() - ours.map(|span| span.rows).sum::<u32>()
}

fn distinct<K: std::hash::Hash + Ord + ToString>(ids: impl Iterator<Item = K> + Clone) -> Result<(), StoreError> {
    // As most bulk loads have them.
    if ids.clone().is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut met = HashSet::with_capacity_and_hasher(ids.size_hint().0, foldhash::fast::RandomState::default());
    for id in ids {
        if let Some(twice) = met.replace(id) {
            return Err(StoreError::Twice(twice.to_string()));
        }
    }
    Ok(())
}

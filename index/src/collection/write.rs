//! Changing a collection: first the record in the store's log, then what follows from it.

use std::path::PathBuf;
use std::sync::Arc;

use nearlab_simd::{Metric, norm_squared};
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Change as MetadataChange, Document, Durability as MetadataDurability, encode};
use nearlab_storage::store::{Change, Committed, Durability, Ids, Past};

use super::graph::Graph;
use super::measure::Forms;
use super::open::VECTORS;
use super::sync::atomic::Ordering;
use super::{Collection, CollectionError, GRAPH_FROM, IndexConfig, Nodes, State};
use crate::memory::Capacity;
use crate::space::check_base_on;
use crate::{BuildError, Mutable};

/// Bytes that may wait before the metadata is made durable.
const WAITING: usize = 8 << 20;

/// Records to put.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    /// Their ids.
    pub ids: Ids<'a>,
    /// A vector for each.
    pub vectors: Vectors<'a, f32>,
    /// What each says: one for each, or none at all, which is the same as empty ones.
    pub documents: &'a [Document],
}

/// How records are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// In place of any with the same ids.
    Upsert,
    /// Only if their ids are new.
    Insert,
    /// As [`How::Upsert`], without the index.
    Load,
}

/// What only the writer needs.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The last generation of the index's files that was tried.
    pub(super) generation: u64,
    /// As many vectors must be without a graph before one is tried again, after one that could not be built.
    pub(super) graph_from: usize,
    /// Bytes that the metadata has not made durable, only the log.
    waiting: usize,
    /// The last change that the metadata holds durably.
    durable: u64,
    /// Why nothing can be changed any more.
    behind: Option<String>,
    /// Memory that changes are worked out in.
    scratch: Scratch,
}

impl Writer {
    /// A thread that panicked left a change half followed, for all that is known: the log tells it again when the collection is opened.
    pub(super) fn was_left(&mut self) {
        self.behind.get_or_insert_with(|| "a thread panicked while it changed the collection".to_owned());
    }
}

/// Bytes of scratch that are kept for the next change, so that a bulk load leaves none behind.
const KEPT_BYTES: usize = 1 << 20;

/// What a change is worked out in.
#[derive(Debug, Default)]
struct Scratch {
    forms: Forms,
    committed: Committed,
    /// Nodes that the index has given to vectors.
    taken: Vec<u32>,
}

impl Capacity for Scratch {
    fn capacity_bytes(&self) -> usize {
        let Self { forms, committed: Committed { slots, freed, .. }, taken } = self;
        forms.capacity_bytes() + slots.capacity_bytes() + freed.capacity_bytes() + taken.capacity_bytes()
    }
}

impl Writer {
    /// Of a collection whose index is of this generation, and whose metadata hold this change.
    pub(super) fn at(generation: u64, durable: u64) -> Self {
        Self { generation, durable, ..Self::default() }
    }

    /// Bytes of memory that changes are worked out in.
    pub(super) fn scratch_bytes(&self) -> usize {
        self.scratch.capacity_bytes()
    }
}

impl Collection {
    /// Puts records, in place of any with the same ids. All of them are there when this returns, as durable as asked; the number of
    /// the change. Refused as a whole where vectors have other dimensions, NaN or infinities, or numbers that a `u8` can not hold, or are too
    /// long for codes under inner product, where documents do not fit the schema or are not as many as the vectors, and while the index is
    /// behind.
    pub fn upsert(&self, records: &Records<'_>, durability: Durability) -> Result<u64, CollectionError> {
        self.change(records, Ids::NONE, durability, How::Upsert)
    }

    /// As [`upsert`](Self::upsert), without the index: until the next [`optimize`](Self::optimize) takes them in, all at once, the
    /// records are compared one by one. For many of them that is faster in the end.
    pub fn load(&self, records: &Records<'_>, durability: Durability) -> Result<u64, CollectionError> {
        self.change(records, Ids::NONE, durability, How::Load)
    }

    /// Puts records whose ids are new; an id that is already there refuses them all ([`CollectionError::Taken`]). Otherwise as
    /// [`upsert`](Self::upsert).
    pub fn insert(&self, records: &Records<'_>, durability: Durability) -> Result<u64, CollectionError> {
        self.change(records, Ids::NONE, durability, How::Insert)
    }

    /// Takes records out, as far as they are there; the number of the change, not of the records.
    pub fn delete<'a>(&self, ids: impl Into<Ids<'a>>, durability: Durability) -> Result<u64, CollectionError> {
        let none = Records { ids: Ids::NONE, vectors: Vectors::new(&[], self.config.dim), documents: &[] };
        self.change(&none, ids.into(), durability, How::Upsert)
    }

    /// Makes everything that was changed so far durable.
    pub fn sync(&self) -> Result<(), CollectionError> {
        let mut writer = self.lock_writer()?;
        self.check(&writer)?;
        self.store.sync()?;
        self.keep_metadata(&mut writer)
    }

    fn change(
        &self,
        records: &Records<'_>,
        delete: Ids<'_>,
        durability: Durability,
        how: How,
    ) -> Result<u64, CollectionError> {
        let documents = self.encoded(records)?;
        check_base_on(&self.pool, records.vectors)?;
        let attachment = attach(&documents);
        let mut writer = self.lock_writer()?;
        self.check(&writer)?;
        if how == How::Insert {
            self.refuse_known(records.ids)?;
        }
        let mut scratch = std::mem::take(&mut writer.scratch);
        let Scratch { forms, committed, taken } = &mut scratch;
        let (rows, vectors) = forms.of(self.config.element, records.vectors)?;
        self.check_lengths(vectors)?;
        let change = Change { put: records.ids, rows, delete, attachment: &attachment };
        self.store.commit_into(&change, durability, committed)?;
        if !committed.slots.is_empty() || !committed.freed.is_empty() {
            writer.waiting += attachment.len() + size_of_val(&committed.freed[..]);
            let vectors = (how != How::Load).then_some(vectors);
            let follow = self.follow(committed, vectors, &documents, taken);
            let outcome = follow.and_then(|()| self.keep_up(&mut writer, how));
            outcome.map_err(|cause| self.behind(&mut writer, &cause))?;
        }
        let sequence = committed.sequence;
        if scratch.capacity_bytes() <= KEPT_BYTES {
            writer.scratch = scratch;
        }
        Ok(sequence)
    }

    /// The documents as they are kept; none in a collection without fields.
    fn encoded(&self, records: &Records<'_>) -> Result<Vec<Vec<u8>>, CollectionError> {
        let (expected, found) = (records.ids.len(), records.documents.len());
        let Some(schema) = self.config.schema.as_ref() else {
            return if found == 0 { Ok(Vec::new()) } else { Err(CollectionError::NoSchema) };
        };
        if found != 0 && found != expected {
            return Err(CollectionError::Documents { expected, found });
        }
        let empty = Document::new();
        let documents = records.documents.iter().chain(std::iter::repeat(&empty)).take(expected);
        let encoded = documents
            .enumerate()
            .map(|(row, document)| encode(schema, document).map_err(|cause| CollectionError::Document { row, cause }));
        encoded.collect()
    }

    /// Refuses vectors whose squared length no number holds, where codes are made of it: with one of them no index could be built.
    fn check_lengths(&self, vectors: Vectors<'_, f32>) -> Result<(), BuildError> {
        if self.config.metric != Metric::InnerProduct || !self.config.index.needs_codes() {
            return Ok(());
        }
        let too_long = vectors.iter().enumerate().find(|(_, vector)| !norm_squared(vector).is_finite());
        too_long.map_or(Ok(()), |(row, vector)| {
            let found = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            Err(BuildError::TooLong { row, expected: f32::MAX, found })
        })
    }

    fn refuse_known(&self, ids: Ids<'_>) -> Result<(), CollectionError> {
        match self.store.snapshot().first_known(ids)? {
            Some(id) => Err(CollectionError::Taken(id.to_string())),
            None => Ok(()),
        }
    }

    /// Does what follows from a change: the index takes the vectors in, if they are for it, as nodes that are noted in `taken`, then
    /// documents and nodes change in one turn.
    fn follow(
        &self,
        committed: &Committed,
        vectors: Option<Vectors<'_, f32>>,
        documents: &[Vec<u8>],
        taken: &mut Vec<u32>,
    ) -> Result<(), CollectionError> {
        let (graph, takes) = {
            let state = self.read();
            (state.graph.clone(), state.takes(&self.config.index, committed.slots.len()))
        };
        let indexed = match (graph.as_deref(), vectors) {
            (Some(Graph::Live(live)), Some(vectors)) if takes && !vectors.is_empty() => {
                self.write().changing = true;
                live.insert_into(vectors, &self.pool, taken)?;
                true
            }
            _ => false,
        };
        self.part_nodes();
        self.turns.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = self.apply(committed, documents) {
            // Searches go on without the change: documents, nodes and rows are still those of before.
            self.turns.fetch_add(1, Ordering::AcqRel);
            return Err(error);
        }
        let mut state = self.write();
        let State { nodes, tail, fading, era, .. } = &mut *state;
        let nodes = Arc::make_mut(nodes);
        let gone = committed.freed.iter().filter_map(|&slot| {
            tail.remove(slot);
            nodes.remove(slot)
        });
        fading.end_with(era, gone);
        for (i, &slot) in committed.slots.iter().enumerate() {
            if indexed {
                nodes.put(taken[i], slot, committed.sequence);
            } else {
                tail.insert(slot);
            }
        }
        let before = std::mem::replace(&mut state.snapshot, self.store.snapshot());
        state.epoch += 1;
        state.changing = false;
        drop(state);
        self.turns.fetch_add(1, Ordering::AcqRel);
        drop(before);
        self.fade();
        Ok(())
    }

    /// Lets the state have nodes of its own where a snapshot holds them too: searches go on while they are copied.
    pub(super) fn part_nodes(&self) {
        let shared = Arc::clone(&self.read().nodes);
        // The state's, and this one.
        if Arc::strong_count(&shared) > 2 {
            let own = Arc::new(Nodes::clone(&shared));
            self.write().nodes = own;
        }
    }

    /// Lets the metadata follow a change, not durably: the log tells it again if need be.
    fn apply(&self, committed: &Committed, documents: &[Vec<u8>]) -> Result<(), CollectionError> {
        let Some(metadata) = &self.metadata else { return Ok(()) };
        let removed = committed.freed.iter().map(|&slot| MetadataChange::Remove { slot });
        let put = committed.slots.iter().zip(documents);
        let put = put.map(|(&slot, document)| MetadataChange::Put { slot, document });
        let changes: Vec<MetadataChange<'_>> = removed.chain(put).collect();
        Ok(metadata.apply(committed.sequence, &changes, MetadataDurability::Deferred)?)
    }

    /// What is due after a change: durable metadata, a first graph. Where that can not be built nothing is behind: all is compared one by one
    /// until there is twice as much, and [`optimize`](Self::optimize) says why.
    fn keep_up(&self, writer: &mut Writer, how: How) -> Result<(), CollectionError> {
        if writer.waiting > WAITING {
            self.store.sync()?;
            self.keep_metadata(writer)?;
        }
        let missing = {
            let state = self.read();
            let wants_one = how != How::Load && matches!(self.config.index, IndexConfig::Hnsw(_));
            let has_one = state.graph.is_some() && state.takes(&self.config.index, state.tail.len());
            if wants_one && !has_one { state.tail.len() } else { 0 }
        };
        if missing >= GRAPH_FROM.max(writer.graph_from) {
            writer.graph_from = if self.build(&()).is_ok() { 0 } else { 2 * missing };
        }
        Ok(())
    }

    /// Makes the metadata durable; what the store knows is. The log is kept from where they were durable before: damage to what they
    /// write now throws them back to there.
    pub(super) fn keep_metadata(&self, writer: &mut Writer) -> Result<(), CollectionError> {
        if let Some(metadata) = &self.metadata {
            metadata.sync()?;
            let durable = metadata.sequence()?;
            if durable != writer.durable {
                self.store.keep_since(writer.durable)?;
                writer.durable = durable;
            }
        }
        writer.waiting = 0;
        Ok(())
    }

    pub(super) fn check(&self, writer: &Writer) -> Result<(), CollectionError> {
        match &writer.behind {
            None => Ok(()),
            Some(cause) => Err(CollectionError::Behind { path: self.folder.clone(), cause: cause.clone() }),
        }
    }

    /// Accepts no more changes: one was made from which not everything could follow.
    pub(super) fn behind(&self, writer: &mut Writer, cause: &CollectionError) -> CollectionError {
        let cause = writer.behind.insert(cause.to_string()).clone();
        CollectionError::Behind { path: self.folder.clone(), cause }
    }

    /// Lets the metadata follow a change that it missed.
    pub(super) fn apply_past(&self, past: &Past) -> Result<(), CollectionError> {
        let wrong = |found: String| CollectionError::Attachment {
            path: self.vectors_path(),
            sequence: past.committed.sequence,
            found,
        };
        let documents = attached(&past.attachment, past.committed.slots.len()).map_err(wrong)?;
        self.apply(&past.committed, &documents)
    }

    pub(super) fn vectors_path(&self) -> PathBuf {
        self.folder.join(VECTORS)
    }
}

/// What rides along with a change: the length of each document, then the documents.
fn attach(documents: &[Vec<u8>]) -> Vec<u8> {
    let lengths = documents.iter().flat_map(|document| (document.len() as u32).to_le_bytes());
    lengths.chain(documents.iter().flatten().copied()).collect()
}

/// The documents of a change of so many records, or what does not fit, in words.
fn attached(attachment: &[u8], records: usize) -> Result<Vec<Vec<u8>>, String> {
    let wrong = || format!("{} bytes for {records} records", attachment.len());
    let (lengths, mut rest) = attachment.split_at_checked(4 * records).ok_or_else(wrong)?;
    let (lengths, _) = lengths.as_chunks::<4>();
    let mut documents = Vec::with_capacity(records);
    for length in lengths {
        let (document, left) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(wrong)?;
        documents.push(document.to_vec());
        rest = left;
    }
    if rest.is_empty() { Ok(documents) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_back_from_what_rides_along_and_nothing_else_does() {
        let documents = [b"one".to_vec(), Vec::new(), b"three".to_vec()];
        let attachment = attach(&documents);
        assert_eq!(attached(&attachment, 3).unwrap(), documents);
        assert_eq!(attached(&attachment, 4).unwrap_err(), "20 bytes for 4 records");
        assert!(attached(&attachment[..19], 3).is_err() && attached(&[], 1).is_err());
        assert!(attached(&[], 0).unwrap().is_empty());
    }
}

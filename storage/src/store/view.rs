//! What a reader sees: which vector an id names, and where it lies.
//!
//! A copy of a [`View`] costs 2,000 pointers and more, not its content: what changes later is copied piece by piece, as long as an older
//! copy needs it. That is what a snapshot is.

use std::sync::Arc;

use super::keys::Keys;
use super::log::{Commit, OwnedIds};
use super::paged::Paged;
use super::segment::Segment;
use super::shape::IdKind;

/// Where a row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) row: u32,
}

impl Place {
    /// That of a slot without a vector.
    pub(super) const NONE: Self = Self { segment: u32::MAX, row: u32::MAX };
}

/// What is known of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) place: Place,
    /// The commit that its vector came with.
    pub(super) sequence: u64,
}

/// All that readers see.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// By number.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) slots: Paged<Slot>,
    pub(super) keys: Keys,
    /// Slots with a vector.
    pub(super) live: usize,
    /// The last commit.
    pub(super) sequence: u64,
}

impl View {
    pub(super) fn empty(ids: IdKind) -> Self {
        Self { segments: Vec::new(), slots: Paged::default(), keys: Keys::new(ids), live: 0, sequence: 0 }
    }

    pub(super) fn segment(&self, number: u32) -> Option<&Arc<Segment>> {
        let at = self.segments.binary_search_by_key(&number, |segment| segment.number()).ok()?;
        Some(&self.segments[at])
    }

    /// Adds a segment, which has a higher number than the others.
    pub(super) fn add_segment(&mut self, segment: Arc<Segment>) {
        debug_assert!(
            self.segments.last().is_none_or(|last| last.number() < segment.number()),
            "segments come in order"
        );
        self.segments.push(segment);
    }

    /// The place of a slot's vector.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> Option<Place> {
        let place = self.slots.get(slot as usize)?.place;
        (place != Place::NONE).then_some(place)
    }

    /// Slots with a vector, in order.
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, Slot)> {
        (0..).zip(self.slots.iter().copied()).filter(|(_, slot)| slot.place != Place::NONE)
    }

    /// Makes a commit visible whose rows its segments hold. What does not fit, in words, when it comes from a file; then
    /// the view is spoiled.
    pub(super) fn apply(&mut self, commit: &Commit) -> Result<(), String> {
        for &slot in &commit.freed {
            if self.place(slot).is_none() {
                return Err(format!("slot {slot} freed, which holds no vector"));
            }
            self.keys.forget(slot);
            self.slots.get_mut(slot as usize).place = Place::NONE;
            self.live -= 1;
        }
        let spans = commit.spans.iter();
        let rows = spans.flat_map(|span| (span.first..span.first + span.rows).map(|row| (span.segment, row)));
        let mut rows = rows.map(|(segment, row)| Slot { place: Place { segment, row }, sequence: commit.sequence });
        // Free slots are given first, then new ones.
        let known = self.slots.len();
        let (given, new) = commit.slots.split_at(commit.slots.partition_point(|&slot| (slot as usize) < known));
        for (&slot, row) in given.iter().zip(&mut rows) {
            if slot as usize >= known || self.place(slot).is_some() {
                return Err(format!("a vector for slot {slot} of {known}, which is not free"));
            }
            *self.slots.get_mut(slot as usize) = row;
        }
        if let Some((due, slot)) = (known..).zip(new).find(|(due, slot)| *due != **slot as usize) {
            return Err(format!("slot {slot} where {due} was due"));
        }
        self.slots.extend(rows);
        self.keys.learn(&commit.slots, &commit.ids)?;
        self.live += commit.slots.len();
        self.sequence = commit.sequence;
        Ok(())
    }

    /// Makes visible what a manifest says; its segments are here.
    pub(super) fn load(&mut self, slots: &[Slot], ids: &OwnedIds) -> Result<(), String> {
        for Slot { place, .. } in slots.iter().filter(|slot| slot.place != Place::NONE) {
            let rows = self.segment(place.segment).map_or(0, |segment| segment.rows());
            if place.row >= rows {
                return Err(format!("row {} of {rows} in segment {}", place.row, place.segment));
            }
        }
        self.slots.extend(slots.iter().copied());
        let live: Vec<u32> = self.live().map(|(slot, _)| slot).collect();
        self.live = live.len();
        self.keys.load(&live, ids)
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.slots.memory() + self.keys.memory()
    }
}

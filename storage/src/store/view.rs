//! What a reader sees: which vector an id names, and where it lies.
//!
//! A copy of a [`View`] costs a few hundred pointers for a million vectors, not its content: what changes later is copied piece by
//! piece, as long as an older copy needs it. That is what a snapshot is.

use std::iter;
use std::sync::Arc;

use super::keys::{KeySpare, Keys};
use super::log::{Commit, OwnedIds, Span};
use super::paged::{Paged, PagedSpare};
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

impl Default for Place {
    fn default() -> Self {
        Self::NONE
    }
}

/// What is known of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) place: Place,
    /// The commit that its vector came with.
    pub(super) sequence: u64,
}

/// Memory that the next views are made in; see [`spare`](super::spare).
#[derive(Debug, Default)]
pub(super) struct ViewSpare {
    pub(super) keys: KeySpare,
    sequences: PagedSpare<u64>,
    /// Empty.
    views: Vec<Arc<View>>,
}

impl ViewSpare {
    /// Takes what nobody shares of a view that nobody sees any more; otherwise gives it back.
    pub(super) fn take(&mut self, mut view: Arc<View>) -> Result<(), Arc<View>> {
        let Some(own) = Arc::get_mut(&mut view) else { return Err(view) };
        own.segments.clear();
        own.keys.give_up(&mut self.keys);
        own.sequences.give_up(&mut self.sequences);
        self.views.push(view);
        Ok(())
    }

    /// As [`Arc::make_mut`], in memory of views that were taken; the view from which `shared` parts, if it was shared.
    pub(super) fn part(&mut self, shared: &mut Arc<View>) -> Option<Arc<View>> {
        if Arc::get_mut(shared).is_some() {
            return None;
        }
        let own = match self.views.pop() {
            Some(mut own) => {
                Arc::get_mut(&mut own).expect("nobody sees what was taken").copy_from(shared);
                own
            }
            None => Arc::new(View::clone(shared)),
        };
        Some(std::mem::replace(shared, own))
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.keys.memory() + self.sequences.memory()
    }
}

/// All that readers see.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// By number.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Id and place of each slot.
    pub(super) keys: Keys,
    /// By slot: the commit that its vector came with.
    sequences: Paged<u64>,
    /// Slots with a vector.
    pub(super) live: usize,
    /// The last commit.
    pub(super) sequence: u64,
}

impl View {
    pub(super) fn empty(ids: IdKind) -> Self {
        Self { segments: Vec::new(), keys: Keys::new(ids), sequences: Paged::default(), live: 0, sequence: 0 }
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
        let place = self.keys.place(slot);
        (place != Place::NONE).then_some(place)
    }

    /// The commit that a slot's vector came with.
    pub(super) fn written_by(&self, slot: u32) -> Option<u64> {
        self.place(slot).and_then(|_| self.sequences.get(slot as usize)).copied()
    }

    /// All slots, in order.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let place = |slot| self.keys.place(slot);
        (0..).zip(self.sequences.iter()).map(move |(slot, &sequence)| Slot { place: place(slot), sequence })
    }

    /// Slots with a vector, in order.
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, Slot)> {
        (0..).zip(self.slots()).filter(|(_, slot)| slot.place != Place::NONE)
    }

    /// Makes a commit visible whose rows its segments hold. What does not fit, in words, when it comes from a file; then
    /// the view is spoiled.
    pub(super) fn apply(&mut self, commit: &Commit, spare: &mut ViewSpare) -> Result<(), String> {
        for &slot in &commit.freed {
            if self.place(slot).is_none() {
                return Err(format!("slot {slot} freed, which holds no vector"));
            }
            self.keys.forget(slot, &mut spare.keys);
            self.live -= 1;
        }
        // Free slots are given first, then new ones.
        let known = self.keys.len();
        let (given, new) = commit.slots.split_at(commit.slots.partition_point(|&slot| (slot as usize) < known));
        if let Some((due, slot)) = (known..).zip(new).find(|(due, slot)| *due != **slot as usize) {
            return Err(format!("slot {slot} where {due} was due"));
        }
        let rows = |span: &Span| (span.first..span.first + span.rows).zip(iter::repeat(span.segment));
        let places = commit.spans.iter().flat_map(rows).map(|(row, segment)| Place { segment, row });
        self.keys.learn(&commit.slots, &commit.ids, places, &mut spare.keys)?;
        for &slot in given {
            *self.sequences.get_mut(slot as usize, &mut spare.sequences) = commit.sequence;
        }
        self.sequences.extend(new.iter().map(|_| commit.sequence), &mut spare.sequences);
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
        self.sequences.extend(slots.iter().map(|slot| slot.sequence), &mut PagedSpare::default());
        self.live = slots.iter().filter(|slot| slot.place != Place::NONE).count();
        self.keys.load(ids, slots.iter().map(|slot| slot.place))
    }

    /// Becomes a copy of another.
    fn copy_from(&mut self, other: &Self) {
        let Self { segments, keys, sequences, live, sequence } = self;
        segments.clone_from(&other.segments);
        keys.copy_from(&other.keys);
        sequences.copy_from(&other.sequences);
        (*live, *sequence) = (other.live, other.sequence);
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        let segments: usize = self.segments.iter().map(|segment| segment.memory()).sum();
        segments + self.sequences.memory() + self.keys.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(sequence: u64, freed: &[u32], slots: &[u32], ids: &[u64]) -> Commit {
        let spans = vec![Span { segment: 1, first: sequence as u32 * 8, rows: slots.len() as u32, hash: 0 }];
        let (freed, slots, ids) = (freed.to_vec(), slots.to_vec(), OwnedIds::Numbers(ids.to_vec()));
        Commit { sequence, spans, freed, slots, ids, attachment: Vec::new() }
    }

    #[test]
    fn changes_that_do_not_fit_what_is_there_are_refused_in_words() {
        let (mut view, mut spare) = (View::empty(IdKind::Numbers), ViewSpare::default());
        view.apply(&commit(1, &[], &[0, 1, 2], &[5, 6, 7]), &mut spare).unwrap();
        view.apply(&commit(2, &[1], &[1, 3], &[9, 8]), &mut spare).unwrap();
        assert_eq!((view.live, view.written_by(1), view.written_by(2)), (4, Some(2), Some(1)));
        assert_eq!(view.place(3), Some(Place { segment: 1, row: 17 }));
        let refused = [
            (commit(3, &[0, 0], &[], &[]), "slot 0 freed, which holds no vector"),
            (commit(3, &[], &[2], &[10]), "a vector for slot 2 of 4, which is not free"),
            (commit(3, &[2], &[2, 2], &[10, 11]), "a vector for slot 2 of 4, which is not free"),
            (commit(3, &[], &[5], &[10]), "slot 5 where 4 was due"),
            (commit(3, &[], &[4], &[7]), "id 7 for slot 4, which slot 2 has"),
            (commit(3, &[], &[4, 5], &[10, 10]), "id 10 for slot 5, which slot 4 has"),
        ];
        for (commit, message) in &refused {
            assert_eq!(view.clone().apply(commit, &mut spare), Err((*message).to_owned()));
        }
    }
}

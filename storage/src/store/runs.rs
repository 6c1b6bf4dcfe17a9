//! Runs of slots whose ids and rows ascend as they do: a bulk load makes one.
//!
//! The id of such a vector leads to its slot and its row by two subtractions. Whether it still does is a bit for each slot, few enough
//! for the cache of a core, where ids and places are not.
//!
//! Runs only become more and longer, and none takes an id or a slot that another has: the slot that an id was given stays the same.

use super::paged::{Paged, PagedSpare};
use super::view::Place;

/// Slots of the shortest run that is kept.
const LEAST: u32 = 64;
/// Runs that are kept, at most.
const MOST: usize = 64;

/// What a slot holds: a number and where its row lies.
pub(super) type Held = (u64, Place);

#[derive(Debug, Clone, Copy)]
struct Run {
    slot: u32,
    len: u32,
    id: u64,
    place: Place,
}

impl Run {
    fn of(slot: u32, (id, place): Held) -> Self {
        Self { slot, len: 1, id, place }
    }

    /// What a slot from the first on holds, if it continues the run.
    #[inline]
    fn at(&self, slot: u32) -> Option<Held> {
        let on = slot - self.slot;
        let place = Place { segment: self.place.segment, row: self.place.row.checked_add(on)? };
        Some((self.id.checked_add(on.into())?, place))
    }
}

/// The runs of a store of numbers, in ascending order of slots and of ids; of names there are none.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    /// A bit for each slot, and perhaps none for the last: whether it holds what its run says.
    straight: Paged<u64>,
}

impl Runs {
    /// The slot that a run gives an id, and the place of its row, if it still lies where the run says; otherwise the slot may be another's.
    #[inline]
    pub(super) fn find(&self, id: u64) -> Option<(u32, Option<Place>)> {
        let (run, slot) = self.run_of(id)?;
        let place = Place { segment: run.place.segment, row: run.place.row + (slot - run.slot) };
        Some((slot, self.is_straight(slot).then_some(place)))
    }

    /// The slot that a run gives an id, which may be another's.
    #[inline]
    pub(super) fn slot(&self, id: u64) -> Option<u32> {
        self.run_of(id).map(|(_, slot)| slot)
    }

    /// The run of an id, and the slot that it gives it.
    #[inline]
    fn run_of(&self, id: u64) -> Option<(&Run, u32)> {
        let after = self.runs.partition_point(|run| run.id <= id);
        let run = &self.runs[after.checked_sub(1)?];
        let on = u32::try_from(id - run.id).ok().filter(|on| *on < run.len)?;
        Some((run, run.slot + on))
    }

    #[inline]
    fn is_straight(&self, slot: u32) -> bool {
        self.straight.get(slot as usize / 64).is_some_and(|bits| bits >> (slot % 64) & 1 != 0)
    }

    /// Learns what the slots from `first` on hold, which were not there before.
    pub(super) fn extend(&mut self, first: u32, held: impl Iterator<Item = Option<Held>>, spare: &mut PagedSpare<u64>) {
        let mut open: Option<Run> = None;
        for (slot, held) in (first..).zip(held) {
            match &mut open {
                Some(run) if held.is_some() && run.at(slot) == held => run.len += 1,
                _ => {
                    if let Some(run) = open {
                        self.take(run, spare);
                    }
                    open = held.map(|held| Run::of(slot, held));
                }
            }
        }
        if let Some(run) = open {
            self.take(run, spare);
        }
    }

    /// Learns what a slot holds now that was there before.
    pub(super) fn set(&mut self, slot: u32, held: Option<Held>, spare: &mut PagedSpare<u64>) {
        let after = self.runs.partition_point(|run| run.slot <= slot);
        let Some(run) = after.checked_sub(1).map(|at| self.runs[at]) else { return };
        let straight = slot - run.slot < run.len && held.is_some() && run.at(slot) == held;
        if straight != self.is_straight(slot) {
            *self.straight.get_mut(slot as usize / 64, spare) ^= 1 << (slot % 64);
        }
    }

    /// Takes a run up if it continues the last, or is worth it.
    fn take(&mut self, run: Run, spare: &mut PagedSpare<u64>) {
        let goes_on = |last: &Run| last.at(run.slot) == Some((run.id, run.place));
        let is_above = |last: &Run| run.id >= last.id.saturating_add(last.len.into());
        match self.runs.last() {
            // After a gap that a deleted vector left, too.
            Some(last) if goes_on(last) => {
                let len = run.slot - last.slot + run.len;
                self.runs.last_mut().expect("it was just seen").len = len;
            }
            last if run.len >= LEAST && last.is_none_or(is_above) && self.runs.len() < MOST => self.runs.push(run),
            _ => return,
        }
        let (from, until) = (run.slot as usize, (run.slot + run.len) as usize);
        let missing = until.div_ceil(64).saturating_sub(self.straight.len());
        self.straight.extend(std::iter::repeat_n(0, missing), spare);
        for word in from / 64..until.div_ceil(64) {
            let (low, high) = (from.saturating_sub(word * 64), (until - word * 64).min(64));
            *self.straight.get_mut(word, spare) |= u64::MAX << low & u64::MAX >> (64 - high);
        }
    }

    /// Becomes a copy of others.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.runs.clone_from(&other.runs);
        self.straight.copy_from(&other.straight);
    }

    /// Becomes one to copy into; what nobody shares is kept.
    pub(super) fn give_up(&mut self, spare: &mut PagedSpare<u64>) {
        self.runs.clear();
        self.straight.give_up(spare);
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.runs.capacity() * size_of::<Run>() + self.straight.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: u32) -> Place {
        Place { segment: 3, row }
    }

    /// Runs of ids from 1000 on, in slots and rows from 0 on, but for what `change` makes of slots.
    fn runs(slots: u32, change: impl Fn(u32) -> Option<Held>) -> (Runs, PagedSpare<u64>) {
        let (mut runs, mut spare) = (Runs::default(), PagedSpare::default());
        runs.extend(0, (0..slots).map(change), &mut spare);
        (runs, spare)
    }

    fn ascending(slot: u32) -> Held {
        (1000 + u64::from(slot), place(slot))
    }

    #[test]
    fn ids_of_a_run_lead_to_their_slots_and_rows_until_these_hold_something_else() {
        let (mut runs, mut spare) = runs(200, |slot| Some(ascending(slot)));
        runs.extend(200, (200..300).map(ascending).map(Some), &mut spare);
        assert_eq!(runs.runs.len(), 1, "what continues a run is of it");
        for slot in [0, 63, 64, 199, 200, 299] {
            assert_eq!(runs.find(1000 + u64::from(slot)), Some((slot, Some(place(slot)))));
        }
        assert_eq!(
            (runs.find(999), runs.find(1300), runs.find(u64::MAX), Runs::default().find(0)),
            (None, None, None, None)
        );
        runs.set(64, None, &mut spare);
        runs.set(65, Some((1065, place(400))), &mut spare);
        assert_eq!((runs.find(1064), runs.find(1065)), (Some((64, None)), Some((65, None))));
        assert_eq!(runs.find(1063), Some((63, Some(place(63)))));
        runs.set(64, Some(ascending(64)), &mut spare);
        assert_eq!(runs.find(1064), Some((64, Some(place(64)))));
    }

    #[test]
    fn gaps_are_of_a_run_and_what_begins_elsewhere_is_another() {
        let elsewhere = |slot: u32| Some((2000 + u64::from(slot), place(slot + 9)));
        let (mut runs, mut spare) = runs(300, |slot| match slot {
            100 => None,
            200.. => elsewhere(slot),
            _ => Some(ascending(slot)),
        });
        assert_eq!(runs.runs.len(), 2);
        assert_eq!((runs.find(1100), runs.find(1101)), (Some((100, None)), Some((101, Some(place(101))))));
        assert_eq!((runs.find(1200), runs.find(2200)), (None, Some((200, Some(place(209))))));
        // What is short, or comes after higher ids, is none.
        runs.extend(300, (0..LEAST - 1).map(|i| Some((9000 + u64::from(i), place(700 + i)))), &mut spare);
        runs.extend(363, (0..100).map(|i| Some((u64::from(i), place(800 + i)))), &mut spare);
        runs.set(363, Some((7, place(1))), &mut spare);
        assert_eq!((runs.find(9000), runs.find(0), runs.runs.len()), (None, None, 2));
    }

    #[test]
    fn no_more_runs_are_kept_than_are_found_at_once() {
        let odd = |slot: u32| Some((u64::from(slot / LEAST * 1000 + slot), place(slot)));
        let (mut runs, mut spare) = runs(LEAST * (MOST as u32 + 1), odd);
        assert_eq!((runs.runs.len(), runs.find(64_000 + 4096)), (MOST, None));
        let mut copy = Runs::default();
        copy.copy_from(&runs);
        runs.give_up(&mut spare);
        assert_eq!((runs.find(0), copy.find(0)), (None, Some((0, Some(place(0))))));
        assert!(copy.memory() > 0);
    }
}

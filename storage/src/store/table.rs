//! Ids of one kind and places by slot, and slots by id.
//!
//! The place of a row lies beside its id: to look an id up is to read a line of the table by hash and one of these. Numbers that were
//! loaded in ascending order lead there without either ([`Runs`]). What is looked up together is looked up in stages, so that the memory of one id is not
//! waited for alone.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::linear::{HashSpare, LinearHash};
use super::paged::{Paged, PagedSpare};
use super::runs::{Held, Runs};
use super::view::Place;

/// Ids that are looked up together.
pub(super) const TOGETHER: usize = 64;

/// What is looked for.
pub(super) trait Sought: Ord + Hash {
    /// The number that it is, if it is one.
    #[inline]
    fn number(&self) -> Option<u64> {
        None
    }
}

impl Sought for u64 {
    #[inline]
    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Sought for str {}
impl Sought for Arc<str> {}

/// An id that is kept.
pub(super) trait Key: Clone + Sought + Default + Debug {
    /// Asks for the memory that it leads to.
    fn prefetch(&self) {}
}

impl Key for u64 {}

impl Key for Arc<str> {
    #[inline]
    fn prefetch(&self) {
        nearlab_simd::prefetch(self.as_bytes());
    }
}

/// What is known of a slot.
#[derive(Debug, Clone, Default)]
struct Known<K> {
    /// Of one without a vector, any.
    key: K,
    place: Place,
}

impl<K: Key> Known<K> {
    /// What a slot holds that has a vector whose id is a number.
    fn held(&self) -> Option<Held> {
        self.key.number().filter(|_| self.place != Place::NONE).map(|number| (number, self.place))
    }
}

/// Memory that changes of a [`Table`] are made in.
#[derive(Debug, Default)]
pub(super) struct TableSpare<K> {
    slots: HashSpare,
    known: PagedSpare<Known<K>>,
    straight: PagedSpare<u64>,
}

impl<K> TableSpare<K> {
    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.slots.memory() + self.known.memory() + self.straight.memory()
    }
}

/// Ids of one kind.
#[derive(Debug, Clone)]
pub(super) struct Table<K> {
    slots: LinearHash,
    known: Paged<Known<K>>,
    runs: Runs,
    /// None of the keys is above it.
    highest: Option<K>,
    hasher: RandomState,
}

impl<K: Key> Table<K> {
    pub(super) fn new() -> Self {
        let hasher = RandomState::default();
        let (slots, known) = (LinearHash::new(), Paged::default());
        Self { slots, known, runs: Runs::default(), highest: None, hasher }
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Where the row of a slot lies; [`Place::NONE`] where it has none.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> Place {
        self.known.get(slot as usize).map_or(Place::NONE, |known| known.place)
    }

    /// Lets the row of a slot, which has one, lie elsewhere.
    pub(super) fn put(&mut self, slot: u32, place: Place, spare: &mut TableSpare<K>) {
        let known = self.known.get_mut(slot as usize, &mut spare.known);
        known.place = place;
        self.runs.set(slot, known.held(), &mut spare.straight);
    }

    /// The id of each slot; of one without a vector, any.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.known.iter().map(|known| &known.key)
    }

    /// The id of a slot; of one without a vector, any.
    pub(super) fn key(&self, slot: u32) -> &K {
        &self.known.get(slot as usize).expect("the slot has an id").key
    }

    #[inline]
    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u32 {
        hash_of(&self.hasher, key)
    }

    #[inline]
    fn slot<Q: Eq + ?Sized>(&self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.slots.find(hash, |slot| self.key(slot).borrow() == key)
    }

    /// Gives `out` the slot of each of the keys and the place of its row, or none.
    pub(super) fn find<Q, B>(&self, keys: &[B], mut out: impl FnMut(Option<(u32, Place)>))
    where
        Q: Sought + ?Sized,
        B: Borrow<Q>,
        K: Borrow<Q>,
    {
        if self.are_new(keys.iter().map(Borrow::borrow)) {
            return keys.iter().for_each(|_| out(None));
        }
        let mut rest = keys;
        while let Some((key, others)) = rest.split_first() {
            if let Some(found) = self.in_run(key.borrow()) {
                out(Some(found));
                rest = others;
            } else {
                let (together, others) = rest.split_at(rest.len().min(TOGETHER));
                self.find_together(together, &mut out);
                rest = others;
            }
        }
    }

    /// The slot and the place of a key that lies where its run says.
    #[inline]
    fn in_run<Q: Sought + ?Sized>(&self, key: &Q) -> Option<(u32, Place)> {
        let (slot, place) = self.runs.find(key.number()?)?;
        debug_assert!(place.is_none_or(|place| place == self.place(slot) && self.key(slot).number() == key.number()));
        Some((slot, place?))
    }

    /// As [`find`](Self::find), for up to [`TOGETHER`] keys.
    fn find_together<Q, B>(&self, keys: &[B], out: &mut impl FnMut(Option<(u32, Place)>))
    where
        Q: Sought + ?Sized,
        B: Borrow<Q>,
        K: Borrow<Q>,
    {
        let (mut hashes, mut guesses) = ([0; TOGETHER], [None; TOGETHER]);
        let (hashes, guesses) = (&mut hashes[..keys.len()], &mut guesses[..keys.len()]);
        self.guess_by_run(keys.iter().map(Borrow::borrow), guesses);
        self.guess_by_hash(keys.iter().map(Borrow::borrow), hashes, guesses);
        for ((key, &mut hash), guess) in keys.iter().zip(hashes).zip(guesses) {
            let key = key.borrow();
            let found = guess.filter(|&slot| self.key(slot).borrow() == key);
            let slot = found.or_else(|| guess.and_then(|_| self.slot(hash, key)));
            out(slot.map(|slot| (slot, self.place(slot))));
        }
    }

    /// The slots of the keys whose runs say so; none for the others.
    fn guess_by_run<'q, Q>(&self, keys: impl Iterator<Item = &'q Q> + Clone, guesses: &mut [Option<u32>])
    where
        Q: Sought + ?Sized + 'q,
        K: Borrow<Q>,
    {
        for (key, guess) in keys.clone().zip(&mut *guesses) {
            *guess = key.number().and_then(|number| self.runs.find(number)).map(|(slot, _)| slot);
            if let Some(slot) = *guess {
                self.known.prefetch(slot as usize);
            }
        }
        for (key, guess) in keys.zip(guesses) {
            guess.take_if(|slot| self.place(*slot) == Place::NONE || self.key(*slot).borrow() != key);
        }
    }

    /// For each key that has no slot yet its hash, and a slot whose id has the hash: the one, but for an accident.
    fn guess_by_hash<'q, Q>(&self, keys: impl Iterator<Item = &'q Q>, hashes: &mut [u32], guesses: &mut [Option<u32>])
    where
        Q: Sought + ?Sized + 'q,
    {
        for ((key, hash), _) in keys.zip(&mut *hashes).zip(&*guesses).filter(|(_, guess)| guess.is_none()) {
            *hash = self.hash(key);
            self.slots.prefetch(*hash);
        }
        for (&mut hash, guess) in hashes.iter_mut().zip(&mut *guesses).filter(|(_, guess)| guess.is_none()) {
            *guess = self.slots.find(hash, |_| true);
            if let Some(slot) = *guess {
                self.known.prefetch(slot as usize);
            }
        }
        // A number leads nowhere.
        if std::mem::needs_drop::<K>() {
            guesses.iter().flatten().for_each(|&slot| self.key(slot).prefetch());
        }
    }

    /// Whether none of the keys is there, nor one of them twice, as far as that is seen from their order: that of most bulk loads.
    fn are_new<'q, Q: Ord + ?Sized + 'q>(&self, keys: impl Iterator<Item = &'q Q> + Clone) -> bool
    where
        K: Borrow<Q>,
    {
        let above = |first: &Q| self.highest.as_ref().is_none_or(|highest| highest.borrow() < first);
        keys.clone().next().is_none_or(above) && keys.is_sorted_by(|a, b| a < b)
    }

    /// As [`Keys::learn`](super::keys::Keys::learn).
    pub(super) fn learn(
        &mut self,
        slots: &[u32],
        keys: &[K],
        places: impl Iterator<Item = Place>,
        spare: &mut TableSpare<K>,
    ) -> Result<(), String> {
        let known = self.known.len();
        let given = slots.partition_point(|&slot| (slot as usize) < known);
        let mut learned = keys.iter().zip(places).map(|(key, place)| Known { key: key.clone(), place });
        for (&slot, learned) in slots[..given].iter().zip(&mut learned) {
            if self.known.get(slot as usize).is_none_or(|known| known.place != Place::NONE) {
                return Err(format!("a vector for slot {slot} of {known}, which is not free"));
            }
            self.runs.set(slot, learned.held(), &mut spare.straight);
            *self.known.get_mut(slot as usize, &mut spare.known) = learned;
        }
        self.known.extend(learned, &mut spare.known);
        self.extend_runs(known, &mut spare.straight);
        self.lead(slots, |i, _| &keys[i], &mut spare.slots)
    }

    /// As [`Keys::load`](super::keys::Keys::load).
    pub(super) fn load(&mut self, keys: &[K], places: impl Iterator<Item = Place> + Clone) -> Result<(), String> {
        let live: Vec<u32> =
            (0..).zip(places.clone()).filter(|(_, place)| *place != Place::NONE).map(|(slot, _)| slot).collect();
        let known = keys.iter().zip(places).map(|(key, place)| Known { key: key.clone(), place });
        self.known.extend(known, &mut PagedSpare::default());
        self.extend_runs(0, &mut PagedSpare::default());
        self.lead(&live, |_, slot| &keys[slot as usize], &mut HashSpare::default())
    }

    /// Learns which of the slots from `first` on are in runs.
    fn extend_runs(&mut self, first: usize, spare: &mut PagedSpare<u64>) {
        let held = (first..self.known.len()).map(|slot| self.known.get(slot).and_then(Known::held));
        self.runs.extend(first as u32, held, spare);
    }

    /// Lets the key of each slot lead to it: `key` gives that of the `i`-th.
    fn lead<'k>(
        &mut self,
        slots: &[u32],
        key: impl Fn(usize, u32) -> &'k K + Copy,
        spare: &mut HashSpare,
    ) -> Result<(), String>
    where
        K: 'k,
    {
        let keys = (0..slots.len()).zip(slots).map(|(i, &slot)| key(i, slot));
        if let Some(highest) =
            keys.clone().max().filter(|&key| self.highest.as_ref().is_none_or(|highest| highest < key))
        {
            self.highest = Some(highest.clone());
        }
        let Self { slots: table, known, hasher, .. } = self;
        let entries = keys.map(|key| hash_of(hasher, key)).zip(slots.iter().copied());
        let key = |slot: u32| &known.get(slot as usize).expect("the slot has an id").key;
        let met = table.extend(entries, |slot, other| key(slot) == key(other), spare);
        met.map_err(|(slot, other)| format!("id {:?} for slot {slot}, which slot {other} has", self.key(slot)))
    }

    /// Forgets the id of a slot that has one, and where its row lies.
    pub(super) fn forget(&mut self, slot: u32, spare: &mut TableSpare<K>) {
        let Known { key, .. } = std::mem::take(self.known.get_mut(slot as usize, &mut spare.known));
        self.slots.remove(self.hash(&key), slot, &mut spare.slots);
        self.runs.set(slot, None, &mut spare.straight);
    }

    /// Becomes a copy of another.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.slots.copy_from(&other.slots);
        self.known.copy_from(&other.known);
        self.runs.copy_from(&other.runs);
        self.highest.clone_from(&other.highest);
        self.hasher.clone_from(&other.hasher);
    }

    /// Becomes one to copy into; what nobody shares is kept.
    pub(super) fn give_up(&mut self, spare: &mut TableSpare<K>) {
        self.slots.give_up(&mut spare.slots);
        self.known.give_up(&mut spare.known);
        self.runs.give_up(&mut spare.straight);
        self.highest = None;
    }

    /// Bytes of memory, without what the ids lead to.
    pub(super) fn memory(&self) -> usize {
        self.slots.memory() + self.known.memory() + self.runs.memory()
    }
}

#[inline]
fn hash_of<Q: Hash + ?Sized>(hasher: &RandomState, key: &Q) -> u32 {
    (hasher.hash_one(key) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slots of keys.
    fn found(table: &Table<u64>, keys: &[u64]) -> Vec<Option<u32>> {
        let mut out = Vec::new();
        table.find::<u64, _>(keys, |found| out.push(found));
        assert!(out.iter().flatten().all(|(slot, place)| *place == table.place(*slot)));
        out.into_iter().map(|found| found.map(|(slot, _)| slot)).collect()
    }

    fn learn(table: &mut Table<u64>, slots: &[u32], keys: &[u64]) {
        let places = slots.iter().map(|slot| Place { segment: 1, row: slot + 10 });
        table.learn(slots, keys, places, &mut TableSpare::default()).unwrap();
    }

    #[test]
    fn numbers_are_found_where_their_runs_say_and_elsewhere() {
        let (mut table, mut spare) = (Table::new(), TableSpare::default());
        let all: Vec<u32> = (0..100).collect();
        learn(&mut table, &all, &(0..100).collect::<Vec<_>>());
        assert!(table.in_run(&99).is_some());
        table.forget(0, &mut spare);
        table.forget(3, &mut spare);
        assert_eq!(found(&table, &[99, 0, 2, 3, 100, 4]), [Some(99), None, Some(2), None, None, Some(4)]);
        // Each in the slot of the other.
        learn(&mut table, &[0, 3], &[3, 0]);
        assert_eq!(found(&table, &[0, 1, 3]), [Some(3), Some(1), Some(0)]);
        table.put(1, Place { segment: 2, row: 1 }, &mut spare);
        assert_eq!((found(&table, &[1]), table.in_run(&1)), (vec![Some(1)], None));
        let mut copy = Table::new();
        copy.copy_from(&table);
        table.give_up(&mut spare);
        assert_eq!((table.in_run(&4), found(&copy, &[4, 3])), (None, vec![Some(4), Some(0)]));
    }
}

//! Ids of one kind and places by slot, and slots by id.
//!
//! The place of a row lies beside its id: to look an id up is to read a line of the table by hash and one of these. Numbers that were
//! loaded in ascending order lead there without either ([`Runs`]): no id is entered by hash that its run leads to. What is looked up
//! together is looked up in stages, so that the memory of one id is not waited for alone.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use super::key::{Key, Sought};
use super::linear::{HashSpare, LinearHash};
use super::paged::{Paged, PagedSpare};
use super::runs::{Held, Runs};
use super::view::Place;

/// Ids that are looked up together.
pub(super) const TOGETHER: usize = 64;

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
    /// By hash, each slot to which no run led when it was learned: a run that went on past it since leads there too.
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
            } else if others.is_empty() {
                return out(self.find_alone(key.borrow()));
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

    /// As [`find`](Self::find), for one key.
    fn find_alone<Q: Sought + ?Sized>(&self, key: &Q) -> Option<(u32, Place)>
    where
        K: Borrow<Q>,
    {
        let by_run = slot_by_run(&self.runs, key).filter(|&slot| self.holds(slot, key));
        let slot = by_run.or_else(|| self.slot(self.hash(key), key))?;
        Some((slot, self.place(slot)))
    }

    /// Whether the vector in a slot, if there is one, has this key.
    #[inline]
    fn holds<Q: Sought + ?Sized>(&self, slot: u32, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(slot) != Place::NONE && self.key(slot).borrow() == key
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
            *guess = slot_by_run(&self.runs, key);
            if let Some(slot) = *guess {
                self.known.prefetch(slot as usize);
            }
        }
        for (key, guess) in keys.zip(guesses) {
            guess.take_if(|slot| !self.holds(*slot, key));
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

    /// Lets the key of each slot, which is known and in its run if it has one, lead there: by that run, or else by hash. `key` gives that of
    /// the `i`-th. An error where it is another's.
    fn lead<'k>(
        &mut self,
        slots: &[u32],
        key: impl Fn(usize, u32) -> &'k K + Copy,
        spare: &mut HashSpare,
    ) -> Result<(), String>
    where
        K: 'k,
    {
        let led = (0..slots.len()).zip(slots).map(|(i, &slot)| (key(i, slot), slot));
        for (key, slot) in led.clone() {
            let other = match slot_by_run(&self.runs, key) {
                Some(by_run) if by_run != slot => Some(by_run).filter(|&other| self.holds(other, key)),
                Some(_) if self.highest.as_ref().is_some_and(|highest| highest >= key) => {
                    self.slots.find(self.hash(key), |other| other != slot && self.key(other) == key)
                }
                _ => None,
            };
            if let Some(other) = other {
                return Err(twice(key, slot, other));
            }
        }
        let highest = led.clone().map(|(key, _)| key).max();
        if let Some(highest) = highest.filter(|&key| self.highest.as_ref().is_none_or(|highest| highest < key)) {
            self.highest = Some(highest.clone());
        }
        let Self { slots: table, known, runs, hasher, .. } = self;
        let entries = led
            .filter(|&(key, slot)| slot_by_run(runs, key) != Some(slot))
            .map(|(key, slot)| (hash_of(hasher, key), slot));
        let key = |slot: u32| &known.get(slot as usize).expect("the slot has an id").key;
        let met = table.extend(entries, |slot, other| key(slot) == key(other), spare);
        met.map_err(|(slot, other)| twice(self.key(slot), slot, other))
    }

    /// Forgets the id of a slot that has one, and where its row lies.
    pub(super) fn forget(&mut self, slot: u32, spare: &mut TableSpare<K>) {
        let Known { key, .. } = std::mem::take(self.known.get_mut(slot as usize, &mut spare.known));
        let hash = self.hash(&key);
        // One that is led to by its run may stand here nevertheless.
        if self.slots.find(hash, |other| other == slot).is_some() {
            self.slots.remove(hash, slot, &mut spare.slots);
        }
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

/// The slot that is a key's by its run. It may hold another.
#[inline]
fn slot_by_run<Q: Sought + ?Sized>(runs: &Runs, key: &Q) -> Option<u32> {
    runs.slot(key.number()?)
}

fn twice(key: &impl Key, slot: u32, other: u32) -> String {
    format!("id {key:?} for slot {slot}, which slot {other} has")
}

#[inline]
fn hash_of<Q: Hash + ?Sized>(hasher: &RandomState, key: &Q) -> u32 {
    (hasher.hash_one(key) >> 32) as u32
}

#[cfg(test)]
mod tests;

//! Ids and places by slot, and slots by id.
//!
//! The place of a row lies beside its id: to look an id up is to read a line of the table by hash and one of these. What is looked up together is looked up in stages, so that the
//! memory of one id is not waited for alone.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::linear::{HashSpare, LinearHash};
use super::log::OwnedIds;
use super::paged::{Paged, PagedSpare};
use super::shape::{Id, IdKind, Ids};
use super::view::Place;

/// Ids that are looked up together.
pub(super) const TOGETHER: usize = 64;

/// Memory that changes of ids are made in; of one kind it has none.
#[derive(Debug, Default)]
pub(super) struct KeySpare {
    numbers: TableSpare<u64>,
    names: TableSpare<Arc<str>>,
}

impl KeySpare {
    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.numbers.memory() + self.names.memory()
    }
}

/// The ids of a store.
#[derive(Debug, Clone)]
pub(super) enum Keys {
    Numbers(Table<u64>),
    Names(Table<Arc<str>>),
}

impl Keys {
    pub(super) fn new(kind: IdKind) -> Self {
        match kind {
            IdKind::Numbers => Self::Numbers(Table::new()),
            IdKind::Names => Self::Names(Table::new()),
        }
    }

    pub(super) fn kind(&self) -> IdKind {
        match self {
            Self::Numbers(_) => IdKind::Numbers,
            Self::Names(_) => IdKind::Names,
        }
    }

    /// Gives `out` the slot of each id and the place of its row, or none. The ids are of this kind, or there are none.
    pub(super) fn find(&self, ids: Ids<'_>, out: impl FnMut(Option<(u32, Place)>)) {
        match (self, ids) {
            (Self::Numbers(table), Ids::Numbers(ids)) => table.find::<u64, _>(ids, out),
            (Self::Names(table), Ids::Names(ids)) => table.find::<str, _>(ids, out),
            (_, ids) => debug_assert!(ids.is_empty(), "ids were checked"),
        }
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(table) => table.known.len(),
            Self::Names(table) => table.known.len(),
        }
    }

    /// Where the row of a slot lies; [`Place::NONE`] where it has none.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> Place {
        let slot = slot as usize;
        match self {
            Self::Numbers(table) => table.known.get(slot).map_or(Place::NONE, |known| known.place),
            Self::Names(table) => table.known.get(slot).map_or(Place::NONE, |known| known.place),
        }
    }

    /// Lets the row of a slot, which has one, lie elsewhere.
    pub(super) fn put(&mut self, slot: u32, place: Place, spare: &mut KeySpare) {
        let slot = slot as usize;
        match self {
            Self::Numbers(table) => table.known.get_mut(slot, &mut spare.numbers.known).place = place,
            Self::Names(table) => table.known.get_mut(slot, &mut spare.names.known).place = place,
        }
    }

    /// The id of the vector in a slot, which has one.
    pub(super) fn id(&self, slot: u32) -> Id {
        match self {
            Self::Numbers(table) => Id::Number(*table.key(slot)),
            Self::Names(table) => Id::Name(Arc::clone(table.key(slot))),
        }
    }

    /// Forgets the id of a slot that has one, and where its row lies.
    pub(super) fn forget(&mut self, slot: u32, spare: &mut KeySpare) {
        match self {
            Self::Numbers(table) => table.forget(slot, &mut spare.numbers),
            Self::Names(table) => table.forget(slot, &mut spare.names),
        }
    }

    /// Takes the ids of vectors in `slots`, of which the first are free and the others new, and the places of their rows. What
    /// does not fit, in words.
    pub(super) fn learn(
        &mut self,
        slots: &[u32],
        ids: &OwnedIds,
        places: impl Iterator<Item = Place>,
        spare: &mut KeySpare,
    ) -> Result<(), String> {
        match (self, ids) {
            (Self::Numbers(table), OwnedIds::Numbers(ids)) => table.learn(slots, ids, places, &mut spare.numbers),
            (Self::Names(table), OwnedIds::Names(ids)) => table.learn(slots, ids, places, &mut spare.names),
            (keys, ids) => Err(format!("ids that are {}, not {}", ids.kind(), keys.kind())),
        }
    }

    /// Takes the ids and the places of all slots.
    pub(super) fn load(&mut self, ids: &OwnedIds, places: impl Iterator<Item = Place> + Clone) -> Result<(), String> {
        match (self, ids) {
            (Self::Numbers(table), OwnedIds::Numbers(ids)) => table.load(ids, places),
            (Self::Names(table), OwnedIds::Names(ids)) => table.load(ids, places),
            (keys, ids) => Err(format!("ids that are {}, not {}", ids.kind(), keys.kind())),
        }
    }

    /// Becomes a copy of others, of the same kind.
    pub(super) fn copy_from(&mut self, other: &Self) {
        match (self, other) {
            (Self::Numbers(table), Self::Numbers(other)) => table.copy_from(other),
            (Self::Names(table), Self::Names(other)) => table.copy_from(other),
            (keys, other) => *keys = other.clone(),
        }
    }

    /// Becomes one to copy into; what nobody shares is kept.
    pub(super) fn give_up(&mut self, spare: &mut KeySpare) {
        match self {
            Self::Numbers(table) => table.give_up(&mut spare.numbers),
            Self::Names(table) => table.give_up(&mut spare.names),
        }
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Numbers(table) => table.memory(),
            Self::Names(table) => {
                table.memory() + table.keys().map(|name| name.len() + 2 * size_of::<usize>()).sum::<usize>()
            }
        }
    }
}

/// An id that is kept.
pub(super) trait Key: Clone + Ord + Hash + Default + Debug {
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

/// Memory that changes of a [`Table`] are made in.
#[derive(Debug, Default)]
struct TableSpare<K> {
    slots: HashSpare,
    known: PagedSpare<Known<K>>,
}

impl<K> TableSpare<K> {
    fn memory(&self) -> usize {
        self.slots.memory() + self.known.memory()
    }
}

/// Ids of one kind.
#[derive(Debug, Clone)]
pub(super) struct Table<K> {
    slots: LinearHash,
    known: Paged<Known<K>>,
    /// None of the keys is above it.
    highest: Option<K>,
    hasher: RandomState,
}

impl<K: Key> Table<K> {
    fn new() -> Self {
        let hasher = RandomState::default();
        Self { slots: LinearHash::new(), known: Paged::default(), highest: None, hasher }
    }

    /// The id of each slot; of one without a vector, any.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.known.iter().map(|known| &known.key)
    }

    fn key(&self, slot: u32) -> &K {
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
    fn find<Q, B>(&self, keys: &[B], mut out: impl FnMut(Option<(u32, Place)>))
    where
        Q: Ord + Hash + ?Sized,
        B: Borrow<Q>,
        K: Borrow<Q>,
    {
        if self.are_new(keys.iter().map(Borrow::borrow)) {
            return keys.iter().for_each(|_| out(None));
        }
        let (mut hashes, mut guesses) = ([0; TOGETHER], [None; TOGETHER]);
        for keys in keys.chunks(TOGETHER) {
            let (hashes, guesses) = (&mut hashes[..keys.len()], &mut guesses[..keys.len()]);
            self.ask(keys.iter().map(Borrow::borrow), hashes);
            // A slot whose id has the hash: the one, but for an accident.
            for (&mut hash, guess) in hashes.iter_mut().zip(&mut *guesses) {
                *guess = self.slots.find(hash, |_| true);
                if let Some(slot) = *guess {
                    self.known.prefetch(slot as usize);
                }
            }
            // A number leads nowhere.
            if std::mem::needs_drop::<K>() {
                guesses.iter().flatten().for_each(|&slot| self.key(slot).prefetch());
            }
            for ((key, &mut hash), guess) in keys.iter().zip(hashes).zip(guesses) {
                let key = key.borrow();
                let found = guess.filter(|&slot| self.key(slot).borrow() == key);
                let slot = found.or_else(|| guess.and_then(|_| self.slot(hash, key)));
                let known = |slot: u32| self.known.get(slot as usize).map(|known| (slot, known.place));
                out(slot.and_then(known));
            }
        }
    }

    /// The hashes of keys; asks for the memory where they are looked for.
    fn ask<'q, Q: Hash + ?Sized + 'q>(&self, keys: impl Iterator<Item = &'q Q>, hashes: &mut [u32]) {
        for (key, hash) in keys.zip(hashes) {
            *hash = self.hash(key);
            self.slots.prefetch(*hash);
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

    fn learn(
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
            *self.known.get_mut(slot as usize, &mut spare.known) = learned;
        }
        self.known.extend(learned, &mut spare.known);
        self.lead(slots, |i, _| &keys[i], &mut spare.slots)
    }

    fn load(&mut self, keys: &[K], places: impl Iterator<Item = Place> + Clone) -> Result<(), String> {
        let live: Vec<u32> =
            (0..).zip(places.clone()).filter(|(_, place)| *place != Place::NONE).map(|(slot, _)| slot).collect();
        let known = keys.iter().zip(places).map(|(key, place)| Known { key: key.clone(), place });
        self.known.extend(known, &mut PagedSpare::default());
        self.lead(&live, |_, slot| &keys[slot as usize], &mut HashSpare::default())
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

    fn forget(&mut self, slot: u32, spare: &mut TableSpare<K>) {
        let Known { key, .. } = std::mem::take(self.known.get_mut(slot as usize, &mut spare.known));
        self.slots.remove(self.hash(&key), slot, &mut spare.slots);
    }

    fn copy_from(&mut self, other: &Self) {
        self.slots.copy_from(&other.slots);
        self.known.copy_from(&other.known);
        self.highest.clone_from(&other.highest);
        self.hasher.clone_from(&other.hasher);
    }

    fn give_up(&mut self, spare: &mut TableSpare<K>) {
        self.slots.give_up(&mut spare.slots);
        self.known.give_up(&mut spare.known);
        self.highest = None;
    }

    fn memory(&self) -> usize {
        self.slots.memory() + self.known.memory()
    }
}

#[inline]
fn hash_of<Q: Hash + ?Sized>(hasher: &RandomState, key: &Q) -> u32 {
    (hasher.hash_one(key) >> 32) as u32
}

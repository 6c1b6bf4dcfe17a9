//! Ids by slot, and slots by id.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::log::OwnedIds;
use super::paged::Paged;
use super::shape::{Id, IdKind, Ids};

/// Parts of the table by id, each copied as a whole when it changes under a snapshot.
const SHARDS: usize = 1024;

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

    /// Gives `out` the slot of each id, or none. The ids are of this kind, or there are none.
    pub(super) fn slots_of(&self, ids: Ids<'_>, mut out: impl FnMut(Option<u32>)) {
        match (self, ids) {
            (Self::Numbers(table), Ids::Numbers(ids)) => ids.iter().for_each(|id| out(table.slot(id))),
            (Self::Names(table), Ids::Names(ids)) => ids.iter().for_each(|id| out(table.slot(*id))),
            (_, ids) => debug_assert!(ids.is_empty(), "ids were checked"),
        }
    }

    /// The id of the vector in a slot, which has one.
    pub(super) fn id(&self, slot: u32) -> Id {
        match self {
            Self::Numbers(table) => Id::Number(table.key(slot)),
            Self::Names(table) => Id::Name(table.key(slot)),
        }
    }

    /// Forgets the id of a slot that has one.
    pub(super) fn forget(&mut self, slot: u32) {
        match self {
            Self::Numbers(table) => table.forget(slot),
            Self::Names(table) => table.forget(slot),
        }
    }

    /// Takes the ids of vectors in `slots`, of which the first are free and the others new. What does not fit, in words.
    pub(super) fn learn(&mut self, slots: &[u32], ids: &OwnedIds) -> Result<(), String> {
        match (self, ids) {
            (Self::Numbers(table), OwnedIds::Numbers(ids)) => table.learn(slots, ids),
            (Self::Names(table), OwnedIds::Names(ids)) => table.learn(slots, ids),
            (keys, ids) => Err(format!("ids that are {}, not {}", ids.kind(), keys.kind())),
        }
    }

    /// Takes the ids of all slots, of which those in `live` hold a vector.
    pub(super) fn load(&mut self, live: &[u32], ids: &OwnedIds) -> Result<(), String> {
        match (self, ids) {
            (Self::Numbers(table), OwnedIds::Numbers(ids)) => table.load(live, ids),
            (Self::Names(table), OwnedIds::Names(ids)) => table.load(live, ids),
            (keys, ids) => Err(format!("ids that are {}, not {}", ids.kind(), keys.kind())),
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

/// Ids of one kind.
#[derive(Debug, Clone)]
pub(super) struct Table<K> {
    slots: Vec<Arc<HashMap<K, u32, RandomState>>>,
    keys: Paged<K>,
    hasher: RandomState,
}

impl<K: Clone + Eq + Hash + Default + Debug> Table<K> {
    fn new() -> Self {
        let hasher = RandomState::default();
        let slots = (0..SHARDS).map(|_| Arc::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self { slots, keys: Paged::default(), hasher }
    }

    /// The id of each slot; of one without a vector, any.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.keys.iter()
    }

    fn key(&self, slot: u32) -> K {
        self.keys.get(slot as usize).expect("the slot has an id").clone()
    }

    #[inline]
    fn slot<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.slots[self.shard(key)].get(key).copied()
    }

    /// By bits of the hash that the shard's own table does not choose a place by.
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }

    fn learn(&mut self, slots: &[u32], keys: &[K]) -> Result<(), String> {
        let known = self.keys.len();
        let given = slots.partition_point(|&slot| (slot as usize) < known);
        for (&slot, key) in slots.iter().zip(&keys[..given]) {
            *self.keys.get_mut(slot as usize) = key.clone();
        }
        self.keys.extend(keys[given..].iter().cloned());
        self.lead(slots.iter().copied().zip(keys))
    }

    fn load(&mut self, live: &[u32], keys: &[K]) -> Result<(), String> {
        self.keys.extend(keys.iter().cloned());
        self.lead(live.iter().map(|&slot| (slot, &keys[slot as usize])))
    }

    /// Lets each key lead to its slot: shard by shard, so that many are put where the memory is at hand.
    fn lead<'k>(&mut self, entries: impl Iterator<Item = (u32, &'k K)>) -> Result<(), String>
    where
        K: 'k,
    {
        let mut by_shard: Vec<_> = entries.map(|(slot, key)| (self.shard(key), slot, key)).collect();
        by_shard.sort_unstable_by_key(|(shard, slot, _)| (*shard, *slot));
        for entries in by_shard.chunk_by(|a, b| a.0 == b.0) {
            let shard = Arc::make_mut(&mut self.slots[entries[0].0]);
            shard.reserve(entries.len());
            for (_, slot, key) in entries {
                if let Some(other) = shard.insert((*key).clone(), *slot) {
                    return Err(format!("id {key:?} for slot {slot}, which slot {other} has"));
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, slot: u32) {
        let key = std::mem::take(self.keys.get_mut(slot as usize));
        let shard = self.shard(&key);
        Arc::make_mut(&mut self.slots[shard]).remove(&key);
    }

    fn memory(&self) -> usize {
        let entry = size_of::<(K, u32)>() + 1;
        self.slots.iter().map(|shard| shard.capacity() * 8 / 7 * entry).sum::<usize>() + self.keys.memory()
    }
}

//! The ids of a store, of whichever kind it has.

use std::sync::Arc;

use super::log::OwnedIds;
use super::shape::{Id, IdKind, Ids};
use super::table::{Table, TableSpare};
use super::view::Place;

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
            Self::Numbers(table) => table.len(),
            Self::Names(table) => table.len(),
        }
    }

    /// Where the row of a slot lies; [`Place::NONE`] where it has none.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> Place {
        match self {
            Self::Numbers(table) => table.place(slot),
            Self::Names(table) => table.place(slot),
        }
    }

    /// Lets the row of a slot, which has one, lie elsewhere.
    pub(super) fn put(&mut self, slot: u32, place: Place, spare: &mut KeySpare) {
        match self {
            Self::Numbers(table) => table.put(slot, place, &mut spare.numbers),
            Self::Names(table) => table.put(slot, place, &mut spare.names),
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

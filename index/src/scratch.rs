//! The pool from which the searchers of an index take their memory, and to which they give it back.
//!
//! What a search needs depends on the index: a bit for each node, rows as wide as its own, queries of its dimension. So each index has a
//! pool of its own, and what is in it fits. A searcher that is made where one was dropped before finds everything as large as
//! that one left it, and its first search allocates nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::memory::Capacity;

/// Most scratches that wait; those of more searchers at once are dropped.
const MOST: usize = 64;
/// Scratches that there is room for from the first one on.
const ROOM: usize = 4;

/// Scratch of searchers that were dropped, for those to come.
#[derive(Debug, Default)]
pub(crate) struct Idle<T>(Mutex<Vec<T>>);

impl<T: Default + Capacity> Idle<T> {
    /// Scratch that waited, or new.
    pub(crate) fn take(&self) -> T {
        self.lock().pop().unwrap_or_default()
    }

    /// Keeps scratch for the next searcher.
    pub(crate) fn put(&self, scratch: T) {
        let mut idle = self.lock();
        if idle.len() < MOST {
            let missing = ROOM.saturating_sub(idle.len());
            idle.reserve(missing);
            idle.push(scratch);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default + Capacity> Capacity for Idle<T> {
    fn capacity_bytes(&self) -> usize {
        let idle = self.lock();
        idle.iter().map(Capacity::capacity_bytes).sum::<usize>() + idle.capacity() * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_back_is_taken_first_and_counted_while_it_waits() {
        let idle = Idle::<Vec<u32>>::default();
        let mut scratch = idle.take();
        assert_eq!((scratch.capacity(), idle.capacity_bytes()), (0, 0));
        scratch.reserve_exact(100);
        idle.put(scratch);
        assert!(idle.capacity_bytes() >= 400);
        assert_eq!(idle.take().capacity(), 100);
        for _ in 0..2 * MOST {
            idle.put(Vec::new());
        }
        assert_eq!(idle.lock().len(), MOST);
    }
}

//! Locks, atomics and turns of threads: those of the standard library, or shuttle's, under which tests run a collection on
//! schedules of their own (`just schedules`). An index has the standard library's: it is one step there.

#[cfg(not(shuttle))]
pub(super) use std::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread::yield_now,
};

/// Lets others go on for a while.
#[cfg(not(shuttle))]
pub(super) fn pause() {
    std::thread::sleep(std::time::Duration::from_micros(100));
}

#[cfg(shuttle)]
pub(super) use yield_now as pause;

#[cfg(shuttle)]
pub(super) use shuttle::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread::yield_now,
};

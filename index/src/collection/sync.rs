//! Locks, atomics and turns of threads: those of the standard library, or shuttle's, under which tests run a collection on
//! schedules of their own (`just schedules`). An index has the standard library's: it is one step there.

#[cfg(not(shuttle))]
pub(super) use std::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread::yield_now,
};

#[cfg(shuttle)]
pub(super) use shuttle::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread::yield_now,
};

//! Experiments about stores: what the harness does with a [`StoreSpec`](crate::spec::StoreSpec).
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | expands stores, data sets and workloads into trials, hashes and orders them, says what they need of the disk |
//! | [`fields`] | the records of `filter` workloads: seeded, and scanned without an index |
//! | [`protocol`] | what a worker is told, and what it answers |
//! | [`worker`] | the worker for nearlab's own stores and for the plain file: the timed loops are here |
//! | [`disk`] | the disk of a run, and how long it takes to sync |
//! | [`run`] | trial by trial, each in a folder and a process of its own; checks what was read; records |
//!
//! Invariants: a trial's folder is empty when its worker starts and gone when its record is written; what a worker read is
//! compared with the data set by the harness, never by the worker; every contestant reads the same ids in the same order.

pub mod disk;
pub mod fields;
pub mod plan;
pub mod protocol;
pub mod run;
pub mod worker;

mod judge;

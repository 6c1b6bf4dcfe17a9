//! One binary for all tests that need a whole run: linking polars once is enough.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop here")]

#[path = "../fixture/mod.rs"]
mod fixture;

mod compare;
mod filtered;
mod plots;
mod records;
mod report;
mod storage;
mod table;

//! The built program, driven as a person drives it: real processes, real files, small data.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

mod bad_input;
mod collection;
mod datasets;
mod end_to_end;
mod export;
mod filtered;
mod gate;
mod inspect;
mod interrupt;
mod laboratory;
mod profile;
mod resume;
mod storage;
mod workers;

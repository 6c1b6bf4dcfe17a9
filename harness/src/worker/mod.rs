//! `nearlab worker TRIAL`: builds one of nearlab's own indexes and measures searches on it, by the worker protocol.
//!
//! This is the program whose time is the result, so: the index is chosen once by kind (`engine`) and every loop below
//! that is compiled for that index; inside a timed loop nothing is allocated, locked, printed or decided
//! (`latency`, `throughput`); everything else (mapping the data, making searchers, starting threads, warming up,
//! writing files) happens outside of the clock.
//!
//! The same loops measure an index of anybody's that implements [`Configure`]: [`run`] is the whole program of its worker.

mod engine;
mod filters;
mod latency;
mod matrix;
mod output;
pub mod params;
mod profile;
mod program;
mod serve;
mod stages;
mod throughput;
mod usage;

use engine::{Engine, EngineError};
pub use filters::{FilterError, LoadedFilters};
pub use matrix::{MapError, MappedBytes, MappedMatrix};
pub use params::{Configure, ParamsError};
pub(crate) use profile::SAMPLES_FILE;
pub(crate) use program::die_with_the_harness;
pub use program::run;
pub use serve::{WorkerError, serve, serve_as};
pub(crate) use usage::Usage;

/// One timed pass over all queries, by either mode.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Neighbour ids, queries x k, -1 padded.
    pub ids: Vec<i32>,
    /// Nanoseconds per query; empty for a throughput pass.
    pub nanoseconds: Vec<u64>,
    /// Wall seconds of the pass.
    pub wall_seconds: f64,
    /// What the process used meanwhile.
    pub usage: usage::Usage,
    /// Work done.
    pub counters: nearlab_index::Counters,
}

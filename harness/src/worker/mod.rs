//! `nearlab worker TRIAL`: builds one of nearlab's own indexes and measures searches on it, by the worker protocol.
//!
//! This is the program whose time is the result, so: the index is chosen once by kind (`engine`) and every loop below
//! that is compiled for that index; inside a timed loop nothing is allocated, locked, printed or decided
//! (`latency`, `throughput`); everything else (mapping the data, making searchers, starting threads, warming up,
//! writing files) happens outside of the clock.

mod engine;
mod filters;
mod latency;
mod matrix;
mod output;
mod params;
mod profile;
mod serve;
mod stages;
mod throughput;
mod usage;

pub use engine::{Engine, EngineError, build};
pub use filters::{FilterError, LoadedFilters};
pub use matrix::{MapError, MappedBytes, MappedMatrix};
pub use params::{Configure, ParamsError};
pub(crate) use profile::SAMPLES_FILE;
pub use serve::{WorkerError, serve};
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

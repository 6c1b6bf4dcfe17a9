//! The worker protocol, version 1: how the harness drives any program that can build and search an index.
//!
//! The harness writes a [`Trial`] as `trial.json`, starts the worker with that path as its last argument, and talks
//! JSON lines: one [`Request`] per line on the worker's standard input, one [`Reply`] per line on its standard
//! output. The worker answers `hello`, then `building`* and `built` without being asked; then one `searching`* and
//! `searched` (or `failed`) for each `search`; and leaves at `exit` or at end of input. Results too large for a line go
//! to the two binary files that a `search` names. Standard error is the worker's own; its tail is quoted when it fails.
//! What a later harness may ask beyond this (a mode) an older worker refuses with `failed`; the version stays.
//! All messages are externally tagged: `{"search": {...}}`. docs/worker-protocol.md says the same for other languages.

use std::{collections::BTreeMap, path::PathBuf};

use nearlab_reports::record::{Counters, Params, StageSeconds};
use serde::{Deserialize, Serialize};

/// Version both sides must name.
pub const PROTOCOL: u32 = 1;

/// What to build, and on which data. Written as `trial.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The trial's hash, for messages.
    pub trial: String,
    /// Kind of index: `flat`, `hnsw`, `ivf`; for an external worker the name of the index in the experiment.
    pub kind: String,
    /// Resolved build parameters.
    pub build: Params,
    /// Build threads.
    pub threads: usize,
    /// Seed.
    pub seed: u64,
    /// `l2`, `inner_product` or `cosine`.
    pub metric: String,
    /// Base vectors.
    pub train: Matrix,
    /// Query vectors.
    pub test: Matrix,
    /// Where to save the index after the build, if anywhere.
    pub save: Option<PathBuf>,
    /// Profile to take instead of a timed run.
    pub profile: Option<ProfileRequest>,
}

/// A row-major matrix inside a file: map it at `offset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// File.
    pub path: PathBuf,
    /// Byte offset of the first element.
    pub offset: u64,
    /// Rows.
    pub n: usize,
    /// Elements per row.
    pub d: usize,
    /// Element type, little-endian: `f32` for vectors, `u8` and `i32` in [`Filters`].
    pub element: String,
}

/// A profile to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileRequest {
    /// Sample the CPU; `<folder>/build.svg`, `build.pb`, `search.svg`, `search.pb`.
    Cpu {
        /// Samples per second.
        hz: i32,
        /// Where the files go.
        folder: PathBuf,
    },
    /// Count allocations with dhat; writes `file`.
    Heap {
        /// dhat's JSON.
        file: PathBuf,
    },
}

/// Harness to worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Measure one search point once.
    Search(SearchRequest),
    /// Leave with status 0.
    Exit {},
}

/// One search point, one workload, one repeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchRequest {
    /// The measurement's hash, echoed in the reply.
    pub key: String,
    /// Neighbours per query.
    pub k: usize,
    /// Search parameters.
    pub params: Params,
    /// `latency`: queries one at a time on one thread, each timed. `throughput`: all queries, one wall clock. `filtered`: as
    /// `latency`, each query among what its filter admits.
    pub mode: String,
    /// Search threads.
    pub threads: usize,
    /// Untimed passes over all queries first.
    pub warmup: usize,
    /// Write the neighbour ids here: i32, queries x k, -1 padded.
    pub ids: PathBuf,
    /// Write the latencies here (u64 ns per query); only for `latency` and `filtered`.
    pub latencies: Option<PathBuf>,
    /// The filters; there exactly for `filtered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Box<Filters>>,
}

/// Which base vectors each query may find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    /// `u8`, filters x bytes: bit `id % 8` of byte `id / 8` of a row says whether the filter admits `id`. Rows are a multiple of
    /// 8 bytes and start at one.
    pub bitmaps: Matrix,
    /// `i32`, queries x 1: the row of `bitmaps` that each query uses.
    pub of_query: Matrix,
}

/// Worker to harness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// First line.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Library and version that does the work.
        library: String,
        /// Instruction set in use, when known.
        simd_tier: Option<String>,
    },
    /// Progress of the build.
    Building {
        /// `read`, `train`, `construct`, `optimise` or `save`.
        stage: String,
        /// Units done.
        done: u64,
        /// Units in all; 0 when not known.
        total: u64,
    },
    /// The index is ready.
    Built(Built),
    /// Progress of a search, in queries (warm-up included).
    Searching {
        /// The request's key.
        key: String,
        /// Queries done.
        done: u64,
        /// Queries in all.
        total: u64,
    },
    /// The files are written.
    Searched(Searched),
    /// A trial of a store is done; see [`crate::storage::protocol`].
    Stored(crate::storage::protocol::StoredReply),
    /// The build or the search could not be done.
    Failed {
        /// `missing` (library not installed), `build`, `search`, or `unsupported` (the library has no such search). After the
        /// last two the worker goes on.
        stage: String,
        /// One sentence.
        message: String,
    },
}

/// The index is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Built {
    /// Seconds by stage.
    pub stages: StageSeconds,
    /// CPU seconds of this process so far.
    pub cpu_seconds: f64,
    /// Logical bytes by component.
    #[serde(default)]
    pub memory: BTreeMap<String, u64>,
    /// Digest of the structure, when there is one.
    #[serde(default)]
    pub digest: Option<String>,
    /// Work done.
    #[serde(default)]
    pub counters: Option<Counters>,
}

/// One search point was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Searched {
    /// The request's key.
    pub key: String,
    /// Wall seconds of the timed pass.
    pub wall_seconds: f64,
    /// CPU seconds of the timed pass.
    pub cpu_seconds: f64,
    /// Work done in the timed pass.
    #[serde(default)]
    pub counters: Option<Counters>,
    /// Major page faults in the timed pass.
    #[serde(default)]
    pub faults_major: u64,
    /// Minor page faults in the timed pass.
    #[serde(default)]
    pub faults_minor: u64,
}

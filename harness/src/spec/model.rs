//! The experiment as the rest of the harness sees it: resolved, validated, with no YAML left in it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use nearlab_datasets::FilterOptions;
use serde_json::Value;

use super::{
    error::{Place, SpecError},
    expect::Expect,
    rule::Rule,
};

/// One experiment: a question, the data, the sweeps, the rules of measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The file it came from.
    pub path: PathBuf,
    /// Experiment name: the file's stem.
    pub name: String,
    /// The YAML as it was read.
    pub yaml: String,
    /// The question in prose.
    pub question: String,
    /// What the author makes of it.
    pub analysis: Option<String>,
    /// The data.
    pub dataset: DatasetSpec,
    /// Neighbours asked for; not empty, no zero, no duplicate, in the order written.
    pub k: Vec<usize>,
    /// The indexes; names are unique.
    pub indexes: Vec<IndexSpec>,
    /// The workloads; names are unique.
    pub workloads: Vec<Workload>,
    /// How to measure.
    pub measure: Measure,
    /// Name of the index that ratios are quoted against; one of `indexes`.
    pub baseline: Option<String>,
    /// Profiles to take, apart from the timed runs.
    pub profile: ProfileSpec,
    /// What the author expects to hold.
    pub expect: Vec<Expect>,
    /// Baseline file of the experiment's gate.
    pub gate: Option<PathBuf>,
    /// What is legal but probably a mistake, one sentence each.
    pub warnings: Vec<String>,
}

impl Spec {
    /// Every filter of the experiment, once.
    pub fn filters(&self) -> Vec<FilterOptions> {
        let mut filters: Vec<FilterOptions> = Vec::new();
        for filter in self.workloads.iter().flat_map(|workload| &workload.filters) {
            if !filters.contains(filter) {
                filters.push(*filter);
            }
        }
        filters
    }

    /// The folder that relative paths of the experiment are looked up in first.
    pub fn folder(&self) -> &Path {
        nearlab_storage::folder_of(&self.path)
    }

    /// Largest k of the experiment: how many exact neighbours the data set must know per query.
    pub fn max_k(&self) -> usize {
        self.k.iter().copied().max().unwrap_or(0)
    }

    /// An error drawn at a place of this experiment's file, for what only shows later (a data set that cannot be
    /// prepared, an impossible `require`).
    pub fn error_at(&self, place: Place, message: impl Into<String>) -> SpecError {
        SpecError::at(&self.path, &self.yaml, place, message)
    }
}

/// Which data, and how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetSpec {
    /// Where it comes from.
    pub source: DatasetSource,
    /// Use only the first so many base vectors.
    pub limit: Option<usize>,
    /// How the queries are split; `None`: every query is a report query.
    pub queries: Option<QuerySplit>,
    /// `l2`, `inner_product` or `cosine`, where the file does not say (or to insist).
    pub metric: Option<String>,
    /// Where the YAML names the data set, for errors.
    pub place: Place,
}

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetSource {
    /// A catalogue name, or a path with variables already expanded. A path that exists beside the YAML is given in
    /// that form; anything else as written, for the data set module to look up.
    Use(String),
    /// Separate files.
    Files {
        /// Base vectors.
        train: PathBuf,
        /// Queries.
        test: PathBuf,
        /// Exact neighbours; computed when absent.
        neighbors: Option<PathBuf>,
    },
}

/// How the queries are split between the report and calibration, drawn with a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuerySplit {
    /// Queries that the report is made of.
    pub report: usize,
    /// Queries kept for tuning.
    pub calibrate: usize,
    /// Seed of the draw.
    pub seed: u64,
}

/// Kinds of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Exact search.
    Flat,
    /// HNSW.
    Hnsw,
    /// IVF-Flat.
    Ivf,
    /// A worker of any library, by the worker protocol.
    External,
}

impl Kind {
    /// Every kind, in the order shown to people.
    pub const ALL: [Self; 4] = [Self::Flat, Self::Hnsw, Self::Ivf, Self::External];

    /// As written in the YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Hnsw => "hnsw",
            Self::Ivf => "ivf",
            Self::External => "external",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One index of the experiment: a kind and its sweeps.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexSpec {
    /// Unique name.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// The worker program; `Some` exactly for [`Kind::External`].
    pub worker: Option<PathBuf>,
    /// Build parameters, every one of the kind's table present (defaults filled in); `threads` and `seed` among them.
    pub build: Sweeps,
    /// Search parameters, defaults filled in.
    pub search: Sweeps,
    /// Rules that a point must obey.
    pub require: Vec<Rule>,
    /// Where the YAML names the index, for errors.
    pub place: Place,
}

/// Parameter name to the values it takes: at least one each, no value twice, in the order written.
pub type Sweeps = BTreeMap<String, Vec<Value>>;

/// How searches are driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One query at a time on one thread, each timed.
    Latency,
    /// All queries, one wall clock.
    Throughput,
    /// As latency, each query among the vectors that match its filter.
    Filtered,
}

impl Mode {
    /// Whether queries are asked one at a time on one thread, each timed.
    pub const fn times_queries(self) -> bool {
        matches!(self, Self::Latency | Self::Filtered)
    }

    /// As written in the YAML, in the worker protocol and in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Filtered => "filtered",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Unique name.
    pub name: String,
    /// Mode.
    pub mode: Mode,
    /// Search thread counts to run with; `[1]` where queries are asked one at a time.
    pub threads: Vec<usize>,
    /// The filters of [`Mode::Filtered`], correlation by correlation as written; empty for every other mode.
    pub filters: Vec<FilterOptions>,
    /// Where the YAML names the workload, for errors.
    pub place: Place,
}

/// How to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Times that every search point is measured, at least 1.
    pub repeats: u32,
    /// Untimed passes over all queries before each timed pass.
    pub warmup: u32,
    /// Order of the measurements.
    pub order: Order,
    /// Seed of the order.
    pub seed: u64,
    /// Wall-clock limit of one build, and of one search request.
    pub timeout: Duration,
    /// Limit on a worker's anonymous resident memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Which processors a worker may use.
    pub pin: Pin,
    /// Whether nearlab's indexes are saved in the run's folder and opened again. Searches use the built index either way,
    /// so this is no part of a measurement's key.
    pub save: bool,
}

/// Order of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Trials in a seeded order; within a trial all its measurements (repeats too) in a seeded order.
    Shuffled,
    /// As written: index, build point, search point, workload, repeat.
    Sequential,
    /// Rounds: every trial measures one repeat of all its points, then every trial the next. Within a round, trials and
    /// points are in a seeded order. Workers stay alive between their turns.
    Interleaved,
}

impl Order {
    /// As written in the YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shuffled => "shuffled",
            Self::Sequential => "sequential",
            Self::Interleaved => "interleaved",
        }
    }
}

/// Which processors a worker may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// As many processors as the trial needs threads, chosen by the harness.
    Auto,
    /// No pinning.
    None,
    /// Exactly these processors.
    Cores(Vec<u32>),
}

/// Profiles to take, apart from the timed runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProfileSpec {
    /// Sample the CPU this many times a second.
    pub cpu_hz: Option<i32>,
    /// Count allocations.
    pub heap: bool,
}

impl ProfileSpec {
    /// Whether any profile is asked for.
    pub const fn is_any(&self) -> bool {
        self.cpu_hz.is_some() || self.heap
    }
}

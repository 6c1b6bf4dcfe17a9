//! The record schema: one JSON object per line of `records.jsonl`, append-only, the truth of a run.
//!
//! Everything a report shows is derived from these lines. Units stand last in each name. A field that a worker
//! cannot know is `None`, never a made-up zero. [`SCHEMA_VERSION`] rises when an older reader would misread a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::storage::{StorageHead, Stored};

/// Version written into every line.
///
/// Version 2 has filters: [`Search::filter`], [`Failure::filter`] and [`Outcome::Unsupported`]. Version 1 is read as it was.
pub const SCHEMA_VERSION: u32 = 2;

/// Parameters by name, as resolved from the experiment (numbers, strings or booleans).
pub type Params = BTreeMap<String, serde_json::Value>;

/// One line of `records.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a line records. Externally tagged: `{"schema_version": 1, "search": {...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A session of the run began (a resumed run has several).
    Run(Run),
    /// The data set every trial of the run used.
    Dataset(Dataset),
    /// A sweep point that a `require` rule or an impossible combination excluded.
    Rejected(Rejected),
    /// An index was built.
    Build(Build),
    /// A search point was measured once (one repeat of one workload).
    Search(Search),
    /// Something did not work: a missing worker, a crash, a timeout.
    Failure(Failure),
    /// A profile was taken, apart from timed runs.
    Profile(Profile),
    /// A session about stores began: the disk and the data sets.
    Storage(StorageHead),
    /// A store was measured once.
    Stored(Stored),
    /// The session ended with nothing left to measure.
    Finished(Finished),
}

/// One session of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Name of the run's folder.
    pub run_id: String,
    /// 1 for the first session, 2 for the first resume, ...
    pub session: u32,
    /// Experiment name: the YAML file's stem.
    pub experiment: String,
    /// The question in prose, from the YAML.
    pub question: String,
    /// What the author makes of it, from the YAML.
    pub analysis: Option<String>,
    /// Hash of the resolved plan; a run resumes only under the same hash.
    pub spec_hash: String,
    /// The YAML as it was read.
    pub spec_yaml: String,
    /// Name of the index that ratios are quoted against.
    pub baseline: Option<String>,
    /// Searches planned (points x workloads x repeats).
    pub planned_searches: u64,
    /// Builds planned.
    pub planned_builds: u64,
    /// The command that reproduces the run.
    pub command: Vec<String>,
    /// Start of the session, RFC 3339, UTC.
    pub started: String,
    /// The machine and the program.
    pub environment: Environment,
}

/// The machine and the program that measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Hash of what identifies the machine and program (not of load or time).
    pub id: String,
    /// CPU model name.
    pub cpu_model: String,
    /// CPU feature flags that matter for kernels.
    pub cpu_flags: Vec<String>,
    /// Processors online.
    pub cores_online: u32,
    /// Processors this process may use.
    pub cores_allowed: Vec<u32>,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// Whether a hypervisor is present.
    pub hypervisor: bool,
    /// Instruction set that nearlab's kernels for vectors really dispatched to.
    pub simd_tier: String,
    /// The same of the kernels for codes, which are chosen apart; `None` in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simd_tier_codes: Option<String>,
    /// Transparent huge page setting, when readable.
    pub transparent_huge_pages: Option<String>,
    /// CPU frequency governor, when readable.
    pub governor: Option<String>,
    /// Kernel release.
    pub kernel: String,
    /// Load averages over 1, 5, 15 minutes before the session.
    pub load_before: Option<[f64; 3]>,
    /// Ticks stolen by the hypervisor since boot, before the session.
    pub steal_ticks_before: Option<u64>,
    /// Compiler that built nearlab.
    pub rustc: String,
    /// Flags that the compiler was given beside the profile's, separated by spaces; `None` without any, and in older
    /// records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rustflags: Option<String>,
    /// Commit nearlab was built from, when known.
    pub git_commit: Option<String>,
    /// Whether the tree had uncommitted changes, when known.
    pub git_dirty: Option<bool>,
    /// Memory allocator.
    pub allocator: String,
    /// nearlab crate versions.
    pub crate_versions: BTreeMap<String, String>,
    /// Arguments of this process.
    pub argv: Vec<String>,
}

/// The data set, with its fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Name as used in the experiment.
    pub name: String,
    /// Where it came from (file name or address).
    pub source: String,
    /// SHA-256 of the decoded base and query vectors.
    pub sha256: String,
    /// Base vectors.
    pub n: u64,
    /// Dimensions.
    pub d: u64,
    /// Report queries.
    pub queries: u64,
    /// `l2`, `inner_product` or `cosine`.
    pub metric: String,
    /// Exact neighbours known per query.
    pub truth_k: u64,
    /// Whether every base coordinate is an integer in 0..=255.
    pub integral_u8: bool,
    /// Base rows equal to an earlier row.
    pub duplicates: u64,
    /// Smallest Euclidean norm of a base row.
    pub norm_min: f64,
    /// Mean norm.
    pub norm_mean: f64,
    /// Largest norm.
    pub norm_max: f64,
    /// Mean local intrinsic dimension (MLE over the true neighbours).
    pub lid_mean: Option<f64>,
    /// Mean distance / mean nearest-neighbour distance.
    pub relative_contrast: Option<f64>,
    /// Queries whose true distances were recomputed on load.
    pub truth_checked: u64,
    /// How the report's queries were drawn; `None`: every query is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Hash of the true neighbours of the report's queries, which tells corrected ones apart; `None` in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<String>,
}

/// A part of the queries, drawn with a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Queries of the report.
    pub report: u64,
    /// Queries kept for tuning.
    pub calibrate: u64,
    /// Seed of the draw.
    pub seed: u64,
}

impl Dataset {
    /// Whether the same queries are asked of the same vectors by the same metric, and held against the same neighbours.
    pub fn asks_as(&self, other: &Self) -> bool {
        // Records from before splits were recorded have none. Queries kept for tuning are drawn after the report's.
        let drawn_alike = self
            .split
            .zip(other.split)
            .is_none_or(|(one, another)| (one.report, one.seed) == (another.report, another.seed));
        // A hash of more neighbours is another hash of the same truth.
        let one_truth = self.truth_k != other.truth_k
            || self.truth.as_ref().zip(other.truth.as_ref()).is_none_or(|(one, another)| one == another);
        (&self.sha256, &self.metric, self.queries) == (&other.sha256, &other.metric, other.queries)
            && drawn_alike
            && one_truth
    }

    /// Its name, and what may tell two of one name apart.
    pub fn describe(&self) -> String {
        let split = self.split.map_or_else(String::new, |split| format!(" drawn with seed {}", split.seed));
        let truth = self.truth.as_ref().map_or_else(String::new, |truth| format!(", neighbours {truth}"));
        format!("{} (n {}, d {}, {}, {} queries{split}{truth})", self.name, self.n, self.d, self.metric, self.queries)
    }
}

/// An excluded sweep point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Index name in the experiment.
    pub index: String,
    /// Build parameters.
    pub params: Params,
    /// Search parameters, when the rule looked at a search point.
    pub search: Option<Params>,
    /// k, when the rule looked at a search point.
    pub k: Option<u64>,
    /// The rule that was false, or why the point is impossible.
    pub rule: String,
}

/// Seconds of a build by stage; a stage that does not apply is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageSeconds {
    /// Mapping or reading the base vectors.
    pub read: f64,
    /// Training (k-means, quantizers).
    pub train: f64,
    /// Construction or insertion.
    pub construct: f64,
    /// Optimising or freezing.
    pub optimise: f64,
    /// Saving to disk.
    pub save: f64,
    /// Opening from disk, when the trial did that.
    pub load: f64,
}

/// One index build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Hash of (index, build parameters, data set fingerprint, code version).
    pub trial: String,
    /// Index name in the experiment.
    pub index: String,
    /// Kind: `flat`, `hnsw`, `ivf`, `external`.
    pub kind: String,
    /// Resolved build parameters.
    pub params: Params,
    /// Build threads.
    pub threads: u64,
    /// Seed.
    pub seed: u64,
    /// Library and version that did the work, as the worker said.
    pub library: String,
    /// Instruction set that the worker says it dispatched to.
    pub simd_tier: Option<String>,
    /// train + construct + optimise.
    pub build_seconds: f64,
    /// By stage.
    pub stages: StageSeconds,
    /// CPU time of the worker up to `built`.
    pub cpu_seconds: f64,
    /// Peak anonymous resident memory of the worker up to `built` (kernel's figure, sampled).
    pub peak_rss_anon_bytes: Option<u64>,
    /// Peak file-backed resident memory of the worker up to `built`.
    pub peak_rss_file_bytes: Option<u64>,
    /// Logical bytes by component, from the index itself.
    pub memory: BTreeMap<String, u64>,
    /// Sum of `memory`.
    pub index_bytes: Option<u64>,
    /// Digest of the built structure, when the index has one.
    pub digest: Option<String>,
    /// Work done by the build.
    pub counters: Option<Counters>,
}

/// Deterministic work counters, summed over the queries of one pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Distances computed.
    pub distance_computations: u64,
    /// Graph nodes expanded.
    pub hops: u64,
    /// Inverted lists scanned.
    pub lists_probed: u64,
    /// Vector and adjacency bytes touched.
    pub bytes_read: u64,
}

/// Percentiles over every sample, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

/// Recall over the report queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// Share of true ids returned: |returned ∩ truth| / k, or / matches where fewer than k match; mean over queries.
    pub strict: f64,
    /// A returned vector at distance <= `d_k` (1 + 1e-6) counts; an id counts once.
    pub ties: f64,
    /// ann-benchmarks' definition: distance <= `d_k` + 1e-3.
    pub annb: f64,
    /// Worst query (strict).
    pub min: f64,
    /// 5th percentile over queries (strict).
    pub p5: f64,
    /// Mean of (sum of returned distances / sum of true distances) - 1; `None` when a true sum is 0.
    pub relative_error: Option<f64>,
    /// True ids returned over all queries: the deterministic counter behind `strict`.
    pub hits: u64,
}

/// The filters of a measurement: which base vectors each query may find.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// Share of the base vectors that match, as asked for.
    pub selectivity: f64,
    /// How the matches lie to the query: `none` (anywhere), `positive` (near) or `negative` (far).
    pub correlation: String,
    /// Matches of each filter.
    pub matches: u64,
    /// Number of filters; each serves some of the queries.
    pub filters: u64,
    /// Seed of the filters.
    pub seed: u64,
    /// Mean share of the queries' nearest base vectors (as many as match and are known, at most 100) that match; about the selectivity without
    /// correlation.
    pub near_share: f64,
}

/// One measurement of one search point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Hash of (trial, search parameters, k, workload, repeat): measured once per run.
    pub key: String,
    /// The build it ran on.
    pub trial: String,
    /// Index name in the experiment.
    pub index: String,
    /// Kind of index.
    pub kind: String,
    /// Build parameters.
    pub build: Params,
    /// Search parameters.
    pub params: Params,
    /// Neighbours asked for.
    pub k: u64,
    /// Workload name.
    pub workload: String,
    /// `latency`, `throughput` or `filtered`.
    pub mode: String,
    /// Which base vectors the queries could find; `None`: all. Recall is then among these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Search threads.
    pub threads: u64,
    /// 0-based.
    pub repeat: u32,
    /// Position in the shuffled order of the session.
    pub order: u64,
    /// Queries answered in the timed pass.
    pub queries: u64,
    /// Wall time of the whole timed pass.
    pub wall_seconds: f64,
    /// queries / `wall_seconds`.
    pub qps: f64,
    /// CPU time of the worker in the timed pass.
    pub cpu_seconds: f64,
    /// Per-query latency, for workloads that time queries one by one.
    pub latency_ns: Option<Latency>,
    /// Recall by the harness, from the ids.
    pub recall: Recall,
    /// Work counters, when the index returns them.
    pub counters: Option<Counters>,
    /// Major page faults in the timed pass.
    pub faults_major: u64,
    /// Minor page faults in the timed pass.
    pub faults_minor: u64,
    /// Neighbour ids: i32, queries x k, -1 padded; path relative to the run's folder.
    pub ids_file: String,
    /// Latencies: u64 nanoseconds per query; path relative to the run's folder.
    pub latencies_file: Option<String>,
}

/// Something that did not work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The trial, when one had begun.
    pub trial: String,
    /// The search key, when it failed in a search.
    pub key: Option<String>,
    /// Index name in the experiment.
    pub index: String,
    /// Build parameters.
    pub params: Params,
    /// Search parameters, when it failed in a search.
    pub search: Option<Params>,
    /// Workload, when it failed in a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Filters, when it failed in a search with some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// `start`, `build`, `search`, `cpu profile` or `heap profile`; of a store `repeat 1`, `repeat 2`, ...
    pub stage: String,
    /// What happened.
    pub outcome: Outcome,
    /// One sentence for a person, with the worker's last words.
    pub message: String,
}

impl Failure {
    /// Whether the index did not come to be, so that none of its searches could.
    pub fn is_of_build(&self) -> bool {
        self.key.is_none() && matches!(self.stage.as_str(), "start" | "build")
    }

    /// Whether a profile of this kind could not be taken. Older records say `profile`, of whichever kind it was.
    pub fn is_of_profile(&self, kind: &str) -> bool {
        self.stage.strip_suffix("profile").is_some_and(|of| of.is_empty() || of.trim_end() == kind)
    }
}

/// How a trial ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The worker or its library is not installed.
    Missing,
    /// The worker said `failed`.
    Failed,
    /// The worker exited or was killed by a signal.
    Crashed,
    /// The worker ran past the time limit and was stopped.
    Timeout,
    /// The worker passed the memory limit, or was killed with SIGKILL by the system.
    OutOfMemory,
    /// The worker answered something that is not the protocol.
    Protocol,
    /// The library cannot do what the workload asks for; nothing went wrong.
    Unsupported,
}

/// One profile of one trial, taken in a run of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The trial profiled.
    pub trial: String,
    /// Index name in the experiment.
    pub index: String,
    /// Build parameters.
    pub params: Params,
    /// Search parameters used.
    pub search: Params,
    /// `cpu` or `heap`.
    pub kind: String,
    /// `build` or `search` (cpu); `all` (heap).
    pub stage: String,
    /// Label (`flamegraph`, `protobuf`, `dhat`) to path relative to the run's folder.
    pub files: BTreeMap<String, String>,
    /// Samples taken (cpu).
    pub samples: Option<u64>,
    /// Heap totals and sites (heap).
    pub heap: Option<Heap>,
}

/// Heap use by dhat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heap {
    /// Bytes allocated over the whole run.
    pub total_bytes: u64,
    /// Blocks allocated over the whole run.
    pub total_blocks: u64,
    /// Bytes live at the peak.
    pub peak_bytes: u64,
    /// Blocks live at the peak.
    pub peak_blocks: u64,
    /// Sites with most bytes at the peak, largest first.
    pub sites: Vec<HeapSite>,
}

/// One allocation site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeapSite {
    /// Innermost frame that is not the allocator.
    pub frame: String,
    /// Bytes live at the peak.
    pub peak_bytes: u64,
    /// Blocks live at the peak.
    pub peak_blocks: u64,
    /// Bytes over the whole run.
    pub total_bytes: u64,
    /// Blocks over the whole run.
    pub total_blocks: u64,
}

/// A session that ended with nothing left to measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// End of the session, RFC 3339, UTC.
    pub finished: String,
    /// Load averages after the session.
    pub load_after: Option<[f64; 3]>,
    /// Ticks stolen since boot, after the session.
    pub steal_ticks_after: Option<u64>,
    /// The experiment's `expect` rules.
    pub expectations: Vec<Expectation>,
}

/// One `expect` rule and what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// The rule as written, with its `index` and `at`.
    pub rule: String,
    /// `met`, `not_met` or `no_data`.
    pub outcome: ExpectationOutcome,
    /// The value found, in words.
    pub found: String,
}

/// Verdict on one expectation. `NoData` counts as not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectationOutcome {
    /// True for every matching row.
    Met,
    /// False for at least one matching row.
    NotMet,
    /// No row matched.
    NoData,
}

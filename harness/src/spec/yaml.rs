//! The YAML as written: keys, types and their meaning, which are the JSON Schema too. What a value may be beyond its
//! type is judged in `resolve`.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    located::{Entries, Located},
    sweep::{Scalar, Sweep},
};

/// An experiment of nearlab: one question, the data, the sweeps and the rules of measurement.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "nearlab experiment")]
pub(super) struct Experiment {
    /// The question that the experiment answers, in prose. The report opens with it.
    pub(super) question: Located<String>,
    /// What the author makes of the answer, or how to read it.
    pub(super) analysis: Option<String>,
    /// The data.
    pub(super) dataset: Dataset,
    /// Neighbours asked for: one number or several.
    pub(super) k: Located<Sweep>,
    /// The indexes compared.
    pub(super) indexes: Located<Vec<Index>>,
    /// How searches are driven.
    pub(super) workloads: Located<Vec<Workload>>,
    /// How to measure.
    #[serde(default)]
    pub(super) measure: Measure,
    /// Name of the index that ratios are quoted against.
    pub(super) baseline: Option<Located<String>>,
    /// How search points are chosen: `grid` measures all of them.
    #[serde(default)]
    pub(super) search_policy: SearchPolicy,
    /// Profiles to take, in runs apart from the timed ones.
    #[serde(default)]
    pub(super) profile: Profile,
    /// What must hold of the results: `<metric> <op> <number>`, for the rows that the selectors pick.
    #[serde(default)]
    pub(super) expect: Entries<Selectors>,
    /// The gate that this experiment feeds.
    pub(super) gate: Option<Gate>,
}

/// The data: `use` a catalogue name or a file, or `train` and `test` files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dataset {
    /// A catalogue name (`nearlab datasets list`) or the path of a file. `${VAR}` stands for an environment variable.
    /// A relative path is looked up beside this file first, then in the current folder.
    #[serde(rename = "use")]
    pub(super) source: Option<Located<String>>,
    /// File of base vectors, instead of `use`.
    pub(super) train: Option<Located<String>>,
    /// File of queries, with `train`.
    pub(super) test: Option<Located<String>>,
    /// File of exact neighbours, with `train`; computed when absent.
    pub(super) neighbors: Option<Located<String>>,
    /// Use only the first so many base vectors; exact neighbours are computed anew.
    pub(super) limit: Option<Located<u64>>,
    /// How the queries are split.
    pub(super) queries: Option<Queries>,
    /// The metric, where the file does not say.
    pub(super) metric: Option<Metric>,
}

/// How the queries are split, drawn with a seed. Tuning sees only calibration queries, reports only report queries.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Queries {
    /// Queries that the report is made of.
    pub(super) report: Located<u64>,
    /// Queries kept for tuning.
    #[serde(default)]
    pub(super) calibrate: u64,
    /// Seed of the draw.
    #[serde(default = "one")]
    pub(super) seed: u64,
}

/// Distance: smaller is nearer.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Metric {
    /// Euclidean.
    L2,
    /// Largest inner product.
    InnerProduct,
    /// 1 - cosine.
    Cosine,
}

/// One index and its sweeps.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = super::schema::parameters_by_kind)]
pub(super) struct Index {
    /// Unique name, shown in the report.
    pub(super) name: Located<String>,
    /// Kind.
    pub(super) kind: IndexKind,
    /// The worker program, for kind `external`: a path, looked up beside this file first, then in the current folder.
    pub(super) worker: Option<Located<String>>,
    /// Build parameters; those left out take their defaults.
    #[serde(default)]
    pub(super) build: Entries<Located<Sweep>>,
    /// Search parameters; those left out take their defaults.
    #[serde(default)]
    pub(super) search: Entries<Located<Sweep>>,
    /// Rules that a point must obey, such as `ef_search >= k`. A point that breaks one is counted and shown as rejected.
    #[serde(default)]
    pub(super) require: Vec<Located<String>>,
}

/// Kinds of index.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IndexKind {
    /// Exact search.
    Flat,
    /// HNSW.
    Hnsw,
    /// IVF-Flat.
    Ivf,
    /// Any library, by a worker program.
    External,
}

/// One way to drive searches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    /// Unique name.
    pub(super) name: Located<String>,
    /// Mode.
    pub(super) mode: WorkloadMode,
    /// Search thread counts, for `throughput`; 1 when left out.
    pub(super) threads: Option<Located<Sweep>>,
    /// For `filtered`: shares of the base vectors that match, each above 0 and at most 1.
    pub(super) selectivity: Option<Located<Sweep>>,
    /// For `filtered`: how the matches lie to the query, `none` (anywhere) when left out.
    #[schemars(with = "Option<Correlations>")]
    pub(super) correlation: Option<Located<Sweep>>,
    /// For `filtered`: how many filters each point has, 100 when left out; each serves a part of the queries.
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) filters: Option<Located<u64>>,
    /// For `filtered`: seed of the filters, 1 when left out.
    pub(super) seed: Option<Located<u64>>,
}

/// One correlation, or several.
// Only for the schema: `measure` reads the words, and knows near misses.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "a shape of the schema")]
enum Correlations {
    /// One.
    One(nearlab_datasets::Correlation),
    /// Several.
    Several(Vec<nearlab_datasets::Correlation>),
}

/// Modes of a workload.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorkloadMode {
    /// One query at a time on one thread, each timed.
    Latency,
    /// All queries, one wall clock.
    Throughput,
    /// As latency, each query among the vectors that match its filter.
    Filtered,
}

/// How to measure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Measure {
    /// Times that every search point is measured.
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) repeats: Located<u64>,
    /// Untimed passes over all queries before each timed pass.
    #[schemars(range(max = 10_000))]
    pub(super) warmup: Located<u64>,
    /// Order of the measurements.
    pub(super) order: Order,
    /// Seed of the order.
    pub(super) seed: u64,
    /// State of the caches: `warm`.
    pub(super) cache: Cache,
    /// Wall-clock limit of one build or one search request, such as `30m`.
    pub(super) timeout: Located<String>,
    /// Limit on a worker's own memory, such as `8GiB`.
    pub(super) memory: Option<Located<String>>,
    /// Which processors a worker may use.
    pub(super) pin: Located<Pin>,
    /// Save each of nearlab's indexes in the run's folder, timed apart from the build, and open it again.
    pub(super) save: bool,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            repeats: Located::default_value(3),
            warmup: Located::default_value(1),
            order: Order::default(),
            seed: 1,
            cache: Cache::default(),
            timeout: Located::default_value("30m".to_owned()),
            memory: None,
            pin: Located::default_value(Pin::Named(PinName::Auto)),
            save: false,
        }
    }
}

/// Order of the measurements.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Builds in a seeded order, the measurements of a build in a seeded order.
    #[default]
    Shuffled,
    /// As written.
    Sequential,
    /// In rounds over all builds, one repeat each; slow drifts of the machine then touch all indexes alike.
    Interleaved,
}

/// State of the caches before a timed pass.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cache {
    /// As the warm-up left them.
    #[default]
    Warm,
}

/// How search points are chosen.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SearchPolicy {
    /// Every point of the sweep.
    #[default]
    Grid,
}

/// `auto`, `none`, or a list of processors.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum Pin {
    /// A policy.
    Named(PinName),
    /// Exactly these processors.
    Cores(Vec<u32>),
    /// Another word, refused where its place is known.
    #[schemars(skip)]
    Other(String),
}

/// A policy of pinning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum PinName {
    /// As many processors as the trial needs, chosen by the harness.
    Auto,
    /// No pinning.
    None,
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Pin;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, none or a list of processors")
            }

            fn visit_str<E>(self, name: &str) -> Result<Pin, E> {
                Ok(match name {
                    "auto" => Pin::Named(PinName::Auto),
                    "none" => Pin::Named(PinName::None),
                    other => Pin::Other(other.to_owned()),
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pin, A::Error> {
                let mut cores = Vec::new();
                while let Some(core) = list.next_element()? {
                    cores.push(core);
                }
                Ok(Pin::Cores(cores))
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

/// Profiles to take, in runs apart from the timed ones.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// A CPU flame graph of build and search.
    pub(super) cpu: Option<CpuProfile>,
    /// Allocations by site.
    #[serde(default)]
    pub(super) heap: bool,
}

/// A CPU flame graph.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CpuProfile {
    /// Samples per second.
    #[serde(default = "hz")]
    #[schemars(range(min = 1, max = 1_000))]
    pub(super) hz: Located<i32>,
}

/// One selector, or several.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum Selectors {
    /// The rule holds for these rows.
    One(Selector),
    /// The rule holds for the rows of each.
    Several(Vec<Selector>),
}

impl<'de> Deserialize<'de> for Selectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Selectors;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{index: ..., at: {...}}, or a list of such")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Selectors, A::Error> {
                Selector::deserialize(MapAccessDeserializer::new(map)).map(Selectors::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Selectors, A::Error> {
                let mut several = Vec::new();
                while let Some(selector) = list.next_element()? {
                    several.push(selector);
                }
                Ok(Selectors::Several(several))
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

/// Which rows an `expect` rule speaks of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Selector {
    /// Index name.
    pub(super) index: Located<String>,
    /// Workload name; every workload when left out.
    pub(super) workload: Option<Located<String>>,
    /// k; every k when left out.
    pub(super) k: Option<Located<u64>>,
    /// Search threads; every count when left out.
    pub(super) threads: Option<Located<u64>>,
    /// Parameter values, build or search.
    #[serde(default)]
    pub(super) at: Entries<Located<Scalar>>,
}

/// The gate that the experiment feeds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Gate {
    /// Golden file, looked up beside this file first, then in the current folder.
    pub(super) baseline: Located<String>,
}

const fn one() -> u64 {
    1
}

fn hz() -> Located<i32> {
    Located::default_value(199)
}

//! An experiment about stores: the keys of its YAML, which are a part of the JSON Schema too.
//!
//! A file asks about indexes (`indexes:`) or about stores (`stores:`), never both: what waits for a disk and what keeps a
//! core busy would disturb each other in one run (ADR 19). [`load_question`](super::load_question) tells them apart.
//!
//! | file | what |
//! |---|---|
//! | `model` | the experiment as the rest of the harness sees it |
//! | `resolve` | from the YAML to the model |
//! | `expect` | `expect` rules over points |

mod expect;
mod model;
mod resolve;

use std::{fmt, marker::PhantomData};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

pub use expect::{STORE_METRICS, StoreExpect};
pub use model::{Durability, StoreEntry, StoreKind, StoreMode, StoreSpec, StoreWorkload};
pub(super) use resolve::resolve;

use super::{
    located::{Entries, Located},
    sweep::{Scalar, Sweep},
    yaml::{Dataset, Measure},
};

/// An experiment about stores: one question, the data, the stores, what is done with them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "nearlab experiment about stores")]
pub(super) struct StoreExperiment {
    /// The question that the experiment answers, in prose. The report opens with it.
    pub(super) question: Located<String>,
    /// What the author makes of the answer, or how to read it.
    pub(super) analysis: Option<String>,
    /// The data: one set, or a list of sets. Only base vectors are used. Not needed where every workload has mode `filter`.
    pub(super) dataset: Option<OneOrMany<Dataset>>,
    /// The stores compared.
    pub(super) stores: Located<Vec<Store>>,
    /// What is done with them.
    pub(super) workloads: Located<Vec<Workload>>,
    /// How to measure. `warmup` counts untimed passes of reads and filters.
    #[serde(default)]
    pub(super) measure: Measure,
    /// Name of the store that ratios are quoted against; the first plain file when left out.
    pub(super) baseline: Option<Located<String>>,
    /// What must hold of the medians of the points that the selectors pick: `<metric> <op> <number>`.
    #[serde(default)]
    pub(super) expect: Entries<OneOrMany<Selector>>,
}

/// One store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    /// Unique name, shown in the report.
    pub(super) name: Located<String>,
    /// Kind.
    pub(super) kind: Kind,
    /// The worker program, for kind `external`: a path, looked up beside this file first, then in the current folder.
    pub(super) worker: Option<Located<String>>,
    /// Components that vectors are kept in: `f32`, `f16`, or both; `f32` when left out.
    pub(super) element: Option<Located<Sweep>>,
    /// What a change may be asked to outlive; points of a workload that ask for more are rejected. All when left out, for
    /// kind `external` only `none`.
    pub(super) durability: Option<Located<Sweep>>,
    /// Modes that the store takes part in; all when left out.
    pub(super) modes: Option<Located<Sweep>>,
}

/// Kinds of store.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StoreKind")]
pub(super) enum Kind {
    /// nearlab's vector store, and its metadata store for mode `filter`.
    Store,
    /// What the machine does without a store: the same rows written to a file, copied out of its map, scanned.
    PlainFile,
    /// Any other, by a worker program.
    External,
}

/// One thing that is done with the stores.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StoreWorkload")]
pub(super) struct Workload {
    /// Unique name.
    pub(super) name: Located<String>,
    /// Mode.
    pub(super) mode: Mode,
    /// `bulk_load`: rows in a change, 10000 when left out. `point_read`: ids in a call, 1 when left out.
    pub(super) batch: Option<Located<Sweep>>,
    /// `bulk_load`: what each change outlives: `none`, `flush` (the process) or `sync` (the power). All is synced at the end
    /// whatever this says. `none` when left out.
    pub(super) durability: Option<Located<Sweep>>,
    /// `point_read` and `compaction`: ids that are read, at random; 100000 when left out.
    pub(super) ids: Option<Located<u64>>,
    /// `compaction`: share of the rows that is deleted first, at random; 0.3 when left out.
    pub(super) delete: Option<Located<Sweep>>,
    /// `reopen`: how the process before ended: `close` or `kill`; both when left out.
    pub(super) after: Option<Located<Sweep>>,
    /// `filter`: records that are made, 1000000 when left out. Fields: price (float), color (string), stock (integer), sold
    /// (bool).
    pub(super) rows: Option<Located<u64>>,
    /// `filter`: filters over these fields.
    pub(super) filters: Option<Located<Vec<Located<String>>>>,
}

/// Modes of a workload about stores.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StoreMode")]
pub(super) enum Mode {
    /// All rows, change by change, until they are synced.
    BulkLoad,
    /// Random ids, out of a warm cache.
    PointRead,
    /// Giving back the room of deleted rows while one thread goes on reading.
    Compaction,
    /// Opening, in a new process, what another one left.
    Reopen,
    /// Loading fields of records, and filters over them.
    Filter,
}

/// Which points an `expect` rule speaks of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StoreSelector")]
pub(super) struct Selector {
    /// Store name.
    pub(super) store: Located<String>,
    /// Workload name; every workload that has the metric when left out.
    pub(super) workload: Option<Located<String>>,
    /// Data set name; every data set when left out.
    pub(super) dataset: Option<Located<String>>,
    /// Values that a point must have: `element`, `batch`, `durability`, `delete`, `after`, `phase`, `filter`.
    #[serde(default)]
    pub(super) at: Entries<Located<Scalar>>,
}

/// One, or a list.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Forms<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping, or a list of mappings")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = list.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany::Many(many))
            }
        }

        deserializer.deserialize_any(Forms(PhantomData))
    }
}

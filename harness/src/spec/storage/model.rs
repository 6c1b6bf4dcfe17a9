//! An experiment about stores, resolved and validated.

use std::path::PathBuf;

use super::StoreExpect;
use crate::spec::{DatasetSpec, Place, Spec, SpecError, Surroundings};

/// An experiment about stores.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSpec {
    /// Everything that it shares with an experiment about indexes: text, question, rules of measurement, baseline, warnings.
    /// It has no indexes; its data set is the first.
    pub base: Spec,
    /// The data sets; none where every workload makes its own records.
    pub datasets: Vec<DatasetSpec>,
    /// The stores; names are unique.
    pub stores: Vec<StoreEntry>,
    /// The workloads; names are unique.
    pub workloads: Vec<StoreWorkload>,
    /// What the author expects to hold.
    pub expect: Vec<StoreExpect>,
}

impl StoreSpec {
    /// The experiment as if it had one data set only, for whoever prepares data.
    pub fn with_dataset(&self, at: usize) -> Spec {
        Spec { dataset: self.datasets[at].clone(), ..self.base.clone() }
    }

    /// Checks that every data set is there; as [`Spec::check_files`].
    pub fn check_files(&self, surroundings: &Surroundings<'_>) -> Result<(), SpecError> {
        (0..self.datasets.len()).try_for_each(|at| self.with_dataset(at).check_files(surroundings))
    }

    /// The store that ratios are quoted against: the one named, else the first plain file, else the first.
    pub fn baseline(&self) -> &str {
        let plain = || self.stores.iter().find(|store| store.kind == StoreKind::PlainFile);
        let named = self.base.baseline.as_deref();
        named.or_else(|| plain().or(self.stores.first()).map(|store| store.name.as_str())).unwrap_or_default()
    }
}

/// Kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// nearlab's.
    Store,
    /// A file, its map, a scan.
    PlainFile,
    /// A worker program.
    External,
}

/// What is done with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreMode {
    /// All rows until they are synced.
    BulkLoad,
    /// Random ids.
    PointRead,
    /// Giving back the room of deleted rows.
    Compaction,
    /// Opening what another process left.
    Reopen,
    /// Fields, and filters over them.
    Filter,
}

/// What a change outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing.
    None,
    /// The process.
    Flush,
    /// The power.
    Sync,
}

macro_rules! words {
    ($type:ident: $($variant:ident = $word:literal),+) => {
        impl $type {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As written in the YAML, in trials and in records.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The one that a word means.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words!(StoreKind: Store = "store", PlainFile = "plain_file", External = "external");
words!(StoreMode: BulkLoad = "bulk_load", PointRead = "point_read", Compaction = "compaction", Reopen = "reopen", Filter = "filter");
words!(Durability: None = "none", Flush = "flush", Sync = "sync");

/// One store of the experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEntry {
    /// Unique name.
    pub name: String,
    /// Kind.
    pub kind: StoreKind,
    /// The worker program; `Some` exactly for [`StoreKind::External`].
    pub worker: Option<PathBuf>,
    /// `f32`, `f16`: at least one.
    pub elements: Vec<String>,
    /// What it can promise of a change: at least one.
    pub durabilities: Vec<Durability>,
    /// What it takes part in: at least one.
    pub modes: Vec<StoreMode>,
    /// Where the YAML names it.
    pub place: Place,
}

/// One workload of the experiment. What does not belong to its mode has its default, and is not looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreWorkload {
    /// Unique name.
    pub name: String,
    /// Mode.
    pub mode: StoreMode,
    /// Rows in a change, or ids in a call.
    pub batch: Vec<usize>,
    /// What each change outlives.
    pub durability: Vec<Durability>,
    /// Ids that are read.
    pub ids: usize,
    /// Shares that are deleted.
    pub delete: Vec<f64>,
    /// Whether the process before was killed.
    pub after: Vec<String>,
    /// Records that are made.
    pub rows: usize,
    /// Filters.
    pub filters: Vec<String>,
}

//! The plan: every measurement that an experiment means, expanded, judged by its rules, hashed and put in order.
//!
//! [`expand`] is a pure function of a [`Spec`] and of what is known about the data ([`Facts`]). A *point* is one build
//! parameter set with one search parameter set and one k; each kept point is measured by every workload, thread count
//! and repeat. A point that a rule excludes is counted in [`Plan::rejected`], never dropped; a rule that depends on
//! sizes not known yet keeps its points and is named in [`Plan::deferred`].
//!
//! | file | what |
//! |---|---|
//! | `expand` | the product of the sweeps, and the rules |
//! | `impossible` | what no index can do, whatever the rules say |
//! | `hash` | what a trial and a measurement are called |
//! | `order` | in which order they are measured |
//! | `cost` | rough estimates |
//! | `render` | the text of `run --plan` |
//!
//! Absent: no clock, no files, no process; what happens in a run is not known here.

mod cost;
mod expand;
mod hash;
mod impossible;
pub(crate) mod order;
mod render;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use nearlab_datasets::FilterOptions;
use nearlab_reports::record::Params;

pub use cost::Cost;
pub use expand::expand;

use crate::{
    spec::{Kind, Mode, Order, Question, Row, Spec, SpecError, Surroundings, load_in, load_question_in},
    storage,
};

/// What is known about the data and the code when an experiment is expanded. The default knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Base vectors.
    pub n: Option<u64>,
    /// Dimensions.
    pub d: Option<u64>,
    /// Report queries.
    pub queries: Option<u64>,
    /// Text that differs when base vectors, queries, their split or the metric differ.
    pub dataset_fingerprint: Option<String>,
    /// Version of nearlab's own code; part of every hash.
    pub code_version: String,
    /// By index name: text that differs when an external worker differs (a hash of its files).
    pub worker_versions: BTreeMap<String, String>,
}

/// Every measurement of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Hash of every measurement, their order and the pinning: a run resumes only under the same hash. Prose, time and
    /// memory limits, profiles and expectations are no part of it.
    pub spec_hash: String,
    /// The builds in measuring order (for [`Order::Interleaved`]: of the first round).
    pub trials: Vec<PlannedTrial>,
    /// The points that rules exclude, as written.
    pub rejected: Vec<RejectedPoint>,
    /// Rules, with their index, that could not be decided for some point because n or d is not known.
    pub deferred: BTreeSet<String>,
    /// What is legal but probably a mistake, one sentence each, those of the spec included.
    pub warnings: Vec<String>,
    /// The order asked for.
    pub order: Order,
}

/// One build and its measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTrial {
    /// Hash of (index name, kind, worker, build parameters, threads, seed, data set, code): 32 hex digits.
    pub hash: String,
    /// Index name in the experiment.
    pub index: String,
    /// Kind of index.
    pub kind: Kind,
    /// Worker program, for [`Kind::External`].
    pub worker: Option<PathBuf>,
    /// What [`Facts::worker_versions`] says of it: what answers later is held to this.
    pub worker_version: Option<String>,
    /// Build parameters, without `threads` and `seed`.
    pub build: Params,
    /// Build threads.
    pub threads: usize,
    /// Seed.
    pub seed: u64,
    /// The measurements in measuring order; at least one.
    pub searches: Vec<PlannedSearch>,
    /// Estimate of the build.
    pub cost: Cost,
    /// Position as written in the experiment, from 0.
    pub written: usize,
}

/// One measurement: a search point, a workload, a repeat.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSearch {
    /// Hash of (trial, search parameters, k, workload, mode, filter, threads, warm-up, repeat): 32 hex digits.
    pub key: String,
    /// Search parameters.
    pub params: Params,
    /// Neighbours asked for.
    pub k: usize,
    /// Workload name.
    pub workload: String,
    /// Mode.
    pub mode: Mode,
    /// The filters that queries are asked with; `Some` exactly for [`Mode::Filtered`].
    pub filter: Option<FilterOptions>,
    /// Search threads.
    pub threads: usize,
    /// Repeat, from 0.
    pub repeat: u32,
    /// Position in the order of the whole run, from 0.
    pub order: u64,
    /// Estimate of the timed pass and the warm-up, in seconds.
    pub seconds: Option<f64>,
    /// Position within the trial as written, from 0.
    pub written: usize,
}

/// A point, or all points of a build, that a rule excludes.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedPoint {
    /// Index name in the experiment.
    pub index: String,
    /// Build parameters, `threads` and `seed` among them.
    pub params: Params,
    /// Search parameters; `None` when the build is excluded with all its points.
    pub search: Option<Params>,
    /// k; `None` as for `search`.
    pub k: Option<usize>,
    /// The first rule that is false, or why the point is impossible.
    pub rule: String,
    /// Points this stands for.
    pub points: u64,
}

impl Plan {
    /// Builds in the plan.
    pub fn planned_builds(&self) -> usize {
        self.trials.len()
    }

    /// Measurements in the plan.
    pub fn planned_searches(&self) -> usize {
        self.trials.iter().map(|trial| trial.searches.len()).sum()
    }

    /// Points that rules exclude.
    pub fn rejected_points(&self) -> u64 {
        self.rejected.iter().map(|rejected| rejected.points).sum()
    }

    /// Every measurement as (position in `trials`, position in its `searches`), in measuring order. Sequential and
    /// shuffled orders finish one trial before the next; the interleaved order comes back to each trial once a round.
    pub fn schedule(&self) -> Vec<(usize, usize)> {
        let mut all: Vec<(u64, (usize, usize))> = self
            .trials
            .iter()
            .enumerate()
            .flat_map(|(t, trial)| trial.searches.iter().enumerate().map(move |(s, search)| (search.order, (t, s))))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, place)| place).collect()
    }

    /// The plan as text for a terminal: every point with its estimate, every rejected point with its rule.
    pub fn render(&self, spec: &Spec, facts: &Facts) -> String {
        render::text(self, spec, facts)
    }
}

impl PlannedTrial {
    /// What an expectation needs to know of one of this trial's measurements.
    pub fn row<'a>(&'a self, search: &'a PlannedSearch) -> Row<'a> {
        Row {
            index: &self.index,
            kind: self.kind,
            workload: &search.workload,
            k: search.k,
            threads: search.threads,
            build: &self.build,
            build_threads: self.threads,
            seed: self.seed,
            search: &search.params,
        }
    }
}

/// Build parameters without `threads` and `seed`, which every build has.
fn own_parameters(build: &Params) -> Params {
    let mut own = build.clone();
    own.retain(|name, _| name != "threads" && name != "seed");
    own
}

/// What `nearlab check` does with one file: reads it, looks for its data set, and expands it with nothing known about
/// the data, which finds rules that no point can obey.
pub fn check(path: &Path, surroundings: &Surroundings<'_>) -> Result<(Spec, Plan), SpecError> {
    let spec = load_in(path, surroundings)?;
    spec.check_files(surroundings)?;
    let plan = expand(&spec, &Facts::default())?;
    Ok((spec, plan))
}

/// [`check`] for a file of either kind: what it would do, in words, and its warnings.
pub fn check_question(path: &Path, surroundings: &Surroundings<'_>) -> Result<(String, Vec<String>), SpecError> {
    match load_question_in(path, surroundings)? {
        Question::Indexes(_) => {
            let (_, plan) = check(path, surroundings)?;
            let (builds, searches) = (plan.planned_builds(), plan.planned_searches());
            Ok((format!("{builds} builds, {searches} measurements"), plan.warnings))
        }
        Question::Stores(spec) => {
            spec.check_files(surroundings)?;
            let plan = storage::plan::expand(&spec, &[], &storage::plan::Versions::default())?;
            let (trials, measurements) = (plan.schedule.len(), plan.measurements());
            Ok((format!("{trials} trials of stores, {measurements} measurements"), plan.warnings))
        }
    }
}

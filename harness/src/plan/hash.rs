//! What a trial, a measurement and a plan are called: xxh3-128 over canonical JSON, as 32 hex digits.
//!
//! Canonical JSON: one object, keys in the order of the `json!` below with parameters sorted by name, no spaces, whole
//! numbers without a fraction. [`FORMAT`] is part of every hash and rises when the same experiment must not be taken
//! for what an older nearlab measured.

use nearlab_datasets::FilterOptions;
use nearlab_reports::record::Params;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::{Facts, PlannedSearch, PlannedTrial};
use crate::spec::{Kind, Measure, Phase, Pin, goes_without_saying};

/// Version of what is hashed.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Trial<'a> {
    format: u32,
    index: &'a str,
    kind: &'a str,
    worker: Option<String>,
    worker_version: Option<&'a str>,
    build: &'a Params,
    threads: usize,
    seed: u64,
    dataset: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct Search<'a> {
    format: u32,
    trial: &'a str,
    params: Params,
    k: usize,
    workload: &'a str,
    mode: &'a str,
    /// Absent without one: what was measured before there were filters keeps its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<FilterOptions>,
    threads: usize,
    warmup: u32,
    repeat: u32,
}

#[derive(Serialize)]
struct Plan<'a> {
    format: u32,
    keys: &'a [&'a str],
    order: &'a str,
    seed: u64,
    pin: String,
}

fn hex(value: &impl Serialize) -> String {
    // Strings, numbers and maps with text keys: nothing that JSON cannot say.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    format!("{:032x}", xxh3_128(&bytes))
}

/// Parameters without what goes without saying: what was measured before there was more to say keeps its name.
fn said(params: &Params, (kind, phase): (Kind, Phase)) -> Params {
    let mut params = params.clone();
    params.retain(|name, value| !goes_without_saying((kind, phase), name, value));
    params
}

/// The hash of a trial. Of a worker only the file name counts, so that another checkout measures the same trial.
pub(super) fn trial(trial: &PlannedTrial, facts: &Facts) -> String {
    let worker = trial.worker.as_deref().and_then(std::path::Path::file_name);
    hex(&Trial {
        format: FORMAT,
        index: &trial.index,
        kind: trial.kind.as_str(),
        worker: worker.map(|name| name.to_string_lossy().into_owned()),
        worker_version: trial.worker_version.as_deref(),
        build: &said(&trial.build, (trial.kind, Phase::Build)),
        threads: trial.threads,
        seed: trial.seed,
        dataset: facts.dataset_fingerprint.as_deref(),
        code: &facts.code_version,
    })
}

/// The key of a measurement.
pub(super) fn search(search: &PlannedSearch, (kind, trial): (Kind, &str), warmup: u32) -> String {
    hex(&Search {
        format: FORMAT,
        trial,
        params: said(&search.params, (kind, Phase::Search)),
        k: search.k,
        workload: &search.workload,
        mode: search.mode.as_str(),
        filter: search.filter,
        threads: search.threads,
        warmup,
        repeat: search.repeat,
    })
}

/// The hash of a plan: its keys, whatever the order in which the file lists indexes and values.
pub(super) fn plan(trials: &[PlannedTrial], measure: &Measure) -> String {
    let mut keys: Vec<&str> =
        trials.iter().flat_map(|trial| &trial.searches).map(|search| search.key.as_str()).collect();
    keys.sort_unstable();
    let pin = match &measure.pin {
        Pin::Auto => "auto".to_owned(),
        Pin::None => "none".to_owned(),
        Pin::Cores(cores) => format!("{cores:?}"),
    };
    hex(&Plan { format: FORMAT, keys: &keys, order: measure.order.as_str(), seed: measure.seed, pin })
}

//! The plan of an experiment about stores: its trials, their hashes, their order, and the room that they need.
//!
//! A *trial* is one store with one element on one data set under one workload with the parameters that need a process of
//! their own; it answers one or several *points*, and each repeat of it is another process in another folder. What a store
//! does not offer is counted in [`StorePlan::rejected`], never dropped.

mod render;

use std::collections::BTreeMap;

use nearlab_reports::record::{Params, Rejected};
use rand_pcg::Pcg64;
use serde::Serialize;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::plan::order::shuffle;
use crate::spec::{Diagnostic, Order, Pin, SpecError, StoreEntry, StoreKind, StoreMode, StoreSpec, StoreWorkload};

/// Version of what is hashed.
const FORMAT: u32 = 1;
/// Bytes beside the rows: logs, manifests, samples, what a file system keeps for itself.
const BESIDE: u64 = 64 << 20;
/// Bytes on the disk of a record of a `filter` workload: redb with an index per field takes the most.
const RECORD_BYTES: u64 = 400;
/// Most processes that one experiment may start.
const MOST: usize = 100_000;

/// What is known about one data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreFacts {
    /// Name.
    pub name: String,
    /// Base vectors; `None` before the data is prepared.
    pub n: Option<u64>,
    /// Dimensions.
    pub d: Option<u64>,
    /// SHA-256 of the decoded vectors.
    pub sha256: String,
}

/// Every trial of an experiment about stores.
#[derive(Debug, Clone, PartialEq)]
pub struct StorePlan {
    /// Hash of every trial, repeats, order and pinning: a run resumes only under the same hash.
    pub spec_hash: String,
    /// The trials, as written: by data set, workload, parameters, store.
    pub trials: Vec<PlannedStore>,
    /// (position in `trials`, repeat), in measuring order.
    pub schedule: Vec<(usize, u32)>,
    /// Points that a store does not offer.
    pub rejected: Vec<Rejected>,
    /// What is legal but probably a mistake.
    pub warnings: Vec<String>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStore {
    /// Hash of (store, kind, worker, element, data set, workload, parameters, code).
    pub hash: String,
    /// Position of the data set; `None` for mode `filter`.
    pub dataset: Option<usize>,
    /// Position of the store.
    pub store: usize,
    /// What [`Versions::workers`] says of it: what answers later is held to this.
    pub worker_version: Option<String>,
    /// Position of the workload.
    pub workload: usize,
    /// `f32` or `f16`; `None` for mode `filter`.
    pub element: Option<String>,
    /// Parameters of the trial.
    pub params: Params,
    /// What each of its points is, the trial's parameters included.
    pub points: Vec<Params>,
    /// Bytes of disk that it needs at once; `None` while the data set is not known.
    pub disk_bytes: Option<u64>,
}

impl PlannedStore {
    /// The name of one measurement of it.
    pub fn key(&self, repeat: u32) -> String {
        format!("{}-{repeat}", self.hash)
    }
}

impl StorePlan {
    /// Measurements: points of every repeat.
    pub fn measurements(&self) -> usize {
        self.schedule.iter().map(|(trial, _)| self.trials[*trial].points.len()).sum()
    }

    /// Bytes of disk that the largest trial needs: trials follow each other, and each one's folder goes with it.
    pub fn disk_bytes(&self) -> Option<u64> {
        self.trials.iter().filter_map(|trial| trial.disk_bytes).max()
    }

    /// The plan as text for a terminal.
    pub fn render(&self, spec: &StoreSpec, facts: &[StoreFacts]) -> String {
        render::text(self, spec, facts)
    }
}

/// Expands an experiment. `facts` are those of its data sets; the default where nothing is known.
pub fn expand(spec: &StoreSpec, facts: &[StoreFacts], versions: &Versions) -> Result<StorePlan, SpecError> {
    let mut plan = StorePlan {
        spec_hash: String::new(),
        trials: vec![],
        schedule: vec![],
        rejected: vec![],
        warnings: spec.base.warnings.clone(),
    };
    for (workload, of) in spec.workloads.iter().enumerate() {
        let datasets: Vec<Option<usize>> =
            if of.mode == StoreMode::Filter { vec![None] } else { (0..spec.datasets.len()).map(Some).collect() };
        for dataset in datasets {
            for (store, entry) in spec.stores.iter().enumerate() {
                add(&mut plan, entry, of, (dataset, store, workload));
            }
        }
    }
    for (at, entry) in spec.stores.iter().enumerate() {
        if !plan.trials.iter().any(|trial| trial.store == at) {
            let nothing = Diagnostic::new(entry.place, format!("no point of `{}` is left", entry.name))
                .expected("a workload of a mode and a durability that the store offers");
            return Err(SpecError::invalid(&spec.base.path, &spec.base.yaml, vec![nothing]));
        }
    }
    let repeats = spec.base.measure.repeats;
    if plan.trials.len().saturating_mul(repeats as usize) > MOST {
        return Err(spec.base.error_at(spec.base.dataset.place, format!("more than {MOST} trials and repeats")));
    }
    for trial in &mut plan.trials {
        let facts = trial.dataset.and_then(|at| facts.get(at));
        trial.disk_bytes = room(trial, spec, facts);
        trial.worker_version = versions.workers.get(&spec.stores[trial.store].name).cloned();
        trial.hash = hash(trial, spec, facts, versions);
    }
    plan.schedule = schedule(plan.trials.len(), repeats, spec.base.measure.order, spec.base.measure.seed);
    plan.spec_hash = plan_hash(&plan, spec);
    for expect in &spec.expect {
        let offered = |trial: &PlannedStore| {
            let mode = spec.workloads[trial.workload].mode;
            spec.stores[trial.store].name == expect.store && expect.mode().is_none_or(|wanted| wanted == mode)
        };
        if !plan.trials.iter().any(offered) {
            plan.warnings.push(format!("expect: no point speaks to `{}`, so it cannot be met", expect.text));
        }
    }
    Ok(plan)
}

/// Texts that differ when what measures differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// nearlab's own code.
    pub code: String,
    /// By store name: of an external worker's files.
    pub workers: BTreeMap<String, String>,
}

fn params<const N: usize>(pairs: [(&str, Value); N]) -> Params {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The trials of one store under one workload on one data set, or why there are none.
fn add(
    plan: &mut StorePlan,
    entry: &StoreEntry,
    of: &StoreWorkload,
    (dataset, store, workload): (Option<usize>, usize, usize),
) {
    let reject = |plan: &mut StorePlan, mut params: Params, rule: String| {
        params.insert("workload".to_owned(), Value::from(of.name.clone()));
        let rejected = Rejected { index: entry.name.clone(), params, search: None, k: None, rule };
        if !plan.rejected.contains(&rejected) {
            plan.rejected.push(rejected);
        }
    };
    if !entry.modes.contains(&of.mode) {
        reject(plan, Params::new(), format!("it does not offer mode {}", of.mode.as_str()));
        return;
    }
    let elements: Vec<Option<String>> =
        if of.mode == StoreMode::Filter { vec![None] } else { entry.elements.iter().cloned().map(Some).collect() };
    for (params, points) in trials(of) {
        let durability = params.get("durability").and_then(Value::as_str);
        if let Some(word) = durability.filter(|word| !entry.durabilities.iter().any(|one| one.as_str() == *word)) {
            let rule = format!("it does not offer durability {word}");
            reject(plan, params, rule);
            continue;
        }
        for element in &elements {
            plan.trials.push(PlannedStore {
                hash: String::new(),
                dataset,
                store,
                worker_version: None,
                workload,
                element: element.clone(),
                params: params.clone(),
                points: points.clone(),
                disk_bytes: None,
            });
        }
    }
}

/// Parameters that need a trial of their own, and the points of each.
fn trials(of: &StoreWorkload) -> Vec<(Params, Vec<Params>)> {
    match of.mode {
        StoreMode::BulkLoad => of
            .batch
            .iter()
            .flat_map(|batch| of.durability.iter().map(move |durability| (*batch, durability.as_str())))
            .map(|(batch, durability)| params([("batch", batch.into()), ("durability", durability.into())]))
            .map(|params| (params.clone(), vec![params]))
            .collect(),
        StoreMode::PointRead => {
            vec![(Params::new(), of.batch.iter().map(|batch| params([("batch", (*batch).into())])).collect())]
        }
        StoreMode::Compaction => of
            .delete
            .iter()
            .map(|delete| {
                let point = |phase: &str| params([("delete", (*delete).into()), ("phase", phase.into())]);
                (params([("delete", (*delete).into())]), vec![point("before"), point("during")])
            })
            .collect(),
        StoreMode::Reopen => of
            .after
            .iter()
            .map(|after| params([("after", after.as_str().into())]))
            .map(|params| (params.clone(), vec![params]))
            .collect(),
        StoreMode::Filter => {
            let load = params([("phase", "load".into())]);
            let filters =
                of.filters.iter().map(|text| params([("filter", text.as_str().into()), ("phase", "filter".into())]));
            vec![(Params::new(), std::iter::once(load).chain(filters).collect())]
        }
    }
}

/// Bytes of disk, generously: rows once, twice while they are compacted; a foreign store may keep them once more.
fn room(trial: &PlannedStore, spec: &StoreSpec, facts: Option<&StoreFacts>) -> Option<u64> {
    let workload = &spec.workloads[trial.workload];
    if workload.mode == StoreMode::Filter {
        return Some(workload.rows as u64 * RECORD_BYTES + BESIDE);
    }
    let element: u64 = if trial.element.as_deref() == Some("f16") { 2 } else { 4 };
    let rows = facts?.n?.saturating_mul(facts?.d?).saturating_mul(element);
    let compaction = u64::from(workload.mode == StoreMode::Compaction);
    let foreign = u64::from(spec.stores[trial.store].kind == StoreKind::External);
    Some(rows.saturating_mul(1 + compaction + foreign).saturating_mul(11) / 10 + BESIDE)
}

#[derive(Serialize)]
struct Hashed<'a> {
    format: u32,
    store: &'a str,
    kind: &'a str,
    worker: Option<String>,
    worker_version: Option<&'a str>,
    element: Option<&'a str>,
    dataset: Option<&'a str>,
    workload: &'a str,
    mode: &'a str,
    params: &'a Params,
    points: &'a [Params],
    ids: usize,
    rows: usize,
    warmup: u32,
    seed: u64,
    code: &'a str,
}

fn hash(trial: &PlannedStore, spec: &StoreSpec, facts: Option<&StoreFacts>, versions: &Versions) -> String {
    let (entry, workload) = (&spec.stores[trial.store], &spec.workloads[trial.workload]);
    let worker = entry.worker.as_deref().and_then(std::path::Path::file_name);
    hex(&Hashed {
        format: FORMAT,
        store: &entry.name,
        kind: entry.kind.as_str(),
        worker: worker.map(|name| name.to_string_lossy().into_owned()),
        worker_version: trial.worker_version.as_deref(),
        element: trial.element.as_deref(),
        dataset: facts.map(|facts| facts.sha256.as_str()),
        workload: &workload.name,
        mode: workload.mode.as_str(),
        params: &trial.params,
        points: &trial.points,
        ids: workload.ids,
        rows: workload.rows,
        warmup: spec.base.measure.warmup,
        seed: spec.base.measure.seed,
        code: &versions.code,
    })
}

fn plan_hash(plan: &StorePlan, spec: &StoreSpec) -> String {
    let mut hashes: Vec<&str> = plan.trials.iter().map(|trial| trial.hash.as_str()).collect();
    hashes.sort_unstable();
    let measure = &spec.base.measure;
    let pin = match &measure.pin {
        Pin::Auto => "auto".to_owned(),
        Pin::None => "none".to_owned(),
        Pin::Cores(cores) => format!("{cores:?}"),
    };
    hex(&(FORMAT, hashes, measure.repeats, measure.order.as_str(), measure.seed, pin))
}

fn hex(value: &impl Serialize) -> String {
    // Strings, numbers and maps with text keys: nothing that JSON cannot say.
    format!("{:032x}", xxh3_128(&serde_json::to_vec(value).unwrap_or_default()))
}

/// Interleaved: rounds of one repeat each, every round in a seeded order of its own. Shuffled: one seeded order of all.
fn schedule(trials: usize, repeats: u32, order: Order, seed: u64) -> Vec<(usize, u32)> {
    let mut schedule: Vec<(usize, u32)> = match order {
        Order::Sequential => (0..trials).flat_map(|trial| (0..repeats).map(move |repeat| (trial, repeat))).collect(),
        _ => (0..repeats).flat_map(|repeat| (0..trials).map(move |trial| (trial, repeat))).collect(),
    };
    let mut random = Pcg64::new(u128::from(seed), u128::from(FORMAT));
    match order {
        Order::Sequential => {}
        Order::Shuffled => shuffle(&mut schedule, &mut random),
        Order::Interleaved => schedule.chunks_mut(trials.max(1)).for_each(|round| shuffle(round, &mut random)),
    }
    schedule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_measures_each_repeat_of_each_trial_once() {
        for order in [Order::Sequential, Order::Shuffled, Order::Interleaved] {
            let mut found = schedule(5, 3, order, 1);
            assert_eq!(found, schedule(5, 3, order, 1), "{order:?}");
            if order == Order::Interleaved {
                assert!(found.chunks(5).enumerate().all(|(at, round)| round.iter().all(|(_, r)| *r == at as u32)));
                assert_ne!(schedule(5, 3, order, 2), found);
            }
            found.sort_unstable();
            let all: Vec<_> = (0..5).flat_map(|trial| (0..3).map(move |repeat| (trial, repeat))).collect();
            assert_eq!(found, all, "{order:?}");
        }
        assert!(schedule(0, 3, Order::Interleaved, 1).is_empty());
    }
}

//! The end of a run: expectations judged, tables and report written.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use nearlab_reports::{
    format,
    record::{Build, Event, Expectation, ExpectationOutcome, Finished, Search},
    run::RunData,
    summary::Summary,
    table::Table,
};

use super::{
    End, RunError,
    folder::{FolderError, RunFolder},
    session::Session,
};
use crate::{
    environment,
    plan::{Plan, PlannedSearch, PlannedTrial},
    spec::Expect,
};

/// Records the end of the run and writes what is derived from it.
pub(super) fn finish(session: &mut Session<'_>) -> Result<End, RunError> {
    let folder = session.folder;
    let measured = load(folder)?;
    let expectations = judge(&session.spec.expect, session.plan, &measured);
    session.journal.record(&Event::Finished(Finished {
        finished: Timestamp::now().to_string(),
        load_after: environment::load(),
        steal_ticks_after: environment::steal_ticks(),
        expectations: expectations.clone(),
    }))?;
    complete(folder, load(folder)?, false, session.report)
}

/// A run that was complete before: its report is written again, nothing else.
pub(super) fn already_complete(folder: &RunFolder, recorded: &RunData, report: bool) -> Result<End, RunError> {
    complete(folder, recorded.clone(), true, report)
}

fn complete(folder: &RunFolder, run: RunData, already: bool, report: bool) -> Result<End, RunError> {
    let expectations = run.finished.as_ref().map(|finished| finished.expectations.clone()).unwrap_or_default();
    let (report, summary) = render_tables(run, folder.path(), report)?;
    Ok(End::Complete { already, report, summary, expectations })
}

/// Writes tables and report of a run into its folder, if they are wanted; the report's path, and the summary as text.
pub(crate) fn render_tables(run: RunData, folder: &Path, wanted: bool) -> Result<(Option<PathBuf>, String), RunError> {
    let runs = [run];
    let summary = Summary::of(&runs).to_text();
    let report = if wanted {
        Table::of(&runs).write(folder).map_err(|error| RunError::Report(error.to_string()))?;
        Some(render(&runs, &folder.join("report"))?)
    } else {
        None
    };
    Ok((report, summary))
}

/// Renders the report of one or several runs into `out`; the path of `index.html`.
pub fn render(runs: &[RunData], out: &Path) -> Result<PathBuf, RunError> {
    let rendered = nearlab_reports::render(runs, out).map_err(|error| RunError::Report(error.to_string()))?;
    Ok(rendered.html)
}

fn load(folder: &RunFolder) -> Result<RunData, RunError> {
    Ok(RunData::load(folder.path()).map_err(FolderError::from)?)
}

/// Judges every `expect` rule on what was measured.
fn judge(expects: &[Expect], plan: &Plan, run: &RunData) -> Vec<Expectation> {
    let planned: HashMap<&str, (&PlannedTrial, &PlannedSearch)> = plan
        .trials
        .iter()
        .flat_map(|trial| trial.searches.iter().map(move |search| (search.key.as_str(), (trial, search))))
        .collect();
    let rows: Vec<Measured<'_>> = run
        .searches
        .iter()
        .enumerate()
        .filter_map(|(number, search)| {
            let &(trial, point) = planned.get(search.key.as_str())?;
            Some(Measured { trial, point, search, build: run.build_of(number) })
        })
        .collect();
    expects.iter().map(|expect| judge_one(expect, &rows)).collect()
}

/// One measured row and where it stands in the plan.
struct Measured<'a> {
    trial: &'a PlannedTrial,
    point: &'a PlannedSearch,
    search: &'a Search,
    build: Option<&'a Build>,
}

fn judge_one(expect: &Expect, rows: &[Measured<'_>]) -> Expectation {
    let selected: Vec<&Measured<'_>> = rows.iter().filter(|row| expect.selects(&row.trial.row(row.point))).collect();
    let values: Vec<(f64, &Measured<'_>)> =
        selected.iter().filter_map(|row| Some((metric(&expect.metric, row)?, *row))).collect();
    let (outcome, found) = if values.is_empty() {
        let why = if selected.is_empty() { "no row matches" } else { "no matching row has this value" };
        (ExpectationOutcome::NoData, why.to_owned())
    } else {
        let broken: Vec<&(f64, &Measured<'_>)> = values.iter().filter(|(value, _)| !expect.holds(*value)).collect();
        match broken.first() {
            None => (ExpectationOutcome::Met, range(&values)),
            Some((value, row)) => {
                let params = format::all_params(&row.trial.build, &row.point.params);
                let (bad, all) = (broken.len(), values.len());
                let found = format!("{} with {params} ({bad} of {all} rows)", format::number(*value));
                (ExpectationOutcome::NotMet, found)
            }
        }
    };
    Expectation { rule: expect.text.clone(), outcome, found }
}

fn range(values: &[(f64, &Measured<'_>)]) -> String {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &(value, _)| (low.min(value), high.max(value)));
    let rows = format::plural(values.len() as u64, "row", "rows");
    if low == high {
        format!("{} ({rows})", format::number(low))
    } else {
        format!("{} to {} ({rows})", format::number(low), format::number(high))
    }
}

/// The value of a metric of [`crate::spec::METRICS`]; `None` where the row has none.
fn metric(name: &str, row: &Measured<'_>) -> Option<f64> {
    let search = row.search;
    let nanoseconds = |field: fn(&nearlab_reports::record::Latency) -> f64| search.latency_ns.as_ref().map(field);
    let counter =
        |field: fn(&nearlab_reports::record::Counters) -> u64| search.counters.as_ref().map(|c| field(c) as f64);
    match name {
        "recall" | "recall_strict" => Some(search.recall.strict),
        "recall_ties" => Some(search.recall.ties),
        "recall_annb" => Some(search.recall.annb),
        "recall_min" => Some(search.recall.min),
        "recall_p5" => Some(search.recall.p5),
        "relative_error" => search.recall.relative_error,
        "qps" => Some(search.qps),
        "latency_ns_mean" => nanoseconds(|latency| latency.mean),
        "latency_ns_p50" => nanoseconds(|latency| latency.p50 as f64),
        "latency_ns_p90" => nanoseconds(|latency| latency.p90 as f64),
        "latency_ns_p95" => nanoseconds(|latency| latency.p95 as f64),
        "latency_ns_p99" => nanoseconds(|latency| latency.p99 as f64),
        "latency_ns_p999" => nanoseconds(|latency| latency.p999 as f64),
        "latency_ns_max" => nanoseconds(|latency| latency.max as f64),
        "wall_seconds" => Some(search.wall_seconds),
        "cpu_seconds" => Some(search.cpu_seconds),
        "distance_computations" => counter(|counters| counters.distance_computations),
        "hops" => counter(|counters| counters.hops),
        "lists_probed" => counter(|counters| counters.lists_probed),
        "bytes_read" => counter(|counters| counters.bytes_read),
        "build_seconds" => row.build.map(|build| build.build_seconds),
        "build_cpu_seconds" => row.build.map(|build| build.cpu_seconds),
        "index_bytes" => row.build.and_then(|build| build.index_bytes).map(|bytes| bytes as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::METRICS;
    use nearlab_reports::record::{Counters, Latency, Recall};

    #[test]
    fn every_metric_that_an_expectation_may_name_has_a_value() {
        let point: PlannedSearch = planned();
        let trial = PlannedTrial {
            hash: "t".into(),
            index: "hnsw".into(),
            kind: crate::spec::Kind::Hnsw,
            worker: None,
            worker_version: None,
            build: std::collections::BTreeMap::default(),
            threads: 1,
            seed: 1,
            searches: vec![],
            cost: crate::plan::Cost::default(),
            written: 0,
        };
        let (search, build) = (search(), build());
        let row = Measured { trial: &trial, point: &point, search: &search, build: Some(&build) };
        for name in METRICS {
            assert!(metric(name, &row).is_some(), "{name}");
        }
        assert_eq!(metric("recall_at_10", &row), None);
    }

    fn planned() -> PlannedSearch {
        PlannedSearch {
            key: "k".into(),
            params: std::collections::BTreeMap::default(),
            k: 1,
            workload: "w".into(),
            mode: crate::spec::Mode::Latency,
            filter: None,
            threads: 1,
            repeat: 0,
            order: 0,
            seconds: None,
            written: 0,
        }
    }

    fn search() -> Search {
        Search {
            key: "k".into(),
            trial: "t".into(),
            index: "hnsw".into(),
            kind: "hnsw".into(),
            build: std::collections::BTreeMap::default(),
            params: std::collections::BTreeMap::default(),
            k: 1,
            workload: "w".into(),
            mode: "latency".into(),
            filter: None,
            threads: 1,
            repeat: 0,
            order: 0,
            queries: 1,
            wall_seconds: 1.0,
            qps: 1.0,
            cpu_seconds: 1.0,
            latency_ns: Some(Latency { mean: 1.0, p50: 1, p90: 1, p95: 1, p99: 1, p999: 1, max: 1 }),
            recall: Recall { strict: 1.0, ties: 1.0, annb: 1.0, min: 1.0, p5: 1.0, relative_error: Some(0.0), hits: 1 },
            counters: Some(Counters::default()),
            faults_major: 0,
            faults_minor: 0,
            ids_file: String::new(),
            latencies_file: None,
        }
    }

    fn build() -> Build {
        Build {
            trial: "t".into(),
            index: "hnsw".into(),
            kind: "hnsw".into(),
            params: std::collections::BTreeMap::default(),
            threads: 1,
            seed: 1,
            library: "l".into(),
            simd_tier: None,
            build_seconds: 1.0,
            stages: nearlab_reports::record::StageSeconds::default(),
            cpu_seconds: 1.0,
            peak_rss_anon_bytes: None,
            peak_rss_file_bytes: None,
            memory: std::collections::BTreeMap::default(),
            index_bytes: Some(1),
            digest: None,
            counters: None,
        }
    }
}

//! What a report says, in the order in which it says it, before it becomes HTML or Markdown.
//!
//! Both renderings take their words and tables from here, so they cannot disagree.

use std::path::Path;

use crate::{
    environment, filtered, format,
    grid::Grid,
    plots,
    points::{self, Point, Setting},
    record::{ExpectationOutcome, Outcome},
    run::RunData,
    storage,
    summary::Summary,
    table,
};

mod profiles;
mod tables;

pub(crate) use profiles::ProfileContent;
pub(crate) use profiles::climb;
pub(crate) use tables::quoted;

/// A whole report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    /// Name of the experiment or experiments.
    pub(crate) title: String,
    /// The question; several when runs of several experiments are shown together.
    pub(crate) questions: Vec<String>,
    /// One sentence.
    pub(crate) verdict: String,
    /// What the author makes of it.
    pub(crate) analysis: Vec<String>,
    /// What a reader must know before trusting a number.
    pub(crate) notes: Vec<String>,
    /// By setting.
    pub(crate) settings: Vec<SettingContent>,
    /// Workloads with filters.
    pub(crate) filtered: Vec<FilteredContent>,
    /// Of runs about stores: a heading and a table per workload.
    pub(crate) storage: Vec<(String, Grid)>,
    /// Name of the index that ratios are quoted against.
    pub(crate) baseline: Option<String>,
    /// Builds: time, memory, and what they reach.
    pub(crate) builds: Grid,
    /// The same builds as bars.
    pub(crate) bars: Vec<BuildBar>,
    /// The experiment's expectations and what was found.
    pub(crate) expectations: Grid,
    /// What did not work.
    pub(crate) failures: Grid,
    /// Excluded points with the rule that excluded them.
    pub(crate) rejected: Grid,
    /// Profiles, taken apart from timed runs.
    pub(crate) profiles: Vec<ProfileContent>,
    /// Facts about each run.
    pub(crate) runs: Vec<RunContent>,
    /// What differs from the first run's environment, when there are several.
    pub(crate) environment_differences: Grid,
    /// Every column of the results.
    pub(crate) columns: Grid,
}

/// One run's facts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunContent {
    /// Its name.
    pub(crate) name: String,
    /// When, how often continued, how complete.
    pub(crate) progress: Grid,
    /// The command that reproduces it.
    pub(crate) command: String,
    /// The experiment as it was read.
    pub(crate) spec_yaml: String,
    /// The data set's fingerprint.
    pub(crate) dataset: Grid,
    /// The disk and the data sets of a run about stores.
    pub(crate) disk: Grid,
    /// The machine and the program.
    pub(crate) environment: Grid,
}

/// What is said about one setting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SettingContent {
    /// What was asked.
    pub(crate) setting: Setting,
    /// In words.
    pub(crate) heading: String,
    /// Best at recall >= r.
    pub(crate) best: Grid,
    /// Percentiles of the quoted points.
    pub(crate) latency: Grid,
    /// How hard the queries were: worst and 5th percentile of recall.
    pub(crate) difficulty: Grid,
    /// Work per query of the quoted points.
    pub(crate) counters: Grid,
    /// Every point.
    pub(crate) points: Grid,
}

/// What is said about one workload with filters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FilteredContent {
    /// What was asked, in words.
    pub(crate) heading: String,
    /// One sentence for each index.
    pub(crate) verdict: String,
    /// Every point.
    pub(crate) grid: Grid,
    /// Libraries that have no such search.
    pub(crate) unsupported: Vec<String>,
}

/// One build as bars.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BuildBar {
    /// Index.
    pub(crate) name: String,
    /// Parameters in words.
    pub(crate) params: String,
    /// Build time in words, and its share of the longest.
    pub(crate) seconds: (String, f64),
    /// Index size in words, and its share of the largest; `None` when the index does not say.
    pub(crate) bytes: Option<(String, f64)>,
}

/// Gathers everything. `out_folder` is where the report will lie: links are relative to it.
pub(crate) fn gather(runs: &[RunData], points: &[Point<'_>], out_folder: &Path) -> Content {
    let summary = Summary::of(runs);
    let mut experiments: Vec<&str> = runs.iter().map(|run| run.session().experiment.as_str()).collect();
    experiments.dedup();
    let settings = points::settings(points)
        .into_iter()
        .zip(&summary.settings)
        .map(|(setting, short)| {
            let of_setting: Vec<&Point<'_>> = points.iter().filter(|point| point.setting == setting).collect();
            let quoted = quoted(runs, &of_setting);
            SettingContent {
                heading: setting.describe(summary.several_datasets()),
                best: short.grid(summary.baseline.as_deref()),
                latency: tables::latency(runs, &quoted),
                difficulty: tables::difficulty(runs, &quoted),
                counters: tables::counters(runs, &quoted),
                points: tables::points(runs, &of_setting),
                setting,
            }
        })
        .collect();
    let filtered = filtered::gather(runs, points)
        .iter()
        .map(|one| FilteredContent {
            heading: one.heading(),
            verdict: one.verdict(runs),
            grid: one.grid(runs),
            unsupported: one.unsupported().to_vec(),
        })
        .collect();
    Content {
        title: experiments.join(", "),
        questions: distinct(runs.iter().map(|run| run.session().question.clone())),
        analysis: distinct(runs.iter().filter_map(|run| run.session().analysis.clone())),
        notes: notes(runs, &summary),
        settings,
        filtered,
        builds: tables::builds(runs, points),
        bars: bars(runs),
        expectations: tables::expectations(runs),
        failures: tables::failures(runs),
        rejected: tables::rejected(runs),
        profiles: profiles::gather(runs, out_folder),
        runs: (0..runs.len()).map(|at| run_content(runs, at)).collect(),
        environment_differences: tables::environment_differences(runs),
        columns: if storage::is_storage(runs) { storage::describe() } else { table::describe() },
        storage: summary.storage,
        verdict: summary.verdict,
        baseline: summary.baseline,
    }
}

fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for text in texts {
        let text = text.trim().to_owned();
        if !text.is_empty() && !out.contains(&text) {
            out.push(text);
        }
    }
    out
}

fn notes(runs: &[RunData], summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let name = if runs.len() == 1 { "The run".to_owned() } else { points::run_name(runs, at) };
        let (done, planned) = ((run.searches.len() + run.stored.len()) as u64, run.session().planned_searches);
        if run.finished.is_none() {
            let (done, planned) = (format::count(done), format::count(planned));
            let what = if run.storage.is_some() { "measurements" } else { "searches" };
            notes.push(format!("{name} is not finished: {done} of {planned} {what} are on record."));
        }
        if run.foreign_sessions().next().is_some() {
            notes.push(format!("{name} was measured in sessions on different machines or programs."));
        }
        let expectations = run.finished.iter().flat_map(|finished| &finished.expectations);
        let unmet = expectations.filter(|one| one.outcome != ExpectationOutcome::Met).count() as u64;
        if unmet > 0 {
            notes.push(format!("{name}: {} not met.", format::plural(unmet, "expectation is", "expectations are")));
        }
        let same = match (&runs[0].dataset, &run.dataset) {
            (Some(first), Some(other)) => first.asks_as(other),
            (first, other) => first.is_none() && other.is_none(),
        };
        if !same {
            notes.push(format!("{name} used other data than {}.", points::run_name(runs, 0)));
        }
    }
    if runs.len() > 1 && runs.iter().any(|run| run.environment().id != runs[0].environment().id) {
        notes.push("The runs were measured on different machines or programs; see Environment.".to_owned());
    }
    if !summary.missing.is_empty() {
        notes.push(format!("Not installed, and so not measured: {}.", summary.missing.join(", ")));
    }
    let others = runs.iter().flat_map(|run| &run.failures);
    let failed =
        others.filter(|failure| !matches!(failure.outcome, Outcome::Missing | Outcome::Unsupported)).count() as u64;
    if failed > 0 {
        notes.push(format!(
            "{}; see Failures.",
            format::plural(failed, "build or search failed", "builds or searches failed")
        ));
    }
    notes
}

fn run_content(runs: &[RunData], at: usize) -> RunContent {
    let run = &runs[at];
    let session = run.session();
    let mut progress = Grid::new(&["fact", "value"]);
    let mut fact = |name: &str, value: String| progress.push(vec![name.to_owned(), value]);
    fact("run", session.run_id.clone());
    fact("plan hash", session.spec_hash.clone());
    fact("started", run.runs[0].started.clone());
    let finished = match (&run.finished, run.end()) {
        (None, _) => "not yet".to_owned(),
        (Some(_), Some(end)) => end.finished.clone(),
        (Some(_), None) => "not on record: the last session that measured was cut off".to_owned(),
    };
    fact("finished", finished);
    run.judged().into_iter().for_each(|end| fact("judged", end.finished.clone()));
    fact("sessions", run.runs.len().to_string());
    let (done, planned) = ((run.searches.len() + run.stored.len()) as u64, session.planned_searches);
    let what = if run.storage.is_some() { "points measured, repeats counted" } else { "searches measured" };
    fact(what, format!("{} of {}", format::count(done), format::count(planned)));
    if run.storage.is_none() {
        let built = plots::builds(&runs[at..=at]).len() as u64;
        fact("indexes built", format!("{} of {}", format::count(built), format::count(session.planned_builds)));
    }
    if let Some(end) = run.end() {
        let load = |load: [f64; 3]| format!("{:.2} {:.2} {:.2}", load[0], load[1], load[2]);
        end.load_after.into_iter().for_each(|after| fact("load after", load(after)));
        let before = run.environment().steal_ticks_before;
        if let Some((before, after)) = before.zip(end.steal_ticks_after) {
            fact("ticks stolen in the last session that measured", format::count(after.saturating_sub(before)));
        }
    }
    let mut machine = Grid::new(&["fact", "value"]);
    for (name, value) in environment::rows(run.environment()) {
        machine.push(vec![name.to_owned(), value]);
    }
    RunContent {
        name: points::run_name(runs, at),
        progress,
        command: session.command.join(" "),
        spec_yaml: session.spec_yaml.clone(),
        dataset: tables::dataset(run),
        disk: storage::disk(run),
        environment: machine,
    }
}

fn bars(runs: &[RunData]) -> Vec<BuildBar> {
    let builds = plots::builds(runs);
    let longest = builds.iter().map(|(_, build)| build.build_seconds).fold(f64::MIN_POSITIVE, f64::max);
    let largest = builds.iter().filter_map(|(_, build)| build.index_bytes).max().unwrap_or(1).max(1) as f64;
    builds
        .into_iter()
        .map(|(run, build)| BuildBar {
            name: points::subject_name(runs, run, &build.index),
            params: format::params(&build.params),
            seconds: (format::seconds(build.build_seconds), build.build_seconds / longest),
            bytes: build.index_bytes.map(|bytes| (format::bytes(bytes as f64), bytes as f64 / largest)),
        })
        .collect()
}

//! The short answer of a run: which index is fastest at which recall, and how it stands to the baseline.
//!
//! "Best at recall >= r" is the measured point with the highest median QPS among those that reach r; nothing is
//! interpolated. A ratio compares two such points, which may lie at different recalls above r; the *estimate* beside it
//! is interpolated between measured points to exactly r, and labelled so wherever it is shown.

use std::fmt::Write as _;

use crate::{
    filtered, format,
    grid::Grid,
    points::{self, Point, Setting},
    record::{Outcome, Params},
    run::RunData,
    stats::{Better, Spread, best_at, interpolate},
    storage,
};

/// The recall levels that are quoted.
pub const LEVELS: [f64; 3] = [0.90, 0.95, 0.99];

/// The short answer to one or several runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// One sentence.
    pub verdict: String,
    /// Name of the index that ratios are quoted against.
    pub baseline: Option<String>,
    /// One answer per setting.
    pub settings: Vec<SettingSummary>,
    /// Workloads with filters: heading, verdict and every point.
    pub filtered: Vec<(String, String, Grid)>,
    /// Of runs about stores: a heading and a table per workload.
    pub storage: Vec<(String, Grid)>,
    /// Things that did not work and were not made up for; what a library does not have is not among them.
    pub failures: usize,
    /// Indexes whose library is not installed, a part of `failures`.
    pub missing: Vec<String>,
    /// Points that a rule excluded.
    pub rejected: usize,
}

/// The short answer under one setting.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingSummary {
    /// What was asked.
    pub setting: Setting,
    /// Level by level; the fastest first, who does not reach the level last.
    pub rows: Vec<Row>,
}

/// One index at one recall level.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Recall to be reached.
    pub level: f64,
    /// Index name, with its run's name when there are several.
    pub index: String,
    /// The fastest point that reaches it; `None` when none does.
    pub best: Option<Best>,
    /// Median QPS / the baseline's; `None` without one of the two.
    pub ratio: Option<f64>,
    /// The same ratio, both sides interpolated to exactly `level`: an estimate.
    pub ratio_estimate: Option<f64>,
}

/// A point that was found best.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Its strict recall.
    pub recall: f64,
    /// Its queries per second.
    pub qps: Spread,
    /// Median latency in nanoseconds, where single queries were timed.
    pub p50_ns: Option<f64>,
    /// 99th percentile in nanoseconds.
    pub p99_ns: Option<f64>,
    /// Build parameters.
    pub build: Params,
    /// Search parameters.
    pub params: Params,
    /// Seconds to build its index.
    pub build_seconds: Option<f64>,
    /// Bytes its index takes, by its own account.
    pub index_bytes: Option<u64>,
}

impl Best {
    fn of(point: &Point<'_>) -> Self {
        Self {
            recall: point.recall,
            qps: point.qps,
            p50_ns: point.p50().map(|spread| spread.median),
            p99_ns: point.p99().map(|spread| spread.median),
            build: point.build.clone(),
            params: point.params.clone(),
            build_seconds: point.built.map(|build| build.build_seconds),
            index_bytes: point.built.and_then(|build| build.index_bytes),
        }
    }
}

impl Summary {
    /// Of one or several runs; the baseline is the first run's.
    pub fn of(runs: &[RunData]) -> Self {
        let about_stores = storage::is_storage(runs);
        let baseline = runs.first().and_then(|run| run.baseline()).map(|index| points::subject_name(runs, 0, index));
        let points = points::gather(runs);
        let settings: Vec<SettingSummary> = points::settings(&points)
            .into_iter()
            .map(|setting| {
                let of_setting: Vec<&Point<'_>> = points.iter().filter(|point| point.setting == setting).collect();
                let rows = rows(runs, &of_setting, baseline.as_deref());
                SettingSummary { setting, rows }
            })
            .collect();
        let filtered: Vec<(String, String, Grid)> = filtered::gather(runs, &points)
            .iter()
            .map(|one| (one.heading(), one.verdict(runs), one.grid(runs)))
            .collect();
        let verdict = match (settings.is_empty(), filtered.first()) {
            (true, Some((_, verdict, _))) => format!("Among what matches a filter: {verdict}"),
            _ => verdict(&settings, baseline.as_deref()),
        };
        let failures =
            runs.iter().flat_map(|run| &run.failures).filter(|failure| failure.outcome != Outcome::Unsupported);
        let mut missing: Vec<String> = failures
            .clone()
            .filter(|failure| failure.outcome == Outcome::Missing)
            .map(|failure| failure.index.clone())
            .collect();
        missing.sort();
        missing.dedup();
        Self {
            verdict: if about_stores { storage::verdict(runs) } else { verdict },
            baseline: if about_stores { runs.first().and_then(storage::baseline).map(str::to_owned) } else { baseline },
            settings,
            filtered,
            storage: storage::tables(runs),
            failures: failures.count(),
            missing,
            rejected: runs.iter().map(|run| run.rejected.len()).sum(),
        }
    }

    /// The verdict, and one table per setting, for a terminal.
    pub fn to_text(&self) -> String {
        let mut out = format!("{}\n", self.verdict);
        let datasets = self.several_datasets();
        for setting in &self.settings {
            let heading = setting.setting.describe(datasets);
            let _ =
                write!(out, "\nBest at recall >= r: {heading}\n{}", setting.grid(self.baseline.as_deref()).to_text());
        }
        for (heading, verdict, grid) in &self.filtered {
            let _ = write!(out, "\nFiltered: {heading}\n{}", grid.to_text());
            if !self.settings.is_empty() {
                let _ = writeln!(out, "{verdict}");
            }
        }
        for (heading, grid) in &self.storage {
            let _ = write!(out, "\n{heading}\n{}", grid.to_text());
        }
        let mut notes = Vec::new();
        if self.failures > 0 {
            notes.push(format::plural(self.failures as u64, "failure", "failures"));
        }
        if self.rejected > 0 {
            notes.push(format::plural(self.rejected as u64, "rejected point", "rejected points"));
        }
        if !self.missing.is_empty() {
            notes.push(format!("not installed: {}", self.missing.join(", ")));
        }
        if !notes.is_empty() {
            let _ = write!(out, "\n{}\n", notes.join("; "));
        }
        out
    }

    /// Whether settings need their data set named.
    pub fn several_datasets(&self) -> bool {
        self.settings.windows(2).any(|pair| pair[0].setting.dataset != pair[1].setting.dataset)
    }
}

impl SettingSummary {
    /// The table "best at recall >= r".
    pub fn grid(&self, baseline: Option<&str>) -> Grid {
        let against = format!("#× {}", baseline.unwrap_or("baseline"));
        let estimate = "#× at r (interpolated)";
        let mut grid = Grid::new(&[
            "#recall >=",
            "index",
            "#recall",
            "#QPS median",
            "#QPS min–max",
            &against,
            estimate,
            "#p50",
            "#p99",
            "#build",
            "#index size",
            "parameters",
        ]);
        for row in &self.rows {
            let mut cells = vec![format!("{:.2}", row.level), row.index.clone()];
            let dash = || "–".to_owned();
            match &row.best {
                None => {
                    cells.push("not reached".to_owned());
                    cells.resize(grid.head.len(), dash());
                }
                Some(best) => cells.extend([
                    format::recall(best.recall),
                    format::number(best.qps.median),
                    format!("{}–{}", format::number(best.qps.min), format::number(best.qps.max)),
                    row.ratio.map_or_else(dash, format::ratio),
                    row.ratio_estimate.map_or_else(dash, format::ratio),
                    best.p50_ns.map_or_else(dash, format::nanoseconds),
                    best.p99_ns.map_or_else(dash, format::nanoseconds),
                    best.build_seconds.map_or_else(dash, format::seconds),
                    best.index_bytes.map_or_else(dash, |bytes| format::bytes(bytes as f64)),
                    format::all_params(&best.build, &best.params),
                ]),
            }
            grid.push(cells);
        }
        grid.without_empty_columns()
    }
}

/// The fastest point of `points` that reaches `level`.
pub fn best<'p, 'a>(points: &[&'p Point<'a>], level: f64) -> Option<&'p Point<'a>> {
    let pairs: Vec<(f64, f64)> = points.iter().map(|point| (point.recall, point.qps.median)).collect();
    best_at(&pairs, level, Better::Higher).map(|at| points[at])
}

/// `points` by index (and run), in their order.
pub fn by_subject<'p, 'a>(runs: &[RunData], points: &[&'p Point<'a>]) -> Vec<(String, Vec<&'p Point<'a>>)> {
    let mut subjects: Vec<(String, Vec<&Point<'_>>)> = Vec::new();
    for point in points {
        let name = points::subject_name(runs, point.run, point.index);
        match subjects.iter_mut().find(|(known, _)| *known == name) {
            Some((_, list)) => list.push(point),
            None => subjects.push((name, vec![point])),
        }
    }
    subjects
}

fn rows(runs: &[RunData], points: &[&Point<'_>], baseline: Option<&str>) -> Vec<Row> {
    let subjects = by_subject(runs, points);
    let base = subjects.iter().find(|(name, _)| Some(name.as_str()) == baseline);
    let estimate = |points: &[&Point<'_>], level| {
        let pairs: Vec<(f64, f64)> = points.iter().map(|point| (point.recall, point.qps.median)).collect();
        interpolate(&pairs, level, Better::Higher)
    };
    let mut rows: Vec<Row> = Vec::new();
    for level in LEVELS {
        let base_best = base.and_then(|(_, points)| best(points, level)).map(|point| point.qps.median);
        let base_estimate = base.and_then(|(_, points)| estimate(points, level));
        for (index, points) in &subjects {
            let best = best(points, level).map(Best::of);
            let ratio = best.as_ref().zip(base_best).map(|(best, base)| best.qps.median / base);
            let ratio_estimate = estimate(points, level).zip(base_estimate).map(|(own, base)| own / base);
            rows.push(Row { level, index: index.clone(), best, ratio, ratio_estimate });
        }
        let of_level = rows.len() - subjects.len();
        let speed = |row: &Row| row.best.as_ref().map_or(f64::NEG_INFINITY, |best| best.qps.median);
        rows[of_level..].sort_by(|a, b| speed(b).total_cmp(&speed(a)));
    }
    rows
}

/// One sentence on the first setting: at 0.95, else at the next level that any index reaches.
fn verdict(settings: &[SettingSummary], baseline: Option<&str>) -> String {
    let Some(first) = settings.first() else { return "Nothing was measured.".to_owned() };
    let setting = &first.setting;
    let reached = |level: f64| first.rows.iter().filter(move |row| row.level == level && row.best.is_some());
    let Some(level) = [0.95, 0.90].into_iter().find(|level| reached(*level).next().is_some()) else {
        return format!("No index reaches recall@{} 0.90 ({}).", setting.k, setting.describe(false));
    };
    let ranked: Vec<(&Row, &Best)> = reached(level).filter_map(|row| Some((row, row.best.as_ref()?))).collect();
    let (winner, best) = ranked[0];
    let mut sentence = format!(
        "At recall@{} of at least {level:.2}, {} is fastest with {} queries per second ({})",
        setting.k,
        winner.index,
        format::number(best.qps.median),
        format::all_params(&best.build, &best.params),
    );
    let others: Vec<String> = ranked[1..]
        .iter()
        .map(|(row, other)| {
            let note = if Some(row.index.as_str()) == baseline { " (baseline)" } else { "" };
            format!("{} {}{note}", format::ratio(best.qps.median / other.qps.median), row.index)
        })
        .collect();
    if !others.is_empty() {
        let _ = write!(sentence, ": {}", and_list(&others));
    }
    let missed: Vec<String> =
        first.rows.iter().filter(|row| row.level == level && row.best.is_none()).map(|row| row.index.clone()).collect();
    if !missed.is_empty() {
        let verb = if missed.len() == 1 { "does" } else { "do" };
        let _ = write!(sentence, "; {} {verb} not reach it", and_list(&missed));
    }
    sentence + "."
}

/// `a`, `a and b`, `a, b and c`.
fn and_list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

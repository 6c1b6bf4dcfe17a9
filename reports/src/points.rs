//! Repeats gathered into points, points into settings and series.
//!
//! A *point* is one index with one set of build and search parameters under one *setting*: what was asked of it (data
//! set, workload, search threads, k). Only points of one setting may be compared with each other. A *series* is a line
//! in a plot. Points that were measured with filters have settings of their own, which make no frontier: [`settings`] leaves them
//! out, and [`crate::filtered`] reads them.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::Value;

use crate::{
    format,
    record::{Build, Filter, Latency, Params, Search},
    run::RunData,
    stats::Spread,
};

/// What was asked of an index. Ordered so that one-query-at-a-time workloads come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Setting {
    /// What the data are called: see [`data_names`].
    pub dataset: String,
    /// `latency` or `throughput`.
    pub mode: String,
    /// Workload name.
    pub workload: String,
    /// Search threads.
    pub threads: u64,
    /// Neighbours asked for.
    pub k: u64,
    /// With which filters; `None`: without.
    pub filtering: Option<Filtering>,
}

/// The filters of a setting. Ordered by correlation, then by selectivity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filtering {
    /// `none`, `positive` or `negative`.
    pub correlation: String,
    /// The bits of the selectivity: in the order of the values, which are positive.
    selectivity_bits: u64,
    /// Matches of each filter.
    pub matches: u64,
    filters: u64,
    seed: u64,
}

impl Filtering {
    /// Of a record.
    pub fn of(filter: &Filter) -> Self {
        let Filter { selectivity, correlation, matches, filters, seed, near_share: _ } = filter;
        let (correlation, selectivity_bits) = (correlation.clone(), selectivity.to_bits());
        Self { correlation, selectivity_bits, matches: *matches, filters: *filters, seed: *seed }
    }

    /// Share of the base vectors that match.
    pub fn selectivity(&self) -> f64 {
        f64::from_bits(self.selectivity_bits)
    }
}

impl Setting {
    fn of(search: &Search, dataset: &str) -> Self {
        Self {
            dataset: dataset.to_owned(),
            mode: search.mode.clone(),
            workload: search.workload.clone(),
            threads: search.threads,
            k: search.k,
            filtering: search.filter.as_ref().map(Filtering::of),
        }
    }

    /// `workload single (latency), 1 thread, k 10`, with the data set where `with_dataset`.
    pub fn describe(&self, with_dataset: bool) -> String {
        let dataset = if with_dataset { format!("{}, ", self.dataset) } else { String::new() };
        let threads = format::plural(self.threads, "thread", "threads");
        let mode = if self.mode == self.workload { String::new() } else { format!(" ({})", self.mode) };
        let filters = self.filtering.as_ref().map_or_else(String::new, |filtering| {
            let share = format::trimmed(filtering.selectivity() * 100.0, 7);
            format!(", {share} % match, correlation {}", filtering.correlation)
        });
        format!("{dataset}workload {}{mode}, {threads}, k {}{filters}", self.workload, self.k)
    }

    /// A file name part: letters, digits, dashes.
    pub fn slug(&self) -> String {
        slug(&format!("{}-{}-t{}-k{}", self.dataset, self.workload, self.threads, self.k))
    }
}

/// Lower-case letters, digits and single dashes.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            out.push(character.to_ascii_lowercase());
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

/// One measured point with its repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// Position of the run among those given.
    pub run: usize,
    /// What was asked.
    pub setting: Setting,
    /// Index name.
    pub index: &'a str,
    /// Hash of the build.
    pub trial: &'a str,
    /// Build parameters.
    pub build: &'a Params,
    /// Search parameters.
    pub params: &'a Params,
    /// The build it ran on, when recorded.
    pub built: Option<&'a Build>,
    /// The repeats, in order of their number; never empty.
    pub repeats: Vec<&'a Search>,
    /// Median strict recall of the repeats.
    pub recall: f64,
    /// Queries per second over the repeats.
    pub qps: Spread,
}

impl Point<'_> {
    /// A latency figure over the repeats, in nanoseconds; `None` for workloads that do not time single queries.
    pub fn latency(&self, figure: impl Fn(&Latency) -> f64) -> Option<Spread> {
        Spread::of(self.repeats.iter().filter_map(|repeat| repeat.latency_ns.as_ref()).map(figure))
    }

    /// The 99th percentile over the repeats, in nanoseconds.
    pub fn p99(&self) -> Option<Spread> {
        self.latency(|latency| latency.p99 as f64)
    }

    /// The median latency over the repeats, in nanoseconds.
    pub fn p50(&self) -> Option<Spread> {
        self.latency(|latency| latency.p50 as f64)
    }

    /// `m 16; ef_search 40`.
    pub fn describe_params(&self) -> String {
        format::all_params(self.build, self.params)
    }
}

/// What each run's data are called, so that only runs that ask the same call them alike: by their name alone where no
/// run before has other data of that name, else `NAME as in RUN`.
pub fn data_names(runs: &[RunData]) -> Vec<String> {
    // For each run, the first that asks the same. Older records do not say everything: who asks as one of them need not
    // ask as the others that do, and so is held against all.
    let mut firsts: Vec<usize> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let alike =
            |first: &usize| (0..at).filter(|other| firsts[*other] == *first).all(|other| ask_alike(&runs[other], run));
        let known = (0..at).filter(|other| firsts[*other] == *other).find(alike);
        firsts.push(known.unwrap_or(at));
    }
    let name = |run: usize| runs[run].dataset.as_ref().map_or("", |dataset| dataset.name.as_str());
    let called = |first: usize| {
        let taken = (0..first).any(|other| name(other) == name(first));
        if taken { format!("{} as in {}", name(first), run_name(runs, first)) } else { name(first).to_owned() }
    };
    firsts.into_iter().map(called).collect()
}

fn ask_alike(a: &RunData, b: &RunData) -> bool {
    match (&a.dataset, &b.dataset) {
        (Some(a), Some(b)) => a.name == b.name && a.asks_as(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Every point of every run, ordered by setting, run, and the order in which the run first met the index.
pub fn gather(runs: &[RunData]) -> Vec<Point<'_>> {
    let names = data_names(runs);
    let mut points: Vec<Point<'_>> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (number, search) in run.searches.iter().enumerate() {
            let setting = Setting::of(search, &names[at]);
            let params = serde_json::to_string(&search.params).unwrap_or_default();
            let identity = format!("{}\n{}\n{params}\n{setting:?}", search.index, search.trial);
            let place = *known.entry(identity).or_insert_with(|| {
                points.push(Point {
                    run: at,
                    setting,
                    index: &search.index,
                    trial: &search.trial,
                    build: &search.build,
                    params: &search.params,
                    built: run.build_of(number),
                    repeats: Vec::new(),
                    recall: 0.0,
                    qps: Spread { n: 0, min: 0.0, q1: 0.0, median: 0.0, q3: 0.0, max: 0.0 },
                });
                points.len() - 1
            });
            points[place].repeats.push(search);
        }
    }
    let orders: Vec<Vec<&str>> = runs.iter().map(RunData::index_names).collect();
    for point in &mut points {
        point.repeats.sort_by_key(|repeat| repeat.repeat);
        if let Some(qps) = Spread::of(point.repeats.iter().map(|repeat| repeat.qps)) {
            point.qps = qps;
        }
        point.recall = crate::stats::median(point.repeats.iter().map(|repeat| repeat.recall.strict)).unwrap_or(0.0);
    }
    let place = |point: &Point<'_>| orders[point.run].iter().position(|name| *name == point.index);
    points.sort_by(|a, b| {
        let by_params = sortable(a).partial_cmp(&sortable(b)).unwrap_or(Ordering::Equal);
        (&a.setting, a.run, place(a)).cmp(&(&b.setting, b.run, place(b))).then(by_params)
    });
    points
}

/// Parameters in an order in which 8 comes before 16, the build's first.
fn sortable<'a>(point: &Point<'a>) -> Vec<(&'a str, f64, String)> {
    let key =
        |(name, value): (&'a String, &Value)| (name.as_str(), value.as_f64().unwrap_or(0.0), format::value(value));
    point.build.iter().chain(point.params).map(key).collect()
}

/// The settings of `points` without filters, in order.
pub fn settings(points: &[Point<'_>]) -> Vec<Setting> {
    let unfiltered = points.iter().filter(|point| point.setting.filtering.is_none());
    let mut settings: Vec<Setting> = unfiltered.map(|point| point.setting.clone()).collect();
    settings.sort();
    settings.dedup();
    settings
}

/// What one line in a plot stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesBy {
    /// Each index of each run.
    Index,
    /// Each build of each index: the sweep itself is the question.
    Build,
}

impl SeriesBy {
    /// By index, unless there is only one to show.
    pub fn choose(runs: &[RunData]) -> Self {
        let indexes: usize = runs.iter().map(|run| run.index_names().len()).sum();
        if indexes == 1 { Self::Build } else { Self::Index }
    }
}

/// A name for the series of `point`.
pub fn series_name(runs: &[RunData], point: &Point<'_>, by: SeriesBy) -> String {
    let index = subject_name(runs, point.run, point.index);
    if by == SeriesBy::Index || point.build.is_empty() {
        return index;
    }
    let words: Vec<String> =
        point.build.iter().map(|(name, value)| format!("{name}={}", format::value(value))).collect();
    format!("{index} {}", words.join(" "))
}

/// An index's name, with its run's name in front when several runs are shown together.
pub fn subject_name(runs: &[RunData], run: usize, index: &str) -> String {
    if runs.len() == 1 { index.to_owned() } else { format!("{}: {index}", run_name(runs, run)) }
}

/// The run's own name, numbered when another given run has the same.
pub fn run_name(runs: &[RunData], run: usize) -> String {
    let name = &runs[run].session().run_id;
    let same: Vec<usize> = (0..runs.len()).filter(|other| runs[*other].session().run_id == *name).collect();
    match same.iter().position(|other| *other == run) {
        Some(place) if same.len() > 1 => format!("{name} ({})", place + 1),
        _ => name.clone(),
    }
}

/// The names of all series in order of appearance: a series keeps its colour in every plot.
pub fn all_series(runs: &[RunData], points: &[Point<'_>], by: SeriesBy) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for point in points {
        let name = series_name(runs, point, by);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

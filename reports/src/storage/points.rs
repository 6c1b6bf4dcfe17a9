//! Repeats gathered into points, and how each point stands to the baseline's.
//!
//! A *point* is one store with one element under one workload with all its parameters. Its ratio is its median of rows per
//! second over that of the baseline at the same point (same data set, workload, parameters, and element where the baseline
//! has it, else f32): above 1 is faster, whatever the mode.

use crate::{
    points,
    record::{Latency, Params},
    run::RunData,
    stats::Spread,
    storage::Stored,
};

/// One point with its repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct StorePoint<'a> {
    /// Position of the run among those given.
    pub run: usize,
    /// The repeats, in the order measured; never empty.
    pub repeats: Vec<&'a Stored>,
    /// Rows per second over the repeats.
    pub rows_per_second: Spread,
    /// Wall seconds over the repeats.
    pub wall_seconds: Spread,
    /// Median of rows per second over the baseline's median; `None` without one, or for the baseline itself of another run.
    pub ratio: Option<f64>,
}

impl StorePoint<'_> {
    /// Any of the repeats: what they have in common.
    pub fn first(&self) -> &Stored {
        self.repeats[0]
    }

    /// The median over the repeats of one of their percentiles, in nanoseconds.
    pub fn latency(&self, of: impl Fn(&Latency) -> f64) -> Option<f64> {
        crate::stats::median(self.repeats.iter().filter_map(|repeat| repeat.latency_ns.as_ref()).map(of))
    }

    /// The median over the repeats of a figure.
    pub fn figure(&self, of: impl Fn(&Stored) -> Option<f64>) -> Option<f64> {
        crate::stats::median(self.repeats.iter().filter_map(|repeat| of(repeat)))
    }
}

/// The store that ratios are quoted against: the experiment's choice, else the first plain file, else the first store.
pub fn baseline(run: &RunData) -> Option<&str> {
    let chosen = run.session().baseline.as_deref();
    let plain = || run.stored.iter().find(|stored| stored.kind == "plain_file").map(|stored| stored.store.as_str());
    chosen.or_else(plain).or_else(|| run.stored.first().map(|stored| stored.store.as_str()))
}

/// All points of the runs, by data set, workload and parameters; at one point the baseline first, then as first measured.
pub fn gather(runs: &[RunData]) -> Vec<StorePoint<'_>> {
    let mut found: Vec<(usize, Vec<&Stored>)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        for stored in &run.stored {
            match found.iter_mut().find(|(other, repeats)| *other == at && same_point(repeats[0], stored)) {
                Some((_, repeats)) => repeats.push(stored),
                None => found.push((at, vec![stored])),
            }
        }
    }
    let medians: Vec<(usize, &Stored, Option<f64>)> =
        found.iter().map(|(run, repeats)| (*run, repeats[0], median(repeats))).collect();
    let mut points: Vec<StorePoint<'_>> = found
        .iter()
        .filter_map(|(run, repeats)| {
            let base = base(runs, &medians, *run, repeats[0]);
            let spread = |of: fn(&Stored) -> f64| Spread::of(repeats.iter().map(|repeat| of(repeat)));
            let rows_per_second = spread(|stored| stored.rows_per_second)?;
            Some(StorePoint {
                run: *run,
                repeats: repeats.clone(),
                rows_per_second,
                wall_seconds: spread(|stored| stored.figures.wall_seconds)?,
                ratio: base.filter(|base| *base > 0.0).map(|base| rows_per_second.median / base),
            })
        })
        .collect();
    points.sort_by_cached_key(|point| {
        let first = point.first();
        let base = baseline(&runs[point.run]) == Some(first.store.as_str());
        (place(runs, first), words(&first.params), point.run, !base, first.store.clone(), first.element.clone())
    });
    points
}

/// The points by data set and workload, each with a heading.
pub fn settings<'p, 'a>(runs: &[RunData], points: &'p [StorePoint<'a>]) -> Vec<(String, Vec<&'p StorePoint<'a>>)> {
    let mut settings: Vec<(String, Vec<&StorePoint<'_>>)> = Vec::new();
    let several = runs.iter().flat_map(|run| &run.storage).any(|head| head.datasets.len() > 1) || runs.len() > 1;
    for point in points {
        let first = point.first();
        let mode = first.mode.replace('_', " ");
        let mode = if mode == first.workload { String::new() } else { format!(" ({mode})") };
        let data = first.dataset.as_ref().filter(|_| several).map_or_else(String::new, |name| format!(", {name}"));
        let heading = format!("{}{mode}{data}", first.workload);
        match settings.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, points)) => points.push(point),
            None => settings.push((heading, vec![point])),
        }
    }
    settings
}

/// Store and run, as a row begins.
pub(crate) fn name(runs: &[RunData], point: &StorePoint<'_>) -> String {
    points::subject_name(runs, point.run, &point.first().store)
}

fn same_point(a: &Stored, b: &Stored) -> bool {
    (&a.store, &a.element) == (&b.store, &b.element) && comparable(a, b)
}

fn comparable(a: &Stored, b: &Stored) -> bool {
    (&a.dataset, &a.workload, &a.params) == (&b.dataset, &b.workload, &b.params)
}

fn median(repeats: &[&Stored]) -> Option<f64> {
    crate::stats::median(repeats.iter().map(|repeat| repeat.rows_per_second))
}

fn base(runs: &[RunData], medians: &[(usize, &Stored, Option<f64>)], run: usize, of: &Stored) -> Option<f64> {
    let name = baseline(&runs[run])?;
    let candidates =
        || medians.iter().filter(|(at, stored, _)| *at == run && stored.store == name && comparable(stored, of));
    let like = candidates().find(|(_, stored, _)| stored.element == of.element);
    like.or_else(|| candidates().find(|(_, stored, _)| stored.element.as_deref() == Some("f32")))?.2
}

/// Where a data set and a workload stand: as first measured would follow the shuffle, so as written in the head, then by
/// what a store does first.
fn place(runs: &[RunData], stored: &Stored) -> (usize, usize, String) {
    const MODES: [&str; 5] = ["bulk_load", "point_read", "compaction", "reopen", "filter"];
    let names = runs.iter().flat_map(|run| &run.storage).flat_map(|head| &head.datasets).map(|dataset| &dataset.name);
    let data =
        names.enumerate().find(|(_, name)| stored.dataset.as_ref() == Some(*name)).map_or(usize::MAX, |(at, _)| at);
    let mode = MODES.iter().position(|mode| *mode == stored.mode).unwrap_or(MODES.len());
    (mode, data, stored.workload.clone())
}

/// Parameters so that numbers sort as numbers.
fn words(params: &Params) -> Vec<(String, u64, String)> {
    params
        .iter()
        .map(|(name, value)| {
            let number = value.as_f64().map_or(0, |number| (number * 1e6) as u64);
            (name.clone(), number, crate::format::value(value))
        })
        .collect()
}

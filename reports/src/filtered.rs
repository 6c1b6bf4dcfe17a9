//! What filters cost: recall and time over selectivity, by how the matches lie to the query, beside an exact scan of the matches.
//!
//! The yardstick is the index of kind `flat` in the same run, which scores every match: whoever is slower than it among the
//! same matches would have done better without an index. Ratios are of queries per second, medians over the repeats.

use crate::{
    format,
    grid::Grid,
    points::{self, Filtering, Point, Setting},
    record::{Failure, Outcome},
    run::RunData,
};

/// Recall that a filtered search should reach.
pub const LEVEL: f64 = 0.95;

/// One workload with filters over one data set at one k.
#[derive(Debug, Clone, PartialEq)]
pub struct Filtered<'p, 'a> {
    /// What was asked, with the filters of its first cell.
    setting: Setting,
    /// The measured points, by correlation, selectivity and index.
    pub points: Vec<&'p Point<'a>>,
    /// Name of the exact scan, if the run has one.
    pub scan: Option<&'a str>,
    /// What is shown of libraries that cannot.
    unsupported: Vec<String>,
}

/// One correlation of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<'p, 'a> {
    /// `none`, `positive` or `negative`.
    pub correlation: String,
    /// Its points, by selectivity and index.
    pub points: Vec<&'p Point<'a>>,
}

/// Every workload with filters, in order.
pub fn gather<'p, 'a>(runs: &'a [RunData], points: &'p [Point<'a>]) -> Vec<Filtered<'p, 'a>> {
    let mut gathered: Vec<Filtered<'p, 'a>> = Vec::new();
    for point in points.iter().filter(|point| point.setting.filtering.is_some()) {
        let same = |known: &Filtered<'_, '_>| known.heading_setting() == without_filters(&point.setting);
        match gathered.iter_mut().find(|known| same(known)) {
            Some(known) => known.points.push(point),
            None => gathered.push(Filtered {
                setting: point.setting.clone(),
                points: vec![point],
                scan: None,
                unsupported: Vec::new(),
            }),
        }
    }
    for one in &mut gathered {
        // The first index of kind flat: all of them score every match.
        let flat = |point: &&&Point<'a>| point.built.is_some_and(|build| build.kind == "flat");
        one.scan = one.points.iter().find(flat).map(|point| point.index);
        one.unsupported = unsupported(runs, &one.setting);
        // Stable: what stood in the order of indexes and parameters stays so.
        one.points.sort_by_key(|point| (place(point), point.setting.filtering.clone()));
    }
    gathered
}

fn without_filters(setting: &Setting) -> Setting {
    Setting { filtering: None, ..setting.clone() }
}

/// Correlations in the order in which people read them.
fn place(point: &Point<'_>) -> usize {
    let word = point.setting.filtering.as_ref().map(|filtering| filtering.correlation.as_str());
    ["none", "positive", "negative"].iter().position(|known| Some(*known) == word).unwrap_or(3)
}

/// `usearch (45 measurements): its Python package has no filters`.
fn unsupported(runs: &[RunData], setting: &Setting) -> Vec<String> {
    let mut counted: Vec<(String, &str, u64)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let of_workload = |failure: &&Failure| {
            failure.outcome == Outcome::Unsupported && failure.workload.as_ref() == Some(&setting.workload)
        };
        for failure in run.failures.iter().filter(of_workload) {
            let name = points::subject_name(runs, at, &failure.index);
            match counted.iter_mut().find(|(known, message, _)| *known == name && *message == failure.message) {
                Some((_, _, count)) => *count += 1,
                None => counted.push((name, &failure.message, 1)),
            }
        }
    }
    let words = |(name, message, count): (String, &str, u64)| {
        format!("{name} ({}): {message}", format::plural(count, "measurement", "measurements"))
    };
    counted.into_iter().map(words).collect()
}

/// A point's filters; every point here has some.
fn filtering<'p>(point: &'p Point<'_>) -> Option<&'p Filtering> {
    point.setting.filtering.as_ref()
}

impl<'p, 'a> Filtered<'p, 'a> {
    /// What was asked, without the filters.
    fn heading_setting(&self) -> Setting {
        without_filters(&self.setting)
    }

    /// In words, with the data set.
    pub fn heading(&self) -> String {
        self.heading_setting().describe(true)
    }

    /// A file name part.
    pub fn slug(&self) -> String {
        self.heading_setting().slug()
    }

    /// The correlations, each with its points.
    pub fn parts(&self) -> Vec<Part<'p, 'a>> {
        let mut parts: Vec<Part<'p, 'a>> = Vec::new();
        for &point in &self.points {
            let Some(filtering) = filtering(point) else { continue };
            match parts.iter_mut().find(|part| part.correlation == filtering.correlation) {
                Some(part) => part.points.push(point),
                None => parts.push(Part { correlation: filtering.correlation.clone(), points: vec![point] }),
            }
        }
        parts
    }

    /// Libraries that have no such search.
    pub fn unsupported(&self) -> &[String] {
        &self.unsupported
    }

    /// Queries per second / those of the exact scan of the same matches in the same run; `None` where there is no scan.
    pub fn ratio(&self, point: &Point<'_>) -> Option<f64> {
        let same = |other: &&&Point<'_>| {
            Some(other.index) == self.scan && other.run == point.run && other.setting == point.setting
        };
        self.points.iter().find(same).map(|scan| point.qps.median / scan.qps.median)
    }

    /// One sentence for each index: at how many points it reaches [`LEVEL`], and how it stands to the exact scan.
    pub fn verdict(&self, runs: &[RunData]) -> String {
        let mut sentences = Vec::new();
        for (name, points) in crate::summary::by_subject(runs, &self.points) {
            if points.first().map(|point| point.index) == self.scan {
                continue;
            }
            let reached = points.iter().filter(|point| point.recall >= LEVEL).count();
            let least = points.iter().map(|point| point.recall).fold(f64::INFINITY, f64::min);
            let ratios: Vec<f64> = points.iter().filter_map(|point| self.ratio(point)).collect();
            let faster = ratios.iter().filter(|ratio| **ratio >= 1.0).count();
            let (low, high) =
                ratios.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &ratio| (low.min(ratio), high.max(ratio)));
            let speed = if ratios.is_empty() {
                String::new()
            } else {
                format!(
                    ", and is as fast as an exact scan of the matches or faster at {faster} ({} to {})",
                    format::ratio(low),
                    format::ratio(high)
                )
            };
            sentences.push(format!(
                "{name} reaches recall@{} {LEVEL} at {reached} of {} (lowest {}){speed}.",
                self.setting.k,
                format::plural(points.len() as u64, "point", "points"),
                format::recall(least),
            ));
        }
        sentences.join(" ")
    }

    /// Every point.
    pub fn grid(&self, runs: &[RunData]) -> Grid {
        let mut grid = Grid::new(&[
            "correlation",
            "#selectivity",
            "#matches",
            "#near that match",
            "index",
            "#recall",
            "#with ties",
            "#QPS median",
            "#QPS min–max",
            "#× exact scan",
            "#p50",
            "#p99",
            "#distances / query",
            "parameters",
        ]);
        let dash = || "–".to_owned();
        for &point in &self.points {
            let (first, Some(filtering)) = (point.repeats[0], filtering(point)) else { continue };
            let near = first.filter.as_ref().map_or_else(dash, |filter| format!("{:.2} %", filter.near_share * 100.0));
            let each = |total: u64| format::number(total as f64 / first.queries.max(1) as f64);
            grid.push(vec![
                filtering.correlation.clone(),
                percent(filtering.selectivity()),
                format::count(filtering.matches),
                near,
                points::subject_name(runs, point.run, point.index),
                format::recall(point.recall),
                format::recall(first.recall.ties),
                format::number(point.qps.median),
                format!("{}–{}", format::number(point.qps.min), format::number(point.qps.max)),
                self.ratio(point).map_or_else(dash, format::ratio),
                point.p50().map_or_else(dash, |spread| format::nanoseconds(spread.median)),
                point.p99().map_or_else(dash, |spread| format::nanoseconds(spread.median)),
                first.counters.map_or_else(dash, |counters| each(counters.distance_computations)),
                point.describe_params(),
            ]);
        }
        grid.without_empty_columns()
    }
}

/// `1 %`, `0.01 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", format::trimmed(share * 100.0, 7))
}

//! Static plots, PNG and SVG, drawn by plotters with an embedded font: they look the same on every machine.
//!
//! | file | shows |
//! |---|---|
//! | `qps-recall` | queries per second against recall, higher and further right is better |
//! | `p99-recall` | 99th percentile of latency against recall, lower and further right is better |
//! | `filtered-recall-<correlation>` | recall over selectivity, among what matches |
//! | `filtered-time-<correlation>` | median latency over selectivity, among what matches |
//! | `build-time` | seconds of each build by stage |
//! | `memory` | bytes of each index by component, with the process's peak |
//! | `storage-*` | rows per second of each store under one workload, with the baseline's |
//!
//! The first setting's plots have these plain names; plots of further settings carry the setting in their name.

use std::io;

use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend, WHITE};

use crate::{
    format,
    points::{self, Point, SeriesBy, Setting},
    record::Build,
    run::RunData,
    stats::{Better, Spread, pareto},
};

mod axis;
mod bars;
mod scatter;
mod selectivity;
mod storage;
mod style;
mod text;

use bars::Bars;
use scatter::{Dot, Line, Scale, Scatter};
use style::{Canvas, Drawn};

/// Pixels per unit in a PNG.
const PNG_SCALE: f64 = 2.0;

/// Why a plot could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The temporary file of a picture could not be written or read.
    #[error("cannot write a temporary picture: {0}")]
    Io(#[from] io::Error),
    /// Plotters refused.
    #[error("cannot draw {name}: {message}")]
    Draw {
        /// The plot.
        name: String,
        /// Plotters' reason.
        message: String,
    },
}

/// A drawn plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// File name without its ending.
    pub name: String,
    /// What it shows, in one line.
    pub caption: String,
    /// The setting it belongs to; `None` for plots about builds and filters.
    pub setting: Option<Setting>,
    /// The heading of the table that it stands with, of a workload with filters or of stores; `None` for all others.
    pub heading: Option<String>,
    /// PNG file.
    pub png: Vec<u8>,
    /// SVG file.
    pub svg: String,
}

enum Figure {
    Scatter(Scatter),
    Bars(Bars),
}

/// Every plot of one or several runs: of each setting, then of the builds.
pub fn draw(runs: &[RunData], points: &[Point<'_>]) -> Result<Vec<Plot>, PlotError> {
    let by = SeriesBy::choose(runs);
    let names = points::all_series(runs, points, by);
    let mut plots = Vec::new();
    for (at, setting) in points::settings(points).into_iter().enumerate() {
        let of_setting: Vec<&Point<'_>> = points.iter().filter(|point| point.setting == setting).collect();
        let suffix = if at == 0 { String::new() } else { format!("-{}", setting.slug()) };
        for (name, scatter) in frontiers(runs, &setting, &of_setting, (by, &names)) {
            plots.push(picture(format!("{name}{suffix}"), Some(setting.clone()), &Figure::Scatter(scatter))?);
        }
    }
    plots.extend(selectivity::draw(runs, points, (by, &names))?);
    for (name, bars) in [("build-time", build_time(runs)), ("memory", memory(runs))] {
        if let Some(bars) = bars {
            plots.push(picture(name.to_owned(), None, &Figure::Bars(bars))?);
        }
    }
    for (name, heading, bars) in storage::figures(runs) {
        plots.push(Plot { heading: Some(heading), ..picture(name, None, &Figure::Bars(bars))? });
    }
    Ok(plots)
}

fn frontiers(
    runs: &[RunData],
    setting: &Setting,
    points: &[&Point<'_>],
    (by, names): (SeriesBy, &[String]),
) -> Vec<(&'static str, Scatter)> {
    // Whichever: points of one setting are of runs that ask the same.
    let dataset = points.first().and_then(|point| runs[point.run].dataset.as_ref());
    let data = dataset.map_or_else(String::new, |dataset| {
        format!("{} ({} × {}, {}), ", setting.dataset, format::count(dataset.n), dataset.d, dataset.metric)
    });
    let repeats = points.iter().map(|point| point.repeats.len()).max().unwrap_or(1) as u64;
    let spread = if repeats > 1 {
        format!("; median of {repeats} repeats, bars from smallest to largest")
    } else {
        "; measured once".to_owned()
    };
    let subtitle = format!("{data}{}{spread}", setting.describe(false));
    let scatter = |title: String, y_label: &str, y_format, lines| Scatter {
        title,
        subtitle: subtitle.clone(),
        x_label: format!("recall@{} (distance to 1 on a logarithmic scale)", setting.k),
        x: Scale::Recall,
        y_label: y_label.to_owned(),
        y: Scale::Log(y_format),
        lines,
    };
    let mut out = Vec::new();
    let qps = lines(runs, points, (by, names), Better::Higher, |point| Some(point.qps));
    if !qps.is_empty() {
        let title = "Queries per second against recall: up and right is better".to_owned();
        out.push(("qps-recall", scatter(title, "queries per second", format::short, qps)));
    }
    let p99 = lines(runs, points, (by, names), Better::Lower, Point::p99);
    if !p99.is_empty() {
        let title = "99th percentile of latency against recall: down and right is better".to_owned();
        out.push(("p99-recall", scatter(title, "p99 latency", tick_nanoseconds, p99)));
    }
    out
}

fn tick_nanoseconds(value: f64) -> String {
    let (divisor, unit) = match value {
        v if v >= 1e9 => (1e9, "s"),
        v if v >= 1e6 => (1e6, "ms"),
        v if v >= 1e3 => (1e3, "µs"),
        _ => (1.0, "ns"),
    };
    format!("{} {unit}", format::trimmed(value / divisor, 2))
}

fn lines<'a>(
    runs: &[RunData],
    points: &[&Point<'a>],
    (by, names): (SeriesBy, &[String]),
    better: Better,
    measure: impl Fn(&Point<'a>) -> Option<Spread>,
) -> Vec<Line> {
    let mut lines: Vec<Line> =
        names.iter().enumerate().map(|(style, name)| Line { name: name.clone(), style, dots: Vec::new() }).collect();
    for point in points {
        let name = points::series_name(runs, point, by);
        let line = lines.iter_mut().find(|line| line.name == name);
        if let Some((line, spread)) = line.zip(measure(point).filter(|spread| spread.min > 0.0)) {
            let Spread { median: middle, min: low, max: high, .. } = spread;
            line.dots.push(Dot { at: point.recall, middle, low, high, front: false });
        }
    }
    lines.retain(|line| !line.dots.is_empty());
    for line in &mut lines {
        let pairs: Vec<(f64, f64)> = line.dots.iter().map(|dot| (dot.at, dot.middle)).collect();
        for (dot, front) in line.dots.iter_mut().zip(pareto(&pairs, better)) {
            dot.front = front;
        }
    }
    lines
}

/// The newest build of each trial, with its run's number.
pub(crate) fn builds(runs: &[RunData]) -> Vec<(usize, &Build)> {
    let mut found: Vec<(usize, &Build)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        for build in &run.builds {
            match found.iter_mut().find(|(other, known)| *other == at && known.trial == build.trial) {
                Some(known) => known.1 = build,
                None => found.push((at, build)),
            }
        }
    }
    // Trials are built in any order; a reader looks for neighbours in the sweep.
    found.sort_by(|a, b| {
        let key = |(run, build): &(usize, &Build)| {
            let values: Vec<(String, f64)> =
                build.params.iter().map(|(name, value)| (name.clone(), value.as_f64().unwrap_or(0.0))).collect();
            (*run, build.index.clone(), values, build.threads)
        };
        key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal)
    });
    found
}

fn shown(runs: &[RunData]) -> (Vec<(usize, &Build)>, String) {
    let mut builds = builds(runs);
    let all = builds.len();
    builds.truncate(bars::MOST_ROWS);
    let note = if all > builds.len() { format!("; the first {} of {all} builds", builds.len()) } else { String::new() };
    (builds, note)
}

/// A stage's name and its seconds.
type Stage = (&'static str, fn(&Build) -> f64);

fn build_time(runs: &[RunData]) -> Option<Bars> {
    let (builds, note) = shown(runs);
    let stages: [Stage; 3] = [
        ("train", |build| build.stages.train),
        ("construct", |build| build.stages.construct),
        ("optimise", |build| build.stages.optimise),
    ];
    let used: Vec<_> = stages.iter().filter(|(_, of)| builds.iter().any(|(_, build)| of(build) > 0.0)).collect();
    let rows: Vec<bars::Row> = builds
        .iter()
        .map(|(run, build)| {
            let staged: Vec<f64> = used.iter().map(|(_, of)| of(build)).collect();
            // A worker may know only its total.
            let rest = (build.build_seconds - staged.iter().sum::<f64>()).max(0.0);
            let rest = if rest > build.build_seconds * 0.01 { rest } else { 0.0 };
            row(runs, *run, build, [staged, vec![rest]].concat())
        })
        .collect();
    let mut parts: Vec<String> = used.iter().map(|(name, _)| (*name).to_owned()).collect();
    if rows.iter().any(|row| row.values.last().is_some_and(|rest| *rest > 0.0)) {
        parts.push("not split".to_owned());
    }
    (rows.iter().any(|row| row.values.iter().sum::<f64>() > 0.0)).then(|| Bars {
        title: "Build time".to_owned(),
        subtitle: format!("seconds by stage, reading and saving apart{note}"),
        parts,
        rows,
        format: format::seconds,
        unit: 1.0,
        mark: None,
    })
}

fn memory(runs: &[RunData]) -> Option<Bars> {
    let (builds, note) = shown(runs);
    let mut parts: Vec<String> = Vec::new();
    for name in builds.iter().flat_map(|(_, build)| build.memory.keys()) {
        if !parts.contains(name) {
            parts.push(name.clone());
        }
    }
    let rows: Vec<bars::Row> = builds
        .iter()
        .map(|(run, build)| {
            let by_part: Vec<f64> =
                parts.iter().map(|part| build.memory.get(part).map_or(0.0, |bytes| *bytes as f64)).collect();
            let unknown = if build.memory.is_empty() { build.index_bytes.unwrap_or(0) as f64 } else { 0.0 };
            let mark = build.peak_rss_anon_bytes.map(|bytes| bytes as f64);
            bars::Row { mark, ..row(runs, *run, build, [by_part, vec![unknown]].concat()) }
        })
        .collect();
    if rows.iter().any(|row| row.values.last().is_some_and(|rest| *rest > 0.0)) {
        parts.push("not split".to_owned());
    }
    let marked = rows.iter().any(|row| row.mark.is_some());
    let says_something = rows.iter().any(|row| row.values.iter().sum::<f64>() > 0.0) || marked;
    says_something.then(|| Bars {
        title: "Memory".to_owned(),
        subtitle: format!("bytes of each index by its own account{note}"),
        parts,
        rows,
        format: format::bytes,
        unit: 1024.0 * 1024.0,
        mark: marked.then_some("peak anonymous memory of the building process"),
    })
}

fn row(runs: &[RunData], run: usize, build: &Build, values: Vec<f64>) -> bars::Row {
    let name = points::subject_name(runs, run, &build.index);
    bars::Row { name, params: format::params(&build.params), values, mark: None }
}

fn picture(name: String, setting: Option<Setting>, figure: &Figure) -> Result<Plot, PlotError> {
    let (size, caption) = match figure {
        Figure::Scatter(scatter) => (scatter::SIZE, format!("{}. {}", scatter.title, scatter.subtitle)),
        Figure::Bars(bars) => (bars.size(), format!("{}: {}", bars.title, bars.subtitle)),
    };
    let refused = |message: String| PlotError::Draw { name: name.clone(), message };
    let mut svg = String::new();
    render(SVGBackend::with_string(&mut svg, size), 1.0, figure).map_err(|error| refused(error.to_string()))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("plot.png");
    let pixels = (size.0 * PNG_SCALE as u32, size.1 * PNG_SCALE as u32);
    render(BitMapBackend::new(&file, pixels), PNG_SCALE, figure).map_err(|error| refused(error.to_string()))?;
    Ok(Plot { png: std::fs::read(&file)?, name, caption, setting, heading: None, svg })
}

fn render<DB: plotters::prelude::DrawingBackend>(backend: DB, scale: f64, figure: &Figure) -> Drawn<DB> {
    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    let canvas = Canvas { area: &area, scale };
    match figure {
        Figure::Scatter(scatter) => scatter.draw(&canvas)?,
        Figure::Bars(bars) => bars.draw(&canvas)?,
    }
    area.present()
}

//! The tables of a report.

use crate::{
    environment, format,
    grid::Grid,
    plots,
    points::{self, Point},
    record::{Counters, ExpectationOutcome, Outcome},
    run::RunData,
    samples::{self, Basis, PERCENTILES},
    stats::{Better, pareto},
    summary::{LEVELS, best, by_subject},
};

/// Rows shown of a table that a sweep can make very long.
const MOST_ROWS: usize = 2000;

fn dash() -> String {
    "–".to_owned()
}

/// The points whose details are worth a row: each index's best at every level, or else its highest recall.
pub(crate) fn quoted<'p, 'a>(runs: &[RunData], points: &[&'p Point<'a>]) -> Vec<&'p Point<'a>> {
    let mut out: Vec<&Point<'_>> = Vec::new();
    for (_, points) in by_subject(runs, points) {
        let mut found: Vec<&Point<'_>> = LEVELS.iter().filter_map(|level| best(&points, *level)).collect();
        if found.is_empty() {
            found.extend(points.iter().copied().max_by(|a, b| a.recall.total_cmp(&b.recall)));
        }
        for point in found {
            if !out.iter().any(|known| std::ptr::eq(*known, point)) {
                out.push(point);
            }
        }
    }
    out
}

/// Index, parameters and recall: how a row of detail begins.
fn head(runs: &[RunData], point: &Point<'_>) -> Vec<String> {
    let name = points::subject_name(runs, point.run, point.index);
    vec![name, point.describe_params(), format::recall(point.recall)]
}

pub(super) fn latency(runs: &[RunData], quoted: &[&Point<'_>]) -> Grid {
    let mut grid = Grid::new(&[
        "index",
        "parameters",
        "#recall",
        "#mean",
        "#p50",
        "#p90",
        "#p95",
        "#p99",
        "#p99.9",
        "#max",
        "made from",
    ]);
    debug_assert_eq!(PERCENTILES.len(), 5, "one column per percentile");
    for point in quoted {
        let Some(found) = samples::distribution(runs, point) else { continue };
        let mut row = head(runs, point);
        row.push(format::nanoseconds(found.mean));
        row.extend(found.percentiles.map(format::nanoseconds));
        row.push(format::nanoseconds(found.max));
        row.push(match found.basis {
            Basis::Samples(samples) => format::plural(samples as u64, "sample", "samples"),
            Basis::Repeats(repeats) => format!("median of {}", format::plural(repeats as u64, "repeat", "repeats")),
        });
        grid.push(row);
    }
    grid
}

pub(super) fn difficulty(runs: &[RunData], quoted: &[&Point<'_>]) -> Grid {
    let heads = [
        "index",
        "parameters",
        "#recall",
        "#worst query",
        "#5th percentile",
        "#with ties",
        "#ann-benchmarks",
        "#relative error",
    ];
    let mut grid = Grid::new(&heads);
    for point in quoted {
        let recall = &point.repeats[0].recall;
        let mut row = head(runs, point);
        row.extend([recall.min, recall.p5, recall.ties, recall.annb].map(format::recall));
        row.push(recall.relative_error.map_or_else(dash, |error| format!("{error:.6}")));
        grid.push(row);
    }
    grid
}

pub(super) fn counters(runs: &[RunData], quoted: &[&Point<'_>]) -> Grid {
    let heads = [
        "index",
        "parameters",
        "#recall",
        "#recall hits",
        "#distances / query",
        "#hops / query",
        "#lists / query",
        "#bytes / query",
    ];
    let mut grid = Grid::new(&heads);
    for point in quoted {
        let first = point.repeats[0];
        let Some(Counters { distance_computations, hops, lists_probed, bytes_read }) = first.counters else { continue };
        let each =
            |total: u64| if total == 0 { dash() } else { format::number(total as f64 / first.queries.max(1) as f64) };
        let mut row = head(runs, point);
        row.push(format::count(first.recall.hits));
        row.extend([distance_computations, hops, lists_probed].map(each));
        let bytes = bytes_read as f64 / first.queries.max(1) as f64;
        row.push(if bytes_read == 0 { dash() } else { format::bytes(bytes) });
        grid.push(row);
    }
    grid.without_empty_columns()
}

pub(super) fn points(runs: &[RunData], points: &[&Point<'_>]) -> Grid {
    let heads = [
        "index",
        "parameters",
        "#recall",
        "#QPS median",
        "#QPS min",
        "#QPS max",
        "#p50",
        "#p99",
        "#repeats",
        "on the front",
    ];
    let mut grid = Grid::new(&heads);
    let by_index = by_subject(runs, points);
    for (_, points) in by_index {
        let pairs: Vec<(f64, f64)> = points.iter().map(|point| (point.recall, point.qps.median)).collect();
        for (point, front) in points.iter().zip(pareto(&pairs, Better::Higher)) {
            let mut row = head(runs, point);
            row.extend([point.qps.median, point.qps.min, point.qps.max].map(format::number));
            row.extend(
                [point.p50(), point.p99()].map(|spread| spread.map_or_else(dash, |s| format::nanoseconds(s.median))),
            );
            row.push(point.repeats.len().to_string());
            row.push(if front { "yes" } else { "" }.to_owned());
            grid.push(row);
        }
    }
    limited(grid.without_empty_columns())
}

pub(super) fn builds(runs: &[RunData], points: &[Point<'_>]) -> Grid {
    let heads = [
        "index",
        "parameters",
        "#threads",
        "#build",
        "#train",
        "#construct",
        "#optimise",
        "#read",
        "#save",
        "#load",
        "#CPU",
        "#index size",
        "#peak anonymous",
        "#peak file-backed",
        "#highest recall",
        "library",
        "kernels",
    ];
    let mut grid = Grid::new(&heads);
    for (run, build) in plots::builds(runs) {
        let of_build = points.iter().filter(|point| point.run == run && point.trial == build.trial);
        let highest = of_build.map(|point| point.recall).max_by(f64::total_cmp);
        let stages = &build.stages;
        let stage = |seconds: f64| if seconds == 0.0 { dash() } else { format::seconds(seconds) };
        let bytes = |bytes: Option<u64>| bytes.map_or_else(dash, |bytes| format::bytes(bytes as f64));
        let mut row = vec![points::subject_name(runs, run, &build.index), format::params(&build.params)];
        row.extend([build.threads.to_string(), format::seconds(build.build_seconds)]);
        row.extend([stages.train, stages.construct, stages.optimise, stages.read, stages.save, stages.load].map(stage));
        row.push(format::seconds(build.cpu_seconds));
        row.extend([build.index_bytes, build.peak_rss_anon_bytes, build.peak_rss_file_bytes].map(bytes));
        row.push(highest.map_or_else(dash, format::recall));
        row.extend([build.library.clone(), build.simd_tier.clone().unwrap_or_else(dash)]);
        grid.push(row);
    }
    limited(grid.without_empty_columns())
}

pub(super) fn expectations(runs: &[RunData]) -> Grid {
    let mut grid = Grid::new(&["run", "expectation", "outcome", "found"]);
    for (at, run) in runs.iter().enumerate() {
        for one in run.finished.iter().flat_map(|finished| &finished.expectations) {
            let outcome = match one.outcome {
                ExpectationOutcome::Met => "met",
                ExpectationOutcome::NotMet => "not met",
                ExpectationOutcome::NoData => "no data, so not met",
            };
            let run = if runs.len() == 1 { String::new() } else { points::run_name(runs, at) };
            grid.push(vec![run, one.rule.clone(), outcome.to_owned(), one.found.clone()]);
        }
    }
    grid.without_empty_columns()
}

pub(super) fn failures(runs: &[RunData]) -> Grid {
    let mut grid = Grid::new(&["index", "stage", "outcome", "parameters", "what happened"]);
    for (at, run) in runs.iter().enumerate() {
        // What a library does not have is said where it was asked for.
        for failure in run.failures.iter().filter(|failure| failure.outcome != Outcome::Unsupported) {
            let outcome = crate::table::status(failure.outcome).replace('_', " ");
            let none = crate::record::Params::new();
            let params = format::all_params(&failure.params, failure.search.as_ref().unwrap_or(&none));
            let index = points::subject_name(runs, at, &failure.index);
            grid.push(vec![index, failure.stage.clone(), outcome, params, failure.message.clone()]);
        }
    }
    limited(grid)
}

pub(super) fn rejected(runs: &[RunData]) -> Grid {
    let mut grid = Grid::new(&["index", "rule", "parameters", "#k"]);
    for (at, run) in runs.iter().enumerate() {
        for rejected in &run.rejected {
            let none = crate::record::Params::new();
            let params = format::all_params(&rejected.params, rejected.search.as_ref().unwrap_or(&none));
            let k = rejected.k.map_or_else(dash, |k| k.to_string());
            grid.push(vec![points::subject_name(runs, at, &rejected.index), rejected.rule.clone(), params, k]);
        }
    }
    limited(grid.without_empty_columns())
}

pub(super) fn dataset(run: &RunData) -> Grid {
    let mut grid = Grid::new(&["fact", "value"]);
    let Some(dataset) = &run.dataset else { return grid };
    let mut fact = |name: &str, value: String| grid.push(vec![name.to_owned(), value]);
    let unknown = || "unknown".to_owned();
    fact("name", dataset.name.clone());
    fact("source", dataset.source.clone());
    fact("SHA-256 of the decoded vectors", dataset.sha256.clone());
    fact("base vectors", format::count(dataset.n));
    fact("dimensions", format::count(dataset.d));
    fact("report queries", format::count(dataset.queries));
    fact("metric", dataset.metric.clone());
    fact("exact neighbours known per query", format::count(dataset.truth_k));
    dataset.truth.iter().for_each(|truth| fact("hash of the exact neighbours", truth.clone()));
    fact("true distances recomputed on load", format::plural(dataset.truth_checked, "query", "queries"));
    fact("integers in 0..=255", if dataset.integral_u8 { "yes" } else { "no" }.to_owned());
    fact("duplicate rows", format::count(dataset.duplicates));
    let norms = [dataset.norm_min, dataset.norm_mean, dataset.norm_max].map(format::number);
    fact("norms, smallest / mean / largest", norms.join(" / "));
    fact("mean local intrinsic dimension", dataset.lid_mean.map_or_else(unknown, format::number));
    fact("relative contrast", dataset.relative_contrast.map_or_else(unknown, format::number));
    grid
}

pub(super) fn environment_differences(runs: &[RunData]) -> Grid {
    let mut grid = Grid::new(&["run", "fact", "first run", "this run"]);
    for (at, run) in runs.iter().enumerate().skip(1) {
        for (fact, first, this) in environment::differences(runs[0].environment(), run.environment()) {
            grid.push(vec![points::run_name(runs, at), fact.to_owned(), first, this]);
        }
    }
    grid
}

fn limited(mut grid: Grid) -> Grid {
    if grid.rows.len() > MOST_ROWS {
        let rest = grid.rows.len() - MOST_ROWS;
        grid.rows.truncate(MOST_ROWS);
        let mut row = vec![String::new(); grid.head.len()];
        row[0] = format!("and {} in records.jsonl", format::plural(rest as u64, "more row", "more rows"));
        grid.push(row);
    }
    grid
}

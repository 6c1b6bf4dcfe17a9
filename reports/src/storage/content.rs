//! What a report says of stores: a sentence, a table for each workload, the facts of the disk.

use crate::{
    format,
    grid::Grid,
    run::RunData,
    storage::{StorePoint, baseline, gather, points::name, settings},
};

fn dash() -> String {
    "–".to_owned()
}

/// A ratio, with digits that still say something where it is tiny: a store is not opened as fast as a file is mapped.
fn times(value: f64) -> String {
    if value < 0.01 { format!("{}×", format::trimmed(value, 5)) } else { format::ratio(value) }
}

/// One sentence: how the first store that is not the baseline stands to it, mode by mode, over all its points.
pub fn verdict(runs: &[RunData]) -> String {
    let points = gather(runs);
    let Some(base) = runs.first().and_then(baseline) else { return "Nothing was measured.".to_owned() };
    let own = |point: &&StorePoint<'_>| point.first().kind == "store" && point.first().store != base;
    let subject = points.iter().find(own).or_else(|| points.iter().find(|point| point.first().store != base));
    let Some(subject) = subject.map(|point| point.first().store.as_str()) else {
        return format!("Only {base} was measured, which the others would be compared with.");
    };
    let mut parts = Vec::new();
    for (mode, words) in [
        ("bulk_load", "of its rows per second in bulk loads"),
        ("point_read", "in point reads"),
        ("compaction", "in compactions"),
        ("reopen", "in opening"),
        ("filter", "in filters and the loading of fields"),
    ] {
        // What a compaction has for readers is no speed of the compaction.
        let counts = |point: &&StorePoint<'_>| {
            let first = point.first();
            first.store == subject
                && first.mode == mode
                && first.params.get("phase").is_none_or(|phase| phase != "before")
        };
        let ratios: Vec<f64> = points.iter().filter(counts).filter_map(|point| point.ratio).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        match ratios.len() {
            0 => {}
            1 => parts.push(format!("{} {words}", times(low))),
            _ => parts.push(format!("{} to {} {words}", times(low), times(high))),
        }
    }
    if parts.is_empty() {
        return format!("No point of {subject} can be compared with {base}.");
    }
    format!("Beside {base}, {subject} reaches {}.", parts.join(", "))
}

/// A heading and a table for each data set and workload.
pub fn tables(runs: &[RunData]) -> Vec<(String, Grid)> {
    let points = gather(runs);
    settings(runs, &points).into_iter().map(|(heading, points)| (heading, table(runs, &points))).collect()
}

fn table(runs: &[RunData], points: &[&StorePoint<'_>]) -> Grid {
    let base = runs.first().and_then(baseline).unwrap_or("baseline");
    let ratio = format!("#× {base}");
    let mut grid = Grid::new(&[
        "store",
        "element",
        "parameters",
        "#rows/s",
        "#min",
        "#max",
        &ratio,
        "#bytes/s",
        "#seconds",
        "#of which sync",
        "#p50 of a call",
        "#p99 of a call",
        "#on the disk",
        "#given back",
        "#found",
        "#repeats",
    ]);
    for point in points {
        let first = point.first();
        let spread = point.rows_per_second;
        let bytes = point.figure(|stored| Some(stored.figures.bytes as f64 / stored.figures.wall_seconds));
        let shown = |value: Option<f64>, words: fn(f64) -> String| value.map_or_else(dash, words);
        let count = |value: f64| format::count(value as u64);
        let mut row =
            vec![name(runs, point), first.element.clone().unwrap_or_else(dash), format::params(&first.params)];
        row.extend([spread.median, spread.min, spread.max].map(format::number));
        row.push(shown(point.ratio, times));
        row.push(shown(bytes.filter(|bytes| *bytes > 0.0), format::bytes));
        row.push(format::seconds(point.wall_seconds.median));
        row.push(shown(point.figure(|stored| stored.figures.sync_seconds), format::seconds));
        row.push(shown(point.latency(|latency| latency.p50 as f64), format::nanoseconds));
        row.push(shown(point.latency(|latency| latency.p99 as f64), format::nanoseconds));
        row.push(shown(point.figure(|stored| Some(stored.figures.disk_bytes? as f64)), format::bytes));
        row.push(shown(point.figure(|stored| Some(stored.figures.freed_bytes? as f64)), format::bytes));
        row.push(shown(point.figure(|stored| Some(stored.figures.found? as f64)), count));
        row.push(point.repeats.len().to_string());
        grid.push(row);
    }
    grid.without_empty_columns()
}

/// The disk and the data sets of a run, for its facts.
pub fn disk(run: &RunData) -> Grid {
    let mut grid = Grid::new(&["fact", "value"]);
    let Some(head) = &run.storage else { return grid };
    let mut fact = |name: &str, value: String| grid.push(vec![name.to_owned(), value]);
    let unknown = || "unknown".to_owned();
    let disk = &head.disk;
    fact("device", disk.device.clone().unwrap_or_else(unknown));
    fact("file system", disk.file_system.clone().unwrap_or_else(unknown));
    fact("mount options", disk.mount_options.clone().unwrap_or_else(unknown));
    fact("says that it turns", disk.rotational.map_or_else(unknown, |yes| if yes { "yes" } else { "no" }.to_owned()));
    fact("size", format::bytes(disk.total_bytes as f64));
    fact("free before", format::bytes(disk.free_bytes as f64));
    if let Some(sync) = &disk.sync_ns {
        let of = [sync.p50, sync.p90, sync.p99, sync.max].map(|ns| format::nanoseconds(ns as f64)).join(" / ");
        fact(&format!("4 KiB written and synced {} times, p50 / p90 / p99 / max", disk.syncs), of);
    }
    for dataset in &head.datasets {
        let size = format!("{} × {} ({})", format::count(dataset.n), dataset.d, dataset.sha256);
        fact(&format!("data set {}", dataset.name), size);
    }
    grid
}

//! Bars of rows per second, one picture for each data set and workload of a run about stores.

use super::bars::{self, Bars};
use crate::{
    format,
    points::slug,
    run::RunData,
    storage::{self, StorePoint},
};

/// File name, heading and picture.
pub(super) fn figures(runs: &[RunData]) -> Vec<(String, String, Bars)> {
    let points = storage::gather(runs);
    storage::settings(runs, &points)
        .into_iter()
        .map(|(heading, points)| {
            (format!("storage-{}", slug(&heading)), heading.clone(), figure(&heading, &points, runs))
        })
        .collect()
}

fn figure(heading: &str, points: &[&StorePoint<'_>], runs: &[RunData]) -> Bars {
    let all = points.len();
    let rows: Vec<bars::Row> = points.iter().take(bars::MOST_ROWS).map(|point| row(runs, point)).collect();
    let note = if all > rows.len() { format!("; the first {} of {all} points", rows.len()) } else { String::new() };
    let repeats = points.iter().map(|point| point.repeats.len()).max().unwrap_or(1) as u64;
    Bars {
        title: format!("Rows per second: {heading}"),
        subtitle: format!("longer is faster; median of {}{note}", format::plural(repeats, "repeat", "repeats")),
        parts: vec!["rows per second".to_owned()],
        mark: (rows.iter().any(|row| row.mark.is_some())).then_some("the baseline at the same point"),
        rows,
        format: format::short,
        unit: 1.0,
    }
}

fn row(runs: &[RunData], point: &StorePoint<'_>) -> bars::Row {
    let first = point.first();
    let element = first.element.iter().map(String::as_str);
    let params = format::params(&first.params);
    let params = element.chain((params != "–").then_some(params.as_str())).collect::<Vec<_>>().join(", ");
    let median = point.rows_per_second.median;
    bars::Row {
        name: storage::name(runs, point),
        params: if params.is_empty() { "–".to_owned() } else { params },
        values: vec![median],
        mark: point.ratio.filter(|ratio| *ratio > 0.0).map(|ratio| median / ratio),
    }
}

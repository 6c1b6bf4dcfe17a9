//! `expect` rules about stores, judged on the medians of the points of the report.

use nearlab_reports::{
    format,
    record::{Expectation, ExpectationOutcome, Params},
    run::RunData,
    storage::{StorePoint, gather},
};
use serde_json::Value;

use crate::spec::StoreExpect;

/// Judges every rule on what was recorded.
pub(super) fn judge(expects: &[StoreExpect], run: &RunData) -> Vec<Expectation> {
    let points = gather(std::slice::from_ref(run));
    expects.iter().map(|expect| judge_one(expect, &points)).collect()
}

fn judge_one(expect: &StoreExpect, points: &[StorePoint<'_>]) -> Expectation {
    let selected: Vec<&StorePoint<'_>> = points.iter().filter(|point| selects(expect, point)).collect();
    let values: Vec<(f64, &StorePoint<'_>)> =
        selected.iter().filter_map(|point| Some((metric(&expect.metric, point)?, *point))).collect();
    let (outcome, found) = if values.is_empty() {
        let why = if selected.is_empty() { "no point matches" } else { "no matching point has this value" };
        (ExpectationOutcome::NoData, why.to_owned())
    } else {
        let broken: Vec<_> =
            values.iter().filter(|(value, _)| !expect.comparison.holds(*value, expect.value)).collect();
        match broken.first() {
            None => {
                let low = values.iter().map(|(value, _)| *value).fold(f64::INFINITY, f64::min);
                let high = values.iter().map(|(value, _)| *value).fold(f64::NEG_INFINITY, f64::max);
                let points = format::plural(values.len() as u64, "point", "points");
                let found = if low == high {
                    format!("{} ({points})", format::number(low))
                } else {
                    format!("{} to {} ({points})", format::number(low), format::number(high))
                };
                (ExpectationOutcome::Met, found)
            }
            Some((value, point)) => {
                let first = point.first();
                let mut params: Params = first.params.clone();
                params.extend(first.element.clone().map(|element| ("element".to_owned(), Value::from(element))));
                params.extend(first.dataset.clone().map(|name| ("data set".to_owned(), Value::from(name))));
                let (bad, all) = (broken.len(), values.len());
                let found =
                    format!("{} with {} ({bad} of {all} points)", format::number(*value), format::params(&params));
                (ExpectationOutcome::NotMet, found)
            }
        }
    };
    Expectation { rule: expect.text.clone(), outcome, found }
}

fn selects(expect: &StoreExpect, point: &StorePoint<'_>) -> bool {
    let first = point.first();
    let has = |name: &str, wanted: &Value| match name {
        "element" => first.element.as_deref() == wanted.as_str(),
        _ => first.params.get(name) == Some(wanted),
    };
    expect.store == first.store
        && expect.workload.as_ref().is_none_or(|name| *name == first.workload)
        && expect.dataset.as_ref().is_none_or(|name| Some(name) == first.dataset.as_ref())
        && expect.mode().is_none_or(|mode| mode.as_str() == first.mode)
        && expect.at.iter().all(|(name, wanted)| has(name, wanted))
}

/// The value of a metric of [`STORE_METRICS`](crate::spec::STORE_METRICS); `None` where the point has none.
fn metric(name: &str, point: &StorePoint<'_>) -> Option<f64> {
    match name {
        // Reads before a compaction are no compaction.
        "compaction_ratio" if point.first().params.get("phase").and_then(Value::as_str) == Some("before") => None,
        "load_ratio" | "read_ratio" | "compaction_ratio" | "open_ratio" | "filter_ratio" => point.ratio,
        "rows_per_second" => Some(point.rows_per_second.median),
        "wall_seconds" => Some(point.wall_seconds.median),
        "bytes_per_second" => point.figure(|stored| Some(stored.figures.bytes as f64 / stored.figures.wall_seconds)),
        "cpu_seconds" => point.figure(|stored| stored.figures.cpu_seconds),
        "sync_seconds" => point.figure(|stored| stored.figures.sync_seconds),
        "latency_ns_mean" => point.latency(|latency| latency.mean),
        "latency_ns_p50" => point.latency(|latency| latency.p50 as f64),
        "latency_ns_p99" => point.latency(|latency| latency.p99 as f64),
        "latency_ns_p999" => point.latency(|latency| latency.p999 as f64),
        "latency_ns_max" => point.latency(|latency| latency.max as f64),
        "disk_bytes" => point.figure(|stored| Some(stored.figures.disk_bytes? as f64)),
        "disk_ratio" => point.figure(|stored| Some(stored.figures.disk_bytes? as f64 / stored.figures.bytes as f64)),
        "freed_bytes" => point.figure(|stored| Some(stored.figures.freed_bytes? as f64)),
        "found" => point.figure(|stored| Some(stored.figures.found? as f64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use nearlab_reports::{
        record::Latency,
        stats::Spread,
        storage::{StoreFigures, Stored},
    };

    use super::*;
    use crate::spec::STORE_METRICS;

    #[test]
    fn every_metric_that_an_expectation_may_name_has_a_value() {
        let figures = StoreFigures {
            rows: 1,
            bytes: 4,
            calls: 1,
            wall_seconds: 1.0,
            cpu_seconds: Some(1.0),
            sync_seconds: Some(0.5),
            disk_bytes: Some(4),
            freed_bytes: Some(4),
            found: Some(1),
        };
        let stored = Stored {
            key: "k".into(),
            trial: "t".into(),
            dataset: None,
            d: None,
            store: "s".into(),
            kind: "store".into(),
            element: None,
            library: "l".into(),
            workload: "w".into(),
            mode: "bulk_load".into(),
            params: Params::new(),
            repeat: 0,
            order: 0,
            figures,
            rows_per_second: 1.0,
            latency_ns: Some(Latency { mean: 1.0, p50: 1, p90: 1, p95: 1, p99: 1, p999: 1, max: 1 }),
            checked_rows: 0,
            peak_rss_anon_bytes: None,
            peak_rss_file_bytes: None,
            samples_file: None,
        };
        let spread = Spread::of([1.0]).unwrap();
        let point = StorePoint {
            run: 0,
            repeats: vec![&stored],
            rows_per_second: spread,
            wall_seconds: spread,
            ratio: Some(1.0),
        };
        for name in STORE_METRICS {
            assert!(metric(name, &point).is_some(), "{name}");
        }
        assert_eq!(metric("recall", &point), None);
    }
}

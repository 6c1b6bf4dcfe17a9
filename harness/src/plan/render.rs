//! The text of `run --plan`: every point, every rejected point with its rule, the totals and what they may cost.

use std::{collections::BTreeMap, fmt::Write as _};

use comfy_table::{CellAlignment, Table, presets};
use nearlab_reports::{format, record::Params};
use serde_json::Value;

use super::{Facts, Plan, PlannedSearch, PlannedTrial, cost};
use crate::spec::{DatasetSource, Spec};

/// Rejected points listed one by one; more are counted by rule only.
const LISTED: usize = 40;

/// The whole text, ending in a newline.
pub(super) fn text(plan: &Plan, spec: &Spec, facts: &Facts) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}: {}\n{}\n", spec.name, spec.question, data(spec, facts));
    let mut trials: Vec<&PlannedTrial> = plan.trials.iter().collect();
    trials.sort_by_key(|trial| trial.written);
    let _ = writeln!(out, "{}\n", points(&trials));
    rejected(&mut out, plan);
    for rule in &plan.deferred {
        let _ = writeln!(out, "not decided before the data is known: {rule}");
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    let _ = writeln!(out, "{}\n{}", totals(plan, spec), cost::FORMULA);
    out
}

fn data(spec: &Spec, facts: &Facts) -> String {
    let name = match &spec.dataset.source {
        DatasetSource::Use(name) => name.clone(),
        DatasetSource::Files { train, .. } => train.display().to_string(),
    };
    let size = |letter: &str, size: Option<u64>| size.map(|size| format!("{letter} = {}", grouped(size)));
    let sizes: Vec<String> =
        [size("n", facts.n), size("d", facts.d), size("queries", facts.queries)].into_iter().flatten().collect();
    if sizes.is_empty() {
        return format!("data: {name}, sizes not known yet");
    }
    format!("data: {name}, {}", sizes.join(", "))
}

fn points(trials: &[&PlannedTrial]) -> Table {
    let mut table = table(&["index", "build", "search", "k", "measurements", "distances", "index size", "time"]);
    for trial in trials {
        let mut build = shown(&trial.build);
        let _ =
            write!(build, "{}threads {}, seed {}", if build.is_empty() { "" } else { ", " }, trial.threads, trial.seed);
        let Cost { distances, bytes, seconds } = Cost::of(trial);
        table.add_row([&trial.index, &build, "(build)", "", "1", &distances, &bytes, &seconds]);
        for searches in by_point(trial) {
            let params = shown(&searches[0].params);
            let seconds = searches.iter().map(|search| search.seconds).sum::<Option<f64>>().map_or_else(unknown, time);
            let params = if params.is_empty() { "-".to_owned() } else { params };
            let (k, count) = (searches[0].k.to_string(), measurements(&searches));
            table.add_row(["", "", &params, &k, &count, "", "", &seconds]);
        }
    }
    table
}

/// A build's estimate in words.
struct Cost {
    distances: String,
    bytes: String,
    seconds: String,
}

impl Cost {
    fn of(trial: &PlannedTrial) -> Self {
        Self {
            distances: trial.cost.distance_computations.map_or_else(unknown, scientific),
            bytes: trial.cost.bytes.map_or_else(unknown, size),
            seconds: trial.cost.seconds.map_or_else(unknown, time),
        }
    }
}

/// The measurements of a trial by point, as written; each filter makes a point of its own.
fn by_point(trial: &PlannedTrial) -> Vec<Vec<&PlannedSearch>> {
    let mut searches: Vec<&PlannedSearch> = trial.searches.iter().collect();
    searches.sort_by_key(|search| search.written);
    searches.chunk_by(|a, b| a.k == b.k && a.params == b.params && a.filter == b.filter).map(<[_]>::to_vec).collect()
}

/// `single x3, batch/2 x3, filter positive at 0.01 x3`: workload, threads where more than one, filter, repeats.
fn measurements(searches: &[&PlannedSearch]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for search in searches {
        let threads = if search.threads == 1 { String::new() } else { format!("/{}", search.threads) };
        let filter = search.filter.map_or_else(String::new, |filter| {
            format!(" {} at {}", filter.correlation, format::trimmed(filter.selectivity, 9))
        });
        let name = format!("{}{threads}{filter}", search.workload);
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.iter().map(|(name, count)| format!("{name} x{count}")).collect::<Vec<_>>().join(", ")
}

fn rejected(out: &mut String, plan: &Plan) {
    if plan.rejected.is_empty() {
        return;
    }
    let mut by_rule: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for point in &plan.rejected {
        *by_rule.entry((&point.index, &point.rule)).or_default() += point.points;
    }
    let _ = writeln!(out, "{} rejected:", counted(plan.rejected_points(), "point"));
    for ((index, rule), points) in by_rule {
        let _ = writeln!(out, "  {index}: {} by {rule}", grouped(points));
    }
    let mut table = table(&["index", "build", "search", "k", "points", "false rule"]);
    for point in plan.rejected.iter().take(LISTED) {
        let search = point.search.as_ref().map_or_else(|| "(all)".to_owned(), shown);
        let k = point.k.map_or_else(|| "(all)".to_owned(), |k| k.to_string());
        table.add_row([&point.index, &shown(&point.params), &search, &k, &grouped(point.points), &point.rule]);
    }
    let _ = writeln!(out, "{table}");
    if plan.rejected.len() > LISTED {
        let _ = writeln!(out, "... and {} more rows", plan.rejected.len() - LISTED);
    }
    out.push('\n');
}

fn totals(plan: &Plan, spec: &Spec) -> String {
    let builds = plan.trials.iter().map(|trial| trial.cost.seconds);
    let searches = plan.trials.iter().flat_map(|trial| &trial.searches).map(|search| search.seconds);
    let (mut known, mut unknown) = (0.0, false);
    for seconds in builds.chain(searches) {
        known += seconds.unwrap_or(0.0);
        unknown |= seconds.is_none();
    }
    let estimate = match (known > 0.0, unknown) {
        (false, _) => "time not known yet".to_owned(),
        (true, false) => format!("about {}", time(known)),
        (true, true) => format!("about {} and what external workers take", time(known)),
    };
    format!(
        "total: {}, {} ({}, each after {}), {} rejected, order {}, {estimate}",
        counted(plan.planned_builds() as u64, "build"),
        counted(plan.planned_searches() as u64, "measurement"),
        counted(u64::from(spec.measure.repeats), "repeat"),
        counted(u64::from(spec.measure.warmup), "warm-up"),
        counted(plan.rejected_points(), "point"),
        plan.order.as_str(),
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for name in ["k", "points", "distances", "index size", "time"] {
        let column = header.iter().position(|title| *title == name).and_then(|at| table.column_mut(at));
        if let Some(column) = column {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn shown(params: &Params) -> String {
    let one = |(name, value): (&String, &Value)| format!("{name} {}", format::value(value));
    params.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn unknown() -> String {
    "?".to_owned()
}

fn scientific(number: f64) -> String {
    if number == 0.0 { "0".to_owned() } else { format!("{number:.1e}") }
}

/// `1 build`, `2 builds`.
fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => "< 1 ms".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b < 1e4 => format!("{b:.0} B"),
        b if b < 1_048_576.0 => format!("{:.0} KiB", b / 1024.0),
        b if b < 1_073_741_824.0 => format!("{:.1} MiB", b / 1_048_576.0),
        b => format!("{:.2} GiB", b / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_units_grow_with_the_value() {
        assert_eq!((grouped(1), grouped(1234), grouped(1_000_000)), ("1".into(), "1,234".into(), "1,000,000".into()));
        let times = [0.0, 0.5, 90.0, 600.0, 9000.0].map(time);
        assert_eq!(times, ["< 1 ms", "500 ms", "90.0 s", "10 min", "2.5 h"].map(String::from));
        let sizes = [12, 20_480, 5 << 20, 3 << 30].map(size);
        assert_eq!(sizes, ["12 B", "20 KiB", "5.0 MiB", "3.00 GiB"].map(String::from));
    }
}

//! What changed between two runs.
//!
//! Points are matched by index, parameters, k, workload and threads, never by position. The verdict on speed is the
//! bootstrap interval of median(B) / median(A) over the repeats: "better" or "worse" only when the whole interval lies
//! beyond the floor, else "inconclusive"; "traded" when recall went the other way. Two runs that were not measured side by side differ by the machine's mood too;
//! the floor ([`Options::floor`]) is what is put down to that. Counters and recall are exact and compared exactly.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    format,
    grid::{Grid, escape_markdown},
    points::{self, Filtering, Point},
    record::Counters,
    run::RunData,
    stats::{Better, Bootstrap, Interval, interpolate, median},
    summary::LEVELS,
};

/// How much must change before it is called a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Relative change of speed that is put down to the machine, e.g. 0.05.
    pub floor: f64,
    /// Fewest repeats on each side for a verdict.
    pub min_repeats: usize,
    /// How the interval is drawn.
    pub bootstrap: Bootstrap,
}

impl Default for Options {
    fn default() -> Self {
        Self { floor: 0.05, min_repeats: 3, bootstrap: Bootstrap::default() }
    }
}

/// The verdict on one matched point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// Slower beyond doubt and floor.
    Worse,
    /// Faster beyond doubt and floor but less exact, or slower and more exact: see the speed at matched recall.
    Traded,
    /// Faster beyond doubt and floor.
    Better,
    /// Neither can be said.
    Inconclusive,
}

impl Word {
    /// The word itself.
    pub fn word(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Traded => "traded",
            Self::Better => "better",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// One point that both runs measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Index name.
    pub index: String,
    /// Parameters in words.
    pub params: String,
    /// Setting, without the data set.
    pub setting: String,
    /// QPS of B / QPS of A.
    pub qps: Option<Interval>,
    /// Verdict on the speed.
    pub verdict: Word,
    /// p99 latency of B / of A, medians over repeats.
    pub p99_ratio: Option<f64>,
    /// Strict recall of B - of A.
    pub recall_change: f64,
    /// Build seconds of B / of A.
    pub build_ratio: Option<f64>,
    /// Index bytes of B / of A.
    pub bytes_ratio: Option<f64>,
    /// Exact counters that differ: name, A, B.
    pub counters: Vec<(&'static str, u64, u64)>,
}

/// The fastest at a recall, interpolated on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct AtRecall {
    /// Index name.
    pub index: String,
    /// Setting, without the data set.
    pub setting: String,
    /// Recall.
    pub level: f64,
    /// QPS of B / QPS of A at exactly that recall: an estimate.
    pub ratio: f64,
}

/// Two runs held against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Name of the run before.
    pub a: String,
    /// Name of the run after.
    pub b: String,
    /// What makes the two hard to compare, stated first: other data, machine or program.
    pub differences: Vec<String>,
    /// Matched points.
    pub rows: Vec<Row>,
    /// Speed at matched recall, by index.
    pub at_recall: Vec<AtRecall>,
    /// Points that only A measured.
    pub only_a: Vec<String>,
    /// Points that only B measured.
    pub only_b: Vec<String>,
}

type Key = (String, String, String, Option<Filtering>);

/// (recall, QPS) of A and of B.
type Sides = [Vec<(f64, f64)>; 2];

/// What changed from `a` (before) to `b` (after).
pub fn compare(a: &RunData, b: &RunData, options: &Options) -> Comparison {
    let points_a = points::gather(std::slice::from_ref(a));
    let points_b = points::gather(std::slice::from_ref(b));
    let (keyed_a, keyed_b) = (by_key(&points_a), by_key(&points_b));
    let rows = points_a
        .iter()
        .filter_map(|before| keyed_b.get(&key(before)).map(|after| row(before, after, options)))
        .collect();
    let only = |points: &[Point<'_>], other: &BTreeMap<Key, &Point<'_>>| {
        let unmatched = points.iter().filter(|point| !other.contains_key(&key(point)));
        let mut names: Vec<String> =
            unmatched.map(|point| format!("{}: {}", point.index, point.describe_params())).collect();
        // The same point under another setting says nothing new.
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    };
    Comparison {
        a: a.session().run_id.clone(),
        b: b.session().run_id.clone(),
        differences: differences(a, b),
        at_recall: at_recall(&points_a, &points_b),
        only_a: only(&points_a, &keyed_b),
        only_b: only(&points_b, &keyed_a),
        rows,
    }
}

fn by_key<'p, 'a>(points: &'p [Point<'a>]) -> BTreeMap<Key, &'p Point<'a>> {
    points.iter().map(|point| (key(point), point)).collect()
}

/// What makes two points the same question. The data set is not part of it: that it differs is said first.
fn key(point: &Point<'_>) -> Key {
    let threads = point.built.map(|build| (build.threads, build.seed));
    let words = |params| serde_json::to_string(params).unwrap_or_default();
    let params = format!("{} {} {threads:?}", words(point.build), words(point.params));
    (point.index.to_owned(), params, point.setting.describe(false), point.setting.filtering.clone())
}

fn row(before: &Point<'_>, after: &Point<'_>, options: &Options) -> Row {
    let qps = |point: &Point<'_>| point.repeats.iter().map(|repeat| repeat.qps).collect::<Vec<_>>();
    let interval = options.bootstrap.ratio_of_medians(&qps(before), &qps(after));
    let enough = before.repeats.len().min(after.repeats.len()) >= options.min_repeats;
    let recall_change = after.recall - before.recall;
    let verdict = match interval {
        Some(interval) if enough && interval.low > 1.0 + options.floor => {
            if recall_change < 0.0 {
                Word::Traded
            } else {
                Word::Better
            }
        }
        Some(interval) if enough && interval.high < 1.0 / (1.0 + options.floor) => {
            if recall_change > 0.0 {
                Word::Traded
            } else {
                Word::Worse
            }
        }
        _ => Word::Inconclusive,
    };
    let quotient = |before: Option<f64>, after: Option<f64>| {
        before.zip(after).filter(|(before, _)| *before > 0.0).map(|(before, after)| after / before)
    };
    let build = |point: &Point<'_>| point.built.map(|build| build.build_seconds);
    let bytes = |point: &Point<'_>| point.built.and_then(|build| build.index_bytes).map(|bytes| bytes as f64);
    let p99 = |point: &Point<'_>| point.p99().map(|spread| spread.median);
    Row {
        index: before.index.to_owned(),
        params: before.describe_params(),
        setting: before.setting.describe(false),
        qps: interval,
        verdict,
        p99_ratio: quotient(p99(before), p99(after)),
        recall_change,
        build_ratio: quotient(build(before), build(after)),
        bytes_ratio: quotient(bytes(before), bytes(after)),
        counters: changed_counters(before, after),
    }
}

fn changed_counters(before: &Point<'_>, after: &Point<'_>) -> Vec<(&'static str, u64, u64)> {
    let values = |point: &Point<'_>| {
        let first = point.repeats[0];
        let Counters { distance_computations, hops, lists_probed, bytes_read } = first.counters?;
        Some([
            ("recall_hits", first.recall.hits),
            ("distance_computations", distance_computations),
            ("hops", hops),
            ("lists_probed", lists_probed),
            ("bytes_read", bytes_read),
        ])
    };
    let Some((before, after)) = values(before).zip(values(after)) else { return Vec::new() };
    before.into_iter().zip(after).filter(|(a, b)| a.1 != b.1).map(|(a, b)| (a.0, a.1, b.1)).collect()
}

fn at_recall(before: &[Point<'_>], after: &[Point<'_>]) -> Vec<AtRecall> {
    let mut fronts: BTreeMap<(String, String, Option<Filtering>), Sides> = BTreeMap::new();
    for (side, points) in [before, after].into_iter().enumerate() {
        for point in points {
            let key = (point.index.to_owned(), point.setting.describe(false), point.setting.filtering.clone());
            fronts.entry(key).or_default()[side].push((point.recall, point.qps.median));
        }
    }
    let mut found = Vec::new();
    for ((index, setting, _), [before, after]) in fronts {
        for level in LEVELS {
            let estimates = interpolate(&before, level, Better::Higher).zip(interpolate(&after, level, Better::Higher));
            if let Some((before, after)) = estimates {
                found.push(AtRecall { index: index.clone(), setting: setting.clone(), level, ratio: after / before });
            }
        }
    }
    found
}

fn differences(a: &RunData, b: &RunData) -> Vec<String> {
    let mut out = Vec::new();
    match (&a.dataset, &b.dataset) {
        (Some(before), Some(after)) if !before.asks_as(after) => out.push(format!(
            "Different data: A used {}, B used {}. Speeds and recalls are not comparable.",
            before.describe(),
            after.describe()
        )),
        (None, _) | (_, None) => out.push("One run has no data set on record.".to_owned()),
        _ => {}
    }
    let pairs = crate::environment::differences(a.environment(), b.environment());
    out.extend(pairs.into_iter().map(|(what, before, after)| format!("{what}: A {before}, B {after}.")));
    for (name, run) in [("A", a), ("B", b)] {
        if run.foreign_sessions().next().is_some() {
            out.push(format!("{name} was measured in sessions on different machines or programs."));
        }
        if run.finished.is_none() {
            out.push(format!("{name} is not finished."));
        }
    }
    out
}

impl Comparison {
    /// Rows with this verdict.
    pub fn count(&self, verdict: Word) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// One sentence.
    pub fn verdict(&self) -> String {
        if self.rows.is_empty() {
            return "No point was measured in both runs: nothing can be said.".to_owned();
        }
        let exact = self.rows.iter().filter(|row| !row.counters.is_empty()).count();
        let recall = self.rows.iter().filter(|row| row.recall_change != 0.0).count();
        let middle = median(self.rows.iter().filter_map(|row| row.qps).map(|qps| qps.estimate));
        format!(
            "Of {} matched points {} got better, {} worse, {} traded speed for recall, {} inconclusive; median speed ratio {}; recall changed at {}, \
             exact counters at {}.",
            self.rows.len(),
            self.count(Word::Better),
            self.count(Word::Worse),
            self.count(Word::Traded),
            self.count(Word::Inconclusive),
            middle.map_or_else(|| "unknown".to_owned(), format::ratio),
            recall,
            exact,
        )
    }

    /// The matched points, worse ones first.
    pub fn grid(&self) -> Grid {
        let mut grid = Grid::new(&[
            "verdict",
            "index",
            "parameters",
            "setting",
            "#QPS B/A",
            "#interval",
            "#p99 B/A",
            "#recall B-A",
            "#build B/A",
            "#size B/A",
            "counters that differ",
        ]);
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.verdict);
        let ratio = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), format::ratio);
        for row in rows {
            let interval = row.qps.map_or_else(
                || "–".to_owned(),
                |qps| format!("{}–{}", format::ratio(qps.low), format::ratio(qps.high)),
            );
            let counters: Vec<String> = row
                .counters
                .iter()
                .map(|(name, a, b)| format!("{name} {}→{}", format::count(*a), format::count(*b)))
                .collect();
            grid.push(vec![
                row.verdict.word().to_owned(),
                row.index.clone(),
                row.params.clone(),
                row.setting.clone(),
                ratio(row.qps.map(|qps| qps.estimate)),
                interval,
                ratio(row.p99_ratio),
                if row.recall_change == 0.0 { "0".to_owned() } else { format!("{:+.4}", row.recall_change) },
                ratio(row.build_ratio),
                ratio(row.bytes_ratio),
                if counters.is_empty() { "none".to_owned() } else { counters.join(", ") },
            ]);
        }
        grid.without_empty_columns()
    }

    fn at_recall_grid(&self) -> Grid {
        let mut grid = Grid::new(&["index", "setting", "#recall", "#QPS B/A (interpolated)"]);
        for at in &self.at_recall {
            let level = format!("{:.2}", at.level);
            grid.push(vec![at.index.clone(), at.setting.clone(), level, format::ratio(at.ratio)]);
        }
        grid
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let mut out = format!("A: {}\nB: {}\n", self.a, self.b);
        for difference in &self.differences {
            let _ = writeln!(out, "! {difference}");
        }
        let _ = writeln!(out, "\n{}\n", self.verdict());
        if !self.rows.is_empty() {
            out += &self.grid().to_text();
        }
        if !self.at_recall.is_empty() {
            let _ = write!(out, "\nAt matched recall (an estimate):\n{}", self.at_recall_grid().to_text());
        }
        for (name, only) in [("A", &self.only_a), ("B", &self.only_b)] {
            if !only.is_empty() {
                let _ = writeln!(out, "\nOnly in {name}: {}", only.join("; "));
            }
        }
        out
    }

    /// For a pull request.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {} → {}\n\n", escape_markdown(&self.a), escape_markdown(&self.b));
        for difference in &self.differences {
            let _ = writeln!(out, "> **Note:** {}\n>", escape_markdown(difference));
        }
        let _ = writeln!(out, "\n{}\n", escape_markdown(&self.verdict()));
        if !self.rows.is_empty() {
            out += &self.grid().to_markdown();
        }
        if !self.at_recall.is_empty() {
            let grid = self.at_recall_grid().to_markdown();
            let _ =
                write!(out, "\n## At matched recall\n\nInterpolated between measured points: an estimate.\n\n{grid}");
        }
        for (name, only) in [("A", &self.only_a), ("B", &self.only_b)] {
            if !only.is_empty() {
                let _ = writeln!(out, "\nOnly in {name}: {}", escape_markdown(&only.join("; ")));
            }
        }
        out
    }
}

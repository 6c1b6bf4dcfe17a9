//! `expect` rules: `<metric> <op> <number>`, for the measured rows that a selector picks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    error::Place,
    lexer::{TokenKind, lex},
    model::Kind,
    params::{Phase, goes_without_saying},
    rule::{Comparison, RuleError},
    suggest::nearest,
};

/// What an `expect` rule may speak of, apart from `recall_at_<k>`: the columns of the result table that are numbers.
pub const METRICS: [&str; 24] = [
    "recall",
    "recall_strict",
    "recall_ties",
    "recall_annb",
    "recall_min",
    "recall_p5",
    "relative_error",
    "qps",
    "latency_ns_mean",
    "latency_ns_p50",
    "latency_ns_p90",
    "latency_ns_p95",
    "latency_ns_p99",
    "latency_ns_p999",
    "latency_ns_max",
    "wall_seconds",
    "cpu_seconds",
    "distance_computations",
    "hops",
    "lists_probed",
    "bytes_read",
    "build_seconds",
    "build_cpu_seconds",
    "index_bytes",
];

/// One expectation: a rule and the rows it must hold for. It is met when it holds for every selected row, every
/// repeat; without any row it is not met.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// The rule with its selector, for people: `recall_at_10 >= 0.95 (index hnsw, ef_search 160)`.
    pub text: String,
    /// Where the rule stands in the experiment's file.
    pub place: Place,
    /// One of [`METRICS`], with `recall` and `recall_at_<k>` resolved to `recall_strict` (the latter sets `k`).
    pub metric: String,
    /// How the metric is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: f64,
    /// Index name.
    pub index: String,
    /// Workload name; `None` for every workload.
    pub workload: Option<String>,
    /// k; `None` for every k.
    pub k: Option<usize>,
    /// Search threads; `None` for every count.
    pub threads: Option<usize>,
    /// Parameter values that a row must have, build or search.
    pub at: BTreeMap<String, Value>,
}

/// What of a measured row decides whether an expectation speaks of it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Index name.
    pub index: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Workload name.
    pub workload: &'a str,
    /// k.
    pub k: usize,
    /// Search threads.
    pub threads: usize,
    /// Build parameters (without `threads` and `seed`).
    pub build: &'a BTreeMap<String, Value>,
    /// Build threads.
    pub build_threads: usize,
    /// Build seed.
    pub seed: u64,
    /// Search parameters.
    pub search: &'a BTreeMap<String, Value>,
}

impl Row<'_> {
    fn has(&self, name: &str, wanted: &Value) -> bool {
        match name {
            "threads" => wanted.as_u64() == Some(self.build_threads as u64),
            "seed" => wanted.as_u64() == Some(self.seed),
            _ => match self.search.get(name).or_else(|| self.build.get(name)) {
                Some(found) => found == wanted,
                // A row does not name what goes without saying, and has it all the same.
                None => [Phase::Build, Phase::Search]
                    .into_iter()
                    .any(|phase| goes_without_saying((self.kind, phase), name, wanted)),
            },
        }
    }
}

impl Expect {
    /// Whether the rule speaks of a row.
    pub fn selects(&self, row: &Row<'_>) -> bool {
        self.index == row.index
            && self.workload.as_deref().is_none_or(|name| name == row.workload)
            && self.k.is_none_or(|k| k == row.k)
            && self.threads.is_none_or(|threads| threads == row.threads)
            && self.at.iter().all(|(name, wanted)| row.has(name, wanted))
    }

    /// Whether the rule holds for a value of its metric.
    pub fn holds(&self, found: f64) -> bool {
        self.comparison.holds(found, self.value)
    }
}

/// The rule of an expectation, without its selector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) metric: String,
    pub(super) k: Option<usize>,
    pub(super) comparison: Comparison,
    pub(super) value: f64,
}

/// Parses `<metric> <op> <number>`. Never panics.
pub(super) fn parse(text: &str) -> Result<Condition, RuleError> {
    let tokens = lex(text)?;
    let wrong = |i: usize, expected: &str| {
        let token = &tokens[i.min(tokens.len() - 1)];
        RuleError {
            message: format!("{} is not expected here", token.kind),
            expected: Some(expected.to_owned()),
            at: token.at,
            length: token.length,
        }
    };
    let TokenKind::Name(name) = &tokens[0].kind else { return Err(wrong(0, &metrics())) };
    let (metric, k) = metric(name).ok_or_else(|| RuleError {
        message: match nearest(name, METRICS.into_iter().chain(["recall_at_10"])) {
            Some(near) => format!("`{name}` is not a metric; did you mean `{near}`?"),
            None => format!("`{name}` is not a metric"),
        },
        expected: Some(metrics()),
        at: tokens[0].at,
        length: tokens[0].length,
    })?;
    let TokenKind::Compare(comparison) = tokens[1].kind else { return Err(wrong(1, "< <= > >= == or !=")) };
    let (sign, at) = if tokens[2].kind == TokenKind::Minus { (-1.0, 3) } else { (1.0, 2) };
    let TokenKind::Number(value) = tokens[at].kind else { return Err(wrong(at, "a number")) };
    if tokens[at + 1].kind != TokenKind::End {
        return Err(wrong(at + 1, "the end: `<metric> <op> <number>`, one rule per condition"));
    }
    Ok(Condition { metric, k, comparison, value: sign * value })
}

fn metric(name: &str) -> Option<(String, Option<usize>)> {
    if name == "recall" {
        return Some(("recall_strict".to_owned(), None));
    }
    if let Some(k) = name.strip_prefix("recall_at_") {
        return Some(("recall_strict".to_owned(), Some(k.parse().ok()?)));
    }
    METRICS.contains(&name).then(|| (name.to_owned(), None))
}

fn metrics() -> String {
    format!("recall_at_<k>, {}", METRICS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_metric_a_comparison_and_a_number() {
        let recall = parse("recall_at_10 >= 0.95").unwrap();
        assert_eq!((recall.metric.as_str(), recall.k, recall.value), ("recall_strict", Some(10), 0.95));
        assert_eq!(parse("qps > 1_000").unwrap().value, 1000.0);
        assert_eq!(parse("recall==1").unwrap().metric, "recall_strict");
        assert_eq!(parse("relative_error > -0.5").unwrap().value, -0.5);
    }

    #[test]
    fn anything_else_is_placed_at_its_mistake() {
        for (text, at, words) in [
            ("", 0, "the end"),
            ("0.9 <= recall", 0, "number"),
            ("reccall >= 0.9", 0, "did you mean `recall`"),
            ("recall_at_x >= 1", 0, "not a metric"),
            ("colour == 1", 0, "not a metric"),
            ("qps", 3, "the end"),
            ("qps >= ", 7, "the end"),
            ("qps >= fast", 7, "fast"),
            ("qps >= - x", 9, "x"),
            ("qps >= -", 8, "the end"),
            ("qps >= 1 and recall > 0", 9, "and"),
            ("qps @ 1", 4, "does not belong"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error:?}");
            assert!(error.message.contains(words), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_row_is_selected_by_everything_the_selector_names() {
        let map = |name: &str, value: u64| BTreeMap::from([(name.to_owned(), Value::from(value))]);
        let (build, search) = (map("m", 16), map("ef_search", 160));
        let row = Row {
            index: "hnsw",
            kind: Kind::Hnsw,
            workload: "single",
            k: 10,
            threads: 1,
            build: &build,
            build_threads: 2,
            seed: 7,
            search: &search,
        };
        let Condition { metric, k, comparison, value } = parse("recall_at_10 >= 0.95").unwrap();
        let expect = Expect {
            text: String::new(),
            place: Place { line: 1, column: 1, length: 1 },
            metric,
            comparison,
            value,
            index: "hnsw".to_owned(),
            workload: None,
            k,
            threads: None,
            at: BTreeMap::new(),
        };
        let with = |at: &[(&str, u64)]| Expect {
            at: at.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect(),
            ..expect.clone()
        };
        assert!(
            expect.selects(&row) && with(&[("m", 16), ("ef_search", 160), ("threads", 2), ("seed", 7)]).selects(&row)
        );
        assert!(with(&[("patience", 0), ("sub_dim", 0)]).selects(&row), "what goes without saying is there");
        for other in
            [("m", 32), ("ef_search", 10), ("threads", 1), ("seed", 1), ("nprobe", 1), ("patience", 5), ("leaf", 2000)]
        {
            assert!(!with(&[other]).selects(&row), "{other:?}");
        }
        assert!(!with(&[("patience", 0)]).selects(&Row { kind: Kind::Ivf, ..row }), "a graph's alone");
        assert!(!Expect { k: Some(20), ..expect.clone() }.selects(&row));
        assert!(!Expect { threads: Some(2), ..expect.clone() }.selects(&row));
        assert!(!Expect { workload: Some("batch".to_owned()), ..expect.clone() }.selects(&row));
        assert!(expect.holds(0.95) && !expect.holds(0.94) && !expect.holds(f64::NAN));
    }
}

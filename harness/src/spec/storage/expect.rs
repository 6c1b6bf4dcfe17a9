//! `expect` rules about stores: `<metric> <op> <number>`, for the medians of the points that a selector picks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::StoreMode;
use crate::spec::{
    Comparison, Place, RuleError,
    lexer::{TokenKind, lex},
    suggest::nearest,
};

/// What an `expect` rule about stores may speak of. The ratios are those of the report, each of one mode only.
pub const STORE_METRICS: [&str; 19] = [
    "load_ratio",
    "read_ratio",
    "compaction_ratio",
    "open_ratio",
    "filter_ratio",
    "rows_per_second",
    "bytes_per_second",
    "wall_seconds",
    "cpu_seconds",
    "sync_seconds",
    "latency_ns_mean",
    "latency_ns_p50",
    "latency_ns_p99",
    "latency_ns_p999",
    "latency_ns_max",
    "disk_bytes",
    "disk_ratio",
    "freed_bytes",
    "found",
];

/// One expectation: a rule and the points it must hold for. It is met when it holds for the median of every selected point
/// that has the metric; without any it is not met.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreExpect {
    /// The rule with its selector, for people.
    pub text: String,
    /// Where the rule stands.
    pub place: Place,
    /// One of [`STORE_METRICS`].
    pub metric: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: f64,
    /// Store name.
    pub store: String,
    /// Workload name.
    pub workload: Option<String>,
    /// Data set name.
    pub dataset: Option<String>,
    /// Values that a point must have.
    pub at: BTreeMap<String, Value>,
}

/// The only mode that has a metric; `None` where several may.
pub(super) fn mode_of(metric: &str) -> Option<StoreMode> {
    Some(match metric {
        "load_ratio" | "sync_seconds" => StoreMode::BulkLoad,
        "read_ratio" => StoreMode::PointRead,
        "compaction_ratio" | "freed_bytes" => StoreMode::Compaction,
        "open_ratio" => StoreMode::Reopen,
        "filter_ratio" | "found" => StoreMode::Filter,
        _ => return None,
    })
}

impl StoreExpect {
    /// The mode that it speaks of, where its metric belongs to one.
    pub fn mode(&self) -> Option<StoreMode> {
        mode_of(&self.metric)
    }
}

/// Parses `<metric> <op> <number>`. Never panics.
pub(super) fn parse(text: &str) -> Result<(String, Comparison, f64), RuleError> {
    let tokens = lex(text)?;
    let wrong = |i: usize, message: Option<String>, expected: String| {
        let token = &tokens[i.min(tokens.len() - 1)];
        let message = message.unwrap_or_else(|| format!("{} is not expected here", token.kind));
        RuleError { message, expected: Some(expected), at: token.at, length: token.length }
    };
    let TokenKind::Name(name) = &tokens[0].kind else { return Err(wrong(0, None, STORE_METRICS.join(", "))) };
    if !STORE_METRICS.contains(&name.as_str()) {
        let near = nearest(name, STORE_METRICS).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!("`{name}` is not a metric of stores{near}");
        return Err(wrong(0, Some(message), STORE_METRICS.join(", ")));
    }
    let TokenKind::Compare(comparison) = tokens[1].kind else {
        return Err(wrong(1, None, "< <= > >= == or !=".into()));
    };
    let TokenKind::Number(value) = tokens[2].kind else { return Err(wrong(2, None, "a number".into())) };
    if tokens[3].kind != TokenKind::End {
        return Err(wrong(3, None, "the end: `<metric> <op> <number>`, one rule per condition".into()));
    }
    Ok((name.clone(), comparison, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_about_stores_is_a_metric_a_comparison_and_a_number() {
        let (metric, comparison, value) = parse("load_ratio >= 0.8").unwrap();
        assert_eq!((metric.as_str(), value), ("load_ratio", 0.8));
        assert!(comparison.holds(0.9, value) && !comparison.holds(0.7, value));
    }

    #[test]
    fn anything_else_is_placed_at_its_mistake() {
        for (text, at, words) in [
            ("", 0, "the end"),
            ("load_rato > 1", 0, "did you mean `load_ratio`"),
            ("qps > 1", 0, "not a metric of stores"),
            ("load_ratio", 10, "the end"),
            ("load_ratio > fast", 13, "fast"),
            ("load_ratio > 1 and found > 2", 15, "and"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error:?}");
            assert!(error.message.contains(words), "{text}: {error:?}");
        }
    }
}

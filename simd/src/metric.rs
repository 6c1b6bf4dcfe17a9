//! What "near" means: the three metrics of the field, by the names used in experiments and files.

use std::fmt;
use std::str::FromStr;

/// How two vectors are compared. Every distance computed from a metric is "smaller is nearer".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Squared Euclidean distance `Σ (a_i - b_i)²`, in `[0, ∞)`. The root is left to whoever shows it.
    L2,
    /// `-<a, b>`: the largest inner product is the nearest.
    InnerProduct,
    /// `1 - <a, b>` on vectors that are already of unit length ([`normalize`](crate::normalize())), in `[0, 2]` up to
    /// rounding. A zero vector stays zero and is at distance 1 from everything.
    Cosine,
}

impl Metric {
    /// Every metric, in the order of this enum.
    pub const ALL: [Self; 3] = [Self::L2, Self::InnerProduct, Self::Cosine];

    /// The name used in experiments, files and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::InnerProduct => "inner_product",
            Self::Cosine => "cosine",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Metric {
    type Err = ParseMetricError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.as_str() == name)
            .ok_or_else(|| ParseMetricError { found: name.to_owned() })
    }
}

/// A name that is no metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric {found:?}: expected \"l2\", \"inner_product\" or \"cosine\"")]
pub struct ParseMetricError {
    /// The name that was given.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_read_back_from_its_name() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
    }

    #[test]
    fn an_unknown_metric_is_refused_with_the_choices() {
        let error = "euclidean".parse::<Metric>().unwrap_err();
        assert_eq!(error.to_string(), "unknown metric \"euclidean\": expected \"l2\", \"inner_product\" or \"cosine\"");
    }
}

//! What a synthetic set is made of, as written in YAML or on a command line.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Distribution of a synthetic set; the table in [`crate::synth`] gives the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SynthKind {
    /// Uniform in the unit cube.
    Uniform,
    /// Gaussian mixture.
    Clustered,
    /// Gaussian in a random subspace, plus noise.
    LowIntrinsic,
    /// Unit vectors shaped like text embeddings.
    Embedding,
}

/// A synthetic set. Parameters that are `None` get the default of their kind; one that its kind does not have is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthSpec {
    /// Distribution.
    pub kind: SynthKind,
    /// Base vectors, at least 1.
    pub n: usize,
    /// Dimensions, at least 1.
    pub d: usize,
    /// Query vectors, at least 1.
    pub queries: usize,
    /// Seed; 0 when not given.
    #[serde(default)]
    pub seed: u64,
    /// `clustered`, `embedding`: centres (topics), at least 1. Default: the square root of `n`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<usize>,
    /// `clustered`: standard deviation about a centre, > 0, default 0.1.
    /// `embedding`: share of the variance about the common mean that lies within topics, in (0, 1], default 0.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// `low_intrinsic`: dimensions of the subspace, 1..=d, default min(d, 16).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intrinsic: Option<usize>,
    /// `low_intrinsic`: standard deviation of the noise on every coordinate, >= 0, default 0.01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// `embedding`: the variance of the i-th principal direction falls like i^-decay, >= 0, default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// `embedding`: mean cosine of two random rows, in [0, 1), default 0.7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common: Option<f64>,
}

/// A specification that no set can have.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SynthError {
    /// A value out of its range.
    #[error("{parameter}: expected {expected}, found {found}")]
    Range {
        /// The parameter.
        parameter: &'static str,
        /// Its range in words.
        expected: &'static str,
        /// The value.
        found: String,
    },
    /// A parameter of another kind.
    #[error("{parameter} means nothing for {kind} data; it belongs to {of}")]
    Foreign {
        /// The parameter.
        parameter: &'static str,
        /// The kind asked for.
        kind: SynthKind,
        /// The kinds that have it.
        of: &'static str,
    },
}

impl fmt::Display for SynthKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Clustered => "clustered",
            Self::LowIntrinsic => "low_intrinsic",
            Self::Embedding => "embedding",
        })
    }
}

impl std::str::FromStr for SynthKind {
    type Err = SynthError;

    fn from_str(text: &str) -> Result<Self, SynthError> {
        let kinds = [Self::Uniform, Self::Clustered, Self::LowIntrinsic, Self::Embedding];
        kinds.into_iter().find(|kind| kind.to_string() == text.replace('-', "_")).ok_or_else(|| SynthError::Range {
            parameter: "kind",
            expected: "uniform, clustered, low_intrinsic or embedding",
            found: text.into(),
        })
    }
}

/// Every parameter in use, for notes in files: `synthetic: clustered, n 1000, d 16, queries 10, seed 7, clusters 32, ...`.
impl fmt::Display for SynthSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, n, d, queries, seed, .. } = self;
        write!(f, "synthetic: {kind}, n {n}, d {d}, queries {queries}, seed {seed}")?;
        for (name, value) in [("clusters", self.clusters), ("intrinsic", self.intrinsic)] {
            value.map_or(Ok(()), |value| write!(f, ", {name} {value}"))?;
        }
        for (name, value) in
            [("spread", self.spread), ("noise", self.noise), ("decay", self.decay), ("common", self.common)]
        {
            value.map_or(Ok(()), |value| write!(f, ", {name} {value}"))?;
        }
        Ok(())
    }
}

impl SynthSpec {
    /// A set with the default parameters of its kind.
    pub fn new(kind: SynthKind, n: usize, d: usize, queries: usize, seed: u64) -> Self {
        let (clusters, spread, intrinsic, noise, decay, common) = (None, None, None, None, None, None);
        Self { kind, n, d, queries, seed, clusters, spread, intrinsic, noise, decay, common }
    }

    /// Checked, with the defaults of its kind filled in.
    pub(super) fn resolved(&self) -> Result<Self, SynthError> {
        at_least_one("n", self.n)?;
        at_least_one("d", self.d)?;
        at_least_one("queries", self.queries)?;
        self.refuse_foreign()?;
        let mut spec = self.clone();
        let topics = (self.n as f64).sqrt().round() as usize;
        match self.kind {
            SynthKind::Uniform => {}
            SynthKind::Clustered => {
                at_least_one("clusters", *spec.clusters.get_or_insert(topics))?;
                let spread = *spec.spread.get_or_insert(0.1);
                in_range("spread", "a positive number", spread, spread > 0.0)?;
            }
            SynthKind::LowIntrinsic => {
                let intrinsic = *spec.intrinsic.get_or_insert(self.d.min(16));
                at_least_one("intrinsic", intrinsic)?;
                if intrinsic > self.d {
                    return Err(range("intrinsic", "at most d", intrinsic));
                }
                let noise = *spec.noise.get_or_insert(0.01);
                in_range("noise", "a number of at least 0", noise, noise >= 0.0)?;
            }
            SynthKind::Embedding => {
                at_least_one("clusters", *spec.clusters.get_or_insert(topics))?;
                let spread = *spec.spread.get_or_insert(0.5);
                in_range("spread", "a number in (0, 1]", spread, spread > 0.0 && spread <= 1.0)?;
                let decay = *spec.decay.get_or_insert(1.0);
                in_range("decay", "a number of at least 0", decay, decay >= 0.0)?;
                let common = *spec.common.get_or_insert(0.7);
                in_range("common", "a number in [0, 1)", common, (0.0..1.0).contains(&common))?;
            }
        }
        Ok(spec)
    }

    fn refuse_foreign(&self) -> Result<(), SynthError> {
        use SynthKind::{Clustered, Embedding, LowIntrinsic};
        let rules: [(&'static str, bool, &[SynthKind], &'static str); 6] = [
            ("clusters", self.clusters.is_some(), &[Clustered, Embedding], "clustered and embedding"),
            ("spread", self.spread.is_some(), &[Clustered, Embedding], "clustered and embedding"),
            ("intrinsic", self.intrinsic.is_some(), &[LowIntrinsic], "low_intrinsic"),
            ("noise", self.noise.is_some(), &[LowIntrinsic], "low_intrinsic"),
            ("decay", self.decay.is_some(), &[Embedding], "embedding"),
            ("common", self.common.is_some(), &[Embedding], "embedding"),
        ];
        for (parameter, given, kinds, of) in rules {
            if given && !kinds.contains(&self.kind) {
                return Err(SynthError::Foreign { parameter, kind: self.kind, of });
            }
        }
        Ok(())
    }
}

fn at_least_one(parameter: &'static str, value: usize) -> Result<(), SynthError> {
    if value == 0 { Err(range(parameter, "at least 1", value)) } else { Ok(()) }
}

fn in_range(parameter: &'static str, expected: &'static str, value: f64, inside: bool) -> Result<(), SynthError> {
    if inside && value.is_finite() { Ok(()) } else { Err(range(parameter, expected, value)) }
}

fn range(parameter: &'static str, expected: &'static str, found: impl fmt::Display) -> SynthError {
    SynthError::Range { parameter, expected, found: found.to_string() }
}

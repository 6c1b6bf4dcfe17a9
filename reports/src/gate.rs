//! The exact gate: deterministic counters of fixed cases against a golden file.
//!
//! A golden file says for each case what each metric must be, to the last digit; timing has no place in it. What is
//! missing on either side is "could not tell", which is not a pass: the gate fails closed. `--bless` writes the measured
//! values as the new golden file, and its diff in the commit shows what moved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    atomic::{self, FileError},
    grid::{Grid, escape_markdown},
};

/// Version of the golden file's layout.
const VERSION: u32 = 1;

/// An exact value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Exact {
    /// A count.
    Integer(i64),
    /// A digest or another word.
    Text(String),
}

impl From<u64> for Exact {
    /// A count beyond `i64` is kept as its digits.
    fn from(count: u64) -> Self {
        i64::try_from(count).map_or_else(|_| Self::Text(count.to_string()), Self::Integer)
    }
}

impl From<&str> for Exact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(count) => count.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Metric values by case.
pub type Cases = BTreeMap<String, BTreeMap<String, Exact>>;

/// A golden file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Layout version.
    version: u32,
    /// What must come out, by case and metric.
    pub cases: Cases,
}

/// Why a golden file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The file could not be read.
    #[error("{}: cannot read the golden file: {source}; `nearlab gate --bless` writes it", path.display())]
    Io {
        /// The golden file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not a golden file.
    #[error("{}: not a golden file: {source}", path.display())]
    Parse {
        /// The golden file.
        path: PathBuf,
        /// What the parser expected and found.
        source: serde_json::Error,
    },
    /// The file is of another layout.
    #[error("{}: golden file version {found}, but this program reads version {VERSION}", path.display())]
    Version {
        /// The golden file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
    },
}

impl Golden {
    /// What was measured, as the new expectation.
    pub fn bless(measured: Cases) -> Self {
        Self { version: VERSION, cases: measured }
    }

    /// Reads a golden file.
    pub fn read(path: &Path) -> Result<Self, GoldenError> {
        let bytes = std::fs::read(path).map_err(|source| GoldenError::Io { path: path.to_owned(), source })?;
        let golden: Self =
            serde_json::from_slice(&bytes).map_err(|source| GoldenError::Parse { path: path.to_owned(), source })?;
        if golden.version == VERSION {
            Ok(golden)
        } else {
            Err(GoldenError::Version { path: path.to_owned(), found: golden.version })
        }
    }

    /// Writes the file whole or not at all, one metric per line, so that a diff names what moved.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| FileError::at(path, "encode")(error.into()))?;
        bytes.push(b'\n');
        atomic::write(path, &bytes).map(drop)
    }
}

/// What one metric of one case came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exactly as the golden file says.
    Same,
    /// Measured, and another value.
    Differs,
    /// In the golden file, but not measured.
    NotMeasured,
    /// Measured, but not in the golden file.
    NotInGolden,
}

impl Outcome {
    /// One word or three.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::NotMeasured => "not measured",
            Self::NotInGolden => "not in the golden file",
        }
    }
}

/// One metric of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Case name.
    pub case: String,
    /// Metric name.
    pub metric: String,
    /// Value in the golden file.
    pub expected: Option<Exact>,
    /// Value measured.
    pub found: Option<Exact>,
    /// What that comes to.
    pub outcome: Outcome,
}

impl Finding {
    /// The change in percent, where both are counts and the expected one is not 0.
    pub fn change_percent(&self) -> Option<f64> {
        match (&self.expected, &self.found) {
            (Some(Exact::Integer(expected)), Some(Exact::Integer(found))) if *expected != 0 => {
                Some((*found - *expected) as f64 / *expected as f64 * 100.0)
            }
            _ => None,
        }
    }

    fn sentence(&self) -> String {
        let show = |value: &Option<Exact>| value.as_ref().map_or_else(|| "nothing".to_owned(), Exact::to_string);
        let (case, metric) = (&self.case, &self.metric);
        match self.outcome {
            Outcome::Same => format!("{case}: {metric} is {}", show(&self.found)),
            Outcome::Differs => {
                format!("{case}: {metric}: expected {}, found {}", show(&self.expected), show(&self.found))
            }
            Outcome::NotMeasured => format!("{case}: {metric}: expected {}, not measured", show(&self.expected)),
            Outcome::NotInGolden => {
                format!("{case}: {metric}: measured {}, not in the golden file", show(&self.found))
            }
        }
    }
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every metric of every case is exactly as expected.
    Pass,
    /// At least one metric differs.
    Regression(Vec<Finding>),
    /// Nothing differs, but not everything could be compared.
    CouldNotTell(Vec<String>),
}

impl Verdict {
    /// 0, 1 or 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Regression(_) => 1,
            Self::CouldNotTell(_) => 2,
        }
    }

    /// In words.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Regression(_) => "regression",
            Self::CouldNotTell(_) => "could not tell",
        }
    }
}

/// The gate's findings and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Every metric of every case, in order.
    pub findings: Vec<Finding>,
    /// The verdict.
    pub verdict: Verdict,
}

/// Compares what was measured with what must be. `broken` are reasons for which cases could not be measured at all.
pub fn judge(golden: &Golden, measured: &Cases, broken: &[String]) -> Judgement {
    let nothing = BTreeMap::new();
    let cases: BTreeSet<&String> = golden.cases.keys().chain(measured.keys()).collect();
    let mut findings = Vec::new();
    for case in cases {
        let expected = golden.cases.get(case).unwrap_or(&nothing);
        let found = measured.get(case).unwrap_or(&nothing);
        let metrics: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        findings
            .extend(metrics.into_iter().map(|metric| finding(case, metric, expected.get(metric), found.get(metric))));
    }
    let differing: Vec<Finding> = findings.iter().filter(|one| one.outcome == Outcome::Differs).cloned().collect();
    let mut reasons: Vec<String> = broken.to_vec();
    let unclear = |one: &&Finding| matches!(one.outcome, Outcome::NotMeasured | Outcome::NotInGolden);
    reasons.extend(findings.iter().filter(unclear).map(Finding::sentence));
    if findings.is_empty() {
        reasons.push("there is no case to compare".to_owned());
    }
    let verdict = if !differing.is_empty() {
        Verdict::Regression(differing)
    } else if reasons.is_empty() {
        Verdict::Pass
    } else {
        Verdict::CouldNotTell(reasons)
    };
    Judgement { findings, verdict }
}

fn finding(case: &str, metric: &str, expected: Option<&Exact>, found: Option<&Exact>) -> Finding {
    let outcome = match (expected, found) {
        (Some(expected), Some(found)) if expected == found => Outcome::Same,
        (Some(_), Some(_)) => Outcome::Differs,
        (Some(_), None) => Outcome::NotMeasured,
        (None, _) => Outcome::NotInGolden,
    };
    let (case, metric) = (case.to_owned(), metric.to_owned());
    Finding { case, metric, expected: expected.cloned(), found: found.cloned(), outcome }
}

impl Judgement {
    /// Every finding as a table.
    pub fn grid(&self) -> Grid {
        let mut grid = Grid::new(&["case", "metric", "#expected", "#found", "#change", "outcome"]);
        for one in &self.findings {
            let show = |value: &Option<Exact>| value.as_ref().map_or_else(|| "–".to_owned(), Exact::to_string);
            let change = match one.change_percent() {
                Some(percent) if percent != 0.0 => format!("{percent:+.2} %"),
                _ => "–".to_owned(),
            };
            let outcome = one.outcome.word().to_owned();
            let (case, metric) = (one.case.clone(), one.metric.clone());
            grid.push(vec![case, metric, show(&one.expected), show(&one.found), change, outcome]);
        }
        grid
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let mut out = self.grid().to_text();
        let _ = writeln!(out, "\ngate: {}", self.verdict.word());
        for reason in self.reasons() {
            let _ = writeln!(out, "  {reason}");
        }
        out
    }

    /// For a pull request.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("## Gate: {}\n\n", self.verdict.word());
        for reason in self.reasons() {
            let _ = writeln!(out, "- {}", escape_markdown(&reason));
        }
        if self.verdict != Verdict::Pass {
            out.push('\n');
        }
        out + &self.grid().to_markdown()
    }

    /// `JUnit` XML: one test case per metric; what differs is a failure, what could not be compared an error.
    pub fn to_junit(&self) -> String {
        let count = |outcomes: &[Outcome]| self.findings.iter().filter(|one| outcomes.contains(&one.outcome)).count();
        let not_tied: Vec<String> = match &self.verdict {
            Verdict::CouldNotTell(reasons) => {
                let told: Vec<String> = self.findings.iter().map(Finding::sentence).collect();
                reasons.iter().filter(|reason| !told.contains(reason)).cloned().collect()
            }
            _ => Vec::new(),
        };
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            out,
            "<testsuite name=\"nearlab gate\" tests=\"{}\" failures=\"{}\" errors=\"{}\">",
            self.findings.len() + not_tied.len(),
            count(&[Outcome::Differs]),
            count(&[Outcome::NotMeasured, Outcome::NotInGolden]) + not_tied.len(),
        );
        for one in &self.findings {
            let (case, metric) = (escape_xml(&one.case), escape_xml(&one.metric));
            let message = escape_xml(&one.sentence());
            let inner = match one.outcome {
                Outcome::Same => String::new(),
                Outcome::Differs => format!("<failure message=\"{message}\"/>"),
                Outcome::NotMeasured | Outcome::NotInGolden => format!("<error message=\"{message}\"/>"),
            };
            let _ = writeln!(out, "  <testcase classname=\"{case}\" name=\"{metric}\">{inner}</testcase>");
        }
        for reason in not_tied {
            let message = escape_xml(&reason);
            let error = format!("<error message=\"{message}\"/>");
            let _ = writeln!(out, "  <testcase classname=\"gate\" name=\"measure\">{error}</testcase>");
        }
        out + "</testsuite>\n"
    }

    fn reasons(&self) -> Vec<String> {
        match &self.verdict {
            Verdict::Pass => Vec::new(),
            Verdict::Regression(findings) => {
                let unclear = |one: &&Finding| matches!(one.outcome, Outcome::NotMeasured | Outcome::NotInGolden);
                findings.iter().chain(self.findings.iter().filter(unclear)).map(Finding::sentence).collect()
            }
            Verdict::CouldNotTell(reasons) => reasons.clone(),
        }
    }
}

/// Text inside an XML attribute; characters that XML cannot hold become a question mark.
fn escape_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => out.push(' '),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(values: &[(&str, &str, Exact)]) -> Cases {
        let mut cases = Cases::new();
        for (case, metric, value) in values {
            cases.entry((*case).to_owned()).or_default().insert((*metric).to_owned(), value.clone());
        }
        cases
    }

    fn golden() -> Golden {
        Golden::bless(cases(&[
            ("hnsw", "digest", "00ff".into()),
            ("hnsw", "distance_computations", 1000.into()),
            ("ivf", "recall_hits", 0.into()),
        ]))
    }

    #[test]
    fn the_same_numbers_pass() {
        let judgement = judge(&golden(), &golden().cases, &[]);
        assert_eq!((&judgement.verdict, judgement.verdict.exit_code()), (&Verdict::Pass, 0));
        assert!(judgement.to_junit().contains("failures=\"0\" errors=\"0\""));
        assert!(judgement.to_text().ends_with("gate: pass\n"));
    }

    #[test]
    fn one_distance_more_is_a_regression() {
        let mut measured = golden().cases;
        measured.get_mut("hnsw").unwrap().insert("distance_computations".into(), 1001.into());
        measured.remove("ivf");
        let judgement = judge(&golden(), &measured, &[]);
        assert_eq!(judgement.verdict.exit_code(), 1);
        insta::assert_snapshot!("regression_text", judgement.to_text());
        insta::assert_snapshot!("regression_markdown", judgement.to_markdown());
        insta::assert_snapshot!("regression_junit", judgement.to_junit());
    }

    #[test]
    fn what_is_missing_is_not_a_pass() {
        let mut measured = golden().cases;
        measured.get_mut("hnsw").unwrap().remove("digest");
        measured.entry("new <case>".into()).or_default().insert("hops".into(), 7.into());
        let judgement = judge(&golden(), &measured, &["worker \"x\" crashed\n".to_owned()]);
        assert_eq!(judgement.verdict.exit_code(), 2);
        assert_eq!(judgement.verdict.word(), "could not tell");
        insta::assert_snapshot!("could_not_tell_junit", judgement.to_junit());
        insta::assert_snapshot!("could_not_tell_text", judgement.to_text());
        let Verdict::CouldNotTell(reasons) = judgement.verdict else { panic!("{:?}", judgement.verdict) };
        assert_eq!(reasons.len(), 3);
    }

    #[test]
    fn an_empty_gate_is_not_a_pass() {
        assert_eq!(judge(&Golden::bless(Cases::new()), &Cases::new(), &[]).verdict.exit_code(), 2);
    }

    #[test]
    fn a_golden_file_comes_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.json");
        golden().write(&path).unwrap();
        assert_eq!(Golden::read(&path).unwrap(), golden());
        insta::assert_snapshot!("golden_file", std::fs::read_to_string(&path).unwrap());
    }

    #[test]
    fn a_golden_file_that_is_none_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.json");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Golden::read(&path).unwrap_err().to_string()
        };
        assert!(refused("{").contains("golden.json: not a golden file: EOF"));
        assert!(refused(r#"{"version": 9, "cases": {}}"#).contains("version 9"));
        assert!(refused(r#"{"version": 1, "cases": {"a": {"b": 0.5}}}"#).contains("not a golden file"));
        let missing = Golden::read(&folder.path().join("none.json")).unwrap_err().to_string();
        assert!(missing.contains("none.json: cannot read") && missing.contains("--bless"));
    }

    #[test]
    fn a_count_too_large_for_the_file_keeps_its_digits() {
        assert_eq!(Exact::from(u64::MAX).to_string(), u64::MAX.to_string());
        assert_eq!(escape_xml("a\u{1}<&>\"\u{ffff}"), "a?&lt;&amp;&gt;&quot;?");
    }
}

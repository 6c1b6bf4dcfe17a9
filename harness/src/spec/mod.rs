//! The question: an experiment file, read, judged and resolved.
//!
//! [`load`] turns YAML into a [`Spec`] or into a [`SpecError`] that draws every mistake it found: unknown keys and
//! wrong types (one at a time, as the parser meets them), then all mistakes of meaning together. Data sets and workers
//! are looked for only by [`Spec::check_files`], so that a file can be judged where its data is not.
//!
//! | file | what |
//! |---|---|
//! | `yaml` | the keys, their types and their words, which are the JSON Schema too |
//! | `sweep`, `located`, `units` | values of the YAML: sweeps, places, durations and sizes |
//! | `params` | the parameters of the known indexes |
//! | `rule`, `parser`, `lexer`, `expect` | the languages of `require` and `expect` |
//! | `resolve`, `measure`, `names` | from the YAML to a [`Spec`] |
//! | `storage` | experiments about stores |
//! | `schema` | the JSON Schema, with each kind's parameters |
//! | `error`, `syntax`, `suggest` | what a mistake is answered with |
//!
//! Relative paths (data sets, workers, gate files) are looked up in the experiment's folder first, then in the current
//! folder. `${VAR}` in a path stands for an environment variable; an unset one is an error. Whole numbers may carry
//! underscores (`1_000_000`).
//!
//! Absent: nothing here knows sizes of data sets, hashes or the order of measurements; that is [`crate::plan`].

mod error;
mod expect;
mod lexer;
mod located;
mod measure;
mod model;
mod names;
mod params;
mod parser;
mod paths;
mod resolve;
mod rule;
mod schema;
mod storage;
mod suggest;
mod sweep;
mod syntax;
mod units;
mod yaml;

use std::{path::Path, sync::Arc};

pub use error::{Diagnostic, Place, SpecError};
pub use expect::{Expect, METRICS, Row};
pub use model::{
    DatasetSource, DatasetSpec, IndexSpec, Kind, Measure, Mode, Order, Pin, ProfileSpec, QuerySplit, Spec, Sweeps,
    Workload,
};
pub use params::{Domain, Parameter, Phase, goes_without_saying, table};
pub use paths::Surroundings;
pub use rule::{Comparison, FACTS, Name, Operand, Rule, RuleError};
pub use schema::schema_json;
pub use storage::{Durability, STORE_METRICS, StoreEntry, StoreExpect, StoreKind, StoreMode, StoreSpec, StoreWorkload};

/// Largest experiment file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Reads and judges an experiment file, with this process's variables and current folder.
pub fn load(path: &Path) -> Result<Spec, SpecError> {
    load_in(path, &Surroundings::of_process())
}

/// [`load`] with other variables and another current folder.
pub fn load_in(path: &Path, surroundings: &Surroundings<'_>) -> Result<Spec, SpecError> {
    let yaml = read(path)?;
    parse(path, &yaml, surroundings)
}

/// What an experiment asks about.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Indexes.
    Indexes(Box<Spec>),
    /// Stores.
    Stores(Box<StoreSpec>),
}

/// Reads and judges an experiment file of either kind, with this process's variables and current folder.
pub fn load_question(path: &Path) -> Result<Question, SpecError> {
    load_question_in(path, &Surroundings::of_process())
}

/// [`load_question`] with other variables and another current folder.
pub fn load_question_in(path: &Path, surroundings: &Surroundings<'_>) -> Result<Question, SpecError> {
    parse_question(path, &read(path)?, surroundings)
}

/// Judges the text of an experiment of either kind. Never panics, whatever the text.
pub fn parse_question(path: &Path, yaml: &str, surroundings: &Surroundings<'_>) -> Result<Question, SpecError> {
    if !syntax::is_about_stores(yaml) {
        return parse(path, yaml, surroundings).map(|spec| Question::Indexes(Box::new(spec)));
    }
    let experiment =
        syntax::store_experiment(yaml).map_err(|diagnostic| SpecError::invalid(path, yaml, vec![diagnostic]))?;
    storage::resolve(path, yaml, experiment, surroundings)
        .map(|spec| Question::Stores(Box::new(spec)))
        .map_err(|diagnostics| SpecError::invalid(path, yaml, diagnostics))
}

fn read(path: &Path) -> Result<String, SpecError> {
    let io = |source| SpecError::Io { path: path.to_owned(), source: Arc::new(source) };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > LARGEST {
        return Err(io(std::io::Error::other(format!(
            "an experiment of {bytes} bytes is more than the {LARGEST} that are read"
        ))));
    }
    std::fs::read_to_string(path).map_err(io)
}

/// Judges the text of an experiment that stands, or would stand, at `path`. Never panics, whatever the text.
pub fn parse(path: &Path, yaml: &str, surroundings: &Surroundings<'_>) -> Result<Spec, SpecError> {
    let experiment = syntax::experiment(yaml).map_err(|diagnostic| SpecError::invalid(path, yaml, vec![diagnostic]))?;
    resolve::resolve(path, yaml, experiment, surroundings)
        .map_err(|diagnostics| SpecError::invalid(path, yaml, diagnostics))
}

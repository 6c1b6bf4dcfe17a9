//! `results.parquet` and `results.csv`: one row per search point, workload and repeat, derived from the records.
//!
//! Parameters become columns of their own (`build.m`, `search.ef_search`), so that no name has to be parsed back out of
//! a label. A search that failed is a row too, with its `status` and `error` and no measured values.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use polars::prelude::{
    Column, CsvWriter, DataFrame, IntoColumn, NamedFrom, ParquetCompression, ParquetWriter, PolarsError, SerWriter,
    Series,
};
use serde_json::Value;

use crate::{
    atomic::{self, FileError},
    record::{Build, Failure, Outcome, Params, Run, Search},
    run::RunData,
    storage,
};

mod columns;

pub use columns::{COLUMNS, ColumnDoc, Unit, describe};

/// Why the tables could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Polars refused; this is a mistake in nearlab.
    #[error("cannot encode the table of results: {0}")]
    Encode(#[from] PolarsError),
}

/// The cells of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Other numbers.
    Number(Vec<Option<f64>>),
    /// Words.
    Text(Vec<Option<String>>),
    /// Yes or no.
    Boolean(Vec<Option<bool>>),
}

/// The results as named columns of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Name and cells, in the order of [`COLUMNS`].
    pub columns: Vec<(String, Cells)>,
}

/// One row's origin.
#[derive(Debug)]
enum Source<'a> {
    Measured { run: &'a RunData, number: usize, search: &'a Search },
    Failed { run: &'a RunData, failure: &'a Failure },
}

impl Table {
    /// Of one or several runs, in the order measured; failures after each run's searches.
    pub fn of(runs: &[RunData]) -> Self {
        if storage::is_storage(runs) {
            return Self { columns: storage::columns(runs) };
        }
        let mut rows = Vec::new();
        for run in runs {
            rows.extend(run.searches.iter().enumerate().map(|(number, search)| Source::Measured {
                run,
                number,
                search,
            }));
            rows.extend(run.failures.iter().map(|failure| Source::Failed { run, failure }));
        }
        let mut columns = Vec::new();
        for doc in COLUMNS {
            match doc.name {
                "build.*" => columns.extend(parameters(&rows, "build.", |row| Some(row.build()))),
                "search.*" => columns.extend(parameters(&rows, "search.", Source::params)),
                "memory.*" => columns.extend(memory(&rows)),
                name => columns.extend(doc.cells(&rows).map(|cells| (name.to_owned(), cells))),
            }
        }
        Self { columns }
    }

    /// Rows.
    pub fn len(&self) -> usize {
        match self.columns.first() {
            Some((_, Cells::Integer(cells))) => cells.len(),
            Some((_, Cells::Number(cells))) => cells.len(),
            Some((_, Cells::Text(cells))) => cells.len(),
            Some((_, Cells::Boolean(cells))) => cells.len(),
            None => 0,
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The table as polars holds it.
    pub fn to_frame(&self) -> Result<DataFrame, PolarsError> {
        let column = |(name, cells): &(String, Cells)| -> Column {
            let name = name.as_str().into();
            match cells {
                Cells::Integer(cells) => Series::new(name, cells).into_column(),
                Cells::Number(cells) => Series::new(name, cells).into_column(),
                Cells::Text(cells) => Series::new(name, cells).into_column(),
                Cells::Boolean(cells) => Series::new(name, cells).into_column(),
            }
        };
        DataFrame::new(self.len(), self.columns.iter().map(column).collect())
    }

    /// Columns by name, for embedding: `{"qps": [..], ..}`.
    pub fn to_json(&self) -> Value {
        let cells = |cells: &Cells| match cells {
            Cells::Integer(cells) => serde_json::json!(cells),
            Cells::Number(cells) => serde_json::json!(cells),
            Cells::Text(cells) => serde_json::json!(cells),
            Cells::Boolean(cells) => serde_json::json!(cells),
        };
        Value::Array(self.columns.iter().map(|(name, column)| serde_json::json!([name, cells(column)])).collect())
    }

    /// The bytes of `results.parquet` and of `results.csv`.
    pub(crate) fn encode(&self) -> Result<[Vec<u8>; 2], TableError> {
        let mut frame = self.to_frame()?;
        let mut parquet = Vec::new();
        ParquetWriter::new(&mut parquet).with_compression(ParquetCompression::Uncompressed).finish(&mut frame)?;
        let mut csv = Vec::new();
        CsvWriter::new(&mut csv).finish(&mut frame)?;
        Ok([parquet, csv])
    }

    /// Writes `results.parquet` and `results.csv` into `folder`, each whole or not at all; returns their paths.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2], TableError> {
        let [parquet, csv] = self.encode()?;
        let parquet = atomic::stage(&folder.join("results.parquet"), &parquet)?;
        let csv = atomic::stage(&folder.join("results.csv"), &csv)?;
        Ok([parquet.commit()?, csv.commit()?])
    }
}

impl<'a> Source<'a> {
    fn run(&self) -> &'a RunData {
        match self {
            Self::Measured { run, .. } | Self::Failed { run, .. } => run,
        }
    }

    /// The session that measured it; for a failure the newest that measured: one that only judged meets nothing.
    fn session(&self) -> &'a Run {
        match self {
            Self::Measured { run, number, .. } => run.session_of(*number),
            Self::Failed { run, .. } => run.measuring(),
        }
    }

    fn search(&self) -> Option<&'a Search> {
        match self {
            Self::Measured { search, .. } => Some(search),
            Self::Failed { .. } => None,
        }
    }

    fn failure(&self) -> Option<&'a Failure> {
        match self {
            Self::Measured { .. } => None,
            Self::Failed { failure, .. } => Some(failure),
        }
    }

    fn built(&self) -> Option<&'a Build> {
        match self {
            Self::Measured { run, number, .. } => run.build_of(*number),
            Self::Failed { run, failure } => run.builds.iter().rfind(|build| build.trial == failure.trial),
        }
    }

    fn index(&self) -> &'a str {
        match self {
            Self::Measured { search, .. } => &search.index,
            Self::Failed { failure, .. } => &failure.index,
        }
    }

    fn trial(&self) -> &'a str {
        match self {
            Self::Measured { search, .. } => &search.trial,
            Self::Failed { failure, .. } => &failure.trial,
        }
    }

    fn build(&self) -> &'a Params {
        match self {
            Self::Measured { search, .. } => &search.build,
            Self::Failed { failure, .. } => &failure.params,
        }
    }

    fn params(&self) -> Option<&'a Params> {
        match self {
            Self::Measured { search, .. } => Some(&search.params),
            Self::Failed { failure, .. } => failure.search.as_ref(),
        }
    }
}

/// The word for an outcome in the `status` column, as in the records.
pub(crate) fn status(outcome: Outcome) -> String {
    match serde_json::to_value(outcome) {
        Ok(Value::String(word)) => word,
        _ => "failed".to_owned(),
    }
}

fn parameters<'a>(
    rows: &[Source<'a>],
    prefix: &str,
    params: impl Fn(&Source<'a>) -> Option<&'a Params>,
) -> Vec<(String, Cells)> {
    let names: BTreeSet<&String> = rows.iter().filter_map(&params).flat_map(BTreeMap::keys).collect();
    let column = |name: &String| {
        let values: Vec<Option<&Value>> = rows.iter().map(|row| params(row)?.get(name)).collect();
        (format!("{prefix}{name}"), narrowest(&values))
    };
    names.into_iter().map(column).collect()
}

/// The narrowest type that holds every value: whole numbers, numbers, yes or no, else words.
pub(crate) fn narrowest(values: &[Option<&Value>]) -> Cells {
    let all = |holds: fn(&Value) -> bool| values.iter().flatten().all(|value| holds(value));
    if all(|value| value.as_i64().is_some()) {
        Cells::Integer(values.iter().map(|value| value.and_then(Value::as_i64)).collect())
    } else if all(Value::is_number) {
        Cells::Number(values.iter().map(|value| value.and_then(Value::as_f64)).collect())
    } else if all(Value::is_boolean) {
        Cells::Boolean(values.iter().map(|value| value.and_then(Value::as_bool)).collect())
    } else {
        Cells::Text(values.iter().map(|value| value.map(crate::format::value)).collect())
    }
}

fn memory(rows: &[Source<'_>]) -> Vec<(String, Cells)> {
    let memory = |row: &Source<'_>| row.built().map(|build| build.memory.clone());
    let found: Vec<Option<BTreeMap<String, u64>>> = rows.iter().map(memory).collect();
    let names: BTreeSet<&String> = found.iter().flatten().flat_map(BTreeMap::keys).collect();
    let cells = |name: &String| found.iter().map(|memory| Some(*memory.as_ref()?.get(name)? as i64)).collect();
    names.into_iter().map(|name| (format!("memory.{name}_bytes"), Cells::Integer(cells(name)))).collect()
}

//! Why a data set cannot be used: one sentence each, naming the file, the place, what was expected and what was found.

use std::{fmt, io, path::PathBuf};

use nearlab_simd::Metric;
use nearlab_storage::{OpenError, WriteError};

use crate::{fetch::FetchError, hdf5::distance_name, source::ReadError};

/// A data set could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file could not be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A catalogue entry could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The cache could not be written; a full disk comes here.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A prepared file in the cache could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Threads or the cache folder could not be created.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Neither a file nor a name of the catalogue.
    #[error("no data set `{name}`: {}", not_found(looked, suggestions))]
    NotFound {
        /// What was asked for.
        name: String,
        /// Paths that do not exist.
        looked: Vec<PathBuf>,
        /// Names of the catalogue that look alike.
        suggestions: Vec<String>,
    },
    /// The file holds no queries.
    #[error(
        "{path}: queries: expected `test` with at least one row, found {found} (a file of a single matrix is used as \
         `use: {{train: ..., test: ..., metric: ...}}`)"
    )]
    NoQueries {
        /// The file.
        path: PathBuf,
        /// `no such matrix` or `0 rows`.
        found: String,
    },
    /// A matrix without rows.
    #[error("{path}: `{matrix}`: expected at least one row, found 0")]
    Empty {
        /// The file.
        path: PathBuf,
        /// Its matrix.
        matrix: String,
    },
    /// Neither the file nor the experiment says what is near.
    #[error(
        "{path}: metric: expected an attribute `distance` or a name ending in -euclidean, -angular or -ip, found \
             neither; say `metric: l2`, `inner_product` or `cosine`"
    )]
    NoMetric {
        /// The file.
        path: PathBuf,
    },
    /// The file and the experiment disagree.
    #[error("{path}: metric: expected {asked} as the experiment says, found {} (`{}`)", .found, distance_name(*.found))]
    MetricConflict {
        /// The file.
        path: PathBuf,
        /// The experiment's.
        asked: Metric,
        /// The file's.
        found: Metric,
    },
    /// Base and queries of different dimensions, or truth of another shape than the queries.
    #[error("{path}: shape of `{matrix}`: expected {expected}, found {found}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// Its matrix.
        matrix: String,
        /// What fits.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A NaN or an infinity.
    #[error("{path}: `{matrix}` row {row}, column {column}: expected a finite number, found {value}")]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// Its matrix.
        matrix: String,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A neighbour that is no row of the base, or stands twice.
    #[error("{path}: `{matrix}` row {row}, column {column}: expected {expected}, found {found}")]
    Neighbor {
        /// The file.
        path: PathBuf,
        /// Its matrix.
        matrix: String,
        /// Query, from 0.
        row: usize,
        /// Rank, from 0.
        column: usize,
        /// What belongs there.
        expected: String,
        /// The id.
        found: i64,
    },
    /// More neighbours are needed than the file has.
    #[error(
        "{path}: `neighbors`: expected at least {needed} columns for k = {needed}, found {found} (`nearlab datasets \
         truth` computes more)"
    )]
    TruthTooShort {
        /// The file.
        path: PathBuf,
        /// Largest k asked for.
        needed: usize,
        /// Columns.
        found: usize,
    },
    /// More neighbours are needed than there are base vectors.
    #[error("{path}: k: expected at most {n}, the number of base vectors, found {k}")]
    KTooLarge {
        /// The file.
        path: PathBuf,
        /// Largest k asked for.
        k: usize,
        /// Base vectors (after `limit`).
        n: usize,
    },
    /// A limit or a split that the data cannot serve.
    #[error("{path}: `{option}`: expected {expected}, found {found}")]
    Option {
        /// The file.
        path: PathBuf,
        /// `limit` or `queries`.
        option: &'static str,
        /// What is possible.
        expected: String,
        /// What was asked.
        found: String,
    },
    /// The stored neighbours or distances are not those of the vectors under the metric.
    #[error("{path}: {flaw}")]
    Truth {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        flaw: TruthFlaw,
    },
}

/// Where stored truth and vectors disagree.
#[derive(Debug, Clone, PartialEq)]
pub enum TruthFlaw {
    /// A stored distance is not the distance.
    Distance {
        /// Row of `distances`.
        query: usize,
        /// Column.
        column: usize,
        /// The stored neighbour there.
        id: i32,
        /// The distance under `metric`.
        expected: f64,
        /// The stored one.
        found: f32,
        /// Metric in force.
        metric: Metric,
        /// Another metric that all stored distances fit.
        fits: Option<Metric>,
    },
    /// A base vector is nearer than a stored neighbour and not among the stored ones.
    Nearer {
        /// Row of `neighbors`.
        query: usize,
        /// Column.
        column: usize,
        /// The base vector that is nearer.
        nearer: u32,
        /// Its distance.
        expected: f64,
        /// Distance of the stored neighbour.
        found: f64,
        /// Metric in force.
        metric: Metric,
        /// Another metric that the order of the stored neighbours fits.
        fits: Option<Metric>,
    },
}

impl fmt::Display for TruthFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metric, fits) = match *self {
            Self::Distance { query, column, id, expected, found, metric, fits } => {
                write!(
                    f,
                    "`distances` row {query}, column {column}: expected {expected:.6}, the {metric} distance to base \
                     vector {id}, found {found:.6}"
                )?;
                (metric, fits)
            }
            Self::Nearer { query, column, nearer, expected, found, metric, fits } => {
                write!(
                    f,
                    "`neighbors` row {query}, column {column}: expected the {metric} neighbours, of which base vector \
                     {nearer} at distance {expected:.6} is missing, found one at {found:.6}"
                )?;
                (metric, fits)
            }
        };
        match fits {
            Some(fits) => write!(f, " (the stored truth fits {fits}, not {metric})"),
            None => write!(f, " (it fits no other metric: damaged, or vectors and truth differ in normalisation)"),
        }
    }
}

fn not_found(looked: &[PathBuf], suggestions: &[String]) -> String {
    let looked: Vec<String> = looked.iter().map(|path| path.display().to_string()).collect();
    let meant = match suggestions {
        [] => "`nearlab datasets list` shows the names".to_owned(),
        names => format!("did you mean {}?", names.join(", ")),
    };
    format!("expected a file ({}) or a name of the catalogue, found neither; {meant}", looked.join(" or "))
}

impl TruthFlaw {
    /// The flaw with the number its query has in the file, given the rows of the file that were looked at.
    pub(crate) fn in_file(mut self, rows: &[usize]) -> Self {
        let (Self::Distance { query, .. } | Self::Nearer { query, .. }) = &mut self;
        *query = rows[*query];
        self
    }
}

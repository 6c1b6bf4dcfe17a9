//! Filters made for a data set: which base vectors match, which filter each report query uses, and the exact neighbours
//! among its matches.
//!
//! One [`FilterOptions`] gives a number of filters with equally many matches, `m = round(selectivity n)`, and hands each query
//! one of them. How the matches lie to the query is the *correlation*:
//!
//! * `none`: each filter admits m base vectors drawn at random; query i uses filter `i mod filters`.
//! * `positive` and `negative`: as many *pivots* are drawn from the base vectors as there are filters, the same for both and for
//!   every selectivity; a filter admits the m base vectors nearest to its pivot. A query's *rank* at a pivot is the number
//!   of base vectors nearer to the pivot than the query. Positive: a query uses the filter at whose pivot its rank is
//!   smallest, so that its own region matches. Negative: largest, so that its own region does not.
//!
//! Ranks, not distances, because some vectors are far from everything and would be every query's farthest pivot. What came of
//! it is measured: [`PreparedFilter::near_share`] is the share of the queries' nearest base vectors that match, about the
//! selectivity without correlation, up to 1 with a positive one.
//!
//! | file | what |
//! |---|---|
//! | `draw` | draws matches and pivots, ranks, hands out filters |
//! | `among` | exact neighbours among matches |
//! | `file` | the container in the cache |
//!
//! Invariants: the same options and data give the same filters on every machine (distances are in `f64`, sums in a fixed order);
//! every filter has exactly m matches, at least one. Absent: indexes, and how they are asked.

mod among;
mod draw;
mod file;

use std::{collections::HashMap, fmt, fs, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use file::{FORMAT_VERSION, KIND, PreparedFilter};

use crate::{
    cache::Cache,
    prepare::{PrepareError, hex, thread_pool},
    prepared::Prepared,
    progress::Progress,
};

/// How the matches of a query's filter lie to the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Correlation {
    /// Anywhere.
    None,
    /// Near the query.
    Positive,
    /// Far from the query.
    Negative,
}

impl Correlation {
    /// Every correlation, in the order shown to people.
    pub const ALL: [Self; 3] = [Self::None, Self::Positive, Self::Negative];

    /// As written in an experiment and in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which filters to make.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FilterOptions {
    /// Share of the base vectors that match: above 0, at most 1.
    pub selectivity: f64,
    /// How they lie to the query.
    pub correlation: Correlation,
    /// Number of filters, at least 1; more than there are base vectors count as that many.
    pub filters: usize,
    /// Seed of the draw.
    pub seed: u64,
}

impl FilterOptions {
    /// Matches of each filter over `n` base vectors; 0 where the selectivity is too small for any.
    pub fn matches(&self, n: usize) -> usize {
        ((self.selectivity * n as f64).round() as usize).min(n)
    }
}

/// Makes filters for a data set, with the `k` true neighbours of each report query among its matches (all matches where there
/// are fewer), and returns their files in the cache, for [`PreparedFilter::open`]. What is in the cache already is only opened.
///
/// Refuses a selectivity that admits no base vector.
pub fn prepare(
    data: &Prepared,
    wanted: &[FilterOptions],
    k: usize,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>, PrepareError> {
    let mut pivots: HashMap<(usize, u64), draw::Pivots> = HashMap::new();
    let mut paths = Vec::new();
    for options in wanted {
        let matches = options.matches(data.train().len());
        if matches == 0 || options.filters == 0 {
            return Err(PrepareError::Option {
                path: data.path().to_path_buf(),
                option: "selectivity",
                expected: "at least one filter with at least one match".to_owned(),
                found: format!(
                    "{} of {} vectors, {} filters",
                    options.selectivity,
                    data.train().len(),
                    options.filters
                ),
            });
        }
        let path = cache.prepared().join(cache_name(data, options, k));
        if !path.exists() || PreparedFilter::open(&path).is_err() {
            let pool = thread_pool()?;
            let drawn = if options.correlation == Correlation::None {
                draw::random(options, matches, (data.train().len(), data.test().len()))
            } else {
                let pivots = pivots
                    .entry((options.filters, options.seed))
                    .or_insert_with(|| draw::Pivots::of(data, options, &pool, progress));
                pivots.filters(options.correlation, matches)
            };
            let neighbors = among::exact(data, &drawn, k.min(matches), (&pool, progress));
            let source =
                |source| PrepareError::Io { path: cache.prepared(), action: "create the cache folder", source };
            fs::create_dir_all(cache.prepared()).map_err(source)?;
            file::write(&path, data, options, &drawn, &neighbors)?;
        }
        paths.push(path);
    }
    Ok(paths)
}

/// `<data set's file>-filter-<hash>.nearlab`: the data set's name in the cache is a hash of its content already.
fn cache_name(data: &Prepared, options: &FilterOptions, k: usize) -> String {
    let print = data.fingerprint();
    let identity = format!("{FORMAT_VERSION} {} {} {k} {}", print.sha256, print.metric, options_text(options));
    let stem = data.path().file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}-filter-{}.nearlab", &hex(&Sha256::digest(identity))[..16])
}

fn options_text(options: &FilterOptions) -> String {
    // Numbers and a word always serialise.
    serde_json::to_string(options).unwrap_or_default()
}

/// Filters as they are drawn.
struct Drawn {
    /// The ids that each filter admits, ascending; all equally many.
    matches: Vec<Vec<u32>>,
    /// Which filter each report query uses.
    of_query: Vec<u32>,
}

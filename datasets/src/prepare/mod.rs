//! From a data file of any format to the one form every experiment runs on.
//!
//! [`prepare`] resolves the name, reads queries and truth, then passes once over the base vectors: they are decoded by
//! blocks, checked, hashed, measured, compared with the stored truth (or searched exactly where there is none), and
//! written to one container in the cache. Memory stays near the size of a block, whatever the size of the base.
//!
//! The cache file's name is a hash of everything the content depends on (paths, sizes, times of change, options, format
//! version): a changed file is prepared anew, an unchanged one is opened.
//!
//! Invariants of a prepared set: all numbers finite; neighbours are rows of the base, ordered by their exact distance;
//! report and calibration queries are disjoint; distances are computed here in `f64` and rounded once.

mod difficulty;
mod error;
mod input;
mod pass;
mod resolve;
mod split;
mod stats;
mod stored;
mod work;

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nearlab_simd::Metric;
use rayon::ThreadPool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    cache::Cache,
    prepared::{FORMAT_VERSION, Prepared},
    progress::Progress,
    source::Source,
};

pub use error::{PrepareError, TruthFlaw};
pub use split::QuerySplit;

pub(crate) use difficulty::{lid_mean, relative_contrast, sampled};
pub(crate) use input::{Input, agreed_metric, check_finite};
pub(crate) use pass::Pass;
pub(crate) use resolve::{Resolved, resolve};
pub(crate) use stats::hex;
pub(crate) use work::{Check, Job};

/// What an experiment asks of its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrepareOptions {
    /// Use only the first so many base vectors; neighbours are then computed anew.
    pub limit: Option<usize>,
    /// Divide the queries; without it all are reported and none is for calibration.
    pub queries: Option<QuerySplit>,
    /// Neighbours needed per query: the largest k of the experiment. A file that stores fewer is an error, unless the
    /// truth is computed here anyway.
    pub truth_k: usize,
    /// Compute the neighbours even where the file stores some.
    pub recompute_truth: bool,
    /// The metric, where the file does not say it.
    #[serde(with = "optional_metric")]
    #[schemars(with = "Option<String>")]
    pub metric: Option<Metric>,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self { limit: None, queries: None, truth_k: 10, recompute_truth: false, metric: None }
    }
}

/// Makes a data set ready and returns its file in the cache, for [`Prepared::open`].
///
/// `source` is a catalogue name, a path (looked up in `base_dir`, then in the current folder), or files by role. Work is
/// done on all cores; `progress` hears of it. A set that is in the cache already is only opened.
pub fn prepare(
    source: impl Into<Source>,
    base_dir: &Path,
    options: &PrepareOptions,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<PathBuf, PrepareError> {
    let resolved = resolve(&source.into(), base_dir, cache, progress)?;
    let path = cache.prepared().join(cache_name(&resolved, options)?);
    // One that cannot be opened (a damaged disk, an older build of the same version) is made again.
    if path.exists() && Prepared::open(&path).is_ok() {
        return Ok(path);
    }
    let job = Job { input: Input::open(&resolved, options.metric)?, options, check: Check::Sample };
    fs::create_dir_all(cache.prepared()).map_err(io_error(&cache.prepared(), "create the cache folder"))?;
    work::write(job, &resolved, &path, (&thread_pool()?, progress))?;
    Ok(path)
}

/// A pool with a thread per core that this process may use.
pub(crate) fn thread_pool() -> Result<ThreadPool, PrepareError> {
    rayon::ThreadPoolBuilder::new()
        .thread_name(|i| format!("nearlab-data-{i}"))
        .build()
        .map_err(|e| io_error(Path::new("prepare"), "start threads")(std::io::Error::other(e)))
}

fn io_error(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> PrepareError {
    let path = path.to_path_buf();
    move |source| PrepareError::Io { path: path.clone(), action, source }
}

/// `<name>-<hash>.nearlab`, the hash being of everything the content depends on.
fn cache_name(resolved: &Resolved, options: &PrepareOptions) -> Result<String, PrepareError> {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(&FORMAT_VERSION.to_le_bytes());
    add(serde_json::to_string(options).unwrap_or_default().as_bytes());
    add(resolved.metric.map_or("", Metric::as_str).as_bytes());
    for file in resolved.files() {
        let path = file.canonicalize().map_err(io_error(file, "resolve"))?;
        let metadata = path.metadata().map_err(io_error(file, "read"))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        add(path.as_os_str().as_encoded_bytes());
        add(&metadata.len().to_le_bytes());
        add(&modified.unwrap_or_default().as_nanos().to_le_bytes());
    }
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = resolved.name.trim_start_matches('.').chars().take(80).map(safe).collect();
    Ok(format!("{name}-{}.nearlab", &stats::hex(&hash.finalize())[..16]))
}

/// Serde's `with` module for a metric by name, or none.
mod optional_metric {
    use nearlab_simd::Metric;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
    pub(super) fn serialize<S: Serializer>(metric: &Option<Metric>, serializer: S) -> Result<S::Ok, S::Error> {
        metric.map(Metric::as_str).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Metric>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(D::Error::custom)).transpose()
    }
}

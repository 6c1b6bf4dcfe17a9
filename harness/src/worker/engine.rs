//! An index behind one object, so that the rest of the worker does not care which it is.
//!
//! The kind is matched once, in [`build`]. Each of [`Engine`]'s search methods is one virtual call per measurement; the
//! loops below it are compiled for the index at hand.

use std::{collections::BTreeMap, io::Write, path::Path, time::Instant};

use nearlab_index::{BuildError, ParamError, flat::Flat, hnsw::Hnsw, ivf::Ivf};
use nearlab_reports::record::StageSeconds;
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::{
    Pass,
    filters::LoadedFilters,
    latency,
    output::Output,
    params::{Configure, ParamsError},
    stages::StageClock,
    throughput,
};
use crate::protocol::{SearchRequest, Trial};

/// Why an index cannot be built, saved or searched.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A kind that nearlab does not have.
    #[error("there is no index kind `{0}`; known: flat, hnsw, ivf")]
    Kind(String),
    /// Parameters by name.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// Values that the index refuses.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Saving failed.
    #[error("cannot save the index: {0}")]
    Save(#[from] nearlab_index::SaveError),
    /// The saved file cannot be opened again.
    #[error("cannot open the index that was just saved: {0}")]
    Open(#[from] nearlab_index::OpenError),
    /// The saved file holds another index.
    #[error("the index opened from {path} has digest {opened:016x}, the one saved had {saved:016x}")]
    Reopened {
        /// The file.
        path: String,
        /// Digest before saving.
        saved: u64,
        /// Digest after opening.
        opened: u64,
    },
    /// No thread pool of the size asked for.
    #[error("cannot start {threads} build threads: {source}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What rayon said.
        source: rayon::ThreadPoolBuildError,
    },
    /// A mode that nearlab does not have.
    #[error("there is no mode `{0}`; known: latency, throughput, filtered")]
    Mode(String),
    /// Filters without mode filtered, or the other way round.
    #[error("mode {0} and its filters do not go together")]
    Filters(String),
}

/// Everything a search needs to know besides the index.
pub struct Job<'a> {
    /// Queries.
    pub queries: Vectors<'a, f32>,
    /// What to measure.
    pub request: &'a SearchRequest,
    /// What each query may find; for mode `filtered`.
    pub filters: Option<&'a LoadedFilters>,
    /// Called between timed parts with (queries done, queries in all).
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

/// A built index.
pub trait Engine: Send + Sync {
    /// Measures one search point in the mode that the request names.
    fn measure(&self, job: &Job<'_>) -> Result<Pass, EngineError>;
    /// Bytes by component.
    fn memory(&self) -> BTreeMap<String, u64>;
    /// Digest of the structure.
    fn digest(&self) -> u64;
    /// Work that the build did.
    fn build_counters(&self) -> nearlab_index::Counters;
    /// Saves to `path` and opens again, comparing digests; seconds of (save, load).
    fn save_and_open(&self, path: &Path) -> Result<(f64, f64), EngineError>;
}

struct Loaded<I>(I);

impl<I: Configure> Engine for Loaded<I> {
    fn measure(&self, job: &Job<'_>) -> Result<Pass, EngineError> {
        let params = I::search_params(&job.request.params)?;
        match (job.request.mode.as_str(), job.filters) {
            ("latency", None) => Ok(latency::measure(&self.0, &params, job)?),
            ("throughput", None) => Ok(throughput::measure(&self.0, &params, job)?),
            ("filtered", Some(filters)) => Ok(latency::measure_among(&self.0, &params, job, filters)?),
            (mode @ ("latency" | "throughput" | "filtered"), _) => Err(EngineError::Filters(mode.to_owned())),
            (other, _) => Err(EngineError::Mode(other.to_owned())),
        }
    }

    fn memory(&self) -> BTreeMap<String, u64> {
        self.0.memory().0.into_iter().map(|(component, bytes)| (component.to_owned(), bytes)).collect()
    }

    fn digest(&self) -> u64 {
        self.0.digest()
    }

    fn build_counters(&self) -> nearlab_index::Counters {
        self.0.build_counters()
    }

    fn save_and_open(&self, path: &Path) -> Result<(f64, f64), EngineError> {
        let start = Instant::now();
        self.0.save(path)?;
        let saved = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let opened = I::open(path)?;
        let loaded = start.elapsed().as_secs_f64();
        if opened.digest() != self.0.digest() {
            let path = path.display().to_string();
            return Err(EngineError::Reopened { path, saved: self.0.digest(), opened: opened.digest() });
        }
        Ok((saved, loaded))
    }
}

/// Builds the index that `trial` asks for over `vectors`; the seconds are those of train, construct and optimise.
pub fn build<W: Write + Send>(
    trial: &Trial,
    vectors: Vectors<'_, f32>,
    metric: Metric,
    output: &Output<W>,
) -> Result<(Box<dyn Engine>, StageSeconds), EngineError> {
    match trial.kind.as_str() {
        "flat" => build_as::<Flat, W>(trial, vectors, metric, output),
        "hnsw" => build_as::<Hnsw, W>(trial, vectors, metric, output),
        "ivf" => build_as::<Ivf, W>(trial, vectors, metric, output),
        other => Err(EngineError::Kind(other.to_owned())),
    }
}

fn build_as<I: Configure + 'static, W: Write + Send>(
    trial: &Trial,
    vectors: Vectors<'_, f32>,
    metric: Metric,
    output: &Output<W>,
) -> Result<(Box<dyn Engine>, StageSeconds), EngineError> {
    let params = I::build_params(&trial.build, trial.seed)?;
    let threads = trial.threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|thread| format!("build-{thread}"))
        .build()
        .map_err(|source| EngineError::Threads { threads, source })?;
    let clock = StageClock::start(output);
    let index = I::build(vectors, metric, &params, &pool, &clock)?;
    let begun = Instant::now();
    index.tune(vectors, &|| begun.elapsed());
    Ok((Box::new(Loaded(index)), clock.stop()))
}

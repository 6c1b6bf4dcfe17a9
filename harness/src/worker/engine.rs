//! An index behind one object, so that the rest of the worker does not care which it is.
//!
//! The kind is matched once, in [`build`]. Each of [`Engine`]'s search methods is one virtual call per measurement; the
//! loops below it are compiled for the index at hand.

use std::{collections::BTreeMap, io::Write, path::Path, time::Instant};

use nearlab_index::{BuildError, Index, ParamError, Persist, flat::Flat, hnsw::Hnsw, ivf::Ivf};
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
pub(super) enum EngineError {
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
    /// The index has no file.
    #[error("this index can not be saved")]
    NoFile,
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
pub(super) struct Job<'a> {
    /// Queries.
    pub(super) queries: Vectors<'a, f32>,
    /// What to measure.
    pub(super) request: &'a SearchRequest,
    /// What each query may find; for mode `filtered`.
    pub(super) filters: Option<&'a LoadedFilters>,
    /// Called between timed parts with (queries done, queries in all).
    pub(super) progress: &'a (dyn Fn(u64, u64) + Sync),
}

/// A built index.
pub(super) trait Engine: Send + Sync {
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

/// Saves an index and opens it again; seconds of (save, load).
type Reopen<I> = fn(&I, &Path) -> Result<(f64, f64), EngineError>;

struct Loaded<I> {
    index: I,
    /// `None` where the index has no file.
    reopen: Option<Reopen<I>>,
}

impl<I: Configure> Engine for Loaded<I> {
    fn measure(&self, job: &Job<'_>) -> Result<Pass, EngineError> {
        let params = I::search_params(&job.request.params)?;
        match (job.request.mode.as_str(), job.filters) {
            ("latency", None) => Ok(latency::measure(&self.index, &params, job)?),
            ("throughput", None) => Ok(throughput::measure(&self.index, &params, job)?),
            ("filtered", Some(filters)) => Ok(latency::measure_among(&self.index, &params, job, filters)?),
            (mode @ ("latency" | "throughput" | "filtered"), _) => Err(EngineError::Filters(mode.to_owned())),
            (other, _) => Err(EngineError::Mode(other.to_owned())),
        }
    }

    fn memory(&self) -> BTreeMap<String, u64> {
        self.index.memory().0.into_iter().map(|(component, bytes)| (component.to_owned(), bytes)).collect()
    }

    fn digest(&self) -> u64 {
        self.index.digest()
    }

    fn build_counters(&self) -> nearlab_index::Counters {
        self.index.build_counters()
    }

    fn save_and_open(&self, path: &Path) -> Result<(f64, f64), EngineError> {
        self.reopen.ok_or(EngineError::NoFile)?(&self.index, path)
    }
}

fn save_and_open<I: Index + Persist>(index: &I, path: &Path) -> Result<(f64, f64), EngineError> {
    let start = Instant::now();
    index.save(path)?;
    let saved = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let opened = I::open(path)?;
    let loaded = start.elapsed().as_secs_f64();
    if opened.digest() != index.digest() {
        let path = path.display().to_string();
        return Err(EngineError::Reopened { path, saved: index.digest(), opened: opened.digest() });
    }
    Ok((saved, loaded))
}

/// An index ready to be searched, and the seconds of train, construct and optimise.
pub(super) type Loading = (Box<dyn Engine>, StageSeconds);

/// Builds the index of nearlab's own that `trial` asks for over `vectors`.
pub(super) fn build<W: Write + Send>(
    trial: &Trial,
    vectors: Vectors<'_, f32>,
    metric: Metric,
    output: &Output<W>,
) -> Result<Loading, EngineError> {
    match trial.kind.as_str() {
        "flat" => build_kept::<Flat, W>(trial, vectors, metric, output),
        "hnsw" => build_kept::<Hnsw, W>(trial, vectors, metric, output),
        "ivf" => build_kept::<Ivf, W>(trial, vectors, metric, output),
        other => Err(EngineError::Kind(other.to_owned())),
    }
}

fn build_kept<I: Configure + Persist + 'static, W: Write + Send>(
    trial: &Trial,
    vectors: Vectors<'_, f32>,
    metric: Metric,
    output: &Output<W>,
) -> Result<Loading, EngineError> {
    let (index, seconds) = built::<I, W>(trial, vectors, metric, output)?;
    Ok((Box::new(Loaded { index, reopen: Some(save_and_open) }), seconds))
}

/// Builds an index of any kind that `trial` has the parameters of.
pub(super) fn build_as<I: Configure + 'static, W: Write + Send>(
    trial: &Trial,
    vectors: Vectors<'_, f32>,
    metric: Metric,
    output: &Output<W>,
) -> Result<Loading, EngineError> {
    let (index, seconds) = built::<I, W>(trial, vectors, metric, output)?;
    Ok((Box::new(Loaded { index, reopen: None }), seconds))
}

fn built<I: Configure, W: Write + Send>(
    trial: &Trial,
    vectors: Vectors<'_, f32>,
    metric: Metric,
    output: &Output<W>,
) -> Result<(I, StageSeconds), EngineError> {
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
    Ok((index, clock.stop()))
}

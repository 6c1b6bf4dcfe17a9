//! The work itself: which truth is needed, the pass, and the container.

use std::path::Path;

use nearlab_simd::Metric;
use nearlab_storage::{ContainerWriter, Vectors};
use rayon::ThreadPool;

use super::{
    Input, Pass, PrepareError, PrepareOptions, Resolved, difficulty, input::InputTruth, lid_mean, pass::Sink,
    relative_contrast, split::split, stored::StoredTruth,
};
use crate::{
    prepared::{FORMAT_VERSION, Fingerprint, KIND, Meta, section},
    progress::Progress,
    truth::{Nearest, Truth},
};

/// Queries whose true neighbours are computed to check the stored ones.
const CHECKED_QUERIES: usize = 32;

/// Neighbours computed when neither the file nor the options ask for more.
const DEFAULT_K: usize = 100;

/// How many queries of a stored truth are searched exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// A few, always the same.
    Sample,
    /// All.
    All,
}

/// A data set to be made ready.
pub(crate) struct Job<'a> {
    pub(crate) input: Input,
    pub(crate) options: &'a PrepareOptions,
    pub(crate) check: Check,
}

/// What the work yields beside the base vectors.
pub(crate) struct Done {
    pub(crate) fingerprint: Fingerprint,
    /// Queries in use: the report's, then those for calibration.
    pub(crate) queries: Vec<f32>,
    pub(crate) calibrate: usize,
    pub(crate) truth: Truth,
}

/// Does the job and writes the container.
pub(super) fn write(
    job: Job<'_>,
    resolved: &Resolved,
    path: &Path,
    workers: (&ThreadPool, &dyn Progress),
) -> Result<(), PrepareError> {
    let d = job.input.train.dim();
    let options = job.options.clone();
    let mut container = ContainerWriter::create(path, KIND, FORMAT_VERSION)?;
    let mut train = container.begin(section::TRAIN)?;
    let done = job.run(resolved, workers, &mut |rows| train.put(rows))?;
    train.finish()?;
    let report = done.fingerprint.queries as usize;
    let (test, calibrate) = done.queries.split_at(report * d);
    let (neighbors, calibrate_neighbors) = done.truth.neighbors.split_at(report * done.truth.k);
    let (distances, calibrate_distances) = done.truth.distances.split_at(report * done.truth.k);
    container.section(section::TEST, test)?;
    container.section(section::CALIBRATE, calibrate)?;
    container.section(section::NEIGHBORS, neighbors)?;
    container.section(section::DISTANCES, distances)?;
    container.section(section::CALIBRATE_NEIGHBORS, calibrate_neighbors)?;
    container.section(section::CALIBRATE_DISTANCES, calibrate_distances)?;
    let meta = Meta { fingerprint: done.fingerprint, calibrate: done.calibrate as u64, options };
    container.section(section::META, &meta.to_bytes())?;
    container.finish()?;
    Ok(())
}

impl Job<'_> {
    /// Checks, passes over the base, and takes the fingerprint. `sink` gets the base vectors in order.
    pub(crate) fn run(
        mut self,
        resolved: &Resolved,
        workers: (&ThreadPool, &dyn Progress),
        sink: Sink<'_>,
    ) -> Result<Done, PrepareError> {
        let n = self.base_rows()?;
        let (report, calibrate) = self.split()?;
        let d = self.input.train.dim();
        let metric = self.input.metric;
        let used: Vec<usize> = report.iter().chain(&calibrate).copied().collect();
        let queries = gather(self.input.queries(), &used);
        let plan = self.plan(n, &used)?;
        let checked = match (&plan, self.check) {
            (Plan::Stored(_), Check::Sample) => difficulty::sampled(used.len(), CHECKED_QUERIES),
            _ => (0..used.len()).collect(),
        };
        let checked_queries = gather(Vectors::new(&queries, d), &checked);

        let nearest = Nearest::new(Vectors::new(&checked_queries, d), metric, plan.k());
        let stored = plan.stored(Vectors::new(&queries, d), metric);
        let mut pass = Pass::new(n, nearest, stored);
        pass.run(&mut *self.input.train, n, workers, sink)?;
        let Pass { stats, mut hash, sample, nearest, stored } = pass;
        hash.update(&self.input.test);
        let stats = workers.0.install(|| stats.finish());
        let truth = match stored {
            Some(stored) => {
                let k = plan.k();
                let exact = nearest.finish_exact();
                let exact: Vec<_> = checked.iter().copied().zip(exact.chunks_exact(k).map(<[_]>::to_vec)).collect();
                let path = plan.path().unwrap_or(&self.input.path).to_path_buf();
                let finished = workers.0.install(|| stored.finish(&exact, stats.norm_max));
                finished.map_err(|flaw| PrepareError::Truth { path, flaw: flaw.in_file(&used) })?
            }
            None => nearest.finish(),
        };
        let fingerprint = Fingerprint {
            name: resolved.name.clone(),
            source: resolved.source.clone(),
            sha256: hash.finish(),
            n: n as u64,
            d: d as u64,
            queries: report.len() as u64,
            metric,
            truth_k: truth.k as u64,
            integral_u8: stats.integral_u8,
            duplicates: stats.duplicates,
            norm_min: stats.norm_min,
            norm_mean: stats.norm_mean,
            norm_max: stats.norm_max,
            lid_mean: lid_mean(metric, &truth),
            relative_contrast: relative_contrast(metric, &sample, Vectors::new(&queries, d), &truth),
            truth_checked: checked.len() as u64,
        };
        Ok(Done { fingerprint, queries, calibrate: calibrate.len(), truth })
    }

    fn base_rows(&self) -> Result<usize, PrepareError> {
        let rows = self.input.train.rows();
        match self.options.limit {
            Some(0) => Err(self.option("limit", "at least 1", "0")),
            Some(limit) => Ok(limit.min(rows)),
            None => Ok(rows),
        }
    }

    fn split(&self) -> Result<(Vec<usize>, Vec<usize>), PrepareError> {
        let queries = self.input.queries().len();
        if let Some(asked) = &self.options.queries {
            let sum = asked.report.saturating_add(asked.calibrate);
            if asked.report == 0 {
                return Err(self.option("queries", "report: at least 1", "report: 0"));
            }
            if sum > queries {
                let found = format!("report: {} and calibrate: {}", asked.report, asked.calibrate);
                return Err(self.option("queries", format!("at most {queries} in all, as the file has"), found));
            }
        }
        Ok(split(queries, self.options.queries.as_ref()))
    }

    fn option(&self, option: &'static str, expected: impl Into<String>, found: impl Into<String>) -> PrepareError {
        PrepareError::Option { path: self.input.path.clone(), option, expected: expected.into(), found: found.into() }
    }

    /// Decides between the stored truth and a new one; takes the stored rows of the queries in use.
    fn plan(&mut self, n: usize, used: &[usize]) -> Result<Plan, PrepareError> {
        let (path, asked) = (self.input.path.clone(), self.options.truth_k);
        if asked > n {
            return Err(PrepareError::KTooLarge { path, k: asked, n });
        }
        let whole = n == self.input.train.rows();
        let stored_k = self.input.truth.as_ref().map(|truth| truth.k);
        match self.input.truth.take() {
            Some(truth) if whole && !self.options.recompute_truth => {
                if truth.k < asked {
                    return Err(PrepareError::TruthTooShort { path: truth.path, needed: asked, found: truth.k });
                }
                let ids = gather(Vectors::new(&truth.ids, truth.k), used);
                let distances = truth.distances.map(|all| gather(Vectors::new(&all, truth.k), used));
                Ok(Plan::Stored(InputTruth { path: truth.path, k: truth.k, ids, distances }))
            }
            _ => Ok(Plan::Compute { k: stored_k.unwrap_or(DEFAULT_K).max(asked).clamp(1, n) }),
        }
    }
}

/// Where the truth comes from.
enum Plan {
    Stored(InputTruth),
    Compute { k: usize },
}

impl Plan {
    fn k(&self) -> usize {
        match self {
            Self::Stored(truth) => truth.k,
            Self::Compute { k } => *k,
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Stored(truth) => Some(&truth.path),
            Self::Compute { .. } => None,
        }
    }

    fn stored<'a>(&self, queries: Vectors<'a, f32>, metric: Metric) -> Option<StoredTruth<'a>> {
        match self {
            Self::Stored(truth) => {
                Some(StoredTruth::new(queries, metric, truth.k, truth.ids.clone(), truth.distances.clone()))
            }
            Self::Compute { .. } => None,
        }
    }
}

/// Some rows of a matrix, copied together.
fn gather<T: Copy>(matrix: Vectors<'_, T>, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|&row| matrix.row(row)).copied().collect()
}

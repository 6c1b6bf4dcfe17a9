//! What `nearlab datasets info` shows of any readable file.

use std::path::Path;

use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use crate::{
    cache::Cache,
    prepare::{
        Check, Input, Job, Pass, PrepareError, PrepareOptions, QuerySplit, Resolved, lid_mean, relative_contrast,
        resolve, sampled, thread_pool,
    },
    progress::Progress,
    source::{DataFile, Format, RowReader, Source},
    truth::{Nearest, Truth},
};

/// Queries that are searched exactly where no truth is stored.
const SEARCHED_QUERIES: usize = 1000;

/// Base vectors that stand in for queries in a file that has none.
const SELF_QUERIES: usize = 100;

/// Neighbours of those.
const SELF_K: usize = 100;

/// A data file, described.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Catalogue name or file stem.
    pub name: String,
    /// File name or address.
    pub source: String,
    /// Format of the file with the base vectors.
    pub format: Format,
    /// Element type of the base vectors in the file: `f32`, `u8`, ...
    pub element: &'static str,
    /// Length of all files in bytes.
    pub file_bytes: u64,
    /// Base vectors.
    pub n: u64,
    /// Dimensions.
    pub d: u64,
    /// Queries in the file; 0 for a file of a single matrix.
    pub queries: u64,
    /// Metric, where the file or the source says it.
    pub metric: Option<Metric>,
    /// Stored neighbours per query; 0 where none are stored.
    pub truth_k: u64,
    /// Whether every base coordinate is an integer in 0..=255.
    pub integral_u8: bool,
    /// Base rows equal to an earlier row.
    pub duplicates: u64,
    /// Smallest Euclidean norm of a base row.
    pub norm_min: f64,
    /// Mean norm.
    pub norm_mean: f64,
    /// Largest norm.
    pub norm_max: f64,
    /// Mean local intrinsic dimensionality; none for the inner product.
    pub lid_mean: Option<f64>,
    /// Mean distance / mean nearest-neighbour distance; none for the inner product.
    pub relative_contrast: Option<f64>,
    /// Whether the two lines above come from sampled base vectors, for want of queries (under L2, for want of a metric).
    pub difficulty_from_base: bool,
    /// SHA-256 of base vectors and queries as little-endian `f32`.
    pub sha256: String,
}

/// Describes `source` (as [`prepare`](crate::prepare()) takes it), reading all of it once.
pub fn describe(
    source: impl Into<Source>,
    base_dir: &Path,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Description, PrepareError> {
    let resolved = resolve(&source.into(), base_dir, cache, progress)?;
    let file = DataFile::open(&resolved.train)?;
    let mut description = begin(&resolved, &file);
    if resolved.test.is_none() && file.test.is_none() {
        alone(file, &mut description, progress)?;
        return Ok(description);
    }
    drop(file);
    let input = Input::open(&resolved, None)?;
    description.metric = Some(input.metric);
    description.queries = input.queries().len() as u64;
    description.truth_k = input.truth.as_ref().map_or(0, |truth| truth.k as u64);
    let some = QuerySplit { report: SEARCHED_QUERIES.min(input.queries().len()), calibrate: 0, seed: 0 };
    let queries = (description.truth_k == 0).then_some(some);
    let options = PrepareOptions { queries, truth_k: 1, ..PrepareOptions::default() };
    let job = Job { input, options: &options, check: Check::Sample };
    let print = job.run(&resolved, (&thread_pool()?, progress), &mut |_| Ok(()))?.fingerprint;
    Ok(Description {
        integral_u8: print.integral_u8,
        duplicates: print.duplicates,
        norm_min: print.norm_min,
        norm_mean: print.norm_mean,
        norm_max: print.norm_max,
        lid_mean: print.lid_mean,
        relative_contrast: print.relative_contrast,
        sha256: print.sha256,
        ..description
    })
}

fn begin(resolved: &Resolved, file: &DataFile) -> Description {
    let file_bytes = resolved.files().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
    Description {
        name: resolved.name.clone(),
        source: resolved.source.clone(),
        format: file.format,
        element: file.train.element().name(),
        file_bytes,
        n: file.train.rows() as u64,
        d: file.train.dim() as u64,
        queries: 0,
        metric: file.metric.or(resolved.metric),
        truth_k: 0,
        integral_u8: false,
        duplicates: 0,
        norm_min: 0.0,
        norm_mean: 0.0,
        norm_max: 0.0,
        lid_mean: None,
        relative_contrast: None,
        difficulty_from_base: false,
        sha256: String::new(),
    }
}

/// Describes a file without queries; sampled base vectors take their place, each without itself.
fn alone(mut file: DataFile, description: &mut Description, progress: &dyn Progress) -> Result<(), PrepareError> {
    let (n, d) = (file.train.rows(), file.train.dim());
    let metric = description.metric.unwrap_or(Metric::L2);
    let rows = if n > 1 { sampled(n, SELF_QUERIES) } else { Vec::new() };
    let queries = read_rows(&mut *file.train, &rows)?;
    let queries = Vectors::new(&queries, d);
    let pool = thread_pool()?;
    let nearest = Nearest::new(queries, metric, (SELF_K + 1).min(n));
    let mut pass = Pass::new(n, nearest, None);
    pass.run(&mut *file.train, n, (&pool, progress), &mut |_| Ok(()))?;
    if !rows.is_empty() {
        let truth = without_themselves(&pass.nearest.finish(), &rows);
        description.lid_mean = lid_mean(metric, &truth);
        description.relative_contrast = relative_contrast(metric, &pass.sample, queries, &truth);
        description.difficulty_from_base = true;
    }
    let stats = pool.install(|| pass.stats.finish());
    description.integral_u8 = stats.integral_u8;
    description.duplicates = stats.duplicates;
    description.norm_min = stats.norm_min;
    description.norm_mean = stats.norm_mean;
    description.norm_max = stats.norm_max;
    description.sha256 = pass.hash.finish();
    Ok(())
}

fn read_rows(matrix: &mut dyn RowReader, rows: &[usize]) -> Result<Vec<f32>, PrepareError> {
    let (mut all, mut one) = (Vec::new(), Vec::new());
    for &row in rows {
        matrix.read_f32(row..row + 1, &mut one)?;
        all.extend_from_slice(&one);
    }
    Ok(all)
}

/// The neighbours of base vectors `rows` but for themselves (or, among many equal ones, but for the first).
fn without_themselves(truth: &Truth, rows: &[usize]) -> Truth {
    let mut rest = Truth { k: truth.k - 1, neighbors: Vec::new(), distances: Vec::new() };
    let lists = truth.neighbors.chunks_exact(truth.k).zip(truth.distances.chunks_exact(truth.k));
    for ((ids, distances), &row) in lists.zip(rows) {
        let itself = ids.iter().position(|&id| id as usize == row).unwrap_or(0);
        for j in (0..truth.k).filter(|&j| j != itself) {
            rest.neighbors.push(ids[j]);
            rest.distances.push(distances[j]);
        }
    }
    rest
}

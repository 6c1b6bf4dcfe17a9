//! Result files of ann-benchmarks: one HDF5 per build and search point, as its plotting and data export scripts read
//! them (`ann_benchmarks/results.py`, `store_results`).
//!
//! Layout below the chosen folder: `<data set>/<k>/<algorithm>/<parameters>.hdf5`, a throughput workload under
//! `<algorithm>-batch`. Conventions that differ from nearlab's own and are kept here because their readers expect them:
//! `best_search_time` and `times` are of the fastest repeat; `index_size` is in kB; `distances` are Euclidean roots,
//! 1 - cos or negated inner products; a row with fewer than k answers is padded with id -1 and an infinite distance.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use nearlab_datasets::Prepared;
use nearlab_reports::{
    format,
    record::{Build, Params, Search},
    run::{LoadError, RunData},
};

use crate::{protocol::Trial, recall::distance};

/// Why a run cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The run's records.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file of the run, or of the export.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The HDF5 writer refused.
    #[error("cannot write {}: {message}", path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// Nothing was measured.
    #[error("{}: nothing to export: the run has no measured search without filters", folder.display())]
    Empty {
        /// The run's folder.
        folder: PathBuf,
    },
    /// The prepared data set is gone from the cache, or is another one.
    #[error(
        "{}: the data set of the run ({name}, sha256 {sha256}) is needed for distances, but {problem}; \
         `nearlab run` on the same experiment prepares it again",
        folder.display()
    )]
    Data {
        /// The run's folder.
        folder: PathBuf,
        /// The data set.
        name: String,
        /// Its fingerprint.
        sha256: String,
        /// What is wrong.
        problem: String,
    },
    /// A samples file has another size than its record says.
    #[error("{}: expected {expected} bytes, found {found}", path.display())]
    Samples {
        /// The file.
        path: PathBuf,
        /// queries x k x 4 or queries x 8.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
}

impl ExportError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// One file to be written.
struct Point<'a> {
    /// The fastest repeat.
    search: &'a Search,
    /// The build it ran on.
    build: Option<&'a Build>,
    /// Repeats measured.
    repeats: usize,
    dataset: &'a str,
    distance: &'static str,
    ids: Vec<i32>,
    distances: Vec<f32>,
    /// Seconds per query.
    times: Vec<f64>,
}

/// Writes every point of the run in `folder` below `out`; the paths written.
pub fn ann_benchmarks(folder: &Path, out: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let run = RunData::load(folder)?;
    if run.searches.iter().all(|search| search.filter.is_some()) {
        return Err(ExportError::Empty { folder: folder.to_owned() });
    }
    let data = open_data(&run)?;
    let mut paths = Vec::new();
    for repeats in points(&run).values() {
        let fastest = fastest(&run, repeats);
        let point = read_point(&run, &data, fastest, repeats.len())?;
        let path = out.join(file_name(&point));
        file::write(&path, &point)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The positions of each point's repeats. Searches with filters are left out: those files have no place to say which.
fn points(run: &RunData) -> BTreeMap<String, Vec<usize>> {
    let mut points: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, search) in run.searches.iter().enumerate().filter(|(_, search)| search.filter.is_none()) {
        let key = format!(
            "{} {} {} {} {} {}",
            search.index,
            search.trial,
            to_json(&search.params),
            search.k,
            search.workload,
            search.threads
        );
        points.entry(key).or_default().push(number);
    }
    points
}

fn fastest(run: &RunData, repeats: &[usize]) -> usize {
    let wall = |number: &usize| run.searches[*number].wall_seconds;
    repeats.iter().copied().min_by(|a, b| wall(a).total_cmp(&wall(b))).unwrap_or_default()
}

fn read_point<'a>(run: &'a RunData, data: &Prepared, number: usize, repeats: usize) -> Result<Point<'a>, ExportError> {
    let search = &run.searches[number];
    let (queries, k) = (search.queries as usize, search.k as usize);
    let ids: Vec<i32> = read(&run.folder.join(&search.ids_file), queries * k)?;
    let times = match &search.latencies_file {
        Some(file) => {
            let nanoseconds: Vec<u64> = read(&run.folder.join(file), queries)?;
            nanoseconds.into_iter().map(|nanoseconds| nanoseconds as f64 * 1e-9).collect()
        }
        None => vec![search.wall_seconds / queries as f64; queries],
    };
    let distances = ids
        .iter()
        .enumerate()
        .map(|(place, &id)| match usize::try_from(id) {
            Ok(id) => distance(data.metric(), data.test().row(place / k), data.train().row(id)) as f32,
            Err(_) => f32::INFINITY,
        })
        .collect();
    let dataset = run.dataset.as_ref().map_or("", |dataset| dataset.name.as_str());
    let distance = match data.metric() {
        nearlab_simd::Metric::L2 => "euclidean",
        nearlab_simd::Metric::Cosine => "angular",
        nearlab_simd::Metric::InnerProduct => "ip",
    };
    Ok(Point { search, build: run.build_of(number), repeats, dataset, distance, ids, distances, times })
}

/// Opens the data that the run was measured on; its trials say where it lies.
fn open_data(run: &RunData) -> Result<Prepared, ExportError> {
    let Some(dataset) = &run.dataset else { return Err(ExportError::Empty { folder: run.folder.clone() }) };
    let gone = |problem: String| ExportError::Data {
        folder: run.folder.clone(),
        name: dataset.name.clone(),
        sha256: dataset.sha256.clone(),
        problem,
    };
    let trials: BTreeSet<&str> = run.searches.iter().map(|search| search.trial.as_str()).collect();
    let mut problem = "no trial says where it lies".to_owned();
    for trial in trials {
        let path = run.folder.join("trials").join(format!("{trial}.json"));
        let Ok(text) = fs::read(&path) else { continue };
        let Ok(trial) = serde_json::from_slice::<Trial>(&text) else { continue };
        match Prepared::open(&trial.train.path) {
            Ok(data) if data.fingerprint().sha256 == dataset.sha256 => return Ok(data),
            Ok(_) => problem = format!("{} is another data set", trial.train.path.display()),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(gone(problem))
}

fn read<T: bytemuck::Pod>(path: &Path, count: usize) -> Result<Vec<T>, ExportError> {
    let bytes = fs::read(path).map_err(ExportError::io("read", path))?;
    let expected = count * size_of::<T>();
    if bytes.len() != expected {
        return Err(ExportError::Samples { path: path.to_owned(), expected, found: bytes.len() });
    }
    let mut elements = vec![T::zeroed(); count];
    bytemuck::cast_slice_mut(&mut elements).copy_from_slice(&bytes);
    Ok(elements)
}

/// `<data set>/<k>/<algorithm>[-batch]/<parameters>.hdf5`.
fn file_name(point: &Point<'_>) -> PathBuf {
    let search = point.search;
    let batch = if search.mode == "throughput" { "-batch" } else { "" };
    let words: String = label(point).chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    // The workload and the trial keep apart what the words alone would not.
    let trial: String = search.trial.chars().take(8).collect();
    let file = format!("{}_{}_{}_{trial}.hdf5", words.trim_matches('_'), slug(&search.workload), search.threads);
    [slug(point.dataset), search.k.to_string(), format!("{}{batch}", slug(&search.index)), file].iter().collect()
}

/// What a plot calls the point: `hnsw(ef_construction=200, ef_search=40, m=16)`.
fn label(point: &Point<'_>) -> String {
    let words = |params: &Params| -> Vec<String> {
        params.iter().map(|(name, value)| format!("{name}={}", format::value(value))).collect()
    };
    let params = [words(&point.search.build), words(&point.search.params)].concat().join(", ");
    let threads = if point.search.threads > 1 { format!(" x{}", point.search.threads) } else { String::new() };
    format!("{}({params}){threads}", point.search.index)
}

fn slug(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

fn to_json(params: &Params) -> String {
    serde_json::to_string(params).unwrap_or_default()
}

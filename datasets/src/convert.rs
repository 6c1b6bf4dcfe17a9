//! From any readable format to any writable one, chosen by extension; also how a file gets a new or longer truth.
//!
//! An ann-benchmarks HDF5 file gets everything: base vectors, queries, neighbours and distances, checked as
//! [`mod@crate::prepare`] checks them; neighbours are computed where none are stored, where `limit` makes the stored ones
//! wrong, and where `truth_k` asks for it. The other formats hold one matrix, which is copied as it is.

use std::{
    fmt,
    io::{self, Write},
    ops::Range,
    path::Path,
    str::FromStr,
};

use nearlab_simd::Metric;
use nearlab_storage::{AtomicFile, Vectors, WriteError};

use crate::{
    cache::Cache,
    hdf5::{Compression, Writer},
    npy,
    prepare::{
        Check, Input, Job, PrepareError, PrepareOptions, Resolved, agreed_metric, check_finite, resolve, thread_pool,
    },
    progress::Progress,
    source::{DataFile, Element, Format, ReadError, RowReader, Source},
    xbin, xvecs,
};

/// Formats that can be written.
pub const WRITABLE: [Format; 6] = [Format::Hdf5, Format::Fvecs, Format::Ivecs, Format::Fbin, Format::Ibin, Format::Npy];

/// A matrix of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// Base vectors.
    Train,
    /// Queries.
    Test,
    /// True neighbours.
    Neighbors,
    /// Their distances.
    Distances,
}

impl Matrix {
    const ALL: [Self; 4] = [Self::Train, Self::Test, Self::Neighbors, Self::Distances];

    /// `train`, `test`, `neighbors` or `distances`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Neighbors => "neighbors",
            Self::Distances => "distances",
        }
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no matrix of a data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown matrix {found:?}: expected \"train\", \"test\", \"neighbors\" or \"distances\"")]
pub struct ParseMatrixError {
    /// The name that was given.
    pub found: String,
}

impl FromStr for Matrix {
    type Err = ParseMatrixError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| ParseMatrixError { found: name.to_owned() })
    }
}

/// What to convert, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConvertOptions {
    /// Only the first so many rows.
    pub limit: Option<usize>,
    /// The matrix to write to a format that holds one: by default `neighbors` for ivecs and ibin (the only matrix, where
    /// the file has just one), else `train`.
    pub matrix: Option<Matrix>,
    /// How HDF5 is stored.
    pub compression: Compression,
    /// The metric, where the file does not say it; HDF5 needs one.
    pub metric: Option<Metric>,
    /// Compute the truth anew with so many neighbours per query (HDF5 only).
    pub truth_k: Option<usize>,
}

/// Converts `source` to the file `to`, which appears whole or not at all.
///
/// Relative paths of the source are looked up in the current folder.
pub fn convert(
    source: impl Into<Source>,
    to: &Path,
    options: &ConvertOptions,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<(), PrepareError> {
    let format = writable(to)?;
    let resolved = resolve(&source.into(), Path::new(""), cache, progress)?;
    let file = DataFile::open(&resolved.train)?;
    match format {
        Format::Hdf5 if resolved.test.is_some() || file.test.is_some() => {
            drop(file);
            whole_set(&resolved, to, options, progress)
        }
        Format::Hdf5 => base_only(file, &resolved, to, options, progress),
        _ => single(pick(file, &resolved, format, options)?, to, format, options.limit, progress),
    }
}

fn writable(to: &Path) -> Result<Format, PrepareError> {
    let format = Format::of(to)?;
    if WRITABLE.contains(&format) {
        return Ok(format);
    }
    let expected = format!("one of {}", WRITABLE.map(|f| format!(".{f}")).join(" "));
    Err(ReadError::malformed(to, "file extension to write", expected, format!(".{format}")).into())
}

/// Base, queries and truth to ann-benchmarks HDF5.
fn whole_set(
    resolved: &Resolved,
    to: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<(), PrepareError> {
    let input = Input::open(resolved, options.metric)?;
    let d = input.train.dim();
    let n = input.train.rows().min(options.limit.unwrap_or(usize::MAX));
    let writer = Writer::create(to, input.metric, d, options.compression)?;
    let mut train = writer.matrix::<f32>("train", n.max(1), d)?;
    let asked = PrepareOptions {
        limit: options.limit,
        truth_k: options.truth_k.unwrap_or(1),
        recompute_truth: options.truth_k.is_some(),
        ..PrepareOptions::default()
    };
    let exactly = options.truth_k;
    let job = Job { input, options: &asked, check: Check::Sample };
    let done = job.run(resolved, (&thread_pool()?, progress), &mut |rows| train.put(rows))?;
    train.finish()?;
    let (queries, stored_k) = (done.queries.len() / d, done.truth.k);
    let k = exactly.unwrap_or(stored_k);
    put(&writer, "test", (queries, d), &done.queries)?;
    put(&writer, "neighbors", (queries, k), &cut(&done.truth.neighbors, stored_k, k))?;
    put(&writer, "distances", (queries, k), &cut(&done.truth.distances, stored_k, k))?;
    writer.finish()?;
    Ok(())
}

/// The first `k` columns of `stored_k`.
fn cut<T: Copy>(all: &[T], stored_k: usize, k: usize) -> Vec<T> {
    all.chunks_exact(stored_k).flat_map(|row| &row[..k]).copied().collect()
}

fn put<T: rust_hdf5::H5Type>(writer: &Writer, name: &str, shape: (usize, usize), rows: &[T]) -> Result<(), WriteError> {
    let mut matrix = writer.matrix::<T>(name, shape.0, shape.1)?;
    matrix.put(rows)?;
    matrix.finish()
}

/// A file without queries to an HDF5 file without queries.
fn base_only(
    mut file: DataFile,
    resolved: &Resolved,
    to: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<(), PrepareError> {
    let metric = agreed_metric(&file.path, file.metric, resolved.metric.or(options.metric), options.metric)?;
    let n = limited(&*file.train, options.limit)?;
    let writer = Writer::create(to, metric, file.train.dim(), options.compression)?;
    let mut train = writer.matrix::<f32>("train", n, file.train.dim())?;
    blocks(&mut *file.train, n, progress, |matrix, rows| {
        let (first, mut block) = (rows.start, Vec::new());
        matrix.read_f32(rows, &mut block)?;
        check_fits(matrix, first, &block)?;
        Ok(train.put(&block)?)
    })?;
    train.finish()?;
    writer.finish()?;
    Ok(())
}

/// The matrix that goes into a file of one.
fn pick(
    file: DataFile,
    resolved: &Resolved,
    format: Format,
    options: &ConvertOptions,
) -> Result<Box<dyn RowReader>, PrepareError> {
    let many = file.test.is_some() || file.neighbors.is_some() || resolved.test.is_some();
    let ids = many && matches!(format, Format::Ivecs | Format::Ibin);
    let matrix = options.matrix.unwrap_or(if ids { Matrix::Neighbors } else { Matrix::Train });
    let path = file.path.clone();
    let other = |path: Option<&std::path::PathBuf>| path.map(|path| DataFile::open(path)).transpose();
    // What lies beside the base vectors is of the queries that lie there.
    let (neighbors, distances) = if resolved.test.is_none() { (file.neighbors, file.distances) } else { (None, None) };
    let found = match matrix {
        Matrix::Train => Some(file.train),
        Matrix::Test => other(resolved.test.as_ref())?.map(|f| f.test.unwrap_or(f.train)).or(file.test),
        Matrix::Neighbors => other(resolved.neighbors.as_ref())?.map(|f| f.neighbors.unwrap_or(f.train)).or(neighbors),
        Matrix::Distances => other(resolved.neighbors.as_ref())?.and_then(|f| f.distances).or(distances),
    };
    found.ok_or_else(|| ReadError::malformed(&path, "matrix to convert", matrix.name(), "no such matrix").into())
}

/// One matrix, block by block.
fn single(
    mut matrix: Box<dyn RowReader>,
    to: &Path,
    format: Format,
    limit: Option<usize>,
    progress: &dyn Progress,
) -> Result<(), PrepareError> {
    let (n, d) = (limited(&*matrix, limit)?, matrix.dim());
    let integers = match format {
        Format::Ivecs | Format::Ibin => true,
        // Ids stay integers in an array; u8 vectors and the like become f32, as everywhere.
        Format::Npy => matrix.element().is_integer() && matrix.element().size() >= 4,
        _ => false,
    };
    let mut out = AtomicFile::create(to)?;
    let failed = |e: io::Error| PrepareError::from(WriteError::from_io(to, e));
    match format {
        Format::Fbin | Format::Ibin => xbin::write_header(&mut out, n, d).map_err(failed)?,
        Format::Npy => {
            let element = if integers { Element::I32 } else { Element::F32 };
            npy::write_header(&mut out, n, d, element).map_err(failed)?;
        }
        _ => {}
    }
    let prefixed = matches!(format, Format::Fvecs | Format::Ivecs);
    blocks(&mut *matrix, n, progress, |matrix, rows| {
        let first = rows.start;
        if integers {
            let mut ids = Vec::new();
            matrix.read_i64(rows, &mut ids)?;
            write_block(&mut out, d, prefixed, &narrow(matrix, first, &ids)?).map_err(failed)
        } else {
            let mut block = Vec::new();
            matrix.read_f32(rows, &mut block)?;
            if matrix.element().is_integer() && matrix.element().size() >= 4 {
                check_whole(matrix, first..first + block.len() / d)?;
            }
            check_fits(matrix, first, &block)?;
            write_block(&mut out, d, prefixed, &block).map_err(failed)
        }
    })?;
    out.commit()?;
    Ok(())
}

fn write_block<T: bytemuck::Pod>(out: &mut AtomicFile, d: usize, prefixed: bool, rows: &[T]) -> io::Result<()> {
    if prefixed { xvecs::write_rows(out, d, rows) } else { out.write_all(bytemuck::cast_slice(rows)) }
}

/// Refuses numbers of 64 bits that are none as `f32`. The block begins with row `first`.
fn check_fits(matrix: &dyn RowReader, first: usize, block: &[f32]) -> Result<(), PrepareError> {
    if matrix.element() != Element::F64 {
        return Ok(());
    }
    check_finite(matrix, first, Vectors::new(block, matrix.dim()))
}

/// Refuses ids that would be others as `f32`.
fn check_whole(matrix: &mut dyn RowReader, rows: Range<usize>) -> Result<(), PrepareError> {
    let (first, d) = (rows.start, matrix.dim());
    let mut ids = Vec::new();
    matrix.read_i64(rows, &mut ids)?;
    // In 128 bits: 2^63, to which the largest id rounds, is no id and would come back as the largest.
    match ids.iter().position(|&id| (id as f32) as i128 != i128::from(id)) {
        None => Ok(()),
        Some(at) => Err(unfit(matrix, first * d + at, "a number that a float of 32 bits holds", ids[at])),
    }
}

/// Ids as `i32`, where they fit.
fn narrow(matrix: &dyn RowReader, first: usize, ids: &[i64]) -> Result<Vec<i32>, PrepareError> {
    let begin = first * matrix.dim();
    let narrow = |(at, &id): (usize, &i64)| {
        i32::try_from(id).map_err(|_| unfit(matrix, begin + at, "a number that fits 32 bits", id))
    };
    ids.iter().enumerate().map(narrow).collect()
}

/// The element `at` of a matrix, counted over its rows, has no place in what is written.
fn unfit(matrix: &dyn RowReader, at: usize, expected: &str, found: i64) -> PrepareError {
    PrepareError::Neighbor {
        path: matrix.path().to_path_buf(),
        matrix: matrix.name().to_owned(),
        row: at / matrix.dim(),
        column: at % matrix.dim(),
        expected: expected.into(),
        found,
    }
}

fn limited(matrix: &dyn RowReader, limit: Option<usize>) -> Result<usize, PrepareError> {
    match matrix.rows().min(limit.unwrap_or(usize::MAX)) {
        0 => Err(PrepareError::Empty { path: matrix.path().to_path_buf(), matrix: matrix.name().to_owned() }),
        n => Ok(n),
    }
}

fn blocks(
    matrix: &mut dyn RowReader,
    n: usize,
    progress: &dyn Progress,
    mut take: impl FnMut(&mut dyn RowReader, std::ops::Range<usize>) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    for rows in matrix.blocks() {
        let rows = rows.start.min(n)..rows.end.min(n);
        if rows.is_empty() {
            break;
        }
        progress.report("convert", rows.start as u64, n as u64);
        take(matrix, rows)?;
    }
    progress.report("convert", n as u64, n as u64);
    Ok(())
}

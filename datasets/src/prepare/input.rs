//! Opening the files of a data set and checking everything but the base vectors, which are too large to hold.

use std::path::{Path, PathBuf};

use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::{PrepareError, resolve::Resolved, stats::first_non_finite};
use crate::source::{DataFile, Format, RowReader};

/// A data set whose queries and truth have been read and checked.
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) metric: Metric,
    pub(crate) train: Box<dyn RowReader>,
    /// All queries, row-major.
    pub(crate) test: Vec<f32>,
    pub(crate) truth: Option<InputTruth>,
}

/// The truth of all queries as it is stored. Its ids are rows of the base.
pub(crate) struct InputTruth {
    pub(crate) path: PathBuf,
    pub(crate) k: usize,
    pub(crate) ids: Vec<i32>,
    pub(crate) distances: Option<Vec<f32>>,
}

impl Input {
    /// Opens what `resolved` names; `metric` stands in where neither the file nor the source says one.
    pub(crate) fn open(resolved: &Resolved, metric: Option<Metric>) -> Result<Self, PrepareError> {
        let mut base = DataFile::open(&resolved.train)?;
        let path = base.path.clone();
        let metric = agreed_metric(&path, base.metric, resolved.metric.or(metric), metric)?;
        if base.train.rows() == 0 {
            return Err(PrepareError::Empty { path, matrix: base.train.name().to_owned() });
        }
        let mut queries = match &resolved.test {
            Some(test) => {
                let file = DataFile::open(test)?;
                Some(file.test.unwrap_or(file.train))
            }
            None => base.test.take(),
        };
        let test = read_queries(&path, queries.as_deref_mut(), &*base.train)?;
        let (neighbors, distances) = match &resolved.neighbors {
            Some(truth) => open_truth(truth)?,
            // What lies beside the base vectors is of the queries that lie there.
            None if resolved.test.is_some() => (None, None),
            None => (base.neighbors.take(), base.distances.take()),
        };
        let counts = (test.len() / base.train.dim(), base.train.rows());
        let truth = neighbors.map(|ids| read_truth(ids, distances, counts)).transpose()?;
        Ok(Self { path, metric, train: base.train, test, truth })
    }

    /// All queries.
    pub(crate) fn queries(&self) -> Vectors<'_, f32> {
        Vectors::new(&self.test, self.train.dim())
    }
}

type Matrices = (Option<Box<dyn RowReader>>, Option<Box<dyn RowReader>>);

/// Neighbours and distances of a file that was given as `neighbors:`. What has no known extension is big-ann's layout.
fn open_truth(path: &Path) -> Result<Matrices, PrepareError> {
    if Format::of(path).is_err() {
        let truth = crate::xbin::open_truth(path)?;
        return Ok((Some(truth.neighbors), truth.distances));
    }
    let file = DataFile::open(path)?;
    Ok((Some(file.neighbors.unwrap_or(file.train)), file.distances))
}

/// The metric that file, source and option agree on.
pub(crate) fn agreed_metric(
    path: &Path,
    file: Option<Metric>,
    source: Option<Metric>,
    option: Option<Metric>,
) -> Result<Metric, PrepareError> {
    let path = path.to_path_buf();
    match (file.or(source), option.or(source)) {
        (Some(found), Some(asked)) if asked != found => Err(PrepareError::MetricConflict { path, asked, found }),
        (Some(metric), _) | (None, Some(metric)) => Ok(metric),
        (None, None) => Err(PrepareError::NoMetric { path }),
    }
}

fn read_queries(
    path: &Path,
    queries: Option<&mut (dyn RowReader + 'static)>,
    base: &dyn RowReader,
) -> Result<Vec<f32>, PrepareError> {
    let path = path.to_path_buf();
    let Some(queries) = queries else {
        return Err(PrepareError::NoQueries { path, found: "no such matrix".into() });
    };
    if queries.rows() == 0 {
        return Err(PrepareError::NoQueries { path: queries.path().to_path_buf(), found: "0 rows".into() });
    }
    let (path, matrix) = (queries.path().to_path_buf(), queries.name().to_owned());
    if queries.dim() != base.dim() {
        let expected = format!("{} columns like the base vectors in `{}`", base.dim(), base.name());
        return Err(PrepareError::Shape { path, matrix, expected, found: queries.dim().to_string() });
    }
    let test = queries.read_all_f32()?;
    check_finite(&*queries, 0, Vectors::new(&test, queries.dim()))?;
    Ok(test)
}

/// Refuses NaN and infinities in `rows`, whose first is row `first` of the matrix.
pub(crate) fn check_finite(matrix: &dyn RowReader, first: usize, rows: Vectors<'_, f32>) -> Result<(), PrepareError> {
    match first_non_finite(rows) {
        None => Ok(()),
        Some(found) => Err(PrepareError::NonFinite {
            path: matrix.path().to_path_buf(),
            matrix: matrix.name().to_owned(),
            row: first + found.row,
            column: found.column,
            value: found.value,
        }),
    }
}

/// `counts` are the rows of queries and base. Ids are read and checked block by block: a header may promise rows that
/// do not come.
fn read_truth(
    mut neighbors: Box<dyn RowReader>,
    distances: Option<Box<dyn RowReader>>,
    counts: (usize, usize),
) -> Result<InputTruth, PrepareError> {
    let (queries, n) = counts;
    let shape = |matrix: &dyn RowReader, expected: String| PrepareError::Shape {
        path: matrix.path().to_path_buf(),
        matrix: matrix.name().to_owned(),
        expected,
        found: format!("{} x {}", matrix.rows(), matrix.dim()),
    };
    let (rows, k) = (neighbors.rows(), neighbors.dim());
    if rows != queries {
        return Err(shape(&*neighbors, format!("{queries} rows, one per query")));
    }
    if k > n {
        return Err(shape(&*neighbors, format!("at most {n} columns, the number of base vectors")));
    }
    let (mut ids, mut block) = (Vec::new(), Vec::new());
    for range in neighbors.blocks() {
        let first = range.start;
        neighbors.read_i64(range, &mut block)?;
        check_ids(&*neighbors, first, &block, n)?;
        ids.extend(block.iter().map(|&id| id as i32));
    }
    let distances = match distances {
        None => None,
        Some(mut distances) => {
            if (distances.rows(), distances.dim()) != (rows, k) {
                return Err(shape(&*distances, format!("{rows} x {k} like `{}`", neighbors.name())));
            }
            let values = distances.read_all_f32()?;
            check_finite(&*distances, 0, Vectors::new(&values, k))?;
            Some(values)
        }
    };
    Ok(InputTruth { path: neighbors.path().to_path_buf(), k, ids, distances })
}

/// Every id is a row of the base, and none stands twice in a row. The first of `ids` is of row `first`.
fn check_ids(neighbors: &dyn RowReader, first: usize, ids: &[i64], n: usize) -> Result<(), PrepareError> {
    let k = neighbors.dim();
    let error = |row: usize, column: usize, expected: String, found: i64| PrepareError::Neighbor {
        path: neighbors.path().to_path_buf(),
        matrix: neighbors.name().to_owned(),
        row: first + row,
        column,
        expected,
        found,
    };
    if let Some(at) = ids.iter().position(|&id| id < 0 || id >= n as i64) {
        return Err(error(at / k, at % k, format!("a base vector, 0 to {}", n - 1), ids[at]));
    }
    let mut sorted = Vec::with_capacity(k);
    for (row, ids) in ids.chunks_exact(k).enumerate() {
        sorted.clear();
        sorted.extend_from_slice(ids);
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let column = ids.iter().rposition(|&id| id == twice[0]).unwrap_or_default();
            return Err(error(row, column, "each base vector once".into(), twice[0]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::source::{Element, ReadError};

    const K: usize = 1024;

    /// Ids that count up to row `bad`, and are all 0 from there on, as what was promised and never written is.
    struct Promised {
        path: PathBuf,
        name: String,
        rows: usize,
        bad: usize,
        read: Rc<Cell<usize>>,
    }

    impl RowReader for Promised {
        fn path(&self) -> &Path {
            &self.path
        }
        fn name(&self) -> &str {
            &self.name
        }
        fn rows(&self) -> usize {
            self.rows
        }
        fn dim(&self) -> usize {
            K
        }
        fn element(&self) -> Element {
            Element::I32
        }
        fn read_bytes(&mut self, first: usize, out: &mut [u8]) -> Result<(), ReadError> {
            for (row, ids) in (first..).zip(out.as_chunks_mut::<{ K * 4 }>().0) {
                for (column, id) in (0i32..).zip(ids.as_chunks_mut::<4>().0) {
                    let found = if row < self.bad { column } else { 0 };
                    *id = found.to_le_bytes();
                }
            }
            self.read.set(first + out.len() / (K * 4));
            Ok(())
        }
    }

    #[test]
    fn neighbours_are_refused_before_all_that_are_promised_are_read() {
        let (rows, bad, read) = (1 << 20, 3000, Rc::new(Cell::new(0)));
        let ids = Promised { path: "set.hdf5".into(), name: "neighbors".into(), rows, bad, read: Rc::clone(&read) };
        let refused = read_truth(Box::new(ids), None, (rows, K)).err().unwrap().to_string();
        let expected = "set.hdf5: `neighbors` row 3000, column 1023: expected each base vector once, found 0";
        assert_eq!(refused, expected);
        assert!((bad..rows / 100).contains(&read.get()), "{} rows were read", read.get());
    }
}

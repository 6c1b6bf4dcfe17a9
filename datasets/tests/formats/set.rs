//! Small data sets to write, break and read back.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use nearlab_datasets::{Cache, PrepareError, PrepareOptions, Prepared, Progress, Source, prepare};
use rust_hdf5::H5File;

/// The real set of the quickstart.
pub(crate) fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sift-photos-20k-128-euclidean.hdf5")
}

/// A file of `tests/data`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A folder for files and one for the cache.
pub(crate) struct Workplace {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cache: Cache,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        Self { folder, cache }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares and opens.
    pub(crate) fn prepare(
        &self,
        source: impl Into<Source>,
        options: &PrepareOptions,
    ) -> Result<Prepared, PrepareError> {
        let path = prepare(source, self.folder.path(), options, &self.cache, &())?;
        Ok(Prepared::open(&path)?)
    }

    /// The message with which a file is refused; nothing may be left in the cache.
    pub(crate) fn refused(&self, source: impl Into<Source>, options: &PrepareOptions) -> String {
        let message = self.prepare(source, options).err().expect("the data set must be refused").to_string();
        assert_eq!(self.cache.entries().unwrap(), [], "a refused data set leaves nothing: {message}");
        assert!(!message.contains('\n'), "one sentence: {message}");
        message
    }
}

/// Six base vectors on a line and three queries, Euclidean, with their truth; tests change what they are about.
#[derive(Clone)]
pub(crate) struct Set {
    pub(crate) d: usize,
    pub(crate) train: Vec<f32>,
    pub(crate) test_d: usize,
    pub(crate) test: Vec<f32>,
    pub(crate) k: usize,
    pub(crate) neighbors: Option<Vec<i64>>,
    pub(crate) distances: Option<Vec<f32>>,
    pub(crate) distance: Option<&'static str>,
}

impl Set {
    pub(crate) fn line() -> Self {
        Self {
            d: 2,
            train: vec![0.0, 1.0, 1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 4.0, 1.0, 5.0, 1.0],
            test_d: 2,
            test: vec![0.25, 1.0, 2.0, 1.0, 4.75, 1.0],
            k: 2,
            neighbors: Some(vec![0, 1, 2, 1, 5, 4]),
            distances: Some(vec![0.25, 0.75, 0.0, 1.0, 0.25, 0.75]),
            distance: Some("euclidean"),
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        let file = H5File::create(path).unwrap();
        if let Some(distance) = self.distance {
            file.set_attr_string("distance", distance).unwrap();
        }
        matrix(&file, "train", &self.train, self.d);
        matrix(&file, "test", &self.test, self.test_d);
        if let Some(ids) = &self.neighbors {
            matrix(&file, "neighbors", ids, self.k);
        }
        if let Some(distances) = &self.distances {
            matrix(&file, "distances", distances, self.k);
        }
        file.close().unwrap();
    }

    /// Writes the set and returns the message with which it is refused.
    pub(crate) fn refused(&self) -> String {
        self.refused_with(&PrepareOptions { truth_k: 1, ..PrepareOptions::default() })
    }

    pub(crate) fn refused_with(&self, options: &PrepareOptions) -> String {
        let place = Workplace::new();
        self.write(&place.path("set.hdf5"));
        let message = place.refused("set.hdf5", options);
        assert!(message.contains("set.hdf5: "), "the file is named: {message}");
        message
    }
}

fn matrix<T: rust_hdf5::H5Type>(file: &H5File, name: &str, data: &[T], d: usize) {
    let dataset = file.new_dataset::<T>().shape([data.len() / d, d]).create(name).unwrap();
    if !data.is_empty() {
        dataset.write_raw(data).unwrap();
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<(String, u64, u64)>>);

impl Progress for Heard {
    fn report(&self, stage: &str, done: u64, total: u64) {
        self.0.lock().unwrap().push((stage.to_owned(), done, total));
    }
}

//! One result file.

use std::{fs, path::Path};

use rust_hdf5::{H5File, types::H5Type};

use super::{ExportError, Point, label};

/// Writes `point` to `path`, whole or not at all.
pub(super) fn write(path: &Path, point: &Point<'_>) -> Result<(), ExportError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(ExportError::io("make the folder", folder))?;
    }
    let temporary = path.with_extension("hdf5.tmp");
    let written = write_hdf5(&temporary, point)
        .map_err(|error| ExportError::Hdf5 { path: path.to_owned(), message: error.to_string() })
        .and_then(|()| fs::rename(&temporary, path).map_err(ExportError::io("rename", path)));
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _absent = fs::remove_file(&temporary);
    }
    written
}

fn write_hdf5(path: &Path, point: &Point<'_>) -> rust_hdf5::Result<()> {
    let search = point.search;
    let (queries, k) = (search.queries as usize, search.k as usize);
    let file = H5File::create(path)?;
    file.set_attr_string("algo", &search.index)?;
    file.set_attr_string("name", &label(point))?;
    file.set_attr_string("dataset", point.dataset)?;
    file.set_attr_string("distance", point.distance)?;
    file.set_attr_numeric("batch_mode", &u8::from(search.mode == "throughput"))?;
    file.set_attr_numeric("best_search_time", &(search.wall_seconds / search.queries as f64))?;
    file.set_attr_numeric("build_time", &point.build.map_or(0.0, |build| build.build_seconds))?;
    let bytes = point.build.and_then(|build| build.index_bytes).unwrap_or(0);
    file.set_attr_numeric("index_size", &(bytes as f64 / 1024.0))?;
    let answered = point.ids.iter().filter(|&&id| id >= 0).count();
    file.set_attr_numeric("candidates", &(answered as f64 / queries as f64))?;
    file.set_attr_numeric("count", &(search.k as i64))?;
    file.set_attr_numeric("expect_extra", &0u8)?;
    file.set_attr_numeric("run_count", &(point.repeats as i64))?;
    dataset(&file, "times", &[queries], &point.times)?;
    dataset(&file, "neighbors", &[queries, k], &point.ids)?;
    dataset(&file, "distances", &[queries, k], &point.distances)?;
    file.close()
}

fn dataset<T: H5Type>(file: &H5File, name: &str, shape: &[usize], data: &[T]) -> rust_hdf5::Result<()> {
    file.new_dataset::<T>().shape(shape).create(name)?.write_raw(data)
}

//! Where trials write.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::run::RunError;

/// The folder that trials write to. Dropping it removes it.
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    /// Makes it, empty, in the run's folder. Only the session that holds the run's lock may do this.
    pub(super) fn make(run: &Path) -> Result<Self, RunError> {
        let path = run.join("scratch");
        // What a killed session left.
        let _none = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(RunError::file("make the folder", &path))?;
        // A worker in another language may start elsewhere.
        Ok(Self { path: std::path::absolute(&path).unwrap_or(path) })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.path);
    }
}

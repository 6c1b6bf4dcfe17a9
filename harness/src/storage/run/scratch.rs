//! Where trials write.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::run::RunError;

/// The folder that trials write to. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) path: PathBuf,
}

impl Scratch {
    /// Makes it, empty, in the run's folder. Only the session that holds the run's lock may do this.
    pub(super) fn make(run: &Path) -> Result<Self, RunError> {
        let path = run.join("scratch");
        // What a killed session left: a trial must not find another one's files.
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(RunError::file("remove", &path)(error));
        }
        fs::create_dir(&path).map_err(RunError::file("make the folder", &path))?;
        // A worker in another language may start elsewhere.
        Ok(Self { path: std::path::absolute(&path).unwrap_or(path) })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_session_left_is_gone() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir_all(run.path().join("scratch/trial-0")).unwrap();
        let scratch = Scratch::make(run.path()).unwrap();
        assert_eq!(fs::read_dir(&scratch.path).unwrap().count(), 0);
        drop(scratch);
        assert!(!run.path().join("scratch").exists());
        assert!(Scratch::make(run.path()).is_ok());
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join("scratch"), "no folder").unwrap();
        let error = Scratch::make(run.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot remove ") && error.contains("scratch"), "{error}");
    }
}

//! Folders for what is written for a while: the stores of trials, and the temporary files of workers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::folder::{FolderError, failed};

/// A folder of nobody else's. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder, empty, in a run's folder. Only the session that holds the run's lock may do this.
    pub(crate) fn make(path: &Path) -> Result<Self, FolderError> {
        // What a killed session left: a trial must not find another one's files.
        if let Err(error) = fs::remove_dir_all(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed("remove", path)(error));
        }
        fs::create_dir(path).map_err(failed("make the folder", path))?;
        // A worker in another language may start elsewhere.
        Ok(Self { path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
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
        let path = run.path().join("scratch");
        fs::create_dir_all(path.join("trial-0")).unwrap();
        let scratch = Scratch::make(&path).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        drop(scratch);
        assert!(!path.exists());
        assert!(Scratch::make(&path).is_ok());
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("scratch");
        fs::write(&path, "no folder").unwrap();
        let error = Scratch::make(&path).unwrap_err().to_string();
        assert!(error.starts_with("cannot remove ") && error.contains("scratch"), "{error}");
    }
}

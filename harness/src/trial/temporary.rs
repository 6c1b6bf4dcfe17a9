//! Where a worker's libraries write what they need for a while.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nearlab_reports::record::Outcome;

use super::Trouble;
use crate::run::folder::TEMPORARY;

/// A folder for temporary files. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) path: PathBuf,
}

impl Temporary {
    /// Makes it beside a trial file, empty.
    pub(super) fn beside(trial_file: &Path) -> Result<Self, Trouble> {
        let path = trial_file.with_extension(TEMPORARY);
        let path = std::path::absolute(&path).unwrap_or(path);
        let _absent = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(|error| {
            Trouble::new(Outcome::Failed, format!("cannot make the folder {}: {error}", path.display()))
        })?;
        Ok(Self { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_and_goes_with_all_that_is_in_it() {
        let run = tempfile::tempdir().unwrap();
        let trial_file = run.path().join("ab.json");
        fs::create_dir_all(run.path().join("ab.tmp/left")).unwrap();
        let temporary = Temporary::beside(&trial_file).unwrap();
        assert_eq!(temporary.path, run.path().join("ab.tmp"));
        assert_eq!(fs::read_dir(&temporary.path).unwrap().count(), 0);
        fs::write(temporary.path.join("graph"), "").unwrap();
        drop(temporary);
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
        fs::write(run.path().join("ab.tmp"), "no folder").unwrap();
        let trouble = Temporary::beside(&trial_file).unwrap_err();
        assert!(trouble.message.starts_with("cannot make the folder ") && trouble.message.contains("ab.tmp"));
    }
}

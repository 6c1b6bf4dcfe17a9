//! A run's folder: `<runs>/<experiment>/<run id>/`.
//!
//! ```text
//! experiment.yaml      the question as it was read last
//! records.jsonl        what happened, line by line (and the lock that keeps two sessions apart)
//! trials/<trial>.json  what each worker was told
//! trials/<trial>.tmp/  its temporary files, while it runs
//! samples/<key>.ids.bin, samples/<key>.ns.bin
//! indexes/<trial>.nearlab   with `measure: {save: true}`
//! profiles/<trial>/...
//! results.parquet, results.csv, report/   derived when the run ends
//! ```

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use nearlab_reports::run::{LoadError, RECORDS_FILE, RunData};
use nearlab_storage::{AtomicFile, WriteError};

/// What names end with of files and folders that are nobody's once their worker is gone.
pub const TEMPORARY: &str = "tmp";

/// Names that are tried for runs begun in the same second.
const TRIES: u32 = 1000;

/// Why a run's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something in it cannot be made, read or listed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it cannot be replaced.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Its records are damaged.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// One run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new folder for `experiment` under `runs`, named after the time.
    pub fn create(runs: &Path, experiment: &str) -> Result<Self, FolderError> {
        let parent = runs.join(experiment);
        make(&parent)?;
        let path = unused_name(&parent, Timestamp::now())?;
        let folder = Self { path };
        for part in ["samples", "trials"] {
            make(&folder.path.join(part))?;
        }
        Ok(folder)
    }

    /// Keeps the question as it was read last: what is expected of a run may be edited when all is measured. Only the session that holds
    /// the run's lock may do this.
    pub fn keep_question(&self, yaml: &str) -> Result<(), FolderError> {
        let copy = self.path.join("experiment.yaml");
        if fs::read(&copy).is_ok_and(|kept| kept == yaml.as_bytes()) {
            return Ok(());
        }
        // Whole or as it was: a full disk must not cost a complete run its question.
        let mut file = AtomicFile::create(&copy)?;
        file.write_all(yaml.as_bytes()).map_err(|cause| WriteError::from_io(&copy, cause))?;
        file.commit().map_err(FolderError::from)
    }

    /// The newest run of `experiment` under `runs` whose plan has this hash, and what is recorded there. A run that was
    /// cut off before its first record has nothing to continue and is passed over.
    pub fn latest(runs: &Path, experiment: &str, spec_hash: &str) -> Result<Option<(Self, RunData)>, FolderError> {
        for path in newest_first(&runs.join(experiment))? {
            let folder = Self { path };
            if let Some(run) = folder.recorded()?.filter(|run| run.session().spec_hash == spec_hash) {
                return Ok(Some((folder, run)));
            }
        }
        Ok(None)
    }

    /// What is recorded of the run; `None` where it was cut off before its first record. Until the run's lock is held, another
    /// session may be adding to it.
    pub fn recorded(&self) -> Result<Option<RunData>, FolderError> {
        match RunData::load(&self.path) {
            Ok(run) => Ok(Some(run)),
            Err(LoadError::NotARun { .. } | LoadError::NoSession { .. }) => Ok(None),
            Err(damaged) => Err(damaged.into()),
        }
    }

    /// Removes what killed workers left half written, and their temporary files. Only the session that holds the run's lock may do this.
    pub fn sweep(&self) -> Result<(), FolderError> {
        for part in ["samples", "trials"] {
            let part = self.path.join(part);
            for entry in fs::read_dir(&part).map_err(failed("list", &part))? {
                let path = entry.map_err(failed("list", &part))?.path();
                if path.extension().is_none_or(|extension| extension != TEMPORARY) {
                    continue;
                }
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name: the folder's.
    pub fn id(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// `records.jsonl`.
    pub fn records(&self) -> PathBuf {
        self.path.join(RECORDS_FILE)
    }

    /// A trial's file.
    pub fn trial_file(&self, trial: &str) -> PathBuf {
        self.path.join("trials").join(format!("{trial}.json"))
    }

    /// Where a trial's index is saved; the folder for it exists afterwards.
    pub fn index_file(&self, trial: &str) -> Result<PathBuf, FolderError> {
        let folder = self.path.join("indexes");
        make(&folder)?;
        Ok(folder.join(format!("{trial}.nearlab")))
    }

    /// A path inside the folder, as records name it.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.path).unwrap_or(path).display().to_string()
    }
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    move |source| FolderError::Io { action, path: path.to_owned(), source }
}

fn make(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(failed("make the folder", path))
}

/// Makes the first folder `20260131T101500Z`, `20260131T101500Z-2`, ... that is not there yet.
fn unused_name(parent: &Path, now: Timestamp) -> Result<PathBuf, FolderError> {
    let name = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut path = parent.join(&name);
    for number in 2..TRIES {
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(FolderError::Io { action: "make the folder", path, source }),
        }
        path = parent.join(format!("{name}-{number}"));
    }
    let source = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(FolderError::Io { action: "make the folder", path, source })
}

/// Sub-folders, newest name first; none when the folder does not exist.
fn newest_first(parent: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", parent)(error)),
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed("list", parent))?;
    paths.retain(|path| path.is_dir());
    paths.sort_by_cached_key(|path| std::cmp::Reverse(age(path)));
    Ok(paths)
}

/// (timestamp, number within the second): `...Z-10` is newer than `...Z-9`.
fn age(path: &Path) -> (String, u32) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.split_once('-') {
        Some((time, number)) => (time.to_owned(), number.parse().unwrap_or(1)),
        None => (name, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_second_have_names_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let names: Vec<PathBuf> = (0..11).map(|_| unused_name(root.path(), now).unwrap()).collect();
        assert_eq!(names[0], root.path().join("19700101T000000Z"));
        assert_eq!(names[1], root.path().join("19700101T000000Z-2"));
        let newest = newest_first(root.path()).unwrap();
        assert_eq!(newest.iter().rev().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_new_run_has_its_question_and_its_folders() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "first").unwrap();
        folder.keep_question("question: why?\n").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("experiment.yaml")).unwrap(), "question: why?\n");
        assert!(folder.path().join("samples").is_dir());
        assert_eq!(folder.relative(&folder.trial_file("ab")), "trials/ab.json");
        assert_eq!(folder.records().parent(), Some(folder.path()));
        assert!(folder.id().ends_with('Z'));
        let (half, whole) = (folder.path().join("samples/a.ids.bin.tmp"), folder.path().join("samples/a.ids.bin"));
        fs::write(&half, "").unwrap();
        fs::write(&whole, "").unwrap();
        let (left, told) = (folder.path().join("trials/a.tmp"), folder.trial_file("a"));
        fs::create_dir_all(left.join("graph")).unwrap();
        fs::write(&told, "").unwrap();
        folder.sweep().unwrap();
        assert!(!half.exists() && whole.exists() && !left.exists() && told.exists());
    }

    #[test]
    fn a_question_is_replaced_whole_and_only_by_another() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "asked").unwrap();
        let copy = folder.path().join("experiment.yaml");
        let kept = |yaml: &str| {
            folder.keep_question(yaml).unwrap();
            assert_eq!(fs::read_to_string(&copy).unwrap(), yaml);
            fs::metadata(&copy).unwrap().ino()
        };
        let first = kept("question: why?\n");
        assert_eq!(kept("question: why?\n"), first);
        // The old file is there until the new one is.
        assert_ne!(kept("question: how?\n"), first);
        // What cannot be replaced is named, and nothing lies beside it.
        fs::remove_file(&copy).unwrap();
        fs::create_dir(&copy).unwrap();
        let error = folder.keep_question("question: why?\n").unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("experiment.yaml"), "{error}");
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["experiment.yaml", "samples", "trials"]);
    }

    #[test]
    fn a_run_without_a_record_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(RunFolder::latest(root.path(), "none", "x").unwrap(), None);
        let folder = RunFolder::create(root.path(), "cut").unwrap();
        assert_eq!(RunFolder::latest(root.path(), "cut", "x").unwrap(), None);
        assert_eq!(folder.recorded().unwrap(), None);
        fs::write(folder.records(), "{\"half").unwrap();
        assert_eq!(RunFolder::latest(root.path(), "cut", "x").unwrap(), None);
        fs::write(folder.records(), "rubbish\n").unwrap();
        assert!(RunFolder::latest(root.path(), "cut", "x").is_err() && folder.recorded().is_err());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunFolder::create(&file, "x").unwrap_err().to_string();
        assert!(error.starts_with("cannot make the folder "), "{error}");
    }
}

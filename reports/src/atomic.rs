//! Files written whole or not at all: a temporary name in the same folder, synced, then renamed.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Why a file could not be written; a full disk is this one.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {action}: {source}", path.display())]
pub struct FileError {
    /// The file or folder meant.
    pub path: PathBuf,
    /// What was tried.
    pub action: &'static str,
    /// The system's reason.
    pub source: io::Error,
}

impl FileError {
    /// For use with `map_err`.
    pub(crate) fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, action, source }
    }
}

/// A file that lies complete beside its final name and waits for [`Staged::commit`]; dropped, it goes away.
#[derive(Debug)]
pub(crate) struct Staged {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

/// Writes `bytes` beside `path`.
pub(crate) fn stage(path: &Path, bytes: &[u8]) -> Result<Staged, FileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions_of_new_files()
        .tempfile_in(folder)
        .map_err(FileError::at(path, "create"))?;
    file.write_all(bytes).map_err(FileError::at(path, "write"))?;
    file.as_file().sync_all().map_err(FileError::at(path, "sync"))?;
    Ok(Staged { file, path: path.to_owned() })
}

impl Staged {
    /// Gives the file its name, replacing what was there.
    pub(crate) fn commit(self) -> Result<PathBuf, FileError> {
        let Self { file, path } = self;
        file.persist(&path).map_err(|error| FileError::at(&path, "rename into place")(error.error))?;
        Ok(path)
    }
}

/// Writes `bytes` to `path` whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf, FileError> {
    stage(path, bytes)?.commit()
}

/// tempfile makes files that only their owner may read; a report is for everyone the umask allows.
trait Permissions {
    fn permissions_of_new_files(&mut self) -> &mut Self;
}

impl Permissions for tempfile::Builder<'_, '_> {
    fn permissions_of_new_files(&mut self) -> &mut Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            self.permissions(std::fs::Permissions::from_mode(0o666));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uncommitted_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(stage(&folder.path().join("a"), b"x").unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("no/such/file"), b"x").unwrap_err();
        assert!(error.to_string().contains("no/such/file: cannot create"), "{error}");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"first").unwrap();
        write(&path, b"2").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"2");
        let onto_a_folder = stage(&folder.path().join("a"), b"").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(onto_a_folder.commit().unwrap_err().to_string().contains("rename into place"));
    }
}

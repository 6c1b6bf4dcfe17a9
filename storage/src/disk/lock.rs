//! The system's locks on files.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::DiskFile;

/// A lock on a file, given back when this is dropped. Closing the file would not do: a process that is being started at that
/// moment by another thread has the same open file for an instant, and would keep the lock.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// The lock that nobody else may hold, or share.
    pub fn exclusive(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }

    /// The lock that others may share, but nobody may hold alone.
    pub fn shared(file: File) -> Result<Self, TryLockError> {
        file.try_lock_shared()?;
        Ok(Self(file))
    }

    /// Whether the file is the one that `path` leads to now. One that was removed or replaced before it was locked keeps nobody away.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.0.is_at(path)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // An error leaves it to the closing.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_given_back_is_free_though_the_file_is_open_elsewhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let held = open();
        let inherited = held.try_clone().unwrap();
        let lock = FileLock::exclusive(held).unwrap();
        assert!(matches!(FileLock::shared(open()), Err(TryLockError::WouldBlock)));
        drop(lock);
        let shared = [FileLock::shared(open()).unwrap(), FileLock::shared(open()).unwrap()];
        assert!(matches!(FileLock::exclusive(open()), Err(TryLockError::WouldBlock)));
        drop((shared, inherited));
        FileLock::exclusive(open()).unwrap();
    }

    #[test]
    fn a_lock_knows_whether_its_file_still_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let lock = FileLock::exclusive(File::open(&path).unwrap()).unwrap();
        assert!(lock.is_at(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!lock.is_at(&path).unwrap());
        std::fs::write(&path, "another").unwrap();
        assert!(!lock.is_at(&path).unwrap());
        FileLock::exclusive(File::open(&path).unwrap()).unwrap();
    }
}

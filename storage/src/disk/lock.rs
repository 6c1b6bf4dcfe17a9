//! The system's locks on files.

use std::fs::{File, TryLockError};

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
}

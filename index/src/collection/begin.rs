//! Making a collection in a folder: a mark stands there until it is whole, so that what an attempt left that did not come to an
//! end is in the way of nobody.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;

use nearlab_storage::disk::{Disk, FileLock};

use super::open::{METADATA, VECTORS, io};
use super::{CollectionError, config};

/// The mark. Who makes the collection holds its lock.
pub(super) const MARK: &str = "unfinished";

/// A collection that is being made.
pub(super) struct Beginning {
    lock: FileLock,
}

impl Beginning {
    /// Marks a folder that is empty, or in which an earlier attempt left something; that is removed.
    pub(super) fn on(disk: &dyn Disk) -> Result<Self, CollectionError> {
        let folder = disk.folder();
        let names = disk.names().map_err(io("read", folder))?;
        let is_marked = names.iter().any(|name| name == MARK);
        if (!names.is_empty() && !is_marked) || names.iter().any(|name| name == config::NAME) {
            return Err(CollectionError::Exists(folder.to_owned()));
        }
        let path = disk.path(MARK);
        if !is_marked {
            disk.create(MARK).map_err(io("create", &path))?;
            disk.sync_folder().map_err(io("sync", folder))?;
        }
        let exists = || CollectionError::Exists(folder.to_owned());
        let mark = File::open(&path).map_err(|cause| match cause.kind() {
            // Somebody else has made a collection meanwhile.
            ErrorKind::NotFound => exists(),
            _ => io("open", &path)(cause),
        })?;
        let lock = FileLock::exclusive(mark).map_err(|error| match error {
            TryLockError::WouldBlock => exists(),
            TryLockError::Error(cause) => io("lock", &path)(cause),
        })?;
        // What stood here before the lock may be another's by now.
        let names = disk.names().map_err(io("read", folder))?;
        if !names.iter().any(|name| name == MARK) || names.iter().any(|name| name == config::NAME) {
            return Err(exists());
        }
        clear(disk, &names)?;
        Ok(Self { lock })
    }

    /// The collection is whole.
    pub(super) fn end(self, disk: &dyn Disk) {
        remove_mark(disk);
        drop(self.lock);
    }
}

/// Removes the mark of a collection that is whole. One that stays is in nobody's way.
pub(super) fn remove_mark(disk: &dyn Disk) {
    if disk.path(MARK).exists() {
        let _ = disk.remove(MARK);
    }
}

/// Removes what an earlier attempt left, and nothing that is none of its.
fn clear(disk: &dyn Disk, names: &[String]) -> Result<(), CollectionError> {
    let unfinished = format!("{METADATA}.new");
    let own = [MARK, VECTORS, METADATA, &unfinished, config::UNFINISHED];
    if !names.iter().all(|name| own.contains(&&name[..])) {
        return Err(CollectionError::Exists(disk.folder().to_owned()));
    }
    let remove = |disk: &dyn Disk, name: &str| disk.remove(name).map_err(io("remove", &disk.path(name)));
    if names.iter().any(|name| name == VECTORS) {
        let vectors = disk.within(VECTORS).map_err(io("open", &disk.path(VECTORS)))?;
        for name in vectors.names().map_err(io("read", vectors.folder()))? {
            let of_a_store = name.starts_with("manifest") || name.starts_with("log-") || name.starts_with("segment-");
            match &name[..] {
                // The store makes it without the disk, and takes it as it is.
                "lock" => {}
                name if of_a_store => remove(&*vectors, name)?,
                _ => return Err(CollectionError::Exists(vectors.folder().to_owned())),
            }
        }
    }
    let files = names.iter().filter(|name| *name != MARK && *name != VECTORS);
    files.into_iter().try_for_each(|name| remove(disk, name))
}

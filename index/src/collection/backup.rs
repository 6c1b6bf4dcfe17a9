//! Copying a collection while it is searched.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use nearlab_storage::disk::Folder;
use nearlab_storage::metadata::MetadataStore;

use super::open::{METADATA, VECTORS, io};
use super::{Collection, CollectionError};

/// Bytes that are copied at once; zeros in such a piece take up no room in the copy.
const COPIED: usize = 1 << 20;

impl Collection {
    /// Copies the collection as it is now to a folder that is empty or missing, durably. Changes wait meanwhile, searches do not. Where it
    /// fails nothing of the copy stays.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<(), CollectionError> {
        let to = to.as_ref();
        // Packing replaces files without the writer's lock.
        let _packing = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = self.lock_writer()?;
        self.check(&writer)?;
        self.store.sync()?;
        self.keep_metadata(&mut writer)?;
        let is_new = !to.exists();
        Folder::make(to).map_err(io("create", to))?;
        if fs::read_dir(to).map_err(io("read", to))?.next().is_some() {
            return Err(CollectionError::Exists(to.to_owned()));
        }
        let vectors = claim(to).inspect_err(|_| remove_empty(to, is_new))?;
        self.copy_to(to, &vectors).inspect_err(|_| take_back(to, is_new))
    }

    fn copy_to(&self, to: &Path, vectors: &Path) -> Result<(), CollectionError> {
        copy_files(&self.vectors_path(), vectors)?;
        copy_files(&self.folder, to)?;
        // The copy of an open database is one that was not closed: this closes it.
        let schema = self.config.schema.as_ref();
        drop(schema.map(|schema| MetadataStore::open(to.join(METADATA), schema)).transpose()?);
        Ok(())
    }
}

/// Makes the folder of the vectors, and so the folder around it, which was found empty, that of one copy: of others that found it so, each
/// is refused.
fn claim(to: &Path) -> Result<PathBuf, CollectionError> {
    let vectors = to.join(VECTORS);
    match fs::create_dir(&vectors) {
        Ok(()) => Ok(vectors),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Err(CollectionError::Exists(to.to_owned())),
        Err(cause) => Err(io("create", &vectors)(cause)),
    }
}

/// Removes what a copy that failed has written into the folder that it has claimed. What can not be removed stays.
fn take_back(to: &Path, is_new: bool) {
    for entry in fs::read_dir(to).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    // Last: once it is gone the folder may be another's.
    let _ = fs::remove_dir_all(to.join(VECTORS));
    remove_empty(to, is_new);
}

/// Removes a folder that was made for a copy, if there is nothing in it.
fn remove_empty(to: &Path, is_new: bool) {
    if is_new {
        let _ = fs::remove_dir(to);
    }
}

/// Copies the files of a folder, not those of folders in it, nor those that were never finished. The description of a collection comes
/// last: with it there is one.
fn copy_files(from: &Path, to: &Path) -> Result<(), CollectionError> {
    let entries = fs::read_dir(from).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(io("read", from))?;
    let is_finished = |entry: &&fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    let paths = entries.iter().filter(is_finished).map(fs::DirEntry::path);
    let mut paths: Vec<_> = paths.filter(|path| path.is_file()).collect();
    paths.sort_by_key(|path| path.extension().is_some_and(|extension| extension == "json"));
    for path in paths {
        let target = to.join(path.file_name().expect("a file of a folder has a name"));
        copy_file(&path, &target)?;
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(io("sync", to))
}

fn copy_file(from: &Path, to: &Path) -> Result<(), CollectionError> {
    let mut source = File::open(from).map_err(io("read", from))?;
    let target = File::options().write(true).create_new(true).open(to);
    let mut target = target.map_err(io("write", to))?;
    let (mut piece, mut copied) = (vec![0; COPIED], 0);
    loop {
        let read = source.read(&mut piece).map_err(io("read", from))?;
        if read == 0 {
            break;
        }
        let put = if piece[..read].iter().all(|&byte| byte == 0) {
            target.seek_relative(read as i64)
        } else {
            target.write_all(&piece[..read])
        };
        put.map_err(io("write", to))?;
        copied += read as u64;
    }
    target.set_len(copied).and_then(|()| target.sync_all()).map_err(io("write", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_another_copy_has_claimed_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("copy");
        fs::create_dir(&to).unwrap();
        let vectors = claim(&to).unwrap();
        fs::write(vectors.join("manifest-1"), "whole").unwrap();
        let refused = claim(&to).inspect_err(|_| remove_empty(&to, true));
        assert!(matches!(refused, Err(CollectionError::Exists(_))), "{refused:?}");
        assert_eq!(fs::read(vectors.join("manifest-1")).unwrap(), b"whole");
        take_back(&to, true);
        assert!(!to.exists());
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named_and_so_is_one_that_can_not_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, copy) = (folder.path().join("file"), folder.path().join("copy"));
        fs::write(&file, "whole").unwrap();
        copy_file(&file, &copy).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), b"whole");
        let named = |outcome: Result<(), CollectionError>| outcome.unwrap_err().to_string();
        // A folder opens as a file does, and then can not be read.
        let error = named(copy_file(folder.path(), &folder.path().join("other")));
        assert!(error.starts_with(&format!("cannot read {}: ", folder.path().display())), "{error}");
        let error = named(copy_file(&file, &copy));
        assert!(error.starts_with(&format!("cannot write {}: ", copy.display())), "{error}");
    }
}

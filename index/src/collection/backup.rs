//! Copying a collection while it is searched.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
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
        self.copy_to(to).inspect_err(|_| take_back(to, is_new))
    }

    fn copy_to(&self, to: &Path) -> Result<(), CollectionError> {
        let vectors = to.join(VECTORS);
        fs::create_dir(&vectors).map_err(io("create", &vectors))?;
        copy_files(&self.vectors_path(), &vectors)?;
        copy_files(&self.folder, to)?;
        // The copy of an open database is one that was not closed: this closes it.
        let schema = self.config.schema.as_ref();
        drop(schema.map(|schema| MetadataStore::open(to.join(METADATA), schema)).transpose()?);
        Ok(())
    }
}

/// Removes what a copy that failed has written into a folder that was empty, or missing. What can not be removed stays.
fn take_back(to: &Path, is_new: bool) {
    let _ = fs::remove_dir_all(to.join(VECTORS));
    for entry in fs::read_dir(to).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
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
        copy_file(&path, &target).map_err(io("copy to", &target))?;
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(io("sync", to))
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut source, mut target) = (File::open(from)?, File::options().write(true).create_new(true).open(to)?);
    let mut piece = vec![0; COPIED];
    loop {
        let read = source.read(&mut piece)?;
        if read == 0 {
            break;
        }
        if piece[..read].iter().all(|&byte| byte == 0) {
            target.seek(SeekFrom::Current(read as i64))?;
        } else {
            target.write_all(&piece[..read])?;
        }
    }
    target.set_len(source.stream_position()?)?;
    target.sync_all()
}

//! A folder of the system in which something else is done just before some of its calls.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use nearlab_storage::disk::{Disk, DiskFile, Folder};

/// What a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Open,
    ReadRange,
    /// Bytes, a length, or a sync.
    Write,
}

type Before = dyn Fn(Call, &str) + Send + Sync;

/// A folder, and what is done before a call, which is told with the name of the file.
#[derive(Clone)]
pub(crate) struct Watched {
    folder: Folder,
    before: Arc<Before>,
}

impl Watched {
    pub(crate) fn new(folder: &Path, before: impl Fn(Call, &str) + Send + Sync + 'static) -> Self {
        Self { folder: Folder::at(folder), before: Arc::new(before) }
    }

    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(WatchedFile { disk: self.clone(), name: name.to_owned(), file })
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Disk for Watched {
    fn folder(&self) -> &Path {
        self.folder.folder()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (self.before)(Call::Create, name);
        Ok(self.file(name, self.folder.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (self.before)(Call::Open, name);
        Ok(self.file(name, self.folder.open(name)?))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.folder.read(name)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        (self.before)(Call::ReadRange, name);
        self.folder.read_range(name, range)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_folder()
    }

    fn within(&self, name: &str) -> io::Result<Box<dyn Disk>> {
        self.folder.within(name)
    }

    fn adopt(&self, name: &str) -> io::Result<()> {
        self.folder.adopt(name)
    }
}

#[derive(Debug)]
struct WatchedFile {
    disk: Watched,
    name: String,
    file: Box<dyn DiskFile>,
}

impl WatchedFile {
    fn writes(&self) {
        (self.disk.before)(Call::Write, &self.name);
    }
}

impl DiskFile for WatchedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.writes();
        self.file.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writes();
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.writes();
        self.file.sync()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }
}

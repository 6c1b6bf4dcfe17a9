//! The calls through which a store reaches the file system: one folder of files.
//!
//! [`Folder`] is a folder of the system. [`Rehearsal`] is one too, but it keeps a journal of what was written and what was
//! synced, can be told to fail, and works out what a power cut at any moment could leave behind: what the store promises
//! is tested against it, under the very code that runs every day.

mod folder;
mod lock;
mod rehearsal;
mod stream;
mod writeback;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use folder::Folder;
pub use lock::FileLock;
pub use rehearsal::{Crash, Fault, Rehearsal, lay_out};
pub(crate) use stream::Stream;

/// A folder whose files are written, synced, renamed and removed. Files are read by mapping them (see [`crate::mmap`]).
///
/// What POSIX leaves open is left open here too: bytes are durable once [`DiskFile::sync`] has returned, and a name is once
/// [`sync_folder`](Disk::sync_folder) has; until then each may or may not outlive a power cut, in any order.
pub trait Disk: Debug + Send + Sync {
    /// The folder.
    fn folder(&self) -> &Path;

    /// Begins a file, which must not exist.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// The whole content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// The bytes of a file in `range`, or none where there is no such file, or it ends before the range does. Whatever else keeps
    /// them from being read is an error.
    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>>;

    /// The names of the files in the folder, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Gives the file `from` the name `to`, in place of any file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. What maps it keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: those given, changed and removed so far.
    fn sync_folder(&self) -> io::Result<()>;

    /// A folder inside this one, which is made if it is not there; its name is durable.
    fn within(&self, name: &str) -> io::Result<Box<dyn Disk>>;

    /// Takes note of a file that was written as a whole by its path, and is durable but for its name.
    fn adopt(&self, name: &str) -> io::Result<()>;

    /// Where a file lies, for maps and messages.
    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

impl Disk for Box<dyn Disk> {
    fn folder(&self) -> &Path {
        (**self).folder()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (**self).create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (**self).open(name)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        (**self).read(name)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        (**self).read_range(name, range)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        (**self).names()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        (**self).sync_folder()
    }

    fn within(&self, name: &str) -> io::Result<Box<dyn Disk>> {
        (**self).within(name)
    }

    fn adopt(&self, name: &str) -> io::Result<()> {
        (**self).adopt(name)
    }
}

/// An open file of a [`Disk`].
pub trait DiskFile: Debug + Send + Sync {
    /// Writes some of the bytes from `offset` on, which may lie past the end; how many.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Reads exactly as many bytes as there is room for, from `offset` on.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file, or lengthens it with zeros that take up no room.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Whether this is the file that `path` leads to now: another may have taken its name.
    fn is_at(&self, path: &Path) -> io::Result<bool>;

    /// Lets bytes that were written be on their way to the disk before somebody waits for them in [`sync`](Self::sync), which
    /// alone makes them durable, and reports what went wrong. Does nothing where the system has no such call.
    fn start_writeback(&self, bytes: Range<u64>) {
        let _ = bytes;
    }

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes all the bytes from `offset` on, however few the system takes at once.
    fn write_all_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(offset, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    bytes = &bytes[written..];
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }
}

//! A folder of the file system.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile};
use crate::atomic::folder_of;
use crate::mmap::open_file;

/// A folder of the file system; names are those of files directly inside it.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder at `path`, which is made, with every one above it that is missing; their names are durable.
    pub fn make(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let levels = path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty());
        let missing = levels.clone().take_while(|level| !level.is_dir()).count();
        // From the top, and with the lowest that is there: when a process is killed while it does this, that is the only one
        // whose name may not be durable.
        let levels: Vec<&Path> = levels.take(missing + 1).collect();
        levels.into_iter().rev().try_for_each(make)?;
        Ok(Self { path })
    }
}

/// Makes a folder, in one that is there, unless it is there itself, and makes its name durable.
fn make(folder: &Path) -> io::Result<()> {
    let is_new = match fs::create_dir(folder) {
        Ok(()) => true,
        Err(_) if folder.is_dir() => false,
        Err(cause) => return Err(cause),
    };
    match File::open(folder_of(folder)).and_then(|above| above.sync_all()) {
        // Somebody else's, who saw to it: where this process may not look, or where nothing is ever written or synced.
        Err(cause) if !is_new && is_refusal(cause.kind()) => Ok(()),
        synced => synced,
    }
}

/// Whether an error says that something is not done here, rather than that it failed.
fn is_refusal(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};

    matches!(kind, InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported)
}

impl Disk for Folder {
    fn folder(&self) -> &Path {
        &self.path
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::options().read(true).write(true).create_new(true).open(self.path(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::options().read(true).write(true).open(self.path(name))?))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let file = match open_file(&self.path(name)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if file.metadata()?.len() < range.end {
            return Ok(None);
        }
        let len = (range.end - range.start) as usize;
        let mut bytes: Vec<u8> = Vec::new();
        // A length that a file has without taking up room is no reason to end the process.
        bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(len, 0);
        match file.read_exact_at(&mut bytes, range.start) {
            // It was cut meanwhile.
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| Some(bytes)),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is none of ours.
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default())).collect()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn within(&self, name: &str) -> io::Result<Box<dyn Disk>> {
        let path = self.path(name);
        make(&path)?;
        Ok(Box::new(Self::at(path)))
    }

    fn adopt(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let own = self.metadata()?;
        match fs::metadata(path) {
            Ok(there) => Ok((own.dev(), own.ino()) == (there.dev(), there.ino())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    fn start_writeback(&self, bytes: Range<u64>) {
        super::writeback::start(self, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_as_deep_as_asked_and_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        for _ in 0..2 {
            let made = Folder::make(&deep).unwrap();
            assert!(made.folder() == deep && deep.is_dir());
            fs::write(made.within("d").unwrap().path("e"), "").unwrap();
            assert!(deep.join("d/e").is_file());
        }
        fs::write(folder.path().join("file"), "").unwrap();
        for path in ["file", "file/a"] {
            assert!(Folder::make(folder.path().join(path)).is_err(), "{path}");
        }
        assert!(Folder::at(folder.path()).within("file").is_err());
    }

    #[test]
    fn a_part_of_a_file_is_there_or_not_and_what_is_no_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), b"12345").unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        let disk = Folder::at(folder.path());
        let part = |range| disk.read_range("a", range).unwrap();
        assert_eq!((part(1..3), part(5..5), part(0..6)), (Some(b"23".to_vec()), Some(Vec::new()), None));
        assert_eq!(disk.read_range("c", 0..0).unwrap(), None);
        assert_eq!(disk.read_range("b", 0..0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(disk.read_range("a/c", 0..0).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}

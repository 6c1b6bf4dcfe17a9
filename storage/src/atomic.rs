//! Files that are either complete or absent.
//!
//! The bytes go to a temporary name in the final file's own folder (a rename across file systems is a copy), and only
//! [`AtomicFile::commit`] gives them the final name, after they are on the disk. A process that is killed in between
//! can leave a `.<name>.<random>.tmp` behind, never a half-written file under the final name.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::WriteError;

/// Small writes are gathered up to this many bytes; larger ones go straight through.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file in the making. Dropping it without [`commit`](AtomicFile::commit) removes every trace of it.
///
/// Errors that come through [`Write`] and [`Seek`] name the final path and keep their [`io::ErrorKind`];
/// [`WriteError::from_io`] turns them back.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Begins a file that will be called `target`, whose folder must exist. Nothing is visible under that name until
    /// the commit, and a file that is there already stays as it is until then.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self, WriteError> {
        let target = target.into();
        match temporary_beside(&target) {
            Ok(temporary) => Ok(Self { target, temporary: BufWriter::with_capacity(BUFFER_BYTES, temporary) }),
            Err(cause) => Err(WriteError::Io { path: target, cause }),
        }
    }

    /// The temporary name, for a library that insists on opening a path itself. It may truncate the file or replace
    /// it; do not mix that with writes through this object.
    pub fn path(&self) -> &Path {
        self.temporary.get_ref().path()
    }

    /// The name the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the file durable and gives it its name: flush, fsync, rename over whatever has that name, fsync of the
    /// folder. A symbolic link of that name is replaced, not followed.
    ///
    /// On an error nothing new exists under the name, with one exception that no program can avoid: when only the last
    /// fsync fails, the complete file is there but may not outlive a power cut.
    pub fn commit(mut self) -> Result<(), WriteError> {
        let outcome = self.temporary.flush().and_then(|()| {
            let (temporary, _empty) = self.temporary.into_parts();
            publish(temporary, &self.target)
        });
        outcome.map_err(|cause| WriteError::from_io(&self.target, cause))
    }

    fn named(&self, cause: io::Error) -> io::Error {
        WriteError::from_io(&self.target, cause).into()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes).map_err(|cause| self.named(cause))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush().map_err(|cause| self.named(cause))
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.temporary.seek(position).map_err(|cause| self.named(cause))
    }
}

fn temporary_beside(target: &Path) -> io::Result<NamedTempFile> {
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a file name"))?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".tmp")
        // What an ordinary `File::create` asks for; the umask applies. The default would hide data sets from others.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder_of(target))
}

/// The folder that a file lies in; that of a bare name is the current one.
pub fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn publish(temporary: NamedTempFile, target: &Path) -> io::Result<()> {
    temporary.as_file().sync_all()?;
    // A library that was given the path may have put another file there.
    File::open(temporary.path())?.sync_all()?;
    temporary.persist(target).map_err(|refused| refused.error)?;
    File::open(folder_of(target))?.sync_all()
}

#[cfg(test)]
impl AtomicFile {
    /// A file whose every write fails as on a full disk: the handle leads to `/dev/full`, the temporary name is real.
    pub(crate) fn on_a_full_disk(target: &Path) -> Self {
        let (_file, name) = temporary_beside(target).unwrap().into_parts();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let temporary = NamedTempFile::from_parts(full, name);
        Self { target: target.to_owned(), temporary: BufWriter::with_capacity(BUFFER_BYTES, temporary) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_final_name_appears_with_the_commit_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"12345").unwrap();
        file.seek(SeekFrom::Start(1)).unwrap();
        file.write_all(b"xx").unwrap();
        file.flush().unwrap();
        assert!(!target.exists());
        assert_eq!((file.target(), file.path().parent()), (target.as_path(), target.parent()));
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"1xx45");
        assert_eq!(names_in(folder.path()), ["a.bin"]);
    }

    #[test]
    fn a_dropped_file_leaves_nothing_and_keeps_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        fs::write(&target, b"older").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"newer").unwrap();
        assert_eq!(names_in(folder.path()).len(), 2);
        drop(file);
        assert_eq!(fs::read(&target).unwrap(), b"older");
        assert_eq!(names_in(folder.path()), ["a.bin"]);
    }

    #[test]
    fn a_commit_replaces_the_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        fs::write(&target, b"older").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"newer").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"newer");
    }

    #[test]
    fn a_library_may_replace_the_file_behind_the_temporary_path() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        let file = AtomicFile::create(&target).unwrap();
        fs::remove_file(file.path()).unwrap();
        fs::write(file.path(), b"by the library").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"by the library");
    }

    #[test]
    fn the_file_is_as_readable_to_others_as_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        AtomicFile::create(&target).unwrap().commit().unwrap();
        let plain = folder.path().join("plain");
        File::create(&plain).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&target), mode(&plain));
    }

    #[test]
    fn a_bare_name_belongs_to_the_current_folder() {
        assert_eq!(folder_of(Path::new("a.bin")), Path::new("."));
        assert_eq!(folder_of(Path::new("x/a.bin")), Path::new("x"));
    }

    #[test]
    fn a_missing_folder_and_a_path_without_a_name_are_refused_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("missing/a.bin");
        let message = AtomicFile::create(&target).unwrap_err().to_string();
        assert!(message.contains(target.to_str().unwrap()), "{message}");
        let message = AtomicFile::create("/").unwrap_err().to_string();
        assert_eq!(message, "cannot write /: the path does not end in a file name");
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_that_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("taken");
        fs::create_dir(&target).unwrap();
        let error = AtomicFile::create(&target).unwrap().commit().unwrap_err();
        assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
        assert_eq!(names_in(folder.path()), ["taken"]);
    }

    #[test]
    fn a_full_disk_names_the_final_path_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        fs::write(&target, b"older").unwrap();

        // A large write fails at once.
        let mut file = AtomicFile::on_a_full_disk(&target);
        let error = file.write_all(&vec![1; BUFFER_BYTES + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
        drop(file);

        // A small one fails when the buffer is written out: at a flush, a seek, or the commit.
        let mut file = AtomicFile::on_a_full_disk(&target);
        file.write_all(b"newer").unwrap();
        assert_eq!(file.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.rewind().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let error = file.commit().unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");

        assert_eq!(fs::read(&target).unwrap(), b"older");
        assert_eq!(names_in(folder.path()), ["a.bin"]);
    }
}

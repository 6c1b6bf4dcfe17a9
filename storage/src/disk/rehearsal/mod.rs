//! A disk for rehearsing disasters: it can be told to fail, and to say what a crash would leave behind.
//!
//! Files lie in a real folder, so that maps of them work. Beside it stands a journal of every call that changed something;
//! from it [`Rehearsal::after`] works out what the folder could hold after a crash at any call.

mod journal;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Folder};
use journal::{Journal, Operation};

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write takes only some of its bytes, and says so.
    ShortWrite,
    /// The device fails: some of a write's bytes may be there, the call returns an error.
    Io,
    /// The disk is full, as [`Fault::Io`].
    Full,
    /// A sync fails. Of a file, what it should have made durable never will be, whatever later syncs say, unless it is
    /// written again: that is how Linux behaves. Calls other than syncs go on as if nothing were wrong.
    Sync,
}

/// How everything ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: what was written stays, of the last write perhaps only the beginning.
    Kill {
        /// Says how much.
        seed: u64,
    },
    /// The power goes: of what was not synced, any sectors of 512 bytes, any lengths and any names may stay.
    PowerCut {
        /// Says which.
        seed: u64,
    },
}

/// A [`Disk`] that keeps a journal, and fails when told to.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    folder: Folder,
    /// What names in the journal begin with: those of the folders that this one is in.
    prefix: String,
    journal: Arc<Mutex<Journal>>,
}

impl Rehearsal {
    /// Begins with the files in `folder` and in folders within it as they are, all of them durable.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        read_all(folder, "", &mut files)?;
        Ok(Self::over(Folder::at(folder), Journal::of(files)))
    }

    fn over(folder: Folder, journal: Journal) -> Self {
        Self { folder, prefix: String::new(), journal: Arc::new(Mutex::new(journal)) }
    }

    /// How many calls have changed something, or tried to: each is a moment at which to crash.
    pub fn calls(&self) -> usize {
        self.journal().operations.len()
    }

    /// Lets `times` calls fail, beginning with the one that [`calls`](Self::calls) gives the number `from`; only such that
    /// can fail in this way count.
    pub fn fail(&self, fault: Fault, from: usize, times: usize) {
        self.journal().fault = Some((fault, from, times));
    }

    /// How many calls have read something, or tried to.
    pub fn reads(&self) -> usize {
        self.journal().reads
    }

    /// Lets `times` calls that read fail, beginning with the one that [`reads`](Self::reads) gives the number `from`. Maps are read
    /// without a call.
    pub fn fail_reads(&self, from: usize, times: usize) {
        self.journal().unread = Some((from, times));
    }

    /// What was done in the first `calls` calls, as a disk of its own, to ask what a crash leaves.
    #[must_use]
    pub fn until(&self, calls: usize) -> Self {
        Self::over(self.folder.clone(), self.journal().until(calls))
    }

    /// The disk as the next process finds it when one is killed before call `at`, in another folder, which is empty: what was
    /// not synced is there, and is not durable.
    pub fn killed(&self, at: usize, folder: &Path) -> io::Result<Self> {
        let disk = Self { folder: Folder::at(folder), ..self.until(at) };
        lay_out(&disk.after(at, Crash::Kill { seed: 0 }), folder)?;
        Ok(disk)
    }

    /// The names and contents that a crash leaves that happens while call `at` is made; `at` calls were made before it. Names in
    /// folders within this one have those of the folders before them, with a `/` between.
    pub fn after(&self, at: usize, crash: Crash) -> BTreeMap<String, Vec<u8>> {
        self.journal().after(at, crash)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call that changes something: the fault, if it is to fail, and else what `make` returns.
    fn call<T>(&self, operation: Operation, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut journal = self.journal();
        if let Some(fault) = journal.next_fault(&operation) {
            journal.record_failed(&operation);
            return Err(error_of(fault));
        }
        let made = make()?;
        journal.record(operation);
        Ok(made)
    }

    /// Makes a call that reads, unless it is to fail.
    fn reading<T>(&self, read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.journal().next_read_fails() {
            return Err(error_of(Fault::Io));
        }
        read()
    }

    fn journaled(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn file(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let node = self.journal().node_of(&self.journaled(name));
        Box::new(RehearsalFile { disk: self.clone(), node, file })
    }
}

fn read_all(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap_or_default());
        if entry.file_type()?.is_dir() {
            read_all(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Writes what a crash left into a folder, and into folders within it.
pub fn lay_out(left: &BTreeMap<String, Vec<u8>>, folder: &Path) -> io::Result<()> {
    for (name, bytes) in left {
        let path = folder.join(name);
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Full => io::ErrorKind::StorageFull.into(),
        Fault::ShortWrite | Fault::Io | Fault::Sync => io::Error::other("input/output error (rehearsed)"),
    }
}

impl Disk for Rehearsal {
    fn folder(&self) -> &Path {
        self.folder.folder()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.call(Operation::Create(self.journaled(name)), || self.folder.create(name))?;
        Ok(self.file(name, file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.reading(|| self.folder.open(name))?;
        Ok(self.file(name, file))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.reading(|| self.folder.read(name))
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        self.reading(|| self.folder.read_range(name, range))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.reading(|| self.folder.names())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(Operation::Rename(self.journaled(from), self.journaled(to)), || self.folder.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(Operation::Remove(self.journaled(name)), || self.folder.remove(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.call(Operation::SyncFolder(self.prefix.clone()), || Ok(()))
    }

    fn within(&self, name: &str) -> io::Result<Box<dyn Disk>> {
        std::fs::create_dir_all(self.path(name))?;
        let (folder, prefix) = (Folder::at(self.path(name)), format!("{}{name}/", self.prefix));
        Ok(Box::new(Self { folder, prefix, journal: Arc::clone(&self.journal) }))
    }

    fn adopt(&self, name: &str) -> io::Result<()> {
        let content = self.folder.read(name)?;
        self.folder.remove(name)?;
        let file = self.create(name)?;
        file.write_all_at(0, &content)?;
        file.sync()
    }
}

#[derive(Debug)]
struct RehearsalFile {
    disk: Rehearsal,
    node: usize,
    file: Box<dyn DiskFile>,
}

impl RehearsalFile {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(offset, bytes)
    }
}

impl DiskFile for RehearsalFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut journal = self.disk.journal();
        let fault = journal.next_fault(&Operation::Write(self.node, offset, Vec::new()));
        let taken = if fault.is_some() { bytes.len().div_ceil(2) } else { bytes.len() };
        self.write(offset, &bytes[..taken])?;
        journal.record(Operation::Write(self.node, offset, bytes[..taken].to_vec()));
        match fault {
            None | Some(Fault::ShortWrite) => Ok(taken),
            Some(fault) => Err(error_of(fault)),
        }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.disk.reading(|| self.file.read_at(offset, bytes))
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.reading(|| self.file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.call(Operation::SetLen(self.node, len), || self.file.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(Operation::Sync(self.node), || Ok(()))
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.disk.reading(|| self.file.is_at(path))
    }
}

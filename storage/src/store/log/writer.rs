//! Writing the log.

use std::path::PathBuf;

use super::{ALIGN, COMMIT, Commit, HEADER, Header, MARK, SEGMENT, key_of};
use crate::disk::{Disk, DiskFile};
use crate::store::StoreError;
use crate::store::spare::KEPT_BYTES;
use crate::store::stamp::{STAMP, Stamp};

/// The end of a log.
#[derive(Debug)]
pub(in crate::store) struct LogWriter {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    number: u32,
    key: u64,
    /// The last change before the log.
    before: u64,
    /// Records that no file has yet.
    unwritten: Vec<u8>,
    /// Bytes in the file.
    written: u64,
    /// Of these, durable.
    synced: u64,
    /// The end of the last record that says more than that.
    said: u64,
    /// The most that a record in the file says is durable: what stands before is damaged where it can not be read, not interrupted.
    told: u64,
}

/// Why the log can not go on.
#[derive(Debug)]
pub(in crate::store) enum Stuck {
    /// Nothing is lost: the file is as it was before.
    Refused(StoreError),
    /// Nobody knows what the file holds.
    Unsure(StoreError),
}

/// The name of the file of log `number`.
pub(in crate::store) fn log_name(number: u32) -> String {
    format!("log-{number:08}")
}

impl LogWriter {
    /// Begins a log that follows change `before`, and makes it durable, but for its name.
    pub(in crate::store) fn create(disk: &dyn Disk, stamp: &Stamp, before: u64) -> Result<Self, StoreError> {
        let name = log_name(stamp.number);
        let path = disk.path(&name);
        let file = disk.create(&name).map_err(StoreError::io("create", &path))?;
        file.write_all_at(0, &stamp.encode()).map_err(StoreError::io("write", &path))?;
        file.sync().map_err(StoreError::io("sync", &path))?;
        Ok(Self::at((STAMP as u64, STAMP as u64), file, path, (stamp, before)))
    }

    /// Goes on with such a log, of which `tail`, at `from`, is what no record says is durable; it is written again, and what follows
    /// is cut off.
    pub(in crate::store) fn resume(
        disk: &dyn Disk,
        stamp: &Stamp,
        (before, from): (u64, u64),
        tail: &[u8],
    ) -> Result<Self, StoreError> {
        let name = log_name(stamp.number);
        let path = disk.path(&name);
        let file = disk.open(&name).map_err(StoreError::io("open", &path))?;
        let end = from + tail.len() as u64;
        if file.len().map_err(StoreError::io("read", &path))? != end {
            file.set_len(end).map_err(StoreError::io("cut", &path))?;
        }
        file.write_all_at(from, tail).map_err(StoreError::io("write", &path))?;
        file.sync().map_err(StoreError::io("sync", &path))?;
        Ok(Self::at((from, end), file, path, (stamp, before)))
    }

    /// Goes on at `end`, up to where all is durable; up to `told` its records say so.
    fn at((told, end): (u64, u64), file: Box<dyn DiskFile>, path: PathBuf, (stamp, before): (&Stamp, u64)) -> Self {
        Self {
            file,
            path,
            number: stamp.number,
            key: key_of(&stamp.store, stamp.number),
            before,
            unwritten: Vec::new(),
            written: end,
            synced: end,
            told,
            said: end,
        }
    }

    pub(in crate::store) fn number(&self) -> u32 {
        self.number
    }

    /// The last change before the log.
    pub(in crate::store) fn before(&self) -> u64 {
        self.before
    }

    /// Bytes of the log, written or not.
    pub(in crate::store) fn len(&self) -> u64 {
        self.written + self.unwritten.len() as u64
    }

    /// Bytes of memory.
    pub(in crate::store) fn memory(&self) -> usize {
        self.unwritten.capacity()
    }

    /// Bytes that no file has yet.
    pub(in crate::store) fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Whether all of it is durable.
    pub(in crate::store) fn is_synced(&self) -> bool {
        self.said <= self.synced
    }

    /// Whether its records in the file say how far it is durable.
    pub(in crate::store) fn is_told(&self) -> bool {
        self.told >= self.synced
    }

    pub(in crate::store) fn commit(&mut self, commit: &Commit) {
        self.append(COMMIT, commit.sequence, |bytes| commit.encode(bytes));
    }

    pub(in crate::store) fn segment(&mut self, (number, capacity): (u32, u32), sequence: u64) {
        self.append(SEGMENT, sequence, |bytes| {
            bytes.extend([number, capacity].iter().flat_map(|part| part.to_le_bytes()));
        });
    }

    /// Notes how far the log is durable, so that damage is told from an interrupted write.
    pub(in crate::store) fn mark(&mut self, sequence: u64) {
        let said = self.said;
        self.append(MARK, sequence, |_| ());
        self.said = said;
    }

    /// Appends a record whose payload `append` appends.
    fn append(&mut self, kind: u32, sequence: u64, append: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.unwritten.len();
        self.unwritten.extend_from_slice(&[0; HEADER]);
        append(&mut self.unwritten);
        let (header, payload) = self.unwritten[begin..].split_at_mut(HEADER);
        header.copy_from_slice(&Header::of(kind, payload, sequence, self.synced).encode(self.key));
        self.unwritten.resize(self.unwritten.len().next_multiple_of(ALIGN), 0);
        self.said = self.len();
    }

    /// Forgets what was appended since [`len`](Self::len) was `len`; it is not written yet.
    pub(in crate::store) fn forget(&mut self, len: u64) {
        self.unwritten.truncate((len - self.written) as usize);
        self.said = self.said.min(len);
    }

    /// Hands everything to the system. If that fails the file is cut to what it had.
    pub(in crate::store) fn flush(&mut self) -> Result<(), Stuck> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if let Err(cause) = self.file.write_all_at(self.written, &self.unwritten) {
            let error = StoreError::io("write", &self.path)(cause);
            return Err(match self.file.set_len(self.written) {
                Ok(()) => Stuck::Refused(error),
                Err(_) => Stuck::Unsure(error),
            });
        }
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        // Twice, for so much is gathered before it is written without being asked for.
        if self.unwritten.capacity() > 2 * KEPT_BYTES {
            self.unwritten = Vec::new();
        }
        // All of them were appended after the last sync.
        self.told = self.synced;
        Ok(())
    }

    /// Makes everything that was flushed durable. The rows it speaks of are.
    pub(in crate::store) fn sync(&mut self) -> Result<(), Stuck> {
        self.file.sync().map_err(|cause| Stuck::Unsure(StoreError::io("sync", &self.path)(cause)))?;
        self.synced = self.written;
        Ok(())
    }
}

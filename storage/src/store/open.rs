//! Making and opening a store.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::log::{LogWriter, log_name};
use super::manifest::{self, Meta};
use super::recover::Recovered;
use super::segment::{Segment, segment_name};
use super::shape::Shape;
use super::view::View;
use super::writer::Writer;
use super::{StoreError, Told, VectorStore};
use crate::disk::{Disk, FileLock, Folder};
use crate::sync::{Mutex, RwLock};

/// The name of the file whose lock the writer holds.
const LOCK: &str = "lock";
/// How often a reader begins anew when a compaction removes files under it.
const ATTEMPTS: usize = 5;
/// How often a writer reads a store in which rows change meanwhile that may not be durable.
const ROUNDS: usize = 4;

/// The longest segments, in bytes: they are mapped as a whole.
const MAX_SEGMENT_BYTES: u64 = 1 << 40;

/// How a store is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// What all vectors have in common.
    pub shape: Shape,
    /// Bytes of rows in a segment, about, up to 2^40; at least one row, at most 2^32 - 2 rows. 1 GiB unless said otherwise.
    pub segment_bytes: u64,
    /// How long the log may grow before a manifest is written, in bytes; it may always grow as long as the manifest.
    /// 16 MiB unless said otherwise.
    pub checkpoint_bytes: u64,
}

impl StoreOptions {
    /// The defaults for vectors of this shape.
    pub fn new(shape: Shape) -> Self {
        Self { shape, segment_bytes: 1 << 30, checkpoint_bytes: 16 << 20 }
    }
}

impl VectorStore {
    /// Makes an empty store in a folder that is empty or missing, and opens it for writing.
    pub fn create(folder: impl AsRef<Path>, options: &StoreOptions) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        Self::create_on(Folder::make(folder).map_err(StoreError::io("create", folder))?, options)
    }

    /// As [`create`](Self::create), on any disk whose folder exists.
    pub fn create_on(disk: impl Disk + 'static, options: &StoreOptions) -> Result<Self, StoreError> {
        options.shape.check()?;
        // Before a lock is put where there is none, and again once nobody else makes a store.
        if !disk.path(LOCK).exists() {
            vacant(&disk)?;
        }
        let lock = lock(disk.folder())?;
        let names = vacant(&disk)?;
        remove_strays(&disk, &names, |_| false);
        if options.segment_bytes > MAX_SEGMENT_BYTES {
            return Err(StoreError::param("segment_bytes", "at most 2^40", options.segment_bytes));
        }
        let rows = (options.segment_bytes / options.shape.row_bytes() as u64).clamp(1, u64::from(u32::MAX - 1));
        let store = [0, 1].map(|half: u64| RandomState::new().hash_one(half));
        let meta = Meta {
            store: bytemuck::cast(store),
            shape: options.shape,
            segment_rows: rows as u32,
            checkpoint_bytes: options.checkpoint_bytes,
            log: 1,
            next_file: 2,
        };
        let view = View::empty(options.shape.ids);
        let log = LogWriter::create(&disk, &meta.log_stamp(meta.log), 0)?;
        manifest::write(&disk, &meta, &view, &[])?;
        disk.sync_folder().map_err(StoreError::io("sync", disk.folder()))?;
        let unfinished = disk.path(manifest::UNFINISHED);
        disk.rename(manifest::UNFINISHED, manifest::NAME).map_err(StoreError::io("rename", &unfinished))?;
        disk.sync_folder().map_err(StoreError::io("sync", disk.folder()))?;
        let writer = Writer::new(log, 2, options.checkpoint_bytes, options.shape.ids);
        Ok(Self::over(Box::new(disk), meta, view, Some((writer, lock))))
    }

    /// Opens a store for writing, with everything that was acknowledged as durable.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_on(Folder::at(folder.as_ref()))
    }

    /// As [`open`](Self::open), on any disk.
    pub fn open_on(disk: impl Disk + 'static) -> Result<Self, StoreError> {
        look_for_manifest(disk.folder())?;
        let lock = lock(disk.folder())?;
        let recovered = recover_for_writing(&disk)?;
        let Recovered { meta, view, before, tail, kept, next_file, manifest_bytes, .. } = recovered;
        let touched = |segment: &&Arc<Segment>| tail.spans.iter().any(|span| span.segment == segment.number());
        view.segments.iter().filter(touched).try_for_each(|segment| segment.sync())?;
        // Names that were seen may not be durable either, and what they replaced is removed below.
        disk.sync_folder().map_err(StoreError::io("sync", disk.folder()))?;
        let log = LogWriter::resume(&disk, &meta.log_stamp(meta.log), (before, tail.from), &tail.records)?;
        let names = disk.names().map_err(StoreError::io("read", disk.folder()))?;
        let used = |name: &str| {
            let mut logs = kept.iter().map(|log| log.number).chain([meta.log]).map(log_name);
            logs.any(|log| log == name) || view.segments.iter().any(|segment| name == segment_name(segment.number()))
        };
        remove_strays(&disk, &names, used);
        let mut writer = Writer::new(log, next_file, manifest_bytes.max(meta.checkpoint_bytes), meta.shape.ids);
        writer.kept = kept;
        writer.active = active_of(&view)?;
        writer.free = (0..view.keys.len() as u32).rev().filter(|&slot| view.place(slot).is_none()).collect();
        writer.mark(view.sequence);
        Ok(Self::over(Box::new(disk), meta, view, Some((writer, lock))))
    }

    /// Opens a store for reading only, as it is now: it changes nothing, needs no right to, and sees nothing of what another
    /// process writes later.
    pub fn open_read_only(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_read_only_on(Folder::at(folder.as_ref()))
    }

    /// As [`open_read_only`](Self::open_read_only), on any disk.
    pub fn open_read_only_on(disk: impl Disk + 'static) -> Result<Self, StoreError> {
        look_for_manifest(disk.folder())?;
        let mut attempt = 1;
        loop {
            match recover_beside_others(&disk) {
                Ok(Recovered { meta, view, .. }) => return Ok(Self::over(Box::new(disk), meta, view, None)),
                // Another process has compacted the store between the manifest and this file.
                Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn over(disk: Box<dyn Disk>, meta: Meta, view: View, writer: Option<(Writer, FileLock)>) -> Self {
        let (writer, lock) = writer.unzip();
        let told = Told::default();
        if let Some(writer) = &writer {
            told.by(writer);
        }
        let (view, writer) = (RwLock::new(Arc::new(view)), writer.map(Mutex::new));
        Self { disk, meta, view, writer, told, compacting: Mutex::new(()), _lock: lock }
    }
}

impl Drop for VectorStore {
    /// Hands what waits in memory to the system. Errors have nobody to go to: call [`VectorStore::sync`] first.
    fn drop(&mut self) {
        if let Ok(mut writer) = self.lock_writer()
            && writer.unsure.is_none()
        {
            let _ = writer.log.flush();
        }
    }
}

/// What a folder holds that is to be changed, after the rows of which nobody knows whether they are durable were written again: those
/// that were compared, and no others. Where they changed in between, what the disk holds is read, and ends the log where it must.
fn recover_for_writing(disk: &dyn Disk) -> Result<Recovered, StoreError> {
    let mut round = 1;
    loop {
        let recovered = Recovered::from(disk, true)?;
        let Some(changed) = recovered.rewrite()? else { return Ok(recovered) };
        if round == ROUNDS {
            let found = "expected rows that stay as they are while they are read, found others each time";
            let path = disk.path(&segment_name(changed.segment));
            return Err(StoreError::io("read", &path)(io::Error::other(found)));
        }
        round += 1;
    }
}

/// What a folder holds in which another process may be at work.
fn recover_beside_others(disk: &dyn Disk) -> Result<Recovered, StoreError> {
    let recovered = Recovered::from(disk, false)?;
    // Rows that are not there were lost with the power, and nobody was promised them; or they were there when the log was read, and a
    // compaction has removed them since, after it gave the store another manifest.
    if recovered.is_cut && manifest::read(disk)?.meta.log != recovered.meta.log {
        let found = "expected the rows that its log speaks of, found that they moved while it was read";
        return Err(StoreError::io("read", disk.folder())(io::Error::new(io::ErrorKind::NotFound, found)));
    }
    Ok(recovered)
}

/// The segment that goes on, of those that were opened, if one does. The others give their files back.
fn active_of(view: &View) -> Result<Option<Arc<Segment>>, StoreError> {
    let mut active = None;
    for segment in view.segments.iter().rev() {
        if active.is_none() && segment.goes_on()? {
            active = Some(Arc::clone(segment));
        } else {
            segment.seal();
        }
    }
    Ok(active)
}

/// The names in a folder where a store is to be made: none but those that an earlier attempt left that did not come to an end.
fn vacant(disk: &dyn Disk) -> Result<Vec<String>, StoreError> {
    let names = disk.names().map_err(StoreError::io("read", disk.folder()))?;
    let unfinished = |name: &String| name == LOCK || name == manifest::UNFINISHED || *name == log_name(1);
    if names.iter().all(unfinished) { Ok(names) } else { Err(StoreError::Exists(disk.folder().to_owned())) }
}

fn look_for_manifest(folder: &Path) -> Result<(), StoreError> {
    match fs::metadata(folder.join(manifest::NAME)) {
        Ok(_) => Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(StoreError::NoStore(folder.to_owned())),
        Err(cause) => Err(StoreError::io("read", &folder.join(manifest::NAME))(cause)),
    }
}

fn lock(folder: &Path) -> Result<FileLock, StoreError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    FileLock::exclusive(file).map_err(|error| match error {
        TryLockError::WouldBlock => StoreError::Locked(folder.to_owned()),
        TryLockError::Error(cause) => StoreError::io("lock", &path)(cause),
    })
}

/// Removes files of ours that are not used. One that stays takes up room and nothing else.
fn remove_strays(disk: &dyn Disk, names: &[String], used: impl Fn(&str) -> bool) {
    let number = |name: &str| {
        let number = name.strip_prefix("log-").or(name.strip_prefix("segment-"))?.parse::<u32>().ok()?;
        (name == log_name(number) || name == segment_name(number)).then_some(number)
    };
    let ours = |name: &str| name == manifest::UNFINISHED || number(name).is_some();
    for name in names.iter().filter(|name| ours(name) && !used(name)) {
        let _ = disk.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ElementKind, IdKind, StoreOptions};

    #[test]
    fn a_segment_after_which_no_file_can_be_made_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { dim: 2, element: ElementKind::U8, ids: IdKind::Numbers };
        let store = VectorStore::create(folder.path(), &StoreOptions::new(shape)).unwrap();
        let meta = store.meta;
        drop(store);
        let disk = Folder::at(folder.path());
        let mut log = LogWriter::resume(&disk, &meta.log_stamp(meta.log), (0, 64), &[]).unwrap();
        log.segment((u32::MAX, 1), 0);
        assert!(log.flush().is_ok());
        let message = VectorStore::open(folder.path()).unwrap_err().to_string();
        assert!(message.ends_with("expected a segment with a number below 4294967295, found 4294967295"), "{message}");
    }
}

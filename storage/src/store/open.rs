//! Making and opening a store: the manifest, then the log after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use super::log::{Entry, LogWriter, Replayed, Span, key_of, log_name, replay};
use super::manifest::{self, KeptLog, Manifest, Meta};
use super::segment::{ROWS_AT, Segment, segment_name};
use super::shape::Shape;
use super::view::View;
use super::write::Writer;
use super::{StoreError, VectorStore};
use crate::disk::{Disk, Folder};
use crate::mmap::Map;

/// The name of the file whose lock the writer holds.
const LOCK: &str = "lock";
/// How often a reader begins anew when a compaction removes files under it.
const ATTEMPTS: usize = 5;

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
        create_folder(folder)?;
        Self::create_on(Folder::at(folder), options)
    }

    /// As [`create`](Self::create), on any disk whose folder exists.
    pub fn create_on(disk: impl Disk + 'static, options: &StoreOptions) -> Result<Self, StoreError> {
        options.shape.check()?;
        let lock = lock(disk.folder())?;
        let names = disk.names().map_err(StoreError::io("read", disk.folder()))?;
        // What an earlier attempt left that did not come to an end is in the way of nobody.
        let unfinished = |name: &String| name == LOCK || name == manifest::UNFINISHED || *name == log_name(1);
        if !names.iter().all(unfinished) {
            return Err(StoreError::Exists(disk.folder().to_owned()));
        }
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
        let writer = Writer::new(log, 2, options.checkpoint_bytes);
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
        let recovered = Recovered::from(&disk, true)?;
        let Recovered { meta, view, before, tail, kept, next_file, manifest_bytes } = recovered;
        for &span in &tail.spans {
            view.segment(span.segment).expect("its rows were found there").rewrite(span)?;
        }
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
        let mut writer = Writer::new(log, next_file, manifest_bytes.max(meta.checkpoint_bytes));
        writer.kept = kept;
        writer.active = view.segments.last().filter(|segment| segment.grows()).cloned();
        writer.free = (0..view.slots.len() as u32).rev().filter(|&slot| view.place(slot).is_none()).collect();
        if !tail.records.is_empty() {
            writer.mark(view.sequence);
        }
        Ok(Self::over(Box::new(disk), meta, view, Some((writer, lock))))
    }

    /// Opens a store for reading only, as it is now: it changes nothing, needs no right to, and sees nothing of what another
    /// process writes later.
    pub fn open_read_only(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let disk = Folder::at(folder.as_ref());
        look_for_manifest(disk.folder())?;
        let mut attempt = 1;
        loop {
            match Recovered::from(&disk, false) {
                Ok(Recovered { meta, view, .. }) => return Ok(Self::over(Box::new(disk), meta, view, None)),
                // Another process has compacted the store between the manifest and this file.
                Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn over(disk: Box<dyn Disk>, meta: Meta, view: View, writer: Option<(Writer, File)>) -> Self {
        let (writer, lock) = writer.unzip();
        let (view, writer) = (RwLock::new(Arc::new(view)), writer.map(Mutex::new));
        Self { disk, meta, view, writer, compacting: Mutex::new(()), _lock: lock }
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

impl Writer {
    fn new(log: LogWriter, next_file: u32, checkpoint_at: u64) -> Self {
        Self {
            log,
            next_file,
            active: None,
            dirty: Vec::new(),
            free: Vec::new(),
            kept: Vec::new(),
            followed: u64::MAX,
            unsure: None,
            checkpoint_at,
        }
    }
}

/// Makes a folder, and every one above it that is missing, and makes their names durable.
fn create_folder(folder: &Path) -> Result<(), StoreError> {
    let missing = folder.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists());
    let missing: Vec<&Path> = missing.collect();
    fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above).and_then(|above| above.sync_all()).map_err(StoreError::io("sync", above))?;
    }
    Ok(())
}

fn look_for_manifest(folder: &Path) -> Result<(), StoreError> {
    match fs::metadata(folder.join(manifest::NAME)) {
        Ok(_) => Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(StoreError::NoStore(folder.to_owned())),
        Err(cause) => Err(StoreError::io("read", &folder.join(manifest::NAME))(cause)),
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(folder.to_owned())),
        Err(TryLockError::Error(cause)) => Err(StoreError::io("lock", &path)(cause)),
    }
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

/// The end of a log, of which nobody knows whether it is durable. It is written again before it is synced: a sync that failed
/// may have left it in the system's memory alone, where no later sync takes notice of it.
struct Tail {
    from: u64,
    records: Vec<u8>,
    /// The rows that it speaks of.
    spans: Vec<Span>,
}

/// A store that was read from the disk.
struct Recovered {
    meta: Meta,
    view: View,
    /// The change that the log follows.
    before: u64,
    tail: Tail,
    kept: Vec<KeptLog>,
    next_file: u32,
    manifest_bytes: u64,
}

impl Recovered {
    fn from(disk: &dyn Disk, writable: bool) -> Result<Self, StoreError> {
        let manifest = manifest::read(disk)?;
        let meta = manifest.meta;
        let path = disk.path(&log_name(meta.log));
        let file = disk.read(&log_name(meta.log)).map_err(StoreError::io("read", &path))?;
        meta.log_stamp(meta.log).check(&file, &path)?;
        let replayed = replay(&file, &path, key_of(&meta.store, meta.log), manifest.sequence)?;
        let mut files = Files::of(disk, &manifest, &path);
        let log = files.follow(replayed)?;
        let segments = files.open(writable)?;
        let view = load(disk, &manifest, segments, &log)?;
        let from = log.synced.min(log.end);
        let spans = log.entries.iter().filter(|(at, _)| *at >= from).flat_map(|(_, entry)| match entry {
            Entry::Commit(commit) => &commit.spans[..],
            _ => &[],
        });
        let tail =
            Tail { from, records: file[from as usize..log.end as usize].to_vec(), spans: spans.copied().collect() };
        let highest = view.segments.last().map_or(0, |segment| segment.number()).max(meta.log);
        Ok(Self {
            meta,
            view,
            before: manifest.sequence,
            tail,
            kept: manifest.kept,
            next_file: meta.next_file.max(highest.saturating_add(1)),
            manifest_bytes: manifest.bytes,
        })
    }
}

/// The view of a manifest and a log, over their segments.
fn load(disk: &dyn Disk, manifest: &Manifest, segments: Vec<Arc<Segment>>, log: &Replayed) -> Result<View, StoreError> {
    let mut view = View::empty(manifest.meta.shape.ids);
    view.segments = segments;
    let wrong = |path: &str, at, found: String| StoreError::corrupt(&disk.path(path), at, "what fits together", found);
    view.load(&manifest.slots, &manifest.ids).map_err(|found| wrong(manifest::NAME, 0, found))?;
    view.sequence = manifest.sequence;
    for (at, entry) in &log.entries {
        if let Entry::Commit(commit) = entry {
            view.apply(commit).map_err(|found| wrong(&log_name(manifest.meta.log), *at, found))?;
        }
    }
    Ok(view)
}

/// The segments, as manifest and log tell of them.
struct Files<'a> {
    disk: &'a dyn Disk,
    meta: Meta,
    log_path: &'a Path,
    /// By number: the rows there is room for, and the spans of those that count.
    segments: BTreeMap<u32, (u32, Vec<Span>)>,
    /// Those with rows that may not be durable.
    doubtful: BTreeSet<u32>,
}

impl<'a> Files<'a> {
    fn of(disk: &'a dyn Disk, manifest: &Manifest, log_path: &'a Path) -> Self {
        let known = manifest.segments.iter();
        let segments = known.map(|segment| (segment.number, (segment.capacity, segment.spans.clone()))).collect();
        Self { disk, meta: manifest.meta, log_path, segments, doubtful: BTreeSet::new() }
    }

    /// Follows the log as far as it counts: up to the first change whose rows are not there, unless they were durable once.
    fn follow(&mut self, mut log: Replayed) -> Result<Replayed, StoreError> {
        for i in 0..log.entries.len() {
            let (at, entry) = &log.entries[i];
            let durable = *at < log.synced;
            let whole = match entry {
                Entry::Segment { number, capacity } => {
                    self.begin(*number, *capacity, *at)?;
                    // A change that failed takes the segments with it that were begun for it.
                    let there = durable || self.disk.path(&segment_name(*number)).exists();
                    if !there {
                        self.segments.remove(number);
                    }
                    there
                }
                // What was durable is compared when it is first read.
                Entry::Commit(commit) => {
                    let whole = durable || commit.spans.iter().all(|&span| self.holds(span));
                    let spans = if whole { &commit.spans[..] } else { &[] };
                    spans.iter().try_for_each(|&span| self.add(span, *at)).map(|()| whole)?
                }
                Entry::Mark => true,
            };
            if !whole {
                log.end = *at;
                log.entries.truncate(i);
                break;
            }
        }
        Ok(log)
    }

    /// A segment that the log begins.
    fn begin(&mut self, number: u32, capacity: u32, at: u64) -> Result<(), StoreError> {
        if self.segments.last_key_value().is_some_and(|(last, _)| *last >= number) {
            let expected = "a segment with a number higher than those before";
            return Err(StoreError::corrupt(self.log_path, at, expected, number));
        }
        if number == u32::MAX {
            let expected = format_args!("a segment with a number below {number}");
            return Err(StoreError::corrupt(self.log_path, at, expected, number));
        }
        self.segments.insert(number, (capacity, Vec::new()));
        Ok(())
    }

    fn add(&mut self, span: Span, at: u64) -> Result<(), StoreError> {
        let Some((capacity, spans)) = self.segments.get_mut(&span.segment) else {
            let expected = "rows of a segment that there is";
            return Err(StoreError::corrupt(self.log_path, at, expected, format_args!("segment {}", span.segment)));
        };
        let next = spans.last().map_or(0, |last| last.first + last.rows);
        let end = u64::from(span.first) + u64::from(span.rows);
        if span.first != next || span.rows == 0 || end > u64::from(*capacity) {
            let expected = format_args!("rows from {next} of {capacity}");
            return Err(StoreError::corrupt(self.log_path, at, expected, format_args!("{} to {end}", span.first)));
        }
        spans.push(span);
        Ok(())
    }

    /// Whether the rows of a span are there, of which nobody knows whether they are durable.
    fn holds(&mut self, span: Span) -> bool {
        self.doubtful.insert(span.segment);
        let row_bytes = self.meta.shape.row_bytes();
        let from = ROWS_AT + span.first as usize * row_bytes;
        let map = Map::open(&self.disk.path(&segment_name(span.segment))).ok();
        let rows = map.as_ref().and_then(|map| map.get(from..from + span.rows as usize * row_bytes));
        rows.is_some_and(|rows| xxhash_rust::xxh3::xxh3_64(rows) == span.hash)
    }

    /// Opens them; the last to go on, where the store is writable.
    fn open(&self, writable: bool) -> Result<Vec<Arc<Segment>>, StoreError> {
        let last = self.segments.last_key_value().map(|(number, _)| *number);
        let open = |(&number, (capacity, spans)): (&u32, &(u32, Vec<Span>))| {
            let stamp = self.meta.segment_stamp(number, *capacity);
            let grows = writable && (Some(number) == last || self.doubtful.contains(&number));
            Segment::open(self.disk, stamp, spans, grows).map(Arc::new)
        };
        self.segments.iter().map(open).collect()
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

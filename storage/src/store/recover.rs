//! What a folder holds: the manifest, and the log after it as far as it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;
use super::log::{Entry, Replayed, Span, key_of, log_name, replay};
use super::manifest::{self, KeptLog, Manifest, Meta, SegmentMeta};
use super::segment::{ROWS_AT, Segment, block_rows, segment_name};
use super::view::{View, ViewSpare};
use crate::disk::Disk;

/// The end of a log, of which nobody knows whether it is durable. It is written again before it is synced: a sync that failed
/// may have left it in the system's memory alone, where no later sync takes notice of it.
pub(super) struct Tail {
    pub(super) from: u64,
    pub(super) records: Vec<u8>,
    /// The rows that it speaks of.
    pub(super) spans: Vec<Span>,
}

/// A store that was read from the disk.
pub(super) struct Recovered {
    pub(super) meta: Meta,
    pub(super) view: View,
    /// The change that the log follows.
    pub(super) before: u64,
    pub(super) tail: Tail,
    pub(super) kept: Vec<KeptLog>,
    pub(super) next_file: u32,
    pub(super) manifest_bytes: u64,
    /// Whether whole records of the log do not count, because what they speak of is not there.
    pub(super) is_cut: bool,
}

impl Recovered {
    /// Reads it; where it is `writable`, the last segment can go on.
    pub(super) fn from(disk: &dyn Disk, writable: bool) -> Result<Self, StoreError> {
        let manifest = manifest::read(disk)?;
        let meta = manifest.meta;
        let path = disk.path(&log_name(meta.log));
        let file = disk.read(&log_name(meta.log)).map_err(StoreError::io("read", &path))?;
        meta.log_stamp(meta.log).check(&file, &path)?;
        let replayed = replay(&file, &path, key_of(&meta.store, meta.log), manifest.sequence)?;
        let whole = replayed.end;
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
            is_cut: log.end < whole,
        })
    }

    /// Writes the rows again that may not be durable. A span of rows that are not what they were when they were looked for, if there
    /// is one: then the store is to be read anew.
    pub(super) fn rewrite(&self) -> Result<Option<Span>, StoreError> {
        for &span in &self.tail.spans {
            let segment = self.view.segment(span.segment).expect("its rows were found there");
            if !segment.rewrite(span)? {
                return Ok(Some(span));
            }
        }
        Ok(None)
    }
}

/// The view of a manifest and a log, over their segments.
fn load(disk: &dyn Disk, manifest: &Manifest, segments: Vec<Arc<Segment>>, log: &Replayed) -> Result<View, StoreError> {
    let mut view = View::empty(manifest.meta.shape.ids);
    view.segments = segments;
    let wrong = |path: &str, at, found: String| StoreError::corrupt(&disk.path(path), at, "what fits together", found);
    view.load(&manifest.slots, &manifest.ids).map_err(|found| wrong(manifest::NAME, 0, found))?;
    view.sequence = manifest.sequence;
    let mut spare = ViewSpare::default();
    for (at, entry) in &log.entries {
        if let Entry::Commit(commit) = entry {
            view.apply(commit, &mut spare).map_err(|found| wrong(&log_name(manifest.meta.log), *at, found))?;
        }
    }
    Ok(view)
}

/// The segments, as manifest and log tell of them.
struct Files<'a> {
    disk: &'a dyn Disk,
    meta: Meta,
    log_path: &'a Path,
    /// By number.
    segments: BTreeMap<u32, SegmentMeta>,
    /// Those with rows that may not be durable.
    doubtful: BTreeSet<u32>,
}

impl<'a> Files<'a> {
    fn of(disk: &'a dyn Disk, manifest: &Manifest, log_path: &'a Path) -> Self {
        let known = manifest.segments.iter();
        let segments = known.map(|segment| (segment.number, segment.clone())).collect();
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
                    let there = durable || self.read(*number, 0..0)?.is_some();
                    if !there {
                        self.segments.remove(number);
                    }
                    there
                }
                // What was durable is compared when it is first read.
                Entry::Commit(commit) => {
                    commit.spans.iter().try_for_each(|&span| self.check(span, *at))?;
                    let whole = durable || self.hold(&commit.spans)?;
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
        self.segments.insert(number, SegmentMeta { number, capacity, packed: false, spans: Vec::new() });
        Ok(())
    }

    /// Whether a change can have such a span: it has rows, all of one block. Asked before they are read: what nobody wrote is not to
    /// say how much memory that takes.
    fn check(&self, span: Span, at: u64) -> Result<(), StoreError> {
        let block = block_rows(self.meta.shape.row_bytes());
        if span.rows > 0 && u64::from(span.first % block) + u64::from(span.rows) <= u64::from(block) {
            return Ok(());
        }
        let expected = format_args!("rows of one block of {block}");
        Err(StoreError::corrupt(self.log_path, at, expected, format_args!("{} from {}", span.rows, span.first)))
    }

    fn add(&mut self, span: Span, at: u64) -> Result<(), StoreError> {
        let Some(SegmentMeta { capacity, spans, .. }) = self.segments.get_mut(&span.segment) else {
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

    /// Whether the rows of all spans are there, of which nobody knows whether they are durable.
    fn hold(&mut self, spans: &[Span]) -> Result<bool, StoreError> {
        let row_bytes = self.meta.shape.row_bytes() as u64;
        for span in spans {
            self.doubtful.insert(span.segment);
            let from = ROWS_AT as u64 + u64::from(span.first) * row_bytes;
            let rows = self.read(span.segment, from..from + u64::from(span.rows) * row_bytes)?;
            if rows.is_none_or(|rows| xxh3_64(&rows) != span.hash) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes of a segment's file, or none where it is not there, or not as long. That they can not be read says nothing of the kind:
    /// a log that ended for it would lose what was acknowledged.
    fn read(&self, number: u32, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        let name = segment_name(number);
        let path = self.disk.path(&name);
        self.disk.read_range(&name, range).map_err(StoreError::io("read", &path))
    }

    /// Opens them; the last that can grow to go on, where the store is writable.
    fn open(&self, writable: bool) -> Result<Vec<Arc<Segment>>, StoreError> {
        let last = self.segments.values().rev().find(|segment| !segment.packed).map(|segment| segment.number);
        let open = |segment: &SegmentMeta| {
            let SegmentMeta { number, capacity, packed, ref spans } = *segment;
            let stamp = if packed { Meta::packed_stamp } else { Meta::segment_stamp }(&self.meta, number, capacity);
            let grows = writable && (Some(number) == last || self.doubtful.contains(&number));
            Segment::open(self.disk, stamp, spans, grows).map(Arc::new)
        };
        self.segments.values().map(open).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::disk::Folder;
    use crate::store::log::{Commit, LogWriter, OwnedIds};
    use crate::store::{ElementKind, IdKind, Shape, StoreOptions, VectorStore};

    /// Why a store is refused whose log speaks of so many rows from `first` on.
    fn refusal(first: u32, rows: u32) -> String {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { dim: 2, element: ElementKind::U8, ids: IdKind::Numbers };
        let store = VectorStore::create(folder.path(), &StoreOptions::new(shape)).unwrap();
        let meta = store.meta;
        drop(store);
        let disk = Folder::at(folder.path());
        let mut log = LogWriter::resume(&disk, &meta.log_stamp(meta.log), (0, 64), &[]).unwrap();
        log.segment((2, u32::MAX), 0);
        let mut commit = Commit::empty(IdKind::Numbers);
        commit.sequence = 1;
        commit.spans.push(Span { segment: 2, first, rows, hash: 0 });
        commit.slots.extend(0..rows);
        commit.ids = OwnedIds::Numbers((0..u64::from(rows)).collect());
        log.commit(&commit);
        assert!(log.flush().is_ok());
        // A file that is as long as any span says, and takes up no room.
        File::create(folder.path().join(segment_name(2))).unwrap().set_len(1 << 34).unwrap();
        VectorStore::open(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn spans_that_no_change_has_are_refused_before_their_rows_are_read() {
        for (first, rows) in [(0, 0), (0, 32_769), (32_767, 2)] {
            let message = refusal(first, rows);
            let expected = format!("expected rows of one block of 32768, found {rows} from {first}");
            assert!(message.ends_with(&expected) && message.contains("log-00000001"), "{message}");
        }
    }
}

//! Writing a new manifest, and beginning a new log after it.

use std::sync::Arc;

use super::log::{LogWriter, log_name};
use super::manifest::{self, KeptLog, Meta};
use super::segment::segment_name;
use super::view::View;
use super::writer::Writer;
use super::{Durability, StoreError, VectorStore};

impl VectorStore {
    /// Makes everything durable and writes it into a new manifest, so that the log begins anew and the store opens fast.
    /// It happens by itself when the log has grown longer than the manifest, and than
    /// [`StoreOptions::checkpoint_bytes`](super::StoreOptions::checkpoint_bytes).
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let mut writer = self.lock_writer()?;
        writer.check(self)?;
        self.checkpoint_by(&mut writer)
    }

    pub(super) fn checkpoint_by(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let view = Arc::clone(&self.read_view());
        self.replace_manifest(writer, &view)
    }

    /// Makes `view` the one that the store opens with. On an error it is the old one still, or nobody knows.
    pub(super) fn replace_manifest(&self, writer: &mut Writer, view: &View) -> Result<(), StoreError> {
        writer.settle(self, Durability::Sync)?;
        let begun = self.begin_log(writer, view);
        // The old log goes on, and is durable as far as it goes.
        if begun.is_err() && writer.unsure.is_none() {
            writer.mark(view.sequence);
        }
        begun
    }

    /// Begins a log after a manifest of `view`. All before is durable.
    fn begin_log(&self, writer: &mut Writer, view: &View) -> Result<(), StoreError> {
        let folder = self.disk.folder();
        let number = writer.next_file()?;
        let meta = Meta { log: number, next_file: writer.next_file, ..self.meta };
        let mut kept = writer.kept.clone();
        kept.push(KeptLog::new(writer.log.number(), writer.log.before(), view.sequence));
        let over = kept.partition_point(|log| log.last <= writer.followed);
        let over: Vec<KeptLog> = kept.drain(..over).collect();
        let log = match self.prepare(&meta, view, &kept) {
            Ok(log) => log,
            Err(cause) => {
                self.abandon(number);
                return Err(cause);
            }
        };
        self.disk.sync_folder().map_err(|cause| writer.unsure(self, &StoreError::io("sync", folder)(cause)))?;
        // A rename that fails may have happened all the same.
        let renamed = self.disk.rename(manifest::UNFINISHED, manifest::NAME);
        let unfinished = self.disk.path(manifest::UNFINISHED);
        renamed.map_err(|cause| writer.unsure(self, &StoreError::io("rename", &unfinished)(cause)))?;
        // Which of the two manifests, each with its own log, a power cut leaves is open until the folder is synced.
        self.disk.sync_folder().map_err(|cause| writer.unsure(self, &StoreError::io("sync", folder)(cause)))?;
        let (log, manifest_bytes) = log;
        writer.log = log;
        writer.kept = kept;
        writer.checkpoint_at = manifest_bytes.max(self.meta.checkpoint_bytes);
        for log in over {
            // What is left behind is removed when the store is opened next.
            let _ = self.disk.remove(&log_name(log.number));
        }
        Ok(())
    }

    fn prepare(&self, meta: &Meta, view: &View, kept: &[KeptLog]) -> Result<(LogWriter, u64), StoreError> {
        // One may be left of an attempt that failed.
        let _ = self.disk.remove(manifest::UNFINISHED);
        let log = LogWriter::create(&*self.disk, &meta.log_stamp(meta.log), view.sequence)?;
        Ok((log, manifest::write(&*self.disk, meta, view, kept)?))
    }

    /// Removes what a checkpoint left that did not succeed. What can not be removed now is when the store is opened next.
    fn abandon(&self, log: u32) {
        let _ = self.disk.remove(manifest::UNFINISHED);
        let _ = self.disk.remove(&log_name(log));
    }

    /// Removes the files of segments that no manifest names any more.
    pub(super) fn remove_segments(&self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            let _ = self.disk.remove(&segment_name(number));
        }
    }
}

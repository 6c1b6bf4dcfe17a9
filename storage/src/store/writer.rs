//! What only the writer needs: the log, the segment at work, and how much of it is durable.

use std::sync::Arc;

use super::log::{Commit, LogWriter, Stuck};
use super::manifest::KeptLog;
use super::segment::Segment;
use super::shape::{Durability, IdKind};
use super::view::{View, ViewSpare};
use super::{StoreError, VectorStore};

/// What only the writer needs.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) log: LogWriter,
    /// The number of the next file.
    pub(super) next_file: u32,
    /// The segment that rows are appended to.
    pub(super) active: Option<Arc<Segment>>,
    /// Segments with rows that may not be durable.
    pub(super) dirty: Vec<Arc<Segment>>,
    /// Slots to give again; the last is the next.
    pub(super) free: Vec<u32>,
    /// Logs that are over, for those who follow the store, one after another.
    pub(super) kept: Vec<KeptLog>,
    /// They need none of the changes up to this.
    pub(super) followed: u64,
    /// Why nothing can be changed any more.
    pub(super) unsure: Option<String>,
    /// A manifest is written when the log is longer than this.
    pub(super) checkpoint_at: u64,
    /// The last change, in whose memory the next is made.
    pub(super) commit: Commit,
    /// Views that were replaced by others, of which readers may still see some; the last is the youngest.
    pub(super) past: Vec<Arc<View>>,
    /// What earlier ones left.
    pub(super) spare: ViewSpare,
}

/// Views that are kept until their readers are gone, at most.
const MOST_PAST: usize = 4;
/// Segments that may be full and not durable, each with its file open.
const MOST_DIRTY: usize = 64;

/// What there was before a change.
pub(super) struct Begun {
    pub(super) log_len: u64,
    pub(super) next_file: u32,
    pub(super) active: Option<Arc<Segment>>,
}

impl Writer {
    pub(super) fn new(log: LogWriter, next_file: u32, checkpoint_at: u64, ids: IdKind) -> Self {
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
            commit: Commit::empty(ids),
            past: Vec::new(),
            spare: ViewSpare::default(),
        }
    }

    /// Bytes of memory: of the log, of free slots, and of what changes are made in.
    pub(super) fn memory(&self) -> usize {
        let Self { log, free, commit, spare, .. } = self;
        log.memory() + free.capacity() * size_of::<u32>() + commit.memory() + spare.memory()
    }

    /// Takes back what past views leave that nobody sees any more.
    pub(super) fn reclaim(&mut self) {
        let Self { past, spare, .. } = self;
        for _ in 0..past.len() {
            let view = past.remove(0);
            past.extend(spare.take(view).err());
        }
    }

    /// Keeps a view that was replaced, until its readers are gone.
    pub(super) fn keep(&mut self, view: Arc<View>) {
        if self.past.len() == MOST_PAST {
            self.past.remove(0);
        }
        self.past.push(view);
    }

    /// Notes what there is before a change.
    pub(super) fn begin(&self) -> Begun {
        Begun { log_len: self.log.len(), next_file: self.next_file, active: self.active.clone() }
    }

    pub(super) fn check(&self, store: &VectorStore) -> Result<(), StoreError> {
        match &self.unsure {
            None => Ok(()),
            Some(cause) => Err(StoreError::Unsure { path: store.disk.folder().to_owned(), cause: cause.clone() }),
        }
    }

    /// Goes on with a segment from which nothing was moved after all, unless another was begun meanwhile: then no row follows in it.
    pub(super) fn go_on_in(&mut self, segment: Arc<Segment>) {
        if self.unsure.is_none() && self.active.is_none() {
            self.active = Some(segment);
        } else if self.dirty.iter().all(|dirty| dirty.number() != segment.number()) {
            segment.seal();
        }
    }

    /// Accepts no more changes, because of `cause`.
    pub(super) fn unsure(&mut self, store: &VectorStore, cause: &StoreError) -> StoreError {
        let cause = self.unsure.insert(cause.to_string()).clone();
        StoreError::Unsure { path: store.disk.folder().to_owned(), cause }
    }

    /// A number for a file that no file had.
    pub(super) fn next_file(&mut self) -> Result<u32, StoreError> {
        let number = self.next_file;
        self.next_file = number.checked_add(1).ok_or(StoreError::Files { expected: number })?;
        Ok(number)
    }

    /// Makes everything so far as durable as that.
    pub(super) fn settle(&mut self, store: &VectorStore, durability: Durability) -> Result<(), StoreError> {
        if durability == Durability::None {
            return Ok(());
        }
        let flushed = self.log.flush();
        flushed.map_err(|stuck| self.stuck(store, stuck))?;
        if durability == Durability::Sync && !self.log.is_synced() {
            let synced = self.dirty.iter().try_for_each(|segment| segment.sync());
            synced.map_err(|cause| self.unsure(store, &cause))?;
            self.dirty.clear();
            let synced = self.log.sync();
            synced.map_err(|stuck| self.stuck(store, stuck))?;
        }
        Ok(())
    }

    /// Makes full segments durable before they count, and gives their files back, where there are many: a process may open only so many.
    pub(super) fn sync_full(&mut self, store: &VectorStore) -> Result<(), StoreError> {
        if self.dirty.len() < MOST_DIRTY {
            return Ok(());
        }
        let synced = self.dirty.iter().try_for_each(|segment| segment.sync());
        synced.map_err(|cause| self.unsure(store, &cause))?;
        // Those of the change that is being made, none of whose rows count yet. In another some may, which is cut off there if it fails.
        self.dirty.iter().filter(|segment| segment.rows() == 0).for_each(|segment| segment.seal());
        self.dirty.clear();
        Ok(())
    }

    /// As [`settle`](Self::settle), and notes what is durable by then.
    pub(super) fn settle_and_mark(&mut self, store: &VectorStore, durability: Durability) -> Result<(), StoreError> {
        self.settle(store, durability)?;
        if durability == Durability::Sync {
            self.mark(store.sequence());
        }
        Ok(())
    }

    fn stuck(&mut self, store: &VectorStore, stuck: Stuck) -> StoreError {
        match stuck {
            Stuck::Refused(cause) => cause,
            Stuck::Unsure(cause) => self.unsure(store, &cause),
        }
    }

    /// Notes that everything so far is durable, where the log does not say so yet. Only damage is told from interruption by it, so
    /// nothing hangs on it: what can not be written now is when something is synced next.
    pub(super) fn mark(&mut self, sequence: u64) {
        if self.log.is_told() {
            return;
        }
        let before = self.log.len();
        self.log.mark(sequence);
        match self.log.flush() {
            Ok(()) => {}
            Err(Stuck::Refused(_)) => self.log.forget(before),
            Err(Stuck::Unsure(cause)) => self.unsure = Some(cause.to_string()),
        }
    }
}

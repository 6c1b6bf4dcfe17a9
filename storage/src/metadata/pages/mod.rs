//! The file under the database: its pages, each with a checksum that is compared whenever the page is read from the disk.
//!
//! redb knows checksums of its pages too, but compares them only after a crash, and trusts what it reads otherwise: a bit that
//! changed would be served, hide records, or end the process. So it reads and writes through a [`PageFile`], and never sees a
//! page that is not as it was written.
//!
//! | what | where |
//! |---|---|
//! | which byte stands where | `layout` |
//! | reading, writing, closing | this file |
//! | what a crash left | `settle` |
//! | changes that nobody keeps | `overlay` |
//! | files of version 1, which are the database's own | `plain` |
//!
//! Invariants: page 0, in which the database says which of its states holds, has two copies; between two syncs only one of them
//! is written, so one is always whole. A file becomes longer durably before anything is written there. Pages that do not
//! fit their checksums are shown to the database only after a crash, when it compares its own checksums of all pages that count
//! before it trusts them. What it has accepted, or does not count, then gets the checksum of what it is: it was the checksum
//! that did not reach the disk, or nothing leads there.

mod layout;
mod overlay;
mod plain;
mod settle;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::disk::DiskFile;
use layout::{COPIES_AT, HEAD, Head, PAGE, STRIDE};
pub(super) use overlay::Overlay;
pub(super) use plain::{GivenUp, Plain};

/// A file of pages with checksums.
#[derive(Debug)]
pub(super) struct PageFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    key: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Head,
    /// The copy that is whole, and durable: not to be written before the next sync.
    safe: usize,
    /// Whether the other copy was written since the last sync.
    is_written: bool,
    /// Whether the copies differ.
    is_ahead: bool,
    torn: Torn,
    /// Pages of a write that failed.
    unwritten: BTreeSet<u64>,
    /// Whether a sync failed, or the owner wants nothing more to be written.
    is_given_up: bool,
    /// What was found first that is not as it was written.
    damage: Option<String>,
}

/// Pages that do not fit their checksums since a crash.
#[derive(Debug, Default)]
struct Torn {
    pages: BTreeSet<u64>,
    /// Whether the database may see them, as it compares its own checksums.
    are_shown: bool,
}

impl State {
    fn new(head: &Head, safe: usize) -> Self {
        Self {
            head: *head,
            safe,
            is_written: false,
            is_ahead: false,
            torn: Torn::default(),
            unwritten: BTreeSet::new(),
            is_given_up: false,
            damage: None,
        }
    }
}

impl PageFile {
    /// Begins a file, which is empty.
    pub(super) fn create(file: Box<dyn DiskFile>, path: PathBuf, key: u64) -> io::Result<Self> {
        file.write_all_at(0, &layout::stamp(key))?;
        file.set_len(layout::physical(0))?;
        let head = Head { turn: 0, bytes: [0; HEAD] };
        Ok(Self { file, path, key, state: Mutex::new(State::new(&head, 1)) })
    }

    /// Whether a file is one of pages with checksums, and not the database's own.
    pub(super) fn is_one(file: &dyn DiskFile) -> io::Result<bool> {
        let mut magic = [0; 8];
        if file.len()? < magic.len() as u64 {
            return Ok(false);
        }
        file.read_at(0, &mut magic)?;
        Ok(magic != *b"redb\x1a\x0a\xa9\x0d")
    }

    /// What was found first that is not as it was written.
    pub(super) fn damage(&self) -> Option<String> {
        self.state().damage.clone()
    }

    /// Lets every later write and sync fail: what is not durable now never will be.
    pub(super) fn give_up(&self) {
        self.state().is_given_up = true;
    }

    fn may_write(&self) -> io::Result<()> {
        if self.state().is_given_up { Err(refusal()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self, found: String) -> io::Error {
        let message = format!("{} is damaged: found {found}", self.path.display());
        self.state().damage.get_or_insert(found);
        io::Error::new(io::ErrorKind::InvalidData, message)
    }

    /// Whether a page may be read that does not fit its checksum.
    fn shows(&self, page: u64) -> bool {
        let state = self.state();
        state.torn.are_shown && state.torn.pages.contains(&page)
    }

    /// Pages from `first` on, as they are stored.
    fn stored(&self, first: u64, count: u64) -> io::Result<Vec<u8>> {
        let mut stored = vec![0; (count * STRIDE) as usize];
        self.file.read_at(layout::place(first), &mut stored)?;
        Ok(stored)
    }

    fn read_head(&self, offset: usize, out: &mut [u8]) {
        let state = self.state();
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = state.head.bytes.get(offset + i).copied().unwrap_or(0);
        }
    }

    fn write_head(&self, offset: usize, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let was_unclosed = state.head.is_unclosed();
        let Some(bytes) = state.head.bytes.get_mut(offset..offset + data.len()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "page 0 has a header and nothing else"));
        };
        bytes.copy_from_slice(data);
        let opens = state.head.is_unclosed() && !was_unclosed;
        state.head.turn += 1;
        (state.is_written, state.is_ahead) = (true, true);
        let copy = state.head.encode(self.key);
        self.file.write_all_at(COPIES_AT[1 - state.safe], &copy)?;
        drop(state);
        // Before any page is written: torn pages are damage in a file that is closed.
        if opens { self.sync() } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.file.sync();
        let mut state = self.state();
        match &synced {
            Ok(()) if state.is_written => {
                state.safe = 1 - state.safe;
                state.is_written = false;
            }
            Ok(()) => {}
            Err(_) => state.is_given_up = true,
        }
        synced
    }

    fn write_pages(&self, first: u64, data: &[u8]) -> io::Result<()> {
        let mut stored = Vec::with_capacity(data.len() / PAGE as usize * STRIDE as usize);
        for (page, bytes) in (first..).zip(data.chunks_exact(PAGE as usize)) {
            stored.extend(layout::checksum(self.key, page, bytes).to_le_bytes());
            stored.extend(bytes);
        }
        let pages = first..first + data.len() as u64 / PAGE;
        let written = self.file.write_all_at(layout::place(first), &stored);
        let mut state = self.state();
        match &written {
            Ok(()) if state.torn.pages.is_empty() && state.unwritten.is_empty() => {}
            Ok(()) => {
                state.torn.pages.retain(|page| !pages.contains(page));
                state.unwritten.retain(|page| !pages.contains(page));
            }
            Err(_) => state.unwritten.extend(pages),
        }
        written
    }

    /// Gives a page the checksum of what it holds.
    fn seal(&self, page: u64) -> io::Result<()> {
        let stored = self.stored(page, 1)?;
        self.file.write_all_at(layout::place(page), &layout::checksum(self.key, page, &stored[8..]).to_le_bytes())
    }

    /// After the last change: both copies of page 0 become the same, so that damage to one can be told from an interruption.
    fn finish(&self) -> io::Result<()> {
        let unwritten = {
            let mut state = self.state();
            // Torn pages are shown while the database is being opened: one that could not be has found no state that holds.
            let is_spoiled = state.is_given_up || state.damage.is_some() || state.torn.are_shown;
            if !state.is_ahead || state.is_written || is_spoiled {
                return Ok(());
            }
            std::mem::take(&mut state.unwritten)
        };
        unwritten.into_iter().try_for_each(|page| self.seal(page))?;
        let state = self.state();
        self.file.write_all_at(COPIES_AT[1 - state.safe], &state.head.encode(self.key))?;
        self.file.sync()
    }
}

/// What every call meets that would change a file of which nothing more is to be written.
fn refusal() -> io::Error {
    io::Error::other("nothing more is written after an error")
}

/// A [`PageFile`] as the database uses it.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<PageFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        let len = self.0.file.len()?;
        layout::logical(len).ok_or_else(|| self.0.damaged(format!("{len} bytes, which no number of pages takes")))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (mut page, mut within, mut out) = (offset / PAGE, (offset % PAGE) as usize, out);
        if page == 0 {
            let (head, rest) = out.split_at_mut(out.len().min(PAGE as usize - within));
            self.0.read_head(within, head);
            (page, within, out) = (1, 0, rest);
        }
        if out.is_empty() {
            return Ok(());
        }
        let stored = self.0.stored(page, ((within + out.len()) as u64).div_ceil(PAGE))?;
        for (page, stored) in (page..).zip(stored.chunks_exact(STRIDE as usize)) {
            if let Some(mistake) = layout::mistake(self.0.key, page, stored)
                && !self.0.shows(page)
            {
                return Err(self.0.damaged(mistake));
            }
            let (bytes, rest) = out.split_at_mut(out.len().min(PAGE as usize - within));
            bytes.copy_from_slice(&stored[8 + within..][..bytes.len()]);
            (within, out) = (0, rest);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.may_write()?;
        if !len.is_multiple_of(PAGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a database has whole pages"));
        }
        let (now, then) = (self.0.file.len()?, layout::physical(len));
        self.0.file.set_len(then)?;
        {
            let mut state = self.0.state();
            let _ = (state.torn.pages.split_off(&(len / PAGE)), state.unwritten.split_off(&(len / PAGE)));
        }
        if then > now { self.0.file.sync() } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.may_write()?;
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.may_write()?;
        if offset < PAGE {
            return self.0.write_head(offset as usize, data);
        }
        if !offset.is_multiple_of(PAGE) || !(data.len() as u64).is_multiple_of(PAGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "pages are written as a whole"));
        }
        self.0.write_pages(offset / PAGE, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.finish()
    }
}

//! Opening a page file, and putting in order what a crash left of it.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use super::layout::{self, COPIES_AT, COPY, Head, PAGE, STAMP, STRIDE};
use super::{PageFile, State};
use crate::disk::DiskFile;
use crate::metadata::error::Fault;

/// Pages that are read at once.
const AT_ONCE: u64 = 256;

impl PageFile {
    /// Opens a file. One that was not closed is written anew, if it may be, since a sync that failed may have left it in the system's
    /// memory alone; which of its pages do not fit their checksums is kept in mind until [`settled`](Self::settled).
    pub(in super::super) fn open(file: Box<dyn DiskFile>, path: PathBuf, may_write: bool) -> Result<Self, Fault> {
        let wrong = |found: &str| Fault::Damaged(found.to_owned());
        let mut stamp = [0; STAMP];
        let len = file.len()?;
        if len < COPIES_AT[1] + COPY as u64 {
            return Err(wrong(&format!("{len} bytes, which is too short")));
        }
        file.read_at(0, &mut stamp)?;
        let key = layout::key_of(&stamp).map_err(|found| wrong(&found))?;
        let mut heads = [None; 2];
        for (at, head) in COPIES_AT.into_iter().zip(&mut heads) {
            let mut copy = [0; COPY];
            file.read_at(at, &mut copy)?;
            *head = Head::decode(key, &copy);
        }
        // The later one.
        let safe = usize::from(heads[1].map(|head| head.turn) > heads[0].map(|head| head.turn));
        let head = heads[safe].ok_or_else(|| wrong("damaged headers at byte 4096 and byte 8192"))?;
        let is_ahead = heads[0] != heads[1];
        let state = State { is_ahead, ..State::new(&head, safe) };
        let pages = Self { file, path, key, state: Mutex::new(state) };
        if is_ahead || head.is_unclosed() {
            pages.settle(&head, may_write)?;
        }
        Ok(pages)
    }

    fn settle(&self, head: &Head, may_write: bool) -> io::Result<()> {
        if may_write {
            // Its length may be in the system's memory alone as well, after a sync that failed: what is written past the durable end
            // would lengthen the file by sectors, to where no page ends.
            self.file.set_len(self.file.len()?)?;
            self.file.sync()?;
        }
        let mut torn = Vec::new();
        self.each_run(|first, stored| {
            let is_torn = |(page, stored): (u64, &[u8])| layout::mistake(self.key, page, stored).map(|_| page);
            torn.extend((first..).zip(stored.chunks_exact(STRIDE as usize)).filter_map(is_torn));
            if may_write { self.file.write_all_at(layout::place(first), stored) } else { Ok(()) }
        })?;
        if may_write {
            let safe = self.state().safe;
            self.file.write_all_at(COPIES_AT[safe], &head.encode(self.key))?;
            self.file.sync()?;
        }
        let mut state = self.state();
        state.torn.pages.extend(torn);
        state.torn.are_shown = true;
        Ok(())
    }

    /// Whether the database has to compare its own checksums before it trusts what it reads. It may say that it was closed: for a
    /// moment after it has found the state that a crash left.
    pub(in super::super) fn is_unsettled(&self) -> bool {
        self.state().torn.are_shown
    }

    /// The database has found the state that holds, and compared all of it. Pages that do not fit their checksums get new ones; in
    /// a file that may not be changed they may be read as they are.
    pub(in super::super) fn settled(&self, may_write: bool) -> io::Result<()> {
        if !may_write {
            return Ok(());
        }
        let torn = std::mem::take(&mut self.state().torn);
        let sealed = torn.pages.into_iter().try_for_each(|page| self.seal(page));
        // It must not count as closed then.
        sealed.inspect_err(|_| self.give_up())
    }

    /// Compares every page with its checksum as it is on the disk, while nobody writes; what does not fit, in words.
    pub(in super::super) fn verify(&self) -> io::Result<Vec<String>> {
        let mut mistakes = Vec::new();
        let mut stamp = [0; STAMP];
        self.file.read_at(0, &mut stamp)?;
        mistakes.extend(layout::key_of(&stamp).err());
        {
            let state = self.state();
            let mut copy = [0; COPY];
            self.file.read_at(COPIES_AT[state.safe], &mut copy)?;
            let is_whole = Head::decode(self.key, &copy).is_some();
            if !is_whole {
                mistakes.push(format!("a damaged header at byte {}", COPIES_AT[state.safe]));
            }
        }
        self.each_run(|first, stored| {
            let pages = (first..).zip(stored.chunks_exact(STRIDE as usize));
            let wrong = pages.filter_map(|(page, stored)| Some((page, layout::mistake(self.key, page, stored)?)));
            mistakes.extend(wrong.filter(|(page, _)| !self.shows(*page)).map(|(_, mistake)| mistake));
            Ok(())
        })?;
        Ok(mistakes)
    }

    /// All pages but page 0, as they are stored, many at a time.
    fn each_run(&self, mut with: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let pages = layout::logical(self.file.len()?).unwrap_or(0) / PAGE;
        for first in (1..pages).step_by(AT_ONCE as usize) {
            let stored = self.stored(first, AT_ONCE.min(pages - first))?;
            with(first, &stored)?;
        }
        Ok(())
    }
}

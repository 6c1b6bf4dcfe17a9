//! Changes that stay in memory: how a database is put in order that may not be changed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::layout::PAGE;

/// A database's file, and what was written over it since, which nobody keeps.
#[derive(Debug)]
pub(in super::super) struct Overlay<B> {
    base: B,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    /// Bytes of the base up to here were never cut off.
    base_len: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl<B: StorageBackend> Overlay<B> {
    pub(in super::super) fn over(base: B) -> io::Result<Self> {
        let len = base.len()?;
        Ok(Self { base, state: Mutex::new(State { len, base_len: len, pages: BTreeMap::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it is now.
    fn page(&self, state: &State, page: u64) -> io::Result<Vec<u8>> {
        if let Some(bytes) = state.pages.get(&page) {
            return Ok(bytes.clone());
        }
        let mut bytes = vec![0; PAGE as usize];
        let there = state.base_len.saturating_sub(page * PAGE).min(PAGE) as usize;
        if there > 0 {
            self.base.read(page * PAGE, &mut bytes[..there])?;
        }
        Ok(bytes)
    }
}

/// The pages that some bytes lie in, each with where in it they begin, and how many they are.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len as u64;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let from = offset.max(page * PAGE);
        (page, (from - page * PAGE) as usize, (end.min((page + 1) * PAGE) - from) as usize)
    })
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if offset + out.len() as u64 > state.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, from, count) in pieces(offset, out.len()) {
            let (piece, rest) = out.split_at_mut(count);
            piece.copy_from_slice(&self.page(&state, page)?[from..from + count]);
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.len = len;
        state.base_len = state.base_len.min(len);
        let _ = state.pages.split_off(&len.div_ceil(PAGE));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        for (page, from, count) in pieces(offset, data.len()) {
            let mut bytes = self.page(&state, page)?;
            let (piece, rest) = data.split_at(count);
            bytes[from..from + count].copy_from_slice(piece);
            state.pages.insert(page, bytes);
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_base_stays_as_it_was() {
        let base = InMemoryBackend::new();
        base.set_len(3 * PAGE).unwrap();
        base.write(0, &[1; 3 * PAGE as usize]).unwrap();
        let overlay = Overlay::over(base).unwrap();
        overlay.write(PAGE - 2, &[2; 4]).unwrap();
        let mut out = [0; 8];
        overlay.read(PAGE - 4, &mut out).unwrap();
        assert_eq!(out, [1, 1, 2, 2, 2, 2, 1, 1]);
        overlay.set_len(2 * PAGE).unwrap();
        assert!(overlay.read(2 * PAGE, &mut out).is_err());
        overlay.set_len(4 * PAGE).unwrap();
        overlay.read(2 * PAGE, &mut out).unwrap();
        assert_eq!((out, overlay.len().unwrap()), ([0; 8], 4 * PAGE));
        let mut out = [0; 1];
        overlay.base.read(PAGE, &mut out).unwrap();
        assert_eq!(out, [1]);
    }
}

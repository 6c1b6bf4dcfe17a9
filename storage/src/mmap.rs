//! Memory maps of files: all the `unsafe` of this crate but one system call, in `disk::writeback`.
//!
//! What makes a map sound is the project's own rule that a finished file is never changed in place: it is replaced by
//! a rename, or removed. Both leave the mapped file itself alive on Linux until the last map of it is dropped, so a
//! map stays valid, with its old content, whatever happens to the name. What no program can guard against is another
//! one that breaks the rule: a file truncated under a map ends the process with SIGBUS when the lost part is touched.
//!
//! A file that still grows is read through a [`Window`], which lends no byte before it was declared final. [`Pieces`] are memory
//! of the process's own that comes to be readable piece by piece.
#![expect(unsafe_code, reason = "mapping a file is unsafe because other processes may write to it")]

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;
use std::sync::PoisonError;

use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How the caller means to read a range: a hint that changes speed, never a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// From front to back, once.
    Sequential,
    /// Here and there: reading ahead would be wasted.
    Random,
    /// All of it, soon: begin to read now.
    WillNeed,
    /// In pages of 2 MiB where the kernel can do that for files; elsewhere nothing.
    HugePage,
}

/// A whole file, readable as a byte slice that starts on a page boundary.
#[derive(Debug)]
pub struct Map {
    bytes: Mmap,
}

impl Map {
    /// Maps the file at `path`, which must be a regular file; an empty one gives an empty slice.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open_file(path)?;
        // SAFETY: what is mapped as a whole is finished: nearlab never writes or truncates it again (see the module header). A
        // segment that may grow is not, and is read through a `Window`.
        let bytes = unsafe { Mmap::map(&file) }?;
        Ok(Self { bytes })
    }

    /// Tells the kernel how the whole file will be read.
    pub fn advise(&self, advice: Advice) -> io::Result<()> {
        self.advise_range(0..self.len(), advice)
    }

    /// Tells the kernel how the bytes of `range` will be read. Panics when the range does not lie within the file.
    pub fn advise_range(&self, range: Range<usize>, advice: Advice) -> io::Result<()> {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "advice for bytes {range:?} of a file of {} bytes",
            self.len()
        );
        let outcome = self.bytes.advise_range(native(advice), range.start, range.len());
        // A kernel built without huge pages calls the advice invalid; the caller has lost nothing.
        if advice == Advice::HugePage { Ok(()) } else { outcome }
    }
}

/// Opens a file for reading, which must be a regular file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    // Asked of the path and not of the open file: to open a pipe is to wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    File::open(path)
}

/// Memory of the process's own, zeroed, that starts on a page boundary and lies in pages of 2 MiB where the kernel gives
/// them: what is read at random from many places is found with fewer page walks.
#[derive(Debug)]
pub struct HugePages {
    bytes: MmapMut,
}

impl HugePages {
    /// Reserves `len` bytes; the kernel provides each page when it is first touched.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let bytes = MmapMut::map_anon(len)?;
        // A kernel without huge pages refuses the advice; the memory is as good without.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(Self { bytes })
    }

    /// Lengthens the memory to `len` bytes, of which the new ones are zeros. It may move; where the kernel can move pages,
    /// nothing is copied. Panics when `len` is less than there is.
    pub fn grow(&mut self, len: usize) -> io::Result<()> {
        assert!(len >= self.len(), "{} bytes can not grow to {len}", self.len());
        #[cfg(target_os = "linux")]
        if !self.is_empty() {
            // SAFETY: anonymous memory has no file that could end before it does, and `&mut self` says that nobody holds
            // a reference into what may move.
            unsafe { self.bytes.remap(len, memmap2::RemapOptions::new().may_move(true)) }?;
            let _ = self.bytes.advise(memmap2::Advice::HugePage);
            return Ok(());
        }
        let mut grown = Self::zeroed(len)?;
        grown[..self.len()].copy_from_slice(self);
        *self = grown;
        Ok(())
    }

    /// Ends the writing.
    pub fn freeze(self) -> io::Result<Map> {
        Ok(Map { bytes: self.bytes.make_read_only()? })
    }
}

impl Deref for HugePages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for HugePages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A file that is written from front to back by somebody else, readable as far as it is final.
#[derive(Debug)]
pub struct Window {
    memory: MmapRaw,
    len: AtomicUsize,
}

impl Window {
    /// Maps the first `room` bytes of a file, of which the first `len` are there and final; the others may come later. `room` is
    /// not zero.
    pub fn open(file: &File, room: usize, len: usize) -> io::Result<Self> {
        assert!(len <= room, "{len} bytes of {room} can not be final");
        let found = file.metadata()?.len();
        if found < len as u64 {
            let message = format!("expected at least {len} bytes, found {found}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        let memory = MmapOptions::new().len(room).map_raw_read_only(file)?;
        Ok(Self { memory, len: AtomicUsize::new(len) })
    }

    /// Declares the first `len` bytes final: from now on nobody writes there. Panics when they do not fit.
    pub fn extend(&self, len: usize) {
        assert!(len <= self.memory.len(), "{len} bytes do not fit into a window of {}", self.memory.len());
        self.len.fetch_max(len, Ordering::Release);
    }

    /// Bytes that are final. Panics when the range goes beyond them.
    #[inline]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        let len = self.len.load(Ordering::Acquire);
        assert!(range.start <= range.end && range.end <= len, "bytes {range:?} of a window with {len}");
        // SAFETY: the range lies in the map, which lives as long as `self`, and its bytes were declared final, after which
        // nobody changes them (see the module header), not even a store that opens the file anew: it begins another segment
        // unless the file ends with the rows that it knows of.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(range.start), range.len()) }
    }

    /// How many bytes are final.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Locks under which pieces are filled: so many can be at once.
const FILLING: usize = 16;

/// Memory of the process's own that is filled piece by piece, each once, and lent from then on. What was not filled takes up
/// address space and no memory.
#[derive(Debug)]
pub struct Pieces {
    memory: MmapRaw,
    piece: usize,
    /// Which pieces are filled: nobody writes to them any more.
    full: Vec<AtomicBool>,
    /// Held while a piece is filled, by its number modulo their number.
    filling: [Mutex<()>; FILLING],
}

impl Pieces {
    /// Reserves `len` bytes in pieces of `piece` bytes, of which the last may be shorter. Neither is zero.
    pub fn reserve(len: usize, piece: usize) -> io::Result<Self> {
        assert!(len > 0 && piece > 0, "{len} bytes in pieces of {piece}");
        let memory = MmapOptions::new().len(len).no_reserve_swap().map_anon()?.into();
        let full = (0..len.div_ceil(piece)).map(|_| AtomicBool::new(false)).collect();
        Ok(Self { memory, piece, full, filling: [const { Mutex::new(()) }; FILLING] })
    }

    /// Lets `fill` write a piece, unless it is filled. Others that want to fill it wait; where `fill` fails it stays as good as
    /// unfilled. Panics when there is no such piece.
    pub fn fill<E>(&self, piece: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        let _filling = self.filling[piece % FILLING].lock().unwrap_or_else(PoisonError::into_inner);
        if self.full[piece].load(Ordering::Acquire) {
            return Ok(());
        }
        let start = piece * self.piece;
        let len = self.piece.min(self.memory.len() - start);
        // SAFETY: the piece is one of the map's, which lives as long as `self`. It is not full, so no byte of it was lent, and
        // its lock is held, so nobody else writes to it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().add(start), len) };
        fill(bytes)?;
        self.full[piece].store(true, Ordering::Release);
        Ok(())
    }

    /// Bytes that were filled. Panics when some of the range were not.
    #[inline]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start < range.end && range.end <= self.memory.len(), "bytes {range:?} of {}", self.memory.len());
        let pieces = &self.full[range.start / self.piece..=(range.end - 1) / self.piece];
        assert!(pieces.iter().all(|full| full.load(Ordering::Acquire)), "bytes {range:?} were not filled");
        // SAFETY: the range lies in the map, which lives as long as `self`, and in full pieces, to which nobody writes.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(range.start), range.len()) }
    }

    /// How many bytes are filled.
    pub fn filled(&self) -> usize {
        let full = self.full.iter().enumerate().filter(|(_, full)| full.load(Ordering::Acquire));
        full.map(|(piece, _)| self.piece.min(self.memory.len() - piece * self.piece)).sum()
    }
}

fn native(advice: Advice) -> memmap2::Advice {
    match advice {
        Advice::Sequential => memmap2::Advice::Sequential,
        Advice::Random => memmap2::Advice::Random,
        Advice::WillNeed => memmap2::Advice::WillNeed,
        #[cfg(target_os = "linux")]
        Advice::HugePage => memmap2::Advice::HugePage,
        #[cfg(not(target_os = "linux"))]
        Advice::HugePage => memmap2::Advice::Normal,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_map_is_the_file_and_takes_every_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(&path, vec![7; 10_000]).unwrap();
        let map = Map::open(&path).unwrap();
        assert_eq!(*map, [7; 10_000]);
        for advice in [Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::HugePage] {
            map.advise(advice).unwrap();
            map.advise_range(5000..9999, advice).unwrap();
            map.advise_range(10_000..10_000, advice).unwrap();
        }
    }

    #[test]
    fn memory_of_its_own_is_zeroed_writable_and_then_fixed() {
        let mut pages = HugePages::zeroed(3 << 20).unwrap();
        assert!(pages.iter().all(|&byte| byte == 0));
        pages[2_500_000] = 7;
        let map = pages.freeze().unwrap();
        assert_eq!((map.len(), map[2_500_000], map[2_500_001]), (3 << 20, 7, 0));
        assert!(HugePages::zeroed(0).unwrap().freeze().unwrap().is_empty());
    }

    #[test]
    fn memory_grows_with_its_content_and_zeros_after_it() {
        for len in [0, 1, 5000, 3 << 20] {
            let mut pages = HugePages::zeroed(len).unwrap();
            pages.fill(7);
            pages.grow(8 << 20).unwrap();
            assert_eq!(pages.len(), 8 << 20);
            assert!(pages[..len].iter().all(|&byte| byte == 7) && pages[len..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    #[should_panic(expected = "3 bytes can not grow to 2")]
    fn memory_does_not_shrink() {
        let _ = HugePages::zeroed(3).unwrap().grow(2);
    }

    #[test]
    fn a_window_lends_what_is_final_and_sees_what_is_written_later() {
        let file = tempfile::tempfile().unwrap();
        let window = Window::open(&file, 10_000, 0).unwrap();
        assert!(window.is_empty());
        std::os::unix::fs::FileExt::write_at(&file, b"abc", 4095).unwrap();
        window.extend(4098);
        window.extend(3);
        assert_eq!((window.bytes(4095..4098), window.len()), (&b"abc"[..], 4098));
        let cut = Window::open(&file, 10_000, 5000).unwrap_err();
        assert_eq!(cut.to_string(), "expected at least 5000 bytes, found 4098");
    }

    #[test]
    #[should_panic(expected = "bytes 2..4 of a window with 3")]
    fn a_window_does_not_lend_what_may_change() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        let _ = Window::open(&file, 10, 3).unwrap().bytes(2..4);
    }

    #[test]
    fn pieces_are_filled_once_each_and_lent_when_they_are() {
        let pieces = Pieces::reserve(10, 4).unwrap();
        let fill = |piece, byte| {
            pieces.fill(piece, |bytes| {
                bytes.fill(byte);
                if byte == 0 { Err("no") } else { Ok(()) }
            })
        };
        assert_eq!((fill(2, 0), pieces.filled()), (Err("no"), 0));
        std::thread::scope(|scope| {
            for byte in 1..4 {
                scope.spawn(move || (0..3).try_for_each(|piece| fill(piece, byte)).unwrap());
            }
        });
        assert_eq!((pieces.filled(), pieces.bytes(0..10).len()), (10, 10));
        assert!(pieces.bytes(0..10).chunks(4).all(|piece| piece.iter().all(|byte| *byte == piece[0])));
        assert_eq!((fill(2, 0), fill(1, 9), pieces.bytes(8..10)[0] != 0), (Ok(()), Ok(()), true));
    }

    #[test]
    #[should_panic(expected = "bytes 3..5 were not filled")]
    fn a_piece_is_not_lent_before_it_is_filled() {
        let pieces = Pieces::reserve(10, 4).unwrap();
        assert_eq!(pieces.fill(0, |_| Ok::<_, ()>(())), Ok(()));
        let _ = pieces.bytes(3..5);
    }

    #[test]
    fn an_empty_file_maps_to_an_empty_slice() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let map = Map::open(file.path()).unwrap();
        assert!(map.is_empty());
        map.advise(Advice::WillNeed).unwrap();
    }

    #[test]
    fn a_map_keeps_its_content_when_the_file_is_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.bin"), folder.path().join("b.bin"));
        fs::write(&path, b"old").unwrap();
        let old = Map::open(&path).unwrap();
        fs::write(&other, b"new").unwrap();
        fs::rename(&other, &path).unwrap();
        let new = Map::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!((&*old, &*new), (&b"old"[..], &b"new"[..]));
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Map::open(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Map::open(&folder.path().join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    #[should_panic(expected = "advice for bytes 2..4 of a file of 3 bytes")]
    fn advice_past_the_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(&path, b"old").unwrap();
        let _ = Map::open(&path).unwrap().advise_range(2..4, Advice::Random);
    }
}

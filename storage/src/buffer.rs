//! An array that was built in memory or lies in a mapped file: the parts of an index are made of these.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytemuck::Pod;

use crate::mmap::{HugePages, Map};

/// A `[T]` that owns its memory, or keeps a mapped file alive and points into it. Read it as a slice; take the slice
/// once outside a hot loop, since each dereference of a mapped one checks its bounds anew.
pub enum Buffer<T: Pod> {
    /// On the heap.
    Owned(Vec<T>),
    /// In memory of its own that can be written and lengthened.
    Writable(Resident<T>),
    /// The same, fixed.
    Resident(MappedSlice<T>),
    /// In a mapped file; see [`Container::buffer`](crate::Container::buffer).
    Mapped(MappedSlice<T>),
}

impl<T: Pod> Buffer<T> {
    /// Whether the elements lie in a mapped file rather than on the heap.
    pub fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }

    /// The same elements in memory of its own, in huge pages where the kernel gives them.
    pub fn into_resident(self) -> io::Result<Self> {
        match self {
            Self::Resident(_) => Ok(self),
            Self::Writable(elements) => elements.freeze(),
            Self::Owned(_) | Self::Mapped(_) => Resident::copied(&self)?.freeze(),
        }
    }

    /// The elements where they can be changed: copied there the first time, so that what else reads a mapped file keeps what
    /// it sees.
    pub fn to_mut(&mut self) -> io::Result<&mut Resident<T>> {
        if !matches!(self, Self::Writable(_)) {
            *self = Self::Writable(Resident::copied(self)?);
        }
        match self {
            Self::Writable(elements) => Ok(elements),
            _ => unreachable!("it was made writable above"),
        }
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(elements) => elements,
            Self::Writable(elements) => elements,
            Self::Resident(elements) | Self::Mapped(elements) => elements,
        }
    }
}

impl<T: Pod> From<Vec<T>> for Buffer<T> {
    fn from(elements: Vec<T>) -> Self {
        Self::Owned(elements)
    }
}

impl<T: Pod> Default for Buffer<T> {
    /// An empty one that owns nothing.
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl<T: Pod> fmt::Debug for Buffer<T> {
    /// Length and place only: the elements have no place in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self {
            Self::Owned(_) => "owned",
            Self::Writable(_) => "writable",
            Self::Resident(_) => "resident",
            Self::Mapped(_) => "mapped",
        };
        write!(f, "Buffer({} elements of {} bytes, {place})", self.len(), size_of::<T>())
    }
}

/// Elements that are still being written, in memory that starts on a page boundary and lies in huge pages where the kernel
/// gives them. Begins with zeros.
pub struct Resident<T> {
    pages: HugePages,
    /// Elements in use; the memory may have room for more.
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> Resident<T> {
    /// `len` zeros. Fails when the process may not have that much memory.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { pages: HugePages::zeroed(bytes)?, len, elements: PhantomData })
    }

    /// A copy of `elements`.
    pub fn copied(elements: &[T]) -> io::Result<Self> {
        let mut copy = Self::zeroed(elements.len())?;
        copy.copy_from_slice(elements);
        Ok(copy)
    }

    /// Adds zeros at the end until there are `len` elements; nothing where there are as many. The memory doubles when it has to
    /// grow, so that adding a little often costs little.
    pub fn grow(&mut self, len: usize) -> io::Result<()> {
        self.reserve(len)?;
        self.len = self.len.max(len);
        Ok(())
    }

    /// Makes room for `len` elements in all, so that growing to as many can not fail.
    pub fn reserve(&mut self, len: usize) -> io::Result<()> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        if bytes > self.pages.len() {
            self.pages.grow(bytes.max(2 * self.pages.len()))?;
        }
        Ok(())
    }

    /// Ends the writing.
    pub fn freeze(self) -> io::Result<Buffer<T>> {
        let bytes = self.len * size_of::<T>();
        Ok(Buffer::Resident(MappedSlice::new(Arc::new(self.pages.freeze()?), 0..bytes)))
    }
}

impl<T: Pod> Deref for Resident<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.pages[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> DerefMut for Resident<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.pages[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> fmt::Debug for Resident<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resident({} elements of {} bytes)", self.len(), size_of::<T>())
    }
}

/// Elements inside a mapped file, which stays mapped for as long as this lives.
pub struct MappedSlice<T> {
    map: Arc<Map>,
    bytes: Range<usize>,
    elements: PhantomData<T>,
}

impl<T: Pod> MappedSlice<T> {
    /// `bytes` must hold whole elements and begin at a multiple of their alignment: [`Container`](crate::Container)
    /// checks the one and the format guarantees the other.
    pub(crate) fn new(map: Arc<Map>, bytes: Range<usize>) -> Self {
        let slice = Self { map, bytes, elements: PhantomData };
        // Panics here, at the programmer's mistake, rather than at the first read.
        let _ = slice.len();
        slice
    }
}

impl<T: Pod> Deref for MappedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[self.bytes.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(bytes: &[u8]) -> Arc<Map> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        // The name goes with `file`; the map stays.
        Arc::new(Map::open(file.path()).unwrap())
    }

    #[test]
    fn owned_and_mapped_elements_read_the_same() {
        let owned = Buffer::from(vec![1u32, 2, 3]);
        let map = mapped(bytemuck::cast_slice(&[0u32, 1, 2, 3]));
        let lent = Buffer::Mapped(MappedSlice::<u32>::new(Arc::clone(&map), 4..16));
        drop(map);
        assert_eq!(*owned, *lent);
        assert_eq!((owned.is_mapped(), lent.is_mapped()), (false, true));
        assert_eq!(format!("{owned:?}"), "Buffer(3 elements of 4 bytes, owned)");
        assert_eq!(format!("{lent:?}"), "Buffer(3 elements of 4 bytes, mapped)");
        assert!(Buffer::<f32>::default().is_empty());
    }

    #[test]
    fn resident_elements_begin_as_zeros_on_a_page_and_are_then_fixed() {
        let mut resident = Resident::<u32>::zeroed(3).unwrap();
        resident[1] = 7;
        assert_eq!(format!("{resident:?}"), "Resident(3 elements of 4 bytes)");
        let frozen = resident.freeze().unwrap();
        assert_eq!((&*frozen, frozen.is_mapped(), frozen.as_ptr().addr() % 4096), (&[0, 7, 0][..], false, 0));
        assert_eq!(format!("{frozen:?}"), "Buffer(3 elements of 4 bytes, resident)");
        let copied = Buffer::from(vec![4_u32, 5]).into_resident().and_then(Buffer::into_resident).unwrap();
        assert_eq!(format!("{copied:?}"), "Buffer(2 elements of 4 bytes, resident)");
        assert!(Resident::copied(&[0_u8; 0]).unwrap().freeze().unwrap().is_empty());
        assert!(Resident::<u64>::zeroed(usize::MAX).is_err());
    }

    #[test]
    fn a_buffer_is_copied_once_to_be_changed_and_then_grows_in_place() {
        let map = mapped(bytemuck::cast_slice(&[1_u32, 2, 3]));
        let mut buffer = Buffer::Mapped(MappedSlice::<u32>::new(Arc::clone(&map), 0..12));
        buffer.to_mut().unwrap()[1] = 20;
        assert_eq!(bytemuck::cast_slice::<u8, u32>(&map), [1, 2, 3]);
        for len in 4..3000 {
            let elements = buffer.to_mut().unwrap();
            elements.grow(len).unwrap();
            assert_eq!(elements[len - 1], 0);
            elements[len - 1] = len as u32;
        }
        assert_eq!((&buffer[..5], buffer.len()), (&[1, 20, 3, 4, 5][..], 2999));
        assert!(format!("{buffer:?}").ends_with("writable)"));
        buffer.to_mut().unwrap().grow(10).unwrap();
        assert!(buffer.to_mut().unwrap().grow(usize::MAX).is_err());
        let fixed = buffer.into_resident().unwrap();
        assert_eq!((fixed.len(), fixed[2998]), (2999, 2999));
    }

    #[test]
    fn a_buffer_goes_from_thread_to_thread() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Buffer<f32>>();
        let lent = Buffer::Mapped(MappedSlice::<u8>::new(mapped(b"abc"), 1..3));
        std::thread::spawn(move || assert_eq!(*lent, *b"bc")).join().unwrap();
    }

    #[test]
    #[should_panic(expected = "range end index 4")]
    fn a_slice_past_the_end_of_the_file_is_refused_when_it_is_made() {
        let _ = MappedSlice::<u8>::new(mapped(b"abc"), 1..4);
    }
}

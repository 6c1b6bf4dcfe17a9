//! Opening a container: map it, check it once, then lend its sections as the arrays they are.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::Pod;
use xxhash_rust::xxh3::xxh3_64;

use super::layout::{Header, Section};
use super::{FileKind, SectionId};
use crate::buffer::MappedSlice;
use crate::mmap::{Advice, Map};
use crate::{Buffer, OpenError, Place, Vectors};

/// How much of a file is checked when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// The header page with its table, the file's length, and that each section lies inside: reads one page.
    Header,
    /// All of that, and every section against its checksum: reads the whole file.
    Sections,
}

/// An open container. It is the old file for as long as it lives, even when its name is removed or given to another
/// (see [`crate::mmap`]).
#[derive(Debug)]
pub struct Container {
    path: PathBuf,
    map: Arc<Map>,
    header: Header,
}

impl Container {
    /// Maps the file at `path`, which must be of this kind and one of these versions of the kind's format, and checks
    /// as much of it as `verify` says.
    pub fn open(
        path: impl Into<PathBuf>,
        kind: FileKind,
        supported_versions: RangeInclusive<u32>,
        verify: Verify,
    ) -> Result<Self, OpenError> {
        let path = path.into();
        let map = match Map::open(&path) {
            Ok(map) => Arc::new(map),
            Err(cause) => return Err(OpenError::Io { path, cause }),
        };
        let header = Header::decode(&map, &path, kind, &supported_versions)?;
        let container = Self { path, map, header };
        if verify == Verify::Sections {
            container.verify()?;
        }
        Ok(container)
    }

    /// The path it was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's kind: the one it was opened as.
    pub fn kind(&self) -> FileKind {
        self.header.kind
    }

    /// The file's version of its kind's format: one of those it was opened with.
    pub fn version(&self) -> u32 {
        self.header.format_version
    }

    /// The length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.header.file_len
    }

    /// The section table, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.header.sections
    }

    /// Whether there is a section of this name.
    pub fn contains(&self, id: SectionId) -> bool {
        self.sections().iter().any(|section| section.id == id)
    }

    /// Where the section lies: its first byte counted from the start of the file, and its length in bytes.
    pub fn offset_of(&self, id: SectionId) -> Result<(u64, u64), OpenError> {
        self.find(id).map(|section| (section.offset, section.len))
    }

    /// The section's bytes.
    pub fn bytes(&self, id: SectionId) -> Result<&[u8], OpenError> {
        Ok(&self.map[range_of(self.find(id)?)])
    }

    /// The error of a section in which its reader found something else than it expected.
    pub fn corrupt(&self, id: SectionId, expected: &str, found: &dyn Display) -> OpenError {
        let offset = self.find(id).map_or(0, |section| section.offset);
        self.damaged((offset, Place::Section(id)), expected.to_owned(), found.to_string())
    }

    /// The section as an array of `T`, where it lies. An error when its length is not a multiple of `T`'s.
    pub fn view<T: Pod>(&self, id: SectionId) -> Result<&[T], OpenError> {
        let bytes = &self.map[self.elements::<T>(id)?];
        Ok(bytemuck::cast_slice(bytes))
    }

    /// The section as `rows` vectors of `dim` components, where it lies. An error when it holds any other number of
    /// components, or when `dim` is zero, so that both may come from the file itself.
    pub fn vectors<T: Pod>(&self, id: SectionId, rows: usize, dim: usize) -> Result<Vectors<'_, T>, OpenError> {
        let components = self.view::<T>(id)?;
        if dim > 0 && rows.checked_mul(dim) == Some(components.len()) {
            return Ok(Vectors::new(components, dim));
        }
        let expected = format!("{rows} vectors of {dim} components of {} bytes", size_of::<T>());
        Err(self.unfitting(id, expected, size_of_val(components) as u64))
    }

    /// The section as an array of `T` that keeps the map alive by itself, without a copy.
    pub fn buffer<T: Pod>(&self, id: SectionId) -> Result<Buffer<T>, OpenError> {
        let range = self.elements::<T>(id)?;
        Ok(Buffer::Mapped(MappedSlice::new(Arc::clone(&self.map), range)))
    }

    /// As [`buffer`](Container::buffer), and an error when the section has not exactly `len` elements.
    pub fn buffer_of<T: Pod>(&self, id: SectionId, len: usize) -> Result<Buffer<T>, OpenError> {
        let buffer = self.buffer::<T>(id)?;
        if buffer.len() == len {
            return Ok(buffer);
        }
        let expected = format!("{len} elements of {} bytes", size_of::<T>());
        Err(self.unfitting(id, expected, size_of_val(&*buffer) as u64))
    }

    /// Tells the kernel how the section will be read: a hint that changes speed, never a result.
    pub fn advise(&self, id: SectionId, advice: Advice) -> Result<(), OpenError> {
        let range = range_of(self.find(id)?);
        let outcome = self.map.advise_range(range, advice);
        outcome.map_err(|cause| OpenError::Io { path: self.path.clone(), cause })
    }

    /// Checks every section against its checksum, and that what lies between sections is zero.
    pub fn verify(&self) -> Result<(), OpenError> {
        for section in self.sections() {
            let range = range_of(section);
            let found = xxh3_64(&self.map[range.clone()]);
            if found != section.checksum {
                let expected = format!("checksum {:016x}", section.checksum);
                let place = Place::Section(section.id);
                return Err(self.damaged((section.offset, place), expected, format!("{found:016x}")));
            }
            let padding = &self.map[range.end..range.end.next_multiple_of(super::layout::PAGE as usize)];
            if let Some(at) = padding.iter().position(|&byte| byte != 0) {
                let (offset, place) = ((range.end + at) as u64, Place::Padding(section.id));
                let found = format!("{:#04x}", padding[at]);
                return Err(self.damaged((offset, place), "only zero bytes".to_owned(), found));
            }
        }
        Ok(())
    }

    fn find(&self, id: SectionId) -> Result<&Section, OpenError> {
        self.sections().iter().find(|section| section.id == id).ok_or_else(|| OpenError::MissingSection {
            path: self.path.clone(),
            section: id,
            found: self.sections().iter().map(|section| section.id).collect(),
        })
    }

    /// The bytes of the section, after the check that they are whole elements. Their alignment needs none: a section
    /// begins on a page of the file, and so of the map.
    fn elements<T: Pod>(&self, id: SectionId) -> Result<Range<usize>, OpenError> {
        const { assert!(size_of::<T>() > 0, "a section is read as elements that take up room") }
        let range = range_of(self.find(id)?);
        if range.len().is_multiple_of(size_of::<T>()) {
            return Ok(range);
        }
        Err(self.unfitting(id, format!("a multiple of {} bytes", size_of::<T>()), range.len() as u64))
    }

    fn unfitting(&self, section: SectionId, expected: String, found: u64) -> OpenError {
        OpenError::SectionShape { path: self.path.clone(), section, expected, found }
    }

    fn damaged(&self, (offset, place): (u64, Place), expected: String, found: String) -> OpenError {
        OpenError::Corrupt { path: self.path.clone(), offset, place, expected, found }
    }
}

/// The section's bytes within the map. The header's check has shown that they lie inside the file, hence inside memory.
fn range_of(section: &Section) -> Range<usize> {
    section.offset as usize..(section.offset + section.len) as usize
}

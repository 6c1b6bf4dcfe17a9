//! Building a container: sections one after another, then the header, then the name.
//!
//! Section bytes are hashed on their way to the file and never gathered, so a section may be larger than memory.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use xxhash_rust::xxh3::Xxh3Default;

use super::layout::{Header, MAX_SECTIONS, PAGE, Section};
use super::{FileKind, SectionId};
use crate::{AtomicFile, WriteError};

/// A container in the making. It exists under its name only after [`finish`](ContainerWriter::finish); dropping it
/// before leaves nothing, and an older file of that name stays.
#[derive(Debug)]
pub struct ContainerWriter<W = AtomicFile> {
    file: W,
    target: PathBuf,
    header: Header,
    unfinished: Option<SectionId>,
}

impl ContainerWriter {
    /// Begins a container of this kind, in version `format_version` of the kind's own format, that will be called
    /// `path`. The folder must exist.
    pub fn create(path: impl Into<PathBuf>, kind: FileKind, format_version: u32) -> Result<Self, WriteError> {
        let file = AtomicFile::create(path)?;
        Self::over(file.target().to_owned(), file, kind, format_version)
    }

    /// Writes the header, makes everything durable and gives the file its name.
    pub fn finish(self) -> Result<(), WriteError> {
        self.complete()?.commit()
    }
}

impl<W: Write + Seek> ContainerWriter<W> {
    /// Begins a container in `file`, which is empty; messages call it `target`.
    pub(crate) fn over(target: PathBuf, mut file: W, kind: FileKind, format_version: u32) -> Result<Self, WriteError> {
        let header = Header { kind, format_version, file_len: PAGE, sections: Vec::new() };
        // Room for the header, which is written last.
        let outcome = file.write_all(&[0; PAGE as usize]);
        outcome.map_err(|cause| WriteError::from_io(&target, cause))?;
        Ok(Self { file, target, header, unfinished: None })
    }

    /// The name the file will have.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Writes a whole section: the elements as they are in memory, which may be none.
    ///
    /// Panics like [`begin`](ContainerWriter::begin).
    pub fn section<T: Pod>(&mut self, id: SectionId, elements: &[T]) -> Result<(), WriteError> {
        let mut section = self.begin(id)?;
        section.put(elements)?;
        section.finish()
    }

    /// Begins a section whose bytes come piece by piece, and ends with [`SectionWriter::finish`].
    ///
    /// Panics when the file already has a section of this name or has [`MAX_SECTIONS`].
    pub fn begin(&mut self, id: SectionId) -> Result<SectionWriter<'_, W>, WriteError> {
        self.check_finished()?;
        let sections = &self.header.sections;
        assert!(sections.len() < MAX_SECTIONS, "a container has at most {MAX_SECTIONS} sections");
        assert!(sections.iter().all(|section| section.id != id), "section `{id}` is written twice");
        self.unfinished = Some(id);
        let section = Section { id, offset: self.header.file_len, len: 0, checksum: 0 };
        Ok(SectionWriter { container: self, section, hash: Xxh3Default::new() })
    }

    /// Writes the header; the file is then complete, but not durable.
    pub(crate) fn complete(mut self) -> Result<W, WriteError> {
        self.check_finished()?;
        let page = self.header.encode();
        let outcome = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&page));
        outcome.and_then(|()| self.file.flush()).map_err(|cause| WriteError::from_io(&self.target, cause))?;
        Ok(self.file)
    }

    fn check_finished(&self) -> Result<(), WriteError> {
        match self.unfinished {
            Some(section) => Err(WriteError::Unfinished { path: self.target.clone(), section }),
            None => Ok(()),
        }
    }
}

/// One section in the making: a [`Write`] that hashes what passes. Dropping it without
/// [`finish`](SectionWriter::finish) spoils the whole container, since there is no way back in a stream.
///
/// Writes are gathered in a buffer of the file, so it need not be wrapped in another. An error of [`Write`] names the
/// final file and keeps its [`io::ErrorKind`].
#[must_use = "a section that is dropped without `finish` spoils its container"]
pub struct SectionWriter<'a, W = AtomicFile> {
    container: &'a mut ContainerWriter<W>,
    section: Section,
    hash: Xxh3Default,
}

impl<W: Write + Seek> SectionWriter<'_, W> {
    /// Appends elements as they are in memory.
    pub fn put<T: Pod>(&mut self, elements: &[T]) -> Result<(), WriteError> {
        let outcome = self.write_all(bytemuck::cast_slice(elements));
        outcome.map_err(|cause| WriteError::from_io(self.container.path(), cause))
    }

    /// The number of bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.section.len
    }

    /// Ends the section.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.section.checksum = self.hash.digest();
        let end = self.section.offset + self.section.len;
        let next = end.next_multiple_of(PAGE);
        let padding = &[0; PAGE as usize][..(next - end) as usize];
        let outcome = self.container.file.write_all(padding);
        outcome.map_err(|cause| WriteError::from_io(self.container.path(), cause))?;
        self.container.header.sections.push(self.section);
        self.container.header.file_len = next;
        self.container.unfinished = None;
        Ok(())
    }
}

impl<W: Write> Write for SectionWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.container.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.section.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.container.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KIND: FileKind = FileKind::new("test");
    const A: SectionId = SectionId::new("a");
    const B: SectionId = SectionId::new("b");

    #[test]
    fn a_full_disk_is_an_error_with_the_path_wherever_it_strikes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nearlab");
        let create = || ContainerWriter::over(path.clone(), AtomicFile::on_a_full_disk(&path), KIND, 1).unwrap();
        let large = vec![1u8; 1 << 20];

        let in_a_section = create().section(A, &large).unwrap_err();
        let in_a_stream = {
            let mut writer = create();
            let mut section = writer.begin(A).unwrap();
            let cause = section.write_all(&large).unwrap_err();
            assert_eq!(cause.kind(), io::ErrorKind::StorageFull);
            WriteError::from_io(Path::new("not this one"), cause)
        };
        let in_a_flush = {
            let mut writer = create();
            let mut section = writer.begin(A).unwrap();
            section.put(&[1u8]).unwrap();
            WriteError::from_io(Path::new("not this one"), section.flush().unwrap_err())
        };
        let in_the_padding = {
            let mut writer = create();
            // Each of these sections adds a page to the buffer, nearly all of it padding, until that is full.
            let ids = (0..MAX_SECTIONS).map(|i| SectionId::new(&i.to_string()));
            ids.map(|id| writer.section(id, &[1u8])).find_map(Result::err).unwrap()
        };
        let in_the_header = create().finish().unwrap_err();

        for error in [in_a_section, in_a_stream, in_a_flush, in_the_padding, in_the_header] {
            assert!(error.is_disk_full(), "{error:?}");
            assert!(error.to_string().starts_with(&format!("cannot write {}: ", path.display())), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_section_without_its_end_spoils_the_container() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nearlab");
        let mut writer = ContainerWriter::create(&path, KIND, 1).unwrap();
        writer.begin(A).unwrap().put(&[1u32]).unwrap();
        let message = format!("cannot write {}: section `a` was begun but not finished", path.display());
        assert_eq!(writer.section(B, &[1u32]).unwrap_err().to_string(), message);
        assert_eq!(writer.finish().unwrap_err().to_string(), message);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    #[should_panic(expected = "section `a` is written twice")]
    fn a_name_is_used_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ContainerWriter::create(folder.path().join("a.nearlab"), KIND, 1).unwrap();
        writer.section(A, &[1u8]).unwrap();
        let _ = writer.section(A, &[1u8]);
    }

    #[test]
    #[should_panic(expected = "at most 125 sections")]
    fn the_table_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ContainerWriter::create(folder.path().join("a.nearlab"), KIND, 1).unwrap();
        for i in 0..=MAX_SECTIONS {
            writer.section::<u8>(SectionId::new(&i.to_string()), &[]).unwrap();
        }
    }
}

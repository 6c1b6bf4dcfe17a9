//! A file of a disk, written from front to back.

use std::io::{self, Seek, SeekFrom, Write};

use super::DiskFile;

/// A [`Write`] and [`Seek`] over a file.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) file: Box<dyn DiskFile>,
    position: u64,
}

impl Stream {
    pub(crate) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, position: 0 }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(self.position, bytes)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (origin, by) = match to {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::Current(by) => (self.position, by),
            SeekFrom::End(by) => (self.file.len()?, by),
        };
        self.position = origin.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

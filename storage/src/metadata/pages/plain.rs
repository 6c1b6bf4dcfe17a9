//! A file of version 1: the database's own, without checksums that are compared.

use std::io;

use redb::StorageBackend;

use crate::disk::DiskFile;

/// A file as it is.
#[derive(Debug)]
pub(in super::super) struct Plain(pub(in super::super) Box<dyn DiskFile>);

impl StorageBackend for Plain {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(offset, data)
    }
}

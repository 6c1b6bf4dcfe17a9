//! A file of version 1: the database's own, without checksums that are compared.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use super::refusal;
use crate::disk::DiskFile;

/// A file as it is.
#[derive(Debug)]
pub(in super::super) struct Plain {
    file: Box<dyn DiskFile>,
    given_up: GivenUp,
}

/// Whether the owner of a file wants nothing more to be written.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Lets every later write and sync fail: what is not durable now never will be.
    pub(in super::super) fn give_up(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Plain {
    pub(in super::super) fn over(file: Box<dyn DiskFile>, given_up: &GivenUp) -> Self {
        Self { file, given_up: given_up.clone() }
    }

    fn may_write(&self) -> io::Result<()> {
        if self.given_up.0.load(Ordering::Acquire) { Err(refusal()) } else { Ok(()) }
    }
}

impl StorageBackend for Plain {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.may_write()?;
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.may_write()?;
        self.file.write_all_at(offset, data)
    }
}

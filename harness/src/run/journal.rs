//! Records, as they are written: to disk first, then to whoever watches.

use std::path::Path;

use nearlab_reports::{
    record::Event,
    records::{WriteError, Writer},
};

use crate::progress::Display;

/// The run's records, open for appending; holds the run's lock.
pub(crate) struct Journal<'a> {
    writer: Writer,
    display: &'a Display,
}

impl<'a> Journal<'a> {
    /// Opens `path`; fails when another session has it.
    pub(crate) fn open(path: &Path, display: &'a Display) -> Result<Self, WriteError> {
        Ok(Self { writer: Writer::open(path)?, display })
    }

    /// Appends one event.
    pub(crate) fn record(&mut self, event: &Event) -> Result<(), WriteError> {
        self.writer.append(event.clone())?;
        self.display.record(event);
        Ok(())
    }
}

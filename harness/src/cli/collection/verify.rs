//! `nearlab collection verify`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use nearlab_index::collection::Collection;

use super::records;
use crate::cli::{NOT_HELD, OK, say_line};

/// Check a collection: rows and index against their checksums, and that all parts hold the same records.
///
/// Exit status: 0 all is as it should be, 1 something is damaged (a line for each), 2 the collection could not be opened.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let collection = Collection::open_read_only(&arguments.folder)?;
    let damage = collection.verify()?;
    for found in &damage {
        say_line(&found.0)?;
    }
    if damage.is_empty() {
        say_line(format_args!("{}: ok, {}", arguments.folder.display(), records(collection.len())))?;
    }
    Ok(if damage.is_empty() { OK } else { NOT_HELD })
}

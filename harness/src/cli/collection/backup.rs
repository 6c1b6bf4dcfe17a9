//! `nearlab collection backup`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::records;
use crate::cli::{OK, say_line};

/// Copy a collection as it is now, durably. The copy is a collection of its own.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
    /// The folder of the copy; empty or missing.
    to: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let collection = super::open(&arguments.folder, None)?;
    collection.backup(&arguments.to)?;
    say_line(format_args!("{}: {} copied", arguments.to.display(), records(collection.len())))?;
    Ok(OK)
}

//! `nearlab collection optimize`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{Shown, records};
use crate::{
    cli::{OK, say_line},
    progress::Display,
};

/// Bring the index up to date, save it, and give back the room of what was deleted.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
    /// Threads that work on the index [default: as many as the machine runs at once].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) fn run(arguments: &Arguments, display: &Display) -> Result<u8> {
    let folder = arguments.folder.display();
    let collection = super::open(&arguments.folder, arguments.threads)?;
    display.begin(&folder.to_string());
    collection.optimize(&Shown(display))?;
    display.end(&format!("{folder}: optimized"));
    let stats = collection.stats();
    say_line(format_args!("{folder}: {}, {} unindexed", records(stats.records), stats.unindexed))?;
    Ok(OK)
}

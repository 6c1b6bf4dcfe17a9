//! `nearlab collection delete`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgGroup, Args};
use nearlab_reports::format;
use nearlab_storage::store::Durability;

use super::{filter, ids::OwnedIds, records};
use crate::cli::{OK, say_line};

/// Take records out: those with some ids, or all of which a filter is true. One change, synced.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["id", "filter"]).required(true))]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
    /// The id of a record; may be given many times. One that is not there is no error.
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// All records of which this is true; `nearlab collection search --help` shows what a filter can say.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let collection = super::open(&arguments.folder, None)?;
    let ids = match &arguments.filter {
        Some(text) => {
            let filter = filter(collection.config(), &arguments.folder, text)?;
            collection.matching(&filter)?.into_iter().collect()
        }
        None => OwnedIds::read(collection.config().ids, &arguments.id)?,
    };
    let before = collection.len();
    ids.lend(0..ids.len(), |ids| collection.delete(ids, Durability::Sync))?;
    let deleted = before - collection.len();
    let missing = match ids.len() - deleted {
        0 => String::new(),
        missing => format!("; {} not there", format::plural(missing as u64, "id was", "ids were")),
    };
    let (deleted, left) = (records(deleted), format::count(collection.len() as u64));
    say_line(format_args!("{}: {deleted} deleted, {left} left{missing}", arguments.folder.display()))?;
    Ok(OK)
}

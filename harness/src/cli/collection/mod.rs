//! `nearlab collection`: one file per subcommand.

mod backup;
mod create;
mod delete;
mod ids;
mod load;
mod optimize;
mod pack;
mod search;
mod stats;
mod verify;

use std::{num::NonZero, path::Path, thread};

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use nearlab_index::{
    Stage,
    collection::{Collection, CollectionConfig, CollectionError},
};
use nearlab_reports::format;
use nearlab_storage::metadata::Filter;

use crate::progress::{Display, Style};

/// Collections: vectors and what is known of them in one folder, changed and searched together.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Show no progress.
    #[arg(long, global = true)]
    quiet: bool,
}

const AFTER_HELP: &str = "\
One process changes a collection at a time. One that is killed leaves whole changes; the next command that changes the
collection (`optimize` will do) puts it in order.
Start with:  nearlab collection create shop --dim 128 --metric l2";

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Arguments),
    Load(load::Arguments),
    Search(search::Arguments),
    Delete(delete::Arguments),
    Optimize(optimize::Arguments),
    Pack(pack::Arguments),
    Stats(stats::Arguments),
    Verify(verify::Arguments),
    Backup(backup::Arguments),
}

pub(super) fn run(arguments: Arguments) -> Result<u8> {
    let display = Display::new(Style::choose(arguments.quiet, false));
    match arguments.command {
        Command::Create(arguments) => create::run(&arguments),
        Command::Load(arguments) => load::run(&arguments, &display),
        Command::Search(arguments) => search::run(&arguments),
        Command::Delete(arguments) => delete::run(&arguments),
        Command::Optimize(arguments) => optimize::run(&arguments, &display),
        Command::Pack(arguments) => pack::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
    }
}

/// What an index says of a build, shown.
struct Shown<'a>(&'a Display);

impl nearlab_index::Progress for Shown<'_> {
    fn report(&self, stage: Stage, done: u64, total: u64) {
        self.0.step(stage.name(), done, total);
    }
}

/// Opens a collection for changes; on as many threads as the machine runs at once, if none are asked for.
fn open(folder: &Path, threads: Option<usize>) -> Result<Collection, CollectionError> {
    let all = || thread::available_parallelism().map_or(1, NonZero::get);
    Collection::open(folder, threads.unwrap_or_else(all))
}

/// Reads the filter of a command line.
fn filter(config: &CollectionConfig, folder: &Path, text: &str) -> Result<Filter> {
    let schema = config.schema.as_ref().ok_or_else(|| no_fields(folder, "--filter"))?;
    Filter::parse(schema, text).map_err(|error| anyhow!("--filter: {error}"))
}

/// A number of records, for people.
fn records(count: usize) -> String {
    format::plural(count as u64, "record", "records")
}

fn no_fields(folder: &Path, argument: &str) -> anyhow::Error {
    anyhow!("{argument}: expected a collection with fields, found {} made without --schema", folder.display())
}

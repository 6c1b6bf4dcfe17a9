//! `nearlab collection load`.

mod documents;
mod input;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use nearlab_index::{
    BuildError,
    collection::{Collection, CollectionError, Records},
};
use nearlab_reports::format;
use nearlab_storage::{Vectors, store};

use super::{Shown, records};
use crate::{
    cli::{OK, say_line},
    progress::Display,
};
use input::Input;

/// Put the base vectors of a file into a collection, in place of any with the same ids.
///
/// Read: hdf5 fvecs ivecs bvecs fbin u8bin i8bin f16bin npy parquet, chosen by extension. Each batch is one change: it is there
/// as a whole or not at all. What ends the command early leaves the batches before.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
    /// The file with the vectors.
    vectors: PathBuf,
    /// Documents, a JSON object on each line, one line for each vector.
    #[arg(long, value_name = "FILE.jsonl")]
    metadata: Option<PathBuf>,
    /// Ids, one on each line, one line for each vector; without it they are counted from --first-id on.
    #[arg(long, value_name = "FILE", conflicts_with = "first_id")]
    ids: Option<PathBuf>,
    /// The id of the first vector, where they are counted.
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_id: u64,
    /// Only the first so many vectors.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Vectors in one change; rounded up to what the file decodes at once.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// What a batch outlives once it is acknowledged; everything is synced in the end.
    #[arg(long, value_enum, default_value_t = Durability::Flush)]
    durability: Durability,
    /// Threads that change the index [default: as many as the machine runs at once].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Do not optimize in the end: what the index learned is not saved.
    #[arg(long)]
    no_optimize: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Durability {
    /// Nothing before a later change is flushed or synced.
    None,
    /// The end of the process.
    Flush,
    /// A power cut.
    Sync,
}

pub(super) fn run(arguments: &Arguments, display: &Display) -> Result<u8> {
    let collection = super::open(&arguments.folder, arguments.threads)?;
    let mut input = Input::open(arguments, collection.config())?;
    let folder = arguments.folder.display();
    let start = Instant::now();
    display.begin(&folder.to_string());
    put(&collection, &mut input, arguments, display)?;
    collection.sync()?;
    let (rows, seconds) = (input.rows, start.elapsed().as_secs_f64());
    let rate = rows as f64 / seconds.max(f64::MIN_POSITIVE);
    let took = format!("in {}, {} records/s", format::seconds(seconds), format::count(rate as u64));
    display.note(&format!("{folder}: loaded {took}"));
    if !arguments.no_optimize {
        let start = Instant::now();
        collection.optimize(&Shown(display))?;
        display.note(&format!("{folder}: optimized in {}", format::seconds(start.elapsed().as_secs_f64())));
    }
    display.end(&format!("{folder}: done"));
    say_line(format_args!("{folder}: {} loaded {took}; {} in all", records(rows), records(collection.len())))?;
    Ok(OK)
}

/// Puts everything, batch by batch.
fn put(collection: &Collection, input: &mut Input, arguments: &Arguments, display: &Display) -> Result<()> {
    let durability = match arguments.durability {
        Durability::None => store::Durability::None,
        Durability::Flush => store::Durability::Flush,
        Durability::Sync => store::Durability::Sync,
    };
    let (rows, step) = (input.rows, input.step);
    for first in (0..rows).step_by(step) {
        display.step("load", first as u64, rows as u64);
        let some = first..rows.min(first + step);
        let outcome = input.batch(some.clone()).and_then(|(vectors, documents)| {
            let vectors = Vectors::new(&vectors, collection.config().dim);
            let documents = &documents[..];
            let put = input.ids.lend(some, |ids| {
                let records = Records { ids, vectors, documents };
                // What is optimised at the end takes everything in at once.
                if arguments.no_optimize {
                    collection.upsert(&records, durability)
                } else {
                    collection.load(&records, durability)
                }
            });
            put.map(drop).map_err(|error| placed(error, &arguments.vectors, first))
        });
        outcome.map_err(|error| match first {
            0 => error,
            _ => anyhow!("{error:#}\nthe first {first} of {rows} vectors were loaded before"),
        })?;
    }
    display.step("load", rows as u64, rows as u64);
    Ok(())
}

/// What a batch was refused for, with the file and the rows counted in all of it.
fn placed(error: CollectionError, path: &Path, first: usize) -> anyhow::Error {
    let path = path.display();
    match error {
        CollectionError::NotU8 { row, column, value } => {
            anyhow!("{path}: {}", CollectionError::NotU8 { row: first + row, column, value })
        }
        CollectionError::NotF16 { row, column, value } => {
            anyhow!("{path}: {}", CollectionError::NotF16 { row: first + row, column, value })
        }
        CollectionError::Build(BuildError::TooLong { row, expected, found }) => {
            anyhow!("{path}: {}", BuildError::TooLong { row: first + row, expected, found })
        }
        error => error.into(),
    }
}

//! `nearlab collection pack`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use nearlab_reports::format;
use nearlab_storage::store::{Codec, PackOptions, Packed};

use crate::cli::{OK, say_line};

/// Compress the vectors, without loss: for those that are seldom read.
///
/// Answers from the index's codes (search --no-exact) read none. What is read is unpacked, and stays in memory as long as the process.
/// Whole numbers shrink to a quarter, embeddings by a seventh.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
    /// The library that compresses.
    #[arg(long, value_enum, default_value_t = Library::Zstd)]
    codec: Library,
    /// zstd: from 1, fast, to 19, thorough.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Library {
    Lz4,
    Zstd,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let collection = super::open(&arguments.folder, None)?;
    let codec = match arguments.codec {
        Library::Lz4 => Codec::Lz4,
        Library::Zstd => Codec::Zstd { level: arguments.level },
    };
    let Packed { rows, row_bytes, packed_bytes, .. } =
        collection.pack(&PackOptions { codec, growing: true, ..PackOptions::default() })?;
    let folder = arguments.folder.display();
    if rows == 0 {
        say_line(format_args!("{folder}: nothing to pack"))?;
        return Ok(OK);
    }
    let (before, after) = (format::bytes(row_bytes as f64), format::bytes(packed_bytes as f64));
    say_line(format_args!("{folder}: {} packed, {before} to {after}", format::plural(rows, "vector", "vectors")))?;
    Ok(OK)
}

//! `nearlab export`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{OK, say_line};
use crate::export;

/// Write a run's results in another program's format.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the run.
    run: PathBuf,
    /// Write ann-benchmarks result files (HDF5) below this folder: its `results`.
    #[arg(long, value_name = "DIR")]
    ann_benchmarks: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let paths = export::ann_benchmarks(&arguments.run, &arguments.ann_benchmarks)?;
    say_line(format_args!("{} files below {}", paths.len(), arguments.ann_benchmarks.display()))?;
    Ok(OK)
}

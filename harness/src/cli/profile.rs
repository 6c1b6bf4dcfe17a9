//! `nearlab profile`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::run::{conclude, go, load, reproduce};
use crate::{
    progress::{Display, Style},
    run::{Options, Work},
    spec::Question,
};

/// Take CPU and heap profiles of an experiment's indexes: flame graphs, pprof files, dhat files. Nothing is timed.
///
/// The profiles go to the experiment's newest run (or to a new one) and into its report. What to take is the
/// experiment's `profile`; without it both kinds are taken.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The experiment, a YAML file.
    file: PathBuf,
    /// Only this index.
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// Folder that runs go to.
    #[arg(long, value_name = "RUNS", default_value = "runs")]
    out: PathBuf,
    /// Write no report.
    #[arg(long)]
    no_report: bool,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<u8> {
    let Question::Indexes(spec) = load(&arguments.file)? else {
        bail!("{}: profiles are taken of indexes, and this experiment asks about stores", arguments.file.display());
    };
    if let Some(name) = &arguments.index
        && !spec.indexes.iter().any(|index| index.name == *name)
    {
        let names: Vec<&str> = spec.indexes.iter().map(|index| index.name.as_str()).collect();
        bail!("{}: there is no index `{name}`; it has: {}", arguments.file.display(), names.join(", "));
    }
    let display = Display::new(Style::choose(arguments.quiet, false));
    let options = Options {
        command: reproduce(&arguments.file),
        runs: arguments.out,
        new: false,
        retry_failed: false,
        report: !arguments.no_report,
        work: Work::Profile { index: arguments.index },
    };
    let conclusion = go(&spec, &options, &display)?;
    conclude(&conclusion, &display, (&options, arguments.file.as_path()))
}

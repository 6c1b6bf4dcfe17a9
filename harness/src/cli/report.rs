//! `nearlab report`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use nearlab_reports::{run::RunData, summary::Summary, table::Table};

use super::{OK, say, say_line};
use crate::run;

/// Render the report of one run, or of several together.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folders of runs.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Folder for the report; for a single run its own `report` folder unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let runs = arguments.runs.iter().map(|folder| RunData::load(folder)).collect::<Result<Vec<_>, _>>()?;
    let out = match (&arguments.out, arguments.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) => run.join("report"),
        (None, _) => bail!("a report of several runs needs --out DIR"),
    };
    if arguments.out.is_none() {
        Table::of(&runs).write(&arguments.runs[0])?;
    }
    let report = run::render(&runs, &out)?;
    say(Summary::of(&runs).to_text())?;
    say_line(format_args!("\nreport: {}", report.display()))?;
    Ok(OK)
}

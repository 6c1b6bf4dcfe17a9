//! `nearlab compare`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use nearlab_reports::{compare, run::RunData, storage::is_storage};

use super::{OK, say};

/// Say what got better or worse from one run to another, and with what confidence.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the run before.
    a: PathBuf,
    /// Folder of the run after.
    b: PathBuf,
    /// Relative change that is put down to the machine's mood.
    #[arg(long, default_value_t = compare::Options::default().floor)]
    floor: f64,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let (a, b) = (RunData::load(&arguments.a)?, RunData::load(&arguments.b)?);
    if is_storage(&[a.clone(), b.clone()]) {
        bail!(
            "compare looks at searches of indexes; runs about stores stand side by side in `nearlab report A B --out DIR`"
        );
    }
    let options = compare::Options { floor: arguments.floor, ..compare::Options::default() };
    let comparison = compare::compare(&a, &b, &options);
    say(if arguments.markdown { comparison.to_markdown() } else { comparison.to_text() })?;
    Ok(OK)
}

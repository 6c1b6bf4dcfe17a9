//! `nearlab check`.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::Args;

use super::{BAD_INPUT, OK, run::surroundings, say_line};
use crate::plan;

/// Check experiments without running them: syntax, names, units, rules, files.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Experiments, YAML files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let surroundings = surroundings();
    let mut status = OK;
    for file in &arguments.files {
        match plan::check_question(file, &surroundings) {
            Ok((what, warnings)) => {
                say_line(format_args!("{}: ok ({what})", file.display()))?;
                for warning in &warnings {
                    say_line(format_args!("  warning: {warning}"))?;
                }
            }
            Err(error) => {
                status = BAD_INPUT;
                let text = super::describe(&error.into());
                let _closed = write!(std::io::stderr(), "{text}");
            }
        }
    }
    Ok(status)
}

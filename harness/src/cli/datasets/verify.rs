//! `nearlab datasets verify`.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use nearlab_datasets::{
    Prepared,
    verify::{Scope, verify},
};

use super::Context;
use crate::cli::{OK, say_line};

/// Check data sets: every vector is read, and stored neighbours are held against exact search.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files, names of the catalogue, or prepared sets of the cache (.nearlab: checksums of every byte).
    #[arg(required = true)]
    files: Vec<String>,
    /// Check the neighbours of every query, not only of a few dozen.
    #[arg(long)]
    full: bool,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    for file in &arguments.files {
        if Path::new(file).extension().is_some_and(|extension| extension == "nearlab") {
            let prepared = Prepared::open(Path::new(file))?;
            prepared.verify()?;
            say_line(format_args!("{file}: ok, every byte agrees with its checksum"))?;
            continue;
        }
        let scope = if arguments.full { Scope::Full } else { Scope::Sampled };
        context.display.begin(file);
        let found = verify(file, Path::new(""), scope, &context.cache, &context.display)?;
        context.display.end(&format!("{file}: read"));
        let truth = match (found.truth_k, found.truth_checked) {
            (0, _) => "no neighbours stored".to_owned(),
            (k, checked) => format!("{k} neighbours per query, {checked} of {} queries searched again", found.queries),
        };
        say_line(format_args!("{file}: ok, {} x {}, {truth}, sha256 {}", found.n, found.d, found.sha256))?;
    }
    Ok(OK)
}

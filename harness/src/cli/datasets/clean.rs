//! `nearlab datasets clean`.

use anyhow::Result;
use clap::Args;

use super::{Context, bytes};
use crate::cli::{OK, say_line};

/// Remove prepared data sets and downloads from the cache; they are made again when needed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only files whose name begins so.
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let removed = context.cache.clean(arguments.name.as_deref())?;
    let freed = removed.iter().map(|entry| entry.bytes).sum();
    say_line(format_args!("removed {} files, {}", removed.len(), bytes(freed)))?;
    Ok(OK)
}

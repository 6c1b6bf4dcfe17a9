//! `nearlab datasets list`.

use anyhow::Result;
use clap::Args;
use nearlab_datasets::catalog::{Catalog, Place};
use nearlab_reports::grid::Grid;

use super::{Context, bytes};
use crate::cli::{OK, say, say_line};

/// List the catalogue, and what the cache holds.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show addresses too.
    #[arg(long)]
    urls: bool,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let heads: &[&str] = if arguments.urls {
        &["name", "#n", "#d", "#queries", "metric", "where"]
    } else {
        &["name", "#n", "#d", "#queries", "metric"]
    };
    let mut grid = Grid::new(heads);
    let catalog = Catalog::builtin();
    for entry in catalog.entries() {
        let mut row = vec![
            entry.name.clone(),
            entry.n.to_string(),
            entry.d.to_string(),
            entry.queries.to_string(),
            entry.metric.to_string(),
        ];
        if arguments.urls {
            row.push(match &entry.place {
                Place::Url(url) => url.clone(),
                Place::File(path) => path.display().to_string(),
            });
        }
        grid.push(row);
    }
    say(grid.to_text())?;
    let entries = context.cache.entries()?;
    say_line(format_args!(
        "\ncache {}: {} files, {}",
        context.cache.root.display(),
        entries.len(),
        bytes(entries.iter().map(|entry| entry.bytes).sum())
    ))?;
    for entry in entries {
        say_line(format_args!("  {}/{}  {}", entry.folder, entry.name, bytes(entry.bytes)))?;
    }
    Ok(OK)
}

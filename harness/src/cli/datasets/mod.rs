//! `nearlab datasets`: one file per subcommand.

mod clean;
mod convert;
mod fetch;
mod info;
mod list;
mod synth;
mod truth;
mod verify;

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use nearlab_datasets::{
    Cache,
    catalog::{Catalog, Entry},
};
use nearlab_simd::Metric;

use crate::progress::{Display, Style};

/// Data sets: the catalogue, files of the field's formats, exact neighbours, the cache.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Show no progress.
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Arguments),
    Info(info::Arguments),
    Fetch(fetch::Arguments),
    Convert(convert::Arguments),
    Truth(truth::Arguments),
    Synth(synth::Arguments),
    Verify(verify::Arguments),
    Clean(clean::Arguments),
}

/// What every subcommand works with.
struct Context {
    cache: Cache,
    display: Display,
}

pub(super) fn run(arguments: Arguments) -> Result<u8> {
    let context = Context { cache: Cache::from_env(), display: Display::new(Style::choose(arguments.quiet, false)) };
    match arguments.command {
        Command::List(arguments) => list::run(&arguments, &context),
        Command::Info(arguments) => info::run(&arguments, &context),
        Command::Fetch(arguments) => fetch::run(&arguments, &context),
        Command::Convert(arguments) => convert::run(&arguments, &context),
        Command::Truth(arguments) => truth::run(&arguments, &context),
        Command::Synth(arguments) => synth::run(&arguments, &context),
        Command::Verify(arguments) => verify::run(&arguments, &context),
        Command::Clean(arguments) => clean::run(&arguments, &context),
    }
}

/// A metric as written on a command line.
fn metric(text: &str) -> Result<Metric, String> {
    text.parse().map_err(|_| format!("expected l2, inner_product or cosine, found {text}"))
}

/// An entry of the catalogue by name.
fn entry<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Entry> {
    catalog.find(name).ok_or_else(|| {
        let near = catalog.suggestions(name);
        let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
        anyhow!("there is no data set `{name}` in the catalogue{hint} (nearlab datasets list)")
    })
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    nearlab_reports::format::bytes(count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested() {
        let catalog = Catalog::builtin();
        assert!(entry(&catalog, "sift-128-euclidean").is_ok());
        let error = entry(&catalog, "sift-128-euclidian").unwrap_err().to_string();
        assert!(error.contains("did you mean sift-128-euclidean?"), "{error}");
        assert!(entry(&catalog, "qqqqqqq").is_err());
    }

    #[test]
    fn metrics_are_read_by_their_names() {
        assert_eq!(metric("cosine"), Ok(Metric::Cosine));
        assert_eq!(metric("miles"), Err("expected l2, inner_product or cosine, found miles".into()));
    }
}

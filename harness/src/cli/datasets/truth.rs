//! `nearlab datasets truth`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nearlab_datasets::{
    Files, Source,
    convert::{ConvertOptions, convert},
    hdf5::Compression,
};
use nearlab_simd::Metric;

use super::{Context, metric};
use crate::cli::{OK, say_line};

/// Compute exact neighbours and write the data set with them, as HDF5.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A data set with queries, or a name of the catalogue; with --queries a file of base vectors.
    from: String,
    /// The HDF5 file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File of queries, when FROM holds base vectors only; needs --metric.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Neighbours per query.
    #[arg(short, long, default_value_t = 100)]
    k: usize,
    /// Only the first so many base vectors.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The metric, where the file does not say: l2, `inner_product` or cosine.
    #[arg(long, value_parser = metric)]
    metric: Option<Metric>,
    /// Compress with this gzip level, 1 to 9.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..=9))]
    gzip: Option<u32>,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    if arguments.out.extension().is_none_or(|extension| extension != "hdf5" && extension != "h5") {
        bail!("--out must be an .hdf5 file, found {}", arguments.out.display());
    }
    let source = match &arguments.queries {
        None => Source::Name(arguments.from.clone()),
        Some(queries) => Source::Files(Files {
            train: arguments.from.clone().into(),
            test: queries.clone(),
            neighbors: None,
            metric: arguments.metric.context("--queries needs --metric: l2, inner_product or cosine")?,
        }),
    };
    let options = ConvertOptions {
        limit: arguments.limit,
        matrix: None,
        compression: arguments.gzip.map_or(Compression::None, Compression::Gzip),
        metric: arguments.metric,
        truth_k: Some(arguments.k),
    };
    context.display.begin(&arguments.from);
    convert(source, &arguments.out, &options, &context.cache, &context.display)?;
    context.display.end(&format!("{}: {} exact neighbours per query", arguments.from, arguments.k));
    say_line(arguments.out.display())?;
    Ok(OK)
}

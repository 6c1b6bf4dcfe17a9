//! `nearlab datasets convert`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use nearlab_datasets::{
    convert::{ConvertOptions, Matrix, convert},
    hdf5::Compression,
};
use nearlab_simd::Metric;

use super::{Context, metric};
use crate::cli::{OK, say_line};

/// Convert between formats, chosen by extension.
///
/// Read: hdf5 fvecs ivecs bvecs fbin u8bin i8bin f16bin ibin npy parquet. Written: hdf5 fvecs ivecs fbin ibin npy. HDF5
/// gets everything; a format of a single matrix gets the one that --matrix names.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A file, or a name of the catalogue.
    from: String,
    /// The file to write.
    to: PathBuf,
    /// Only the first so many rows.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The matrix to write: train, test, neighbors or distances.
    #[arg(long)]
    matrix: Option<Matrix>,
    /// Compress HDF5 with this gzip level, 1 to 9.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..=9))]
    gzip: Option<u32>,
    /// The metric, where the file does not say: l2, `inner_product` or cosine.
    #[arg(long, value_parser = metric)]
    metric: Option<Metric>,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let options = ConvertOptions {
        limit: arguments.limit,
        matrix: arguments.matrix,
        compression: arguments.gzip.map_or(Compression::None, Compression::Gzip),
        metric: arguments.metric,
        truth_k: None,
    };
    context.display.begin(&arguments.from);
    convert(&arguments.from, &arguments.to, &options, &context.cache, &context.display)?;
    context.display.end(&format!("{}: converted", arguments.from));
    say_line(arguments.to.display())?;
    Ok(OK)
}

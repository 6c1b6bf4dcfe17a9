//! `nearlab datasets synth`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use nearlab_datasets::{
    hdf5::{Compression, Writer},
    synth::{Part, Synth, SynthKind, SynthSpec, generate},
    truth::{TruthJob, exact},
};
use nearlab_storage::Vectors;

use super::Context;
use crate::cli::{OK, say_line};

/// Make a synthetic data set with a seed, exact neighbours included, as HDF5.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// uniform, clustered, `low_intrinsic` or embedding.
    kind: SynthKind,
    /// The HDF5 file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Base vectors.
    #[arg(short, long)]
    n: usize,
    /// Dimensions.
    #[arg(short, long)]
    d: usize,
    /// Queries.
    #[arg(long, default_value_t = 1000)]
    queries: usize,
    /// Exact neighbours per query.
    #[arg(short, long, default_value_t = 100)]
    k: usize,
    /// Seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// clustered, embedding: number of centres.
    #[arg(long)]
    clusters: Option<usize>,
    /// clustered, embedding: spread about a centre.
    #[arg(long)]
    spread: Option<f64>,
    /// `low_intrinsic`: dimensions of the subspace.
    #[arg(long)]
    intrinsic: Option<usize>,
    /// `low_intrinsic`: noise on every coordinate.
    #[arg(long)]
    noise: Option<f64>,
    /// embedding: how fast the variance of the principal directions falls.
    #[arg(long)]
    decay: Option<f64>,
    /// embedding: mean cosine of two random rows.
    #[arg(long)]
    common: Option<f64>,
    /// Compress with this gzip level, 1 to 9.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..=9))]
    gzip: Option<u32>,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let spec = SynthSpec {
        kind: arguments.kind,
        n: arguments.n,
        d: arguments.d,
        queries: arguments.queries,
        seed: arguments.seed,
        clusters: arguments.clusters,
        spread: arguments.spread,
        intrinsic: arguments.intrinsic,
        noise: arguments.noise,
        decay: arguments.decay,
        common: arguments.common,
    };
    let (n, k) = (arguments.n, arguments.k);
    ensure!((1..=n).contains(&k), "k: expected 1 to {n} (the base vectors), found {k}");
    let synth = generate(&spec)?;
    context.display.begin(&spec.to_string());
    write(&synth, arguments, context)?;
    context.display.end(&synth.spec().to_string());
    say_line(arguments.out.display())?;
    Ok(OK)
}

fn write(synth: &Synth, arguments: &Arguments, context: &Context) -> Result<()> {
    let (n, d, k, queries) = (arguments.n, arguments.d, arguments.k, arguments.queries);
    let pool = rayon::ThreadPoolBuilder::new().build()?;
    let train = rows(synth, Part::Train, d, &pool);
    let test = rows(synth, Part::Queries, d, &pool);
    let job = TruthJob { train: Vectors::new(&train, d), queries: Vectors::new(&test, d), metric: synth.metric(), k };
    let truth = exact(&job, &pool, &context.display);
    let compression = arguments.gzip.map_or(Compression::None, Compression::Gzip);
    let writer = Writer::create(&arguments.out, synth.metric(), d, compression)?;
    put(&writer, "train", (n, d), &train)?;
    put(&writer, "test", (queries, d), &test)?;
    put(&writer, "neighbors", (queries, k), &truth.neighbors)?;
    put(&writer, "distances", (queries, k), &truth.distances)?;
    Ok(writer.finish()?)
}

fn rows(synth: &Synth, part: Part, d: usize, pool: &rayon::ThreadPool) -> Vec<f32> {
    let mut rows = vec![0.0; synth.rows(part) * d];
    synth.fill_parallel(part, 0, &mut rows, pool);
    rows
}

fn put<T: rust_hdf5::H5Type>(writer: &Writer, name: &str, (rows, d): (usize, usize), data: &[T]) -> Result<()> {
    let mut matrix = writer.matrix::<T>(name, rows, d)?;
    matrix.put(data)?;
    Ok(matrix.finish()?)
}

//! `nearlab collection create`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use nearlab_index::{
    collection::{Collection, CollectionConfig, IndexConfig},
    hnsw::{Construction, HnswParams, RerankCodes, TraversalCodes},
    ivf::IvfParams,
};
use nearlab_reports::format;
use nearlab_simd::Metric;
use nearlab_storage::{
    metadata::Schema,
    store::{ElementKind, IdKind, MAX_DIM},
};

use crate::cli::{OK, say_line};

/// Make an empty collection.
#[derive(Debug, Args)]
#[command(after_help = SCHEMA)]
pub(super) struct Arguments {
    /// The folder; empty or missing.
    folder: PathBuf,
    /// Components of each vector.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_DIM as i64))]
    dim: u32,
    /// How distances are measured.
    #[arg(long, value_parser = one_of(&Metric::ALL, Metric::as_str))]
    metric: Metric,
    /// The type in which components are kept: f16 rounds them, u8 takes whole numbers from 0 to 255 only.
    #[arg(long, default_value = "f32", value_parser = one_of(&ELEMENTS, element))]
    element: ElementKind,
    /// What identifies a record.
    #[arg(long, default_value = "numbers", value_parser = one_of(&IDS, ids))]
    ids: IdKind,
    /// How vectors are found: by comparing all of them, by a graph that follows every change, or by lists that `optimize` makes.
    #[arg(long, default_value = "hnsw", value_parser = ["flat", "hnsw", "ivf"])]
    index: String,
    /// The fields of the records, as JSON; without it there are only vectors.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    #[command(flatten)]
    hnsw: Hnsw,
    #[command(flatten)]
    ivf: Ivf,
    #[arg(long, help_heading = "Index", help = or("hnsw, ivf: seed of the build", HnswParams::default().seed))]
    seed: Option<u64>,
}

const SCHEMA: &str = r#"A schema declares fields of the kinds string, integer, float, bool, timestamp and tags:
  {"fields": [{"name": "price", "kind": "float"},
              {"name": "labels", "kind": "tags"},
              {"name": "text", "kind": "string", "indexed": false}]}
Filters on a field that is not indexed read the documents of all candidates."#;

const ELEMENTS: [ElementKind; 3] = [ElementKind::F32, ElementKind::F16, ElementKind::U8];
const IDS: [IdKind; 2] = [IdKind::Numbers, IdKind::Names];

/// One line of help about a parameter of an index.
fn or(what: &str, default: impl fmt::Display) -> String {
    format!("{what} [default: {default}]")
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Index")]
struct Hnsw {
    #[arg(long, help = or("hnsw: links that a new node makes per layer", HnswParams::default().m))]
    m: Option<usize>,
    #[arg(long, help = or("hnsw: candidates for the links of a new node", HnswParams::default().ef_construction))]
    ef_construction: Option<usize>,
    #[arg(long, help = or("hnsw: least distance of a refused candidate to the node, in percent of that to a chosen neighbour, 100 to 200", HnswParams::default().alpha))]
    alpha: Option<usize>,
    #[arg(long, value_parser = one_of(&TraversalCodes::ALL, TraversalCodes::name))]
    #[arg(help = or("hnsw: what searches score; all but f32, f16, bf16 and sq8 need rerank codes",
        HnswParams::default().codes.name()))]
    codes: Option<TraversalCodes>,
    #[arg(long, value_parser = one_of(&RerankCodes::ALL, RerankCodes::name))]
    #[arg(help = or("hnsw: what the best candidates are scored by in the end", HnswParams::default().rerank_codes.name()))]
    rerank_codes: Option<RerankCodes>,
    #[arg(long, help = or("hnsw: principal components that sq4 codes keep, 0 for none but the vectors as they are",
        HnswParams::default().components))]
    components: Option<usize>,
    #[arg(long, help = or("hnsw: components per sub-space of pq4, pq4-blocks and pq8 codes, 0 for 2, 2 and 4", HnswParams::default().sub_dim))]
    sub_dim: Option<usize>,
    #[arg(long, value_parser = one_of(&Construction::ALL, Construction::name))]
    #[arg(help = or("hnsw: how a build finds neighbours", HnswParams::default().construction.name()))]
    construction: Option<Construction>,
    #[arg(long, help = or("hnsw: times that bulk construction groups all points", HnswParams::default().replicas))]
    replicas: Option<usize>,
    #[arg(long, help = or("hnsw: points in the largest group of bulk construction", HnswParams::default().leaf))]
    leaf: Option<usize>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Index")]
struct Ivf {
    #[arg(long, help = or("ivf: lists", IvfParams::default().nlist))]
    nlist: Option<usize>,
    #[arg(long, help = or("ivf: vectors per list that k-means learns from", IvfParams::default().sample_per_list))]
    sample_per_list: Option<usize>,
    #[arg(long, help = or("ivf: iterations of k-means", IvfParams::default().iterations))]
    iterations: Option<usize>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let config = CollectionConfig {
        dim: arguments.dim as usize,
        metric: arguments.metric,
        element: arguments.element,
        ids: arguments.ids,
        index: index(arguments)?,
        schema: arguments.schema.as_deref().map(schema).transpose()?,
    };
    let fields = config.schema.as_ref().map_or(0, |schema| schema.fields().len()) as u64;
    let (folder, dim, metric, name) = (arguments.folder.display(), config.dim, config.metric, config.index.name());
    let made = format!("{folder}: {dim} components, {metric}, {name}, {}", format::plural(fields, "field", "fields"));
    Collection::create(&arguments.folder, config, 1)?;
    say_line(made)?;
    Ok(OK)
}

fn schema(path: &Path) -> Result<Schema> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| anyhow!("{}: expected a schema: {error}", path.display()))
}

/// The index that was asked for; parameters of another one are refused.
fn index(arguments: &Arguments) -> Result<IndexConfig> {
    let Arguments { hnsw, ivf, seed, .. } = arguments;
    let given = [
        ("--m", "hnsw", hnsw.m.is_some()),
        ("--ef-construction", "hnsw", hnsw.ef_construction.is_some()),
        ("--alpha", "hnsw", hnsw.alpha.is_some()),
        ("--codes", "hnsw", hnsw.codes.is_some()),
        ("--rerank-codes", "hnsw", hnsw.rerank_codes.is_some()),
        ("--components", "hnsw", hnsw.components.is_some()),
        ("--sub-dim", "hnsw", hnsw.sub_dim.is_some()),
        ("--construction", "hnsw", hnsw.construction.is_some()),
        ("--replicas", "hnsw", hnsw.replicas.is_some()),
        ("--leaf", "hnsw", hnsw.leaf.is_some()),
        ("--nlist", "ivf", ivf.nlist.is_some()),
        ("--sample-per-list", "ivf", ivf.sample_per_list.is_some()),
        ("--iterations", "ivf", ivf.iterations.is_some()),
    ];
    for (name, expected, _) in given.into_iter().filter(|(.., is_given)| *is_given) {
        ensure!(arguments.index == expected, "{name}: expected --index {expected}, found {}", arguments.index);
    }
    Ok(match arguments.index.as_str() {
        "hnsw" => IndexConfig::Hnsw(hnsw_params(hnsw, *seed, arguments.dim as usize)?),
        "ivf" => {
            let base = IvfParams::default();
            IndexConfig::Ivf(IvfParams {
                nlist: ivf.nlist.unwrap_or(base.nlist),
                sample_per_list: ivf.sample_per_list.unwrap_or(base.sample_per_list),
                iterations: ivf.iterations.unwrap_or(base.iterations),
                seed: seed.unwrap_or(base.seed),
            })
        }
        _ => {
            ensure!(seed.is_none(), "--seed: expected --index hnsw or ivf, found flat");
            IndexConfig::Flat
        }
    })
}

fn hnsw_params(given: &Hnsw, seed: Option<u64>, dim: usize) -> Result<HnswParams> {
    let base = HnswParams::default();
    let components = given.components.unwrap_or(base.components);
    ensure!(components <= dim, "--components: expected at most the {dim} of --dim, found {components}");
    Ok(HnswParams {
        m: given.m.unwrap_or(base.m),
        ef_construction: given.ef_construction.unwrap_or(base.ef_construction),
        seed: seed.unwrap_or(base.seed),
        alpha: given.alpha.unwrap_or(base.alpha),
        codes: given.codes.unwrap_or(base.codes),
        components,
        sub_dim: given.sub_dim.unwrap_or(base.sub_dim),
        rerank_codes: given.rerank_codes.unwrap_or(base.rerank_codes),
        construction: given.construction.unwrap_or(base.construction),
        replicas: given.replicas.unwrap_or(base.replicas),
        leaf: given.leaf.unwrap_or(base.leaf),
        ..base
    })
}

/// Reads one of some values by its name.
fn one_of<T, const N: usize>(
    values: &[T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> + use<T, N>
where
    T: Copy + Send + Sync + 'static,
{
    let values = *values;
    PossibleValuesParser::new(values.map(name))
        .map(move |text| values.into_iter().find(|&value| name(value) == text).expect("only these names pass"))
}

fn element(element: ElementKind) -> &'static str {
    match element {
        ElementKind::F32 => "f32",
        ElementKind::F16 => "f16",
        ElementKind::U8 => "u8",
    }
}

fn ids(ids: IdKind) -> &'static str {
    match ids {
        IdKind::Numbers => "numbers",
        IdKind::Names => "names",
    }
}

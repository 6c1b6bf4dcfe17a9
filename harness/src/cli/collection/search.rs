//! `nearlab collection search`.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail, ensure};
use clap::{ArgGroup, Args};
use nearlab_datasets::DataFile;
use nearlab_index::{
    collection::{Collection, CollectionConfig, Hit, IndexConfig, SearchOptions},
    hnsw::{HnswParams, HnswSearchParams, RerankCodes},
    ivf::IvfSearchParams,
};
use nearlab_reports::grid::Grid;
use nearlab_storage::{
    metadata::{Document, Filter},
    store::Id,
};
use serde::Serialize;

use super::filter;
use crate::cli::{OK, say, say_line};

/// Find the records nearest to queries, nearest first.
///
/// Distances are the squared Euclidean distance, minus the inner product, or 1 - cosine. The collection is opened read-only;
/// one with fields can not be while another process has it open for changes.
#[derive(Debug, Args)]
#[command(after_help = FILTERS, group = ArgGroup::new("which").args(["query", "queries"]).required(true))]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
    /// One query: its components as a JSON array.
    #[arg(long, value_name = "JSON")]
    query: Option<String>,
    /// Queries from a file of any readable format: those of a data set, or its only matrix.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Only the first so many queries of the file.
    #[arg(long, value_name = "N", requires = "queries")]
    limit: Option<usize>,
    /// Records to find for each query.
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    k: u32,
    /// Find only records of which this is true.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// hnsw: candidates kept during a search.
    #[arg(long, value_name = "N")]
    ef_search: Option<usize>,
    /// hnsw with rerank codes: candidates scored anew by these; 0 is 2 k + 10.
    #[arg(long, value_name = "N")]
    rerank: Option<usize>,
    /// hnsw: nodes expanded without a change among the nearest candidates at which a search ends; 0 expands all.
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
    /// ivf: lists scanned.
    #[arg(long, value_name = "N")]
    nprobe: Option<usize>,
    /// Give the distances of the index's codes, without reading the vectors that are kept.
    #[arg(long)]
    no_exact: bool,
    /// Show documents too.
    #[arg(long)]
    documents: bool,
    /// Print JSON, one line for each query.
    #[arg(long)]
    json: bool,
}

const FILTERS: &str = r#"Filters compare fields with values, and join comparisons:
  price < 30 and colour in ["red", "blue"] and not sold
  price between 10 and 20 or labels contains "new" or missing(price)
  added >= "2024-02-29T12:00:00Z"
`not` binds tightest, `or` least. A field without a value matches no comparison."#;

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let collection = Collection::open_read_only(&arguments.folder)?;
    let config = collection.config();
    let text = arguments.filter.as_deref();
    let filter = text.map(|text| filter(config, &arguments.folder, text)).transpose()?;
    let options = options(arguments, config, filter.as_ref())?;
    let queries = queries(arguments, config.dim)?;
    let k = (arguments.k as usize).min(collection.len().max(1));
    let mut searcher = collection.searcher();
    let mut grid = Grid::new(&["#query", "#rank", "id", "#distance", "document"]);
    for (query, components) in queries.chunks_exact(config.dim).enumerate() {
        let hits = searcher.search(components, k, &options)?;
        if arguments.json {
            let answer = Answer { query, hits: hits.iter().map(Found::from).collect() };
            say_line(serde_json::to_string(&answer)?)?;
        } else {
            hits.iter().enumerate().for_each(|(rank, hit)| grid.push(row(arguments, query, rank, hit)));
        }
    }
    match (arguments.json, grid.is_empty()) {
        (true, _) => {}
        (false, true) => say_line("no records found")?,
        (false, false) => say(grid.without_empty_columns().to_text())?,
    }
    Ok(OK)
}

fn options<'a>(
    arguments: &Arguments,
    config: &CollectionConfig,
    filter: Option<&'a Filter>,
) -> Result<SearchOptions<'a>> {
    let index = config.index.name();
    let base = SearchOptions::default();
    for (name, expected, given) in [
        ("--ef-search", "hnsw", arguments.ef_search.is_some()),
        ("--rerank", "hnsw", arguments.rerank.is_some()),
        ("--patience", "hnsw", arguments.patience.is_some()),
        ("--nprobe", "ivf", arguments.nprobe.is_some()),
    ] {
        let folder = arguments.folder.display();
        ensure!(
            !given || index == expected,
            "{name}: expected an {expected} collection, found {folder}, which is {index}"
        );
    }
    if let (Some(_), IndexConfig::Hnsw(HnswParams { rerank_codes: RerankCodes::None, .. })) =
        (arguments.rerank, &config.index)
    {
        bail!("--rerank: expected an index with rerank codes, found {}, which has none", arguments.folder.display());
    }
    let hnsw = HnswSearchParams {
        ef_search: arguments.ef_search.unwrap_or(base.hnsw.ef_search),
        rerank: arguments.rerank.unwrap_or(base.hnsw.rerank),
        patience: arguments.patience.unwrap_or(base.hnsw.patience),
        ..base.hnsw
    };
    let ivf = arguments.nprobe.map_or(base.ivf, |nprobe| IvfSearchParams { nprobe });
    // Before there is an index nothing looks at them.
    hnsw.validate()?;
    ivf.validate()?;
    Ok(SearchOptions { filter, hnsw, ivf, exact: !arguments.no_exact, documents: arguments.documents })
}

/// The components of all queries, one query after the other.
fn queries(arguments: &Arguments, dim: usize) -> Result<Vec<f32>> {
    let (place, queries) = match (&arguments.query, &arguments.queries) {
        (Some(text), _) => {
            let query: Vec<f32> = serde_json::from_str(text)
                .map_err(|error| anyhow!("--query: expected a JSON array of {dim} numbers: {error}"))?;
            ensure!(query.len() == dim, "--query: expected {dim} components, found {}", query.len());
            ("--query".to_owned(), query)
        }
        (None, Some(path)) => {
            let file = DataFile::open(path)?;
            let mut matrix = file.test.unwrap_or(file.train);
            let (rows, found) = (matrix.rows().min(arguments.limit.unwrap_or(usize::MAX)), matrix.dim());
            ensure!(found == dim, "{}: expected queries of {dim} components, found {found}", path.display());
            let mut queries = Vec::new();
            matrix.read_f32(0..rows, &mut queries)?;
            (path.display().to_string(), queries)
        }
        (None, None) => bail!("expected --query or --queries, found neither"),
    };
    match queries.iter().position(|component| !component.is_finite()) {
        Some(at) => {
            let (row, column, found) = (at / dim, at % dim, queries[at]);
            bail!("{place}: expected finite numbers, found {found} in row {row}, column {column}")
        }
        None => Ok(queries),
    }
}

/// One line of the table; cells of columns that are not wanted are empty.
fn row(arguments: &Arguments, query: usize, rank: usize, hit: &Hit) -> Vec<String> {
    let query = arguments.queries.as_ref().map(|_| query.to_string());
    let document = hit.document.as_ref().map(|document| document.to_json().to_string());
    vec![
        query.unwrap_or_default(),
        (rank + 1).to_string(),
        hit.id.to_string(),
        hit.distance.to_string(),
        document.unwrap_or_default(),
    ]
}

/// What was found for a query, as JSON.
#[derive(Serialize)]
struct Answer {
    query: usize,
    hits: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    id: serde_json::Value,
    distance: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<serde_json::Value>,
}

impl From<&Hit> for Found {
    fn from(hit: &Hit) -> Self {
        let id = match &hit.id {
            Id::Number(id) => (*id).into(),
            Id::Name(id) => id.as_ref().into(),
        };
        Self { id, distance: hit.distance, document: hit.document.as_ref().map(Document::to_json) }
    }
}

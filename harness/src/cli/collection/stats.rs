//! `nearlab collection stats`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use nearlab_index::collection::{Collection, CollectionConfig, CollectionStats, IndexConfig};
use nearlab_reports::format;
use nearlab_storage::metadata::Schema;
use serde_json::{Value, json};

use crate::cli::{OK, say};

/// Say what a collection is, how much it holds, and what that takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The collection.
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let collection = Collection::open_read_only(&arguments.folder)?;
    let (config, stats) = (collection.config(), collection.stats());
    if arguments.json {
        say(format_args!("{:#}\n", to_json(config, &stats)))?;
        return Ok(OK);
    }
    let rows = rows(config, &stats);
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        say(format_args!("{name:width$}  {value}\n"))?;
    }
    Ok(OK)
}

fn rows(config: &CollectionConfig, stats: &CollectionStats) -> Vec<(String, String)> {
    let fields = config.schema.as_ref().map(Schema::fields).unwrap_or_default();
    let field = |it: &nearlab_storage::metadata::Field| format!("{} ({})", it.name, it.kind);
    let mut rows: Vec<(String, String)> = [
        ("records", stats.records.to_string()),
        ("unindexed", stats.unindexed.to_string()),
        ("dead rows", stats.dead_rows.to_string()),
        ("segments", stats.segments.to_string()),
        ("sequence", stats.sequence.to_string()),
        ("dim", config.dim.to_string()),
        ("metric", config.metric.to_string()),
        ("element", config.element.to_string()),
        ("ids", config.ids.to_string()),
        ("index", config.index.name().to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Value::Object(params) = params(&config.index) {
        rows.extend(params.into_iter().map(|(name, value)| (format!("  {name}"), format::value(&value))));
    }
    if !fields.is_empty() {
        rows.push(("fields".to_owned(), fields.iter().map(field).collect::<Vec<_>>().join(", ")));
    }
    rows.push(("disk".to_owned(), format::bytes(stats.disk_bytes as f64)));
    rows.push(("memory".to_owned(), format::bytes(stats.memory.values().sum::<u64>() as f64)));
    rows.extend(stats.memory.iter().map(|(part, bytes)| (format!("  {part}"), format::bytes(*bytes as f64))));
    rows
}

fn params(index: &IndexConfig) -> Value {
    match index {
        IndexConfig::Flat => json!({}),
        IndexConfig::Hnsw(params) => json!(params),
        IndexConfig::Ivf(params) => json!(params),
    }
}

fn to_json(config: &CollectionConfig, stats: &CollectionStats) -> Value {
    json!({
        "records": stats.records, "unindexed": stats.unindexed, "dead_rows": stats.dead_rows, "segments": stats.segments,
        "sequence": stats.sequence, "dim": config.dim, "metric": config.metric.as_str(), "element": config.element,
        "ids": config.ids, "index": config.index.name(), "params": params(&config.index), "schema": config.schema,
        "disk_bytes": stats.disk_bytes, "memory_bytes": stats.memory,
    })
}

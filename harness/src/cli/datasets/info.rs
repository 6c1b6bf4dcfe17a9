//! `nearlab datasets info`.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use nearlab_datasets::{
    Files, Source,
    describe::{Description, describe},
};
use nearlab_simd::Metric;

use super::{Context, bytes, metric};
use crate::cli::{OK, say};

/// Describe a data file: size, metric, duplicates, norms, difficulty.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A file of any readable format, or a name of the catalogue.
    file: String,
    /// File of queries, when FILE holds base vectors only; needs --metric.
    #[arg(long, value_name = "FILE", requires = "metric")]
    queries: Option<std::path::PathBuf>,
    /// The metric of --queries: l2, `inner_product` or cosine.
    #[arg(long, value_parser = metric, requires = "queries")]
    metric: Option<Metric>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let source = match (&arguments.queries, arguments.metric) {
        (Some(queries), Some(metric)) => Source::Files(Files {
            train: arguments.file.clone().into(),
            test: queries.clone(),
            neighbors: None,
            metric,
        }),
        _ => Source::Name(arguments.file.clone()),
    };
    context.display.begin(&arguments.file);
    let description = describe(source, Path::new(""), &context.cache, &context.display)?;
    context.display.end(&format!("{}: read", arguments.file));
    say(if arguments.json { to_json(&description) } else { to_text(&description) })?;
    Ok(OK)
}

/// Name and value of each line.
fn lines(it: &Description) -> Vec<(&'static str, String)> {
    let some = |value: Option<f64>| value.map_or_else(|| "not known".to_owned(), |value| format!("{value:.3}"));
    let difficulty = if it.difficulty_from_base { " (from sampled base vectors)" } else { "" };
    vec![
        ("name", it.name.clone()),
        ("source", it.source.clone()),
        ("format", format!("{} of {}, {}", it.format, it.element, bytes(it.file_bytes))),
        ("n", it.n.to_string()),
        ("d", it.d.to_string()),
        ("queries", it.queries.to_string()),
        ("metric", it.metric.map_or_else(|| "not said".to_owned(), |metric| metric.to_string())),
        (
            "true neighbours",
            if it.truth_k == 0 { "none stored".to_owned() } else { format!("{} per query", it.truth_k) },
        ),
        ("u8-valued", if it.integral_u8 { "yes" } else { "no" }.to_owned()),
        ("duplicates", it.duplicates.to_string()),
        ("norms", format!("{:.4} to {:.4}, mean {:.4}", it.norm_min, it.norm_max, it.norm_mean)),
        ("LID", some(it.lid_mean) + difficulty),
        ("relative contrast", some(it.relative_contrast) + difficulty),
        ("sha256", it.sha256.clone()),
    ]
}

fn to_text(description: &Description) -> String {
    let lines: Vec<String> = lines(description).into_iter().map(|(name, value)| format!("{name:<18}{value}")).collect();
    lines.join("\n") + "\n"
}

fn to_json(it: &Description) -> String {
    let value = serde_json::json!({
        "name": it.name, "source": it.source, "format": it.format.to_string(), "element": it.element,
        "file_bytes": it.file_bytes, "n": it.n, "d": it.d, "queries": it.queries,
        "metric": it.metric.map(|metric| metric.to_string()), "truth_k": it.truth_k, "integral_u8": it.integral_u8,
        "duplicates": it.duplicates, "norm_min": it.norm_min, "norm_mean": it.norm_mean, "norm_max": it.norm_max,
        "lid_mean": it.lid_mean, "relative_contrast": it.relative_contrast,
        "difficulty_from_base": it.difficulty_from_base, "sha256": it.sha256,
    });
    format!("{value:#}\n")
}

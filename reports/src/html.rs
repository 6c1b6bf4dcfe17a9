//! The self-contained `index.html`: no address in it leads to a network, every text is escaped, data are embedded.
//!
//! Interactive plots are drawn by uPlot, vendored with its licence under `vendor/uplot/`; print and a browser without
//! scripts show the static SVG plots instead.

use askama::Template;
use serde_json::{Value, json};

use crate::{
    content::{Content, quoted},
    format,
    plots::Plot,
    points::{self, Point, SeriesBy},
    run::RunData,
    samples::{self, PERCENTILES},
    stats::Spread,
    table::Table,
};

#[derive(Template)]
#[template(path = "index.html")]
struct Page<'a> {
    content: &'a Content,
    plots: &'a [Plot],
    sections: Vec<(&'static str, &'static str)>,
    downloads: &'a [(String, String)],
    by_build: bool,
    has_builds: bool,
    has_latency: bool,
    chart_json: String,
    rows_json: String,
    css: &'static str,
    js: &'static str,
    uplot_css: &'static str,
    uplot_js: &'static str,
}

impl Page<'_> {
    /// A share as the width of a bar.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "askama passes references")]
    fn percent(share: &f64) -> String {
        format::trimmed((share * 100.0).clamp(0.0, 100.0), 2)
    }
}

/// Renders the page. `downloads` are labels and links of the result files.
pub(crate) fn render(
    runs: &[RunData],
    points: &[Point<'_>],
    content: &Content,
    plots: &[Plot],
    downloads: &[(String, String)],
) -> Result<String, askama::Error> {
    let page = Page {
        content,
        plots,
        sections: sections(content),
        downloads,
        by_build: SeriesBy::choose(runs) == SeriesBy::Build,
        has_builds: points.iter().any(|point| !point.build.is_empty()),
        has_latency: has_latency(content),
        chart_json: embedded(&charts(runs, points)),
        rows_json: embedded(&Table::of(runs).to_json()),
        css: include_str!("../templates/report.css"),
        js: include_str!("../templates/report.js"),
        uplot_css: include_str!("../vendor/uplot/uPlot.min.css"),
        uplot_js: include_str!("../vendor/uplot/uPlot.iife.min.js"),
    };
    page.render()
}

fn has_latency(content: &Content) -> bool {
    content.settings.iter().any(|setting| !setting.latency.is_empty())
}

fn sections(content: &Content) -> Vec<(&'static str, &'static str)> {
    let measured = !content.settings.is_empty();
    let all = [
        (measured, "frontier", "Frontier"),
        (measured, "best", "Best at a recall"),
        (!content.filtered.is_empty(), "filtered", "Filtered search"),
        (!content.storage.is_empty(), "storage", "Storage"),
        (!content.expectations.is_empty(), "expectations", "Expectations"),
        (!content.builds.is_empty(), "builds", "Builds"),
        (has_latency(content), "latency", "Latency"),
        (measured, "difficulty", "Difficulty"),
        (measured, "counters", "Work"),
        (!content.profiles.is_empty(), "profiles", "Profiles"),
        (!content.failures.is_empty() || !content.rejected.is_empty(), "failures", "Failures"),
        (true, "data", "Data"),
        (true, "environment", "Reproduce"),
    ];
    all.into_iter().filter(|(there, ..)| *there).map(|(_, id, name)| (id, name)).collect()
}

/// JSON that may stand inside a `script` element: `</script>` and `<!--` cannot occur in it.
fn embedded(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// What `templates/report.js` draws.
fn charts(runs: &[RunData], points: &[Point<'_>]) -> Value {
    let by_index = points::all_series(runs, points, SeriesBy::Index);
    let by_build = points::all_series(runs, points, SeriesBy::Build);
    let settings: Vec<Value> = points::settings(points)
        .into_iter()
        .map(|setting| {
            let of_setting: Vec<&Point<'_>> = points.iter().filter(|point| point.setting == setting).collect();
            let place = |names: &[String], point: &Point<'_>, by| {
                let name = points::series_name(runs, point, by);
                names.iter().position(|known| *known == name)
            };
            let shown: Vec<Value> = of_setting
                .iter()
                .map(|point| {
                    let mut value = chart_point(point);
                    value["i"] = json!(place(&by_index, point, SeriesBy::Index));
                    value["b"] = json!(place(&by_build, point, SeriesBy::Build));
                    value
                })
                .collect();
            json!({"k": setting.k, "points": shown, "distributions": distributions(runs, &of_setting)})
        })
        .collect();
    json!({"series": {"i": by_index, "b": by_build}, "settings": settings})
}

fn chart_point(point: &Point<'_>) -> Value {
    let ends = |spread: Spread| [spread.min, spread.median, spread.max];
    let words: Vec<[String; 2]> = point
        .build
        .iter()
        .chain(point.params)
        .map(|(name, value)| [name.clone(), format::value(value)])
        .chain(point.built.map(|build| ["library".to_owned(), build.library.clone()]))
        .collect();
    json!({
        "r": point.recall,
        "q": ends(point.qps),
        "p": point.p99().map(ends),
        "p50": point.p50().map(|spread| spread.median),
        "min": point.repeats[0].recall.min,
        "n": point.repeats.len(),
        "bs": point.built.map(|build| build.build_seconds),
        "t": words,
    })
}

/// The distribution of each index's best point at recall 0.95, or of its highest recall.
fn distributions(runs: &[RunData], points: &[&Point<'_>]) -> Vec<Value> {
    let mut out = Vec::new();
    for (index, points) in crate::summary::by_subject(runs, points) {
        let point = crate::summary::best(&points, 0.95).or_else(|| quoted(runs, &points).into_iter().next());
        let Some((point, found)) = point.and_then(|point| Some((point, samples::distribution(runs, point)?))) else {
            continue;
        };
        let mut values: Vec<(f64, f64)> =
            PERCENTILES.iter().zip(found.percentiles).map(|((_, share), ns)| (*share, ns)).collect();
        values.push((1.0, found.max));
        let params = point.describe_params();
        let params = if params == "–" { String::new() } else { format!(" ({params})") };
        let name = format!("{index}{params}, recall {}", format::recall(point.recall));
        out.push(json!({"name": name, "v": values}));
    }
    out
}

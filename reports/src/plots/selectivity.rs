//! What filters cost, over how many vectors match: recall and median latency, an index a line.

use super::{
    Figure, Plot, PlotError, picture,
    scatter::{Dot, Line, Scale, Scatter},
    tick_nanoseconds,
};
use crate::{
    filtered::{self, Filtered, Part},
    points::{self, Point, SeriesBy},
    run::RunData,
    stats::Spread,
};

/// Recall and median latency over selectivity: two plots for each correlation of each workload with filters.
pub(super) fn draw(
    runs: &[RunData],
    points: &[Point<'_>],
    (by, names): (SeriesBy, &[String]),
) -> Result<Vec<Plot>, PlotError> {
    let mut plots = Vec::new();
    for (number, one) in filtered::gather(runs, points).iter().enumerate() {
        let suffix = if number == 0 { String::new() } else { format!("-{}", one.slug()) };
        for part in one.parts() {
            for (name, scatter) in over_selectivity(runs, one, &part, (by, names)) {
                let name = format!("filtered-{name}-{}{suffix}", points::slug(&part.correlation));
                let plot = picture(name, None, &Figure::Scatter(scatter))?;
                plots.push(Plot { heading: Some(one.heading()), ..plot });
            }
        }
    }
    Ok(plots)
}

fn over_selectivity(
    runs: &[RunData],
    one: &Filtered<'_, '_>,
    part: &Part<'_, '_>,
    (by, names): (SeriesBy, &[String]),
) -> [(&'static str, Scatter); 2] {
    let lie = match part.correlation.as_str() {
        "none" => "matches anywhere",
        "positive" => "matches near the query",
        "negative" => "matches far from the query",
        other => other,
    };
    let scan = one.scan.map_or_else(String::new, |scan| format!("; {scan} scores every match"));
    let scatter = |title: String, y_label: &str, y, lines| Scatter {
        title,
        subtitle: format!("{}{scan}", one.heading()),
        x_label: "share of the base vectors that match".to_owned(),
        x: Scale::Log(filtered::percent),
        y_label: y_label.to_owned(),
        y,
        lines,
    };
    let recall = selectivity_lines(runs, part, (by, names), |point| {
        Spread::of(point.repeats.iter().map(|repeat| repeat.recall.strict))
    });
    let time = selectivity_lines(runs, part, (by, names), |point| point.latency(|latency| latency.p50 as f64));
    let k = part.points.first().map_or(0, |point| point.setting.k);
    [
        ("recall", scatter(format!("Recall, {lie}"), &format!("recall@{k} among what matches"), Scale::Recall, recall)),
        (
            "time",
            scatter(
                format!("Median latency, {lie}: down is better"),
                "p50 latency",
                Scale::Log(tick_nanoseconds),
                time,
            ),
        ),
    ]
}

/// One line for each index, or for each of its parameter sets where it has several.
fn selectivity_lines(
    runs: &[RunData],
    part: &Part<'_, '_>,
    (by, names): (SeriesBy, &[String]),
    measure: impl Fn(&Point<'_>) -> Option<Spread>,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (style, series) in names.iter().enumerate() {
        let of_series: Vec<&&Point<'_>> =
            part.points.iter().filter(|point| points::series_name(runs, point, by) == *series).collect();
        let several =
            of_series.windows(2).any(|pair| (pair[0].trial, pair[0].params) != (pair[1].trial, pair[1].params));
        for point in of_series {
            let words = if several { format!(" ({})", point.describe_params()) } else { String::new() };
            let name = format!("{series}{words}");
            let (Some(filtering), Some(spread)) = (&point.setting.filtering, measure(point)) else { continue };
            let dot = Dot {
                at: filtering.selectivity(),
                middle: spread.median,
                low: spread.min,
                high: spread.max,
                front: true,
            };
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.dots.push(dot),
                None => lines.push(Line { name, style, dots: vec![dot] }),
            }
        }
    }
    lines
}

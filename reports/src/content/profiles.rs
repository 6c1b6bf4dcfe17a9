//! Profiles as a report shows them: flame graphs embedded, heap totals and sites as tables, files linked.

use std::{
    fmt::Write as _,
    path::{Component, Path},
};

use crate::{format, grid::Grid, points, record::Profile, run::RunData};

/// Flame graphs are embedded up to this many bytes in all; what is beyond is only linked.
const MOST_EMBEDDED_BYTES: u64 = 6 << 20;

/// One profile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProfileContent {
    /// What was profiled.
    pub(crate) heading: String,
    /// Samples or totals in words.
    pub(crate) summary: String,
    /// Label and link, relative to the report.
    pub(crate) files: Vec<(String, String)>,
    /// The flame graph as a `data:` address, when there is one that is not too large.
    pub(crate) flamegraph: Option<String>,
    /// Allocation sites with most bytes at the peak.
    pub(crate) sites: Grid,
}

pub(super) fn gather(runs: &[RunData], out_folder: &Path) -> Vec<ProfileContent> {
    let mut room = MOST_EMBEDDED_BYTES;
    let mut out = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        for profile in &run.profiles {
            out.push(ProfileContent {
                heading: heading(runs, at, profile),
                summary: summary(profile),
                files: links(run, profile, out_folder),
                flamegraph: flamegraph(run, profile, &mut room),
                sites: sites(profile),
            });
        }
    }
    out
}

fn heading(runs: &[RunData], run: usize, profile: &Profile) -> String {
    let what = match (profile.kind.as_str(), profile.stage.as_str()) {
        ("heap", _) => "heap".to_owned(),
        (kind, stage) => format!("{kind}, {stage}"),
    };
    let name = points::subject_name(runs, run, &profile.index);
    format!("{name} ({}): {what}", format::all_params(&profile.params, &profile.search))
}

fn summary(profile: &Profile) -> String {
    let mut words = Vec::new();
    if let Some(samples) = profile.samples {
        words.push(format::plural(samples, "sample", "samples"));
    }
    if let Some(heap) = &profile.heap {
        let blocks = |blocks| format::plural(blocks, "block", "blocks");
        words.push(format!("at the peak {} in {}", format::bytes(heap.peak_bytes as f64), blocks(heap.peak_blocks)));
        words.push(format!("in total {} in {}", format::bytes(heap.total_bytes as f64), blocks(heap.total_blocks)));
    }
    words.join("; ")
}

fn sites(profile: &Profile) -> Grid {
    let mut grid =
        Grid::new(&["site", "#bytes at the peak", "#blocks at the peak", "#bytes in total", "#blocks in total"]);
    for site in profile.heap.iter().flat_map(|heap| &heap.sites) {
        let bytes = |bytes: u64| format::bytes(bytes as f64);
        grid.push(vec![
            site.frame.clone(),
            bytes(site.peak_bytes),
            format::count(site.peak_blocks),
            bytes(site.total_bytes),
            format::count(site.total_blocks),
        ]);
    }
    grid
}

/// Links work where the report lies inside its run's folder; elsewhere the paths would lead nowhere.
fn links(run: &RunData, profile: &Profile, out_folder: &Path) -> Vec<(String, String)> {
    let Some(up) = climb(&run.folder, out_folder) else { return Vec::new() };
    profile
        .files
        .iter()
        .filter(|(_, path)| run.folder.join(path).is_file())
        .map(|(label, path)| (label.clone(), format!("{up}{}", percent_encoded(path, "/"))))
        .collect()
}

/// `../` as often as it takes from `out_folder` up to `folder`; `None` when it does not lie inside.
pub(crate) fn climb(folder: &Path, out_folder: &Path) -> Option<String> {
    let inner = out_folder.strip_prefix(folder).ok()?;
    let plain = inner.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| "../".repeat(inner.components().count()))
}

fn flamegraph(run: &RunData, profile: &Profile, room: &mut u64) -> Option<String> {
    let path = run.folder.join(profile.files.get("flamegraph")?);
    let svg = std::fs::read_to_string(path).ok().filter(|svg| svg.len() as u64 <= *room)?;
    *room -= svg.len() as u64;
    Some(format!("data:image/svg+xml,{}", percent_encoded(&svg, " /=,;-_.()'!*")))
}

/// ASCII letters, digits and `plain` as they are, everything else as %XX.
pub(crate) fn percent_encoded(text: &str, plain: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || plain.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_climb_only_out_of_the_runs_own_folder() {
        assert_eq!(climb(Path::new("runs/a"), Path::new("runs/a/report")), Some("../".to_owned()));
        assert_eq!(climb(Path::new("runs/a"), Path::new("runs/a")), Some(String::new()));
        assert_eq!(climb(Path::new("runs/a"), Path::new("elsewhere")), None);
        assert_eq!(climb(Path::new("runs/a"), Path::new("runs/a/../b")), None);
    }

    #[test]
    fn an_address_holds_no_quote_and_no_bracket() {
        assert_eq!(percent_encoded("a b\"<é>", " "), "a b%22%3C%C3%A9%3E");
    }
}

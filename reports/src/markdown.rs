//! `report.md`: the same words and tables as the page, with links to the plots, for places that show Markdown.

use std::fmt::Write as _;

use crate::{
    content::{Content, FilteredContent, SettingContent},
    grid::{Grid, escape_markdown},
    plots::Plot,
};

/// Renders the report. `plots` lie beside it.
pub(crate) fn render(content: &Content, plots: &[Plot], downloads: &[(String, String)]) -> String {
    let mut out = format!("# {}\n\n", escape_markdown(&content.title));
    for question in &content.questions {
        let _ = writeln!(out, "> {}\n", escape_markdown(question));
    }
    let _ = writeln!(out, "**{}**\n", escape_markdown(&content.verdict));
    for analysis in &content.analysis {
        let _ = writeln!(out, "{}\n", escape_markdown(analysis));
    }
    for note in &content.notes {
        let _ = writeln!(out, "- Note: {}", escape_markdown(note));
    }
    if !content.notes.is_empty() {
        out.push('\n');
    }
    for setting in &content.settings {
        self::setting(&mut out, setting, plots);
    }
    for one in &content.filtered {
        filtered(&mut out, one, plots);
    }
    for (heading, grid) in &content.storage {
        let _ = writeln!(out, "## {}\n", escape_markdown(heading));
        for plot in plots.iter().filter(|plot| plot.heading.as_ref() == Some(heading)) {
            picture(&mut out, plot);
        }
        out.push_str(&grid.to_markdown());
        out.push('\n');
    }
    table(&mut out, "Expectations", &content.expectations);
    table(&mut out, "Builds", &content.builds);
    for plot in plots.iter().filter(|plot| plot.setting.is_none() && plot.heading.is_none()) {
        picture(&mut out, plot);
    }
    profiles(&mut out, content);
    table(&mut out, "Failed", &content.failures);
    table(&mut out, "Rejected before measuring", &content.rejected);
    table(&mut out, "What differs from the first run", &content.environment_differences);
    for run in &content.runs {
        let _ = writeln!(out, "## Reproduce {}\n\n```sh\n{}\n```\n", escape_markdown(&run.name), run.command);
        table(&mut out, "Run", &run.progress);
        table(&mut out, "Data set", &run.dataset);
        table(&mut out, "Disk", &run.disk);
        table(&mut out, "Environment", &run.environment);
    }
    let links: Vec<String> = downloads.iter().map(|(label, href)| format!("[{label}]({href})")).collect();
    let _ = writeln!(out, "## Data\n\n{}\n", links.join(" · "));
    table(&mut out, "Columns of the results", &content.columns);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn setting(out: &mut String, setting: &SettingContent, plots: &[Plot]) {
    let _ = writeln!(out, "## {}\n", escape_markdown(&setting.heading));
    for plot in plots.iter().filter(|plot| plot.setting.as_ref() == Some(&setting.setting)) {
        picture(out, plot);
    }
    table(out, "Best at recall >= r", &setting.best);
    table(out, "Latency distribution", &setting.latency);
    table(out, "Query difficulty", &setting.difficulty);
    table(out, "Work done", &setting.counters);
    table(out, "Every point", &setting.points);
}

fn filtered(out: &mut String, one: &FilteredContent, plots: &[Plot]) {
    let _ = writeln!(out, "## Filtered search: {}\n", escape_markdown(&one.heading));
    let _ = writeln!(out, "{}\n", escape_markdown(&one.verdict));
    for unsupported in &one.unsupported {
        let _ = writeln!(out, "- Unsupported: {}", escape_markdown(unsupported));
    }
    if !one.unsupported.is_empty() {
        out.push('\n');
    }
    for plot in plots.iter().filter(|plot| plot.heading.as_ref() == Some(&one.heading)) {
        picture(out, plot);
    }
    table(out, "Recall and time among what matches", &one.grid);
}

fn profiles(out: &mut String, content: &Content) {
    if content.profiles.is_empty() {
        return;
    }
    out.push_str("## Profiles\n\n");
    for profile in &content.profiles {
        let links: Vec<String> = profile.files.iter().map(|(label, href)| format!(" · [{label}]({href})")).collect();
        let (heading, summary) = (escape_markdown(&profile.heading), escape_markdown(&profile.summary));
        let _ = writeln!(out, "- {heading}: {summary}{}\n", links.concat());
        if !profile.sites.is_empty() {
            let _ = writeln!(out, "{}", profile.sites.to_markdown());
        }
    }
}

fn picture(out: &mut String, plot: &Plot) {
    let _ = writeln!(out, "![{}]({}.png)\n", escape_markdown(&plot.caption), plot.name);
}

fn table(out: &mut String, heading: &str, grid: &Grid) {
    if !grid.is_empty() {
        let _ = writeln!(out, "### {}\n\n{}", escape_markdown(heading), grid.to_markdown());
    }
}

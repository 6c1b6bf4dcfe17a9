//! A whole report folder: `index.html`, `report.md`, the plots, and the tables where no run's folder has them.
//!
//! Everything is made in memory and laid beside its final name before the first file gets its name: a failure leaves
//! nothing, and a file that is there is whole.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    atomic::{self, FileError, Staged},
    content::{self, climb},
    html, markdown,
    plots::{self, Plot, PlotError},
    points,
    run::{RECORDS_FILE, RunData},
    table::{Table, TableError},
};

/// Why a report could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// There is nothing to report on.
    #[error("a report needs at least one run")]
    NoRuns,
    /// A plot could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A table could not be made.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The page could not be made: a mistake in nearlab.
    #[error("cannot render the page: {0}")]
    Page(String),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where a report is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The page.
    pub html: PathBuf,
    /// The Markdown report.
    pub markdown: PathBuf,
    /// The plots: PNG and SVG.
    pub plots: Vec<PathBuf>,
}

/// Renders one or several runs together into `out_folder`, which is made when it is not there. Files of the same names
/// are replaced; others are left alone.
pub fn render(runs: &[RunData], out_folder: &Path) -> Result<Rendered, RenderError> {
    if runs.is_empty() {
        return Err(RenderError::NoRuns);
    }
    let points = points::gather(runs);
    let plots = plots::draw(runs, &points)?;
    let content = content::gather(runs, &points, out_folder);
    let (downloads, tables) = downloads(runs, out_folder)?;
    let page = html::render(runs, &points, &content, &plots, &downloads)
        .map_err(|error| RenderError::Page(error.to_string()))?;
    let text = markdown::render(&content, &plots, &downloads);
    let mut files: Vec<(String, Vec<u8>)> = tables;
    for Plot { name, png, svg, .. } in plots {
        files.push((format!("{name}.png"), png));
        files.push((format!("{name}.svg"), svg.into_bytes()));
    }
    files.push(("report.md".to_owned(), text.into_bytes()));
    // Last: who sees the page sees everything it links to.
    files.push(("index.html".to_owned(), page.into_bytes()));
    let paths = write_all(out_folder, &files)?;
    let ending = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "png" || ending == "svg");
    Ok(Rendered {
        html: out_folder.join("index.html"),
        markdown: out_folder.join("report.md"),
        plots: paths.iter().filter(ending).cloned().collect(),
    })
}

/// File name and bytes.
type Named = (String, Vec<u8>);

/// Label and address.
type Link = (String, String);

/// Labels and links of the result files, and those files that must be written because no link would reach them.
fn downloads(runs: &[RunData], out_folder: &Path) -> Result<(Vec<Link>, Vec<Named>), RenderError> {
    const TABLES: [&str; 2] = ["results.csv", "results.parquet"];
    let label = |name: &str| name.to_owned();
    if let [run] = runs
        && let Some(up) = climb(&run.folder, out_folder)
        && TABLES.iter().all(|name| run.folder.join(name).is_file())
    {
        let links = TABLES.into_iter().chain([RECORDS_FILE]).map(|name| (label(name), format!("{up}{name}")));
        return Ok((links.collect(), Vec::new()));
    }
    let [parquet, csv] = Table::of(runs).encode()?;
    let files = vec![("results.csv".to_owned(), csv), ("results.parquet".to_owned(), parquet)];
    Ok((TABLES.map(|name| (label(name), name.to_owned())).to_vec(), files))
}

fn write_all(folder: &Path, files: &[Named]) -> Result<Vec<PathBuf>, FileError> {
    let new = !folder.exists();
    std::fs::create_dir_all(folder).map_err(FileError::at(folder, "create the folder"))?;
    let staged: Result<Vec<Staged>, FileError> =
        files.iter().map(|(name, bytes)| atomic::stage(&folder.join(name), bytes)).collect();
    match staged {
        Ok(staged) => staged.into_iter().map(Staged::commit).collect(),
        Err(error) => {
            if new {
                // Only when empty: what was staged is gone by now.
                let _: io::Result<()> = std::fs::remove_dir(folder);
            }
            Err(error)
        }
    }
}

//! Renders the synthetic runs of the tests into a folder, for a person who works on the report to look at: the one with filters into
//! `filtered` below it.
//!
//! `cargo run -p nearlab-reports --example specimen -- FOLDER`

use std::{error::Error, path::PathBuf};

#[path = "../tests/fixture/mod.rs"]
mod fixture;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: specimen FOLDER")?);
    if folder.exists() {
        return Err(format!("{}: is there already", folder.display()).into());
    }
    let filtered = folder.join("filtered");
    std::fs::create_dir_all(&filtered)?;
    for run in [fixture::write(&folder), fixture::filtered(&filtered)] {
        nearlab_reports::table::Table::of(std::slice::from_ref(&run)).write(&run.folder)?;
        let rendered = nearlab_reports::render(std::slice::from_ref(&run), &run.folder.join("report"))?;
        eprintln!("{}", nearlab_reports::summary::Summary::of(std::slice::from_ref(&run)).to_text());
        eprintln!("{}", rendered.html.display());
    }
    Ok(())
}

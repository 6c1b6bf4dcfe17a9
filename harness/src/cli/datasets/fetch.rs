//! `nearlab datasets fetch`.

use anyhow::Result;
use clap::Args;
use nearlab_datasets::{catalog::Catalog, fetch};

use super::{Context, entry};
use crate::cli::{OK, say_line};

/// Fetch data sets of the catalogue into the cache; continues a download that was cut off.
///
/// With `NEARLAB_MIRROR` set to a folder or an address, files are taken from there instead of the published addresses.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Names from `nearlab datasets list`.
    #[arg(required = true)]
    names: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let catalog = Catalog::builtin();
    // A misspelt name is said before the first gigabyte is fetched.
    let entries = arguments.names.iter().map(|name| entry(&catalog, name)).collect::<Result<Vec<_>>>()?;
    for entry in entries {
        context.display.begin(&entry.name);
        let path = fetch::fetch(entry, &context.cache, &context.display)?;
        context.display.end(&format!("{}: here", entry.name));
        say_line(path.display())?;
    }
    Ok(OK)
}

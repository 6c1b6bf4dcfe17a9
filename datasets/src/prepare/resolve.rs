//! From what an experiment names to files on this disk.

use std::path::{Path, PathBuf};

use nearlab_simd::Metric;

use super::PrepareError;
use crate::{
    cache::Cache,
    catalog::Catalog,
    fetch::fetch,
    progress::Progress,
    source::{Format, Source},
};

/// Files that exist.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// For records and file names.
    pub(crate) name: String,
    /// Where the data came from, for records: a file name or an address, never a folder of this machine.
    pub(crate) source: String,
    pub(crate) train: PathBuf,
    pub(crate) test: Option<PathBuf>,
    pub(crate) neighbors: Option<PathBuf>,
    pub(crate) metric: Option<Metric>,
}

impl Resolved {
    /// Every file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.train), self.test.as_ref(), self.neighbors.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Finds or fetches the files of `source`.
pub(crate) fn resolve(
    source: &Source,
    base_dir: &Path,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Resolved, PrepareError> {
    let mut resolved = Resolved {
        name: source.name(),
        source: String::new(),
        train: PathBuf::new(),
        test: None,
        neighbors: None,
        metric: None,
    };
    match source {
        Source::Files(files) => {
            let find = |path: &Path| {
                existing(path, base_dir).ok_or_else(|| not_found(&path.display().to_string(), base_dir, Vec::new()))
            };
            resolved.train = find(&files.train)?;
            resolved.test = Some(find(&files.test)?);
            resolved.neighbors = files.neighbors.as_deref().map(find).transpose()?;
            resolved.metric = Some(files.metric);
            resolved.source = file_name(&resolved.train);
        }
        Source::Name(name) => {
            if let Some(path) = existing(Path::new(name), base_dir) {
                resolved.source = file_name(&path);
                resolved.train = path;
                return Ok(resolved);
            }
            let catalog = Catalog::builtin();
            let Some(entry) = catalog.find(name) else {
                let suggestions = catalog.suggestions(name).into_iter().map(str::to_owned).collect();
                return Err(not_found(name, base_dir, suggestions));
            };
            resolved.train = fetch(entry, cache, progress)?;
            resolved.metric = Some(entry.metric);
            resolved.source = match &entry.place {
                crate::catalog::Place::Url(url) => url.clone(),
                crate::catalog::Place::File(path) => file_name(path),
            };
        }
    }
    Ok(resolved)
}

/// The file at `path`: as it is, beside the experiment, or in the current folder.
fn existing(path: &Path, base_dir: &Path) -> Option<PathBuf> {
    [base_dir.join(path), path.to_path_buf()].into_iter().find(|path| path.is_file())
}

fn not_found(name: &str, base_dir: &Path, suggestions: Vec<String>) -> PrepareError {
    let path = Path::new(name);
    // A bare word is meant as a name, so only a path is worth listing twice.
    let looks_like_path = path.components().count() > 1 || Format::of(path).is_ok();
    let mut looked = vec![base_dir.join(path)];
    if looks_like_path && path.is_relative() && base_dir != Path::new("") {
        looked.push(path.to_path_buf());
    }
    PrepareError::NotFound { name: name.to_owned(), looked, suggestions }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

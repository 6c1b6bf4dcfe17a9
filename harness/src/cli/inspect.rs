//! `nearlab inspect`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use nearlab_datasets::Prepared;
use nearlab_index::{Index, OpenError, Persist, flat::Flat, hnsw::Hnsw, ivf::Ivf};

use super::{OK, say};

/// Check a file that nearlab wrote (a saved index or a prepared data set), every byte of it, and say what it holds.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file: an index under `indexes/` of a run with `measure: {save: true}`, or one of the cache's data sets.
    file: PathBuf,
}

type Rows = Vec<(String, String)>;
type Open = fn(&Path) -> Result<Rows, OpenError>;

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let rows = describe(&arguments.file)?;
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        say(format_args!("{name:width$}  {value}\n"))?;
    }
    Ok(OK)
}

/// Opens the file as each kind in turn; the kind is in its header, so all but one refuse it at once.
fn describe(path: &Path) -> Result<Rows> {
    let kinds: [Open; 4] = [hnsw, index::<Ivf>, index::<Flat>, data_set];
    let mut foreign = None;
    for open in kinds {
        match open(path) {
            Err(OpenError::ForeignKind { found, .. }) => foreign = Some(found),
            Err(error) => return Err(error.into()),
            Ok(rows) => return Ok(rows),
        }
    }
    match foreign {
        Some(found) => {
            bail!("{}: expected a flat, hnsw or ivf index or a data set, found kind `{found}`", path.display())
        }
        None => bail!("{}: no kind of file was tried", path.display()),
    }
}

fn index<I: Index + Persist>(path: &Path) -> Result<Rows, OpenError> {
    I::open(path).map(|index| rows(&index, Vec::new()))
}

fn hnsw(path: &Path) -> Result<Rows, OpenError> {
    let hnsw = Hnsw::open(path)?;
    let params = hnsw.params();
    let facts = [
        ("m", params.m.to_string()),
        ("ef_construction", params.ef_construction.to_string()),
        ("seed", params.seed.to_string()),
        ("alpha", params.alpha.to_string()),
        ("codes", params.codes.name().to_owned()),
        ("components", params.components.to_string()),
        ("sub_dim", params.sub_dim.to_string()),
        ("construction", params.construction.name().to_owned()),
        ("rerank_codes", params.rerank_codes.name().to_owned()),
    ];
    Ok(rows(&hnsw, facts.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// What every index has to say, with the build parameters before the sizes.
fn rows<I: Index>(index: &I, params: Rows) -> Rows {
    let kind = std::any::type_name::<I>().rsplit("::").next().unwrap_or_default().to_lowercase();
    let mut rows = vec![
        ("kind".to_owned(), format!("{kind} index")),
        ("n".to_owned(), index.len().to_string()),
        ("d".to_owned(), index.dim().to_string()),
        ("metric".to_owned(), index.metric().to_string()),
        ("digest".to_owned(), format!("{:016x}", index.digest())),
    ];
    rows.extend(params);
    rows.extend(index.memory().0.iter().map(|(part, bytes)| (format!("{part} bytes"), bytes.to_string())));
    rows.extend(index.stats().into_iter().map(|(name, value)| (name, value.to_string())));
    rows
}

fn data_set(path: &Path) -> Result<Rows, OpenError> {
    let prepared = Prepared::open(path)?;
    prepared.verify()?;
    let facts = prepared.fingerprint();
    Ok(vec![
        ("kind".to_owned(), "prepared data set".to_owned()),
        ("name".to_owned(), facts.name.clone()),
        ("source".to_owned(), facts.source.clone()),
        ("n".to_owned(), facts.n.to_string()),
        ("d".to_owned(), facts.d.to_string()),
        ("queries".to_owned(), facts.queries.to_string()),
        ("metric".to_owned(), facts.metric.to_string()),
        ("sha256".to_owned(), facts.sha256.clone()),
    ])
}

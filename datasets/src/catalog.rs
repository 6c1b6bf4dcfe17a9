//! The catalogue: names of data sets, where each one lies, and what it must contain.
//!
//! The built-in catalogue is `datasets/catalog.yaml`, compiled in. A catalogue of the user's own has the same form; its
//! entries are added, and replace built-in ones of the same name. An entry only says what is true of the file: fetching
//! it is [`crate::fetch`], reading it is `prepare`.
//!
//! Invariants: a name is safe as a file name; exactly one of `url` and `file` is given; numbers are positive; a
//! SHA-256 is 64 lower-case hex digits.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use nearlab_simd::Metric;
use serde::Deserialize;
use serde_saphyr::Spanned;
use thiserror::Error;

const BUILTIN: &str = include_str!("../catalog.yaml");

/// Named data sets, in the order of their names.
#[derive(Debug, Clone)]
pub struct Catalog {
    entries: BTreeMap<String, Entry>,
}

/// One data set of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key in the catalogue: letters, digits, `.`, `_`, `-`; safe as a file name.
    pub name: String,
    /// Where the file lies.
    pub place: Place,
    /// SHA-256 of the whole file, 64 lower-case hex digits, where it is really known.
    pub sha256: Option<String>,
    /// Length of the whole file in bytes, where it is known exactly.
    pub bytes: Option<u64>,
    /// Base vectors.
    pub n: u64,
    /// Dimensions.
    pub d: u64,
    /// Query vectors.
    pub queries: u64,
    /// Exact neighbours stored per query, where known.
    pub truth_k: Option<u64>,
    /// Metric of the stored neighbours.
    pub metric: Metric,
    /// What a reader of results should know.
    pub note: Option<String>,
}

/// Where the file of an [`Entry`] lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Address, `http://` or `https://`.
    Url(String),
    /// Local path; relative paths were resolved against the catalogue's folder.
    File(PathBuf),
}

/// Why a catalogue could not be loaded.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The file could not be read.
    #[error("catalogue {}: {source}", path.display())]
    Io {
        /// The catalogue.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Not YAML, an unknown or missing key, or a value of the wrong type.
    #[error("catalogue {}: {message}", path.display())]
    Yaml {
        /// The catalogue.
        path: PathBuf,
        /// Line, column, reason, and the lines around it.
        message: String,
    },
    /// An entry that is well-formed but cannot be true.
    #[error("catalogue {}:{line}:{column}: {name}: {problem}", path.display())]
    Entry {
        /// The catalogue.
        path: PathBuf,
        /// Line of the value, from 1.
        line: u64,
        /// Column of the value, from 1.
        column: u64,
        /// Name of the entry.
        name: String,
        /// What was expected and what was found.
        problem: String,
    },
}

/// An entry as it is written, with places for messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: Option<Spanned<String>>,
    file: Option<Spanned<String>>,
    sha256: Option<Spanned<String>>,
    bytes: Option<Spanned<u64>>,
    n: Spanned<u64>,
    d: Spanned<u64>,
    queries: Spanned<u64>,
    truth_k: Option<Spanned<u64>>,
    metric: Spanned<String>,
    note: Option<String>,
}

impl Catalog {
    /// The catalogue that is compiled in.
    ///
    /// Its one `file:` entry is looked for in the source tree that this crate was built from, else in `datasets/` of
    /// the current folder.
    pub fn builtin() -> Self {
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = if built_from.is_dir() { built_from } else { Path::new("datasets") };
        match parse(BUILTIN, Path::new("datasets/catalog.yaml"), folder) {
            Ok(entries) => Self { entries },
            Err(error) => panic!("the built-in catalogue is part of the program and must be valid: {error}"),
        }
    }

    /// The built-in catalogue with the entries of the YAML file at `path` added, replacing those of the same name.
    pub fn load(path: &Path) -> Result<Self, CatalogError> {
        let text = std::fs::read_to_string(path).map_err(|source| CatalogError::Io { path: path.into(), source })?;
        let mut catalog = Self::builtin();
        catalog.entries.extend(parse(&text, path, path.parent().unwrap_or(Path::new("")))?);
        Ok(catalog)
    }

    /// The entry of that name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All entries, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Up to three names that someone who wrote `name` may have meant, the likeliest first.
    ///
    /// A name counts when few edits separate the two, or when one is a prefix of the other.
    pub fn suggestions(&self, name: &str) -> Vec<&str> {
        let wanted = name.to_lowercase();
        let mut near: Vec<(usize, &str)> = self
            .entries
            .keys()
            .filter_map(|key| {
                let edits = edit_distance(&wanted, key);
                let begins = wanted.len() >= 3 && (key.starts_with(&wanted) || wanted.starts_with(key.as_str()));
                (begins || edits <= key.len().max(wanted.len()) / 4).then_some((edits, key.as_str()))
            })
            .collect();
        near.sort_unstable();
        near.into_iter().take(3).map(|(_, key)| key).collect()
    }
}

fn parse(text: &str, path: &Path, folder: &Path) -> Result<BTreeMap<String, Entry>, CatalogError> {
    let written: BTreeMap<String, Written> = serde_saphyr::from_str(text)
        .map_err(|error| CatalogError::Yaml { path: path.into(), message: error.to_string() })?;
    let mut entries = BTreeMap::new();
    for (name, written) in written {
        let entry = check(&name, written, folder).map_err(|(line, column, problem)| CatalogError::Entry {
            path: path.into(),
            line,
            column,
            name: name.clone(),
            problem,
        })?;
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// Line, column and what is wrong there.
type Problem = (u64, u64, String);

fn at<T>(value: &Spanned<T>, problem: String) -> Problem {
    (value.referenced.line(), value.referenced.column(), problem)
}

fn check(name: &str, written: Written, folder: &Path) -> Result<Entry, Problem> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(safe) {
        let problem = "a name is letters, digits, '.', '_' and '-', and begins with a letter or digit".into();
        return Err(at(&written.n, problem));
    }
    let metric: Metric = written.metric.value.parse().map_err(|_| {
        at(&written.metric, format!("metric: expected l2, inner_product or cosine, found {:?}", written.metric.value))
    })?;
    if let Some(sha256) = &written.sha256
        && !is_sha256(&sha256.value)
    {
        return Err(at(sha256, format!("sha256: expected 64 lower-case hex digits, found {:?}", sha256.value)));
    }
    Ok(Entry {
        name: name.into(),
        place: place(&written, folder)?,
        sha256: written.sha256.map(|sha256| sha256.value),
        bytes: written.bytes.as_ref().map(|bytes| positive("bytes", bytes)).transpose()?,
        n: positive("n", &written.n)?,
        d: positive("d", &written.d)?,
        queries: positive("queries", &written.queries)?,
        truth_k: written.truth_k.as_ref().map(|k| positive("truth_k", k)).transpose()?,
        metric,
        note: written.note,
    })
}

fn place(written: &Written, folder: &Path) -> Result<Place, Problem> {
    match (&written.url, &written.file) {
        (Some(url), None) if url.value.starts_with("http://") || url.value.starts_with("https://") => {
            Ok(Place::Url(url.value.clone()))
        }
        (Some(url), None) => {
            Err(at(url, format!("url: expected http:// or https:// (a local path is `file:`), found {:?}", url.value)))
        }
        (None, Some(file)) => Ok(Place::File(folder.join(&file.value))),
        (Some(_), Some(file)) => Err(at(file, "give url or file, not both".into())),
        (None, None) => Err(at(&written.n, "expected url or file, found neither".into())),
    }
}

fn positive(key: &str, value: &Spanned<u64>) -> Result<u64, Problem> {
    if value.value == 0 { Err(at(value, format!("{key}: expected at least 1, found 0"))) } else { Ok(value.value) }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Levenshtein distance over bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut current = vec![i + 1];
        for (j, y) in b.bytes().enumerate() {
            let substituted = previous[j] + usize::from(x != y);
            current.push(substituted.min(previous[j + 1] + 1).min(current[j] + 1));
        }
        previous = current;
    }
    previous[b.len()]
}

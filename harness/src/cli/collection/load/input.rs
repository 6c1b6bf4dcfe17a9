//! What is loaded, checked as far as it can be before anything is changed.

use std::{ops::Range, path::Path};

use anyhow::{Result, bail, ensure};
use nearlab_datasets::{DataFile, source::RowReader};
use nearlab_index::collection::CollectionConfig;
use nearlab_storage::metadata::Document;

use super::{Arguments, documents::Documents};
use crate::cli::collection::{ids::OwnedIds, no_fields};

/// Vectors, ids and documents of some records.
pub(super) struct Input {
    vectors: Box<dyn RowReader>,
    documents: Option<Documents>,
    /// An id for each.
    pub(super) ids: OwnedIds,
    /// How many.
    pub(super) rows: usize,
    /// How many are put at once.
    pub(super) step: usize,
}

impl Input {
    /// Opens the files, and refuses those that do not belong together.
    pub(super) fn open(arguments: &Arguments, config: &CollectionConfig) -> Result<Self> {
        let vectors = DataFile::open(&arguments.vectors)?.train;
        let (dim, path) = (vectors.dim(), arguments.vectors.display());
        ensure!(dim == config.dim, "{path}: expected vectors of {} components, found {dim}", config.dim);
        let rows = vectors.rows().min(arguments.limit.unwrap_or(usize::MAX));
        let fits = |path: &Path, what: &str, found: usize| {
            // Whoever asks for the first vectors only may have the lines of the others or not.
            let fits = found == rows || arguments.limit.is_some() && found > rows;
            ensure!(fits, "{}: expected {what} for each of {rows} vectors, found {found}", path.display());
            Ok(())
        };
        let ids = match &arguments.ids {
            None => OwnedIds::counted(config.ids, arguments.first_id, rows)?,
            Some(path) => {
                let ids = OwnedIds::load(config.ids, path)?;
                fits(path, "an id", ids.len())?;
                ids
            }
        };
        let documents = match (&arguments.metadata, &config.schema) {
            (None, _) => None,
            (Some(_), None) => return Err(no_fields(&arguments.folder, "--metadata")),
            (Some(path), Some(schema)) => {
                let (documents, found) = Documents::open(path, schema.clone())?;
                fits(path, "a document", found)?;
                Some(documents)
            }
        };
        let step = (arguments.batch as usize).next_multiple_of(vectors.row_alignment().max(1));
        Ok(Self { vectors, documents, ids, rows, step })
    }

    /// Some vectors, and a document for each, if there are documents. Batches follow one another.
    pub(super) fn batch(&mut self, rows: Range<usize>) -> Result<(Vec<f32>, Vec<Document>)> {
        let mut vectors = Vec::new();
        self.vectors.read_f32(rows.clone(), &mut vectors)?;
        if let Some(at) = vectors.iter().position(|component| !component.is_finite()) {
            let (path, dim) = (self.vectors.path().display(), self.vectors.dim());
            let (row, column) = (rows.start + at / dim, at % dim);
            bail!("{path}: expected finite numbers, found {} in row {row}, column {column}", vectors[at]);
        }
        let documents = self.documents.as_mut().map(|documents| documents.take(rows.len())).transpose()?;
        Ok((vectors, documents.unwrap_or_default()))
    }
}

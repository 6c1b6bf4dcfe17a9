//! What is fixed when a collection is made, and the file that keeps it.

use std::path::Path;

use nearlab_simd::Metric;
use nearlab_storage::disk::Disk;
use nearlab_storage::metadata::Schema;
use nearlab_storage::store::{ElementKind, IdKind, Shape};
use serde::{Deserialize, Serialize};

use super::CollectionError;
use super::open::io;
use crate::ParamError;
use crate::hnsw::HnswParams;
use crate::ivf::IvfParams;

/// The name of the file.
pub(super) const NAME: &str = "collection.json";
/// The name that it has while it is written.
pub(super) const UNFINISHED: &str = "collection.json.new";
const VERSION: u32 = 1;

/// What is fixed when a collection is made.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionConfig {
    /// Components of each vector.
    pub dim: usize,
    /// How distances are measured.
    pub metric: Metric,
    /// The type in which components are kept. Vectors are given as `f32`; `f16` rounds them, `u8` takes whole numbers from 0
    /// to 255 only.
    pub element: ElementKind,
    /// What identifies a record.
    pub ids: IdKind,
    /// How vectors are found.
    pub index: IndexConfig,
    /// The fields of the records; none where there are only vectors.
    pub schema: Option<Schema>,
}

/// How the vectors of a collection are found.
#[derive(Debug, Clone, PartialEq)]
pub enum IndexConfig {
    /// By comparing all of them.
    Flat,
    /// By a graph, once there are [`GRAPH_FROM`](super::GRAPH_FROM) of them; it follows every change. Codes coarser than `sq8` need rerank
    /// codes.
    Hnsw(HnswParams),
    /// By lists, which [`optimize`](super::Collection::optimize) makes; what comes later is compared until the next.
    Ivf(IvfParams),
}

impl IndexConfig {
    /// `flat`, `hnsw` or `ivf`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Hnsw(_) => "hnsw",
            Self::Ivf(_) => "ivf",
        }
    }

    /// Whether a build makes codes of the vectors, if only to choose neighbours by.
    pub(super) fn needs_codes(&self) -> bool {
        matches!(self, Self::Hnsw(params) if params.needs_codes())
    }
}

impl CollectionConfig {
    pub(super) fn shape(&self) -> Shape {
        Shape { dim: self.dim, element: self.element, ids: self.ids }
    }

    /// Refuses parameters out of range, and an index that could not be inserted into.
    pub(super) fn check(&self) -> Result<(), ParamError> {
        match &self.index {
            IndexConfig::Flat => Ok(()),
            IndexConfig::Hnsw(params) => {
                params.validate()?;
                params.validate_live()
            }
            IndexConfig::Ivf(params) => params.validate(),
        }
    }

    pub(super) fn save(&self, disk: &dyn Disk) -> Result<(), CollectionError> {
        let written = Written {
            version: VERSION,
            dim: self.dim,
            metric: self.metric.as_str().to_owned(),
            element: self.element,
            ids: self.ids,
            index: match &self.index {
                IndexConfig::Flat => WrittenIndex::Flat {},
                IndexConfig::Hnsw(params) => WrittenIndex::Hnsw(*params),
                IndexConfig::Ivf(params) => WrittenIndex::Ivf(*params),
            },
            schema: self.schema.clone(),
        };
        let text = serde_json::to_string_pretty(&written).expect("a configuration has a JSON form");
        let write = || {
            let file = disk.create(UNFINISHED)?;
            file.write_all_at(0, text.as_bytes())?;
            file.sync()?;
            disk.rename(UNFINISHED, NAME)?;
            disk.sync_folder()
        };
        write().map_err(io("write", &disk.path(NAME)))
    }

    pub(super) fn load(folder: &Path) -> Result<Self, CollectionError> {
        let path = folder.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(CollectionError::NoCollection(folder.to_owned()));
            }
            Err(cause) => return Err(CollectionError::Io { doing: "read", path, cause }),
        };
        let wrong = |found: String| CollectionError::Config { path: path.clone(), found };
        let written: Written = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if written.version != VERSION {
            return Err(wrong(format!("version {}, which is not {VERSION}", written.version)));
        }
        let metric = written.metric.parse().map_err(|error| wrong(format!("{error}")))?;
        let index = match written.index {
            WrittenIndex::Flat {} => IndexConfig::Flat,
            WrittenIndex::Hnsw(params) => IndexConfig::Hnsw(params),
            WrittenIndex::Ivf(params) => IndexConfig::Ivf(params),
        };
        let Written { dim, element, ids, schema, .. } = written;
        let config = Self { dim, metric, element, ids, index, schema };
        config.check().map_err(|error| wrong(error.to_string()))?;
        Ok(config)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    dim: usize,
    metric: String,
    element: ElementKind,
    ids: IdKind,
    index: WrittenIndex,
    #[serde(default)]
    schema: Option<Schema>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum WrittenIndex {
    Flat {},
    Hnsw(HnswParams),
    Ivf(IvfParams),
}

//! What is fixed when a collection is made, and the file that keeps it.

use std::path::Path;

use nearlab_simd::Metric;
use nearlab_storage::disk::Disk;
use nearlab_storage::metadata::{MetadataStore, Schema};
use nearlab_storage::store::{ElementKind, IdKind, Shape, VectorStore};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::CollectionError;
use super::open::io;
use crate::ParamError;
use crate::hnsw::HnswParams;
use crate::ivf::IvfParams;

/// The name of the file.
pub(super) const NAME: &str = "collection.json";
/// The name that it has while it is written.
pub(super) const UNFINISHED: &str = "collection.json.new";
/// Version 1 had no checksum.
const VERSION: u32 = 2;
/// What stands before the checksum, XXH3-64 in 16 hexadecimal digits, and what stands after it. It is of all that follows these.
const SEAL: [&str; 2] = ["{\n  \"checksum\": \"", "\","];

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

    /// Refuses a store of vectors of another shape.
    pub(super) fn check_store(&self, store: &VectorStore, folder: &Path) -> Result<(), CollectionError> {
        let (ours, theirs) = (self.shape(), store.shape());
        if ours == theirs {
            return Ok(());
        }
        let say = |shape: Shape| format!("vectors of {} {}, ids that are {}", shape.dim, shape.element, shape.ids);
        let found = format!("it says {}, its store {}", say(ours), say(theirs));
        Err(CollectionError::Config { path: folder.join(NAME), found })
    }

    /// Refuses metadata with other fields.
    pub(super) fn check_schema(&self, metadata: &MetadataStore, folder: &Path) -> Result<(), CollectionError> {
        if self.schema.as_ref() == Some(metadata.schema()) {
            return Ok(());
        }
        let found = "its fields are not those of its metadata".to_owned();
        Err(CollectionError::Config { path: folder.join(NAME), found })
    }

    pub(super) fn save(&self, disk: &dyn Disk) -> Result<(), CollectionError> {
        let written = Written {
            checksum: None,
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
        let text = seal(&serde_json::to_string_pretty(&written).expect("a configuration has a JSON form"));
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
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(CollectionError::NoCollection(folder.to_owned()));
            }
            Err(cause) => return Err(CollectionError::Io { doing: "read", path, cause }),
        };
        let wrong = |found: String| CollectionError::Config { path: path.clone(), found };
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if !(1..=VERSION).contains(&written.version) {
            return Err(wrong(format!("version {}, which is not 1 to {VERSION}", written.version)));
        }
        if written.version > 1 || written.checksum.is_some() {
            check_seal(&bytes).map_err(wrong)?;
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

/// The text of an object with the checksum of its members as the first of them.
fn seal(text: &str) -> String {
    let members = &text[1..];
    format!("{}{:016x}{}{members}", SEAL[0], xxh3_64(members.as_bytes()), SEAL[1])
}

/// Whether the bytes are as they were sealed; else what is wrong, and where.
fn check_seal(bytes: &[u8]) -> Result<(), String> {
    let begin = SEAL[0].len();
    let sealed = bytes.strip_prefix(SEAL[0].as_bytes()).and_then(|rest| rest.split_at_checked(16));
    let sealed = sealed.and_then(|(sum, rest)| Some((sum, rest.strip_prefix(SEAL[1].as_bytes())?)));
    let Some((sum, members)) = sealed else { return Err("no checksum from byte 0 on".to_owned()) };
    let found = format!("{:016x}", xxh3_64(members));
    if found.as_bytes() == sum {
        return Ok(());
    }
    let sum = sum.escape_ascii();
    Err(format!("checksum {found} from byte {} on, where byte {begin} says {sum}", begin + 16 + SEAL[1].len()))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
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

//! A prepared data set: one container in the cache, memory-mapped.
//!
//! | section    | content                                                                          |
//! |------------|----------------------------------------------------------------------------------|
//! | `train`    | base vectors, f32, n x d, as in the file (not normalised)                         |
//! | `test`     | report queries, f32, queries x d                                                 |
//! | `calib`    | calibration queries, f32                                                         |
//! | `neighbor` | true neighbours of the report queries, i32, queries x k, nearest first            |
//! | `distance` | their distances, f32: Euclidean (not squared), 1 - cosine, negated inner product |
//! | `calibnbr` | neighbours of the calibration queries                                            |
//! | `calibdst` | their distances                                                                  |
//! | `meta`     | JSON: fingerprint, number of calibration queries, options                        |
//!
//! Shapes and neighbour ids are checked at [`Prepared::open`]; after that they may be trusted. Numbers are finite because
//! [`mod@crate::prepare`] refuses others, and [`Prepared::verify`] holds all bytes against their checksums.
//!
//! Version 1 has the same sections by older rules: copies had a share in the difficulty, and the check of stored
//! neighbours let more pass. It is opened, for the vectors that an older run was measured on, and never for a new run.

use std::path::{Path, PathBuf};

use nearlab_simd::Metric;
use nearlab_storage::{Buffer, Container, FileKind, OpenError, SectionId, Vectors, Verify, mmap::Advice};
use serde::{Deserialize, Serialize};

use crate::{prepare::PrepareOptions, source::metric_name};

/// Kind of the container.
pub const KIND: FileKind = FileKind::new("NL-DATA");

/// Version of what the sections mean, and of the rules by which they are made and checked.
pub const FORMAT_VERSION: u32 = 2;

/// Oldest version that is opened.
const OLDEST_VERSION: u32 = 1;

/// Names of the sections.
pub(crate) mod section {
    use nearlab_storage::SectionId;

    pub(crate) const TRAIN: SectionId = SectionId::new("train");
    pub(crate) const TEST: SectionId = SectionId::new("test");
    pub(crate) const CALIBRATE: SectionId = SectionId::new("calib");
    pub(crate) const NEIGHBORS: SectionId = SectionId::new("neighbor");
    pub(crate) const DISTANCES: SectionId = SectionId::new("distance");
    pub(crate) const CALIBRATE_NEIGHBORS: SectionId = SectionId::new("calibnbr");
    pub(crate) const CALIBRATE_DISTANCES: SectionId = SectionId::new("calibdst");
    pub(crate) const META: SectionId = SectionId::new("meta");
}

/// What identifies and characterises a data set; goes into every record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Catalogue name or file stem.
    pub name: String,
    /// File name or address it came from.
    pub source: String,
    /// SHA-256 of the decoded base vectors (after `limit`) and all queries of the file, as little-endian `f32`.
    pub sha256: String,
    /// Base vectors.
    pub n: u64,
    /// Dimensions.
    pub d: u64,
    /// Report queries.
    pub queries: u64,
    /// Metric.
    #[serde(with = "metric_name")]
    pub metric: Metric,
    /// Exact neighbours known per query.
    pub truth_k: u64,
    /// Whether every base coordinate is an integer in 0..=255.
    pub integral_u8: bool,
    /// Base rows whose bits equal those of an earlier row.
    pub duplicates: u64,
    /// Smallest Euclidean norm of a base row.
    pub norm_min: f64,
    /// Mean norm.
    pub norm_mean: f64,
    /// Largest norm.
    pub norm_max: f64,
    /// Mean local intrinsic dimensionality over the queries; none for the inner product.
    pub lid_mean: Option<f64>,
    /// Mean distance / mean nearest-neighbour distance; none for the inner product.
    pub relative_contrast: Option<f64>,
    /// Queries whose true neighbours were computed here, to check the stored ones or because none were stored.
    pub truth_checked: u64,
}

/// The `meta` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) calibrate: u64,
    pub(crate) options: PrepareOptions,
}

impl Meta {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and enums of our own always serialise.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// An open prepared data set. Cheap to open; pages are read when they are touched.
pub struct Prepared {
    container: Container,
    meta: Meta,
    train: Buffer<f32>,
    test: Buffer<f32>,
    calibrate: Buffer<f32>,
    neighbors: Buffer<i32>,
    distances: Buffer<f32>,
    calibrate_neighbors: Buffer<i32>,
    calibrate_distances: Buffer<f32>,
}

impl Prepared {
    /// Maps the file that [`prepare`](crate::prepare()) returned, and checks its shapes and ids.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let container = Container::open(path, KIND, OLDEST_VERSION..=FORMAT_VERSION, Verify::Header)?;
        let meta: Meta = serde_json::from_slice(container.bytes(section::META)?)
            .map_err(|e| container.corrupt(section::META, "a description in JSON", &e))?;
        let print = &meta.fingerprint;
        let rows_of = |rows: u64, columns: u64| (rows as usize).saturating_mul(columns as usize);
        let (d, k) = (print.d, print.truth_k);
        if d == 0 || k == 0 || print.n > i32::MAX as u64 {
            let found = format!("n {}, d {d}, truth_k {k}", print.n);
            return Err(container.corrupt(section::META, "positive sizes", &found));
        }
        let prepared = Self {
            train: container.buffer_of(section::TRAIN, rows_of(print.n, d))?,
            test: container.buffer_of(section::TEST, rows_of(print.queries, d))?,
            calibrate: container.buffer_of(section::CALIBRATE, rows_of(meta.calibrate, d))?,
            neighbors: container.buffer_of(section::NEIGHBORS, rows_of(print.queries, k))?,
            distances: container.buffer_of(section::DISTANCES, rows_of(print.queries, k))?,
            calibrate_neighbors: container.buffer_of(section::CALIBRATE_NEIGHBORS, rows_of(meta.calibrate, k))?,
            calibrate_distances: container.buffer_of(section::CALIBRATE_DISTANCES, rows_of(meta.calibrate, k))?,
            meta,
            container,
        };
        let id_range = 0..prepared.meta.fingerprint.n as i32;
        for (id, ids) in
            [(section::NEIGHBORS, &*prepared.neighbors), (section::CALIBRATE_NEIGHBORS, &*prepared.calibrate_neighbors)]
        {
            if let Some(found) = ids.iter().find(|found| !id_range.contains(found)) {
                let expected = format!("base vectors 0 to {}", id_range.end - 1);
                return Err(prepared.container.corrupt(id, &expected, &found));
            }
        }
        Ok(prepared)
    }

    /// Holds every byte of the file against its checksum.
    pub fn verify(&self) -> Result<(), OpenError> {
        self.container.verify()
    }

    /// Base vectors, n x d, raw: callers normalise them for the cosine.
    pub fn train(&self) -> Vectors<'_, f32> {
        Vectors::new(&self.train, self.dim())
    }

    /// Report queries, raw.
    pub fn test(&self) -> Vectors<'_, f32> {
        Vectors::new(&self.test, self.dim())
    }

    /// Calibration queries, disjoint from the report queries; may be empty.
    pub fn calibrate(&self) -> Vectors<'_, f32> {
        Vectors::new(&self.calibrate, self.dim())
    }

    /// True neighbours of each report query: rows of `train`, nearest first, ties by row.
    pub fn neighbors(&self) -> Vectors<'_, i32> {
        Vectors::new(&self.neighbors, self.truth_k())
    }

    /// Distances of [`Prepared::neighbors`]: Euclidean (not squared), 1 - cosine, or negated inner product.
    pub fn distances(&self) -> Vectors<'_, f32> {
        Vectors::new(&self.distances, self.truth_k())
    }

    /// True neighbours of each calibration query.
    pub fn calibrate_neighbors(&self) -> Vectors<'_, i32> {
        Vectors::new(&self.calibrate_neighbors, self.truth_k())
    }

    /// Distances of [`Prepared::calibrate_neighbors`].
    pub fn calibrate_distances(&self) -> Vectors<'_, f32> {
        Vectors::new(&self.calibrate_distances, self.truth_k())
    }

    /// Metric.
    pub fn metric(&self) -> Metric {
        self.meta.fingerprint.metric
    }

    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.meta.fingerprint.d as usize
    }

    /// Neighbours known per query.
    pub fn truth_k(&self) -> usize {
        self.meta.fingerprint.truth_k as usize
    }

    /// Catalogue name or file stem.
    pub fn name(&self) -> &str {
        &self.meta.fingerprint.name
    }

    /// What identifies the set.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.meta.fingerprint
    }

    /// Options it was prepared with.
    pub fn options(&self) -> &PrepareOptions {
        &self.meta.options
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.container.path()
    }

    /// File and byte offset of the base vectors (n x d little-endian f32), for other programs to map.
    pub fn train_location(&self) -> (PathBuf, u64) {
        self.location(section::TRAIN)
    }

    /// File and byte offset of the report queries.
    pub fn test_location(&self) -> (PathBuf, u64) {
        self.location(section::TEST)
    }

    /// File and byte offset of the calibration queries.
    pub fn calibrate_location(&self) -> (PathBuf, u64) {
        self.location(section::CALIBRATE)
    }

    /// Tells the kernel how the base vectors will be read: a hint that changes speed, never a result.
    pub fn advise_train(&self, advice: Advice) -> Result<(), OpenError> {
        self.container.advise(section::TRAIN, advice)
    }

    fn location(&self, id: SectionId) -> (PathBuf, u64) {
        // Every section was found when the file was opened.
        let offset = self.container.offset_of(id).map_or(0, |(offset, _)| offset);
        (self.container.path().to_path_buf(), offset)
    }
}

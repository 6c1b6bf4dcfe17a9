//! Prepared data sets: the files that the runner makes of HDF5 ones and keeps in its cache, named on the command line.

use nearlab_simd::Metric;
use nearlab_storage::{Container, FileKind, SectionId, Vectors, Verify};

/// A prepared data set.
pub(crate) struct Real {
    file: Container,
    pub(crate) name: String,
    pub(crate) dim: usize,
    pub(crate) metric: Metric,
}

impl Real {
    /// Those that the command line names.
    pub(crate) fn named() -> impl Iterator<Item = Self> {
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(|path| Self::open(&path))
    }

    fn open(path: &str) -> Self {
        let file = Container::open(path, FileKind::new("NL-DATA"), 1..=2, Verify::Header).unwrap();
        let meta: serde_json::Value = serde_json::from_slice(file.bytes(SectionId::new("meta")).unwrap()).unwrap();
        let fingerprint = &meta["fingerprint"];
        Self {
            name: fingerprint["name"].as_str().unwrap().to_owned(),
            dim: fingerprint["d"].as_u64().unwrap() as usize,
            metric: fingerprint["metric"].as_str().unwrap().parse().unwrap(),
            file,
        }
    }

    /// Base vectors.
    pub(crate) fn train(&self) -> Vectors<'_, f32> {
        Vectors::new(self.file.view(SectionId::new("train")).unwrap(), self.dim)
    }

    /// Queries.
    pub(crate) fn test(&self) -> Vectors<'_, f32> {
        Vectors::new(self.file.view(SectionId::new("test")).unwrap(), self.dim)
    }
}

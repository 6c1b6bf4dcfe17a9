//! Formats by extension, and opening any of them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use nearlab_simd::Metric;

use super::{ReadError, RowReader, metric_of};

/// A file format, named by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the extensions")]
pub enum Format {
    Hdf5,
    Fvecs,
    Ivecs,
    Bvecs,
    Fbin,
    U8bin,
    I8bin,
    F16bin,
    Ibin,
    Npy,
    Parquet,
}

impl Format {
    /// Every format, in the order messages list them.
    pub const ALL: [Self; 11] = [
        Self::Hdf5,
        Self::Fvecs,
        Self::Ivecs,
        Self::Bvecs,
        Self::Fbin,
        Self::U8bin,
        Self::I8bin,
        Self::F16bin,
        Self::Ibin,
        Self::Npy,
        Self::Parquet,
    ];

    /// The usual extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Hdf5 => "hdf5",
            Self::Fvecs => "fvecs",
            Self::Ivecs => "ivecs",
            Self::Bvecs => "bvecs",
            Self::Fbin => "fbin",
            Self::U8bin => "u8bin",
            Self::I8bin => "i8bin",
            Self::F16bin => "f16bin",
            Self::Ibin => "ibin",
            Self::Npy => "npy",
            Self::Parquet => "parquet",
        }
    }

    /// The format a path's extension names, in any case (`.h5` is HDF5).
    pub fn of(path: &Path) -> Result<Self, ReadError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if extension == "h5" {
            return Ok(Self::Hdf5);
        }
        Self::ALL.into_iter().find(|f| f.extension() == extension).ok_or_else(|| {
            let known = Self::ALL.map(|f| format!(".{}", f.extension())).join(" ");
            let found = if extension.is_empty() { "none".to_owned() } else { format!(".{extension}") };
            ReadError::malformed(path, "file extension", format!("one of {known}"), found)
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

/// An opened data file: which matrices it has, and what it says of its metric.
pub struct DataFile {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Base vectors. In files of a single matrix, that matrix.
    pub train: Box<dyn RowReader>,
    /// Query vectors, where the format keeps them in the same file.
    pub test: Option<Box<dyn RowReader>>,
    /// True neighbours of each query: row numbers of `train`, nearest first.
    pub neighbors: Option<Box<dyn RowReader>>,
    /// Their distances.
    pub distances: Option<Box<dyn RowReader>>,
    /// The metric, from an attribute or else from the end of the file's name (`-euclidean`, `-angular`).
    pub metric: Option<Metric>,
}

impl DataFile {
    /// Opens a file of any readable format, chosen by extension.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let format = Format::of(path)?;
        let mut file = match format {
            Format::Hdf5 => crate::hdf5::open(path)?,
            Format::Fvecs | Format::Ivecs | Format::Bvecs => {
                Self::single(path, format, crate::xvecs::open(path, format)?)
            }
            Format::Fbin | Format::U8bin | Format::I8bin | Format::F16bin => {
                Self::single(path, format, crate::xbin::open(path, format)?)
            }
            Format::Ibin => {
                let truth = crate::xbin::open_truth(path)?;
                Self { distances: truth.distances, ..Self::single(path, format, truth.neighbors) }
            }
            Format::Npy => Self::single(path, format, crate::npy::open(path)?),
            Format::Parquet => Self::single(path, format, crate::parquet::open(path)?),
        };
        file.metric = file.metric.or_else(|| metric_from_stem(path));
        Ok(file)
    }

    fn single(path: &Path, format: Format, train: Box<dyn RowReader>) -> Self {
        Self { path: path.to_path_buf(), format, train, test: None, neighbors: None, distances: None, metric: None }
    }
}

/// The metric at the end of an ann-benchmarks file name: `glove-25-angular.hdf5`.
fn metric_from_stem(path: &Path) -> Option<Metric> {
    let stem = path.file_stem()?.to_str()?;
    metric_of(stem.rsplit('-').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_extension_in_any_case() {
        for format in Format::ALL {
            let path = PathBuf::from(format!("x.{}", format.extension().to_uppercase()));
            assert_eq!(Format::of(&path).unwrap(), format);
            assert_eq!(format.to_string(), format.extension());
        }
        assert_eq!(Format::of(Path::new("a.h5")).unwrap(), Format::Hdf5);
    }

    #[test]
    fn an_unknown_extension_lists_the_known_ones() {
        let message = Format::of(Path::new("a.csv")).unwrap_err().to_string();
        assert!(message.starts_with("a.csv: file extension: expected one of .hdf5 .fvecs"), "{message}");
        assert!(message.ends_with("found .csv"), "{message}");
        assert!(Format::of(Path::new("a")).unwrap_err().to_string().ends_with("found none"));
    }

    #[test]
    fn the_metric_is_read_off_the_end_of_the_name() {
        assert_eq!(metric_from_stem(Path::new("x/glove-25-angular.hdf5")), Some(Metric::Cosine));
        assert_eq!(metric_from_stem(Path::new("sift.hdf5")), None);
    }
}

//! Writing ann-benchmarks HDF5, matrix by matrix, block by block.

use std::path::Path;

use nearlab_simd::Metric;
use nearlab_storage::{AtomicFile, WriteError};
use rust_hdf5::{H5Dataset, H5File, H5Type};

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Contiguous: the fastest to read.
    #[default]
    None,
    /// Chunked, byte-shuffled, deflated at this level (1 to 9).
    Gzip(u32),
}

/// Bytes a chunk should have.
const CHUNK_BYTES: usize = 1 << 20;

/// A file in the making. It gets its name at [`Writer::finish`]; dropped before, it leaves nothing.
pub struct Writer {
    h5: Handle,
    file: AtomicFile,
    compression: Compression,
}

impl Writer {
    /// Starts `path` with the root attributes of ann-benchmarks.
    pub fn create(path: &Path, metric: Metric, dim: usize, compression: Compression) -> Result<Self, WriteError> {
        let file = AtomicFile::create(path)?;
        let outcome = H5File::create(file.path()).and_then(|h5| {
            h5.set_attr_string("type", "dense")?;
            h5.set_attr_string("distance", distance_name(metric))?;
            h5.set_attr_string("point_type", "float")?;
            h5.set_attr_numeric("dimension", &(dim as i64))?;
            Ok(h5)
        });
        match outcome {
            Ok(h5) => Ok(Self { h5: Handle(Some(h5)), file, compression }),
            Err(e) => Err(error(path, &e)),
        }
    }

    /// Adds a matrix of `rows` x `dim`, both at least 1; its rows follow through [`MatrixWriter::put`].
    pub fn matrix<T: H5Type>(&self, name: &str, rows: usize, dim: usize) -> Result<MatrixWriter<T>, WriteError> {
        let builder = self.h5.file().new_dataset::<T>().shape([rows, dim]);
        let builder = match self.compression {
            Compression::None => builder,
            Compression::Gzip(level) => {
                let chunk_rows = (CHUNK_BYTES / (dim * T::element_size())).clamp(1, rows);
                builder.chunk(&[chunk_rows, dim]).shuffle_deflate(level)
            }
        };
        let dataset = builder.create(name).map_err(|e| error(self.file.target(), &e))?;
        Ok(MatrixWriter { dataset, target: self.file.target().to_path_buf(), dim, next: 0, pending: Vec::new() })
    }

    /// Closes the file and gives it its name.
    pub fn finish(self) -> Result<(), WriteError> {
        self.h5.close().map_err(|e| error(self.file.target(), &e))?;
        self.file.commit()
    }
}

/// The library's file, closed quietly when it is given up: by itself it would finish the file when dropped, and print
/// what fails.
struct Handle(Option<H5File>);

impl Handle {
    fn file(&self) -> &H5File {
        self.0.as_ref().unwrap_or_else(|| unreachable!("the file is taken only by the two methods that end the handle"))
    }

    fn close(mut self) -> rust_hdf5::Result<()> {
        self.0.take().map_or(Ok(()), H5File::close)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            // The temporary file it lies in is removed next; nobody misses what could not be written to it.
            let _ = file.close_no_sync();
        }
    }
}

/// Rows of one matrix, in order.
pub struct MatrixWriter<T> {
    dataset: H5Dataset,
    target: std::path::PathBuf,
    dim: usize,
    next: usize,
    pending: Vec<T>,
}

impl<T: H5Type> MatrixWriter<T> {
    /// Appends whole rows.
    pub fn put(&mut self, rows: &[T]) -> Result<(), WriteError> {
        self.pending.extend_from_slice(rows);
        // Rows are handed on by the chunk, so that no chunk is compressed twice.
        let step = (CHUNK_BYTES / (self.dim * T::element_size())).max(1) * self.dim;
        let whole = self.pending.len() / step * step;
        self.write(whole)
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.write(self.pending.len())
    }

    fn write(&mut self, elements: usize) -> Result<(), WriteError> {
        if elements == 0 {
            return Ok(());
        }
        let count = elements / self.dim;
        let outcome = self.dataset.write_slice(&[self.next, 0], &[count, self.dim], &self.pending[..elements]);
        outcome.map_err(|e| error(&self.target, &e))?;
        self.pending.drain(..elements);
        self.next += count;
        Ok(())
    }
}

/// ann-benchmarks' word for a metric.
pub fn distance_name(metric: Metric) -> &'static str {
    match metric {
        Metric::L2 => "euclidean",
        Metric::Cosine => "angular",
        Metric::InnerProduct => "ip",
    }
}

fn error(target: &Path, e: &rust_hdf5::Hdf5Error) -> WriteError {
    let cause = match e {
        rust_hdf5::Hdf5Error::Io(e) => std::io::Error::new(e.kind(), e.to_string()),
        other => std::io::Error::other(other.to_string()),
    };
    WriteError::from_io(target, cause)
}

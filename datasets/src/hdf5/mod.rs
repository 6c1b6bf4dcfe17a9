//! ann-benchmarks HDF5 (<https://github.com/erikbern/ann-benchmarks>): `train`, `test`, `neighbors`, `distances`, and the
//! root attributes `distance`, `type`, `dimension`, `point_type`, of which older files lack some or all.
//!
//! Ids may be any integers, vectors and distances any numbers, stored contiguous, compact or chunked through any filters
//! that `rust-hdf5` knows. Distances are the metric's own: the Euclidean distance (not its square), 1 - cosine, or
//! the negated inner product.
//!
//! The library stands behind [`RowReader`] and [`Writer`], and no type of it appears in a signature, so that it can be
//! replaced. Shapes are checked against the file's length here, because a damaged header may announce anything.

mod superblock;
mod write;

use std::path::{Path, PathBuf};

use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, StorageLayout};

use crate::source::{DataFile, Element, Format, Header, ReadError, RowReader, guard, metric_of, open_file};

pub use write::{Compression, MatrixWriter, Writer, distance_name};

/// Deflate shrinks at most 1032-fold; a file that announces more than this times its length is damaged.
const MAX_EXPANSION: u64 = 1100;

/// Opens an ann-benchmarks HDF5 file. Only `train` must exist.
pub fn open(path: &Path) -> Result<DataFile, ReadError> {
    let (file, length) = open_file(path)?;
    superblock::check(path, &file, length)?;
    drop(file);
    guard(path, "HDF5 structure", || open_structure(path, length))
}

fn open_structure(path: &Path, length: u64) -> Result<DataFile, ReadError> {
    let h5 =
        H5File::open(path).map_err(|e| ReadError::malformed(path, "HDF5 structure", "a whole file", e.to_string()))?;
    let attribute = |name: &str| {
        if h5.attr_names().is_ok_and(|names| names.iter().any(|n| n == name)) {
            h5.attr_string(name).ok()
        } else {
            None
        }
    };
    if attribute("type").is_some_and(|t| t.trim() == "sparse") {
        return Err(ReadError::malformed(path, "attribute `type`", "dense vectors", "sparse"));
    }
    let metric = match attribute("distance") {
        Some(distance) => Some(metric_of(&distance).ok_or_else(|| {
            let found: String = distance.chars().take(40).collect();
            ReadError::malformed(path, "attribute `distance`", "euclidean, angular or ip", found)
        })?),
        None => None,
    };
    let names = h5.dataset_names();
    let matrix = |name: &str| {
        if names.iter().any(|n| n == name) { matrix(&h5, path, name, length).map(Some) } else { Ok(None) }
    };
    let train = matrix("train")?.ok_or_else(|| {
        let found =
            if names.is_empty() { "none".into() } else { names.join(", ").chars().take(200).collect::<String>() };
        ReadError::malformed(path, "data sets", "`train` (and `test`, `neighbors`, `distances`)", found)
    })?;
    Ok(DataFile {
        path: path.to_path_buf(),
        format: Format::Hdf5,
        train,
        test: matrix("test")?,
        neighbors: matrix("neighbors")?,
        distances: matrix("distances")?,
        metric,
    })
}

struct H5Rows {
    path: PathBuf,
    name: String,
    dataset: H5Dataset,
    rows: usize,
    dim: usize,
    element: Element,
    row_alignment: usize,
}

fn matrix(h5: &H5File, path: &Path, name: &str, length: u64) -> Result<Box<dyn RowReader>, ReadError> {
    let broken =
        |e: rust_hdf5::Hdf5Error| ReadError::malformed(path, format!("`{name}`"), "a readable matrix", e.to_string());
    let dataset = h5.dataset(name).map_err(broken)?;
    let shape = dataset.shape();
    let &[rows, dim] = shape.as_slice() else {
        let found = format!("{} ({})", shape.len(), shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "));
        return Err(ReadError::malformed(path, format!("rank of `{name}`"), "2 (rows x columns)", found));
    };
    let datatype = dataset.datatype().map_err(broken)?;
    let element = element(&datatype).ok_or_else(|| {
        ReadError::malformed(path, format!("element type of `{name}`"), "integers or IEEE floats", class(&datatype))
    })?;
    let header = Header { path: path.to_path_buf(), name: name.into(), rows: rows as u64, dim: dim as u64, element };
    let (rows, dim, bytes) = header.shape()?;
    let limit = match dataset.storage_layout().map_err(broken)? {
        StorageLayout::Contiguous | StorageLayout::Compact => length,
        StorageLayout::Chunked => length.saturating_mul(MAX_EXPANSION),
        StorageLayout::Virtual => {
            let expected = "data in this file";
            return Err(ReadError::malformed(path, format!("layout of `{name}`"), expected, "a virtual data set"));
        }
    };
    if bytes > limit {
        return Err(ReadError::truncated(path, format!("`{name}` ({rows} x {dim} {})", element.name()), bytes, length));
    }
    let row_alignment = match dataset.chunk_dims().as_deref() {
        Some(&[chunk_rows, chunk_columns]) => {
            // Chunks are decoded whole, so a damaged chunk shape would be an allocation of any size.
            let chunk = (chunk_rows as u64).saturating_mul(chunk_columns as u64).saturating_mul(element.size() as u64);
            if chunk > bytes.saturating_mul(4).max(1 << 24) {
                let expected = format!("chunks no larger than the matrix ({rows} x {dim})");
                let found = format!("{chunk_rows} x {chunk_columns}");
                return Err(ReadError::malformed(path, format!("chunk shape of `{name}`"), expected, found));
            }
            chunk_rows.clamp(1, rows.max(1))
        }
        _ => 1,
    };
    Ok(Box::new(H5Rows { path: header.path, name: header.name, dataset, rows, dim, element, row_alignment }))
}

fn element(datatype: &DatatypeMessage) -> Option<Element> {
    match *datatype {
        DatatypeMessage::FixedPoint { size, signed, bit_offset: 0, bit_precision, .. }
            if u64::from(bit_precision) == u64::from(size) * 8 =>
        {
            match (size, signed) {
                (1, false) => Some(Element::U8),
                (1, true) => Some(Element::I8),
                (2, false) => Some(Element::U16),
                (2, true) => Some(Element::I16),
                (4, false) => Some(Element::U32),
                (4, true) => Some(Element::I32),
                (8, false) => Some(Element::U64),
                (8, true) => Some(Element::I64),
                _ => None,
            }
        }
        DatatypeMessage::FloatingPoint { size, exponent_size, mantissa_size, .. } => {
            match (size, exponent_size, mantissa_size) {
                (2, 5, 10) => Some(Element::F16),
                (4, 8, 23) => Some(Element::F32),
                (8, 11, 52) => Some(Element::F64),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The class of a type that is refused. The library's own wording of a damaged type can overflow.
fn class(datatype: &DatatypeMessage) -> &'static str {
    match datatype {
        DatatypeMessage::FixedPoint { .. } | DatatypeMessage::BitField { .. } => "integers of an unusual layout",
        DatatypeMessage::FloatingPoint { .. } => "floats of an unusual layout",
        DatatypeMessage::FixedString { .. } | DatatypeMessage::VarLenString { .. } => "strings",
        DatatypeMessage::Compound { .. } => "a compound type",
        DatatypeMessage::Enum { .. } => "an enumeration",
        _ => "another type",
    }
}

impl RowReader for H5Rows {
    fn path(&self) -> &Path {
        &self.path
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn rows(&self) -> usize {
        self.rows
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn element(&self) -> Element {
        self.element
    }
    fn row_alignment(&self) -> usize {
        self.row_alignment
    }
    fn read_bytes(&mut self, first: usize, out: &mut [u8]) -> Result<(), ReadError> {
        let size = self.element.size();
        let (starts, counts) = ([first, 0], [out.len() / (self.dim * size), self.dim]);
        let place = format!("`{}` from row {first} on", self.name);
        guard(&self.path, &place, || {
            // The library asks for a type of the element's size and turns its bytes to the host's order.
            let outcome = match size {
                1 => self.dataset.read_slice_into::<u8>(out, &starts, &counts),
                2 => self.dataset.read_slice_into::<u16>(bytemuck::cast_slice_mut(out), &starts, &counts),
                4 => self.dataset.read_slice_into::<u32>(bytemuck::cast_slice_mut(out), &starts, &counts),
                _ => self.dataset.read_slice_into::<u64>(bytemuck::cast_slice_mut(out), &starts, &counts),
            };
            outcome.map_err(|e| {
                ReadError::malformed(&self.path, &place, format!("{} readable rows", counts[0]), e.to_string())
            })
        })
    }
}

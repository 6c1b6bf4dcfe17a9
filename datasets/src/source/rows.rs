//! One matrix of a data file, read in blocks of rows, whatever the format.
//!
//! Decoding by blocks is what keeps the memory of loading near the size of one block: no reader holds a whole matrix.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Element, ReadError};

/// Bytes a block of rows should have: large enough for fast reads, small against any data set.
const BLOCK_BYTES: usize = 8 << 20;

/// Largest dimension accepted; beyond it a header is taken for damaged.
pub const MAX_DIM: usize = 1 << 20;

/// A row-major matrix in a file.
pub trait RowReader {
    /// The file.
    fn path(&self) -> &Path;
    /// Name of the matrix in messages: `train`, `emb`, `rows`, ...
    fn name(&self) -> &str;
    /// Rows.
    fn rows(&self) -> usize;
    /// Elements per row, at least 1.
    fn dim(&self) -> usize;
    /// Stored element type.
    fn element(&self) -> Element;
    /// Blocks that start and end on multiples of this many rows are decoded only once (1 where it does not matter).
    fn row_alignment(&self) -> usize {
        1
    }
    /// Reads whole rows from row `first` on as little-endian elements; `out` has room for some number of rows that
    /// exist. Ranges are checked by the methods of `dyn RowReader`, which callers use instead of this one.
    fn read_bytes(&mut self, first: usize, out: &mut [u8]) -> Result<(), ReadError>;
}

impl dyn RowReader + '_ {
    /// The ranges of rows to read the whole matrix in, in order, each about 8 MiB as `f32`.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, align) = (self.rows(), self.row_alignment().max(1));
        let wanted = (BLOCK_BYTES / (self.dim() * size_of::<f32>())).max(1);
        let step = wanted.next_multiple_of(align).min(rows.max(1));
        (0..rows).step_by(step).map(move |first| first..rows.min(first + step))
    }

    /// Reads `rows` as `f32` into `out`, replacing its content.
    ///
    /// Panics if the range lies outside the matrix.
    pub fn read_f32(&mut self, rows: Range<usize>, out: &mut Vec<f32>) -> Result<(), ReadError> {
        self.check(&rows);
        out.resize(rows.len() * self.dim(), 0.0);
        if self.element() == Element::F32 {
            return self.read_bytes(rows.start, bytemuck::cast_slice_mut(out));
        }
        let bytes = self.raw(&rows)?;
        self.element().to_f32(bytemuck::cast_slice(&bytes)[..out.len() * self.element().size()].as_ref(), out);
        Ok(())
    }

    /// Reads `rows` as ids into `out`, replacing its content.
    ///
    /// Panics if the range lies outside the matrix.
    pub fn read_i64(&mut self, rows: Range<usize>, out: &mut Vec<i64>) -> Result<(), ReadError> {
        self.check(&rows);
        if !self.element().is_integer() {
            return Err(ReadError::malformed(
                self.path(),
                format!("element type of `{}`", self.name()),
                "integers",
                self.element().name(),
            ));
        }
        out.resize(rows.len() * self.dim(), 0);
        let bytes = self.raw(&rows)?;
        self.element().to_i64(bytemuck::cast_slice(&bytes)[..out.len() * self.element().size()].as_ref(), out);
        Ok(())
    }

    /// Reads the whole matrix as `f32`; block by block, for a header may promise rows that do not come.
    pub fn read_all_f32(&mut self) -> Result<Vec<f32>, ReadError> {
        let (mut out, mut block) = (Vec::new(), Vec::new());
        for rows in self.blocks() {
            self.read_f32(rows, &mut block)?;
            out.extend_from_slice(&block);
        }
        Ok(out)
    }

    /// Stored bytes of `rows`, in eight-byte words so that every element type is aligned.
    fn raw(&mut self, rows: &Range<usize>) -> Result<Vec<u64>, ReadError> {
        let length = rows.len() * self.dim() * self.element().size();
        let mut words = vec![0u64; length.div_ceil(8)];
        self.read_bytes(rows.start, &mut bytemuck::cast_slice_mut(&mut words)[..length])?;
        Ok(words)
    }

    fn check(&self, rows: &Range<usize>) {
        assert!(
            rows.start <= rows.end && rows.end <= self.rows(),
            "rows {rows:?} of a matrix of {} rows were asked for",
            self.rows()
        );
    }
}

/// What a header says of a matrix.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) dim: u64,
    pub(crate) element: Element,
}

impl Header {
    /// Checks the shape against what a data set can be, and returns it with the bytes the elements take.
    pub(crate) fn shape(&self) -> Result<(usize, usize, u64), ReadError> {
        let place = || format!("shape of `{}`", self.name);
        let found = || format!("{} x {}", self.rows, self.dim);
        if self.dim == 0 || self.dim > MAX_DIM as u64 {
            return Err(ReadError::malformed(&self.path, place(), format!("1 to {MAX_DIM} columns"), found()));
        }
        if self.rows > i32::MAX as u64 {
            return Err(ReadError::malformed(&self.path, place(), format!("at most {} rows", i32::MAX), found()));
        }
        Ok((self.rows as usize, self.dim as usize, self.rows * self.dim * self.element.size() as u64))
    }
}

/// A matrix whose elements lie one after the other from a byte offset on (fbin, npy).
#[derive(Debug)]
pub(crate) struct PackedRows {
    header: Header,
    file: File,
    offset: u64,
    rows: usize,
    dim: usize,
}

impl PackedRows {
    /// Checks that the file, `file_length` bytes long, holds all elements of `header` from `offset` on.
    pub(crate) fn new(header: Header, file: File, offset: u64, file_length: u64) -> Result<Self, ReadError> {
        let (rows, dim, bytes) = header.shape()?;
        if file_length < offset + bytes {
            let place = format!("`{}` ({rows} x {dim} {})", header.name, header.element.name());
            return Err(ReadError::truncated(&header.path, place, offset + bytes, file_length));
        }
        Ok(Self { header, file, offset, rows, dim })
    }
}

impl RowReader for PackedRows {
    fn path(&self) -> &Path {
        &self.header.path
    }
    fn name(&self) -> &str {
        &self.header.name
    }
    fn rows(&self) -> usize {
        self.rows
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn element(&self) -> Element {
        self.header.element
    }
    fn read_bytes(&mut self, first: usize, out: &mut [u8]) -> Result<(), ReadError> {
        let at = self.offset + (first * self.dim * self.header.element.size()) as u64;
        self.file
            .read_exact_at(out, at)
            .map_err(|e| ReadError::io(&self.header.path, format!("read `{}` at row {first}", self.header.name), e))
    }
}

/// Opens a file and asks its length.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64), ReadError> {
    let file = File::open(path).map_err(|e| ReadError::io(path, "open", e))?;
    let metadata = file.metadata().map_err(|e| ReadError::io(path, "open", e))?;
    if !metadata.is_file() {
        return Err(ReadError::malformed(path, "file type", "a file", "a folder or device"));
    }
    Ok((file, metadata.len()))
}

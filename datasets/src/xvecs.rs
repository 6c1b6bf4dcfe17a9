//! fvecs, ivecs and bvecs: the TEXMEX layout (<http://corpus-texmex.irisa.fr>).
//!
//! Every row is a little-endian `i32` dimension followed by that many elements (`f32`, `i32` or `u8`). The dimension is
//! repeated before each row; each repeat is checked when its row is read.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::source::{Element, Format, Header, ReadError, RowReader, open_file};

/// Bytes of the dimension before each row.
const PREFIX: usize = 4;

struct XvecsRows {
    path: PathBuf,
    file: File,
    rows: usize,
    dim: usize,
    element: Element,
    scratch: Vec<u8>,
}

/// Opens a file of `.fvecs`, `.ivecs` or `.bvecs`.
///
/// Panics on another format.
pub fn open(path: &Path, format: Format) -> Result<Box<dyn RowReader>, ReadError> {
    let element = match format {
        Format::Fvecs => Element::F32,
        Format::Ivecs => Element::I32,
        Format::Bvecs => Element::U8,
        other => panic!("{other} is not one of fvecs, ivecs, bvecs"),
    };
    let (file, length) = open_file(path)?;
    if length < PREFIX as u64 {
        return Err(ReadError::truncated(path, "dimension of row 0", PREFIX as u64, length));
    }
    let mut prefix = [0; PREFIX];
    file.read_exact_at(&mut prefix, 0).map_err(|e| ReadError::io(path, "read the dimension of row 0", e))?;
    let dim = i32::from_le_bytes(prefix);
    if dim < 1 {
        return Err(ReadError::malformed(path, "dimension of row 0", "a positive number", dim.to_string()));
    }
    let stride = PREFIX as u64 + dim as u64 * element.size() as u64;
    let header =
        Header { path: path.to_path_buf(), name: "rows".into(), rows: length / stride, dim: dim as u64, element };
    let (rows, dim, _) = header.shape()?;
    if !length.is_multiple_of(stride) {
        let place = format!("row {rows} ({dim} {} and the dimension)", element.name());
        return Err(ReadError::truncated(path, place, stride, length % stride));
    }
    Ok(Box::new(XvecsRows { path: header.path, file, rows, dim, element, scratch: Vec::new() }))
}

impl RowReader for XvecsRows {
    fn path(&self) -> &Path {
        &self.path
    }
    fn name(&self) -> &'static str {
        "rows"
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
    fn read_bytes(&mut self, first: usize, out: &mut [u8]) -> Result<(), ReadError> {
        let row_bytes = self.dim * self.element.size();
        let stride = PREFIX + row_bytes;
        self.scratch.resize(out.len() / row_bytes * stride, 0);
        self.file
            .read_exact_at(&mut self.scratch, (first * stride) as u64)
            .map_err(|e| ReadError::io(&self.path, format!("read row {first}"), e))?;
        for (i, (to, from)) in out.chunks_exact_mut(row_bytes).zip(self.scratch.chunks_exact(stride)).enumerate() {
            let (prefix, row) = from.split_at(PREFIX);
            if prefix != (self.dim as u32).to_le_bytes() {
                let found = prefix.iter().rev().fold(0u32, |n, &b| n << 8 | u32::from(b)) as i32;
                let place = format!("dimension of row {}", first + i);
                return Err(ReadError::malformed(&self.path, place, self.dim.to_string(), found.to_string()));
            }
            to.copy_from_slice(row);
        }
        Ok(())
    }
}

/// Writes rows of `dim` `f32` (fvecs) or `i32` (ivecs) elements, each after its dimension.
pub fn write_rows<T: bytemuck::Pod>(out: &mut impl Write, dim: usize, rows: &[T]) -> io::Result<()> {
    for row in rows.chunks_exact(dim) {
        out.write_all(&(dim as u32).to_le_bytes())?;
        out.write_all(bytemuck::cast_slice(row))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        write_rows(&mut bytes, 3, &[1.5f32, -2.0, 0.0, 4.0, 5.0, 6.0]).unwrap();
        let (_folder, path) = file("a.fvecs", &bytes);
        let mut rows = open(&path, Format::Fvecs).unwrap();
        assert_eq!((rows.rows(), rows.dim(), rows.element()), (2, 3, Element::F32));
        assert_eq!(rows.read_all_f32().unwrap(), [1.5, -2.0, 0.0, 4.0, 5.0, 6.0]);
        let mut one = Vec::new();
        rows.read_f32(1..2, &mut one).unwrap();
        assert_eq!(one, [4.0, 5.0, 6.0]);
    }

    #[test]
    fn bytes_and_integers_are_read() {
        let (_folder, path) = file("a.bvecs", &[2, 0, 0, 0, 7, 255, 2, 0, 0, 0, 1, 0]);
        assert_eq!(open(&path, Format::Bvecs).unwrap().read_all_f32().unwrap(), [7.0, 255.0, 1.0, 0.0]);
        let mut bytes = Vec::new();
        write_rows(&mut bytes, 2, &[3i32, -1]).unwrap();
        let (_folder, path) = file("a.ivecs", &bytes);
        let mut ids = Vec::new();
        open(&path, Format::Ivecs).unwrap().read_i64(0..1, &mut ids).unwrap();
        assert_eq!(ids, [3, -1]);
    }

    #[test]
    fn a_row_of_another_dimension_is_named() {
        let mut bytes = Vec::new();
        write_rows(&mut bytes, 2, &[1f32, 2.0, 3.0, 4.0]).unwrap();
        bytes[12] = 9;
        let (_folder, path) = file("a.fvecs", &bytes);
        let message = open(&path, Format::Fvecs).unwrap().read_all_f32().unwrap_err().to_string();
        assert!(message.ends_with("dimension of row 1: expected 2, found 9"), "{message}");
    }

    #[test]
    fn a_truncated_file_is_refused_with_both_lengths() {
        let mut bytes = Vec::new();
        write_rows(&mut bytes, 2, &[1f32, 2.0, 3.0, 4.0]).unwrap();
        let (_folder, path) = file("a.fvecs", &bytes[..19]);
        let message = open(&path, Format::Fvecs).err().unwrap().to_string();
        assert!(message.contains("row 1") && message.contains("truncated: expected 12 bytes, found 7"), "{message}");
        let (_folder, path) = file("a.fvecs", &bytes[..3]);
        assert!(open(&path, Format::Fvecs).err().unwrap().to_string().contains("expected 4 bytes, found 3"));
    }

    #[test]
    fn an_impossible_dimension_is_refused() {
        let (_folder, path) = file("a.fvecs", &(-4i32).to_le_bytes());
        let message = open(&path, Format::Fvecs).err().unwrap().to_string();
        assert!(message.ends_with("expected a positive number, found -4"), "{message}");
        let (_folder, path) = file("a.fvecs", &[0xff, 0xff, 0xff, 0x7f]);
        assert!(open(&path, Format::Fvecs).err().unwrap().to_string().contains("1 to 1048576 columns"));
    }

    #[test]
    fn a_missing_file_and_a_folder_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            open(&folder.path().join("no.fvecs"), Format::Fvecs).err().unwrap().to_string().contains("cannot open")
        );
        let message = open(folder.path(), Format::Fvecs).err().unwrap().to_string();
        assert!(message.contains("expected a file, found a folder"), "{message}");
    }

    #[test]
    #[should_panic(expected = "npy is not one of fvecs, ivecs, bvecs")]
    fn only_its_own_formats_are_opened() {
        let _ = open(Path::new("a"), Format::Npy);
    }
}

//! fbin, u8bin, i8bin, f16bin and ibin, and ground truth files: the layout of big-ann-benchmarks
//! (<https://big-ann-benchmarks.com>).
//!
//! A file is `u32 n`, `u32 d`, then n x d elements, all little-endian. A ground truth file is `u32 n`, `u32 k`, then
//! n x k ids (`u32`), then, in most files, n x k distances (`f32`): which of the two it is, only its size tells.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::source::{Element, Format, Header, PackedRows, ReadError, RowReader, open_file};

/// Bytes of `n` and `d`.
const HEADER: u64 = 8;

/// A ground truth file.
pub struct TruthFile {
    /// Row numbers of the true neighbours, nearest first.
    pub neighbors: Box<dyn RowReader>,
    /// Their distances, when the file has them.
    pub distances: Option<Box<dyn RowReader>>,
}

/// Opens `.fbin`, `.u8bin`, `.i8bin` or `.f16bin`.
///
/// Panics on another format.
pub fn open(path: &Path, format: Format) -> Result<Box<dyn RowReader>, ReadError> {
    let element = match format {
        Format::Fbin => Element::F32,
        Format::U8bin => Element::U8,
        Format::I8bin => Element::I8,
        Format::F16bin => Element::F16,
        other => panic!("{other} is not one of fbin, u8bin, i8bin, f16bin"),
    };
    let (file, length) = open_file(path)?;
    let header = read_header(path, &file, length, element)?;
    let (rows, dim, bytes) = header.shape()?;
    refuse_trailing(path, length, HEADER + bytes, &format!("{rows} x {dim} {}", element.name()))?;
    Ok(Box::new(PackedRows::new(header, file, HEADER, length)?))
}

/// Opens `.ibin`, or a ground truth file of any name.
pub fn open_truth(path: &Path) -> Result<TruthFile, ReadError> {
    let (file, length) = open_file(path)?;
    let header = read_header(path, &file, length, Element::U32)?;
    let (rows, k, bytes) = header.shape()?;
    let distances = if length == HEADER + 2 * bytes && bytes > 0 {
        let file = file.try_clone().map_err(|e| ReadError::io(path, "open", e))?;
        let header = Header { name: "distances".into(), element: Element::F32, ..header.clone() };
        Some(Box::new(PackedRows::new(header, file, HEADER + bytes, length)?) as Box<dyn RowReader>)
    } else {
        let what = format!("{rows} x {k} ids, or {} with distances", HEADER + 2 * bytes);
        refuse_trailing(path, length, HEADER + bytes, &what)?;
        None
    };
    Ok(TruthFile { neighbors: Box::new(PackedRows::new(header, file, HEADER, length)?), distances })
}

fn read_header(path: &Path, file: &File, length: u64, element: Element) -> Result<Header, ReadError> {
    if length < HEADER {
        return Err(ReadError::truncated(path, "header (u32 n, u32 d)", HEADER, length));
    }
    let mut bytes = [0; HEADER as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|e| ReadError::io(path, "read the header", e))?;
    let (rows, dim) = (u64::from_le_bytes(bytes) & 0xffff_ffff, u64::from_le_bytes(bytes) >> 32);
    let name = if element == Element::U32 { "neighbors" } else { "rows" };
    Ok(Header { path: path.to_path_buf(), name: name.into(), rows, dim, element })
}

/// A longer file than announced is of another format or another element type: refused rather than misread.
fn refuse_trailing(path: &Path, length: u64, expected: u64, what: &str) -> Result<(), ReadError> {
    if length > expected {
        return Err(ReadError::malformed(
            path,
            "file length",
            format!("{expected} bytes for {what}"),
            format!("{length} bytes"),
        ));
    }
    Ok(())
}

/// Writes the `u32 n`, `u32 d` header; the elements follow as they are.
pub fn write_header(out: &mut impl Write, rows: usize, dim: usize) -> io::Result<()> {
    let narrow = |n: usize| u32::try_from(n).map_err(|_| io::Error::other(format!("{n} does not fit the u32 header")));
    out.write_all(&narrow(rows)?.to_le_bytes())?;
    out.write_all(&narrow(dim)?.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(name: &str, rows: usize, dim: usize, body: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut bytes = Vec::new();
        write_header(&mut bytes, rows, dim).unwrap();
        bytes.extend_from_slice(body);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn every_element_type_is_read() {
        let half: Vec<u8> = [1.0f32, -0.5].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
        let cases: [(Format, &[u8], [f32; 2]); 4] = [
            (Format::Fbin, bytemuck::cast_slice(&[1.5f32, 2.0]), [1.5, 2.0]),
            (Format::U8bin, &[200, 3], [200.0, 3.0]),
            (Format::I8bin, &[0xfe, 3], [-2.0, 3.0]),
            (Format::F16bin, &half, [1.0, -0.5]),
        ];
        for (format, body, expected) in cases {
            let (_folder, path) = file("a", 1, 2, body);
            assert_eq!(open(&path, format).unwrap().read_all_f32().unwrap(), expected, "{format}");
        }
    }

    #[test]
    fn size_decides_whether_a_truth_file_has_distances() {
        let ids: Vec<u8> = [4u32, 1].iter().flat_map(|v| v.to_le_bytes()).collect();
        let (_folder, path) = file("gt", 1, 2, &ids);
        let mut truth = open_truth(&path).unwrap();
        let mut found = Vec::new();
        truth.neighbors.read_i64(0..1, &mut found).unwrap();
        assert_eq!(found, [4, 1]);
        assert!(truth.distances.is_none());

        let mut both = ids.clone();
        both.extend([0.5f32, 2.0].iter().flat_map(|v| v.to_le_bytes()));
        let (_folder, path) = file("gt", 1, 2, &both);
        assert_eq!(open_truth(&path).unwrap().distances.unwrap().read_all_f32().unwrap(), [0.5, 2.0]);

        let (_folder, path) = file("gt", 1, 2, &both[..12]);
        let message = open_truth(&path).err().unwrap().to_string();
        assert!(message.contains("expected 16 bytes for 1 x 2 ids, or 24 with distances, found 20"), "{message}");
    }

    #[test]
    fn a_truncated_file_is_refused_with_both_lengths() {
        let (_folder, path) = file("a.fbin", 3, 2, &[0; 20]);
        let message = open(&path, Format::Fbin).err().unwrap().to_string();
        assert!(message.contains("`rows` (3 x 2 f32) is truncated: expected 32 bytes, found 28"), "{message}");
        std::fs::write(&path, [0; 5]).unwrap();
        assert!(open(&path, Format::Fbin).err().unwrap().to_string().contains("expected 8 bytes, found 5"));
    }

    #[test]
    fn a_file_of_another_element_type_is_refused() {
        let (_folder, path) = file("a.u8bin", 2, 2, &[0; 16]);
        let message = open(&path, Format::U8bin).err().unwrap().to_string();
        assert!(message.contains("file length: expected 12 bytes for 2 x 2 u8, found 24 bytes"), "{message}");
    }

    #[test]
    fn impossible_shapes_are_refused_before_anything_is_allocated() {
        let (_folder, path) = file("a.fbin", 1, 0, &[]);
        assert!(open(&path, Format::Fbin).err().unwrap().to_string().contains("1 to 1048576 columns, found 1 x 0"));
        let (_folder, path) = file("a.fbin", 0xffff_ffff, 4, &[]);
        assert!(open(&path, Format::Fbin).err().unwrap().to_string().contains("at most 2147483647 rows"));
        assert!(write_header(&mut Vec::new(), usize::MAX, 1).unwrap_err().to_string().contains("u32 header"));
    }

    #[test]
    #[should_panic(expected = "npy is not one of fbin, u8bin, i8bin, f16bin")]
    fn only_its_own_formats_are_opened() {
        let _ = open(Path::new("a"), Format::Npy);
    }
}

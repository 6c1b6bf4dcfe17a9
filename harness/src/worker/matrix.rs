//! Maps the matrices that a trial names.

use std::path::PathBuf;

use nearlab_storage::{Vectors, mmap::Map};

use crate::protocol::Matrix;

/// Bytes of a page on every supported system; a larger page is only touched more often.
const PAGE: usize = 4096;

/// Why a matrix cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The file cannot be opened or mapped.
    #[error("cannot map {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The element type is another one.
    #[error("{}: elements are {found}, expected {expected}", path.display())]
    Element {
        /// The file.
        path: PathBuf,
        /// The type expected.
        expected: &'static str,
        /// The type named.
        found: String,
    },
    /// The matrix does not lie inside the file, or does not start on a multiple of its element's size.
    #[error("{}: a {n} x {d} {element} matrix at byte {offset} does not fit a file of {length} bytes", path.display())]
    Outside {
        /// The file.
        path: PathBuf,
        /// Rows.
        n: usize,
        /// Elements per row.
        d: usize,
        /// Element type.
        element: &'static str,
        /// First byte.
        offset: u64,
        /// Bytes in the file.
        length: usize,
    },
}

/// A matrix in a mapped file, as bytes.
pub struct MappedBytes {
    map: Map,
    bytes: std::ops::Range<usize>,
}

impl MappedBytes {
    /// Maps `matrix`, whose elements must be of the type `element`, of `size` bytes.
    pub fn open(matrix: &Matrix, element: &'static str, size: usize) -> Result<Self, MapError> {
        let path = || matrix.path.clone();
        if matrix.element != element {
            return Err(MapError::Element { path: path(), expected: element, found: matrix.element.clone() });
        }
        let map = Map::open(&matrix.path).map_err(|source| MapError::Io { path: path(), source })?;
        let outside = || MapError::Outside {
            path: path(),
            n: matrix.n,
            d: matrix.d,
            element,
            offset: matrix.offset,
            length: map.len(),
        };
        let length = matrix.n.checked_mul(matrix.d).and_then(|count| count.checked_mul(size)).ok_or_else(outside)?;
        let start = usize::try_from(matrix.offset).map_err(|_| outside())?;
        let end = start.checked_add(length).filter(|&end| end <= map.len()).ok_or_else(outside)?;
        if matrix.d == 0 || !start.is_multiple_of(size) {
            return Err(outside());
        }
        Ok(Self { map, bytes: start..end })
    }

    /// The elements, row by row.
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.bytes.clone()]
    }
}

/// A row-major f32 matrix in a mapped file.
pub struct MappedMatrix {
    mapped: MappedBytes,
    d: usize,
}

impl MappedMatrix {
    /// Maps `matrix`.
    pub fn open(matrix: &Matrix) -> Result<Self, MapError> {
        Ok(Self { mapped: MappedBytes::open(matrix, "f32", size_of::<f32>())?, d: matrix.d })
    }

    /// The vectors.
    pub fn vectors(&self) -> Vectors<'_, f32> {
        // A map starts on a page, and the matrix on a multiple of 4 bytes of it.
        Vectors::new(bytemuck::cast_slice(self.mapped.bytes()), self.d)
    }

    /// Touches every page, so that later accesses do not fault. Returns the sum of what it touched, which keeps the
    /// compiler from leaving it out.
    pub fn fault_in(&self) -> u64 {
        self.mapped.bytes().iter().step_by(PAGE).map(|&byte| u64::from(byte)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(bytes: &[u8], n: usize, offset: u64) -> (tempfile::TempDir, Matrix) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("matrix");
        std::fs::write(&path, bytes).unwrap();
        (folder, Matrix { path, offset, n, d: 2, element: "f32".into() })
    }

    #[test]
    fn rows_behind_an_offset_are_found() {
        let bytes: Vec<u8> = [0.0f32, 1.0, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let (_folder, matrix) = matrix(&bytes, 2, 4);
        let mapped = MappedMatrix::open(&matrix).unwrap();
        assert_eq!(mapped.vectors().row(1), [3.0, 4.0]);
        mapped.fault_in();
    }

    #[test]
    fn a_matrix_past_the_end_of_the_file_is_refused() {
        let (_folder, good) = matrix(&[0; 16], 2, 0);
        for bad in [
            Matrix { n: 3, ..good.clone() },
            Matrix { offset: 2, n: 1, ..good.clone() },
            Matrix { n: usize::MAX, ..good.clone() },
            Matrix { offset: u64::MAX, ..good.clone() },
            Matrix { d: 0, ..good.clone() },
        ] {
            assert!(matches!(MappedMatrix::open(&bad), Err(MapError::Outside { .. })), "{bad:?}");
        }
        assert!(matches!(
            MappedMatrix::open(&Matrix { element: "f16".into(), ..good.clone() }),
            Err(MapError::Element { .. })
        ));
        assert!(matches!(MappedMatrix::open(&Matrix { path: "/nowhere".into(), ..good }), Err(MapError::Io { .. })));
    }
}

//! What is learnt of the base vectors while they pass by: finite or not, integral or not, norms, duplicates, hash.

use nearlab_storage::Vectors;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::truth::norm_squared;

/// Rows a thread takes at a time.
const ROWS: usize = 1024;

/// A NaN or an infinity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NonFinite {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) value: f32,
}

/// Statistics of the rows seen so far.
pub(crate) struct Stats {
    rows: u64,
    row_hashes: Vec<u64>,
    norm_min: f64,
    norm_sum: f64,
    norm_max: f64,
    integral_u8: bool,
}

/// Statistics of all rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BaseStats {
    pub(crate) duplicates: u64,
    pub(crate) norm_min: f64,
    pub(crate) norm_mean: f64,
    pub(crate) norm_max: f64,
    pub(crate) integral_u8: bool,
}

struct Part {
    hashes: Vec<u64>,
    norm_min: f64,
    norm_sum: f64,
    norm_max: f64,
    integral_u8: bool,
    non_finite: Option<NonFinite>,
}

impl Stats {
    pub(crate) fn new() -> Self {
        let (norm_min, norm_sum, norm_max) = (f64::INFINITY, 0.0, 0.0);
        Self { rows: 0, row_hashes: Vec::new(), norm_min, norm_sum, norm_max, integral_u8: true }
    }

    /// Takes the next rows, on the threads of the current pool. The result does not depend on how many there are.
    pub(crate) fn push(&mut self, rows: Vectors<'_, f32>) -> Result<(), NonFinite> {
        let d = rows.dim();
        let check_u8 = self.integral_u8;
        let parts: Vec<Part> =
            rows.as_slice().par_chunks(ROWS * d).map(|rows| part(Vectors::new(rows, d), check_u8)).collect();
        let mut first = self.rows as usize;
        for (i, part) in parts.into_iter().enumerate() {
            if let Some(found) = part.non_finite {
                return Err(NonFinite { row: first + i * ROWS + found.row, ..found });
            }
            self.row_hashes.extend(part.hashes);
            self.norm_min = self.norm_min.min(part.norm_min);
            self.norm_max = self.norm_max.max(part.norm_max);
            self.norm_sum += part.norm_sum;
            self.integral_u8 &= part.integral_u8;
        }
        first += rows.len();
        self.rows = first as u64;
        Ok(())
    }

    /// Sums up; equal rows are found by a 64-bit hash of their bits.
    pub(crate) fn finish(mut self) -> BaseStats {
        self.row_hashes.par_sort_unstable();
        let distinct = self.row_hashes.chunk_by(|a, b| a == b).count() as u64;
        BaseStats {
            duplicates: self.rows - distinct,
            norm_min: if self.rows == 0 { 0.0 } else { self.norm_min },
            norm_mean: self.norm_sum / self.rows.max(1) as f64,
            norm_max: self.norm_max,
            integral_u8: self.integral_u8,
        }
    }
}

fn part(rows: Vectors<'_, f32>, check_u8: bool) -> Part {
    let mut part = Part {
        hashes: Vec::with_capacity(rows.len()),
        norm_min: f64::INFINITY,
        norm_sum: 0.0,
        norm_max: 0.0,
        integral_u8: check_u8,
        non_finite: first_non_finite(rows),
    };
    for row in rows {
        part.hashes.push(xxh3_64(bytemuck::cast_slice(row)));
        let norm = norm_squared(row).sqrt();
        part.norm_min = part.norm_min.min(norm);
        part.norm_max = part.norm_max.max(norm);
        part.norm_sum += norm;
        part.integral_u8 = part.integral_u8 && row.iter().all(|&v| f32::from(v as u8) == v);
    }
    part
}

/// The first NaN or infinity of some rows.
pub(crate) fn first_non_finite(rows: Vectors<'_, f32>) -> Option<NonFinite> {
    if rows.as_slice().iter().fold(true, |all, v| all & v.is_finite()) {
        return None;
    }
    let at = rows.as_slice().iter().position(|v| !v.is_finite())?;
    Some(NonFinite { row: at / rows.dim(), column: at % rows.dim(), value: rows.as_slice()[at] })
}

/// SHA-256 of vectors as little-endian `f32`, in lower-case hexadecimal.
pub(crate) struct VectorHash(Sha256);

impl VectorHash {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn update(&mut self, vectors: &[f32]) {
        self.0.update(bytemuck::cast_slice::<f32, u8>(vectors));
    }

    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(data: &[f32], d: usize, blocks: usize) -> Result<BaseStats, NonFinite> {
        let mut stats = Stats::new();
        for block in data.chunks(blocks * d) {
            stats.push(Vectors::new(block, d))?;
        }
        Ok(stats.finish())
    }

    #[test]
    fn statistics_are_those_of_the_rows_however_they_are_cut() {
        let data: Vec<f32> = (0..6000u16).map(|i| f32::from(i % 200)).collect();
        let whole = stats(&data, 2, 3000).unwrap();
        assert_eq!((whole.duplicates, whole.integral_u8), (3000 - 100, true));
        assert_eq!((whole.norm_min, whole.norm_max), (1.0, 198f64.hypot(199.0)));
        let cut = stats(&data, 2, 7).unwrap();
        assert!((whole.norm_mean - cut.norm_mean).abs() < 1e-9);
        assert_eq!((whole.duplicates, whole.norm_max), (cut.duplicates, cut.norm_max));
    }

    #[test]
    fn only_integers_from_0_to_255_are_integral() {
        for (value, expected) in [(255.0, true), (256.0, false), (-1.0, false), (0.5, false), (0.0, true)] {
            assert_eq!(stats(&[1.0, value], 1, 2).unwrap().integral_u8, expected, "{value}");
        }
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named_by_row_and_column() {
        let mut data = vec![0.0f32; 3000 * 3];
        data[2500 * 3 + 2] = f32::NEG_INFINITY;
        data[2600 * 3] = f32::NAN;
        let found = stats(&data, 3, 2049).unwrap_err();
        assert_eq!(found, NonFinite { row: 2500, column: 2, value: f32::NEG_INFINITY });
    }

    #[test]
    fn nothing_has_statistics_too() {
        let none = Stats::new().finish();
        assert_eq!((none.norm_min, none.norm_mean, none.duplicates), (0.0, 0.0, 0));
    }

    #[test]
    fn the_hash_is_that_of_the_bytes() {
        let mut hash = VectorHash::new();
        hash.update(&[]);
        assert_eq!(hash.finish(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}

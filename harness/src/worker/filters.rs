//! The filters of a search request, read into the sets that indexes search among.

use nearlab_index::IdSet;

use super::matrix::{MapError, MappedBytes};
use crate::protocol::Filters;

/// Bytes of a word of a set.
const WORD: usize = size_of::<u64>();

/// Words of the largest set: ids are `u32`.
const MOST_WORDS: usize = 1 << 26;

/// Why filters cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A matrix cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The rows do not fit the queries.
    #[error("filters: expected {expected}, found {found}")]
    Shape {
        /// What should be.
        expected: String,
        /// What is.
        found: String,
    },
}

/// Filters in memory.
pub struct LoadedFilters {
    sets: Vec<IdSet>,
    of_query: Vec<u32>,
}

impl LoadedFilters {
    /// Reads the filters for so many `queries`.
    pub fn read(filters: &Filters, queries: usize) -> Result<Self, FilterError> {
        let shape = |expected: String, found: String| FilterError::Shape { expected, found };
        let bitmaps = MappedBytes::open(&filters.bitmaps, "u8", 1)?;
        let (width, of_query) = (filters.bitmaps.d, MappedBytes::open(&filters.of_query, "i32", 4)?);
        if !width.is_multiple_of(WORD) {
            return Err(shape(format!("rows of a multiple of {WORD} bytes"), width.to_string()));
        }
        if width / WORD > MOST_WORDS {
            return Err(shape(format!("rows of at most {MOST_WORDS} words"), (width / WORD).to_string()));
        }
        if (filters.of_query.n, filters.of_query.d) != (queries, 1) {
            let found = format!("{} x {}", filters.of_query.n, filters.of_query.d);
            return Err(shape(format!("one filter for each of {queries} queries"), found));
        }
        let words = |row: &[u8]| row.as_chunks::<WORD>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let sets: Vec<IdSet> = bitmaps.bytes().chunks_exact(width).map(|row| IdSet::from_words(words(row))).collect();
        let of_query: Vec<i32> =
            of_query.bytes().as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
        if let Some(found) = of_query.iter().find(|&&filter| !(0..sets.len() as i32).contains(&filter)) {
            return Err(shape(format!("filters below {}", sets.len()), found.to_string()));
        }
        Ok(Self { sets, of_query: of_query.into_iter().map(|filter| filter as u32).collect() })
    }

    /// What the query at `position` may find.
    #[inline]
    pub fn of(&self, position: usize) -> &IdSet {
        &self.sets[self.of_query[position] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Matrix;

    fn filters(bitmaps: &[u8], of_query: &[i32]) -> (tempfile::TempDir, Filters) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8], n: usize, d: usize, element: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Matrix { path, offset: 0, n, d, element: element.into() }
        };
        let bitmaps = write("bitmaps", bitmaps, bitmaps.len() / 8, 8, "u8");
        let of_query = write("of_query", bytemuck::cast_slice(of_query), of_query.len(), 1, "i32");
        (folder, Filters { bitmaps, of_query })
    }

    #[test]
    fn each_query_gets_the_set_of_its_filter() {
        let (_folder, filters) = filters(&[1, 2, 0, 0, 0, 0, 0, 128, 255, 0, 0, 0, 0, 0, 0, 0], &[1, 0, 1]);
        let loaded = LoadedFilters::read(&filters, 3).unwrap();
        assert_eq!(loaded.of(1).iter().collect::<Vec<_>>(), [0, 9, 63]);
        assert_eq!((loaded.of(0).len(), loaded.of(2).len()), (8, 8));
    }

    #[test]
    fn filters_that_do_not_fit_are_refused() {
        let (_folder, good) = filters(&[0; 16], &[1, 0, 1]);
        let words = |filters: &Filters, queries| match LoadedFilters::read(filters, queries) {
            Ok(_) => panic!("expected a refusal"),
            Err(error) => error.to_string(),
        };
        assert_eq!(words(&good, 2), "filters: expected one filter for each of 2 queries, found 3 x 1");
        let narrow = Filters { bitmaps: Matrix { n: 4, d: 4, ..good.bitmaps.clone() }, ..good.clone() };
        assert_eq!(words(&narrow, 3), "filters: expected rows of a multiple of 8 bytes, found 4");
        let one = Filters { bitmaps: Matrix { n: 1, ..good.bitmaps.clone() }, ..good.clone() };
        assert_eq!(words(&one, 3), "filters: expected filters below 1, found 1");
        let element = Filters { of_query: Matrix { element: "u8".into(), ..good.of_query.clone() }, ..good.clone() };
        assert!(words(&element, 3).ends_with("elements are u8, expected i32"));
        let long = Filters { bitmaps: Matrix { n: 3, ..good.bitmaps.clone() }, ..good };
        assert!(words(&long, 3).contains("a 3 x 8 u8 matrix at byte 0 does not fit a file of 16 bytes"));
    }
}

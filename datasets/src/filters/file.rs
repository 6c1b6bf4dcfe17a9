//! Filters in the cache: one container, memory-mapped.
//!
//! | section    | content                                                                                          |
//! |------------|--------------------------------------------------------------------------------------------------|
//! | `bitmap`   | filters x words, u64: bit `id % 64` of word `id / 64` says whether `id` matches; bits from n on are 0 |
//! | `ofquery`  | which filter each report query uses, i32                                                         |
//! | `neighbor` | true neighbours of each report query among its matches, i32, queries x k, nearest first           |
//! | `meta`     | JSON: options, sizes, share of the near that match, SHA-256 of the data                           |
//!
//! Read as bytes, a bitmap has bit `id % 8` of byte `id / 8`, which is how other libraries lay theirs out.

use std::path::{Path, PathBuf};

use nearlab_storage::{
    Buffer, Container, ContainerWriter, FileKind, OpenError, SectionId, Vectors, Verify, WriteError,
};
use serde::{Deserialize, Serialize};

use super::{Drawn, FilterOptions};
use crate::prepared::Prepared;

/// Kind of the container.
pub const KIND: FileKind = FileKind::new("NL-FILT");

/// Version of what the sections mean.
pub const FORMAT_VERSION: u32 = 1;

const BITMAP: SectionId = SectionId::new("bitmap");
const OF_QUERY: SectionId = SectionId::new("ofquery");
const NEIGHBORS: SectionId = SectionId::new("neighbor");
const META: SectionId = SectionId::new("meta");

/// Nearest base vectors of a query that [`PreparedFilter::near_share`] looks at, where so many are known and match.
const NEAR: usize = 100;

/// The `meta` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Meta {
    options: FilterOptions,
    data_sha256: String,
    n: u64,
    queries: u64,
    filters: u64,
    matches: u64,
    k: u64,
    near_share: f64,
}

/// Writes filters and the truth among them.
pub(super) fn write(
    path: &Path,
    data: &Prepared,
    options: &FilterOptions,
    drawn: &Drawn,
    neighbors: &[i32],
) -> Result<(), WriteError> {
    let n = data.train().len();
    let words = n.div_ceil(64);
    let mut bitmaps = vec![0_u64; words * drawn.matches.len()];
    for (bitmap, ids) in bitmaps.chunks_exact_mut(words).zip(&drawn.matches) {
        for &id in ids {
            bitmap[id as usize / 64] |= 1 << (id % 64);
        }
    }
    let matches = drawn.matches.first().map_or(0, Vec::len);
    let of_query: Vec<i32> = drawn.of_query.iter().map(|&filter| filter as i32).collect();
    let bitmap_of = |query: usize| &bitmaps[drawn.of_query[query] as usize * words..][..words];
    let meta = Meta {
        options: *options,
        data_sha256: data.fingerprint().sha256.clone(),
        n: n as u64,
        queries: of_query.len() as u64,
        filters: drawn.matches.len() as u64,
        matches: matches as u64,
        k: (neighbors.len() / of_query.len().max(1)) as u64,
        near_share: near_share(data, matches, bitmap_of),
    };
    let mut container = ContainerWriter::create(path, KIND, FORMAT_VERSION)?;
    container.section(BITMAP, &bitmaps)?;
    container.section(OF_QUERY, &of_query)?;
    container.section(NEIGHBORS, neighbors)?;
    // Numbers, words and a hash always serialise.
    container.section(META, &serde_json::to_vec_pretty(&meta).unwrap_or_default())?;
    container.finish()
}

fn near_share<'a>(data: &Prepared, matches: usize, bitmap_of: impl Fn(usize) -> &'a [u64]) -> f64 {
    let near = data.truth_k().min(NEAR).min(matches);
    let matching = |(query, ids): (usize, &[i32])| {
        ids[..near].iter().filter(|&&id| contains(bitmap_of(query), id as usize)).count()
    };
    let sum: usize = data.neighbors().iter().enumerate().map(matching).sum();
    sum as f64 / (near * data.test().len().max(1)) as f64
}

fn contains(bitmap: &[u64], id: usize) -> bool {
    bitmap.get(id / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
}

/// Open filters. Cheap to open; every bitmap, query and neighbour is checked once, here.
pub struct PreparedFilter {
    container: Container,
    meta: Meta,
    bitmaps: Buffer<u64>,
    of_query: Buffer<i32>,
    neighbors: Buffer<i32>,
}

impl PreparedFilter {
    /// Maps a file that [`prepare`](super::prepare()) returned, and checks what it says.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let container = Container::open(path, KIND, FORMAT_VERSION..=FORMAT_VERSION, Verify::Header)?;
        let meta: Meta = serde_json::from_slice(container.bytes(META)?)
            .map_err(|error| container.corrupt(META, "a description in JSON", &error))?;
        let sizes = [meta.n, meta.filters, meta.matches, meta.k];
        if sizes.contains(&0) || meta.n > i32::MAX as u64 || meta.matches > meta.n || meta.k > meta.matches {
            let found = format!("n {}, filters {}, matches {}, k {}", meta.n, meta.filters, meta.matches, meta.k);
            return Err(container.corrupt(META, "sizes of filters", &found));
        }
        let product = |rows: u64, columns: u64| (rows as usize).saturating_mul(columns as usize);
        let prepared = Self {
            bitmaps: container.buffer_of(BITMAP, product(meta.filters, meta.n.div_ceil(64)))?,
            of_query: container.buffer_of(OF_QUERY, meta.queries as usize)?,
            neighbors: container.buffer_of(NEIGHBORS, product(meta.queries, meta.k))?,
            meta,
            container,
        };
        prepared.check()?;
        Ok(prepared)
    }

    fn check(&self) -> Result<(), OpenError> {
        let Meta { n, filters, matches, .. } = self.meta;
        let ends_at_n =
            |bitmap: &[u64]| n.is_multiple_of(64) || bitmap.last().is_some_and(|word| word >> (n % 64) == 0);
        for bitmap in self.bitmaps.chunks_exact(self.words()) {
            let ones: u64 = bitmap.iter().map(|word| u64::from(word.count_ones())).sum();
            if ones != matches || !ends_at_n(bitmap) {
                let expected = format!("{matches} matches below {n} in each bitmap");
                return Err(self.container.corrupt(BITMAP, &expected, &ones));
            }
        }
        if let Some(found) = self.of_query.iter().find(|&&filter| !(0..filters as i32).contains(&filter)) {
            let expected = format!("filters 0 to {}", filters - 1);
            return Err(self.container.corrupt(OF_QUERY, &expected, &found));
        }
        for (query, ids) in self.neighbors().iter().enumerate() {
            if let Some(found) = ids.iter().find(|&&id| !self.admits(query, id)) {
                return Err(self.container.corrupt(NEIGHBORS, "matches of the query's filter", &found));
            }
        }
        Ok(())
    }

    /// What was asked for.
    pub fn options(&self) -> &FilterOptions {
        &self.meta.options
    }

    /// Number of filters.
    pub fn filters(&self) -> usize {
        self.meta.filters as usize
    }

    /// Matches of each filter.
    pub fn matches(&self) -> usize {
        self.meta.matches as usize
    }

    /// True neighbours known per query: as many as were asked for, or all matches.
    pub fn truth_k(&self) -> usize {
        self.meta.k as usize
    }

    /// Mean over the queries of the share of their nearest base vectors that match. So many of them are looked at as match, at most
    /// 100 and as many as are known: all of them could match.
    pub fn near_share(&self) -> f64 {
        self.meta.near_share
    }

    /// True neighbours of each report query among its matches, nearest first, ties by id.
    pub fn neighbors(&self) -> Vectors<'_, i32> {
        Vectors::new(&self.neighbors, self.truth_k())
    }

    /// Whether `id` matches the filter of a report query. Ids that the base does not have match nothing.
    pub fn admits(&self, query: usize, id: i32) -> bool {
        let words = self.words();
        let filter = self.of_query[query] as usize;
        usize::try_from(id).is_ok_and(|id| contains(&self.bitmaps[filter * words..][..words], id))
    }

    /// Words of each bitmap.
    pub fn words(&self) -> usize {
        self.meta.n.div_ceil(64) as usize
    }

    /// File and byte offset of the bitmaps (filters x words little-endian u64), for other programs to map.
    pub fn bitmap_location(&self) -> (PathBuf, u64) {
        self.location(BITMAP)
    }

    /// File and byte offset of which filter each query uses (queries little-endian i32).
    pub fn of_query_location(&self) -> (PathBuf, u64) {
        self.location(OF_QUERY)
    }

    fn location(&self, id: SectionId) -> (PathBuf, u64) {
        // Every section was found when the file was opened.
        let offset = self.container.offset_of(id).map_or(0, |(offset, _)| offset);
        (self.container.path().to_path_buf(), offset)
    }
}

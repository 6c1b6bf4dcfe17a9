//! Base vectors in forms that can be scored: as they are, or as codes that are smaller, faster to fetch and less exact.
//!
//! Codes live in a Euclidean space into which every metric is lifted ([`Euclid`]), so that all of them score one thing, a
//! squared distance. What they score is in units of their own: it orders the vectors, and
//! [`Euclid::distance`] makes a distance of a rerank code's score.
//!
//! | codes | bytes per vector of d components | query | after |
//! |---|---|---|---|
//! | `Space` | 4 d | itself | |
//! | [`F16`] | 2 d | itself | IEEE 754 binary16 |
//! | [`Sq8`] | d | itself, in levels | uniform scalar quantisation, lossless for integers 0 to 255 |
//! | [`Sq7`] | d | another code | the same with 128 levels, for pairs of base vectors |
//! | [`Sq4`] | d / 2, or p / 2 after a projection to p components | 7-bit levels | the same with 16 levels |
//!
//! Rows are padded to whole cache lines.

mod euclid;
mod f16;
mod levels;
mod projection;
mod sq4;
mod sq7;
mod sq8;

pub(crate) use euclid::{Euclid, Length};
pub(crate) use f16::{F16, F16Rows};
pub(crate) use levels::Levels;
use levels::level_at;
pub(crate) use projection::Projection;
pub(crate) use sq4::{Sq4, Sq4Rows, row_bytes as sq4_row_bytes};
pub(crate) use sq7::{Sq7, Sq7Rows};
pub(crate) use sq8::{Sq8, Sq8Rows};

use std::fmt::Debug;

use nearlab_simd::LINE_BYTES;
use nearlab_storage::{Buffer, Resident};
use rayon::prelude::*;

use crate::BuildError;

/// Base vectors that can be scored against a query.
pub(crate) trait Codes: Copy + Send + Sync {
    /// Whether queries must be lifted before they are made ready.
    const LIFTED: bool = true;
    /// A query made ready. Its memory is kept from one query to the next.
    type Query: Default + Send + Debug;

    /// Number of vectors.
    fn len(&self) -> usize;
    /// Bytes that scoring one vector reads.
    fn row_bytes(&self) -> usize;
    /// What a score must be multiplied with to be a squared distance; where queries are not lifted, the scores are the
    /// metric's distances.
    fn unit(&self) -> f32 {
        1.0
    }
    /// Makes a query ready.
    fn prepare(&self, vector: &[f32], query: &mut Self::Query);
    /// Scores of the rows `ids`: smaller is nearer.
    fn score(&self, query: &Self::Query, ids: &[u32], out: &mut [f32]);
    /// Asks for a row that will be scored soon.
    fn prefetch(&self, id: u32);
}

/// Base vectors that can be scored against each other.
pub(crate) trait Symmetric: Codes {
    /// Scores of the rows `ids` against the row `row`.
    fn score_row(&self, row: u32, ids: &[u32], out: &mut [f32]);
}

/// Base vectors of which any can be the query of a search.
pub(crate) trait SelfQuery: Codes {
    /// Makes a row ready as a query.
    fn prepare_row(&self, row: u32, query: &mut Self::Query);
}

/// Rows that are lifted and encoded as one unit of parallel work.
const CHUNK_ROWS: usize = 256;

/// Elements of a row of `count` elements, padded to whole cache lines.
pub(crate) fn padded<T>(count: usize) -> usize {
    count.next_multiple_of(LINE_BYTES / size_of::<T>())
}

/// Rows that levels are learnt from.
const SAMPLE_ROWS: usize = 8192;

/// Levels for the components of all rows of `source`, learnt from a sample, and the rows in these: a byte per component.
fn encode_levels(source: &Lifted<'_>, count: u32) -> Result<(Levels, Buffer<u8>), BuildError> {
    let components = source.width();
    let levels = Levels::train(&source.sample(SAMPLE_ROWS), components, count);
    let width = padded::<u8>(components);
    let codes = encode_all(source, width, |rows, codes| {
        for (row, code) in rows.chunks_exact(components).zip(codes.chunks_exact_mut(width)) {
            for (level, position) in code.iter_mut().zip(levels.positions(row)) {
                *level = level_at(position, count);
            }
        }
    })?;
    Ok((levels, codes))
}

/// Rows of codes of `width` elements for each row of `source`, made by `encode(lifted rows, their codes)` for some rows at a
/// time.
fn encode_all<T: bytemuck::Pod + Send + Sync>(
    source: &Lifted<'_>,
    width: usize,
    encode: impl Fn(&[f32], &mut [T]) + Sync,
) -> Result<Buffer<T>, BuildError> {
    let refused = |_| BuildError::Memory { bytes: source.len() * width * size_of::<T>() };
    let mut codes = Resident::zeroed(source.len() * width).map_err(refused)?;
    codes.par_chunks_mut(CHUNK_ROWS * width).enumerate().for_each_init(Vec::new, |lifted, (chunk, codes)| {
        let first = chunk * CHUNK_ROWS;
        source.rows(first..first + codes.len() / width, lifted);
        encode(lifted, codes);
    });
    codes.freeze().map_err(refused)
}

/// Base vectors as given, read through the lift.
#[derive(Clone, Copy)]
pub(crate) struct Lifted<'a> {
    vectors: nearlab_storage::Vectors<'a, f32>,
    euclid: &'a Euclid,
}

impl<'a> Lifted<'a> {
    pub(crate) fn new(vectors: nearlab_storage::Vectors<'a, f32>, euclid: &'a Euclid) -> Self {
        Self { vectors, euclid }
    }

    pub(crate) fn vectors(&self) -> nearlab_storage::Vectors<'a, f32> {
        self.vectors
    }

    pub(crate) fn euclid(&self) -> &'a Euclid {
        self.euclid
    }

    pub(crate) fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Components of a lifted vector.
    pub(crate) fn width(&self) -> usize {
        self.euclid.width()
    }

    /// Replaces `out` by some rows.
    pub(crate) fn rows(&self, range: std::ops::Range<usize>, out: &mut Vec<f32>) {
        out.clear();
        for row in range {
            self.euclid.lift(self.vectors.row(row), out);
        }
    }

    /// At most `most` rows, evenly spread: the same for the same vectors.
    pub(crate) fn sample(&self, most: usize) -> Vec<f32> {
        let count = self.len().min(most);
        let mut rows = Vec::with_capacity(count * self.width());
        for i in 0..count {
            self.euclid.lift(self.vectors.row(i * self.len() / count), &mut rows);
        }
        rows
    }
}

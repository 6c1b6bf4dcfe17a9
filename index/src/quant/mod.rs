//! Base vectors in forms that can be scored: as they are, or as codes that are smaller, faster to fetch and less exact.
//!
//! Codes live in a Euclidean space into which every metric is lifted ([`Euclid`]), so that all of them score one thing, a
//! squared distance. What they score is in units of their own: it orders the vectors, and
//! [`Euclid::distance`] makes a distance of a rerank code's score.
//!
//! | codes | bytes per vector of d components | query | after |
//! |---|---|---|---|
//! | [`F32`] | 4 d | itself | |
//! | [`Half`] | 2 d | itself | IEEE 754 binary16; bfloat16 |
//! | [`Sq8`] | d | itself, in levels | uniform scalar quantisation, lossless for integers 0 to 255 |
//! | [`Sq7`] | d, or p as [`Sq4`] | another code | the same with 128 levels, for pairs of base vectors |
//! | [`Affine`] | 12 and 4 or 8 bits per component | products with 8-bit numbers | LVQ |
//! | [`Affine`] | 12 and 8 bits per component | products with 8-bit numbers | scalar quantisation with a range for each component |
//! | [`Affine`] | 12 and 1 to 8 bits per component | products with 8-bit numbers, or 4-bit where there is one bit | `RaBitQ` |
//! | [`Pq`] | 4 or 8 bits per sub-space | a table of distances | product quantisation |
//! | [`Blocks`] | the same 4 bits for each group that the vector is in | the same | codes that are scored together, side by side |
//! | [`Sq4`] | d / 2, or p / 2 after a projection to p components | 7-bit levels | the same with 16 levels |
//!
//! Rows are padded to whole cache lines, those of [`Pq`] to half ones.

mod affine;
mod blocks;
mod euclid;
mod f32;
mod fit;
mod half;
mod heights;
mod levels;
mod pq;
mod pq_query;
mod projection;
mod rotation;
mod sq4;
mod sq7;
mod sq8;

pub(crate) use affine::{
    Affine, AffineQuery, FACTORS as AFFINE_FACTORS, Kind as AffineKind, row_bytes as affine_row_bytes,
};
pub(crate) use blocks::{BlockRows, Blocks, MOST_SPACES as MOST_GROUPED_SPACES};
pub(crate) use euclid::{Euclid, Length, TOO_LONG_BYTES};
pub(crate) use f32::F32;
pub(crate) use half::{Half, HalfKind, HalfRows};
pub(crate) use heights::{AsQueries, Heights, RowQuery};
pub(crate) use levels::Levels;
pub(crate) use pq::{Pq, PqShape};
pub(crate) use pq_query::PqQuery;
pub(crate) use projection::Projection;
pub(crate) use rotation::Rotation;
pub(crate) use sq4::{Sq4, Sq4Query, row_bytes as sq4_row_bytes};
pub(crate) use sq7::{Sq7, Sq7Rows};
pub(crate) use sq8::{Sq8, Sq8Rows};

use std::fmt::Debug;
use std::io;
use std::ops::Range;

use bytemuck::Pod;
use nearlab_simd::{LINE_BYTES, Metric};
use nearlab_storage::{Buffer, Resident, Vectors};
use rayon::prelude::*;

use crate::memory::Capacity;
use crate::{BuildError, IdSet};
use fit::Fitted;

/// Rows that [`Codes::score_asking`] asks for at a time.
const ASKED_AT_ONCE: usize = 16;

/// Base vectors that can be scored against a query.
pub(crate) trait Codes: Copy + Send + Sync {
    /// Whether queries must be lifted before they are made ready.
    const LIFTED: bool = true;
    /// Whether codes that are scored together lie side by side too, in groups.
    const GROUPED: bool = false;
    /// A query made ready. Its memory is kept from one query to the next.
    type Query: Default + Send + Debug + Capacity;

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
    /// Queries that are best made ready together, where something is read once for all of them; otherwise 1. They are lifted.
    fn together(&self) -> usize {
        1
    }
    /// Does what is best done for some queries together, and leaves it in `all`.
    fn prepare_all(&self, _vectors: &[Vec<f32>], _all: &mut Self::Query) {}
    /// Makes the `n`-th of them ready, as [`prepare`](Self::prepare) does.
    fn prepare_one_of(&self, _all: &Self::Query, _n: usize, _query: &mut Self::Query) {}
    /// Scores of the rows `ids`: smaller is nearer.
    fn score(&self, query: &Self::Query, ids: &[u32], out: &mut [f32]);
    /// What the exact score of row `id` is seldom below, given its score; where none is known, it is so for every row.
    #[inline]
    fn lower_bound(&self, _query: &Self::Query, _id: u32, _score: f32) -> Option<f32> {
        None
    }
    /// Asks for a row that will be scored soon.
    fn prefetch(&self, id: u32);
    /// Asks for rows that will be scored soon.
    #[inline]
    fn prefetch_all(&self, ids: &[u32]) {
        for &id in ids {
            self.prefetch(id);
        }
    }
    /// Scores of the rows of a group, where codes lie in groups, as [`score`](Self::score) gives them: of as many as `out` has room
    /// for, a multiple of [`LUT4_BLOCK`](nearlab_simd::LUT4_BLOCK); those beyond the rows of the group are of no meaning. Asks
    /// meanwhile for the group `ahead`.
    #[inline]
    fn score_group(&self, _query: &Self::Query, _group: u32, _out: &mut [f32], _ahead: Option<u32>) {
        unreachable!("codes that lie in no groups")
    }
    /// Asks for a group that will be scored soon.
    #[inline]
    fn prefetch_group(&self, _group: u32) {}
    /// Scores as [`score`](Self::score) does, and asks meanwhile for the rows `others`: for as many at a time as it scores.
    #[inline]
    fn score_asking(&self, query: &Self::Query, ids: &[u32], out: &mut [f32], others: &[u32]) {
        if others.is_empty() {
            return self.score(query, ids, out);
        }
        let (mut others, scored) = (others.chunks(ASKED_AT_ONCE), ids.chunks(ASKED_AT_ONCE));
        for (ids, out) in scored.zip(out.chunks_mut(ASKED_AT_ONCE)) {
            self.prefetch_all(others.next().unwrap_or_default());
            self.score(query, ids, out);
        }
        others.for_each(|ids| self.prefetch_all(ids));
    }
}

/// Base vectors that can be scored against each other.
pub(crate) trait Symmetric: Codes {
    /// Scores of the rows `ids` against the row `row`.
    fn score_row(&self, row: u32, ids: &[u32], out: &mut [f32]);
    /// Whether a neighbour leads to a candidate, given the candidate's scores with the neighbour and with the node: it does
    /// when it is nearer than the node, so many times as its score says, or a copy of the candidate.
    #[inline]
    fn leads(&self, (to_neighbor, to_node): (f32, f32), times: f32) -> bool {
        to_neighbor * times < to_node || to_neighbor == 0.0
    }
    /// The squared length of a row, where scores are negated products: with it they tell distances.
    #[inline]
    fn squared_length(&self, _id: u32) -> Option<f32> {
        None
    }
}

/// Base vectors of which any can be the query of a search.
pub(crate) trait SelfQuery: Codes {
    /// Makes a row ready as a query.
    fn prepare_row(&self, row: u32, query: &mut Self::Query);
}

/// Base vectors in one form, whichever: what keeping and changing them needs.
pub(crate) trait Form: Send + Sync {
    /// Whether rows are encoded as they are lifted, and not as they are given.
    fn is_lifted(&self) -> bool {
        true
    }
    /// Leaves vectors of `width` components, [lifted](Self::is_lifted) or not, in this form, row after row, in `out.bytes`.
    fn encode_rows(&self, rows: &[f32], width: usize, out: &mut Encoded);
    /// Bytes of what was learnt from the vectors, and is needed to encode others.
    fn quantizer_bytes(&self) -> usize;
    /// All rows.
    fn codes(&self) -> &dyn Bytes;
    /// All rows.
    fn codes_mut(&mut self) -> &mut dyn Bytes;
    /// Moves all that searches read to memory of its own.
    fn make_resident(&mut self) -> io::Result<()> {
        self.codes_mut().make_resident()
    }
}

/// Rows that were encoded, and what it took. The memory is kept from one encoding to the next.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    floats: Vec<f32>,
    halves: Vec<u16>,
    fitted: Fitted,
}

impl Encoded {
    /// Zeros for so many bytes, and the rest.
    fn zeroed(&mut self, bytes: usize) -> (&mut [u8], &mut Vec<f32>, &mut Fitted) {
        self.bytes.clear();
        self.bytes.resize(bytes, 0);
        (&mut self.bytes, &mut self.floats, &mut self.fitted)
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        let fitted = self.fitted.levels.capacity();
        self.bytes.capacity() + self.floats.capacity_bytes() + self.halves.capacity_bytes() + fitted
    }
}

/// A buffer of whatever elements.
pub(crate) trait Bytes {
    /// Bytes in use.
    fn bytes(&self) -> usize;
    /// Moves the elements to memory of their own.
    fn make_resident(&mut self) -> io::Result<()>;
    /// Moves the elements to where they can be changed.
    fn make_writable(&mut self) -> io::Result<()>;
    /// Makes room for so many bytes in all, so that putting any of them can not fail.
    fn reserve(&mut self, bytes: usize) -> io::Result<()>;
    /// Replaces the bytes from `at`; zeros come before them where the buffer ended earlier.
    fn put(&mut self, at: usize, bytes: &[u8]) -> io::Result<()>;
}

impl<T: Pod> Bytes for Buffer<T> {
    fn bytes(&self) -> usize {
        size_of_val(&**self)
    }

    fn make_resident(&mut self) -> io::Result<()> {
        *self = std::mem::take(self).into_resident()?;
        Ok(())
    }

    fn make_writable(&mut self) -> io::Result<()> {
        self.to_mut().map(drop)
    }

    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        self.to_mut()?.reserve(bytes.div_ceil(size_of::<T>()))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let elements = self.to_mut()?;
        elements.grow((at + bytes.len()).div_ceil(size_of::<T>()))?;
        bytemuck::cast_slice_mut::<T, u8>(elements)[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// Lifted vectors, however they are kept.
pub(crate) trait Source: Sync {
    /// Number of vectors.
    fn len(&self) -> usize;
    /// Components of each.
    fn width(&self) -> usize;
    /// Appends one to `out`.
    fn append(&self, row: usize, out: &mut Vec<f32>);

    /// Replaces `out` by some rows.
    fn rows(&self, range: Range<usize>, out: &mut Vec<f32>) {
        out.clear();
        range.for_each(|row| self.append(row, out));
    }

    /// At most `most` rows, evenly spread: the same for the same vectors.
    fn sample(&self, most: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.len().min(most) * self.width());
        spread(self.len(), most).for_each(|row| self.append(row, &mut rows));
        rows
    }

    /// The rows of such a sample as queries are lifted; none where that makes no difference.
    fn sample_as_queries(&self, _most: usize) -> Vec<f32> {
        Vec::new()
    }
}

/// At most `most` of `n` places, evenly spread.
fn spread(n: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = n.min(most);
    (0..count).map(move |i| i * n / count)
}

/// Base vectors as given, read through the lift.
#[derive(Clone, Copy)]
pub(crate) struct Lifted<'a> {
    vectors: Vectors<'a, f32>,
    euclid: &'a Euclid,
    /// Rows that stand where they do no harm, and say nothing of the rest.
    apart: Option<&'a IdSet>,
}

impl<'a> Lifted<'a> {
    pub(crate) fn new(vectors: Vectors<'a, f32>, euclid: &'a Euclid) -> Self {
        Self { vectors, euclid, apart: None }
    }

    /// The same, but that nothing is learnt from some rows.
    pub(crate) fn learnt_without(self, apart: &'a IdSet) -> Self {
        Self { apart: Some(apart), ..self }
    }

    /// The rows of which [`sample`](Source::sample) takes at most `most`.
    fn sampled(&self, most: usize) -> impl Iterator<Item = usize> {
        let apart = |row: usize| self.apart.is_some_and(|apart| apart.contains(row as u32));
        let rows: Vec<usize> = (0..self.vectors.len()).filter(|&row| !apart(row)).collect();
        spread(rows.len(), most).map(move |i| rows[i])
    }

    pub(crate) fn vectors(&self) -> Vectors<'a, f32> {
        self.vectors
    }

    pub(crate) fn euclid(&self) -> &'a Euclid {
        self.euclid
    }
}

impl Source for Lifted<'_> {
    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn width(&self) -> usize {
        self.euclid.width()
    }

    fn append(&self, row: usize, out: &mut Vec<f32>) {
        self.euclid.lift(self.vectors.row(row), out);
    }

    fn sample(&self, most: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.len().min(most) * self.width());
        self.sampled(most).for_each(|row| self.append(row, &mut rows));
        rows
    }

    fn sample_as_queries(&self, most: usize) -> Vec<f32> {
        let (mut rows, mut lifted) = (Vec::new(), Vec::new());
        if self.euclid.metric == Metric::InnerProduct {
            for row in self.sampled(most) {
                self.euclid.lift_query(self.vectors.row(row), &mut lifted);
                rows.extend_from_slice(&lifted);
            }
        }
        rows
    }
}

/// Rows that are lifted and encoded as one unit of parallel work.
const CHUNK_ROWS: usize = 256;
/// Rows that levels are learnt from.
const SAMPLE_ROWS: usize = 8192;

/// Elements of a row of `count` elements, padded to whole cache lines.
pub(crate) fn padded<T>(count: usize) -> usize {
    count.next_multiple_of(LINE_BYTES / size_of::<T>())
}

/// Room for the codes of all rows of `source`, `width` elements each.
fn room<T: Pod>(source: &dyn Source, width: usize) -> Result<Resident<T>, BuildError> {
    Resident::zeroed(source.len() * width)
        .map_err(|_| BuildError::Memory { bytes: source.len() * width * size_of::<T>() })
}

/// Codes that are all made.
fn made<T: Pod>(codes: Resident<T>) -> Result<Buffer<T>, BuildError> {
    let bytes = size_of_val(&*codes);
    codes.freeze().map_err(|_| BuildError::Memory { bytes })
}

/// Rows of codes of `width` elements for each row of `source`, made by `encode(lifted rows, their codes, scratch)` for some
/// rows at a time.
fn encode_all<T: Pod + Send + Sync>(
    source: &dyn Source,
    width: usize,
    encode: impl Fn(&[f32], &mut [T], &mut Encoded) + Sync,
) -> Result<Buffer<T>, BuildError> {
    let mut codes = room(source, width)?;
    encode_chunks(source, codes.par_chunks_mut(CHUNK_ROWS * width), encode);
    made(codes)
}

/// Calls `encode(lifted rows, their codes, scratch)` for [`CHUNK_ROWS`] rows at a time, whose codes are `chunks`.
fn encode_chunks<C: Send>(
    source: &dyn Source,
    chunks: impl IndexedParallelIterator<Item = C>,
    encode: impl Fn(&[f32], C, &mut Encoded) + Sync,
) {
    let scratch = || (Vec::new(), Encoded::default());
    chunks.enumerate().for_each_init(scratch, |(lifted, encoded), (chunk, codes)| {
        let first = chunk * CHUNK_ROWS;
        source.rows(first..source.len().min(first + CHUNK_ROWS), lifted);
        encode(lifted, codes, encoded);
    });
}

/// Writes the levels of some rows to their codes, which are zeros.
fn write_levels(levels: &Levels, count: u32, rows: &[f32], codes: &mut [u8]) {
    let components = levels.offset.len();
    for (row, code) in rows.chunks_exact(components).zip(codes.chunks_exact_mut(padded::<u8>(components))) {
        levels.write(0, row, count, &mut code[..components]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::random::SplitMix64;

    /// Encodes 20 vectors at once, then again row by row in another order over the first ten; both must be the same bytes.
    fn rows_put_one_by_one_are_those_encoded_together(metric: Metric, form: impl Fn(&Lifted<'_>) -> Box<dyn Form>) {
        let mut random = SplitMix64::new(8);
        let data: Vec<f32> = (0..20 * 70).map(|_| random.unit() as f32 - 0.5).collect();
        let vectors = Vectors::new(&data, 70);
        let euclid = Euclid::of(vectors, metric);
        let source = Lifted::new(vectors, &euclid);
        let whole = form(&source);
        let row_bytes = whole.codes().bytes() / 20;
        let mut changed: Buffer<u8> = vec![].into();
        let mut encoded = Encoded::default();
        let rows = |range: Range<usize>| {
            let (given, mut lifted) = (vectors.rows(range.clone()), Vec::new());
            source.rows(range, &mut lifted);
            if whole.is_lifted() { (lifted, source.width()) } else { (given.as_slice().to_vec(), given.dim()) }
        };
        for row in (0..20).rev() {
            let (row_alone, width) = rows(row..row + 1);
            whole.encode_rows(&row_alone, width, &mut encoded);
            assert_eq!(encoded.bytes.len(), row_bytes);
            changed.put(row * row_bytes, &encoded.bytes).unwrap();
        }
        let (together, width) = rows(0..20);
        whole.encode_rows(&together, width, &mut encoded);
        assert_eq!(*changed, encoded.bytes);
        let mut again = form(&source);
        again.codes_mut().put(0, &changed).unwrap();
        again.codes_mut().make_resident().unwrap();
        assert_eq!(again.codes().bytes(), whole.codes().bytes());
    }

    #[test]
    fn every_form_encodes_alike_at_once_and_row_by_row() {
        for metric in Metric::ALL {
            rows_put_one_by_one_are_those_encoded_together(metric, |s| {
                Box::new(F32::copied(s.vectors(), metric).unwrap())
            });
            for kind in [HalfKind::F16, HalfKind::Bf16] {
                rows_put_one_by_one_are_those_encoded_together(metric, |s| Box::new(Half::encode(s, kind).unwrap()));
            }
            rows_put_one_by_one_are_those_encoded_together(metric, |s| Box::new(Sq8::encode(s).unwrap()));
            for components in [None, Some(16), Some(17)] {
                let projection = |s: &Lifted<'_>| components.map(|count| Arc::new(Projection::train(s, count, 1)));
                rows_put_one_by_one_are_those_encoded_together(metric, |s| {
                    Box::new(Sq7::encode(s, projection(s)).unwrap())
                });
                rows_put_one_by_one_are_those_encoded_together(metric, |s| {
                    Box::new(Sq4::encode(s, projection(s)).unwrap().0)
                });
                rows_put_one_by_one_are_those_encoded_together(metric, |s| {
                    Box::new(Sq4::encode(s, projection(s)).unwrap().1)
                });
            }
            let rabitq = (1..=8).map(|bits| (AffineKind::Rabitq, bits));
            let others = [(AffineKind::Lvq, 4), (AffineKind::Lvq, 8), (AffineKind::Scaled, 8)];
            for (kind, bits) in others.into_iter().chain(rabitq) {
                rows_put_one_by_one_are_those_encoded_together(metric, |s| {
                    Box::new(Affine::encode(s, kind, bits, 5).unwrap())
                });
            }
            for (bits, sub_dim) in [(4, 1), (4, 3), (8, 4), (8, 71)] {
                rows_put_one_by_one_are_those_encoded_together(metric, |s| {
                    Box::new(Pq::encode(s, PqShape { width: s.width(), sub_dim, bits }, 5).unwrap())
                });
            }
        }
    }

    #[test]
    fn decoded_rows_are_near_what_was_encoded() {
        let data: Vec<f32> = (0..70).map(|i| (i * 37 % 64) as f32 / 64.0 - 0.5).collect();
        let vectors = Vectors::new(&data, 7);
        let euclid = Euclid::of(vectors, Metric::L2);
        let source = Lifted::new(vectors, &euclid);
        let near = |form: &dyn Source, error: f32| {
            assert_eq!((form.len(), form.width()), (10, 7));
            for (kept, x) in form.sample(10).iter().zip(&data) {
                assert!((kept - x).abs() <= error, "{x} became {kept}");
            }
        };
        near(&Half::encode(&source, HalfKind::F16).unwrap(), 0.0);
        near(&Half::encode(&source, HalfKind::Bf16).unwrap(), 0.0);
        near(&Sq8::encode(&source).unwrap(), 0.02);
    }
}

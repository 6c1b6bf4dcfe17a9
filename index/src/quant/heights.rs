//! What inner product adds to vectors, kept by itself: with it, the score of two vectors tells their product.
//!
//! Lifted vectors `x` and `y` (see [`Euclid`]) lie `2 M² - 2 (<x, y> + h_x h_y)` apart, squared, where `h` is the component that
//! was added to each. As a query `x` has none: there it is at `const + |x - y|² + 2 h_x h_y` from `y`. So any codes score a vector as the query
//! that it would be, without other codes of it. The nearest of a vector and those of the query that it would be are not the same where
//! lengths differ, and who walks from one to the next with a query's eyes needs links to the latter.

use rayon::prelude::*;

use super::{Codes, Euclid, SelfQuery, Source};
use crate::memory::Capacity;

/// Heights tell nothing where none is more than the root of so large a share of `M`: lengths differ by less than 1/500.
const LEVEL: f32 = 1.0 / 256.0;

/// The component that was added to each vector; none where none was.
#[derive(Debug, Default)]
pub(crate) struct Heights(Vec<f32>);

impl Heights {
    /// Of all rows of a source of lifted vectors. On the rayon pool it is called in.
    pub(crate) fn of(source: &dyn Source, euclid: &Euclid) -> Self {
        if !euclid.adds_component() {
            return Self::default();
        }
        let rows = (0..source.len()).into_par_iter();
        let height = |lifted: &mut Vec<f32>, row| {
            lifted.clear();
            source.append(row, lifted);
            euclid.height(lifted)
        };
        Self(rows.map_init(Vec::new, height).collect())
    }

    /// The same, or none where all vectors are about as long: what is near to one is near to it as a query then.
    pub(crate) fn unless_level(self, euclid: &Euclid) -> Self {
        let highest = self.0.iter().fold(0.0, |highest: f32, height| highest.max(*height));
        if highest * highest <= LEVEL * euclid.radius_squared { Self::default() } else { self }
    }

    /// Replaces the height of a vector, or adds that of a new one; zeros come before it where there were fewer.
    pub(crate) fn put(&mut self, id: u32, height: f32) {
        let id = id as usize;
        if id >= self.0.len() {
            self.0.resize(id + 1, 0.0);
        }
        self.0[id] = height;
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity_bytes()
    }

    /// The heights, in the order of the ids; empty where there are none.
    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// Base vectors that are asked for what is near to them as queries; as vectors, where there are no heights.
#[derive(Clone, Copy)]
pub(crate) struct AsQueries<'a, C> {
    codes: C,
    heights: &'a [f32],
    /// 2, in the unit of the scores.
    twice: f32,
}

impl<'a, C: Codes> AsQueries<'a, C> {
    pub(crate) fn new(codes: C, heights: &'a [f32]) -> Self {
        // What is not lifted is scored by its products already.
        let heights = if C::LIFTED { heights } else { &[] };
        Self { codes, heights, twice: 2.0 / codes.unit() }
    }
}

/// A vector as a query.
#[derive(Debug, Default)]
pub(crate) struct RowQuery<Q> {
    row: Q,
    /// Its height, twice and in the unit of the scores.
    height: f32,
}

impl<Q: Capacity> Capacity for RowQuery<Q> {
    fn capacity_bytes(&self) -> usize {
        self.row.capacity_bytes()
    }
}

impl<C: SelfQuery> Codes for AsQueries<'_, C> {
    const LIFTED: bool = C::LIFTED;
    type Query = RowQuery<C::Query>;

    fn len(&self) -> usize {
        self.codes.len()
    }

    fn row_bytes(&self) -> usize {
        self.codes.row_bytes()
    }

    fn unit(&self) -> f32 {
        self.codes.unit()
    }

    fn prepare(&self, vector: &[f32], query: &mut Self::Query) {
        self.codes.prepare(vector, &mut query.row);
        query.height = 0.0;
    }

    #[inline]
    fn score(&self, query: &Self::Query, ids: &[u32], out: &mut [f32]) {
        self.codes.score(&query.row, ids, out);
        if !self.heights.is_empty() {
            for (score, &id) in out.iter_mut().zip(ids) {
                *score += query.height * self.heights[id as usize];
            }
        }
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        self.codes.prefetch(id);
    }
}

impl<C: SelfQuery> SelfQuery for AsQueries<'_, C> {
    fn prepare_row(&self, row: u32, query: &mut Self::Query) {
        self.codes.prepare_row(row, &mut query.row);
        query.height = self.heights.get(row as usize).map_or(0.0, |height| self.twice * height);
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::{Metric, norm_squared};
    use nearlab_storage::Vectors;

    use super::super::{Half, HalfKind, Lifted, Sq7};
    use super::*;
    use crate::random::SplitMix64;

    const DIM: usize = 20;
    const N: usize = 60;

    /// Of lengths that differ by much.
    fn data() -> Vec<f32> {
        let mut random = SplitMix64::new(3);
        (0..N * DIM).map(|i| (random.unit() as f32 - 0.5) * (1.0 + (i / DIM % 7) as f32)).collect()
    }

    #[test]
    fn vectors_score_others_as_the_queries_that_they_would_be() {
        let data = data();
        let vectors = Vectors::new(&data, DIM);
        let turned = Euclid::of(vectors, Metric::InnerProduct);
        for euclid in [turned, Euclid { query_length: 0.0, ..turned }] {
            let source = Lifted::new(vectors, &euclid);
            let heights = Heights::of(&source, &euclid);
            let expected = |row: usize| (euclid.radius_squared - norm_squared(vectors.row(row))).max(0.0);
            for (row, height) in heights.as_slice().iter().enumerate() {
                assert!((height * height - expected(row)).abs() < 1e-3 * euclid.radius_squared, "{row}: {height}");
            }
            let sq7 = Sq7::encode(&source, None).unwrap();
            let codes = AsQueries::new(sq7.rows(), heights.as_slice());
            let ids: Vec<u32> = (0..N as u32).collect();
            let (mut query, mut scores) = (RowQuery::default(), vec![0.0; N]);
            for row in 0..N as u32 {
                codes.prepare_row(row, &mut query);
                codes.score(&query, &ids, &mut scores);
                for (&id, score) in ids.iter().zip(&scores) {
                    let pairs = vectors.row(row as usize).iter().zip(vectors.row(id as usize));
                    let product: f32 = pairs.map(|(x, y)| x * y).sum();
                    let expected = 2.0 * (euclid.radius_squared - product);
                    let found = score * codes.unit();
                    assert!((found - expected).abs() < 0.05 * euclid.radius_squared, "{row} {id}: {found}, {expected}");
                }
            }
        }
    }

    #[test]
    fn heights_are_put_as_they_are_made_and_where_none_are_added_there_are_none() {
        let data = data();
        let vectors = Vectors::new(&data, DIM);
        let euclid = Euclid::of(vectors, Metric::InnerProduct);
        let source = Lifted::new(vectors, &euclid);
        let (heights, mut put, mut lifted) = (Heights::of(&source, &euclid), Heights::default(), Vec::new());
        for row in (0..N).rev() {
            lifted.clear();
            source.append(row, &mut lifted);
            put.put(row as u32, euclid.height(&lifted));
        }
        assert_eq!(put.as_slice(), heights.as_slice());
        let half = Half::encode(&source, HalfKind::F16).unwrap();
        for (coarse, fine) in Heights::of(&half, &euclid).as_slice().iter().zip(heights.as_slice()) {
            assert!((coarse - fine).abs() < 1e-2, "{coarse} and {fine}");
        }
        assert_eq!(heights.unless_level(&euclid).as_slice(), put.as_slice());
        let level: Vec<f32> =
            data.iter().enumerate().map(|(i, x)| x / norm_squared(vectors.row(i / DIM)).sqrt()).collect();
        let level = Vectors::new(&level, DIM);
        let euclid = Euclid::of(level, Metric::InnerProduct);
        assert_eq!(Heights::of(&Lifted::new(level, &euclid), &euclid).unless_level(&euclid).bytes(), 0);
        let euclid = Euclid::of(vectors, Metric::L2);
        assert_eq!(Heights::of(&Lifted::new(vectors, &euclid), &euclid).bytes(), 0);
    }
}

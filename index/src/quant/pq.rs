//! Product quantisation: vectors cut into parts of a few components, each named by the nearest of 16 or 256 centroids that were
//! learnt for its place.
//!
//! Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", PAMI 2011: a query's distance to a code is a
//! sum of numbers looked up, one for each part, in a table made once for the query (their asymmetric distance). With 16
//! centroids the numbers are rounded to 7 bits and looked up in registers (André, Kermarrec and Le Scouarnec, VLDB 2015); with
//! 256 they are `f32`. The last part may be shorter. Not here: a rotation before (OPQ), residuals.

use std::io;

use nearlab_simd::{CENTROIDS, CodeKernels, LUT4_CHUNK, code_kernels, prefetch};
use nearlab_storage::{Buffer, Vectors};
use rayon::prelude::*;

use super::pq_query::PqQuery;
use super::{Bytes, Codes, Encoded, Form, SelfQuery, Source, encode_all};
use crate::kmeans::{self, Kmeans};
use crate::random::mix;
use crate::{BuildError, Counters};

/// Rows that centroids are learnt from, at most: 64 for each of 256.
const SAMPLE_ROWS: usize = 16_384;
const ITERATIONS: usize = 10;

/// What is known of product quantisation before anything is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PqShape {
    /// Components of a lifted vector.
    pub(crate) width: usize,
    /// Components of a sub-space, at least 1.
    pub(crate) sub_dim: usize,
    /// Bits of a code: 4 or 8.
    pub(crate) bits: u32,
}

impl PqShape {
    pub(super) fn spaces(self) -> usize {
        self.width.div_ceil(self.sub_dim)
    }

    /// Centroids of a sub-space.
    fn count(self) -> usize {
        1 << self.bits
    }

    /// Numbers that all centroids have.
    pub(crate) fn centroid_numbers(self) -> usize {
        self.spaces() * self.count() * self.sub_dim
    }

    /// Bytes of a row: so many that none lies in more cache lines than it must.
    pub(crate) fn row_bytes(self) -> usize {
        (self.spaces() * self.bits as usize).div_ceil(8).next_multiple_of(LUT4_CHUNK)
    }

    /// Byte and shift of the code of a sub-space, as the kernels read them.
    fn place(self, space: usize) -> (usize, u32) {
        if self.bits == 8 {
            return (space, 0);
        }
        (space / 16 * 8 + space % 8, if space % 16 < 8 { 0 } else { 4 })
    }

    /// Where a component of a centroid of a sub-space stands among all numbers: blocks of [`CENTROIDS`], by component.
    fn number(self, (space, centroid): (usize, usize), component: usize) -> usize {
        let block = (space * self.count() + centroid) / CENTROIDS;
        (block * self.sub_dim + component) * CENTROIDS + centroid % CENTROIDS
    }
}

/// Codes of base vectors, and how they were made.
#[derive(Debug)]
pub(crate) struct Pq {
    pub(crate) shape: PqShape,
    pub(crate) centroids: Buffer<f32>,
    pub(crate) codes: Buffer<u8>,
}

impl Pq {
    /// Learns centroids and encodes all vectors. The width of `shape` is that of `source`.
    pub(crate) fn encode(source: &dyn Source, shape: PqShape, seed: u64) -> Result<Self, BuildError> {
        let centroids = learn(source, shape, seed)?.into();
        let mut pq = Self { shape, centroids, codes: Buffer::default() };
        pq.codes = encode_all(source, shape.row_bytes(), |rows, codes, scratch| {
            pq.write(rows, codes, &mut scratch.floats);
        })?;
        Ok(pq)
    }

    pub(crate) fn rows(&self) -> PqRows<'_> {
        PqRows { pq: self, codes: &self.codes, row_bytes: self.shape.row_bytes(), kernels: code_kernels() }
    }

    /// Writes the codes of some rows, which are zeros.
    fn write(&self, rows: &[f32], codes: &mut [u8], distances: &mut Vec<f32>) {
        let Self { shape, .. } = self;
        for (row, code) in rows.chunks_exact(shape.width).zip(codes.chunks_exact_mut(shape.row_bytes())) {
            self.distances(row, distances);
            for (space, distances) in distances.chunks_exact(shape.count()).enumerate() {
                let (byte, shift) = shape.place(space);
                code[byte] |= (nearest(distances) as u8) << shift;
            }
        }
    }

    /// Replaces `out` by the squared distances of each part of a vector to the centroids of its sub-space.
    fn distances(&self, vector: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.shape.spaces() * self.shape.count(), 0.0);
        code_kernels().centroid_distances(vector, &self.centroids, self.shape.sub_dim, out);
    }
}

/// The place of the smallest of some numbers, none of which is negative: the first of them.
fn nearest(distances: &[f32]) -> usize {
    // Their bits are ordered as they are, and integers have a minimum that needs no order of comparisons.
    let least = distances.iter().map(|x| x.to_bits() as i32).min().unwrap_or_default();
    distances.iter().position(|x| x.to_bits() as i32 == least).unwrap_or_default()
}

/// The centroids of all sub-spaces, in the order of [`PqShape::number`], by k-means on a sample; where that has fewer rows than
/// there are centroids, the others are copies. On the rayon pool it is called in.
fn learn(source: &dyn Source, shape: PqShape, seed: u64) -> Result<Vec<f32>, BuildError> {
    let sample = source.sample(SAMPLE_ROWS);
    let PqShape { width, sub_dim, .. } = shape;
    let mut centroids = vec![0.0; shape.centroid_numbers()];
    if sample.is_empty() {
        return Ok(centroids);
    }
    let rows = Vectors::new(&sample, width);
    let of_space = shape.count() * sub_dim;
    centroids.par_chunks_exact_mut(of_space).enumerate().try_for_each(|(space, out)| {
        let mut parts = vec![0.0; rows.len() * sub_dim];
        for (row, part) in parts.chunks_exact_mut(sub_dim).enumerate() {
            let components = rows.row(row)[space * sub_dim..].iter();
            part.iter_mut().zip(components).for_each(|(part, &x)| *part = x);
        }
        let k = shape.count().min(rows.len());
        let params = Kmeans { k, iterations: ITERATIONS, spherical: false, seed: mix(seed ^ mix(space as u64)) };
        let means = kmeans::train(Vectors::new(&parts, sub_dim), &params, &(), &mut Counters::default())?;
        for centroid in 0..shape.count() {
            for component in 0..sub_dim {
                out[shape.number((0, centroid), component)] = means[centroid % k * sub_dim + component];
            }
        }
        Ok::<_, BuildError>(())
    })?;
    Ok(centroids)
}

impl Form for Pq {
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        let (codes, distances, _) = out.zeroed(lifted.len() / width * self.shape.row_bytes());
        self.write(lifted, codes, distances);
    }

    fn quantizer_bytes(&self) -> usize {
        size_of_val(&*self.centroids)
    }

    fn codes(&self) -> &dyn Bytes {
        &self.codes
    }

    fn codes_mut(&mut self) -> &mut dyn Bytes {
        &mut self.codes
    }

    fn make_resident(&mut self) -> io::Result<()> {
        self.centroids.make_resident()?;
        self.codes.make_resident()
    }
}

/// The codes as searches see them.
#[derive(Clone, Copy)]
pub(crate) struct PqRows<'a> {
    pq: &'a Pq,
    codes: &'a [u8],
    row_bytes: usize,
    kernels: &'static CodeKernels,
}

impl Codes for PqRows<'_> {
    type Query = PqQuery;

    fn len(&self) -> usize {
        self.codes.len() / self.row_bytes
    }

    fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    fn prepare(&self, vector: &[f32], query: &mut PqQuery) {
        self.pq.distances(vector, &mut query.distances);
        if self.pq.shape.bits == 4 {
            query.round(self.row_bytes);
        }
    }

    #[inline]
    fn score(&self, query: &PqQuery, ids: &[u32], out: &mut [f32]) {
        if self.pq.shape.bits == 8 {
            return self.kernels.lut8_by_id(&query.distances, (self.codes, self.row_bytes), ids, out);
        }
        self.kernels.lut4_by_id(&query.table, self.codes, ids, out);
        query.unround(out);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        if let Some(row) = self.codes.get(id as usize * self.row_bytes..).and_then(|rest| rest.get(..self.row_bytes)) {
            prefetch(row);
        }
    }
}

impl SelfQuery for PqRows<'_> {
    /// What the code stands for.
    fn prepare_row(&self, row: u32, query: &mut PqQuery) {
        let mut decoded = std::mem::take(&mut query.decoded);
        self.decode(row, &mut decoded);
        self.prepare(&decoded, query);
        query.decoded = decoded;
    }
}

impl PqRows<'_> {
    /// Replaces `out` by the centroids that a row names.
    fn decode(&self, row: u32, out: &mut Vec<f32>) {
        let Pq { shape, centroids, .. } = self.pq;
        let code = &self.codes[row as usize * self.row_bytes..][..self.row_bytes];
        out.clear();
        out.extend((0..shape.width).map(|i| {
            let space = i / shape.sub_dim;
            let (byte, shift) = shape.place(space);
            let centroid = usize::from(code[byte] >> shift) % shape.count();
            centroids[shape.number((space, centroid), i % shape.sub_dim)]
        }));
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::super::{Euclid, Lifted};
    use super::*;
    use crate::random::SplitMix64;

    const DIM: usize = 9;

    fn data(n: usize) -> Vec<f32> {
        let mut random = SplitMix64::new(4);
        (0..n * DIM).map(|_| (random.unit() + random.unit()) as f32).collect()
    }

    fn encoded(data: &[f32], bits: u32, sub_dim: usize) -> Pq {
        let (vectors, shape) = (Vectors::new(data, DIM), PqShape { width: DIM, sub_dim, bits });
        let euclid = Euclid::of(vectors, Metric::L2);
        Pq::encode(&Lifted::new(vectors, &euclid), shape, 7).unwrap()
    }

    fn l2(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    /// The mean squared distance of vectors to what their codes stand for.
    fn error(data: &[f32], pq: &Pq) -> f32 {
        let mut decoded = Vec::new();
        let mut sum = 0.0;
        for (row, vector) in (0..).zip(data.chunks_exact(DIM)) {
            pq.rows().decode(row, &mut decoded);
            sum += l2(vector, &decoded);
        }
        sum / (data.len() / DIM) as f32
    }

    #[test]
    fn more_centroids_and_more_sub_spaces_lose_less() {
        let data = data(1500);
        for bits in [4, 8] {
            let errors = [1, 2, 4, 9].map(|sub_dim| error(&data, &encoded(&data, bits, sub_dim)));
            assert!(errors.is_sorted() && errors[0] < errors[3] / 4.0, "{errors:?}");
        }
        for sub_dim in [1, 2, 4, 9] {
            let [few, many] = [4, 8].map(|bits| error(&data, &encoded(&data, bits, sub_dim)));
            assert!(many < 0.8 * few, "{sub_dim}: {many} and {few}");
        }
    }

    #[test]
    fn scores_are_the_distances_to_what_the_codes_stand_for() {
        let (data, query) = (data(300), [0.3; DIM]);
        for (bits, sub_dim) in [(4, 1), (4, 2), (4, 9), (8, 2), (8, 4)] {
            let pq = encoded(&data, bits, sub_dim);
            let (rows, mut decoded, mut prepared) = (pq.rows(), Vec::new(), PqQuery::default());
            rows.prepare(&query, &mut prepared);
            let (ids, mut scores): (Vec<u32>, _) = ((0..300).collect(), vec![0.0; 300]);
            rows.score(&prepared, &ids, &mut scores);
            // A number of a table is off by half a step at most.
            let most = 1e-4 + if bits == 4 { prepared.step * 0.51 * DIM as f32 } else { 0.0 };
            for (id, &score) in ids.iter().zip(&scores) {
                rows.decode(*id, &mut decoded);
                let exact = l2(&query, &decoded);
                assert!((score - exact).abs() <= most, "{bits} {sub_dim}: {score} for {exact}");
            }
            rows.prepare_row(17, &mut prepared);
            rows.score(&prepared, &[17], &mut scores[..1]);
            assert!(scores[0] <= most, "{bits} {sub_dim}: {}", scores[0]);
        }
    }

    #[test]
    fn fewer_vectors_than_centroids_lose_nothing() {
        for n in [0, 1, 5, 16] {
            let data = data(n);
            for (bits, sub_dim) in [(4, 2), (8, 4)] {
                let pq = encoded(&data, bits, sub_dim);
                assert_eq!(pq.rows().len(), n);
                assert!(n == 0 || error(&data, &pq) < 1e-6, "{n}: {}", error(&data, &pq));
            }
        }
    }

    #[test]
    fn copies_and_zeros_are_themselves() {
        let data: Vec<f32> = (0..60 * DIM).map(|i| if (i / DIM) < 20 { 0.0 } else { (i % DIM) as f32 }).collect();
        for bits in [4, 8] {
            let pq = encoded(&data, bits, 2);
            assert!(error(&data, &pq) == 0.0);
            assert!(pq.centroids.iter().all(|x| x.is_finite()));
        }
    }

    #[test]
    fn the_same_seed_learns_the_same_on_any_number_of_threads() {
        let data = data(400);
        let learnt = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let pq = pool.install(|| encoded(&data, 4, 2));
            (pq.centroids.to_vec(), pq.codes.to_vec())
        };
        assert!(learnt(1) == learnt(3));
    }
}

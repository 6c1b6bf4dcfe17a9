//! Codes whose level `c` of a component stands for `a c + b`, with `a` and `b` the vector's own, or the component's: scored by an inner
//! product of levels with a query in small integers, and three numbers beside the levels.
//!
//! `LVQ` (Aguerrebere et al., VLDB 2023): the levels divide the range between the least and the largest component of a vector,
//! less the mean of all vectors. `RaBitQ` (Gao and Long, SIGMOD 2024; Gao et al., SIGMOD 2025): the vector, less the mean, is
//! rotated at random, and the levels point in nearly its direction; what the angle between the two loses on average is made up
//! for, and how far an estimate can be off is known. Scalar quantisation by component, as faiss' `QT_8bit`: the levels divide the range of
//! each component, from the least to the largest of a sample.
//!
//! A row is whole cache lines; its last 12 bytes are the three numbers, and the query is zero where they stand, or ends before, so
//! that the kernels need not know of them. With `r` the vector less the mean, `q` the query less the mean, both rotated, and `<c, q>`
//! the kernel's product: the squared distance is about `|q|² + first + second (<c, q> + shift)`, and for LVQ `+ third Σ q`. With scales of
//! components, the mean stands for the middle of their ranges, and what meets the levels is `q` times the scales.

use std::io;

use nearlab_simd::{CodeKernels, LINE_BYTES, PlaneRows, code_kernels, norm_squared, prefetch};
use nearlab_storage::Buffer;

use super::fit::{Fitted, error_of_bits, error_of_query, lvq, rabitq, ranges_of, scaled};
use super::{Bytes, Codes, Encoded, Form, Rotation, SelfQuery, Source, encode_all};
use crate::BuildError;
use crate::memory::Capacity;

/// Bytes of a row that hold its three numbers.
pub(crate) const FACTORS: usize = 12;
/// Rows that the mean is taken over, at most.
const SAMPLE_ROWS: usize = 16_384;
/// How much of a row is asked for ahead; the hardware's own prefetcher follows from there.
const PREFETCH_BYTES: usize = 256;

/// Bounds on errors are taken so many times: 1.9 standard deviations become 2.9.
const CAUTION: f32 = 1.5;

/// What the levels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Levels between the least and the largest component of each vector.
    Lvq,
    /// Directions after a rotation.
    Rabitq,
    /// Levels between the least and the largest number of each component.
    Scaled,
}

/// Codes of base vectors, and how they were made.
#[derive(Debug)]
pub(crate) struct Affine {
    pub(crate) kind: Kind,
    /// Bits per component: 4 or 8, for `RaBitQ` 1 to 8, with scales 8.
    pub(crate) bits: u32,
    /// Where levels have scales, the middle of each component's range.
    pub(crate) mean: Buffer<f32>,
    /// What a level is worth, by component.
    pub(crate) scales: Option<Buffer<f32>>,
    /// Of `RaBitQ`.
    pub(crate) rotation: Option<Rotation>,
    pub(crate) codes: Buffer<u8>,
}

impl Affine {
    /// Encodes all vectors.
    pub(crate) fn encode(source: &dyn Source, kind: Kind, bits: u32, seed: u64) -> Result<Self, BuildError> {
        let sample = source.sample(SAMPLE_ROWS);
        let (mean, scales) = match kind {
            Kind::Lvq | Kind::Rabitq => (mean_of(&sample, source.width()), None),
            Kind::Scaled => {
                let (middles, scales) = ranges_of(&sample, source.width(), bits);
                (middles, Some(scales.into()))
            }
        };
        drop(sample);
        let rotation = (kind == Kind::Rabitq).then(|| Rotation::new(source.width(), seed));
        let mut affine = Self { kind, bits, mean: mean.into(), scales, rotation, codes: Buffer::default() };
        affine.codes = encode_all(source, affine.row_bytes(), |rows, codes, scratch| {
            affine.write(rows, codes, (&mut scratch.floats, &mut scratch.fitted));
        })?;
        Ok(affine)
    }

    pub(crate) fn rows(&self) -> AffineRows<'_> {
        AffineRows { affine: self, codes: &self.codes, row_bytes: self.row_bytes(), kernels: code_kernels() }
    }

    /// What levels are worth, by component; nothing where that is not so.
    fn scales(&self) -> &[f32] {
        self.scales.as_deref().unwrap_or_default()
    }

    /// Components that have levels.
    fn width(&self) -> usize {
        self.rotation.as_ref().map_or(self.mean.len(), Rotation::width)
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        row_bytes(self.width(), self.bits)
    }

    /// Replaces `out` by a lifted vector less the mean, rotated where it is to be.
    fn centred(&self, vector: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend(vector.iter().zip(&*self.mean).map(|(x, mean)| x - mean));
        if let Some(rotation) = &self.rotation {
            out.resize(rotation.width(), 0.0);
            rotation.apply(out);
        }
    }

    /// Writes the codes of some rows, which are zeros.
    fn write(&self, rows: &[f32], codes: &mut [u8], (centred, fitted): (&mut Vec<f32>, &mut Fitted)) {
        for (row, code) in rows.chunks_exact(self.mean.len()).zip(codes.chunks_exact_mut(self.row_bytes())) {
            self.centred(row, centred);
            match self.kind {
                Kind::Lvq => lvq(centred, self.bits, fitted),
                Kind::Rabitq => rabitq(centred, self.bits, fitted),
                Kind::Scaled => scaled(centred, self.scales(), self.bits, fitted),
            }
            let (levels, factors) = code.split_at_mut(code.len() - FACTORS);
            for (i, &level) in fitted.levels.iter().enumerate() {
                put(levels, i, self.bits, level);
            }
            for (bytes, factor) in factors.as_chunks_mut::<4>().0.iter_mut().zip(fitted.factors) {
                *bytes = factor.to_le_bytes();
            }
        }
    }
}

/// Bytes of a row of `width` levels.
pub(crate) fn row_bytes(width: usize, bits: u32) -> usize {
    ((width * bits as usize).div_ceil(8) + FACTORS).next_multiple_of(LINE_BYTES)
}

/// Components whose bits of one place share 8 bytes.
const GROUP: usize = 64;

/// The byte with bit `p` of level `i`, where levels stand in planes; it is bit `i % 8` of it.
fn plane_byte(i: usize, p: usize, bits: u32) -> usize {
    (i / GROUP * bits as usize + p) * (GROUP / 8) + i % GROUP / 8
}

/// Writes level `i` to zeros: one level after another with eight bits, the low halves of all bytes before the high halves with
/// four, and else a plane for each bit of 64 levels.
fn put(levels: &mut [u8], i: usize, bits: u32, level: u8) {
    let room = levels.len();
    match bits {
        4 => levels[i % room] |= level << if i < room { 0 } else { 4 },
        8 => levels[i] = level,
        _ => (0..bits as usize).for_each(|p| levels[plane_byte(i, p, bits)] |= (level >> p & 1) << (i % 8)),
    }
}

/// The level that [`put`] wrote.
fn get(levels: &[u8], i: usize, bits: u32) -> u8 {
    let room = levels.len();
    match bits {
        4 => levels[i % room] >> if i < room { 0 } else { 4 } & 15,
        8 => levels[i],
        _ => (0..bits as usize).map(|p| (levels[plane_byte(i, p, bits)] >> (i % 8) & 1) << p).sum(),
    }
}

fn mean_of(rows: &[f32], width: usize) -> Vec<f32> {
    let count = (rows.len() / width).max(1) as f64;
    let mut mean = vec![0.0_f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / count);
    }
    mean.into_iter().map(|x| x as f32).collect()
}

impl Form for Affine {
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        let (codes, centred, fitted) = out.zeroed(lifted.len() / width * self.row_bytes());
        self.write(lifted, codes, (centred, fitted));
    }

    fn quantizer_bytes(&self) -> usize {
        let signs = self.rotation.as_ref().map_or(0, |rotation| rotation.signs.len());
        size_of_val(&*self.mean) + size_of_val(self.scales()) + signs
    }

    fn codes(&self) -> &dyn Bytes {
        &self.codes
    }

    fn codes_mut(&mut self) -> &mut dyn Bytes {
        &mut self.codes
    }

    fn make_resident(&mut self) -> io::Result<()> {
        self.mean.make_resident()?;
        self.scales.as_mut().map_or(Ok(()), Bytes::make_resident)?;
        self.rotation.as_mut().map_or(Ok(()), |rotation| rotation.signs.make_resident())?;
        self.codes.make_resident()
    }
}

/// The codes as searches see them.
#[derive(Clone, Copy)]
pub(crate) struct AffineRows<'a> {
    affine: &'a Affine,
    codes: &'a [u8],
    row_bytes: usize,
    kernels: &'static CodeKernels,
}

/// A query in small integers, laid out as the levels are.
#[derive(Debug, Default)]
pub(crate) struct AffineQuery {
    centred: Vec<f32>,
    /// With more bits than one.
    numbers: Vec<i8>,
    /// With one bit: four planes for each cache line.
    planes: Vec<u8>,
    /// `|q|²`
    squared: f32,
    /// `Σ q`, of the numbers as they are.
    sum: f32,
    /// What a number stands for: `lowest + step number`.
    lowest: f32,
    step: f32,
}

impl Capacity for AffineQuery {
    fn capacity_bytes(&self) -> usize {
        self.centred.capacity_bytes() + self.numbers.capacity() + self.planes.capacity()
    }
}

/// Numbers of a query that meets single bits: 0 to 15.
const PLANES: usize = 4;
const PLANE_MOST: f32 = 15.0;

impl AffineRows<'_> {
    /// Makes a vector ready that is centred and rotated already.
    fn prepare_centred(&self, query: &mut AffineQuery) {
        query.squared = norm_squared(&query.centred);
        query.centred.iter_mut().zip(self.affine.scales()).for_each(|(x, scale)| *x *= scale);
        if self.affine.bits == 1 {
            self.prepare_planes(query);
        } else {
            self.prepare_numbers(query);
        }
    }

    fn prepare_numbers(&self, query: &mut AffineQuery) {
        let room = self.row_bytes - FACTORS;
        // With four bits a line of the query has the numbers for all low halves first.
        let place_of_half = |i: usize| {
            let (half, byte) = (i / room, i % room);
            (byte / LINE_BYTES * 2 + half) * LINE_BYTES + byte % LINE_BYTES
        };
        let count = match self.affine.bits {
            4 => 2 * self.row_bytes,
            8 => self.row_bytes,
            _ => query.centred.len(),
        };
        query.numbers.clear();
        query.numbers.resize(count, 0);
        let largest = query.centred.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        (query.lowest, query.step) = (0.0, largest / 127.0);
        let mut sum = 0;
        for (i, x) in query.centred.iter().enumerate() {
            let number = (x * (127.0 / largest)).round() as i8;
            query.numbers[if self.affine.bits == 4 { place_of_half(i) } else { i }] = number;
            sum += i32::from(number);
        }
        query.sum = sum as f32 * query.step;
    }

    fn prepare_planes(&self, query: &mut AffineQuery) {
        query.planes.clear();
        query.planes.resize(self.row_bytes * PLANES, 0);
        let (low, high) = query.centred.iter().fold((0.0_f32, f32::MIN_POSITIVE), |(a, b), &x| (a.min(x), b.max(x)));
        (query.lowest, query.step) = (low, (high - low) / PLANE_MOST);
        let mut sum = 0;
        for (i, x) in query.centred.iter().enumerate() {
            let number = ((x - low) / query.step).round().clamp(0.0, PLANE_MOST) as u8;
            let byte = i / 8;
            for plane in 0..PLANES {
                let at = (byte / LINE_BYTES * PLANES + plane) * LINE_BYTES + byte % LINE_BYTES;
                query.planes[at] |= (number >> plane & 1) << (i % 8);
            }
            sum += u32::from(number);
        }
        query.sum = query.centred.len() as f32 * low + sum as f32 * query.step;
    }

    /// The three numbers of a row.
    #[inline]
    fn factors(&self, id: u32) -> [f32; 3] {
        let end = (id as usize + 1) * self.row_bytes;
        let factors = self.codes[end - FACTORS..end].as_chunks::<4>().0;
        [0, 1, 2].map(|i| f32::from_le_bytes(factors[i]))
    }
}

impl Codes for AffineRows<'_> {
    type Query = AffineQuery;

    fn len(&self) -> usize {
        self.codes.len() / self.row_bytes
    }

    fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    fn prepare(&self, vector: &[f32], query: &mut AffineQuery) {
        self.affine.centred(vector, &mut query.centred);
        self.prepare_centred(query);
    }

    #[inline]
    fn score(&self, query: &AffineQuery, ids: &[u32], out: &mut [f32]) {
        let Affine { kind, bits, .. } = *self.affine;
        match bits {
            1 => self.kernels.dot1_by_id(&query.planes, self.codes, ids, out),
            4 => self.kernels.dot4_by_id(&query.numbers, self.codes, ids, out),
            8 => self.kernels.dot8_by_id(&query.numbers, self.codes, ids, out),
            _ => {
                let rows = PlaneRows { codes: self.codes, row_bytes: self.row_bytes, bits };
                self.kernels.planes_by_id(&query.numbers, rows, ids, out);
            }
        }
        // Half of the highest level, which those of a direction and of ranges are counted from.
        let shift = if kind == Kind::Lvq { 0.0 } else { -((1 << bits) as f32 - 1.0) * 0.5 * query.sum };
        for (out, &id) in out.iter_mut().zip(ids) {
            let [first, second, third] = self.factors(id);
            let product = query.step * *out;
            *out = query.squared
                + first
                + match (kind, bits) {
                    (Kind::Lvq, _) => second * product + third * query.sum,
                    // The third number of single bits is how many are set.
                    (Kind::Rabitq, 1) => second * (product + query.lowest * third + shift),
                    (Kind::Rabitq | Kind::Scaled, _) => second * (product + shift),
                };
        }
    }

    /// Of `RaBitQ`, some more than its bound, which also counts the rounding of the query: about one time in five hundred the
    /// squared distance is less, and one time in thirty without what is more.
    fn lower_bound(&self, query: &AffineQuery, id: u32, score: f32) -> Option<f32> {
        let [first, second, third] = self.factors(id);
        let of_levels = match (self.affine.kind, self.affine.bits) {
            (Kind::Lvq | Kind::Scaled, _) => return None,
            (Kind::Rabitq, 1) => error_of_bits(first, second, self.affine.width() as f32),
            (Kind::Rabitq, _) => third,
        };
        let of_query = error_of_query(first, query.step);
        Some(score - CAUTION * (of_levels * of_levels * query.squared + of_query * of_query).sqrt())
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        let first = self.row_bytes.min(PREFETCH_BYTES);
        if let Some(row) = self.codes.get(id as usize * self.row_bytes..).and_then(|rest| rest.get(..first)) {
            prefetch(row);
        }
    }
}

impl SelfQuery for AffineRows<'_> {
    /// What the code stands for.
    fn prepare_row(&self, row: u32, query: &mut AffineQuery) {
        let Affine { kind, bits, .. } = *self.affine;
        let code = &self.codes[row as usize * self.row_bytes..][..self.row_bytes - FACTORS];
        let [first, second, third] = self.factors(row);
        let level = |i: usize| f32::from(get(code, i, bits));
        let (width, middle) = (self.affine.width(), ((1 << bits) as f32 - 1.0) * 0.5);
        query.centred.clear();
        match kind {
            Kind::Lvq => query.centred.extend((0..width).map(|i| -0.5 * (third + second * level(i)))),
            Kind::Scaled => {
                query.centred.extend((0..).zip(self.affine.scales()).map(|(i, scale)| scale * (level(i) - middle)));
            }
            Kind::Rabitq => {
                query.centred.extend((0..width).map(|i| level(i) - middle));
                let length = norm_squared(&query.centred).sqrt();
                // As long as the vector, in the direction of its levels.
                let scale = if length > 0.0 { first.max(0.0).sqrt() / length } else { 0.0 };
                query.centred.iter_mut().for_each(|x| *x *= scale);
            }
        }
        self.prepare_centred(query);
    }
}

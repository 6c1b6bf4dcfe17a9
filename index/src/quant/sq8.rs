//! Eight bits per component, against a query that keeps its own precision. Lossless for whole numbers from 0 to 255.

use nearlab_simd::{CodeKernels, code_kernels, prefetch};
use nearlab_storage::Buffer;

use super::{Bytes, Codes, Encoded, Form, Levels, SAMPLE_ROWS, Source, encode_all, padded, write_levels};
use crate::BuildError;

const COUNT: u32 = 256;
/// How much of a row is asked for ahead; the hardware's own prefetcher follows from there.
const PREFETCH_BYTES: usize = 256;

/// Codes of base vectors, and how they were made.
#[derive(Debug)]
pub(crate) struct Sq8 {
    pub(crate) levels: Levels,
    pub(crate) codes: Buffer<u8>,
}

impl Sq8 {
    pub(crate) fn encode(source: &dyn Source) -> Result<Self, BuildError> {
        let levels = Levels::train(&source.sample(SAMPLE_ROWS), source.width(), COUNT);
        let codes = encode_all(source, padded::<u8>(source.width()), |rows, codes, _| {
            write_levels(&levels, COUNT, rows, codes);
        })?;
        Ok(Self { levels, codes })
    }

    pub(crate) fn rows(&self) -> Sq8Rows<'_> {
        let width = padded::<u8>(self.levels.offset.len());
        Sq8Rows { levels: &self.levels, codes: &self.codes, width, kernels: code_kernels() }
    }
}

impl Form for Sq8 {
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        let (codes, ..) = out.zeroed(lifted.len() / width * padded::<u8>(width));
        write_levels(&self.levels, COUNT, lifted, codes);
    }

    fn quantizer_bytes(&self) -> usize {
        size_of_val(&*self.levels.offset)
    }

    fn codes(&self) -> &dyn Bytes {
        &self.codes
    }

    fn codes_mut(&mut self) -> &mut dyn Bytes {
        &mut self.codes
    }
}

impl Source for Sq8 {
    fn len(&self) -> usize {
        self.codes.len() / padded::<u8>(self.width())
    }

    fn width(&self) -> usize {
        self.levels.offset.len()
    }

    fn append(&self, row: usize, out: &mut Vec<f32>) {
        let codes = &self.codes[row * padded::<u8>(self.width())..][..self.width()];
        out.extend(codes.iter().enumerate().map(|(i, &level)| self.levels.value(level, i)));
    }
}

/// The codes as searches see them.
#[derive(Clone, Copy)]
pub(crate) struct Sq8Rows<'a> {
    levels: &'a Levels,
    codes: &'a [u8],
    width: usize,
    kernels: &'static CodeKernels,
}

impl Codes for Sq8Rows<'_> {
    type Query = Vec<f32>;

    fn len(&self) -> usize {
        self.codes.len() / self.width
    }

    fn row_bytes(&self) -> usize {
        self.width
    }

    fn unit(&self) -> f32 {
        self.levels.step * self.levels.step
    }

    fn prepare(&self, vector: &[f32], query: &mut Vec<f32>) {
        query.clear();
        // Half a level down, to where a level's middle is its number.
        query.extend(self.levels.positions(vector).map(|position| position - 0.5));
        query.resize(self.width, 0.0);
    }

    #[inline]
    fn score(&self, query: &Vec<f32>, ids: &[u32], out: &mut [f32]) {
        self.kernels.u8_by_id(query, self.codes, ids, out);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        let first = self.width.min(PREFETCH_BYTES);
        if let Some(row) = self.codes.get(id as usize * self.width..).and_then(|rest| rest.get(..first)) {
            prefetch(row);
        }
    }
}

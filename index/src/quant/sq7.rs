//! Seven bits per component, for pairs of base vectors: two codes are compared without unpacking anything.

use std::sync::Arc;

use nearlab_simd::{CodeKernels, code_kernels, prefetch};
use nearlab_storage::Buffer;

use super::{
    Bytes, Codes, Encoded, Form, Levels, Projection, SelfQuery, Source, Symmetric, encode_all, padded, write_levels,
};
use crate::BuildError;

pub(super) const COUNT: u32 = 128;

/// Codes of base vectors. They live as long as a build, or as an index that can be changed.
#[derive(Debug)]
pub(crate) struct Sq7 {
    pub(super) levels: Levels,
    pub(super) projection: Option<Arc<Projection>>,
    pub(super) codes: Buffer<u8>,
}

impl Sq7 {
    /// Encodes all vectors, after a projection where one is given: that of the codes which are walked over, for what a walk does not
    /// see should not choose its links.
    pub(crate) fn encode(source: &dyn Source, projection: Option<Arc<Projection>>) -> Result<Self, BuildError> {
        let (sample, width) = Projection::sample(projection.as_deref(), source);
        let levels = Levels::train(&sample, width, COUNT);
        let codes = encode_all(source, padded::<u8>(width), |rows, codes, scratch| {
            let rows = Projection::of(projection.as_deref(), rows, &mut scratch.floats);
            write_levels(&levels, COUNT, rows, codes);
        })?;
        Ok(Self { levels, projection, codes })
    }

    pub(crate) fn rows(&self) -> Sq7Rows<'_> {
        let width = padded::<u8>(self.levels.offset.len());
        Sq7Rows { codes: &self.codes, width, step: self.levels.step, kernels: code_kernels() }
    }
}

impl Form for Sq7 {
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        let (codes, projected, _) = out.zeroed(lifted.len() / width * padded::<u8>(self.levels.offset.len()));
        write_levels(&self.levels, COUNT, Projection::of(self.projection.as_deref(), lifted, projected), codes);
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

/// The codes as builds see them.
#[derive(Clone, Copy)]
pub(crate) struct Sq7Rows<'a> {
    codes: &'a [u8],
    width: usize,
    step: f32,
    kernels: &'static CodeKernels,
}

impl<'a> Sq7Rows<'a> {
    /// Levels of a row, padding included.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn row(&self, id: u32) -> &'a [u8] {
        &self.codes[id as usize * self.width..][..self.width]
    }
}

impl Codes for Sq7Rows<'_> {
    type Query = Vec<u8>;

    fn len(&self) -> usize {
        self.codes.len() / self.width
    }

    fn row_bytes(&self) -> usize {
        self.width
    }

    fn unit(&self) -> f32 {
        self.step * self.step
    }

    /// Builds only ask about base vectors.
    fn prepare(&self, _vector: &[f32], query: &mut Vec<u8>) {
        query.clear();
    }

    #[inline]
    fn score(&self, query: &Vec<u8>, ids: &[u32], out: &mut [f32]) {
        self.kernels.u7_by_id(query, self.codes, ids, out);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        prefetch(self.row(id));
    }
}

impl SelfQuery for Sq7Rows<'_> {
    fn prepare_row(&self, row: u32, query: &mut Vec<u8>) {
        query.clear();
        query.extend_from_slice(self.row(row));
    }
}

impl Symmetric for Sq7Rows<'_> {
    #[inline]
    fn score_row(&self, row: u32, ids: &[u32], out: &mut [f32]) {
        self.kernels.u7_by_id(self.row(row), self.codes, ids, out);
    }
}

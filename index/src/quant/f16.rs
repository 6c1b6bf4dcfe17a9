//! Half precision: IEEE 754 binary16, eleven bits of fraction. Components beyond 65504 are clamped to it.

use half::f16;
use half::slice::HalfFloatSliceExt;
use nearlab_simd::{CodeKernels, code_kernels, prefetch};
use nearlab_storage::Buffer;

use super::{Bytes, Codes, Encoded, Form, Source, encode_all, padded};
use crate::BuildError;

/// Codes of base vectors.
#[derive(Debug)]
pub(crate) struct F16 {
    /// Components, before padding.
    pub(crate) components: usize,
    pub(crate) codes: Buffer<u16>,
}

impl F16 {
    pub(crate) fn encode(source: &dyn Source) -> Result<Self, BuildError> {
        let components = source.width();
        let codes = encode_all(source, padded::<u16>(components), |rows, codes, scratch| {
            write(components, rows, codes, (&mut scratch.floats, &mut scratch.halves));
        })?;
        Ok(Self { components, codes })
    }

    pub(crate) fn rows(&self) -> F16Rows<'_> {
        F16Rows { codes: &self.codes, width: padded::<u16>(self.components), kernels: code_kernels() }
    }
}

/// Writes the halves of some rows to their codes, which are zeros.
fn write(components: usize, rows: &[f32], codes: &mut [u16], (clamped, halves): (&mut Vec<f32>, &mut Vec<f16>)) {
    for (row, code) in rows.chunks_exact(components).zip(codes.chunks_exact_mut(padded::<u16>(components))) {
        halves_of(row, (clamped, halves));
        code[..components].copy_from_slice(bytemuck::cast_slice(halves));
    }
}

/// Leaves the components of a row in `halves`.
fn halves_of(row: &[f32], (clamped, halves): (&mut Vec<f32>, &mut Vec<f16>)) {
    let (least, most) = (f16::MIN.to_f32(), f16::MAX.to_f32());
    clamped.clear();
    clamped.extend(row.iter().map(|x| x.clamp(least, most)));
    halves.resize(row.len(), f16::ZERO);
    halves.convert_from_f32_slice(clamped);
}

impl Form for F16 {
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        let Encoded { bytes, floats, halves, .. } = out;
        bytes.clear();
        let padding = (padded::<u16>(width) - width) * size_of::<u16>();
        for row in lifted.chunks_exact(width) {
            halves_of(row, (floats, halves));
            bytes.extend_from_slice(bytemuck::cast_slice(halves));
            bytes.extend(std::iter::repeat_n(0, padding));
        }
    }

    fn quantizer_bytes(&self) -> usize {
        0
    }

    fn codes(&self) -> &dyn Bytes {
        &self.codes
    }

    fn codes_mut(&mut self) -> &mut dyn Bytes {
        &mut self.codes
    }
}

impl Source for F16 {
    fn len(&self) -> usize {
        self.codes.len() / padded::<u16>(self.components)
    }

    fn width(&self) -> usize {
        self.components
    }

    fn append(&self, row: usize, out: &mut Vec<f32>) {
        let codes = &self.codes[row * padded::<u16>(self.components)..][..self.components];
        out.extend(codes.iter().map(|&bits| f16::from_bits(bits).to_f32()));
    }
}

/// The codes as searches see them.
#[derive(Clone, Copy)]
pub(crate) struct F16Rows<'a> {
    codes: &'a [u16],
    width: usize,
    kernels: &'static CodeKernels,
}

impl Codes for F16Rows<'_> {
    type Query = Vec<f32>;

    fn len(&self) -> usize {
        self.codes.len() / self.width
    }

    fn row_bytes(&self) -> usize {
        self.width * size_of::<u16>()
    }

    fn prepare(&self, vector: &[f32], query: &mut Vec<f32>) {
        query.clear();
        query.extend_from_slice(vector);
        query.resize(self.width, 0.0);
    }

    #[inline]
    fn score(&self, query: &Vec<f32>, ids: &[u32], out: &mut [f32]) {
        self.kernels.f16_by_id(query, self.codes, ids, out);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        if let Some(row) = self.codes.get(id as usize * self.width..).and_then(|rest| rest.get(..self.width)) {
            prefetch(row);
        }
    }
}

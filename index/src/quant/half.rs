//! Half precision, rounded to the nearest number, to even between two. Components beyond the largest are clamped to it.

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use nearlab_simd::{CodeKernels, code_kernels, prefetch};
use nearlab_storage::Buffer;

use super::{Bytes, Codes, Encoded, Form, Source, encode_all, padded};
use crate::BuildError;

/// Which numbers of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfKind {
    /// IEEE 754 binary16: eleven bits of fraction, up to 65504.
    F16,
    /// The upper half of an `f32`: eight bits of fraction, and its range.
    Bf16,
}

impl HalfKind {
    /// Leaves the bits of the numbers nearest to the components of a row in `halves`.
    fn halves_of(self, row: &[f32], (clamped, halves): (&mut Vec<f32>, &mut Vec<u16>)) {
        let (least, most) = match self {
            Self::F16 => (f16::MIN.to_f32(), f16::MAX.to_f32()),
            Self::Bf16 => (bf16::MIN.to_f32(), bf16::MAX.to_f32()),
        };
        clamped.clear();
        clamped.extend(row.iter().map(|x| x.clamp(least, most)));
        halves.resize(row.len(), 0);
        match self {
            Self::F16 => as_halves::<f16>(halves).convert_from_f32_slice(clamped),
            Self::Bf16 => as_halves::<bf16>(halves).convert_from_f32_slice(clamped),
        }
    }

    fn number(self, bits: u16) -> f32 {
        match self {
            Self::F16 => f16::from_bits(bits).to_f32(),
            Self::Bf16 => bf16::from_bits(bits).to_f32(),
        }
    }
}

fn as_halves<T: Pod>(bits: &mut [u16]) -> &mut [T] {
    bytemuck::cast_slice_mut(bits)
}

/// Codes of base vectors.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) kind: HalfKind,
    /// Components, before padding.
    pub(crate) components: usize,
    pub(crate) codes: Buffer<u16>,
}

impl Half {
    pub(crate) fn encode(source: &dyn Source, kind: HalfKind) -> Result<Self, BuildError> {
        let components = source.width();
        let width = padded::<u16>(components);
        let codes = encode_all(source, width, |rows, codes, Encoded { floats, halves, .. }| {
            for (row, code) in rows.chunks_exact(components).zip(codes.chunks_exact_mut(width)) {
                kind.halves_of(row, (floats, halves));
                code[..components].copy_from_slice(halves);
            }
        })?;
        Ok(Self { kind, components, codes })
    }

    pub(crate) fn rows(&self) -> HalfRows<'_> {
        let width = padded::<u16>(self.components);
        HalfRows { kind: self.kind, codes: &self.codes, width, kernels: code_kernels() }
    }
}

impl Form for Half {
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        let Encoded { bytes, floats, halves, .. } = out;
        bytes.clear();
        let padding = (padded::<u16>(width) - width) * size_of::<u16>();
        for row in lifted.chunks_exact(width) {
            self.kind.halves_of(row, (floats, halves));
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

impl Source for Half {
    fn len(&self) -> usize {
        self.codes.len() / padded::<u16>(self.components)
    }

    fn width(&self) -> usize {
        self.components
    }

    fn append(&self, row: usize, out: &mut Vec<f32>) {
        let codes = &self.codes[row * padded::<u16>(self.components)..][..self.components];
        out.extend(codes.iter().map(|&bits| self.kind.number(bits)));
    }
}

/// The codes as searches see them.
#[derive(Clone, Copy)]
pub(crate) struct HalfRows<'a> {
    kind: HalfKind,
    codes: &'a [u16],
    width: usize,
    kernels: &'static CodeKernels,
}

impl Codes for HalfRows<'_> {
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
        match self.kind {
            HalfKind::F16 => self.kernels.f16_by_id(query, self.codes, ids, out),
            HalfKind::Bf16 => self.kernels.bf16_by_id(query, self.codes, ids, out),
        }
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        if let Some(row) = self.codes.get(id as usize * self.width..).and_then(|rest| rest.get(..self.width)) {
            prefetch(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(kind: HalfKind, row: &[f32]) -> Vec<f32> {
        let mut halves = Vec::new();
        kind.halves_of(row, (&mut Vec::new(), &mut halves));
        halves.iter().map(|&bits| kind.number(bits)).collect()
    }

    #[test]
    fn numbers_between_two_go_to_the_nearer_one_or_the_even_one_and_none_becomes_infinite() {
        let step = 2.0_f32.powi(-7);
        let row = [1.0, 1.0 + 0.5 * step, 1.0 + 1.5 * step, 1.0 + 0.51 * step, -1.0 - 0.49 * step, f32::MAX, f32::MIN];
        let most = f32::MAX.to_bits() & 0xffff_0000;
        let expected = [1.0, 1.0, 1.0 + 2.0 * step, 1.0 + step, -1.0, f32::from_bits(most), -f32::from_bits(most)];
        assert_eq!(rounded(HalfKind::Bf16, &row), expected);
        let step = 2.0_f32.powi(-10);
        let row = [1.0 + 0.5 * step, 1.0 + 1.5 * step, 1e9, -1e9, 1e-9];
        assert_eq!(rounded(HalfKind::F16, &row), [1.0, 1.0 + 2.0 * step, 65504.0, -65504.0, 0.0]);
    }
}

//! The vectors themselves, of unit length under cosine: exact, four bytes per component.

use nearlab_simd::Metric;
use nearlab_storage::{Buffer, Vectors};

use super::{Bytes, Encoded, Form};
use crate::BuildError;
use crate::space::{Space, base_of};

/// Base vectors as they are compared.
#[derive(Debug)]
pub(crate) struct F32 {
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// n x d.
    pub(crate) vectors: Buffer<f32>,
}

impl F32 {
    /// A copy of vectors that were checked.
    pub(crate) fn copied(vectors: Vectors<'_, f32>, metric: Metric) -> Result<Self, BuildError> {
        Ok(Self { metric, dim: vectors.dim(), vectors: base_of(vectors, metric)? })
    }

    pub(crate) fn rows(&self) -> Space<'_> {
        Space::new(&self.vectors, self.dim, self.metric)
    }
}

impl Form for F32 {
    /// What lifting adds is not kept.
    fn encode_rows(&self, lifted: &[f32], width: usize, out: &mut Encoded) {
        out.bytes.clear();
        lifted.chunks_exact(width).for_each(|row| out.bytes.extend_from_slice(bytemuck::cast_slice(&row[..self.dim])));
    }

    fn quantizer_bytes(&self) -> usize {
        0
    }

    fn codes(&self) -> &dyn Bytes {
        &self.vectors
    }

    fn codes_mut(&mut self) -> &mut dyn Bytes {
        &mut self.vectors
    }
}

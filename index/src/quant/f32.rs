//! The vectors themselves, of unit length under cosine: exact, four bytes per component.

use nearlab_simd::{Metric, normalize};
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
    /// They are kept as they are given, where lifting would turn them and move some.
    fn is_lifted(&self) -> bool {
        false
    }

    fn encode_rows(&self, rows: &[f32], width: usize, out: &mut Encoded) {
        let Encoded { bytes, floats, .. } = out;
        floats.clear();
        floats.extend_from_slice(rows);
        if self.metric == Metric::Cosine {
            floats.chunks_exact_mut(width).for_each(normalize);
        }
        bytes.clear();
        bytes.extend_from_slice(bytemuck::cast_slice(floats));
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

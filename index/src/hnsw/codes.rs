//! The forms of the vectors that an index holds: what searches walk over, and what their candidates are scored by in the
//! end. Each is chosen by a parameter; the choice is taken apart once per search, above the loops.

use std::sync::Arc;

use super::HnswParams;
use super::forms::{RerankCodes, TraversalCodes};
use super::graph::Links;
use crate::BuildError;
use crate::quant::{
    Affine, BlockRows, Blocks, Codes, F32, Form, Half, HalfKind, HalfRows, Lifted, Pq, Projection, Source, Sq4, Sq7,
    Sq8, Sq8Rows,
};
use crate::space::Space;

/// Base vectors as searches walk over them.
#[derive(Debug)]
pub(super) enum Traversal {
    F32(F32),
    Half(Half),
    Sq8(Sq8),
    Sq4(Sq4),
    Affine(Affine),
    Pq(Pq),
}

/// A [`Traversal`], whoever owns its codes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Walked<'a> {
    F32(&'a F32),
    Half(&'a Half),
    Sq8(&'a Sq8),
    Sq4(&'a Sq4),
    Affine(&'a Affine),
    Pq(&'a Pq),
    /// Those of a node's neighbours side by side too.
    Blocks(Lent<'a>),
}

/// Codes that lie in groups too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lent<'a> {
    pub(super) pq: &'a Pq,
    pub(super) blocks: &'a Blocks,
}

impl<'a> Lent<'a> {
    pub(super) fn rows(self) -> BlockRows<'a> {
        BlockRows::new(self.pq, self.blocks)
    }
}

/// Base vectors as the last candidates are scored.
#[derive(Debug)]
pub(super) enum Rerank {
    None,
    Sq8(Sq8),
    Half(Half),
    F32(F32),
}

impl Traversal {
    /// Encodes all vectors; and in 7 bits, by which a build chooses neighbours, where that takes the same pass over them.
    pub(super) fn encode(source: &Lifted<'_>, params: &HnswParams) -> Result<(Self, Option<Sq7>), BuildError> {
        if let Some((kind, bits)) = params.codes.affine() {
            return Ok((Self::Affine(Affine::encode(source, kind, bits, params.seed)?), None));
        }
        if let Some(shape) = params.pq_shape(source.width()) {
            return Ok((Self::Pq(Pq::encode(source, shape, params.seed)?), None));
        }
        let traversal = match params.codes {
            TraversalCodes::F32 => Self::F32(F32::copied(source.vectors(), source.euclid().metric)?),
            TraversalCodes::F16 => Self::Half(Half::encode(source, HalfKind::F16)?),
            TraversalCodes::Bf16 => Self::Half(Half::encode(source, HalfKind::Bf16)?),
            TraversalCodes::Sq8 => Self::Sq8(Sq8::encode(source)?),
            _ => {
                let components = params.components.min(source.width());
                let train = || Arc::new(Projection::train(source, components, params.seed));
                let (sq4, sq7) = Sq4::encode(source, (components > 0).then(train))?;
                return Ok((Self::Sq4(sq4), Some(sq7)));
            }
        };
        Ok((traversal, None))
    }

    /// What maps vectors to the components that these codes are of, where it is not all of them.
    pub(super) fn projection(&self) -> Option<Arc<Projection>> {
        match self {
            Self::Sq4(sq4) => sq4.projection.clone(),
            _ => None,
        }
    }

    /// Gives back what only encoding needs, if nothing else encodes.
    pub(super) fn trim(&mut self) {
        if let Self::Sq4(Sq4 { projection: Some(projection), .. }) = self {
            Arc::get_mut(projection).map(Projection::trim);
        }
    }

    pub(super) fn form(&self) -> &dyn Form {
        match self {
            Self::F32(f32) => f32,
            Self::Half(half) => half,
            Self::Sq8(sq8) => sq8,
            Self::Sq4(sq4) => sq4,
            Self::Affine(affine) => affine,
            Self::Pq(pq) => pq,
        }
    }

    pub(super) fn lent(&self) -> Walked<'_> {
        match self {
            Self::F32(f32) => Walked::F32(f32),
            Self::Half(half) => Walked::Half(half),
            Self::Sq8(sq8) => Walked::Sq8(sq8),
            Self::Sq4(sq4) => Walked::Sq4(sq4),
            Self::Affine(affine) => Walked::Affine(affine),
            Self::Pq(pq) => Walked::Pq(pq),
        }
    }

    /// The codes of the neighbours of each node, where they are to lie side by side. On the rayon pool it is called in.
    pub(super) fn blocks(&self, params: &HnswParams, links: Links<'_>) -> Result<Option<Blocks>, BuildError> {
        match self {
            Self::Pq(pq) if params.codes == TraversalCodes::Pq4Blocks => {
                Blocks::of(pq, links.base, links.width(0)).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn form_mut(&mut self) -> &mut dyn Form {
        match self {
            Self::F32(f32) => f32,
            Self::Half(half) => half,
            Self::Sq8(sq8) => sq8,
            Self::Sq4(sq4) => sq4,
            Self::Affine(affine) => affine,
            Self::Pq(pq) => pq,
        }
    }
}

impl Rerank {
    pub(super) fn encode(source: &Lifted<'_>, params: &HnswParams) -> Result<Self, BuildError> {
        Ok(match params.rerank_codes {
            RerankCodes::None => Self::None,
            RerankCodes::Sq8 => Self::Sq8(Sq8::encode(source)?),
            RerankCodes::Bf16 => Self::Half(Half::encode(source, HalfKind::Bf16)?),
            RerankCodes::F16 => Self::Half(Half::encode(source, HalfKind::F16)?),
            RerankCodes::F32 => Self::F32(F32::copied(source.vectors(), source.euclid().metric)?),
        })
    }

    pub(super) fn form(&self) -> Option<&dyn Form> {
        match self {
            Self::None => None,
            Self::Sq8(sq8) => Some(sq8),
            Self::Half(half) => Some(half),
            Self::F32(f32) => Some(f32),
        }
    }

    pub(super) fn form_mut(&mut self) -> Option<&mut dyn Form> {
        match self {
            Self::None => None,
            Self::Sq8(sq8) => Some(sq8),
            Self::Half(half) => Some(half),
            Self::F32(f32) => Some(f32),
        }
    }

    /// The codes as searches see them.
    pub(super) fn rows(&self) -> RerankRows<'_> {
        match self {
            Self::None => RerankRows::None,
            Self::Sq8(sq8) => RerankRows::Sq8(sq8.rows()),
            Self::Half(half) => RerankRows::Half(half.rows()),
            Self::F32(f32) => RerankRows::F32(f32.rows()),
        }
    }
}

/// Rerank codes as searches see them.
#[derive(Clone, Copy)]
pub(super) enum RerankRows<'a> {
    None,
    Sq8(Sq8Rows<'a>),
    Half(HalfRows<'a>),
    F32(Space<'a>),
}

impl RerankRows<'_> {
    /// Bytes that scoring one vector reads.
    pub(super) fn row_bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Sq8(rows) => rows.row_bytes(),
            Self::Half(rows) => rows.row_bytes(),
            Self::F32(rows) => rows.row_bytes(),
        }
    }

    /// Asks for the codes of some vectors.
    pub(super) fn prefetch_all(&self, ids: &[u32]) {
        match self {
            Self::None => (),
            Self::Sq8(rows) => rows.prefetch_all(ids),
            Self::Half(rows) => rows.prefetch_all(ids),
            Self::F32(rows) => rows.prefetch_all(ids),
        }
    }

    /// What scores must be multiplied with to be squared distances, where they need it: those of the traversal codes, whose unit is
    /// given, where there are no rerank codes.
    pub(super) fn unit_after(&self, traversal: Option<f32>) -> Option<f32> {
        match self {
            Self::None => traversal,
            Self::Sq8(rows) => Some(rows.unit()),
            Self::Half(rows) => Some(rows.unit()),
            Self::F32(_) => None,
        }
    }
}

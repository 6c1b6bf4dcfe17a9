//! The forms of the vectors that an index holds: what searches walk over, and what their candidates are scored by in the
//! end. Each is chosen by a parameter; the choice is taken apart once per search, above the loops.

use std::io;

use nearlab_storage::Buffer;

use super::params::{HnswParams, RerankCodes, TraversalCodes};
use crate::quant::{Codes, Euclid, F16, F16Rows, Length, Lifted, Projection, Sq4, Sq8, Sq8Rows};
use crate::space::{Space, base_of};
use crate::{BuildError, Counters, Neighbor};

/// Base vectors as searches walk over them.
#[derive(Debug)]
pub(super) enum Traversal {
    F32(Buffer<f32>),
    F16(F16),
    Sq8(Sq8),
    Sq4(Sq4),
}

/// Base vectors as the last candidates are scored.
#[derive(Debug)]
pub(super) enum Rerank {
    None,
    Sq8(Sq8),
    F16(F16),
    F32(Buffer<f32>),
}

impl Traversal {
    pub(super) fn encode(source: &Lifted<'_>, params: &HnswParams) -> Result<Self, BuildError> {
        Ok(match params.codes {
            TraversalCodes::F32 => Self::F32(base_of(source.vectors(), source.euclid().metric).into()),
            TraversalCodes::F16 => Self::F16(F16::encode(source)?),
            TraversalCodes::Sq8 => Self::Sq8(Sq8::encode(source)?),
            TraversalCodes::Sq4 => {
                let components = params.components.min(source.width());
                let projection = (components > 0).then(|| Projection::train(source, components, params.seed));
                Self::Sq4(Sq4::encode(source, projection)?)
            }
        })
    }

    pub(super) fn into_resident(self) -> io::Result<Self> {
        Ok(match self {
            Self::F32(vectors) => Self::F32(vectors.into_resident()?),
            Self::F16(f16) => Self::F16(F16 { codes: f16.codes.into_resident()?, ..f16 }),
            Self::Sq8(sq8) => Self::Sq8(Sq8 { codes: sq8.codes.into_resident()?, ..sq8 }),
            Self::Sq4(sq4) => Self::Sq4(Sq4 { codes: sq4.codes.into_resident()?, ..sq4 }),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::F32(vectors) => size_of_val(&**vectors),
            Self::F16(f16) => size_of_val(&*f16.codes),
            Self::Sq8(sq8) => size_of_val(&*sq8.codes),
            Self::Sq4(sq4) => size_of_val(&*sq4.codes),
        }
    }
}

impl Rerank {
    pub(super) fn encode(source: &Lifted<'_>, params: &HnswParams) -> Result<Self, BuildError> {
        Ok(match params.rerank_codes {
            RerankCodes::None => Self::None,
            RerankCodes::Sq8 => Self::Sq8(Sq8::encode(source)?),
            RerankCodes::F16 => Self::F16(F16::encode(source)?),
            RerankCodes::F32 => Self::F32(base_of(source.vectors(), source.euclid().metric).into()),
        })
    }

    pub(super) fn into_resident(self) -> io::Result<Self> {
        Ok(match self {
            Self::None => Self::None,
            Self::Sq8(sq8) => Self::Sq8(Sq8 { codes: sq8.codes.into_resident()?, ..sq8 }),
            Self::F16(f16) => Self::F16(F16 { codes: f16.codes.into_resident()?, ..f16 }),
            Self::F32(vectors) => Self::F32(vectors.into_resident()?),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Sq8(sq8) => size_of_val(&*sq8.codes),
            Self::F16(f16) => size_of_val(&*f16.codes),
            Self::F32(vectors) => size_of_val(&**vectors),
        }
    }

    /// The codes as searches see them.
    pub(super) fn rows(&self, euclid: &Euclid) -> RerankRows<'_> {
        match self {
            Self::None => RerankRows::None,
            Self::Sq8(sq8) => RerankRows::Sq8(sq8.rows()),
            Self::F16(f16) => RerankRows::F16(f16.rows()),
            Self::F32(vectors) => RerankRows::F32(Space::new(vectors, euclid.dim, euclid.metric)),
        }
    }
}

/// Rerank codes as searches see them.
#[derive(Clone, Copy)]
pub(super) enum RerankRows<'a> {
    None,
    Sq8(Sq8Rows<'a>),
    F16(F16Rows<'a>),
    F32(Space<'a>),
}

/// The end of one search: its best candidates, scored by the rerank codes.
#[derive(Debug, Default)]
pub(super) struct Finish {
    query: Vec<f32>,
    ids: Vec<u32>,
    scores: Vec<f32>,
    pub(super) found: Vec<Neighbor>,
}

/// A query in the forms that the end of a search needs.
#[derive(Clone, Copy)]
pub(super) struct EndQuery<'q> {
    pub(super) raw: &'q [f32],
    pub(super) lifted: &'q [f32],
    pub(super) length: Length,
}

impl Finish {
    /// Notes the candidates and asks for their codes.
    pub(super) fn begin(&mut self, rows: RerankRows<'_>, candidates: impl Iterator<Item = Neighbor>) {
        self.found.clear();
        self.found.extend(candidates);
        self.ids.clear();
        self.ids.extend(self.found.iter().map(|candidate| candidate.id));
        match rows {
            RerankRows::None => (),
            RerankRows::Sq8(rows) => self.ids.iter().for_each(|&id| rows.prefetch(id)),
            RerankRows::F16(rows) => self.ids.iter().for_each(|&id| rows.prefetch(id)),
            RerankRows::F32(rows) => self.ids.iter().for_each(|&id| rows.prefetch(id)),
        }
    }

    /// Leaves the `k` best in `found`, with their distances. `unit` is that of the traversal's scores, where they need one.
    pub(super) fn rank(
        &mut self,
        (rows, euclid): (RerankRows<'_>, &Euclid),
        query: EndQuery<'_>,
        (unit, k): (Option<f32>, usize),
        counters: &mut Counters,
    ) {
        let unit = match rows {
            RerankRows::None => unit,
            RerankRows::Sq8(rows) => self.score(rows, query.lifted, counters),
            RerankRows::F16(rows) => self.score(rows, query.lifted, counters),
            RerankRows::F32(rows) => self.score(rows, query.raw, counters),
        };
        if let Some(unit) = unit {
            for neighbor in &mut self.found {
                neighbor.distance = euclid.distance(neighbor.distance * unit, query.length);
            }
        }
        self.found.sort_unstable();
        self.found.truncate(k);
    }

    /// Scores all candidates anew; the unit of the scores, where they need one.
    fn score<C: Codes<Query = Vec<f32>>>(&mut self, codes: C, vector: &[f32], counters: &mut Counters) -> Option<f32> {
        codes.prepare(vector, &mut self.query);
        self.scores.resize(self.ids.len(), 0.0);
        codes.score(&self.query, &self.ids, &mut self.scores);
        counters.add_scored(self.ids.len(), codes.row_bytes());
        self.found.iter_mut().zip(&self.scores).for_each(|(neighbor, &score)| neighbor.distance = score);
        C::LIFTED.then(|| codes.unit())
    }
}

//! What searches of a live index read, and what the writer asks of it: everything here but [`delete`](State::delete),
//! [`put_height`](State::put_height), [`set_apart`](State::set_apart) and [`link`](State::link) reads.

use std::ops::Range;

use rayon::prelude::*;

use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::insert::AllCrews;
use crate::hnsw::HnswParams;
use crate::hnsw::apart::Apart;
use crate::hnsw::changes::RowChanges;
use crate::hnsw::codes::{Rerank, Traversal, Walked};
use crate::hnsw::connect::Lost;
use crate::hnsw::growth::Growth;
use crate::hnsw::pace::Tuned;
use crate::hnsw::repair::{Mended, mended};
use crate::hnsw::search::Searched;
use crate::hnsw::seek::{Crews, Found, Scorers, Seeker};
use crate::quant::{Euclid, F32, Form, Heights, Lifted, SelfQuery, Source, Sq7, Symmetric};
use crate::{BuildError, Counters, IdSet, ParamError};

/// The vectors as searches walk over them, and as neighbours are chosen.
#[derive(Debug)]
pub(super) enum Forms {
    /// As they are: they choose their own neighbours.
    Plain(F32),
    /// In codes, and in others of 7 bits, by which neighbours are chosen.
    Coded(Traversal, Sq7),
}

impl Forms {
    /// The 7-bit codes are made of the finest form there is, and the heights of what they encode with them. Refused where that is too
    /// coarse.
    pub(super) fn of(euclid: &Euclid, traversal: Traversal, rerank: &Rerank) -> Result<(Self, Heights), BuildError> {
        let lifted;
        let source: Option<&dyn Source> = match (&traversal, rerank) {
            (Traversal::F32(_), _) | (Traversal::Sq4(_) | Traversal::Affine(_) | Traversal::Pq(_), Rerank::None) => {
                None
            }
            (_, Rerank::F32(f32)) => {
                lifted = Lifted::new(Vectors::new(&f32.vectors, f32.dim), euclid);
                Some(&lifted)
            }
            (_, Rerank::Half(half)) | (Traversal::Half(half), Rerank::None) => Some(half),
            (_, Rerank::Sq8(sq8)) | (Traversal::Sq8(sq8), Rerank::None) => Some(sq8),
        };
        let chosen_by = match source {
            Some(source) => Some((Sq7::encode(source, traversal.projection())?, Heights::of(source, euclid))),
            None => None,
        };
        match (traversal, chosen_by) {
            (Traversal::F32(f32), _) => Ok((Self::Plain(f32), Heights::default())),
            (traversal, Some((sq7, heights))) => Ok((Self::Coded(traversal, sq7), heights)),
            (_, None) => {
                let expected = "f32, f16, bf16 or sq8, or have rerank codes, to be inserted into".to_owned();
                Err(ParamError { name: "codes", expected, found: "coarser ones".to_owned() }.into())
            }
        }
    }

    /// What searches walk over.
    pub(super) fn walked(&self) -> Walked<'_> {
        match self {
            Self::Plain(f32) => Walked::F32(f32),
            Self::Coded(traversal, _) => traversal.lent(),
        }
    }

    pub(super) fn into_traversal(self) -> Traversal {
        match self {
            Self::Plain(f32) => Traversal::F32(f32),
            Self::Coded(mut traversal, sq7) => {
                drop(sq7);
                traversal.trim();
                traversal
            }
        }
    }
}

/// What searches read.
#[derive(Debug)]
pub(super) struct State {
    pub(super) forms: Forms,
    pub(super) rerank: Rerank,
    /// Of all vectors that are in codes.
    pub(super) heights: Heights,
    pub(super) growth: Growth,
    pub(super) deleted: IdSet,
    pub(super) apart: Apart,
    /// Deleted nodes that nothing leads to any more.
    pub(super) free: usize,
    pub(super) tuned: Tuned,
}

impl State {
    /// The vectors in every form that is kept: as they are walked over, ranked, and chosen by.
    pub(super) fn forms(&self) -> [Option<&dyn Form>; 3] {
        match &self.forms {
            Forms::Plain(f32) => [Some(f32), self.rerank.form(), None],
            Forms::Coded(traversal, sq7) => [Some(traversal.form()), self.rerank.form(), Some(sq7)],
        }
    }

    pub(super) fn forms_mut(&mut self) -> [Option<&mut dyn Form>; 3] {
        match &mut self.forms {
            Forms::Plain(f32) => [Some(f32), self.rerank.form_mut(), None],
            Forms::Coded(traversal, sq7) => [Some(traversal.form_mut()), self.rerank.form_mut(), Some(sq7)],
        }
    }

    pub(super) fn searched<'a>(&'a self, euclid: &'a Euclid) -> Searched<'a> {
        let linked = self.growth.len() - self.free;
        Searched {
            euclid,
            traversal: self.forms.walked(),
            rerank: &self.rerank,
            links: self.growth.links(),
            entry_point: self.growth.entry_point,
            max_level: self.growth.max_level().unwrap_or(0),
            deleted: &self.deleted,
            apart: &self.apart,
            linked,
            dead: self.deleted.len() - self.free,
            pace: self.tuned.pace(),
        }
    }

    /// Finds the rows that new points change, their own and those that link back; on the calling thread `alone`, or on the rayon pool
    /// it is called in.
    pub(super) fn find_links(
        &self,
        ids: &[u32],
        params: &HnswParams,
        crews: &AllCrews,
        (found, alone): (&mut Found, bool),
    ) {
        let heights = self.heights.as_slice();
        match &self.forms {
            Forms::Plain(f32) => {
                let scorers = Scorers { traversal: f32.rows(), selection: f32.rows(), rescore: false, heights: &[] };
                self.find_by((scorers, &crews.f32), ids, params, (found, alone));
            }
            Forms::Coded(Traversal::F32(f32), sq7) => {
                let scorers = Scorers { traversal: f32.rows(), selection: sq7.rows(), rescore: true, heights };
                self.find_by((scorers, &crews.f32), ids, params, (found, alone));
            }
            Forms::Coded(Traversal::Sq4(sq4), sq7) => {
                let scorers = Scorers { traversal: sq4.rows(), selection: sq7.rows(), rescore: true, heights };
                self.find_by((scorers, &crews.sq4), ids, params, (found, alone));
            }
            Forms::Coded(Traversal::Affine(affine), sq7) => {
                let scorers = Scorers { traversal: affine.rows(), selection: sq7.rows(), rescore: true, heights };
                self.find_by((scorers, &crews.affine), ids, params, (found, alone));
            }
            Forms::Coded(Traversal::Pq(pq), sq7) => {
                let scorers = Scorers { traversal: pq.rows(), selection: sq7.rows(), rescore: true, heights };
                self.find_by((scorers, &crews.pq), ids, params, (found, alone));
            }
            Forms::Coded(Traversal::Half(_) | Traversal::Sq8(_), sq7) => {
                let scorers = Scorers { traversal: sq7.rows(), selection: sq7.rows(), rescore: false, heights };
                self.find_by((scorers, &crews.sq7), ids, params, (found, alone));
            }
        }
    }

    fn find_by<T: SelfQuery, S: Symmetric>(
        &self,
        (scorers, crews): (Scorers<'_, T, S>, &Crews<T::Query>),
        ids: &[u32],
        params: &HnswParams,
        (found, alone): (&mut Found, bool),
    ) {
        let seeker = Seeker { scorers, growth: &self.growth, deleted: &self.deleted, params, lowest: 0 };
        seeker.seek(ids, crews, found);
        seeker.merge(crews, found, alone);
        seeker.anchor(crews, found);
    }

    /// Takes a node, of a vector of `dim` components, out of what searches find; whether it was there.
    pub(super) fn delete(&mut self, id: u32, dim: usize) -> bool {
        self.apart.remove(id, dim);
        self.deleted.insert(id)
    }

    /// Keeps the height of a new point that is in codes.
    pub(super) fn put_height(&mut self, id: u32, lifted: &[f32], euclid: &Euclid) {
        if matches!(self.forms, Forms::Coded(..)) && euclid.adds_component() {
            self.heights.put(id, euclid.height(lifted));
        }
    }

    /// Sets a new point apart that codes have no place for.
    pub(super) fn set_apart(&mut self, id: u32, vector: &[f32], metric: Metric) {
        if matches!(self.forms, Forms::Coded(..)) {
            self.apart.put(id, vector, metric);
        }
    }

    /// Writes what was found for new points, and lets searches find them.
    pub(super) fn link(&mut self, ids: &[u32], found: &Found) {
        self.growth.set_all(&found.own);
        self.growth.set_all(&found.merged);
        for &id in ids {
            if self.deleted.contains(id) {
                self.deleted.remove(id);
                self.free -= 1;
            }
            if self.growth.max_level().is_none_or(|max_level| self.growth.level(id) > max_level) {
                self.growth.entry_point = Some(id);
            }
        }
    }

    /// The rows that link what no search would meet, to be written in their order.
    pub(super) fn tied(&self, counters: &mut Counters) -> RowChanges {
        let Some(entry_point) = self.growth.entry_point else { return RowChanges::default() };
        let base = self.growth.base();
        let lost = Lost::of(base, entry_point, &self.deleted);
        match &self.forms {
            Forms::Plain(f32) => lost.tied(f32.rows(), base, counters),
            Forms::Coded(_, sq7) => lost.tied(sq7.rows(), base, counters),
        }
    }

    /// The rows of some nodes that lead to deleted ones, mended.
    pub(super) fn mended(&self, ids: Range<u32>, params: &HnswParams) -> (Vec<Mended>, Counters) {
        match &self.forms {
            Forms::Plain(f32) => self.mended_by((f32.rows(), params), ids),
            Forms::Coded(_, sq7) => self.mended_by((sq7.rows(), params), ids),
        }
    }

    fn mended_by<S: Symmetric>(&self, (codes, params): (S, &HnswParams), ids: Range<u32>) -> (Vec<Mended>, Counters) {
        let left = ids.into_par_iter().filter(|&id| !self.deleted.contains(id));
        let mended: Vec<(Vec<Mended>, Counters)> = left
            .map(|id| {
                let mut counters = Counters::default();
                (mended(codes, (&self.growth, &self.deleted, params), id, &mut counters), counters)
            })
            .collect();
        let (rows, counters): (Vec<_>, Vec<_>) = mended.into_iter().unzip();
        (rows.into_iter().flatten().collect(), counters.into_iter().sum())
    }

    /// The entry point, or, where it was deleted, the first of the highest nodes left.
    pub(super) fn best_entry_point(&self) -> Option<u32> {
        if self.growth.entry_point.is_some_and(|id| !self.deleted.contains(id)) {
            return self.growth.entry_point;
        }
        let left = (0..self.growth.len() as u32).filter(|&id| !self.deleted.contains(id));
        left.max_by_key(|&id| (self.growth.level(id), std::cmp::Reverse(id)))
    }
}

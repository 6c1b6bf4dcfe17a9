//! What searches of a live index read, and what the writer asks of it: everything here but [`link`](State::link) reads.

use std::ops::Range;

use rayon::prelude::*;

use super::{NO_SELECTION, Writer};
use crate::hnsw::HnswParams;
use crate::hnsw::codes::{Rerank, Traversal};
use crate::hnsw::growth::{Growth, RowChange};
use crate::hnsw::repair::mended;
use crate::hnsw::search::Searched;
use crate::hnsw::seek::{Crews, Scorers, Seeker, anchored, own_rows};
use crate::quant::{Euclid, Form, SelfQuery, Sq7, Symmetric};
use crate::{Counters, IdSet};

/// What searches read.
#[derive(Debug)]
pub(super) struct State {
    pub(super) traversal: Traversal,
    pub(super) rerank: Rerank,
    /// Codes by which neighbours are chosen, where searches do not walk over the vectors themselves.
    pub(super) selection: Option<Sq7>,
    pub(super) growth: Growth,
    pub(super) deleted: IdSet,
    /// Deleted nodes that nothing leads to any more.
    pub(super) free: usize,
}

impl State {
    /// The vectors in every form that is kept.
    pub(super) fn forms(&self) -> [Option<&dyn Form>; 3] {
        let selection = self.selection.as_ref().map(|sq7| -> &dyn Form { sq7 });
        [Some(self.traversal.form()), self.rerank.form(), selection]
    }

    pub(super) fn forms_mut(&mut self) -> [Option<&mut dyn Form>; 3] {
        let selection = self.selection.as_mut().map(|sq7| -> &mut dyn Form { sq7 });
        [Some(self.traversal.form_mut()), self.rerank.form_mut(), selection]
    }

    pub(super) fn searched<'a>(&'a self, euclid: &'a Euclid) -> Searched<'a> {
        let linked = self.growth.len() - self.free;
        Searched {
            euclid,
            traversal: &self.traversal,
            rerank: &self.rerank,
            links: self.growth.links(),
            entry_point: self.growth.entry_point,
            max_level: self.growth.max_level().unwrap_or(0),
            deleted: &self.deleted,
            linked,
            dead: self.deleted.len() - self.free,
        }
    }

    /// The rows that new points change, their own and those that link back.
    pub(super) fn links_of(&self, ids: &[u32], params: &HnswParams, writer: &Writer) -> (Vec<RowChange>, Counters) {
        match (&self.traversal, &self.selection) {
            (Traversal::F32(f32), None) => {
                let scorers = Scorers { traversal: f32.rows(), selection: f32.rows(), rescore: false };
                self.links_by(scorers, ids, params, &writer.f32_crews)
            }
            (Traversal::Sq4(sq4), Some(sq7)) => {
                let scorers = Scorers { traversal: sq4.rows(), selection: sq7.rows(), rescore: true };
                self.links_by(scorers, ids, params, &writer.sq4_crews)
            }
            (Traversal::Affine(affine), Some(sq7)) => {
                let scorers = Scorers { traversal: affine.rows(), selection: sq7.rows(), rescore: true };
                self.links_by(scorers, ids, params, &writer.affine_crews)
            }
            (_, Some(sq7)) => {
                let scorers = Scorers { traversal: sq7.rows(), selection: sq7.rows(), rescore: false };
                self.links_by(scorers, ids, params, &writer.sq7_crews)
            }
            (_, None) => unreachable!("{NO_SELECTION}"),
        }
    }

    fn links_by<T: SelfQuery, S: Symmetric>(
        &self,
        scorers: Scorers<T, S>,
        ids: &[u32],
        params: &HnswParams,
        crews: &Crews<T::Query>,
    ) -> (Vec<RowChange>, Counters) {
        let seeker = Seeker { scorers, growth: &self.growth, deleted: &self.deleted, params, lowest: 0 };
        let (mut rows, back) = own_rows(seeker.seek(ids, crews), 0);
        let (merged, counters) = seeker.merged(back);
        let merged = anchored(merged, &rows, self.growth.width(0));
        rows.extend(merged);
        (rows, counters)
    }

    /// Writes what was found for new points, and lets searches find them.
    pub(super) fn link(&mut self, ids: &[u32], rows: &[RowChange]) {
        self.growth.set_all(rows);
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

    /// The rows of some nodes that lead to deleted ones, mended.
    pub(super) fn mended(&self, ids: Range<u32>) -> (Vec<RowChange>, Counters) {
        match (&self.selection, &self.traversal) {
            (Some(sq7), _) => self.mended_by(sq7.rows(), ids),
            (None, Traversal::F32(f32)) => self.mended_by(f32.rows(), ids),
            (None, _) => unreachable!("{NO_SELECTION}"),
        }
    }

    fn mended_by<S: Symmetric>(&self, codes: S, ids: Range<u32>) -> (Vec<RowChange>, Counters) {
        let left = ids.into_par_iter().filter(|&id| !self.deleted.contains(id));
        let mended: Vec<(Vec<RowChange>, Counters)> = left
            .map(|id| {
                let mut counters = Counters::default();
                (mended(codes, (&self.growth, &self.deleted), id, &mut counters), counters)
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

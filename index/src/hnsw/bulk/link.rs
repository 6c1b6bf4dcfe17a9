//! Building a graph in bulk: the upper layers, which few points reach, by insertion; the base layer from groups.

use rayon::prelude::*;

use super::Candidates;
use crate::hnsw::batch::Batches;
use crate::hnsw::build::Builder;
use crate::hnsw::seek::Insertion;
use crate::hnsw::select::select_neighbors;
use crate::index::Quietly;
use crate::quant::{SelfQuery, Sq7Rows};
use crate::random::{mix, permutation};
use crate::space::step;
use crate::{BuildError, Counters, Progress, Stage};

/// Parts in which the base layer is linked, for progress.
const PARTS: usize = 10;

impl<T: SelfQuery> Builder<T, Sq7Rows<'_>> {
    /// Links every point, on the rayon pool it is called in.
    pub(in crate::hnsw) fn link_all(&mut self, batches: Batches, progress: &dyn Progress) -> Result<(), BuildError> {
        let n = self.len();
        let upper: Vec<u32> =
            permutation(n, mix(self.params.seed)).into_iter().filter(|&id| self.level(id) > 0).collect();
        step(progress, Stage::Construct, 0, n)?;
        self.lowest = 1;
        self.insert(&upper, batches, &Quietly(progress))?;
        self.lowest = 0;
        self.ensure_entry_point();
        step(progress, Stage::Construct, n / PARTS, n)?;
        let mut counters = Counters::default();
        let candidates = Candidates::find(self.selection(), &self.params, &mut counters, progress)?;
        self.count(counters);
        let mut insertions = Vec::with_capacity(n);
        for part in 0..PARTS {
            let (from, to) = (part * n / PARTS, (part + 1) * n / PARTS);
            step(progress, Stage::Construct, n / 2 + from / 2, n)?;
            insertions.extend(self.chosen(&candidates, from as u32..to as u32));
        }
        drop(candidates);
        self.apply(insertions);
        step(progress, Stage::Construct, n, n)
    }

    /// What each of some points chooses among its candidates: fewer than its row holds, to leave room for the links back.
    fn chosen(&mut self, candidates: &Candidates, ids: std::ops::Range<u32>) -> Vec<Insertion> {
        let (selection, most, keep_pruned) = (self.selection(), self.params.m * 3 / 2, self.params.keep_pruned);
        let chosen: Vec<(Insertion, Counters)> = ids
            .into_par_iter()
            .map_init(Vec::new, |found, id| {
                let mut counters = Counters::default();
                candidates.of(id, found);
                let neighbors = select_neighbors(selection, found, most, keep_pruned, &mut counters);
                (Insertion { id, layers: vec![neighbors], complete: true }, counters)
            })
            .collect();
        let (insertions, counters): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
        self.count(counters.into_iter().sum());
        insertions
    }
}

//! Building a graph in bulk: the upper layers, which few points reach, by insertion; the base layer from groups.

use rayon::prelude::*;

use super::runs::Runs;
use super::{Candidates, check_memberships};
use crate::hnsw::HnswParams;
use crate::hnsw::batch::Batches;
use crate::hnsw::build::Builder;
use crate::hnsw::changes::RowsMut;
use crate::hnsw::seek::{Crews, Found, Rescored};
use crate::hnsw::select::{Selection, select_more};
use crate::index::Quietly;
use crate::quant::{SelfQuery, Sq7Rows};
use crate::random::{mix, permutation};
use crate::space::step;
use crate::{BuildError, Counters, Neighbor, Progress, Stage};

/// Parts in which the base layer is linked, for progress.
const PARTS: usize = 10;

impl<T: SelfQuery> Builder<'_, T, Sq7Rows<'_>> {
    /// Links every point, on the rayon pool it is called in.
    pub(in crate::hnsw) fn link_all(&mut self, batches: Batches, progress: &dyn Progress) -> Result<(), BuildError> {
        let n = self.len();
        check_memberships(n, self.params.replicas)?;
        let upper: Vec<u32> =
            permutation(n, mix(self.params.seed)).into_iter().filter(|&id| self.level(id) > 0).collect();
        step(progress, Stage::Construct, 0, n)?;
        self.lowest = 1;
        self.insert(&upper, batches, &Quietly(progress))?;
        self.lowest = 0;
        self.ensure_entry_point();
        step(progress, Stage::Construct, n / PARTS, n)?;
        let mut counters = Counters::default();
        let candidates = Candidates::find((self.selection(), self.heights()), &self.params, &mut counters, progress)?;
        self.count(counters);
        let mut found = Found::default();
        found.own.begin(2 * self.params.m);
        found.own.push_all(0..n as u32, 0);
        let mut rows = found.own.rows();
        for part in 0..PARTS {
            let (from, to) = (part * n / PARTS, (part + 1) * n / PARTS);
            step(progress, Stage::Construct, n / 2 + from / 2, n)?;
            let (these, others) = rows.split_at(to - from);
            self.choose(&candidates, these);
            rows = others;
        }
        drop(candidates);
        let mut crews = Crews::new(&self.params);
        self.apply(&mut found, &crews, false);
        self.count(crews.take_counters());
        step(progress, Stage::Construct, n, n)
    }

    /// Lets some points choose among their candidates: fewer than a row holds, to leave room for the links back.
    fn choose(&mut self, candidates: &Candidates, rows: RowsMut<'_>) {
        let counters: Counters = rows
            .par_iter()
            .map_init(
                || Choice::by(&self.params),
                |choice, (id, row)| {
                    let mut counters = Counters::default();
                    self.choose_for(id, candidates, choice, &mut counters);
                    row.set(&choice.chosen.selected);
                    counters
                },
            )
            .sum();
        self.count(counters);
    }

    /// Under inner product the first half of the places is for what a point would find as a query.
    fn choose_for(&self, id: u32, candidates: &Candidates, choice: &mut Choice, counters: &mut Counters) {
        let Choice { runs, found, rescored, chosen } = choice;
        let (selection, most) = (self.selection(), self.params.chosen_on(0));
        chosen.clear();
        if !self.heights().is_empty() {
            candidates.of_query(id, runs, found);
            rescored.rescore(selection, id, found, counters);
            select_more((selection, &mut *chosen), (id, found), most / 2, counters);
        }
        candidates.of(id, runs, found);
        select_more((selection, &mut *chosen), (id, found), most, counters);
        chosen.finish(most, self.params.keep_pruned);
    }
}

/// The memory for choosing.
struct Choice {
    runs: Runs,
    found: Vec<Neighbor>,
    rescored: Rescored,
    chosen: Selection,
}

impl Choice {
    fn by(params: &HnswParams) -> Self {
        Self { runs: Runs::default(), found: Vec::new(), rescored: Rescored::default(), chosen: Selection::by(params) }
    }
}

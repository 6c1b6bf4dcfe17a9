//! The end of a search: its best candidates are scored anew by the rerank codes, as few of them as need be.
//!
//! Candidates come in the order of the codes that were walked over, which err. Where these codes know a bound of their error
//! (`RaBitQ`), a candidate whose distance is surely above the k-th so far is left out. Of other codes the error is measured, on
//! the first candidates, which are scored anew in any case: with its mean `m` and deviation `s`, what lies beyond the k-th
//! distance less `m - 3 s` by the codes is left out. So a query whose neighbours stand apart ranks few, and one with many
//! alike ranks all that it may.

use super::codes::RerankRows;
use crate::memory::Capacity;
use crate::quant::{Codes, Euclid, Length};
use crate::scatter::score_scattered;
use crate::top_k::TopK;
use crate::{Counters, Neighbor};

/// Candidates that are scored anew at a time, where a bound may spare those that come after.
const RANKED_AT_ONCE: usize = 8;
/// Candidates that the error of codes is measured on, for each that is wanted, and at least.
const MEASURED_ON: (usize, usize) = (2, 16);
/// Standard deviations that the error of a candidate is within.
const DEVIATIONS: f32 = 3.0;

/// The end of one search: its best candidates, scored by the rerank codes.
#[derive(Debug, Default)]
pub(super) struct Finish {
    query: Vec<f32>,
    ids: Vec<u32>,
    scores: Vec<f32>,
    /// Of each candidate in the order of their scores, where the codes that were walked over know one; in units of these.
    bounds: Vec<f32>,
    /// Candidates that were scored anew, and that come first; where no bounds are known.
    ranked: usize,
    pub(super) found: Vec<Neighbor>,
}

/// A query in the forms that the end of a search needs.
#[derive(Clone, Copy)]
pub(super) struct EndQuery<'q> {
    pub(super) raw: &'q [f32],
    pub(super) lifted: &'q [f32],
    pub(super) length: Length,
}

impl Capacity for Finish {
    fn capacity_bytes(&self) -> usize {
        let Self { query, ids, scores, bounds, found, ranked: _ } = self;
        let floats = query.capacity_bytes() + scores.capacity_bytes() + bounds.capacity_bytes();
        floats + ids.capacity_bytes() + found.capacity_bytes()
    }
}

impl Finish {
    /// Notes the candidates, nearest first, and asks for the rerank codes of those that may be among the `k` nearest.
    pub(super) fn begin<C: Codes>(
        &mut self,
        rows: RerankRows<'_>,
        candidates: impl Iterator<Item = Neighbor>,
        (codes, query, k): (C, &C::Query, usize),
    ) {
        self.found.clear();
        self.found.extend(candidates);
        self.ids.clear();
        self.bounds.clear();
        self.ranked = 0;
        if matches!(rows, RerankRows::None) {
            return;
        }
        self.bounds.extend(self.found.iter().map_while(|found| codes.lower_bound(query, found.id, found.distance)));
        if self.bounds.is_empty() {
            let (each, least) = MEASURED_ON;
            self.ids.extend(self.found.iter().take((each * k).max(least)).map(|found| found.id));
        } else {
            let farthest = self.found.get(k - 1).map_or(f32::INFINITY, |found| found.distance);
            let near = self.found.iter().zip(&self.bounds).filter(|&(_, &bound)| bound <= farthest || bound.is_nan());
            self.ids.extend(near.map(|(found, _)| found.id));
        }
        rows.prefetch_all(&self.ids);
    }

    /// Scores candidates anew, and leaves the `k` best in `found`, with their distances, once these are certain: until then it asks for
    /// the codes of more, and must be called again. `unit` is that of the traversal's scores, where they need one.
    pub(super) fn rank(
        &mut self,
        (rows, euclid): (RerankRows<'_>, &Euclid),
        query: EndQuery<'_>,
        (unit, k): (Option<f32>, usize),
        counters: &mut Counters,
    ) -> bool {
        let squared = unit.unwrap_or(1.0);
        let certain = match rows {
            RerankRows::None => true,
            RerankRows::Sq8(rows) => {
                let per_unit = squared / rows.unit();
                self.score((rows, query.lifted), |score| score * per_unit, k, counters)
            }
            RerankRows::Half(rows) => self.score((rows, query.lifted), |score| score * squared, k, counters),
            RerankRows::F32(rows) => {
                let distance = |score| euclid.distance(score * squared, query.length);
                self.score((rows, query.raw), distance, k, counters)
            }
        };
        if !certain {
            rows.prefetch_all(&self.ids);
            return false;
        }
        self.settle(euclid, query.length, rows.unit_after(unit), k);
        true
    }

    /// Leaves the nearest of `ids`, as many as `top` keeps, in `found`, with their distances by the rerank codes: all are scored by
    /// these.
    pub(super) fn scan(
        &mut self,
        (rows, euclid): (RerankRows<'_>, &Euclid),
        query: EndQuery<'_>,
        (ids, top): (impl Iterator<Item = u32>, &mut TopK),
        counters: &mut Counters,
    ) {
        match rows {
            RerankRows::None => return,
            RerankRows::Sq8(rows) => self.scan_by(rows, query.lifted, (ids, top), counters),
            RerankRows::Half(rows) => self.scan_by(rows, query.lifted, (ids, top), counters),
            RerankRows::F32(rows) => self.scan_by(rows, query.raw, (ids, top), counters),
        }
        self.settle(euclid, query.length, rows.unit_after(None), usize::MAX);
    }

    fn scan_by<C: Codes<Query = Vec<f32>>>(
        &mut self,
        codes: C,
        vector: &[f32],
        (ids, top): (impl Iterator<Item = u32>, &mut TopK),
        counters: &mut Counters,
    ) {
        codes.prepare(vector, &mut self.query);
        let matches = ids.map(|id| (id, id));
        score_scattered((codes, &self.query), matches, counters, |ids, scores| top.offer(ids, scores));
        top.finish(&mut self.found);
    }

    /// Makes distances of the scores, where these have a unit, and leaves the `k` nearest, sorted.
    fn settle(&mut self, euclid: &Euclid, length: Length, unit: Option<f32>, k: usize) {
        if let Some(unit) = unit {
            for neighbor in &mut self.found {
                neighbor.distance = euclid.distance(neighbor.distance * unit, length);
            }
        }
        if k < self.found.len() {
            self.found.select_nth_unstable(k);
            self.found.truncate(k);
        }
        self.found.sort_unstable();
    }

    /// Scores candidates anew; whether the `k` best are certain to be among those that were. `in_scores` makes such a score of one of
    /// the codes that were walked over.
    fn score<C: Codes<Query = Vec<f32>>>(
        &mut self,
        (codes, vector): (C, &[f32]),
        in_scores: impl Fn(f32) -> f32,
        k: usize,
        counters: &mut Counters,
    ) -> bool {
        if self.ranked == 0 {
            codes.prepare(vector, &mut self.query);
        }
        if self.bounds.is_empty() {
            return self.score_asked(codes, in_scores, k, counters);
        }
        self.score_bounded(codes, in_scores, k, counters);
        true
    }

    /// Scores the rows that were asked for; whether no others come into question. Those that do are then the ones to ask for.
    fn score_asked<C: Codes<Query = Vec<f32>>>(
        &mut self,
        codes: C,
        in_scores: impl Fn(f32) -> f32,
        k: usize,
        counters: &mut Counters,
    ) -> bool {
        let (from, until) = (self.ranked, self.ranked + self.ids.len());
        self.score_ids(codes, counters);
        self.ranked = until;
        if from > 0 || until == self.found.len() {
            self.found.truncate(until);
            self.found[from..].iter_mut().zip(&self.scores).for_each(|(found, &score)| found.distance = score);
            return true;
        }
        let errors = self.found.iter().zip(&self.scores).map(|(found, score)| score - in_scores(found.distance));
        let (mean, deviation) = mean_and_deviation(errors);
        self.found.iter_mut().zip(&self.scores).for_each(|(found, &score)| found.distance = score);
        let (_, &mut worst, _) = self.scores.select_nth_unstable_by(k - 1, f32::total_cmp);
        let reach = worst - mean + DEVIATIONS * deviation;
        // What is not a number spares nobody.
        let beyond = |found: &Neighbor| in_scores(found.distance) > reach;
        let near = self.found[until..].iter().position(beyond).unwrap_or(self.found.len() - until);
        self.found.truncate(until + near);
        self.ids.clear();
        self.ids.extend(self.found[until..].iter().map(|found| found.id));
        near == 0
    }

    fn score_ids<C: Codes<Query = Vec<f32>>>(&mut self, codes: C, counters: &mut Counters) {
        self.scores.resize(self.ids.len(), 0.0);
        codes.score(&self.query, &self.ids, &mut self.scores);
        counters.add_scored(self.ids.len(), codes.row_bytes());
    }

    /// Scores the candidates anew, nearest first. Those whose bound is above the `k`-th so far are left out.
    fn score_bounded<C: Codes<Query = Vec<f32>>>(
        &mut self,
        codes: C,
        in_scores: impl Fn(f32) -> f32,
        k: usize,
        counters: &mut Counters,
    ) {
        let (mut at, mut kept, mut worst) = (0, 0, f32::INFINITY);
        while at < self.found.len() {
            let end = at.saturating_add(RANKED_AT_ONCE.max(k - kept)).min(self.found.len());
            // What is not a number holds nobody back.
            let near = |&i: &usize| {
                let bound = in_scores(self.bounds[i]);
                bound <= worst || bound.is_nan()
            };
            self.ids.clear();
            self.ids.extend((at..end).filter(near).map(|i| self.found[i].id));
            self.score_ids(codes, counters);
            let scored = kept + self.ids.len();
            for (found, (&id, &distance)) in self.found[kept..].iter_mut().zip(self.ids.iter().zip(&self.scores)) {
                *found = Neighbor { id, distance };
            }
            self.found[..scored].sort_unstable();
            (at, kept) = (end, scored.min(k));
            if kept == k {
                worst = self.found[k - 1].distance;
            }
        }
        self.found.truncate(kept);
    }
}

/// The mean of some numbers, more than one, and the root of their variance.
fn mean_and_deviation(numbers: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let (count, sum) = numbers.clone().fold((0.0_f32, 0.0), |(count, sum), x| (count + 1.0, sum + x));
    let mean = sum / count;
    let squares: f32 = numbers.map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;
    use nearlab_storage::Vectors;

    use super::*;
    use crate::quant::{Affine, AffineKind, F32, Lifted, Sq4};
    use crate::random::SplitMix64;

    const DIM: usize = 64;
    const N: usize = 3000;
    const QUERIES: usize = 100;
    const CANDIDATES: usize = 60;
    const K: usize = 10;

    /// Forty clusters.
    fn data() -> Vec<f32> {
        let mut random = SplitMix64::new(21);
        let mut number = || (0..4).map(|_| random.unit() as f32 - 0.5).sum::<f32>();
        let centres: Vec<f32> = (0..40 * DIM).map(|_| number()).collect();
        (0..N * DIM).map(|i| centres[i / DIM % 40 * DIM + i % DIM] + number()).collect()
    }

    /// Ranks the nearest by `codes` of all queries; candidates that were scored anew, and those among the ten best by the vectors
    /// themselves that were not found.
    fn ranked<C: Codes>(base: Vectors<'_, f32>, euclid: &Euclid, codes: C, queries: Vectors<'_, f32>) -> (u64, usize) {
        let plain = F32::copied(base, euclid.metric).unwrap();
        let rows = plain.rows();
        let ids: Vec<u32> = (0..base.len() as u32).collect();
        let (mut coded, mut own, mut lifted) = (C::Query::default(), Vec::new(), Vec::new());
        let mut scores = vec![0.0; ids.len()];
        let (mut finish, mut counters, mut lost) = (Finish::default(), Counters::default(), 0);
        for query in queries {
            let length = euclid.lift_query(query, &mut lifted);
            codes.prepare(&lifted, &mut coded);
            codes.score(&coded, &ids, &mut scores);
            let neighbors = |ids: &[u32], scores: &[f32]| -> Vec<Neighbor> {
                let mut neighbors: Vec<Neighbor> =
                    ids.iter().zip(scores).map(|(&id, &distance)| Neighbor { id, distance }).collect();
                neighbors.sort_unstable();
                neighbors
            };
            let best = &neighbors(&ids, &scores)[..CANDIDATES];
            finish.begin(RerankRows::F32(rows), best.iter().copied(), (codes, &coded, K));
            let query = EndQuery { raw: query, lifted: &lifted, length };
            let of_codes = (Some(codes.unit()), K);
            while !finish.rank((RerankRows::F32(rows), euclid), query, of_codes, &mut counters) {}
            assert!(finish.found.len() == K && finish.found.is_sorted());
            let best: Vec<u32> = best.iter().map(|neighbor| neighbor.id).collect();
            rows.prepare(query.raw, &mut own);
            let mut exact = vec![0.0; CANDIDATES];
            rows.score(&own, &best, &mut exact);
            lost += neighbors(&best, &exact)[..K].iter().filter(|best| !finish.found.contains(best)).count();
        }
        (counters.distance_computations, lost)
    }

    #[test]
    fn bounds_spare_candidates_and_lose_next_to_none() {
        let data = data();
        let vectors = Vectors::new(&data, DIM);
        let (base, queries) = (vectors.rows(QUERIES..N), vectors.rows(0..QUERIES));
        for (metric, bits) in
            [(Metric::L2, 2), (Metric::L2, 4), (Metric::L2, 6), (Metric::Cosine, 3), (Metric::InnerProduct, 8)]
        {
            let euclid = Euclid::of(base, metric);
            let affine = Affine::encode(&Lifted::new(base, &euclid), AffineKind::Rabitq, bits, 5).unwrap();
            let (ranked, lost) = ranked(base, &euclid, affine.rows(), queries);
            let most = (QUERIES * CANDIDATES * (if bits > 3 { 40 } else { 90 }) / 100) as u64;
            assert!(ranked < most, "{metric} {bits}: {ranked}, not below {most}");
            assert!(lost * 500 <= QUERIES * K, "{metric} {bits}: {lost}");
        }
    }

    #[test]
    fn measured_errors_spare_candidates_and_lose_next_to_none() {
        let data = data();
        let vectors = Vectors::new(&data, DIM);
        let (base, queries) = (vectors.rows(QUERIES..N), vectors.rows(0..QUERIES));
        for metric in Metric::ALL {
            let euclid = Euclid::of(base, metric);
            let (sq4, _) = Sq4::encode(&Lifted::new(base, &euclid), None).unwrap();
            let (ranked, lost) = ranked(base, &euclid, sq4.rows(), queries);
            let most = (QUERIES * CANDIDATES * 75 / 100) as u64;
            assert!(ranked < most, "{metric}: {ranked}, not below {most}");
            assert!(lost * 500 <= QUERIES * K, "{metric}: {lost}");
        }
    }

    #[test]
    fn errors_have_a_mean_and_a_deviation() {
        assert_eq!(mean_and_deviation([1.0, 3.0, 5.0].into_iter()), (3.0, 2.0));
        assert_eq!(mean_and_deviation([4.0, 4.0].into_iter()), (4.0, 0.0));
    }
}

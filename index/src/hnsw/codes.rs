//! The forms of the vectors that an index holds: what searches walk over, and what their candidates are scored by in the
//! end. Each is chosen by a parameter; the choice is taken apart once per search, above the loops.

use super::HnswParams;
use super::forms::{RerankCodes, TraversalCodes};
use super::graph::Links;
use super::pool::Pool;
use crate::memory::Capacity;
use crate::quant::{
    Affine, BlockRows, Blocks, Codes, Euclid, F32, Form, Half, HalfKind, HalfRows, Length, Lifted, Pq, Projection,
    Source, Sq4, Sq8, Sq8Rows,
};
use crate::scatter::score_scattered;
use crate::space::Space;
use crate::{BuildError, Counters, Neighbor};

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
    pub(super) fn encode(source: &Lifted<'_>, params: &HnswParams) -> Result<Self, BuildError> {
        if let Some((kind, bits)) = params.codes.affine() {
            return Ok(Self::Affine(Affine::encode(source, kind, bits, params.seed)?));
        }
        if let Some(shape) = params.pq_shape(source.width()) {
            return Ok(Self::Pq(Pq::encode(source, shape, params.seed)?));
        }
        Ok(match params.codes {
            TraversalCodes::F32 => Self::F32(F32::copied(source.vectors(), source.euclid().metric)?),
            TraversalCodes::F16 => Self::Half(Half::encode(source, HalfKind::F16)?),
            TraversalCodes::Bf16 => Self::Half(Half::encode(source, HalfKind::Bf16)?),
            TraversalCodes::Sq8 => Self::Sq8(Sq8::encode(source)?),
            _ => {
                let components = params.components.min(source.width());
                let projection = (components > 0).then(|| Projection::train(source, components, params.seed));
                Self::Sq4(Sq4::encode(source, projection)?)
            }
        })
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
}

/// Candidates that are scored anew at a time, where a bound may spare those that come after.
const RANKED_AT_ONCE: usize = 8;

/// The end of one search: its best candidates, scored by the rerank codes.
#[derive(Debug, Default)]
pub(super) struct Finish {
    query: Vec<f32>,
    ids: Vec<u32>,
    scores: Vec<f32>,
    /// Of each candidate in the order of their scores, where the codes that were walked over know one; in units of these.
    bounds: Vec<f32>,
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
        let Self { query, ids, scores, bounds, found } = self;
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
        if matches!(rows, RerankRows::None) {
            return;
        }
        self.bounds.extend(self.found.iter().map_while(|found| codes.lower_bound(query, found.id, found.distance)));
        let farthest = self.found.get(k - 1).map_or(f32::INFINITY, |found| found.distance);
        let near = |(at, found): (usize, &Neighbor)| {
            self.bounds.get(at).is_none_or(|&bound| bound <= farthest).then_some(found.id)
        };
        self.ids.extend(self.found.iter().enumerate().filter_map(near));
        match rows {
            RerankRows::None => (),
            RerankRows::Sq8(rows) => self.ids.iter().for_each(|&id| rows.prefetch(id)),
            RerankRows::Half(rows) => self.ids.iter().for_each(|&id| rows.prefetch(id)),
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
        let squared = unit.unwrap_or(1.0);
        let unit = match rows {
            RerankRows::None => unit,
            RerankRows::Sq8(rows) => {
                let per_unit = squared / rows.unit();
                self.score((rows, query.lifted), |bound| bound * per_unit, k, counters)
            }
            RerankRows::Half(rows) => self.score((rows, query.lifted), |bound| bound * squared, k, counters),
            RerankRows::F32(rows) => {
                let distance = |bound| euclid.distance(bound * squared, query.length);
                self.score((rows, query.raw), distance, k, counters)
            }
        };
        self.settle(euclid, query.length, unit);
        self.found.truncate(k);
    }

    /// Leaves the nearest of `ids`, as many as the pool has room for, in `found`, with their distances by the rerank codes: all are
    /// scored by these.
    pub(super) fn scan(
        &mut self,
        (rows, euclid): (RerankRows<'_>, &Euclid),
        query: EndQuery<'_>,
        (ids, pool): (impl Iterator<Item = u32>, &mut Pool),
        counters: &mut Counters,
    ) {
        let unit = match rows {
            RerankRows::None => return,
            RerankRows::Sq8(rows) => self.scan_by(rows, query.lifted, (ids, pool), counters),
            RerankRows::Half(rows) => self.scan_by(rows, query.lifted, (ids, pool), counters),
            RerankRows::F32(rows) => self.scan_by(rows, query.raw, (ids, pool), counters),
        };
        self.settle(euclid, query.length, unit);
    }

    fn scan_by<C: Codes<Query = Vec<f32>>>(
        &mut self,
        codes: C,
        vector: &[f32],
        (ids, pool): (impl Iterator<Item = u32>, &mut Pool),
        counters: &mut Counters,
    ) -> Option<f32> {
        codes.prepare(vector, &mut self.query);
        let matches = ids.map(|id| (id, id));
        score_scattered((codes, &self.query), matches, counters, |ids, scores| pool.offer(ids, scores));
        self.found.clear();
        self.found.extend(pool.iter());
        C::LIFTED.then(|| codes.unit())
    }

    /// Makes distances of the scores, where these have a unit, and sorts by them.
    fn settle(&mut self, euclid: &Euclid, length: Length, unit: Option<f32>) {
        if let Some(unit) = unit {
            for neighbor in &mut self.found {
                neighbor.distance = euclid.distance(neighbor.distance * unit, length);
            }
        }
        self.found.sort_unstable();
    }

    /// Scores the candidates anew, nearest first; the unit of the scores, where they need one. Those whose bound, made such a score
    /// by `in_scores`, is above the `k`-th so far are left out.
    fn score<C: Codes<Query = Vec<f32>>>(
        &mut self,
        (codes, vector): (C, &[f32]),
        in_scores: impl Fn(f32) -> f32,
        k: usize,
        counters: &mut Counters,
    ) -> Option<f32> {
        codes.prepare(vector, &mut self.query);
        let k = if self.bounds.is_empty() { usize::MAX } else { k };
        let (mut at, mut kept, mut worst) = (0, 0, f32::INFINITY);
        while at < self.found.len() {
            let end = at.saturating_add(RANKED_AT_ONCE.max(k - kept)).min(self.found.len());
            let near = |&i: &usize| self.bounds.get(i).is_none_or(|&bound| in_scores(bound) <= worst);
            self.ids.clear();
            self.ids.extend((at..end).filter(near).map(|i| self.found[i].id));
            self.scores.resize(self.ids.len(), 0.0);
            codes.score(&self.query, &self.ids, &mut self.scores);
            counters.add_scored(self.ids.len(), codes.row_bytes());
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
        C::LIFTED.then(|| codes.unit())
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;
    use nearlab_storage::Vectors;

    use super::*;
    use crate::quant::{AffineKind, AffineQuery};
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

    #[test]
    fn bounds_spare_candidates_and_lose_next_to_none() {
        let data = data();
        let vectors = Vectors::new(&data, DIM);
        let (base, queries) = (vectors.rows(QUERIES..N), vectors.rows(0..QUERIES));
        for (metric, bits) in
            [(Metric::L2, 2), (Metric::L2, 4), (Metric::L2, 6), (Metric::Cosine, 3), (Metric::InnerProduct, 8)]
        {
            let euclid = Euclid::of(base, metric);
            let source = Lifted::new(base, &euclid);
            let (affine, plain) = (Affine::encode(&source, AffineKind::Rabitq, bits, 5), F32::copied(base, metric));
            let (affine, plain) = (affine.unwrap(), plain.unwrap());
            let (codes, rows) = (affine.rows(), plain.rows());
            let ids: Vec<u32> = (0..base.len() as u32).collect();
            let (mut coded, mut lifted) = (AffineQuery::default(), Vec::new());
            let (mut scores, mut counted) = (vec![0.0; ids.len()], [Counters::default(); 2]);
            let (mut bounded, mut all, mut lost) = (Finish::default(), Finish::default(), 0);
            for query in (0..QUERIES).map(|i| queries.row(i)) {
                let length = euclid.lift_query(query, &mut lifted);
                codes.prepare(&lifted, &mut coded);
                codes.score(&coded, &ids, &mut scores);
                let mut best: Vec<Neighbor> =
                    ids.iter().zip(&scores).map(|(&id, &distance)| Neighbor { id, distance }).collect();
                best.sort_unstable();
                let best = || best.iter().copied().take(CANDIDATES);
                bounded.begin(RerankRows::F32(rows), best(), (codes, &coded, K));
                all.begin(RerankRows::F32(rows), best(), (rows, &Vec::new(), K));
                let query = EndQuery { raw: query, lifted: &lifted, length };
                for (finish, counted) in [&mut bounded, &mut all].into_iter().zip(&mut counted) {
                    finish.rank((RerankRows::F32(rows), &euclid), query, (Some(1.0), K), counted);
                }
                assert!(bounded.found.len() == K && bounded.found.is_sorted());
                lost += all.found.iter().filter(|found| !bounded.found.contains(found)).count();
            }
            let [ranked, candidates] = counted.map(|counters| counters.distance_computations as usize);
            assert_eq!(candidates, QUERIES * CANDIDATES);
            assert!(
                ranked < candidates * (if bits > 3 { 40 } else { 90 }) / 100,
                "{metric} {bits}: {ranked} of {candidates}"
            );
            assert!(lost * 500 <= QUERIES * K, "{metric} {bits}: {lost}");
        }
    }
}

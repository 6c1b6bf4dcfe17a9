//! The truth that a file brings along, held against the vectors.
//!
//! The exact distance of every stored pair is computed as its base row passes by. Stored distances must be a form of
//! them; where they are not, the sampled pairs tell which other metric the file was made for. That no base vector is
//! nearer than the stored neighbours is checked by the exact search of sampled queries, which the caller runs.
//! Stored distances are rounded in ways that differ from writer to writer; what is kept are the exact ones.

use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::prelude::*;

use super::error::TruthFlaw;
use crate::truth::{Truth, dot, norm_squared, reported, squared_l2};

/// Stored and computed distances may differ by this share.
const RELATIVE: f64 = 1e-3;

/// ... and by this share of the squared norms: what `f32` loses in |q|^2 + |x|^2 - 2<q,x>.
const CANCELLATION: f64 = 4e-6;

/// The stored neighbours of some queries, and what is learnt of them.
pub(crate) struct StoredTruth<'a> {
    queries: Vectors<'a, f32>,
    metric: Metric,
    k: usize,
    ids: Vec<i32>,
    distances: Option<Vec<f32>>,
    /// Indices into `ids`, ordered by id: the pairs of a block are a range.
    by_id: Vec<u32>,
    next: usize,
    query_norms: Vec<f64>,
    pairs: Vec<Pair>,
}

/// What every metric's distance of a pair is made of.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    squared_l2: f64,
    dot: f64,
    row_norm: f64,
}

/// How a file may write a distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Euclidean,
    SquaredEuclidean,
    OneMinusCosine,
    EuclideanOfNormalised,
    NegatedInnerProduct,
    InnerProduct,
}

impl Form {
    /// Forms of a metric; the first is the field's usual one.
    fn of(metric: Metric) -> [Self; 2] {
        match metric {
            Metric::L2 => [Self::Euclidean, Self::SquaredEuclidean],
            Metric::Cosine => [Self::OneMinusCosine, Self::EuclideanOfNormalised],
            Metric::InnerProduct => [Self::NegatedInnerProduct, Self::InnerProduct],
        }
    }

    /// The pair's distance in this form.
    fn distance(self, pair: Pair, query_norm: f64) -> f64 {
        match self {
            Self::Euclidean => pair.squared_l2.sqrt(),
            Self::SquaredEuclidean => pair.squared_l2,
            Self::OneMinusCosine => one_minus_cosine(pair, query_norm),
            Self::EuclideanOfNormalised => (2.0 * one_minus_cosine(pair, query_norm)).max(0.0).sqrt(),
            Self::NegatedInnerProduct => -pair.dot,
            Self::InnerProduct => pair.dot,
        }
    }

    /// Whether `stored` is the pair's distance in this form, up to rounding.
    fn fits(self, stored: f32, pair: Pair, query_norm: f64) -> bool {
        let (stored, expected) = (f64::from(stored), self.distance(pair, query_norm));
        let norms = query_norm * query_norm + pair.row_norm * pair.row_norm;
        match self {
            // Rooted forms are compared before the root, where the cancellation happens.
            Self::Euclidean => close(stored * stored.abs(), expected * expected, CANCELLATION * norms),
            Self::OneMinusCosine => close(stored, expected, 2.0 * CANCELLATION),
            Self::EuclideanOfNormalised => close(stored * stored.abs(), expected * expected, 4.0 * CANCELLATION),
            Self::SquaredEuclidean | Self::NegatedInnerProduct | Self::InnerProduct => {
                close(stored, expected, CANCELLATION * norms)
            }
        }
    }
}

fn close(a: f64, b: f64, slack: f64) -> bool {
    (a - b).abs() <= 2.0 * RELATIVE * b.abs() + slack
}

fn one_minus_cosine(pair: Pair, query_norm: f64) -> f64 {
    let norms = query_norm * pair.row_norm;
    if norms == 0.0 { 1.0 } else { 1.0 - pair.dot / norms }
}

impl<'a> StoredTruth<'a> {
    /// `ids` are queries x k row numbers, already checked to exist in the base; `distances` the same shape.
    pub(crate) fn new(
        queries: Vectors<'a, f32>,
        metric: Metric,
        k: usize,
        ids: Vec<i32>,
        distances: Option<Vec<f32>>,
    ) -> Self {
        let mut by_id: Vec<u32> = (0..ids.len() as u32).collect();
        by_id.par_sort_unstable_by_key(|&slot| ids[slot as usize]);
        let query_norms = queries.iter().map(|q| norm_squared(q).sqrt()).collect();
        let pairs = vec![Pair::default(); ids.len()];
        Self { queries, metric, k, ids, distances, by_id, next: 0, query_norms, pairs }
    }

    /// Computes the pairs whose base row is among `rows`, whose first has the id `first`. Blocks come in order.
    pub(crate) fn push(&mut self, first: usize, rows: Vectors<'_, f32>) {
        let rest = &self.by_id[self.next..];
        let end = rest.partition_point(|&slot| (self.ids[slot as usize] as usize) < first + rows.len());
        let computed: Vec<Pair> = rest[..end]
            .par_iter()
            .map(|&slot| {
                let query = self.queries.row(slot as usize / self.k);
                let row = rows.row(self.ids[slot as usize] as usize - first);
                Pair { squared_l2: squared_l2(query, row), dot: dot(query, row), row_norm: norm_squared(row).sqrt() }
            })
            .collect();
        for (&slot, pair) in rest[..end].iter().zip(computed) {
            self.pairs[slot as usize] = pair;
        }
        self.next += end;
    }

    /// Checks the stored distances, then returns the stored neighbours ordered by their exact distances.
    ///
    /// `exact` are sampled queries with the nearness of their true neighbours (as [`crate::truth::Nearest`] gives it),
    /// `norm_max` is the largest norm of a base row.
    pub(crate) fn finish(self, exact: &[(usize, Vec<(f64, u32)>)], norm_max: f64) -> Result<Truth, TruthFlaw> {
        self.check_distances()?;
        let k = self.k;
        let mut ordered: Vec<(f64, u32)> =
            self.pairs.iter().enumerate().map(|(slot, _)| (self.near(slot), self.ids[slot] as u32)).collect();
        ordered.par_chunks_mut(k).for_each(|row| row.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))));
        for (query, truth) in exact {
            let stored = &ordered[query * k..(query + 1) * k];
            self.check_nearer(*query, stored, truth, norm_max)?;
        }
        Ok(Truth {
            k,
            neighbors: ordered.iter().map(|&(_, id)| id as i32).collect(),
            distances: ordered.iter().map(|&(near, _)| reported(self.metric, near)).collect(),
        })
    }

    fn near(&self, slot: usize) -> f64 {
        let form = match self.metric {
            Metric::L2 => Form::SquaredEuclidean,
            Metric::Cosine => Form::OneMinusCosine,
            Metric::InnerProduct => Form::NegatedInnerProduct,
        };
        form.distance(self.pairs[slot], self.query_norms[slot / self.k])
    }

    fn check_distances(&self) -> Result<(), TruthFlaw> {
        let Some(distances) = &self.distances else { return Ok(()) };
        let misfit = |form: Form| {
            distances
                .iter()
                .enumerate()
                .find(|&(slot, &d)| !form.fits(d, self.pairs[slot], self.query_norms[slot / self.k]))
        };
        let [usual, other] = Form::of(self.metric);
        let Some((slot, &stored)) = misfit(usual) else { return Ok(()) };
        if misfit(other).is_none() {
            return Ok(());
        }
        let fits = Metric::ALL.into_iter().filter(|&m| m != self.metric);
        let fits = fits.into_iter().find(|&m| Form::of(m).into_iter().any(|form| misfit(form).is_none()));
        Err(TruthFlaw::Distance {
            query: slot / self.k,
            column: slot % self.k,
            id: self.ids[slot],
            expected: usual.distance(self.pairs[slot], self.query_norms[slot / self.k]),
            found: stored,
            metric: self.metric,
            fits,
        })
    }

    /// Whether the true neighbours of a query are nearer than the stored ones. Both are computed exactly here; what a writer may have
    /// exchanged are neighbours whose distances `f32` can not tell apart.
    fn check_nearer(
        &self,
        query: usize,
        stored: &[(f64, u32)],
        truth: &[(f64, u32)],
        norm_max: f64,
    ) -> Result<(), TruthFlaw> {
        let norms = self.pairs[query * self.k..][..self.k].iter().map(|pair| pair.row_norm);
        let scale = match self.metric {
            Metric::Cosine => 1.0,
            Metric::L2 => self.query_norms[query].powi(2) + norms.fold(0.0, f64::max).powi(2),
            // Two products are compared, and each rounds by a share of both its norms. A row that is missing may be longer
            // than every stored one.
            Metric::InnerProduct => 2.0 * self.query_norms[query] * norm_max,
        };
        for (column, (s, t)) in stored.iter().zip(truth).enumerate() {
            if s.0 - t.0 > CANCELLATION * scale {
                let missing = truth.iter().find(|t| stored.iter().all(|s| s.1 != t.1)).unwrap_or(t);
                return Err(TruthFlaw::Nearer {
                    query,
                    column,
                    nearer: missing.1,
                    expected: f64::from(reported(self.metric, missing.0)),
                    found: f64::from(reported(self.metric, s.0)),
                    metric: self.metric,
                    fits: self.sorted_by(),
                });
            }
        }
        Ok(())
    }

    /// Another metric by which all stored rows are in order, when this one's order is broken.
    fn sorted_by(&self) -> Option<Metric> {
        let in_order = |metric: Metric| {
            let form = Form::of(metric)[0];
            self.pairs.chunks_exact(self.k).zip(&self.query_norms).all(|(row, &q)| {
                let slack = RELATIVE * row.last().map_or(0.0, |&p| form.distance(p, q).abs());
                row.is_sorted_by(|&a, &b| form.distance(a, q) <= form.distance(b, q) + slack)
            })
        };
        if self.k < 2 || in_order(self.metric) {
            return None;
        }
        Metric::ALL.into_iter().find(|&metric| metric != self.metric && in_order(metric))
    }
}

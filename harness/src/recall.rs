//! Recall and distance error, computed by the harness from the ids that a worker hands in.
//!
//! Three definitions side by side, because the field uses all three:
//! * *strict*: the share of the k true ids that were returned;
//! * *ties*: a returned vector counts when its distance is at most `d_k (1 + 1e-6)`, so an equally near vector that the
//!   truth file happens not to list is no miss; an id counts once;
//! * *annb*: ann-benchmarks' definition, distance at most `d_k + 1e-3` in its own distance convention (Euclidean root,
//!   1 - cos, negated inner product), for comparability only.
//!
//! Every distance is recomputed here in f64 from the vectors themselves, the true ones too, so that both sides of a
//! comparison are rounded alike. A negative id is padding; a duplicate counts once; an id past the last base vector is
//! an error, not a miss.

use std::collections::HashMap;

use nearlab_datasets::{PreparedFilter, truth::COSINE_NOISE};
use nearlab_reports::record::Recall;
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use crate::latency::nearest_rank;

/// Relative slack of the tie-aware definition.
const TIE_SLACK: f64 = 1e-6;
/// Absolute slack of ann-benchmarks' definition.
const ANNB_SLACK: f64 = 1e-3;

/// Why ids cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecallError {
    /// An id that no base vector has.
    #[error("query {query} was answered with id {id}, but the base vectors are 0..{n}")]
    OutOfRange {
        /// Row of the ids.
        query: usize,
        /// The id.
        id: i32,
        /// Base vectors.
        n: usize,
    },
    /// An id that the query's filter does not admit.
    #[error("query {query} was answered with id {id}, which its filter does not admit")]
    NotAMatch {
        /// Row of the ids.
        query: usize,
        /// The id.
        id: i32,
    },
    /// More or fewer ids than queries x k.
    #[error("expected {expected} ids (queries x k), found {found}")]
    Shape {
        /// queries x k.
        expected: usize,
        /// What the worker wrote.
        found: usize,
    },
}

/// Scores answers against one data set; true distances are computed once per k.
///
/// Where fewer than k true neighbours exist (the truth among the matches of a filter, which are fewer), recall is the share of
/// those that exist.
pub struct Scorer<'a> {
    train: Vectors<'a, f32>,
    test: Vectors<'a, f32>,
    neighbors: Vectors<'a, i32>,
    metric: Metric,
    /// What the answers may hold; `None`: every base vector.
    filter: Option<&'a PreparedFilter>,
    truth: HashMap<usize, Vec<TrueRow>>,
}

/// The k true neighbours of one query.
struct TrueRow {
    /// (id, distance), by id.
    by_id: Vec<(i32, f64)>,
    /// Distances, nearest first as the truth lists them.
    distances: Vec<f64>,
    /// Largest true distance.
    kth: f64,
}

/// What one query contributes.
struct Answer {
    strict: usize,
    ties: usize,
    annb: usize,
    relative_error: Option<f64>,
}

impl<'a> Scorer<'a> {
    /// A scorer over `train` and `test` with at least k true `neighbors` per query.
    pub fn new(train: Vectors<'a, f32>, test: Vectors<'a, f32>, neighbors: Vectors<'a, i32>, metric: Metric) -> Self {
        Self { train, test, neighbors, metric, filter: None, truth: HashMap::new() }
    }

    /// The scorer of answers among what the filter of each query admits, which must be nothing else.
    #[must_use]
    pub fn among(&self, filter: &'a PreparedFilter) -> Self {
        let (train, test, metric) = (self.train, self.test, self.metric);
        Self { train, test, neighbors: filter.neighbors(), metric, filter: Some(filter), truth: HashMap::new() }
    }

    /// Recall of `ids`, which is queries x k in the order of the queries, against the k true neighbours that are known of each,
    /// or all of them where they are fewer.
    pub fn score(&mut self, ids: &[i32], k: usize) -> Result<Recall, RecallError> {
        let queries = self.test.len();
        if ids.len() != queries * k {
            return Err(RecallError::Shape { expected: queries * k, found: ids.len() });
        }
        if !self.truth.contains_key(&k) {
            let rows = (0..queries).map(|query| self.true_row(query, k)).collect();
            self.truth.insert(k, rows);
        }
        let truth = &self.truth[&k];
        let mut answers = Vec::with_capacity(queries);
        for (query, row) in ids.chunks_exact(k).enumerate() {
            answers.push(self.answer(query, row, &truth[query])?);
        }
        Ok(combine(&answers, k.min(self.neighbors.dim())))
    }

    fn true_row(&self, query: usize, k: usize) -> TrueRow {
        let ids = &self.neighbors.row(query)[..k.min(self.neighbors.dim())];
        let distances: Vec<f64> = ids.iter().map(|&id| self.distance(query, id)).collect();
        let mut by_id: Vec<(i32, f64)> = ids.iter().copied().zip(distances.iter().copied()).collect();
        by_id.sort_unstable_by_key(|&(id, _)| id);
        let kth = distances.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        TrueRow { by_id, distances, kth }
    }

    fn answer(&self, query: usize, row: &[i32], truth: &TrueRow) -> Result<Answer, RecallError> {
        let n = self.train.len();
        let mut ids: Vec<i32> = row.iter().copied().filter(|&id| id >= 0).collect();
        ids.sort_unstable();
        ids.dedup();
        if let Some(&id) = ids.last().filter(|&&id| id as usize >= n) {
            return Err(RecallError::OutOfRange { query, id, n });
        }
        if let Some(&id) = ids.iter().find(|&&id| self.filter.is_some_and(|filter| !filter.admits(query, id))) {
            return Err(RecallError::NotAMatch { query, id });
        }
        let noise = if self.metric == Metric::Cosine { COSINE_NOISE } else { 0.0 };
        let tie_limit = truth.kth + truth.kth.abs() * TIE_SLACK + noise;
        let mut answer = Answer { strict: 0, ties: 0, annb: 0, relative_error: None };
        let mut sum = 0.0;
        for &id in &ids {
            let known = truth.by_id.binary_search_by_key(&id, |&(id, _)| id).ok();
            let distance = known.map_or_else(|| self.distance(query, id), |place| truth.by_id[place].1);
            answer.strict += usize::from(known.is_some());
            answer.ties += usize::from(distance <= tie_limit);
            answer.annb += usize::from(distance <= truth.kth + ANNB_SLACK);
            sum += distance;
        }
        let true_sum: f64 = truth.distances.iter().take(ids.len()).sum();
        answer.relative_error = (true_sum > 0.0).then(|| sum / true_sum - 1.0);
        Ok(answer)
    }

    /// Distance in the metric's own unit: Euclidean root, 1 - cos, negated inner product.
    fn distance(&self, query: usize, id: i32) -> f64 {
        distance(self.metric, self.test.row(query), self.train.row(id as usize))
    }
}

/// Distance in f64 in the metric's own unit: Euclidean root, 1 - cos (1 for a zero vector), negated inner product.
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    match metric {
        Metric::L2 => a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt(),
        Metric::InnerProduct => -dot(a, b),
        Metric::Cosine => {
            let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
            if norms > 0.0 { 1.0 - dot(a, b) / norms } else { 1.0 }
        }
    }
}

fn combine(answers: &[Answer], k: usize) -> Recall {
    let queries = answers.len().max(1);
    let possible = (queries * k) as f64;
    let mut per_query: Vec<usize> = answers.iter().map(|answer| answer.strict).collect();
    per_query.sort_unstable();
    let share = |hits: usize| hits as f64 / k as f64;
    let hits: usize = per_query.iter().sum();
    let ties: usize = answers.iter().map(|answer| answer.ties.min(k)).sum();
    let annb: usize = answers.iter().map(|answer| answer.annb.min(k)).sum();
    let errors: Option<Vec<f64>> = answers.iter().map(|answer| answer.relative_error).collect();
    Recall {
        strict: hits as f64 / possible,
        ties: ties as f64 / possible,
        annb: annb as f64 / possible,
        min: per_query.first().map_or(0.0, |&hits| share(hits)),
        p5: per_query.get(nearest_rank(queries, 50)).map_or(0.0, |&hits| share(hits)),
        relative_error: errors.map(|errors| errors.iter().sum::<f64>() / queries as f64),
        hits: hits as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base vectors on a line at 0, 1, 2, 2 (a duplicate) and 5; one query at 0.
    const LINE: [f32; 5] = [0.0, 1.0, 2.0, 2.0, 5.0];

    fn score(ids: &[i32], k: usize) -> Result<Recall, RecallError> {
        let truth: Vec<i32> = (0..k as i32).collect();
        Scorer::new(Vectors::new(&LINE, 1), Vectors::new(&[0.0], 1), Vectors::new(&truth, k), Metric::L2).score(ids, k)
    }

    #[test]
    fn the_true_ids_score_one_in_any_order() {
        let recall = score(&[2, 0, 1], 3).unwrap();
        assert_eq!((recall.strict, recall.ties, recall.annb, recall.hits), (1.0, 1.0, 1.0, 3));
        assert_eq!(recall.relative_error, Some(0.0));
    }

    #[test]
    fn an_equally_near_vector_is_a_tie_and_not_a_strict_hit() {
        let recall = score(&[0, 1, 3], 3).unwrap();
        assert_eq!((recall.strict, recall.ties), (2.0 / 3.0, 1.0));
    }

    #[test]
    fn copies_of_one_neighbour_count_once() {
        let recall = score(&[1, 1, 1], 3).unwrap();
        assert_eq!((recall.strict, recall.ties, recall.annb), (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0));
    }

    #[test]
    fn padding_is_a_miss() {
        let recall = score(&[0, -1, -1], 3).unwrap();
        assert_eq!((recall.strict, recall.min, recall.p5), (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0));
        // The one true distance is 0, so no ratio exists.
        assert_eq!(recall.relative_error, None);
    }

    #[test]
    fn a_far_answer_has_a_relative_error() {
        let recall = score(&[0, 1, 4], 3).unwrap();
        assert_eq!(recall.relative_error, Some(1.0));
        assert_eq!(recall.ties, 2.0 / 3.0);
    }

    #[test]
    fn where_fewer_neighbours_exist_than_are_asked_for_their_share_is_recall() {
        let truth = [0, 1];
        let mut scorer =
            Scorer::new(Vectors::new(&LINE, 1), Vectors::new(&[0.0], 1), Vectors::new(&truth, 2), Metric::L2);
        let recall = scorer.score(&[1, 0, -1, -1], 4).unwrap();
        assert_eq!((recall.strict, recall.ties, recall.min, recall.hits), (1.0, 1.0, 1.0, 2));
        assert_eq!(scorer.score(&[1, -1, -1, -1], 4).unwrap().strict, 0.5);
    }

    #[test]
    fn an_id_past_the_last_vector_is_an_error() {
        assert_eq!(score(&[0, 1, 5], 3), Err(RecallError::OutOfRange { query: 0, id: 5, n: 5 }));
        assert_eq!(score(&[0, 1], 3), Err(RecallError::Shape { expected: 3, found: 2 }));
    }

    #[test]
    fn the_absolute_slack_of_annb_forgives_what_ties_do_not() {
        let train = [0.0f32, 1.0, 1.0005];
        let mut scorer =
            Scorer::new(Vectors::new(&train, 1), Vectors::new(&[0.0], 1), Vectors::new(&[0, 1], 2), Metric::L2);
        let recall = scorer.score(&[0, 2], 2).unwrap();
        assert_eq!((recall.strict, recall.ties, recall.annb), (0.5, 0.5, 1.0));
    }

    #[test]
    fn a_negative_inner_product_distance_keeps_its_ties() {
        let train = [2.0f32, 1.0, 1.0];
        let mut scorer = Scorer::new(
            Vectors::new(&train, 1),
            Vectors::new(&[1.0], 1),
            Vectors::new(&[0, 1], 2),
            Metric::InnerProduct,
        );
        let recall = scorer.score(&[0, 2], 2).unwrap();
        assert_eq!((recall.strict, recall.ties, recall.relative_error), (0.5, 1.0, None));
    }

    #[test]
    fn cosine_ignores_length_and_a_zero_vector_is_at_distance_one() {
        assert!(distance(Metric::Cosine, &[1.0, 0.0], &[7.0, 0.0]).abs() < 1e-15);
        assert_eq!(distance(Metric::Cosine, &[1.0, 0.0], &[0.0, 0.0]), 1.0);
    }

    #[test]
    fn the_worst_and_the_fifth_percentile_query_are_told_apart() {
        let answers: Vec<Answer> = (0..40)
            .map(|query| Answer {
                strict: usize::from(query > 0) + usize::from(query > 5),
                ties: 2,
                annb: 2,
                relative_error: Some(0.0),
            })
            .collect();
        let recall = combine(&answers, 2);
        assert_eq!((recall.min, recall.p5), (0.0, 0.5));
    }
}

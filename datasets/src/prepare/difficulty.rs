//! How hard a data set is: local intrinsic dimensionality and relative contrast.
//!
//! LID is the maximum likelihood estimate of Amsaleg et al., *Estimating Local Intrinsic Dimensionality* (KDD 2015), from
//! the distances `r_1 <= ... <= r_k` to the true neighbours: `-[1/(k-1) sum over i < k of ln(r_i / r_k)]^-1`. Relative contrast
//! (He, Kumar, Chang, *On the Difficulty of Nearest Neighbor Search*, ICML 2012) is the mean distance to any base vector over
//! the mean distance to the nearest. Both need a metric with a zero: the cosine is taken as the Euclidean distance of unit
//! vectors, sqrt(2 (1 - cos)), and the inner product has neither.

use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::truth::{COSINE_NOISE, Truth, dot, norm_squared, squared_l2};

/// Neighbours that LID looks at, at most.
const LID_K: usize = 100;

/// Base vectors and queries that stand for all in the mean distance.
const SAMPLE: usize = 1000;

/// Seed of the samples: they are part of the fingerprint, so they never change.
const SEED: u64 = 0x6e65_6172;

/// Some base vectors, gathered while the base passes by.
pub(crate) struct Sample {
    rows: Vec<usize>,
    next: usize,
    vectors: Vec<f32>,
}

impl Sample {
    /// Chooses among `n` rows.
    pub(crate) fn new(n: usize) -> Self {
        Self { rows: sampled(n, SAMPLE), next: 0, vectors: Vec::new() }
    }

    /// Takes the chosen of `rows`, whose first is row `first`. Blocks come in order.
    pub(crate) fn push(&mut self, first: usize, rows: Vectors<'_, f32>) {
        while let Some(&row) = self.rows.get(self.next).filter(|&&row| row < first + rows.len()) {
            self.vectors.extend_from_slice(rows.row(row - first));
            self.next += 1;
        }
    }
}

/// Up to `count` of `n` rows, ascending, always the same ones.
pub(crate) fn sampled(n: usize, count: usize) -> Vec<usize> {
    let mut rng = Pcg64Mcg::seed_from_u64(SEED);
    let mut rows = rand::seq::index::sample(&mut rng, n, count.min(n)).into_vec();
    rows.sort_unstable();
    rows
}

/// Mean LID over the queries that have one (their neighbours are not all at distance 0 or all equally far).
pub(crate) fn lid_mean(metric: Metric, truth: &Truth) -> Option<f64> {
    let k = truth.k.min(LID_K);
    if k < 2 {
        return None;
    }
    let (mut sum, mut count) = (0.0, 0);
    for row in truth.distances.chunks_exact(truth.k) {
        let farthest = rooted(metric, row[k - 1])?;
        let mut logs = 0.0;
        let mut terms = 0;
        for &distance in &row[..k - 1] {
            let r = rooted(metric, distance)?;
            if r > 0.0 && farthest > 0.0 {
                logs += (r / farthest).ln();
                terms += 1;
            }
        }
        if logs < 0.0 {
            sum -= f64::from(terms) / logs;
            count += 1;
        }
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// Mean distance of sampled queries to sampled base vectors over their mean distance to the nearest.
pub(crate) fn relative_contrast(
    metric: Metric,
    sample: &Sample,
    queries: Vectors<'_, f32>,
    truth: &Truth,
) -> Option<f64> {
    let (mut any, mut nearest, chosen) = (0.0, 0.0, sampled(queries.len(), SAMPLE));
    let base = Vectors::new(&sample.vectors, queries.dim());
    for &q in &chosen {
        let query = queries.row(q);
        nearest += rooted(metric, truth.distances[q * truth.k])?;
        any += base.iter().map(|x| distance(metric, query, x)).sum::<f64>() / base.len() as f64;
    }
    let contrast = any / nearest;
    contrast.is_finite().then_some(contrast)
}

/// A reported distance as one that has a zero, which copies are at; none for the inner product.
fn rooted(metric: Metric, reported: f32) -> Option<f64> {
    let reported = f64::from(reported);
    match metric {
        Metric::L2 => Some(reported),
        Metric::Cosine if reported <= COSINE_NOISE => Some(0.0),
        Metric::Cosine => Some((2.0 * reported).sqrt()),
        Metric::InnerProduct => None,
    }
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    if metric == Metric::L2 {
        return squared_l2(a, b).sqrt();
    }
    let norms = (norm_squared(a) * norm_squared(b)).sqrt();
    let cosine = if norms == 0.0 { 0.0 } else { dot(a, b) / norms };
    (2.0 * (1.0 - cosine)).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(k: usize, distances: Vec<f32>) -> Truth {
        Truth { k, neighbors: vec![0; distances.len()], distances }
    }

    #[test]
    fn lid_is_the_formula_worked_by_hand() {
        let lid = lid_mean(Metric::L2, &truth(3, vec![1.0, 2.0, 4.0])).unwrap();
        let by_hand = -1.0 / (0.5 * ((1f64 / 4.0).ln() + (2f64 / 4.0).ln()));
        assert!((lid - by_hand).abs() < 1e-12, "{lid} {by_hand}");
        // The cosine doubles exponents: r = sqrt(2 d).
        let cosine = lid_mean(Metric::Cosine, &truth(3, vec![1.0, 2.0, 4.0])).unwrap();
        assert!((cosine - 2.0 * by_hand).abs() < 1e-6);
    }

    #[test]
    fn distances_of_zero_and_ties_do_not_spoil_the_mean() {
        let lid = lid_mean(Metric::L2, &truth(3, vec![0.0, 2.0, 4.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])).unwrap();
        assert!((lid - 1.0 / 2f64.ln()).abs() < 1e-12);
        assert_eq!(lid_mean(Metric::L2, &truth(2, vec![0.0, 0.0])), None);
        assert_eq!(lid_mean(Metric::L2, &truth(1, vec![1.0])), None);
        assert_eq!(lid_mean(Metric::InnerProduct, &truth(2, vec![-2.0, -1.0])), None);
        // 1 - x / x, as f64 rounds it.
        let copies = lid_mean(Metric::Cosine, &truth(3, vec![1.1e-16, 2.0, 4.0])).unwrap();
        assert!((copies - 2.0 / 2f64.ln()).abs() < 1e-6, "{copies}");
    }

    #[test]
    fn relative_contrast_is_a_ratio_of_means() {
        let mut sample = Sample::new(2);
        sample.push(0, Vectors::new(&[3.0, 4.0], 2));
        sample.push(1, Vectors::new(&[0.0, 1.0], 2));
        let contrast = |metric, distances| {
            relative_contrast(metric, &sample, Vectors::new(&[0.0, 0.0, 0.0, 0.0], 2), &truth(1, distances))
        };
        assert_eq!(contrast(Metric::L2, vec![1.0, 1.0]), Some(3.0));
        assert_eq!(contrast(Metric::L2, vec![0.0, 0.0]), None);
        assert_eq!(contrast(Metric::Cosine, vec![0.5, 0.5]), Some(2f64.sqrt()));
        assert_eq!(contrast(Metric::InnerProduct, vec![1.0, 1.0]), None);
    }

    #[test]
    fn the_sample_is_always_the_same() {
        assert_eq!(sampled(10, 20), (0..10).collect::<Vec<_>>());
        assert_eq!(sampled(10_000, 5), sampled(10_000, 5));
        assert!(sampled(10_000, 1000).is_sorted());
    }
}

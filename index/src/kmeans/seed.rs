//! k-means++ seeding on a sample of the points.
//!
//! Each next centroid is drawn with a probability proportional to the squared L2 distance to the nearest one so far.
//! That costs (points x k) distances, one centroid after the other, so it runs on a sample whose size falls as k grows:
//! some 17 million distances, until two points per centroid are the least that makes sense.

use nearlab_simd::{Metric, kernels};
use nearlab_storage::Vectors;
use rayon::prelude::*;

use crate::Counters;
use crate::random::{SplitMix64, sample};

/// Points scored as one unit of parallel work.
const CHUNK: usize = 512;
/// Distances that seeding may cost, while that leaves 2 to 16 points per centroid.
const DISTANCES: usize = 1 << 24;

/// `k` rows of `points`, drawn by their distance to those drawn before.
pub(super) fn plus_plus(points: Vectors<'_, f32>, k: usize, seed: u64, counters: &mut Counters) -> Vec<f32> {
    let dim = points.dim();
    let mut centroids = Vec::with_capacity(k * dim);
    if k == 0 {
        return centroids;
    }
    let mut random = SplitMix64::new(seed);
    let count = (DISTANCES / k).clamp(2 * k, 16 * k).min(points.len());
    let mut candidates = Vec::with_capacity(count * dim);
    for point in sample(points.len(), count, random.next()) {
        candidates.extend_from_slice(points.row(point as usize));
    }
    let candidates = Vectors::new(&candidates, dim);
    let mut nearest = vec![f32::INFINITY; count];
    let mut chosen = random.below(count);
    centroids.extend_from_slice(candidates.row(chosen));
    while centroids.len() < k * dim {
        // So that a point can not be drawn twice while others are left, however its distance to itself rounds.
        lower(candidates, candidates.row(chosen), &mut nearest);
        nearest[chosen] = 0.0;
        counters.distance_computations += count as u64;
        counters.bytes_read += (count * dim * size_of::<f32>()) as u64;
        chosen = draw(&nearest, &mut random);
        centroids.extend_from_slice(candidates.row(chosen));
    }
    centroids
}

/// Lowers each point's distance to its nearest centroid by the new `centroid`.
fn lower(points: Vectors<'_, f32>, centroid: &[f32], nearest: &mut [f32]) {
    nearest.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, nearest)| {
        let mut distances = [0.0; CHUNK];
        let distances = &mut distances[..nearest.len()];
        let rows = points.rows(chunk * CHUNK..chunk * CHUNK + nearest.len());
        kernels().distances_many(Metric::L2, centroid, rows.as_slice(), distances);
        for (nearest, &mut distance) in nearest.iter_mut().zip(distances) {
            *nearest = nearest.min(distance);
        }
    });
}

/// An index drawn with a probability proportional to its weight; any index when all weights are zero.
fn draw(weights: &[f32], random: &mut SplitMix64) -> usize {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let mut left = random.unit() * total;
    if left > 0.0 && left.is_finite() {
        for (i, &weight) in weights.iter().enumerate() {
            left -= f64::from(weight);
            if left < 0.0 {
                return i;
            }
        }
    }
    random.below(weights.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_groups_are_all_found() {
        let data: Vec<f32> = (0..400).map(|i| (i % 4) as f32 * 1000.0 + (i / 4) as f32 * 0.001).collect();
        let mut counters = Counters::default();
        let mut seeds = plus_plus(Vectors::new(&data, 1), 4, 11, &mut counters);
        seeds.sort_unstable_by(f32::total_cmp);
        for (group, seed) in seeds.iter().enumerate() {
            assert!((seed - group as f32 * 1000.0).abs() < 1.0);
        }
        assert_eq!(counters.distance_computations, 3 * 64);
    }

    #[test]
    fn weights_of_zero_are_never_drawn_while_others_exist() {
        let mut random = SplitMix64::new(2);
        assert!((0..100).all(|_| draw(&[0.0, 1.0, 0.0, 2.0], &mut random) % 2 == 1));
        assert!((0..100).all(|_| draw(&[0.0; 3], &mut random) < 3));
    }

    #[test]
    fn no_centroids_are_no_trouble() {
        assert!(plus_plus(Vectors::new(&[1.0], 1), 0, 1, &mut Counters::default()).is_empty());
    }
}

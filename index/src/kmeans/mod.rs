//! k-means: k-means++ seeding, then Lloyd's iterations, in parallel and the same on any number of threads.
//!
//! | step | source | function |
//! |---|---|---|
//! | seeding by D^2 sampling | Arthur and Vassilvitskii, SODA 2007, section 2.2 | [`seed::plus_plus`] |
//! | assignment to the nearest centroid | Lloyd 1982 | [`assign::assign`] |
//! | centroids as means of their points | Lloyd 1982 | [`train`] |
//! | spherical variant: unit centroids, largest inner product | Dhillon and Modha 2001 | [`train`] |
//!
//! Invariants: work is cut into chunks of a fixed size, and every sum is taken in the order of the points, so the
//! result does not depend on the number of threads. A centroid that lost all its points is put on the point that is
//! worst served. Not here: stopping early, weights, balancing of cluster sizes.

mod assign;
mod seed;

use nearlab_simd::{Metric, normalize};
use nearlab_storage::Vectors;
use rayon::prelude::*;

pub(crate) use assign::assign;

use crate::space::step;
use crate::{BuildError, Counters, Progress, Stage};

/// How to cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kmeans {
    /// Number of centroids, at most the number of points.
    pub(crate) k: usize,
    /// Lloyd's iterations.
    pub(crate) iterations: usize,
    /// Centroids are unit vectors and points go to the largest inner product.
    pub(crate) spherical: bool,
    /// Seed of the first centroids.
    pub(crate) seed: u64,
}

/// Learns `params.k` centroids, row after row, from `points`. Runs on the rayon pool it is called in.
pub(crate) fn train(
    points: Vectors<'_, f32>,
    params: &Kmeans,
    progress: &dyn Progress,
    counters: &mut Counters,
) -> Result<Vec<f32>, BuildError> {
    assert!(params.k <= points.len(), "{} centroids were asked of {} points", params.k, points.len());
    step(progress, Stage::Train, 0, params.iterations + 1)?;
    let mut centroids = seed::plus_plus(points, params.k, params.seed, counters);
    if params.spherical {
        centroids.chunks_exact_mut(points.dim()).for_each(|centroid| {
            normalize(centroid);
        });
    }
    let mut labels = vec![0; points.len()];
    for iteration in 0..params.iterations {
        step(progress, Stage::Train, iteration + 1, params.iterations + 1)?;
        let scores = assign(points, &centroids, params.spherical, &mut labels, counters);
        let groups = Groups::of(&labels, params.k);
        move_to_means(points, &groups, &mut centroids);
        refill_empty(points, &groups, &scores, &mut centroids);
        if params.spherical {
            centroids.par_chunks_exact_mut(points.dim()).for_each(|centroid| {
                normalize(centroid);
            });
        }
    }
    step(progress, Stage::Train, params.iterations + 1, params.iterations + 1)?;
    Ok(centroids)
}

/// The metric by which a point's centroid is chosen.
pub(crate) fn is_spherical(metric: Metric) -> bool {
    metric != Metric::L2
}

/// Points by cluster, in the order of the points (counting sort).
pub(crate) struct Groups {
    offsets: Vec<usize>,
    members: Vec<u32>,
}

impl Groups {
    pub(crate) fn of(labels: &[u32], k: usize) -> Self {
        let mut offsets = vec![0; k + 1];
        for &label in labels {
            offsets[label as usize + 1] += 1;
        }
        for cluster in 0..k {
            offsets[cluster + 1] += offsets[cluster];
        }
        let mut next = offsets.clone();
        let mut members = vec![0; labels.len()];
        for (point, &label) in labels.iter().enumerate() {
            members[next[label as usize]] = point as u32;
            next[label as usize] += 1;
        }
        Self { offsets, members }
    }

    /// The points of one cluster, ascending.
    pub(crate) fn members(&self, cluster: usize) -> &[u32] {
        &self.members[self.offsets[cluster]..self.offsets[cluster + 1]]
    }

    /// All points, cluster after cluster.
    pub(crate) fn all_members(&self) -> &[u32] {
        &self.members
    }

    /// Where each cluster begins in [`all_members`](Self::all_members), and the end of the last.
    pub(crate) fn offsets(&self) -> &[usize] {
        &self.offsets
    }
}

fn move_to_means(points: Vectors<'_, f32>, groups: &Groups, centroids: &mut [f32]) {
    let dim = points.dim();
    centroids.par_chunks_exact_mut(dim).enumerate().for_each_init(
        || vec![0.0_f64; dim],
        |sums, (cluster, centroid)| {
            let members = groups.members(cluster);
            if members.is_empty() {
                return;
            }
            sums.fill(0.0);
            for &point in members {
                for (sum, &x) in sums.iter_mut().zip(points.row(point as usize)) {
                    *sum += f64::from(x);
                }
            }
            for (mean, &sum) in centroid.iter_mut().zip(sums.iter()) {
                *mean = (sum / members.len() as f64) as f32;
            }
        },
    );
}

/// Puts each centroid without points on one of the points that are farthest from their centroids.
fn refill_empty(points: Vectors<'_, f32>, groups: &Groups, scores: &[f32], centroids: &mut [f32]) {
    let dim = points.dim();
    let empty: Vec<usize> =
        (0..groups.offsets.len() - 1).filter(|&cluster| groups.members(cluster).is_empty()).collect();
    if empty.is_empty() {
        return;
    }
    let mut worst_served: Vec<u32> = (0..points.len() as u32).collect();
    worst_served.sort_unstable_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
    for (cluster, point) in empty.into_iter().zip(worst_served) {
        centroids[cluster * dim..][..dim].copy_from_slice(points.row(point as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn blobs(n: usize, dim: usize, blobs: usize) -> Vec<f32> {
        let mut random = SplitMix64::new(5);
        let centers: Vec<f32> = (0..blobs * dim).map(|_| random.unit() as f32 * 100.0).collect();
        (0..n * dim).map(|i| centers[(i / dim % blobs) * dim + i % dim] + random.unit() as f32).collect()
    }

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn well_separated_blobs_get_a_centroid_each() {
        let data = blobs(2000, 6, 10);
        let points = Vectors::new(&data, 6);
        let params = Kmeans { k: 10, iterations: 10, spherical: false, seed: 1 };
        let mut counters = Counters::default();
        let centroids = train(points, &params, &(), &mut counters).unwrap();
        let mut labels = vec![0; 2000];
        let distances = assign(points, &centroids, false, &mut labels, &mut counters);
        assert!(distances.iter().all(|&distance| distance < 6.0));
        let groups = Groups::of(&labels, 10);
        assert!((0..10).all(|cluster| groups.members(cluster).len() == 200));
        assert!(counters.distance_computations > 2000 * 10 * 10);
    }

    #[test]
    fn any_number_of_threads_learns_the_same_bits() {
        let data = blobs(3000, 7, 40);
        for spherical in [false, true] {
            let params = Kmeans { k: 25, iterations: 4, spherical, seed: 9 };
            let learn = |threads| {
                pool(threads).install(|| train(Vectors::new(&data, 7), &params, &(), &mut Counters::default())).unwrap()
            };
            let one = learn(1);
            assert_eq!(one, learn(2));
            assert_eq!(one, learn(3));
        }
    }

    #[test]
    fn spherical_centroids_have_unit_length() {
        let data = blobs(500, 5, 8);
        let params = Kmeans { k: 8, iterations: 3, spherical: true, seed: 1 };
        let centroids = train(Vectors::new(&data, 5), &params, &(), &mut Counters::default()).unwrap();
        for centroid in centroids.chunks_exact(5) {
            assert!((centroid.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn a_centroid_without_points_moves_to_the_worst_served_point() {
        let data = [0.0, 0.0, 0.1, 0.0, 9.0, 9.0];
        let points = Vectors::new(&data, 2);
        let mut centroids = vec![0.0, 0.0, 50.0, 50.0];
        let groups = Groups::of(&[0, 0, 0], 2);
        refill_empty(points, &groups, &[0.0, 0.01, 162.0], &mut centroids);
        assert_eq!(centroids[2..], [9.0, 9.0]);
    }

    #[test]
    fn fewer_different_points_than_centroids_are_no_trouble() {
        let data = vec![1.5; 20 * 3];
        let params = Kmeans { k: 6, iterations: 3, spherical: false, seed: 1 };
        let centroids = train(Vectors::new(&data, 3), &params, &(), &mut Counters::default()).unwrap();
        assert_eq!(centroids, vec![1.5; 18]);
    }

    #[test]
    fn a_cancelled_training_ends() {
        struct Cancelled;
        impl Progress for Cancelled {
            fn report(&self, _: Stage, _: u64, _: u64) {}
            fn cancelled(&self) -> bool {
                true
            }
        }
        let params = Kmeans { k: 1, iterations: 3, spherical: false, seed: 1 };
        let outcome = train(Vectors::new(&[1.0, 2.0], 2), &params, &Cancelled, &mut Counters::default());
        assert_eq!(outcome.unwrap_err(), BuildError::Cancelled);
    }
}

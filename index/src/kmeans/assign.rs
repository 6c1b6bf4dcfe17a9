//! Every point to its nearest centroid, tile by tile.
//!
//! The nearest centroid in L2 is the one with the largest `<x, c> - |c|^2 / 2`, and in the spherical variant the one
//! with the largest `<x, c>`, so one matrix product serves both. Ties go to the smaller centroid number.

use nearlab_simd::{kernels, norm_squared};
use nearlab_storage::Vectors;
use rayon::prelude::*;

use crate::Counters;

/// Points in one unit of parallel work.
const POINTS: usize = 64;
/// Centroids in one tile: with [`POINTS`], 64 KiB of products.
const CENTROIDS: usize = 256;

/// Writes each point's centroid to `labels`. Returns how badly each point is served: its squared L2 distance to the
/// centroid, or minus the inner product in the spherical variant.
pub(crate) fn assign(
    points: Vectors<'_, f32>,
    centroids: &[f32],
    spherical: bool,
    labels: &mut [u32],
    counters: &mut Counters,
) -> Vec<f32> {
    let dim = points.dim();
    let half_norms: Vec<f32> = centroids
        .chunks_exact(dim)
        .map(|centroid| if spherical { 0.0 } else { norm_squared(centroid) / 2.0 })
        .collect();
    let mut served = vec![0.0; points.len()];
    labels.par_chunks_mut(POINTS).zip(served.par_chunks_mut(POINTS)).enumerate().for_each_init(
        || vec![0.0; POINTS * CENTROIDS],
        |products, (chunk, (labels, served))| {
            let rows = points.rows(chunk * POINTS..chunk * POINTS + labels.len());
            let mut best = [f32::NEG_INFINITY; POINTS];
            labels.fill(0);
            for (block, block_norms) in half_norms.chunks(CENTROIDS).enumerate() {
                let block_rows = &centroids[block * CENTROIDS * dim..][..block_norms.len() * dim];
                let tile = &mut products[..labels.len() * block_norms.len()];
                kernels().inner_product_tile(rows.as_slice(), block_rows, dim, tile);
                for (i, row) in tile.chunks_exact(block_norms.len()).enumerate() {
                    if let Some((at, score)) = largest(row, block_norms, best[i]) {
                        best[i] = score;
                        labels[i] = (block * CENTROIDS + at) as u32;
                    }
                }
            }
            for (i, served) in served.iter_mut().enumerate() {
                *served = if spherical { -best[i] } else { norm_squared(rows.row(i)) - 2.0 * best[i] };
            }
        },
    );
    let pairs = (points.len() * half_norms.len()) as u64;
    counters.distance_computations += pairs;
    counters.bytes_read += pairs * (dim * size_of::<f32>()) as u64;
    served
}

/// The first of the largest scores above `floor`.
fn largest(products: &[f32], half_norms: &[f32], floor: f32) -> Option<(usize, f32)> {
    let mut best = floor;
    let mut at = None;
    for (i, (product, half_norm)) in products.iter().zip(half_norms).enumerate() {
        let score = product - half_norm;
        if score > best {
            best = score;
            at = Some(i);
        }
    }
    at.map(|i| (i, best))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn every_point_gets_its_nearest_centroid() {
        let mut random = SplitMix64::new(3);
        let mut draw = |count: usize| (0..count).map(|_| random.unit() as f32).collect::<Vec<_>>();
        let (data, centroids) = (draw(150 * 9), draw(600 * 9));
        let points = Vectors::new(&data, 9);
        let mut labels = vec![0; 150];
        let served = assign(points, &centroids, false, &mut labels, &mut Counters::default());
        for i in 0..150 {
            let distance = |c: &[f32]| points.row(i).iter().zip(c).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
            let nearest = centroids.chunks_exact(9).map(distance).fold(f32::INFINITY, f32::min);
            assert!((served[i] - nearest).abs() < 1e-4);
            assert!((distance(&centroids[labels[i] as usize * 9..][..9]) - nearest).abs() < 1e-4);
        }
    }

    #[test]
    fn the_spherical_variant_takes_the_largest_inner_product_and_ties_go_to_the_first() {
        let mut labels = vec![9; 2];
        let points = [1.0, 0.0, 0.0, 2.0];
        let centroids = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
        let served = assign(Vectors::new(&points, 2), &centroids, true, &mut labels, &mut Counters::default());
        assert_eq!((labels.as_slice(), served.as_slice()), ([0, 1].as_slice(), [-1.0, -2.0].as_slice()));
    }
}

//! Every kernel of every tier this CPU can run, against a naive sum in `f64`, and against each other.
//!
//! Within a tier the kernels must agree bit for bit: the index builds on a distance being one number however it is
//! computed. Across tiers they need only agree with the oracle.

use nearlab_simd::{Kernels, Metric, available, norm_squared, normalize};
use proptest::prelude::*;

/// Every dimension up to four chunks and more of every tier, and those of known data sets.
fn dimensions() -> impl Iterator<Item = usize> {
    (1..=70).chain([96, 100, 127, 128, 129, 191, 200, 255, 256, 257, 300, 768, 784, 960, 961, 1535, 1536, 1537])
}

/// Values in [-1, 1) from a fixed linear congruential sequence.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The exact score (to `f64`) and the sum of the absolute values of its terms.
fn oracle(metric: Metric, a: &[f32], b: &[f32]) -> (f64, f64) {
    let terms = a.iter().zip(b).map(|(&x, &y)| {
        let (x, y) = (f64::from(x), f64::from(y));
        if metric == Metric::L2 { (x - y) * (x - y) } else { x * y }
    });
    let (sum, absolute) = terms.fold((0.0, 0.0), |(sum, absolute), term| (sum + term, absolute + term.abs()));
    match metric {
        Metric::L2 => (sum, absolute),
        Metric::InnerProduct => (-sum, absolute),
        Metric::Cosine => (1.0 - sum, absolute + 1.0),
    }
}

/// The bound that the crate promises.
fn assert_close(kernels: &Kernels, metric: Metric, (a, b): (&[f32], &[f32]), found: f32) {
    let (expected, absolute) = oracle(metric, a, b);
    let allowed = (a.len() as f64 / 16.0 + 9.0) * 0.5_f64.powi(24) * absolute + f64::from(f32::MIN_POSITIVE);
    let error = (f64::from(found) - expected).abs();
    assert!(
        error <= allowed,
        "{} {metric} d={}: {found} is {error:e} from {expected}, allowed {allowed:e}",
        kernels.tier(),
        a.len()
    );
}

/// All kernels on `queries` x `rows`, against the oracle and against the pair kernel.
fn assert_agreement(kernels: &Kernels, d: usize, queries: &[f32], rows: &[f32]) {
    let (query_count, row_count) = (queries.len() / d, rows.len() / d);
    // Backwards, and the first row twice: gathering has its own order.
    let ids: Vec<u32> = (0..row_count as u32).rev().chain([0]).collect();
    for metric in Metric::ALL {
        let distance = kernels.distance(metric);
        let mut tile = vec![f32::NAN; query_count * row_count];
        kernels.distances_tile(metric, queries, rows, d, &mut tile);
        for (query, tile) in queries.chunks_exact(d).zip(tile.chunks_exact(row_count)) {
            let mut expected = Vec::with_capacity(row_count);
            for row in rows.chunks_exact(d) {
                let found = distance(query, row);
                assert_close(kernels, metric, (query, row), found);
                assert_eq!(found, distance(row, query), "{} {metric} d={d}: not symmetric", kernels.tier());
                expected.push(found);
            }
            let mut many = vec![f32::NAN; row_count];
            kernels.distances_many(metric, query, rows, &mut many);
            assert_eq!(many, expected, "{} {metric} d={d}: many", kernels.tier());
            assert_eq!(tile, expected, "{} {metric} d={d}: tile", kernels.tier());
            let mut by_id = vec![f32::NAN; ids.len()];
            kernels.distances_by_id(metric, query, rows, &ids, &mut by_id);
            let expected_by_id: Vec<f32> = ids.iter().map(|&id| expected[id as usize]).collect();
            assert_eq!(by_id, expected_by_id, "{} {metric} d={d}: by id", kernels.tier());
        }
    }
}

#[test]
fn every_kernel_of_every_tier_agrees_with_the_oracle_at_every_dimension() {
    for kernels in available() {
        for d in dimensions() {
            // 5 x 14 leaves a remainder of queries and of rows in every block size.
            assert_agreement(kernels, d, &numbers(5 * d, 1), &numbers(14 * d, 2));
        }
    }
}

#[test]
fn few_rows_and_few_queries_agree_too() {
    for kernels in available() {
        for (query_count, row_count) in [(1, 1), (1, 2), (2, 3), (3, 1), (4, 4), (7, 5)] {
            assert_agreement(kernels, 37, &numbers(query_count * 37, 3), &numbers(row_count * 37, 4));
        }
    }
}

#[test]
fn tiles_larger_than_their_cache_panels_agree() {
    for kernels in available() {
        // 12 bytes a vector: panels hold thousands of rows; 6 KiB a vector: a panel of rows is one block.
        for (d, query_count, row_count) in [(3, 9, 3001), (1536, 55, 10)] {
            let (queries, rows) = (numbers(query_count * d, 5), numbers(row_count * d, 6));
            let mut tile = vec![f32::NAN; query_count * row_count];
            kernels.inner_product_tile(&queries, &rows, d, &mut tile);
            for (query, tile) in queries.chunks_exact(d).zip(tile.chunks_exact(row_count)) {
                let mut many = vec![f32::NAN; row_count];
                kernels.inner_product_many(query, &rows, &mut many);
                assert_eq!(tile, many, "{} d={d}", kernels.tier());
            }
        }
    }
}

#[test]
fn the_named_kernels_are_those_of_their_metric() {
    let (query, rows) = (numbers(20, 7), numbers(60, 8));
    for kernels in available() {
        let mut found = [f32::NAN; 3];
        let mut expected = [f32::NAN; 3];
        kernels.l2_many(&query, &rows, &mut found);
        kernels.distances_many(Metric::L2, &query, &rows, &mut expected);
        assert_eq!(found, expected);
        assert_eq!(kernels.l2(&query, &rows[..20]), expected[0]);
        kernels.inner_product_many(&query, &rows, &mut found);
        kernels.distances_many(Metric::InnerProduct, &query, &rows, &mut expected);
        assert_eq!(found.map(|inner_product| -inner_product), expected);
        assert_eq!(-kernels.inner_product(&query, &rows[..20]), expected[0]);
        kernels.distances_many(Metric::Cosine, &query, &rows, &mut expected);
        assert_eq!(found.map(|inner_product| 1.0 - inner_product), expected);
    }
}

#[test]
fn integral_data_is_exact_in_every_tier() {
    for d in dimensions().take_while(|&d| d <= 128) {
        let bytes = |seed| -> Vec<f32> { numbers(d, seed).iter().map(|x| (x * 127.5 + 127.5).floor()).collect() };
        let (a, b) = (bytes(9), bytes(10));
        for kernels in available() {
            for metric in [Metric::L2, Metric::InnerProduct] {
                let (expected, _) = oracle(metric, &a, &b);
                assert_eq!(f64::from(kernels.distance(metric)(&a, &b)), expected, "{} {metric} d={d}", kernels.tier());
            }
        }
    }
}

#[test]
fn nothing_in_nothing_out() {
    for kernels in available() {
        assert_eq!(kernels.l2(&[], &[]), 0.0);
        assert_eq!(kernels.distance(Metric::Cosine)(&[], &[]), 1.0);
        let mut out = [f32::NAN; 5];
        kernels.l2_many(&[], &[], &mut out);
        assert_eq!(out, [0.0; 5]);
        kernels.l2_many(&[1.0], &[], &mut []);
        kernels.distances_by_id(Metric::L2, &[1.0], &[2.0], &[], &mut []);
        kernels.inner_product_tile(&[], &[1.0, 2.0], 2, &mut []);
        kernels.inner_product_tile(&[1.0, 2.0], &[], 2, &mut []);
    }
}

#[test]
fn infinities_and_nans_are_not_lost_in_tails() {
    for kernels in available() {
        for d in 1..=70 {
            let mut a = numbers(d, 11);
            let b = numbers(d, 12);
            a[d - 1] = f32::INFINITY;
            assert_eq!(kernels.l2(&a, &b), f32::INFINITY, "{} d={d}", kernels.tier());
            a[d - 1] = f32::NAN;
            assert!(kernels.l2(&a, &b).is_nan(), "{} d={d}", kernels.tier());
            assert!(kernels.inner_product(&a, &b).is_nan(), "{} d={d}", kernels.tier());
        }
    }
}

#[test]
fn unit_vectors_are_at_cosine_distance_zero_from_themselves_and_zero_vectors_at_one() {
    for d in dimensions() {
        let mut v = numbers(d, 13);
        normalize(&mut v);
        assert!((norm_squared(&v) - 1.0).abs() < 1e-6, "d={d}");
        let mut zero = vec![0.0; d];
        normalize(&mut zero);
        for kernels in available() {
            let cosine = kernels.distance(Metric::Cosine);
            assert!(cosine(&v, &v).abs() < 1e-6, "{} d={d}", kernels.tier());
            assert_eq!(cosine(&v, &zero), 1.0, "{} d={d}", kernels.tier());
        }
    }
}

proptest! {
    #[test]
    fn any_vectors_at_any_alignment_agree(
        d in 1_usize..200,
        offset in 0_usize..16,
        scale in prop::sample::select(vec![1e-6_f32, 1.0, 1e4]),
        seed in any::<u64>(),
    ) {
        let values: Vec<f32> = numbers(offset + 9 * d, seed).iter().map(|x| x * scale).collect();
        let (queries, rows) = values[offset..].split_at(2 * d);
        for kernels in available() {
            assert_agreement(kernels, d, queries, rows);
        }
    }
}

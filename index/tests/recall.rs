//! Recall floors on seeded data: what a change of an algorithm must not sink below.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, Index, Neighbor, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

const N: usize = 5000;
const DIM: usize = 32;
const QUERIES: usize = 100;
const K: usize = 10;

/// Gaussian clusters, base vectors first, then queries from the same distribution.
fn data() -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 + 0.5) / (1 << 24) as f32
    };
    let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos();
    let centres: Vec<f32> = (0..50 * DIM).map(|_| normal()).collect();
    (0..(N + QUERIES) * DIM).map(|i| centres[(i / DIM % 50) * DIM + i % DIM] + normal()).collect()
}

/// Strict recall at 10 of `params`.
fn recall<I: Build>(build: &I::Params, search: &I::SearchParams, metric: Metric) -> f64 {
    let data = data();
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let mut truth = vec![Neighbor::NONE; QUERIES * K];
    let flat = Flat::build(base, metric, &FlatParams {}, &pool, &()).unwrap();
    flat.searcher(&FlatSearchParams {}).unwrap().search_batch(queries, K, &mut truth);
    let mut found = truth.clone();
    let index = I::build(base, metric, build, &pool, &()).unwrap();
    index.searcher(search).unwrap().search_batch(queries, K, &mut found);
    let hits: usize = truth
        .chunks_exact(K)
        .zip(found.chunks_exact(K))
        .map(|(truth, found)| found.iter().filter(|neighbor| truth.contains(neighbor)).count())
        .sum();
    hits as f64 / (QUERIES * K) as f64
}

#[test]
fn hnsw_finds_95_percent_at_ef_search_64() {
    let params = HnswParams { ef_construction: 100, ..HnswParams::default() };
    for metric in Metric::ALL {
        let recall = recall::<Hnsw>(&params, &HnswSearchParams::new(64), metric);
        assert!(recall >= 0.95, "{metric}: {recall}");
    }
}

#[test]
fn hnsw_with_pruned_links_kept_is_no_worse() {
    let params = HnswParams { ef_construction: 100, keep_pruned: true, ..HnswParams::default() };
    let recall = recall::<Hnsw>(&params, &HnswSearchParams::new(64), Metric::L2);
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn hnsw_whose_alpha_keeps_more_links_is_no_worse() {
    for construction in Construction::ALL {
        let params = HnswParams { ef_construction: 100, alpha: 110, construction, ..HnswParams::default() };
        for metric in Metric::ALL {
            let recall = recall::<Hnsw>(&params, &HnswSearchParams::new(64), metric);
            assert!(recall >= 0.95, "{metric}, {}: {recall}", construction.name());
        }
    }
}

#[test]
fn ivf_finds_90_percent_in_a_fifth_of_its_lists() {
    let params = IvfParams { nlist: 50, ..IvfParams::default() };
    for metric in [Metric::L2, Metric::Cosine] {
        let recall = recall::<Ivf>(&params, &IvfSearchParams { nprobe: 10 }, metric);
        assert!(recall >= 0.9, "{metric}: {recall}");
    }
}

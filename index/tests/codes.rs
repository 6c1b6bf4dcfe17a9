//! HNSW over codes, and built in bulk: recall floors, the same graph on any number of threads, files.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes};
use nearlab_index::{Build, BuildError, Counters, IdSet, Index, Mutable, Neighbor, Persist, Progress, Searcher, Stage};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;

const DIM: usize = 40;
const N: usize = 2000;
const QUERIES: usize = 60;
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
    let centres: Vec<f32> = (0..30 * DIM).map(|_| normal()).collect();
    (0..(N + QUERIES) * DIM).map(|i| centres[(i / DIM % 30) * DIM + i % DIM] + normal()).collect()
}

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// What is tried: every form of codes, both ways to build.
fn combinations() -> impl Iterator<Item = HnswParams> {
    let codes = [
        (TraversalCodes::F32, 0, RerankCodes::None),
        (TraversalCodes::F16, 0, RerankCodes::None),
        (TraversalCodes::F16, 0, RerankCodes::F32),
        (TraversalCodes::Bf16, 0, RerankCodes::None),
        (TraversalCodes::Bf16, 0, RerankCodes::F32),
        (TraversalCodes::Sq8, 0, RerankCodes::None),
        (TraversalCodes::Sq8, 0, RerankCodes::F16),
        (TraversalCodes::Sq4, 0, RerankCodes::Sq8),
        (TraversalCodes::Sq4, 0, RerankCodes::F32),
        (TraversalCodes::Sq4, 32, RerankCodes::F16),
        (TraversalCodes::Lvq4, 0, RerankCodes::F16),
        (TraversalCodes::Lvq8, 0, RerankCodes::None),
        (TraversalCodes::Sq8Dim, 0, RerankCodes::None),
        (TraversalCodes::Rabitq1, 0, RerankCodes::Sq8),
        (TraversalCodes::Rabitq2, 0, RerankCodes::Sq8),
        (TraversalCodes::Rabitq3, 0, RerankCodes::Sq8),
        (TraversalCodes::Rabitq4, 0, RerankCodes::F32),
        (TraversalCodes::Rabitq5, 0, RerankCodes::Bf16),
        (TraversalCodes::Rabitq6, 0, RerankCodes::F32),
        (TraversalCodes::Rabitq7, 0, RerankCodes::None),
        (TraversalCodes::Rabitq8, 0, RerankCodes::None),
        (TraversalCodes::Pq4, 0, RerankCodes::Sq8),
        (TraversalCodes::Pq8, 0, RerankCodes::F16),
        (TraversalCodes::Pq4Blocks, 0, RerankCodes::F32),
    ];
    Construction::ALL.into_iter().flat_map(move |construction| {
        codes.map(|(codes, components, rerank_codes)| HnswParams {
            m: 12,
            ef_construction: 80,
            codes,
            components,
            rerank_codes,
            construction,
            leaf: 300,
            ..HnswParams::default()
        })
    })
}

fn build(base: Vectors<'_, f32>, metric: Metric, params: &HnswParams, threads: usize) -> Hnsw {
    Hnsw::build(base, metric, params, &pool(threads), &()).unwrap()
}

fn search(hnsw: &Hnsw, queries: Vectors<'_, f32>, params: HnswSearchParams) -> Vec<Neighbor> {
    let mut found = vec![Neighbor::NONE; queries.len() * K];
    hnsw.searcher(&params).unwrap().search_batch(queries, K, &mut found);
    found
}

#[test]
fn queries_that_are_projected_together_find_what_they_find_alone() {
    let data = data();
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let params = HnswParams {
        codes: TraversalCodes::Sq4,
        components: 20,
        rerank_codes: RerankCodes::Sq8,
        ..HnswParams::default()
    };
    for metric in Metric::ALL {
        let hnsw = build(base, metric, &params, 2);
        let mut searcher = hnsw.searcher(&HnswSearchParams::new(40)).unwrap();
        // Twice, so that a batch begins where another ended.
        for _ in 0..2 {
            let mut together = vec![Neighbor::NONE; QUERIES * K];
            let counters = searcher.search_batch(queries, K, &mut together);
            let (mut alone, mut found) = (Counters::default(), Vec::new());
            for (query, together) in queries.iter().zip(together.chunks_exact(K)) {
                alone += searcher.search(query, K, &mut found);
                assert_eq!(found, together, "{metric}");
            }
            assert_eq!(counters, alone, "{metric}");
        }
    }
}

#[test]
fn patience_saves_distances_and_costs_little_recall() {
    let data = data();
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let params = HnswParams { codes: TraversalCodes::Sq4, rerank_codes: RerankCodes::Sq8, ..HnswParams::default() };
    let hnsw = build(base, Metric::L2, &params, 2);
    let run = |patience| {
        let mut found = vec![Neighbor::NONE; QUERIES * K];
        let searched = HnswSearchParams { patience, ..HnswSearchParams::new(200) };
        let counters = hnsw.searcher(&searched).unwrap().search_batch(queries, K, &mut found);
        (found, counters.distance_computations)
    };
    let (all, thorough) = run(0);
    let mut before = 0;
    for patience in [1, 8, 30] {
        let (found, distances) = run(patience);
        assert!(before < distances && distances < thorough, "{patience}: {distances} of {thorough}");
        before = distances;
        let kept = found.iter().filter(|neighbor| all.contains(neighbor)).count();
        assert!(found.chunks_exact(K).all(<[Neighbor]>::is_sorted));
        assert!(patience < 30 || kept * 100 > 97 * all.len(), "{kept} of {}", all.len());
    }
    assert_eq!(run(100_000), (all, thorough), "nobody is that patient");
    let refused = hnsw.searcher(&HnswSearchParams { patience: 1 << 31, ..HnswSearchParams::new(9) }).unwrap_err();
    assert!(refused.to_string().starts_with("parameter `patience` must be from 0 to"), "{refused}");
}

#[test]
fn every_form_of_codes_finds_the_nearest_under_every_metric() {
    let data = data();
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    for metric in Metric::ALL {
        let mut truth = vec![Neighbor::NONE; QUERIES * K];
        let flat = Flat::build(base, metric, &FlatParams {}, &pool(2), &()).unwrap();
        flat.searcher(&FlatSearchParams {}).unwrap().search_batch(queries, K, &mut truth);
        for params in combinations() {
            let hnsw = build(base, metric, &params, 2);
            let found = search(&hnsw, queries, HnswSearchParams { rerank: 60, ..HnswSearchParams::new(120) });
            let mut hits = 0;
            for (truth, found) in truth.chunks_exact(K).zip(found.chunks_exact(K)) {
                assert!(found.is_sorted() && !found.iter().any(|neighbor| neighbor.is_none()), "{metric} {params:?}");
                hits += truth.iter().filter(|expected| found.iter().any(|found| found.id == expected.id)).count();
                // Distances are those of the finest codes: near the true ones, in the metric's own unit.
                let exact = truth.iter().find(|expected| expected.id == found[0].id);
                if let Some(exact) = exact {
                    let unit = if metric == Metric::Cosine { 1.0 } else { 80.0 };
                    assert!((exact.distance - found[0].distance).abs() < 0.05 * unit, "{metric} {params:?}");
                }
            }
            let recall = hits as f64 / (QUERIES * K) as f64;
            assert!(recall > 0.93, "{metric} {params:?}: {recall}");
        }
    }
}

#[test]
fn one_query_at_a_time_finds_what_a_batch_finds() {
    let data = data();
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    for params in combinations() {
        let hnsw = build(base, Metric::L2, &params, 2);
        let mut searcher = hnsw.searcher(&HnswSearchParams::new(40)).unwrap();
        let batch = search(&hnsw, queries, HnswSearchParams::new(40));
        let mut found = Vec::new();
        for (i, batch) in batch.chunks_exact(K).enumerate() {
            searcher.search(queries.row(i), K, &mut found);
            assert_eq!(found, batch, "{params:?}");
        }
    }
}

#[test]
fn codes_of_neighbours_side_by_side_find_what_they_find_row_by_row() {
    let data = data();
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let among: IdSet = (0..N as u32).filter(|id| id % 3 == 0).collect();
    for (metric, m) in [(Metric::L2, 7), (Metric::Cosine, 12), (Metric::InnerProduct, 24)] {
        let rows =
            HnswParams { m, codes: TraversalCodes::Pq4, rerank_codes: RerankCodes::F16, ..HnswParams::default() };
        let blocks = HnswParams { codes: TraversalCodes::Pq4Blocks, ..rows };
        let [rows, blocks] = [rows, blocks].map(|params| build(base, metric, &params, 2));
        assert_eq!(rows.digest(), blocks.digest());
        let of_blocks = |hnsw: &Hnsw| hnsw.memory().0.get("neighbor_codes").copied();
        let lines = DIM.div_ceil(2).div_ceil(8);
        assert_eq!(of_blocks(&rows), None);
        assert_eq!(of_blocks(&blocks), Some((N * (2 * m).div_ceil(16) * lines * 64) as u64));
        for ef_search in [10, 70, N] {
            let params = HnswSearchParams::new(ef_search);
            assert_eq!(search(&rows, queries, params), search(&blocks, queries, params), "{metric} {ef_search}");
            let found = |hnsw: &Hnsw| {
                let mut found = Vec::new();
                hnsw.searcher(&params).unwrap().search_among(queries.row(3), K, &among, &mut found);
                found
            };
            assert_eq!(found(&rows), found(&blocks), "{metric} {ef_search}");
        }
        // Changed, and frozen again.
        let changed = |hnsw: Hnsw| {
            let live = hnsw.into_live(&pool(2)).unwrap();
            live.delete(&(0..400).collect::<Vec<u32>>());
            live.insert(queries, &pool(2)).unwrap();
            live.freeze(&pool(2), &()).unwrap()
        };
        let [rows, blocks] = [rows, blocks].map(changed);
        assert!(of_blocks(&blocks).is_some());
        let params = HnswSearchParams::new(70);
        assert_eq!(search(&rows, queries, params), search(&blocks, queries, params), "{metric}");
    }
}

#[test]
fn a_graph_does_not_depend_on_threads() {
    let data = data();
    let base = Vectors::new(&data, DIM);
    for params in combinations() {
        let digests = [1, 2, 3, 2].map(|threads| build(base, Metric::Cosine, &params, threads).digest());
        assert!(digests.iter().all(|&digest| digest == digests[0]), "{params:?}");
        let reseeded = build(base, Metric::Cosine, &HnswParams { seed: 2, ..params }, 2).digest();
        assert_ne!(reseeded, digests[0], "{params:?}");
    }
}

/// Cancels when asked for the `at`-th time.
struct CancelledAt {
    at: usize,
    asked: AtomicUsize,
}

impl Progress for CancelledAt {
    fn report(&self, _: Stage, _: u64, _: u64) {}

    fn cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) >= self.at
    }
}

#[test]
fn a_bulk_build_ends_whenever_it_is_cancelled() {
    let data = data();
    let params = HnswParams { leaf: 300, construction: Construction::Bulk, ..HnswParams::default() };
    for at in (0..).step_by(11) {
        let progress = CancelledAt { at, asked: AtomicUsize::new(0) };
        let outcome = Hnsw::build(Vectors::new(&data, DIM), Metric::L2, &params, &pool(2), &progress);
        if outcome.is_ok() {
            // The upper layers, each replica and each group ask too.
            assert!(at > 50, "asked {at} times");
            break;
        }
        assert_eq!(outcome.err(), Some(BuildError::Cancelled));
    }
}

#[test]
fn what_was_saved_is_found_again_mapped_and_resident() {
    let data = data();
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let folder = tempfile::tempdir().unwrap();
    for (i, params) in combinations().enumerate() {
        for metric in [Metric::L2, Metric::InnerProduct] {
            let path = folder.path().join(format!("{i}-{metric}"));
            let built = build(base, metric, &params, 2);
            built.save(&path).unwrap();
            let expected = search(&built, queries, HnswSearchParams::new(50));
            let opened = Hnsw::open(&path).unwrap();
            assert_eq!((opened.params(), opened.memory()), (built.params(), built.memory()));
            assert_eq!(search(&opened, queries, HnswSearchParams::new(50)), expected, "{params:?}");
            let resident = opened.into_resident().unwrap();
            assert_eq!(search(&resident, queries, HnswSearchParams::new(50)), expected, "{params:?}");
        }
    }
}

#[test]
fn a_handful_of_vectors_copies_and_zeros_are_no_trouble_in_bulk() {
    for n in [0, 1, 2, 17, 400] {
        // Every fourth vector is zeros, the others are copies of three.
        let data: Vec<f32> = (0..n * 8).map(|i| ((i / 8 % 4) * (i % 8)) as f32).collect();
        for params in combinations() {
            let params = HnswParams { leaf: 64, components: params.components.min(4), ..params };
            let hnsw = build(Vectors::new(&data, 8), Metric::Cosine, &params, 2);
            let found =
                search(&hnsw, Vectors::new(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), HnswSearchParams::new(500));
            assert_eq!(found.iter().filter(|neighbor| !neighbor.is_none()).count(), n.min(K), "{n} {params:?}");
        }
    }
}

#[test]
fn queries_whose_squares_no_number_holds_find_as_many_as_others() {
    const N: usize = 300;
    let data = data();
    let vectors = Vectors::new(&data[..N * DIM], DIM);
    for (metric, params) in
        Metric::ALL.into_iter().flat_map(|metric| combinations().map(move |params| (metric, params)))
    {
        let hnsw = build(vectors, metric, &HnswParams { leaf: 64, ..params }, 1);
        for length in [1e-30, 1e20] {
            let query: Vec<f32> = data[7 * DIM..8 * DIM].iter().map(|x| x * length).collect();
            let params = HnswSearchParams { rerank: N, ..HnswSearchParams::new(N) };
            let found = search(&hnsw, Vectors::new(&query, DIM), params);
            let mut ids: Vec<u32> = found.iter().filter(|found| !found.is_none()).map(|found| found.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), K, "{metric} {length:e} {params:?}: {found:?}");
            if metric == Metric::InnerProduct {
                let product = |id: u32| {
                    data[id as usize * DIM..].iter().zip(&data[7 * DIM..8 * DIM]).map(|(a, b)| a * b).sum::<f32>()
                };
                let mut expected: Vec<u32> = (0..N as u32).collect();
                expected.sort_by(|&a, &b| product(b).total_cmp(&product(a)));
                let hits = ids.iter().filter(|id| expected[..K].contains(id)).count();
                assert!(hits >= K / 2, "{length:e} {params:?}: {hits}");
            }
        }
    }
}

//! What only the inside of the index can see: batches against single insertion, and reachability.
use super::*;
use crate::flat::{Flat, FlatParams, FlatSearchParams};
use crate::random::SplitMix64;
use crate::{Neighbor, Persist, Searcher};

/// Clustered vectors: `n` around `clusters` centres.
fn clustered(n: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    // The sum of three uniform numbers is round enough.
    let mut normal = || (0..3).map(|_| random.unit() as f32 - 0.5).sum::<f32>();
    let centres: Vec<f32> = (0..clusters * dim).map(|_| normal() * 2.0).collect();
    (0..n * dim).map(|i| centres[(i / dim % clusters) * dim + i % dim] + normal()).collect()
}

fn built(vectors: Vectors<'_, f32>, metric: Metric, batches: Batches) -> Hnsw {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let params = HnswParams { m: 8, ef_construction: 60, ..HnswParams::default() };
    pool.install(|| Hnsw::build_in(vectors, metric, &params, batches, &())).unwrap()
}

/// Mean recall at 10 over queries near the vectors.
fn recall(hnsw: &Hnsw, vectors: Vectors<'_, f32>, ef_search: usize) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let flat = Flat::build(vectors, hnsw.metric(), &FlatParams {}, &pool, &()).unwrap();
    let mut exact = flat.searcher(&FlatSearchParams {}).unwrap();
    let mut searcher = hnsw.searcher(&HnswSearchParams::new(ef_search)).unwrap();
    let (mut truth, mut found) = (Vec::<Neighbor>::new(), Vec::<Neighbor>::new());
    let mut random = SplitMix64::new(99);
    let mut hits = 0;
    for i in 0..200 {
        let query: Vec<f32> = vectors.row(i * 7).iter().map(|x| x + random.unit() as f32 - 0.5).collect();
        exact.search(&query, 10, &mut truth);
        searcher.search(&query, 10, &mut found);
        hits += found.iter().filter(|neighbor| truth.contains(neighbor)).count();
    }
    f64::from(u32::try_from(hits).unwrap()) / 2000.0
}

#[test]
fn batches_cost_no_recall_against_single_insertion() {
    let data = clustered(6000, 24, 60, 1);
    let vectors = Vectors::new(&data, 24);
    let single = recall(&built(vectors, Metric::L2, Batches { alone: usize::MAX, ..Batches::GROWING }), vectors, 40);
    let growing = recall(&built(vectors, Metric::L2, Batches::GROWING), vectors, 40);
    assert!(single > 0.9, "single {single}");
    assert!(growing > single - 0.01, "growing {growing}, single {single}");
}

#[test]
fn data_sorted_by_cluster_is_no_harder() {
    let mut rows: Vec<Vec<f32>> = clustered(4000, 16, 40, 2).chunks(16).map(<[f32]>::to_vec).collect();
    let sorted: Vec<f32> =
        (0..40).flat_map(|c| (c..4000).step_by(40)).flat_map(|i| std::mem::take(&mut rows[i])).collect();
    let vectors = Vectors::new(&sorted, 16);
    let recall = recall(&built(vectors, Metric::L2, Batches::GROWING), vectors, 40);
    assert!(recall > 0.9, "{recall}");
}

#[test]
fn every_node_is_reachable_under_every_metric() {
    let mut data = clustered(2500, 8, 20, 3);
    // Copies of one vector, and lengths from tiny to large for inner product.
    for i in 0..400 {
        data.copy_within(0..8, i * 8);
    }
    for (i, x) in data.iter_mut().enumerate() {
        *x *= (i / 8 % 50 + 1) as f32;
    }
    for metric in Metric::ALL {
        let hnsw = built(Vectors::new(&data, 8), metric, Batches::GROWING);
        let links = hnsw.graph.links();
        let mut reached = vec![false; hnsw.len()];
        let mut open = vec![hnsw.graph.entry_point.unwrap()];
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut reached[id as usize], true) {
                open.extend(links.of(id, 0));
            }
        }
        assert!(reached.iter().all(|&reached| reached), "{metric}");
    }
}

#[test]
fn a_file_of_parameters_that_no_build_accepts_is_refused() {
    let data = clustered(50, 4, 5, 4);
    let folder = tempfile::tempdir().unwrap();
    let refused = |spoil: &dyn Fn(&mut HnswParams)| {
        let mut hnsw = built(Vectors::new(&data, 4), Metric::L2, Batches::GROWING);
        spoil(&mut hnsw.params);
        let path = folder.path().join("index");
        hnsw.save(&path).unwrap();
        Hnsw::open(&path).map(drop).unwrap_err().to_string()
    };
    let error = refused(&|params| params.ef_construction = 1 << 59);
    assert!(error.contains("index") && error.contains("`ef_construction` from 1 to 65536"), "{error}");
    assert!(refused(&|params| params.replicas = 0).contains("`replicas` from 1 to 16"));
    assert!(refused(&|params| params.leaf = usize::MAX).contains("`leaf` from 64"));
}

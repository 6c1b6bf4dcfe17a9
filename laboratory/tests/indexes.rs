//! What the experiments rest on: every loop finds the same, and what was done to a graph shows in nothing but its time.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;

use nearlab_harness::worker::{Configure, ParamsError};
use nearlab_index::{BuildError, IdSet, Index, Neighbor, Searcher, flat::Flat};
use nearlab_laboratory::{
    treated::{Order, Treated},
    walk::{Idea, Walk, WalkSearchParams},
};
use nearlab_reports::record::Params;
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::ThreadPool;

const DIM: usize = 20;
const K: usize = 10;

/// Vectors around some centres, in no order.
fn vectors(n: usize) -> Vec<f32> {
    let mut random = Pcg64::seed_from_u64(7);
    let centres: Vec<f32> = (0..30 * DIM).map(|_| random.random_range(-0.4..0.4)).collect();
    (0..n)
        .flat_map(|_| {
            let centre = random.random_range(0..30);
            let noise: Vec<f32> = (0..DIM).map(|_| random.random_range(-0.4..0.4)).collect();
            noise.into_iter().zip(centres[centre * DIM..][..DIM].to_vec()).map(|(noise, centre)| centre + noise)
        })
        .collect()
}

fn pool() -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

fn params<const N: usize>(pairs: [(&str, serde_json::Value); N]) -> Params {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()
}

fn built<I: Configure>(vectors: Vectors<'_, f32>, metric: Metric, params: &Params) -> Result<I, BuildError> {
    I::build(vectors, metric, &I::build_params(params, 1).unwrap(), &pool(), &())
}

fn ids(found: &[Neighbor]) -> Vec<u32> {
    found.iter().map(|neighbor| neighbor.id).collect()
}

/// The share of the exact neighbours of the first rows that an index finds, one by one and in a batch.
fn recall<I: Index>(index: &I, search: &I::SearchParams, vectors: Vectors<'_, f32>) -> f64 {
    let flat: Flat = built(vectors, index.metric(), &Params::new()).unwrap();
    let queries = vectors.rows(0..50);
    let mut exact = vec![Neighbor::NONE; 50 * K];
    flat.searcher(&Flat::search_params(&Params::new()).unwrap()).unwrap().search_batch(queries, K, &mut exact);
    let (mut batch, mut found) = (exact.clone(), Vec::new());
    let mut searcher = index.searcher(search).unwrap();
    let counters = searcher.search_batch(queries, K, &mut batch);
    assert!(counters.distance_computations > 0);
    let mut hits = 0;
    for ((query, exact), batch) in queries.iter().zip(exact.chunks(K)).zip(batch.chunks(K)) {
        searcher.search(query, K, &mut found);
        assert_eq!(found, batch);
        assert!(found.is_sorted());
        hits += ids(exact).iter().filter(|id| ids(&found).contains(id)).count();
    }
    hits as f64 / exact.len() as f64
}

#[test]
fn all_loops_find_the_same_for_the_same_distances() {
    let all = vectors(3000);
    let all = Vectors::new(&all, DIM);
    for metric in [Metric::L2, Metric::Cosine] {
        let walk: Walk = built(all, metric, &params([("m", 8.into())])).unwrap();
        assert_eq!((walk.len(), walk.dim(), walk.metric()), (3000, DIM, metric));
        assert!(walk.digest() != 0 && walk.memory().total() > 0 && walk.build_counters().distance_computations > 0);
        let with = |idea: Idea| WalkSearchParams { ef_search: 40, idea };
        assert!(recall(&walk, &with(Idea::Sorted), all) > 0.5, "4-bit codes order somewhat as the vectors do");
        let everything: IdSet = (0..3000).collect();
        for query in all.rows(0..50) {
            let mut first = Vec::new();
            let counters = walk.searcher(&with(Idea::None)).unwrap().search(query, 40, &mut first);
            assert!(counters.hops >= 40 && first.len() == 40);
            let mut exact = Vec::new();
            walk.searcher(&with(Idea::None)).unwrap().search_among(query, K, &everything, &mut exact);
            assert!(ids(&exact).iter().filter(|id| ids(&first).contains(id)).count() >= K - 1);
            for idea in Idea::ALL {
                let mut found = Vec::new();
                assert_eq!(walk.searcher(&with(idea)).unwrap().search(query, 40, &mut found), counters, "{idea:?}");
                assert_eq!(found, first, "{idea:?}");
            }
        }
    }
}

#[test]
fn a_loop_finds_matches_by_scoring_them() {
    let all = vectors(500);
    let all = Vectors::new(&all, DIM);
    let walk: Walk = built(all, Metric::L2, &params([("m", 8.into())])).unwrap();
    let among: IdSet = [3, 77, 400, 500, 9000].into_iter().collect();
    let mut searcher = walk.searcher(&WalkSearchParams { ef_search: 10, idea: Idea::Sorted }).unwrap();
    let mut found = Vec::new();
    let counters = searcher.search_among(all.row(77), K, &among, &mut found);
    assert_eq!((counters.distance_computations, found.len(), found[0].id), (3, 3, 77));
    let mut batch = vec![Neighbor::NONE; 2 * K];
    searcher.search_batch_among(all.rows(77..79), K, &among, &mut batch);
    assert_eq!((&batch[..3], batch[3].is_none()), (&found[..], true));
}

#[test]
fn what_loops_can_not_walk_is_refused() {
    let all = vectors(50);
    let all = Vectors::new(&all, DIM);
    let refused = built::<Walk>(all, Metric::InnerProduct, &Params::new()).unwrap_err();
    assert_eq!(refused.to_string(), "parameter `metric` must be l2 or cosine, found inner_product");
    let empty: Walk = built(Vectors::new(&[], DIM), Metric::L2, &Params::new()).unwrap();
    let mut found = vec![Neighbor::NONE];
    let search = WalkSearchParams { ef_search: 1, idea: Idea::None };
    empty.searcher(&search).unwrap().search(all.row(0), 3, &mut found);
    assert!(found.is_empty() && empty.is_empty());
    assert!(empty.searcher(&WalkSearchParams { ef_search: 0, ..search }).is_err());
    let text = |found: Result<WalkSearchParams, ParamsError>| found.unwrap_err().to_string();
    assert_eq!(text(Walk::search_params(&params([("ef_search", 4.into())]))), "parameter `idea` is missing");
    let misspelt = params([("ef_search", 4.into()), ("idea", "sort".into())]);
    assert_eq!(
        text(Walk::search_params(&misspelt)),
        "parameter `idea` must be one of none, collected, together, ahead, within, sorted, found \"sort\""
    );
    assert!(Walk::build_params(&params([("codes", "f32".into())]), 1).is_err());
}

#[test]
fn a_treated_graph_names_rows_as_they_were_given() {
    let all = vectors(2000);
    let all = Vectors::new(&all, DIM);
    let search = Treated::search_params(&params([("ef_search", 80.into())])).unwrap();
    let among: IdSet = (0..2000).filter(|id| id % 7 == 0).collect();
    for metric in [Metric::L2, Metric::Cosine] {
        for (order, pages, rounds) in [
            ("given", "2MiB", 0),
            ("shuffled", "4KiB", 0),
            ("grouped", "2MiB", 0),
            ("grouped", "mapped", 3),
            ("given", "4KiB", 10),
        ] {
            let treated: Treated = built(
                all,
                metric,
                &params([
                    ("m", 8.into()),
                    ("codes", "sq8".into()),
                    ("rerank_codes", "f32".into()),
                    ("construction", "bulk".into()),
                    ("order", order.into()),
                    ("pages", pages.into()),
                    ("rounds", rounds.into()),
                ]),
            )
            .unwrap();
            assert_eq!((treated.len(), treated.dim(), treated.metric()), (2000, DIM, metric));
            let recall = recall(&treated, &search, all);
            assert!(recall > 0.97, "{metric} {order} {pages} {rounds}: {recall}");
            let mut found = Vec::new();
            treated.searcher(&search).unwrap().search_among(all.row(70), K, &among, &mut found);
            assert!(found.len() == K && found[0].id == 70 && found.iter().all(|neighbor| neighbor.id % 7 == 0));
        }
    }
}

#[test]
fn rounds_depend_on_the_seed_alone_and_change_the_graph() {
    let all = vectors(600);
    let all = Vectors::new(&all, DIM);
    let digest = |rounds: u32, order: Order| {
        let treated: Treated =
            built(all, Metric::L2, &params([("rounds", rounds.into()), ("order", order.name().into())])).unwrap();
        (treated.digest(), treated.stats()["base_degree_mean"].to_bits(), treated.memory().total())
    };
    assert_eq!(digest(2, Order::Given), digest(2, Order::Given));
    assert_ne!(digest(2, Order::Given).0, digest(0, Order::Given).0);
    assert_ne!(digest(0, Order::Shuffled).0, digest(0, Order::Given).0);
    let unknown = Treated::build_params(&params([("order", "sorted".into())]), 1).unwrap_err();
    assert_eq!(unknown.to_string(), "parameter `order` must be one of given, shuffled, grouped, found \"sorted\"");
}

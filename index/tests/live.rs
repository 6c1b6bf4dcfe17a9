//! HNSW that changes while it is searched: what is found, recall under churn, the same outcome on any threads, files.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, LiveHnsw, RerankCodes, TraversalCodes};
use nearlab_index::{Build, BuildError, Index, Mutable, Neighbor, Persist, Progress, Searcher, Stage};
use nearlab_simd::{Metric, kernels};
use nearlab_storage::Vectors;
use rayon::ThreadPool;

const DIM: usize = 24;
const K: usize = 10;

/// Vectors of Gaussian clusters, one after another.
struct Clusters {
    state: u64,
    centres: Vec<f32>,
}

impl Clusters {
    fn new() -> Self {
        let mut clusters = Self { state: 0x2545_f491_4f6c_dd1d, centres: Vec::new() };
        clusters.centres = (0..40 * DIM).map(|_| clusters.normal() * 0.7).collect();
        clusters
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn normal(&mut self) -> f32 {
        let mut uniform = || ((self.next() >> 40) as f32 + 0.5) / (1 << 24) as f32;
        (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos()
    }

    fn vectors(&mut self, n: usize) -> Vec<f32> {
        let mut data = Vec::with_capacity(n * DIM);
        for _ in 0..n {
            let centre = (self.next() % 40) as usize * DIM;
            data.extend((0..DIM).map(|i| self.centres[centre + i] + self.normal()));
        }
        data
    }
}

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn params(codes: TraversalCodes, rerank_codes: RerankCodes) -> HnswParams {
    HnswParams { m: 12, ef_construction: 80, codes, rerank_codes, ..HnswParams::default() }
}

/// Every kind of codes that can be changed.
fn kinds() -> [HnswParams; 9] {
    [
        params(TraversalCodes::F32, RerankCodes::None),
        params(TraversalCodes::F16, RerankCodes::None),
        params(TraversalCodes::Bf16, RerankCodes::None),
        params(TraversalCodes::Sq8, RerankCodes::F16),
        params(TraversalCodes::Sq4, RerankCodes::Sq8),
        params(TraversalCodes::Rabitq4, RerankCodes::F16),
        // Of about four bits per component, as the number of candidates that are ranked anew by default expects.
        HnswParams { sub_dim: 1, ..params(TraversalCodes::Pq4, RerankCodes::F16) },
        HnswParams { sub_dim: 2, ..params(TraversalCodes::Pq8, RerankCodes::Sq8) },
        HnswParams { components: 24, ..params(TraversalCodes::Sq4, RerankCodes::F32) },
    ]
}

fn live(data: &[f32], metric: Metric, params: &HnswParams) -> LiveHnsw {
    let pool = pool(2);
    Hnsw::build(Vectors::new(data, DIM), metric, params, &pool, &()).unwrap().into_live(&pool).unwrap()
}

/// What should be in the index, by id.
type Model = BTreeMap<u32, Vec<f32>>;

fn insert(live: &LiveHnsw, model: &mut Model, data: &[f32]) -> Vec<u32> {
    let ids = live.insert(Vectors::new(data, DIM), &pool(2)).unwrap();
    for (&id, vector) in ids.iter().zip(data.chunks_exact(DIM)) {
        assert!(model.insert(id, vector.to_vec()).is_none(), "{id} was given twice");
    }
    ids
}

fn found<I: Index>(index: &I, params: &I::SearchParams, query: &[f32], k: usize) -> Vec<Neighbor> {
    let mut found = Vec::new();
    index.searcher(params).unwrap().search(query, k, &mut found);
    found
}

/// The share of the model's ten nearest that are found; nothing else than what the model holds may be.
fn recall(live: &LiveHnsw, model: &Model, queries: &[f32], ef_search: usize) -> f64 {
    let (mut hits, distance) = (0, kernels().distance(live.metric()));
    for query in queries.chunks_exact(DIM) {
        let mut exact: Vec<(f32, u32)> = model.iter().map(|(&id, x)| (distance(query, x), id)).collect();
        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let found = found(live, &HnswSearchParams::new(ef_search), query, K);
        assert!(found.iter().all(|neighbor| model.contains_key(&neighbor.id)), "{found:?}");
        hits += found.iter().filter(|neighbor| exact[..K].iter().any(|&(_, id)| id == neighbor.id)).count();
    }
    hits as f64 / (queries.len() / DIM * K) as f64
}

/// Replaces a tenth of the vectors ten times, and compares recall with that of an index built anew, which is above `floor`.
fn recall_holds_in_churn(
    (metric, floor): (Metric, f64),
    params: &HnswParams,
    vectors: &mut impl FnMut(usize) -> Vec<f32>,
) {
    const ROUNDS: u32 = 10;
    let (data, queries) = (vectors(2000), vectors(100));
    let index = live(&data, metric, params);
    let mut model: Model = (0..).zip(data.chunks_exact(DIM).map(<[f32]>::to_vec)).collect();
    // Sums over the rounds: with deleted vectors, with others in their places, and of an index built anew over the same.
    let (mut deleted, mut replaced, mut anew) = (0.0, 0.0, 0.0);
    for round in 0..ROUNDS {
        let ids: Vec<u32> = model.keys().copied().filter(|id| (id + round) % 10 == 0).collect();
        assert_eq!(index.delete(&ids), ids.len());
        model.retain(|id, _| !ids.contains(id));
        deleted += recall(&index, &model, &queries, 50);
        index.optimize(&pool(2), &()).unwrap();
        insert(&index, &mut model, &vectors(ids.len()));
        replaced += recall(&index, &model, &queries, 50);
        let left: Vec<f32> = model.values().flatten().copied().collect();
        let left_model: Model = (0..).zip(left.chunks_exact(DIM).map(<[f32]>::to_vec)).collect();
        anew += recall(&live(&left, metric, params), &left_model, &queries, 50);
    }
    let [deleted, replaced, anew] = [deleted, replaced, anew].map(|sum| sum / f64::from(ROUNDS));
    assert!(anew > floor, "{params:?}: {anew}");
    assert!(replaced > anew - 0.005, "{params:?}: {replaced}, built anew {anew}");
    assert!(deleted > anew - 0.005, "{params:?}: {deleted} with deleted vectors, built anew {anew}");
    assert_eq!((index.len(), model.len()), (2000, 2000));
    assert_eq!(model.keys().next_back(), Some(&1999), "freed ids are given again");
}

#[test]
fn recall_holds_while_a_tenth_of_the_vectors_is_replaced_ten_times() {
    for params in kinds() {
        let mut clusters = Clusters::new();
        recall_holds_in_churn((Metric::L2, 0.95), &params, &mut |n| clusters.vectors(n));
    }
}

#[test]
fn recall_holds_in_churn_under_inner_product_where_lengths_differ_much() {
    let bulk = |codes, rerank_codes| HnswParams { construction: Construction::Bulk, ..params(codes, rerank_codes) };
    for params in [
        params(TraversalCodes::F32, RerankCodes::None),
        params(TraversalCodes::Rabitq4, RerankCodes::F16),
        bulk(TraversalCodes::F16, RerankCodes::None),
        bulk(TraversalCodes::Sq4, RerankCodes::F16),
    ] {
        let mut clusters = Clusters::new();
        recall_holds_in_churn((Metric::InnerProduct, 0.94), &params, &mut |n| {
            let mut vectors = clusters.vectors(n);
            for vector in vectors.chunks_exact_mut(DIM) {
                let length = (0.5 * clusters.normal()).exp();
                for x in vector {
                    *x *= length;
                }
            }
            vectors
        });
    }
}

#[test]
fn what_is_inserted_is_found_at_once_and_what_is_deleted_no_more() {
    for params in kinds() {
        let mut clusters = Clusters::new();
        let data = clusters.vectors(500);
        let index = live(&data, Metric::L2, &params);
        let mut model: Model = (0..).zip(data.chunks_exact(DIM).map(<[f32]>::to_vec)).collect();
        let new = clusters.vectors(700);
        let ids = insert(&index, &mut model, &new);
        assert_eq!(ids, (500..1200).collect::<Vec<u32>>());
        let search = HnswSearchParams::new(40);
        for (&id, vector) in ids.iter().zip(new.chunks_exact(DIM)) {
            assert_eq!(found(&index, &search, vector, 1)[0].id, id, "{params:?}");
        }
        assert_eq!(index.delete(&ids[..300]), 300);
        assert_eq!(index.delete(&[ids[0], ids[1], 5000]), 0);
        for (&id, vector) in ids[..300].iter().zip(new.chunks_exact(DIM)) {
            let found = found(&index, &search, vector, 5);
            assert!(found.len() == 5 && found.iter().all(|neighbor| neighbor.id != id));
        }
        assert_eq!((index.len(), index.stats()["deleted"]), (900, 300.0));
    }
}

#[test]
fn an_exhaustive_search_finds_exactly_what_is_left() {
    for metric in Metric::ALL {
        let mut clusters = Clusters::new();
        let data = clusters.vectors(400);
        let index = live(&data, metric, &params(TraversalCodes::F32, RerankCodes::None));
        let mut model: Model = (0..).zip(data.chunks_exact(DIM).map(<[f32]>::to_vec)).collect();
        for round in 0..4 {
            let ids: Vec<u32> = model.keys().copied().filter(|id| id % 3 == round % 3).collect();
            index.delete(&ids);
            model.retain(|id, _| !ids.contains(id));
            insert(&index, &mut model, &clusters.vectors(60));
            index.optimize(&pool(2), &()).unwrap();
            let all = found(&index, &HnswSearchParams::new(1000), &clusters.vectors(1), 1000);
            let mut ids: Vec<u32> = all.iter().map(|neighbor| neighbor.id).collect();
            ids.sort_unstable();
            assert_eq!(ids, model.keys().copied().collect::<Vec<_>>(), "{metric}, round {round}");
            assert!(all.is_sorted());
        }
    }
}

#[test]
fn an_index_is_emptied_and_filled_again() {
    let flat = params(TraversalCodes::F32, RerankCodes::None);
    let index = live(&[], Metric::L2, &flat);
    let mut model = Model::new();
    let mut clusters = Clusters::new();
    assert!(index.is_empty() && found(&index, &HnswSearchParams::new(10), &[0.0; DIM], 3).is_empty());
    for round in 0..3 {
        let data = clusters.vectors(150);
        let ids = insert(&index, &mut model, &data);
        assert_eq!((ids[0], ids[149], index.len()), (0, 149, 150));
        assert_eq!(found(&index, &HnswSearchParams::new(30), &data[..DIM], 1)[0].distance, 0.0, "round {round}");
        assert_eq!(index.delete(&ids), 150);
        assert!(index.is_empty() && found(&index, &HnswSearchParams::new(30), &data[..DIM], 1).is_empty());
        index.optimize(&pool(1), &()).unwrap();
        assert!(found(&index, &HnswSearchParams::new(30), &data[..DIM], 1).is_empty());
        model.clear();
    }
}

/// A fixed sequence of changes.
fn change(index: &LiveHnsw, threads: usize) {
    let pool = pool(threads);
    let mut clusters = Clusters::new();
    for round in 0..4_u32 {
        let ids = index.insert(Vectors::new(&clusters.vectors(300), DIM), &pool).unwrap();
        index.delete(&ids.iter().copied().filter(|id| id % 7 == round).collect::<Vec<_>>());
        if round % 2 == 1 {
            index.optimize(&pool, &()).unwrap();
        }
    }
}

#[test]
fn the_same_changes_give_the_same_graph_on_any_threads_searched_or_not() {
    for params in kinds() {
        let data = Clusters::new().vectors(1500);
        let outcome = |threads: usize, searching: bool| {
            let index = live(&data, Metric::L2, &params);
            let (done, searches) = (AtomicBool::new(false), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                if searching {
                    scope.spawn(|| {
                        let mut searcher = index.searcher(&HnswSearchParams::new(30)).unwrap();
                        let mut out = vec![Neighbor::NONE; 40 * K];
                        while !done.load(Ordering::Relaxed) {
                            searcher.search_batch(Vectors::new(&data[..40 * DIM], DIM), K, &mut out);
                            for found in out.chunks_exact(K) {
                                assert!(found.is_sorted() && found[K - 1].id < 2700, "{found:?}");
                            }
                            searches.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                change(&index, threads);
                done.store(true, Ordering::Relaxed);
            });
            assert!(!searching || searches.load(Ordering::Relaxed) > 0);
            (index.digest(), index.build_counters(), index.len())
        };
        let one = outcome(1, false);
        assert_eq!(one, outcome(2, true), "{params:?}");
        assert_eq!(one, outcome(3, false), "{params:?}");
    }
}

#[test]
fn a_frozen_index_keeps_its_ids_in_its_file_and_thaws_again() {
    for params in kinds() {
        let data = Clusters::new().vectors(1500);
        let index = live(&data, Metric::Cosine, &params);
        change(&index, 2);
        let gone: Vec<u32> = (0..600).collect();
        index.delete(&gone);
        let frozen = index.freeze(&pool(2), &()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        frozen.save(&path).unwrap();
        let opened = Hnsw::open(&path).unwrap();
        assert_eq!((opened.len(), opened.digest()), (frozen.len(), frozen.digest()));
        let search = HnswSearchParams::new(50);
        for query in data.chunks_exact(DIM).take(30) {
            let found_again = found(&opened, &search, query, K);
            assert_eq!(found(&frozen, &search, query, K), found_again, "{params:?}");
            assert!(found_again.len() == K && found_again.iter().all(|neighbor| neighbor.id >= 600));
        }
        let len = opened.len();
        let thawed = opened.into_live(&pool(2)).unwrap();
        let ids = thawed.insert(Vectors::new(&data[..3 * DIM], DIM), &pool(2)).unwrap();
        assert!(ids == [0, 1, 2] && thawed.len() == len + 3, "{ids:?}");
        assert_eq!(found(&thawed, &search, &data[..DIM], 1)[0].id, 0);
    }
}

#[test]
fn what_can_not_be_inserted_changes_nothing() {
    let data = Clusters::new().vectors(300);
    let index = live(&data, Metric::L2, &params(TraversalCodes::Sq8, RerankCodes::None));
    let before = (index.digest(), index.len(), index.memory());
    let outcome = index.insert(Vectors::new(&[0.0; 25], 25), &pool(1));
    assert_eq!(outcome, Err(BuildError::Dimension { expected: DIM, found: 25 }));
    let mut wrong = data[..2 * DIM].to_vec();
    wrong[DIM + 3] = f32::NAN;
    let error = index.insert(Vectors::new(&wrong, DIM), &pool(1)).unwrap_err();
    assert_eq!(error.to_string(), "vectors must be finite: row 1, column 3 is NaN");
    assert_eq!((index.digest(), index.len(), index.memory()), before);
    assert_eq!(index.insert(Vectors::new(&[], DIM), &pool(1)), Ok(vec![]));
}

#[test]
fn codes_too_coarse_to_choose_neighbours_by_and_untrained_ones_are_refused() {
    let refused = |data: &[f32], params: &HnswParams| {
        let built = Hnsw::build(Vectors::new(data, DIM), Metric::L2, params, &pool(1), &()).unwrap();
        built.into_live(&pool(1)).unwrap_err().to_string()
    };
    let data = Clusters::new().vectors(30);
    assert_eq!(
        refused(&data, &params(TraversalCodes::Sq4, RerankCodes::None)),
        "parameter `codes` must be f32, f16, bf16 or sq8, or have rerank codes, to be inserted into, found sq4"
    );
    assert_eq!(
        refused(&[], &params(TraversalCodes::Sq8, RerankCodes::None)),
        "parameter `codes` must be f32 in an index that begins empty, found sq8"
    );
}

#[test]
fn an_optimise_that_is_cancelled_can_be_done_again() {
    struct Impatient;
    impl Progress for Impatient {
        fn report(&self, _: Stage, _: u64, _: u64) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let data = Clusters::new().vectors(300);
    let index = live(&data, Metric::L2, &params(TraversalCodes::F16, RerankCodes::None));
    index.delete(&[1, 2, 3]);
    assert_eq!(index.optimize(&pool(1), &Impatient), Err(BuildError::Cancelled));
    assert_eq!((index.len(), index.stats()["deleted"]), (297, 3.0));
    index.optimize(&pool(1), &()).unwrap();
    assert_eq!((index.len(), index.stats()["deleted"]), (297, 0.0));
    assert_eq!((index.params().m, index.dim(), index.metric()), (12, DIM, Metric::L2));
    let memory = index.memory();
    assert!(["codes", "graph", "selection_codes"].iter().all(|name| memory.0[name] > 0));
}

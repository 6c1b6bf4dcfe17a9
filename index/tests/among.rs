//! Searching among the ids of a set, checked over all indexes by one suite.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, LiveHnsw, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, Counters, IdSet, Index, Mutable, Neighbor, Searcher};
use nearlab_simd::{Metric, kernels, normalize};
use nearlab_storage::Vectors;
use rayon::ThreadPool;

const DIM: usize = 12;

/// An index under test, with parameters small enough for small data.
trait Tried: Index + Sized {
    fn built(data: &[f32], metric: Metric) -> Self;
    /// Parameters with which it finds the nearest of all vectors, and parameters with which it finds most of them.
    fn searches() -> [Self::SearchParams; 2];
}

impl Tried for Flat {
    fn built(data: &[f32], metric: Metric) -> Self {
        Self::build(Vectors::new(data, DIM), metric, &FlatParams {}, &pool(), &()).unwrap()
    }
    fn searches() -> [FlatSearchParams; 2] {
        [FlatSearchParams {}; 2]
    }
}

impl Tried for Hnsw {
    fn built(data: &[f32], metric: Metric) -> Self {
        let params = HnswParams { m: 6, ef_construction: 40, seed: 3, ..HnswParams::default() };
        Self::build(Vectors::new(data, DIM), metric, &params, &pool(), &()).unwrap()
    }
    fn searches() -> [HnswSearchParams; 2] {
        [HnswSearchParams::new(1_000_000), HnswSearchParams::new(12)]
    }
}

impl Tried for LiveHnsw {
    fn built(data: &[f32], metric: Metric) -> Self {
        Hnsw::built(data, metric).into_live(&pool()).unwrap()
    }
    fn searches() -> [HnswSearchParams; 2] {
        Hnsw::searches()
    }
}

impl Tried for Ivf {
    fn built(data: &[f32], metric: Metric) -> Self {
        let params = IvfParams { nlist: 16, sample_per_list: 30, iterations: 5, seed: 3 };
        Self::build(Vectors::new(data, DIM), metric, &params, &pool(), &()).unwrap()
    }
    fn searches() -> [IvfSearchParams; 2] {
        [IvfSearchParams { nprobe: 1_000_000 }, IvfSearchParams { nprobe: 2 }]
    }
}

/// Runs each test of the suite over every index.
macro_rules! over_every_index {
    ($($test:ident),* $(,)?) => {
        mod flat { $(#[test] fn $test() { super::$test::<super::Flat>(); })* }
        mod hnsw { $(#[test] fn $test() { super::$test::<super::Hnsw>(); })* }
        mod live { $(#[test] fn $test() { super::$test::<super::LiveHnsw>(); })* }
        mod ivf { $(#[test] fn $test() { super::$test::<super::Ivf>(); })* }
    };
}

over_every_index!(
    a_thorough_search_equals_comparing_with_every_match,
    whatever_is_found_matches_and_there_is_enough_of_it,
    a_batch_equals_single_searches,
    more_neighbors_than_matches_give_all_and_none_give_none,
    a_set_of_everything_finds_what_a_search_without_one_does,
    ids_that_the_index_does_not_hold_match_nothing,
    every_copy_that_matches_is_found,
    a_query_of_nan_neither_panics_nor_hangs,
    a_query_of_another_dimension_panics,
);

fn pool() -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

/// Numbers in [0, 1) that depend on the seed alone.
fn uniform(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

/// `n x dim` vectors, Gaussian around `clusters` centres.
fn clustered(n: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut uniform = uniform(seed);
    let mut normal = || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos();
    let centres: Vec<f32> = (0..clusters * dim).map(|_| normal()).collect();
    (0..n * dim).map(|i| centres[(i / dim * 31 % clusters) * dim + i % dim] + normal()).collect()
}

/// Which vectors match, by how near they are to the query.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Random,
    Nearest,
    Farthest,
}

const KINDS: [Kind; 3] = [Kind::Random, Kind::Nearest, Kind::Farthest];

/// `matches` ids: of random vectors, or of those at one end of the order by distance from the query.
fn chosen(kind: Kind, data: &[f32], query: &[f32], matches: usize) -> IdSet {
    chosen_by(Metric::L2, kind, (data, query), matches)
}

fn chosen_by(metric: Metric, kind: Kind, (data, query): (&[f32], &[f32]), matches: usize) -> IdSet {
    let distance = kernels().distance(metric);
    let mut uniform = uniform(matches as u64 + 7);
    let mut key = |row: &[f32]| match kind {
        Kind::Random => uniform(),
        Kind::Nearest => distance(query, row),
        Kind::Farthest => -distance(query, row),
    };
    let mut order: Vec<(f32, u32)> = data.chunks_exact(query.len()).map(&mut key).zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    order.into_iter().take(matches).map(|(_, id)| id).collect()
}

/// The nearest matches, by comparing with every one.
fn truth(data: &[f32], metric: Metric, (query, k): (&[f32], usize), among: &IdSet) -> Vec<Neighbor> {
    let prepare = |vector: &[f32]| {
        let mut vector = vector.to_vec();
        if metric == Metric::Cosine {
            normalize(&mut vector);
        }
        vector
    };
    let (prepared, distance) = (prepare(query), kernels().distance(metric));
    let rows = (0..).zip(data.chunks_exact(query.len())).filter(|&(id, _)| among.contains(id));
    let mut all: Vec<_> = rows.map(|(id, row)| Neighbor { id, distance: distance(&prepared, &prepare(row)) }).collect();
    all.sort_unstable();
    all.truncate(k);
    all
}

fn found<I: Index>(index: &I, params: &I::SearchParams, (query, k): (&[f32], usize), among: &IdSet) -> Vec<Neighbor> {
    let mut found = vec![Neighbor::NONE; 3];
    index.searcher(params).unwrap().search_among(query, k, among, &mut found);
    found
}

fn a_thorough_search_equals_comparing_with_every_match<I: Tried>() {
    let data = clustered(700, DIM, 9, 1);
    for metric in Metric::ALL {
        let index = I::built(&data, metric);
        for query in clustered(700, DIM, 9, 2).chunks_exact(DIM).take(5) {
            for (kind, matches) in KINDS.into_iter().flat_map(|kind| [1, 7, 70, 350, 690].map(|m| (kind, m))) {
                let among = chosen(kind, &data, query, matches);
                let expected = truth(&data, metric, (query, 10), &among);
                let found = found(&index, &I::searches()[0], (query, 10), &among);
                assert_eq!(found, expected, "{metric} {kind:?} {matches}");
            }
        }
    }
}

fn whatever_is_found_matches_and_there_is_enough_of_it<I: Tried>() {
    let data = clustered(1500, DIM, 9, 3);
    let index = I::built(&data, Metric::L2);
    for query in clustered(1500, DIM, 9, 4).chunks_exact(DIM).take(20) {
        for (kind, matches) in KINDS.into_iter().flat_map(|kind| [3, 60, 300, 1400].map(|m| (kind, m))) {
            let among = chosen(kind, &data, query, matches);
            let found = found(&index, &I::searches()[1], (query, 10), &among);
            assert_eq!(found.len(), matches.min(10), "{kind:?} {matches}");
            assert!(found.is_sorted() && found.iter().all(|neighbor| among.contains(neighbor.id)));
            // The same distances as anywhere.
            let distances = truth(&data, Metric::L2, (query, matches), &among);
            assert!(found.iter().all(|neighbor| distances.contains(neighbor)), "{kind:?} {matches}");
        }
    }
}

fn a_batch_equals_single_searches<I: Tried>() {
    let data = clustered(700, DIM, 9, 5);
    let (index, queries) = (I::built(&data, Metric::Cosine), clustered(30, DIM, 9, 6));
    let among = chosen(Kind::Random, &data, &queries[..DIM], 80);
    let mut searcher = index.searcher(&I::searches()[1]).unwrap();
    for k in [1, 10, 100] {
        let mut batch = vec![Neighbor::NONE; 30 * k];
        let counters = searcher.search_batch_among(Vectors::new(&queries, DIM), k, &among, &mut batch);
        let (mut singles, mut found) = (Counters::default(), Vec::new());
        for (query, row) in queries.chunks_exact(DIM).zip(batch.chunks_exact(k)) {
            singles += searcher.search_among(query, k, &among, &mut found);
            assert_eq!(found, row[..k.min(80)]);
            assert!(row[k.min(80)..].iter().all(|neighbor| neighbor.is_none()));
        }
        assert_eq!(counters, singles);
    }
}

fn more_neighbors_than_matches_give_all_and_none_give_none<I: Tried>() {
    let data = clustered(300, DIM, 3, 7);
    let index = I::built(&data, Metric::L2);
    let query = &data[..DIM];
    for params in I::searches() {
        for matches in [1, 40, 299] {
            let among = chosen(Kind::Farthest, &data, query, matches);
            let expected = truth(&data, Metric::L2, (query, 1000), &among);
            assert_eq!(found(&index, &params, (query, 1000), &among), expected);
            assert_eq!(found(&index, &params, (query, 0), &among), []);
        }
        assert_eq!(found(&index, &params, (query, 10), &IdSet::new()), []);
        assert_eq!(found(&I::built(&[], Metric::L2), &params, (query, 10), &[3].into_iter().collect()), []);
    }
}

fn a_set_of_everything_finds_what_a_search_without_one_does<I: Tried>() {
    let data = clustered(700, DIM, 9, 8);
    let index = I::built(&data, Metric::L2);
    let among: IdSet = (0..1000).collect();
    for params in I::searches() {
        let (mut searcher, mut all) = (index.searcher(&params).unwrap(), Vec::new());
        for query in clustered(20, DIM, 9, 9).chunks_exact(DIM) {
            let counters = searcher.search(query, 10, &mut all);
            let mut among_all = Vec::new();
            assert_eq!(searcher.search_among(query, 10, &among, &mut among_all), counters);
            assert_eq!(among_all, all);
        }
    }
}

fn ids_that_the_index_does_not_hold_match_nothing<I: Tried>() {
    let data = clustered(200, DIM, 3, 10);
    let index = I::built(&data, Metric::L2);
    let beyond: IdSet = (200..5000).chain([i32::MAX as u32]).collect();
    let mut some = beyond.clone();
    some.extend([5, 199]);
    for params in I::searches() {
        assert_eq!(found(&index, &params, (&data[..DIM], 10), &beyond), []);
        let mut ids: Vec<u32> =
            found(&index, &params, (&data[..DIM], 10), &some).iter().map(|found| found.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [5, 199]);
    }
}

fn every_copy_that_matches_is_found<I: Tried>() {
    let data = clustered(1, DIM, 1, 11).repeat(400);
    let index = I::built(&data, Metric::L2);
    let among: IdSet = (0..400).filter(|id| id % 3 == 1).collect();
    for params in I::searches() {
        let found = found(&index, &params, (&data[..DIM], 200), &among);
        assert!(found.iter().map(|found| found.id).eq(among.iter()));
    }
}

fn a_query_of_nan_neither_panics_nor_hangs<I: Tried>() {
    let data = clustered(2000, DIM, 2, 12);
    let index = I::built(&data, Metric::L2);
    for matches in [5, 100, 1900] {
        let among = chosen(Kind::Random, &data, &data[..DIM], matches);
        assert!(found(&index, &I::searches()[1], (&[f32::NAN; DIM], 10), &among).len() <= 10);
    }
}

fn a_query_of_another_dimension_panics<I: Tried>() {
    let index = I::built(&clustered(10, DIM, 1, 13), Metric::L2);
    let among: IdSet = (0..3).collect();
    let search = || found(&index, &I::searches()[0], (&[0.0; DIM + 1], 1), &among);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(search));
    let message = outcome.err().and_then(|payload| payload.downcast::<String>().ok()).unwrap();
    assert_eq!(*message, "the query has 13 components, the index 12");
}

#[test]
fn deleted_vectors_match_nothing_though_their_ids_are_in_the_set() {
    let mut data = clustered(1200, DIM, 9, 14);
    let index = LiveHnsw::built(&data, Metric::L2);
    let mut alive: IdSet = (0..1200).collect();
    let expect = |data: &[f32], alive: &IdSet| {
        for query in data.chunks_exact(DIM).step_by(60) {
            for (kind, matches) in KINDS.into_iter().flat_map(|kind| [20, 300, 1100].map(|m| (kind, m))) {
                let among = chosen(kind, data, query, matches);
                let left: IdSet = among.iter().filter(|&id| alive.contains(id)).collect();
                let expected = truth(data, Metric::L2, (query, 10), &left);
                assert_eq!(
                    found(&index, &LiveHnsw::searches()[0], (query, 10), &among),
                    expected,
                    "{kind:?} {matches}"
                );
                let found = found(&index, &LiveHnsw::searches()[1], (query, 10), &among);
                assert!(found.len() == expected.len() && found.iter().all(|found| left.contains(found.id)));
            }
        }
    };
    let gone: Vec<u32> = (0..1200).filter(|id| id % 5 < 2).collect();
    assert_eq!(index.delete(&gone), gone.len());
    for &id in &gone {
        alive.remove(id);
    }
    expect(&data, &alive);
    index.optimize(&pool(), &()).unwrap();
    expect(&data, &alive);
    // Their ids, given to other vectors, match again.
    let new = clustered(100, DIM, 9, 15);
    let ids = index.insert(Vectors::new(&new, DIM), &pool()).unwrap();
    for (&id, vector) in ids.iter().zip(new.chunks_exact(DIM)) {
        data[id as usize * DIM..][..DIM].copy_from_slice(vector);
    }
    alive.extend(ids);
    expect(&data, &alive);
}

/// Share of the `truths` that were found.
fn recall(truths: &[Vec<Neighbor>], found: &[Vec<Neighbor>]) -> f64 {
    let hits = |(truth, found): (&Vec<Neighbor>, &Vec<Neighbor>)| {
        truth.iter().filter(|expected| found.iter().any(|found| found.id == expected.id)).count()
    };
    let expected: usize = truths.iter().map(Vec::len).sum();
    truths.iter().zip(found).map(hits).sum::<usize>() as f64 / expected as f64
}

/// Checks recall, and how much is compared, of searches among random, near and far vectors, at every selectivity. A match may be scored
/// twice where there are two forms of codes; walks that come to nothing cost three quarters of a scan at most.
fn holds_recall_and_cost<I: Index>(name: &str, index: &I, (all, params): (&[f32], &I::SearchParams), scans: f64) {
    let (data, queries) = all.split_at(N * WIDE);
    for (kind, share) in KINDS.into_iter().flat_map(|kind| [0.5, 0.2, 0.1, 0.05, 0.01, 0.001].map(|s| (kind, s))) {
        let matches = (N as f64 * share) as usize;
        let (mut truths, mut answers) = (Vec::new(), Vec::new());
        for query in queries.chunks_exact(WIDE) {
            let among = chosen_by(index.metric(), kind, (data, query), matches);
            truths.push(truth(data, index.metric(), (query, 10), &among));
            let mut found = Vec::new();
            let counters = index.searcher(params).unwrap().search_among(query, 10, &among, &mut found);
            answers.push(found);
            let most = (scans + 0.75) * matches as f64 + 600.0;
            let compared = counters.distance_computations as f64;
            assert!(compared <= most, "{name} {kind:?} {share}: {compared} compared, {most} at most");
        }
        let recall = recall(&truths, &answers);
        assert!(recall >= 0.95, "{name} {kind:?} {share}: {recall}");
    }
}

const N: usize = 6000;
const WIDE: usize = 96;

/// Graphs over codes of each kind, and how often one scores a match at most.
fn graphs_hold_recall_and_cost(metric: Metric, all: &[f32]) {
    let base = Vectors::new(&all[..N * WIDE], WIDE);
    let codes = [
        (TraversalCodes::F32, RerankCodes::None, 1.0),
        (TraversalCodes::Sq4, RerankCodes::F32, 2.0),
        (TraversalCodes::Rabitq4, RerankCodes::F32, 2.0),
    ];
    for (codes, rerank_codes, scans) in codes {
        let construction = Construction::Bulk;
        let params = HnswParams {
            m: 12,
            ef_construction: 60,
            codes,
            rerank_codes,
            construction,
            leaf: 500,
            ..HnswParams::default()
        };
        let hnsw = Hnsw::build(base, metric, &params, &pool(), &()).unwrap();
        let name = format!("{metric} {}", codes.name());
        holds_recall_and_cost(&name, &hnsw, (all, &HnswSearchParams::new(60)), scans);
    }
}

#[test]
fn recall_holds_and_little_more_than_the_matches_is_compared_at_every_selectivity() {
    let all = clustered(N + 12, WIDE, 30, 16);
    let ivf = IvfParams { nlist: 60, ..IvfParams::default() };
    let ivf = Ivf::build(Vectors::new(&all[..N * WIDE], WIDE), Metric::L2, &ivf, &pool(), &()).unwrap();
    holds_recall_and_cost("ivf", &ivf, (&all, &IvfSearchParams { nprobe: 15 }), 1.0);
    graphs_hold_recall_and_cost(Metric::L2, &all);
}

#[test]
fn recall_holds_at_every_selectivity_under_inner_product_where_lengths_differ() {
    let mut all = clustered(N + 12, WIDE, 30, 17);
    let mut uniform = uniform(18);
    for vector in all.chunks_exact_mut(WIDE) {
        let length = (uniform() - 0.5).exp2();
        for x in vector {
            *x *= length * length;
        }
    }
    graphs_hold_recall_and_cost(Metric::InnerProduct, &all);
}

#[test]
fn few_matches_are_scored_and_nothing_else() {
    let data = clustered(3000, DIM, 9, 18);
    let (flat, hnsw, ivf) =
        (Flat::built(&data, Metric::L2), Hnsw::built(&data, Metric::L2), Ivf::built(&data, Metric::L2));
    let mut flat = flat.searcher(&FlatSearchParams {}).unwrap();
    let mut hnsw = hnsw.searcher(&HnswSearchParams::new(80)).unwrap();
    let mut ivf = ivf.searcher(&IvfSearchParams { nprobe: 2 }).unwrap();
    for (query, matches) in data.chunks_exact(DIM).step_by(300).zip([1, 5, 10, 20, 40, 60, 80]) {
        let (among, mut out) = (chosen(Kind::Random, &data, query, matches), Vec::new());
        let counters = [
            flat.search_among(query, 10, &among, &mut out),
            hnsw.search_among(query, 10, &among, &mut out),
            ivf.search_among(query, 10, &among, &mut out),
        ];
        assert_eq!(counters.map(|counters| counters.distance_computations), [matches as u64; 3]);
    }
}

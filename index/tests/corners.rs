//! HNSW where it is hard: changes that come together, batches that do not know each other, deletions around a query, and data of
//! which a part or the unit is extreme.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::sync::mpsc;
use std::time::Duration;

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, LiveHnsw, RerankCodes, TraversalCodes};
use nearlab_index::{Build, BuildError, Counters, IdSet, Index, Mutable, Neighbor, Persist, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;

const K: usize = 10;

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Normal numbers.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 40) as f32 + 0.5) / (1 << 24) as f32
    }

    fn next(&mut self) -> f32 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f32::consts::TAU * self.uniform()).cos()
    }

    /// Vectors of `dim` around one centre.
    fn around(&mut self, centre: &[f32], n: usize, spread: f32) -> Vec<f32> {
        (0..n * centre.len()).map(|i| centre[i % centre.len()] + spread * self.next()).collect()
    }
}

/// Vectors in clusters, one of each after another: `n` of `dim`, whose distance to their centre is `spread` times that between centres.
fn clustered((n, dim): (usize, usize), clusters: usize, spread: f32) -> Vec<f32> {
    let mut normal = Normal(0x2545_f491_4f6c_dd1d);
    let centres: Vec<f32> = (0..clusters * dim).map(|_| normal.next()).collect();
    (0..n * dim).map(|i| centres[(i / dim % clusters) * dim + i % dim] + spread * normal.next()).collect()
}

fn bulk(codes: TraversalCodes, rerank_codes: RerankCodes) -> HnswParams {
    HnswParams { codes, rerank_codes, construction: Construction::Bulk, leaf: 300, ..HnswParams::default() }
}

fn build(base: Vectors<'_, f32>, metric: Metric, params: &HnswParams) -> Hnsw {
    Hnsw::build(base, metric, params, &pool(2), &()).unwrap()
}

fn live(data: &[f32], dim: usize) -> LiveHnsw {
    let params = bulk(TraversalCodes::F32, RerankCodes::None);
    build(Vectors::new(data, dim), Metric::L2, &params).into_live(&pool(2)).unwrap()
}

fn found<I: Index>(index: &I, params: &I::SearchParams, query: &[f32], k: usize) -> Vec<Neighbor> {
    let mut found = Vec::new();
    index.searcher(params).unwrap().search(query, k, &mut found);
    found
}

/// The share of the ten nearest that are found.
fn recall(hnsw: &Hnsw, base: Vectors<'_, f32>, queries: Vectors<'_, f32>) -> f64 {
    let flat = Flat::build(base, hnsw.metric(), &FlatParams {}, &pool(2), &()).unwrap();
    let params = HnswSearchParams { rerank: 60, ..HnswSearchParams::new(120) };
    let mut hits = 0;
    for query in queries {
        let truth = found(&flat, &FlatSearchParams {}, query, K);
        let found = found(hnsw, &params, query, K);
        hits += truth.iter().filter(|near| found.iter().any(|found| found.id == near.id)).count();
    }
    hits as f64 / (queries.len() * K) as f64
}

#[test]
fn changes_on_one_pool_wait_for_each_other_and_not_for_themselves() {
    const EACH: usize = 600;
    let (done, outcome) = mpsc::channel();
    // Not joined: where it hangs, the test fails all the same.
    std::thread::spawn(move || {
        let data = clustered((1200 + 2 * EACH, 8), 20, 0.5);
        let (begin, rest) = data.split_at(1200 * 8);
        let (live, pool) = (live(begin, 8), pool(2));
        std::thread::scope(|scope| {
            for rows in rest.chunks(EACH * 8) {
                let (live, pool) = (&live, &pool);
                scope.spawn(move || {
                    for rows in rows.chunks(20 * 8) {
                        live.insert(Vectors::new(rows, 8), pool).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                for id in 0..20 {
                    assert_eq!(live.delete(&[id]), 1);
                    live.optimize(&pool, &()).unwrap();
                }
            });
        });
        done.send(live.len()).unwrap();
    });
    assert_eq!(outcome.recv_timeout(Duration::from_secs(100)), Ok(1200 + 2 * EACH - 20));
}

#[test]
fn a_batch_of_a_new_cluster_far_away_is_found_at_once() {
    const DIM: usize = 24;
    let live = live(&clustered((6600, DIM), 40, 1.0), DIM);
    let new = Normal(77).around(&[100.0; DIM], 128, 1.0);
    let ids = live.insert(Vectors::new(&new, DIM), &pool(2)).unwrap();
    for ef_search in [50, 200] {
        let params = HnswSearchParams::new(ef_search);
        let is_found = |(id, vector): &(&u32, &[f32])| found(&live, &params, vector, 1)[0].id == **id;
        let count = ids.iter().zip(new.chunks_exact(DIM)).filter(is_found).count();
        assert_eq!(count, 128, "ef_search {ef_search}");
    }
}

#[test]
fn where_all_that_is_near_was_deleted_what_is_left_is_found() {
    const DIM: usize = 16;
    let mut data = clustered((3000, DIM), 20, 0.6);
    let centre = [2.0; DIM];
    data.extend(Normal(5).around(&centre, 300, 0.1));
    let live = live(&data, DIM);
    let params = HnswSearchParams::new(50);
    assert_eq!(live.delete(&(3000..3300).collect::<Vec<u32>>()), 300);
    let flat = Flat::build(Vectors::new(&data[..3000 * DIM], DIM), Metric::L2, &FlatParams {}, &pool(1), &()).unwrap();
    let near = |query: &[f32]| found(&flat, &FlatSearchParams {}, query, K);
    for params in [params, HnswSearchParams { patience: 3, ..params }] {
        let found = found(&live, &params, &centre, K);
        let hits = near(&centre).iter().filter(|near| found.contains(near)).count();
        assert!(found.len() == K && found.is_sorted() && hits >= 9, "{hits} of {found:?}");
    }
    // In a batch, beside queries of which nothing near was deleted.
    let queries: Vec<f32> =
        (0..12).flat_map(|i| if i % 3 == 0 { &centre[..] } else { &data[i * DIM..][..DIM] }).copied().collect();
    let queries = Vectors::new(&queries, DIM);
    let (mut batch, mut searcher) = (vec![Neighbor::NONE; 12 * K], live.searcher(&params).unwrap());
    let together = searcher.search_batch(queries, K, &mut batch);
    let mut alone = Vec::new();
    let counters = queries.iter().zip(batch.chunks_exact(K)).map(|(query, batch)| {
        let counters = searcher.search(query, K, &mut alone);
        assert_eq!(alone, batch);
        counters
    });
    assert_eq!(counters.sum::<Counters>(), together);
    // All that is left, however little.
    assert_eq!(live.delete(&(3..3000).collect::<Vec<u32>>()), 2997);
    assert_eq!(found(&live, &HnswSearchParams::new(1), &centre, K).len(), 3);
    live.optimize(&pool(2), &()).unwrap();
    assert_eq!(found(&live, &params, &centre, K).len(), 3);
}

#[test]
fn codes_are_learnt_from_all_of_the_vectors_not_from_the_first() {
    const DIM: usize = 400;
    let mut data = clustered((2050, DIM), 15, 0.5);
    data[..1400 * DIM].fill(0.0);
    let (base, queries) = data.split_at(2000 * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    for (codes, rerank_codes) in [(TraversalCodes::Sq8, RerankCodes::None), (TraversalCodes::Sq4, RerankCodes::Sq8)] {
        let recall = recall(&build(base, Metric::L2, &bulk(codes, rerank_codes)), base, queries);
        assert!(recall > 0.9, "{}: {recall}", codes.name());
    }
}

#[test]
fn principal_components_are_found_whatever_the_unit() {
    const DIM: usize = 40;
    let data: Vec<f32> = clustered((1550, DIM), 20, 0.5).iter().map(|x| x * 1e8).collect();
    let (base, queries) = data.split_at(1500 * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let params = HnswParams { components: 30, ..bulk(TraversalCodes::Sq4, RerankCodes::F32) };
    let recall = recall(&build(base, Metric::L2, &params), base, queries);
    assert!(recall > 0.9, "{recall}");
}

#[test]
fn zeros_among_unit_vectors_do_not_spoil_a_graph_built_in_bulk() {
    const DIM: usize = 96;
    let mut data = clustered((6100, DIM), 150, 1.5);
    (0..6000).step_by(5).for_each(|row| data[row * DIM..][..DIM].fill(0.0));
    let (base, queries) = data.split_at(6000 * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let recall = recall(&build(base, Metric::Cosine, &bulk(TraversalCodes::F32, RerankCodes::None)), base, queries);
    assert!(recall > 0.97, "{recall}");
}

#[test]
fn more_neighbors_than_can_be_counted_are_all_there_are() {
    const DIM: usize = 12;
    let data = clustered((300, DIM), 5, 0.5);
    let base = Vectors::new(&data, DIM);
    let some: IdSet = (0..300).step_by(3).collect();
    for (codes, rerank_codes) in [
        (TraversalCodes::F32, RerankCodes::None),
        (TraversalCodes::Sq4, RerankCodes::Sq8),
        (TraversalCodes::Rabitq4, RerankCodes::F32),
    ] {
        let hnsw = build(base, Metric::L2, &bulk(codes, rerank_codes));
        let mut searcher = hnsw.searcher(&HnswSearchParams::new(20)).unwrap();
        let mut found = Vec::new();
        searcher.search(base.row(7), usize::MAX, &mut found);
        assert!(found.len() == 300 && found.is_sorted(), "{}: {}", codes.name(), found.len());
        searcher.search_among(base.row(7), usize::MAX, &some, &mut found);
        assert!(found.len() == 100 && found.is_sorted(), "{}: {}", codes.name(), found.len());
        searcher.search_batch(base.rows(0..0), usize::MAX, &mut []);
    }
}

#[test]
fn vectors_that_hardly_differ_are_saved_and_opened() {
    const DIM: usize = 6;
    let data: Vec<f32> = (0..60 * DIM).map(|i| (i * i % 7) as f32 * 1e-41).collect();
    let folder = tempfile::tempdir().unwrap();
    for (codes, rerank_codes) in [
        (TraversalCodes::Sq8, RerankCodes::None),
        (TraversalCodes::Sq4, RerankCodes::Sq8),
        (TraversalCodes::Sq4, RerankCodes::F32),
    ] {
        let path = folder.path().join(format!("{} {}", codes.name(), rerank_codes.name()));
        build(Vectors::new(&data, DIM), Metric::L2, &bulk(codes, rerank_codes)).save(&path).unwrap();
        let opened = Hnsw::open(&path).unwrap();
        assert_eq!(found(&opened, &HnswSearchParams::new(60), &data[..DIM], K).len(), K, "{}", codes.name());
    }
}

#[test]
fn vectors_too_long_for_codes_under_inner_product_are_refused() {
    let mut data = clustered((50, 4), 3, 0.5);
    data[17 * 4..18 * 4].fill(1e20);
    let outcome =
        |params: &HnswParams, metric| Hnsw::build(Vectors::new(&data, 4), metric, params, &pool(1), &()).map(drop);
    let codes = bulk(TraversalCodes::Sq8, RerankCodes::None);
    let error = outcome(&codes, Metric::InnerProduct).unwrap_err();
    assert!(matches!(error, BuildError::TooLong { row: 17, .. }), "{error}");
    assert_eq!(outcome(&codes, Metric::Cosine), Ok(()));
    assert_eq!(outcome(&HnswParams::default(), Metric::InnerProduct), Ok(()));
}

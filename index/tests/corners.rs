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
        // Not by ever wider walks: at some width all that is left is scored.
        let counters = live.searcher(&params).unwrap().search(&centre, K, &mut Vec::new());
        assert!(counters.distance_computations < 2 * 3300, "{}", counters.distance_computations);
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

/// Codes that a changing index may have, of each kind.
const CODES: [(TraversalCodes, RerankCodes); 7] = [
    (TraversalCodes::F16, RerankCodes::None),
    (TraversalCodes::Sq8, RerankCodes::None),
    (TraversalCodes::Sq4, RerankCodes::Sq8),
    (TraversalCodes::Sq4, RerankCodes::F32),
    (TraversalCodes::Lvq8, RerankCodes::F16),
    (TraversalCodes::Rabitq4, RerankCodes::Sq8),
    (TraversalCodes::Pq4Blocks, RerankCodes::Bf16),
];

/// Finds the same one by one, in a batch, after it was saved and opened, and once it may be changed.
fn agrees(hnsw: Hnsw, queries: Vectors<'_, f32>, params: HnswSearchParams) -> LiveHnsw {
    let alone: Vec<Vec<Neighbor>> = queries.iter().map(|query| found(&hnsw, &params, query, K)).collect();
    let mut batch = vec![Neighbor::NONE; queries.len() * K];
    hnsw.searcher(&params).unwrap().search_batch(queries, K, &mut batch);
    assert_eq!(alone.concat(), batch);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    hnsw.save(&path).unwrap();
    let live = hnsw.into_live(&pool(2)).unwrap();
    let again = folder.path().join("live");
    live.save(&again, &pool(2), &()).unwrap();
    for path in [path, again] {
        let opened = Hnsw::open(&path).unwrap();
        for (query, alone) in queries.iter().zip(&alone) {
            assert_eq!(found(&opened, &params, query, K), *alone);
        }
    }
    live
}

#[test]
fn zeros_under_cosine_are_at_distance_1_from_all_over_codes_too() {
    const DIM: usize = 24;
    const N: usize = 3000;
    let mut data = clustered((N + 50, DIM), 60, 1.5);
    let is_zero = |row: u32| row.is_multiple_of(6);
    (0..N).step_by(6).for_each(|row| data[row * DIM..][..DIM].fill(0.0));
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let zeros_and_one: IdSet = (0..N as u32).filter(|&id| is_zero(id) || id == 7).collect();
    for (codes, rerank_codes) in CODES {
        let name = format!("{} {}", codes.name(), rerank_codes.name());
        let hnsw = build(base, Metric::Cosine, &bulk(codes, rerank_codes));
        let recall = recall(&hnsw, base, queries);
        assert!(recall > 0.96, "{name}: {recall}");
        let all = found(&hnsw, &HnswSearchParams { rerank: N, ..HnswSearchParams::new(N) }, queries.row(0), N);
        assert!(all.len() == N && all.is_sorted(), "{name}: {}", all.len());
        let zeros = all.iter().filter(|near| is_zero(near.id));
        assert!(zeros.clone().count() == N / 6 && zeros.clone().all(|zero| zero.distance == 1.0), "{name}");
        let (first, last) = (all.first().unwrap(), all.last().unwrap());
        assert!(first.distance < 0.9 && last.distance > 1.1, "{name}: {first:?} to {last:?}");

        let params = HnswSearchParams::new(60);
        let live = agrees(hnsw, queries, params);
        let among = |k| {
            let mut found = Vec::new();
            live.searcher(&params).unwrap().search_among(queries.row(1), k, &zeros_and_one, &mut found);
            found.iter().map(|near| near.id).collect::<Vec<u32>>()
        };
        assert_eq!(among(N).len(), N / 6 + 1, "{name}");
        // Deleted, and their ids given again.
        assert_eq!((live.delete(&[0, 6, 7]), live.delete(&[6])), (3, 0), "{name}");
        assert_eq!(among(3), [12, 18, 24], "{name}");
        live.optimize(&pool(2), &()).unwrap();
        let zero = [0.0; DIM];
        let new = [&zero[..], base.row(7), &zero, &zero].concat();
        let ids = live.insert(Vectors::new(&new, DIM), &pool(2)).unwrap();
        assert_eq!(ids, [0, 6, 7, N as u32], "{name}");
        assert_eq!(among(4)[usize::from(among(1)[0] == 6)..][..3], [0, 7, 12], "{name}");
        assert_eq!(found(&live, &params, base.row(7), 1)[0].id, 6, "{name}");
    }
}

#[test]
fn vectors_many_times_as_long_as_the_rest_are_found_and_spoil_nothing() {
    const DIM: usize = 24;
    const N: usize = 3000;
    let mut data = clustered((N + 60, DIM), 60, 0.7);
    let long = [100, 2000];
    for x in long.iter().flat_map(|row| row * DIM..(row + 1) * DIM) {
        data[x] *= 1000.0;
    }
    let (base, queries) = data.split_at(N * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    // To which none of them is near.
    let query = base.iter().find(|row| long.iter().all(|&long| product(row, base.row(long)) < 0.0)).unwrap();
    for (codes, rerank_codes) in CODES {
        let name = format!("{} {}", codes.name(), rerank_codes.name());
        let hnsw = build(base, Metric::InnerProduct, &bulk(codes, rerank_codes));
        let recall = recall(&hnsw, base, queries);
        assert!(recall > 0.93, "{name}: {recall}");
        let params = HnswSearchParams::new(60);
        let live = agrees(hnsw, queries, params);
        let nearest = |query: &[f32]| found(&live, &params, query, 1)[0];
        for row in long {
            let (near, vector) = (nearest(base.row(row)), base.row(row));
            assert_eq!(near.id as usize, row, "{name}");
            assert!((near.distance / -product(vector, vector) - 1.0).abs() < 1e-5, "{name}: {near:?}");
        }
        // Longer than all that the codes have learnt from.
        let new: Vec<f32> = query.iter().map(|x| 9.0 * x).collect();
        let ids = live.insert(Vectors::new(&new, DIM), &pool(2)).unwrap();
        assert_eq!((nearest(query).id, live.delete(&ids)), (ids[0], 1), "{name}");
        assert_ne!(nearest(query).id, ids[0], "{name}");
        assert_eq!(live.delete(&[100, 2000]), 2);
        assert!(found(&live, &params, base.row(100), K).iter().all(|near| near.id != 100), "{name}");
    }
}

#[test]
fn lengths_that_differ_much_cost_codes_little_under_inner_product() {
    const DIM: usize = 32;
    let mut data = clustered((3060, DIM), 60, 0.7);
    let mut normal = Normal(11);
    for vector in data.chunks_exact_mut(DIM) {
        let length = (0.6 * normal.next()).exp();
        for x in vector {
            *x *= length;
        }
    }
    let (base, queries) = data.split_at(3000 * DIM);
    let (base, queries) = (Vectors::new(base, DIM), Vectors::new(queries, DIM));
    let found =
        |codes, rerank_codes| recall(&build(base, Metric::InnerProduct, &bulk(codes, rerank_codes)), base, queries);
    let exact = found(TraversalCodes::F32, RerankCodes::None);
    assert!(exact > 0.99, "{exact}");
    for (codes, rerank_codes) in CODES {
        let recall = found(codes, rerank_codes);
        // The longest is eight times as long as the mean: of 256 levels few are left for most vectors.
        let coarse = codes == TraversalCodes::Sq8 || rerank_codes == RerankCodes::Sq8;
        let floor = if coarse { 0.93 } else { 0.98 };
        assert!(recall > floor, "{} {}: {recall}", codes.name(), rerank_codes.name());
    }
}

#[test]
fn vectors_put_into_an_index_without_codes_stay_as_they_are() {
    const DIM: usize = 12;
    const N: usize = 700;
    let mut data = clustered((N + 2, DIM), 10, 0.7);
    data[N * DIM..][..DIM].fill(0.0);
    data[(N + 1) * DIM..].fill(9.0);
    for metric in Metric::ALL {
        let flat = Flat::build(Vectors::new(&data, DIM), metric, &FlatParams {}, &pool(1), &()).unwrap();
        for params in [HnswParams::default(), bulk(TraversalCodes::F32, RerankCodes::None)] {
            let live = build(Vectors::new(&data[..N * DIM], DIM), metric, &params).into_live(&pool(1)).unwrap();
            live.insert(Vectors::new(&data[N * DIM..], DIM), &pool(1)).unwrap();
            for query in data.chunks_exact(DIM).step_by(90) {
                let expected = found(&flat, &FlatSearchParams {}, query, N + 2);
                assert_eq!(found(&live, &HnswSearchParams::new(N + 2), query, N + 2), expected, "{metric}");
            }
        }
    }
}

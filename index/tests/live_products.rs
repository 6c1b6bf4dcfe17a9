//! Vectors that are inserted under inner product, where the longest are everybody's nearest, are found all the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, LiveHnsw, RerankCodes, TraversalCodes};
use nearlab_index::{Build, Index, Mutable, Neighbor, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

const DIM: usize = 16;
const N: usize = 2000;
const K: usize = 10;

/// Numbers from 0 to below 256.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 % 256.0
    }

    fn vectors(&mut self, n: usize) -> Vec<f32> {
        (0..n * DIM).map(|_| self.next()).collect()
    }
}

/// An index of the first vectors, into which the others were inserted, one after another.
fn grown(data: &[f32], first: usize, params: HnswParams) -> LiveHnsw {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let params = HnswParams { m: 8, ef_construction: 60, ..params };
    let (built, inserted) = data.split_at(first * DIM);
    let hnsw = Hnsw::build(Vectors::new(built, DIM), Metric::InnerProduct, &params, &pool, &()).unwrap();
    let live = hnsw.into_live(&pool).unwrap();
    for vector in inserted.chunks_exact(DIM) {
        live.insert(Vectors::new(vector, DIM), &pool).unwrap();
    }
    live
}

fn found<I: Index>(index: &I, params: &I::SearchParams, query: &[f32], k: usize) -> Vec<Neighbor> {
    let mut found = Vec::new();
    index.searcher(params).unwrap().search(query, k, &mut found);
    found
}

/// Both ways to build an index into which the rest is inserted, over vectors and over codes.
fn kinds() -> impl Iterator<Item = HnswParams> {
    let plain = HnswParams::default();
    let coded = HnswParams { codes: TraversalCodes::Sq4, rerank_codes: RerankCodes::Sq8, ..plain };
    let built = |params: HnswParams| Construction::ALL.map(|construction| HnswParams { construction, ..params });
    [plain, coded].into_iter().flat_map(built)
}

#[test]
fn searches_find_the_nearest_and_over_codes_meet_nearly_all_that_was_inserted() {
    let mut numbers = Numbers(7);
    let data = numbers.vectors(N);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let flat = Flat::build(Vectors::new(&data, DIM), Metric::InnerProduct, &FlatParams {}, &pool, &()).unwrap();
    let queries: Vec<Vec<f32>> =
        (0..100).map(|i| (0..DIM).map(|_| numbers.next() - if i % 2 == 0 { 128.0 } else { 0.0 }).collect()).collect();
    for params in kinds() {
        let live = grown(&data, 300, params);
        let met = found(&live, &HnswSearchParams::new(N), &queries[0], N).len();
        // Among vectors as they are short ones are nobody's nearest, and a search need not meet them.
        let least = if params.codes == TraversalCodes::F32 { N * 3 / 4 } else { N - N / 50 };
        assert!(met > least, "{params:?}: {met} of {N}");
        let wide = HnswSearchParams { rerank: 200, ..HnswSearchParams::new(200) };
        let hits = |query: &Vec<f32>| {
            let nearest = found(&flat, &FlatSearchParams {}, query, K);
            found(&live, &wide, query, K).iter().filter(|a| nearest.iter().any(|b| b.id == a.id)).count()
        };
        let recall = queries.iter().map(hits).sum::<usize>() as f64 / (queries.len() * K) as f64;
        assert!(recall > 0.9, "{params:?}: {recall}");
    }
}

#[test]
fn a_small_index_that_begins_empty_loses_none() {
    for n in [40, 200, 1000] {
        let data = Numbers(11).vectors(n);
        for first in [0, 1] {
            let live = grown(&data, first, HnswParams::default());
            assert_eq!(found(&live, &HnswSearchParams::new(n), &data[..DIM], n).len(), n, "{n} from {first} on");
        }
    }
}

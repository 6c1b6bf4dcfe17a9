//! Exhaustive searches agree on any small data: few distinct values make copies, ties and zero vectors common.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Hnsw, HnswParams, HnswSearchParams};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, Neighbor, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use proptest::prelude::*;

fn search<I: Build>(
    data: Vectors<'_, f32>,
    metric: Metric,
    params: (&I::Params, &I::SearchParams),
    query: &[f32],
) -> Vec<Neighbor> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut found = Vec::new();
    let index = I::build(data, metric, params.0, &pool, &()).unwrap();
    index.searcher(params.1).unwrap().search(query, data.len(), &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_indexes_return_the_same_neighbors(
        dim in 1_usize..20,
        metric in prop::sample::select(Metric::ALL.to_vec()),
        m in 2_usize..5,
        nlist in 1_usize..30,
        seed in any::<u64>(),
        values in prop::collection::vec(-2_i8..=2, 1..900),
    ) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        prop_assume!(values.len() > dim);
        let (query, rest) = values.split_at(dim);
        let data = Vectors::new(&rest[..rest.len() / dim * dim], dim);
        let exact = search::<Flat>(data, metric, (&FlatParams {}, &FlatSearchParams {}), query);
        prop_assert_eq!(exact.len(), data.len());
        let hnsw = HnswParams { m, ef_construction: 8, seed, alpha: 100 + seed as usize % 101, keep_pruned: seed % 2 == 0, ..HnswParams::default() };
        prop_assert_eq!(&search::<Hnsw>(data, metric, (&hnsw, &HnswSearchParams::new(1)), query), &exact);
        let ivf = IvfParams { nlist, sample_per_list: 4, iterations: 2, seed };
        prop_assert_eq!(&search::<Ivf>(data, metric, (&ivf, &IvfSearchParams { nprobe: nlist }), query), &exact);
    }
}

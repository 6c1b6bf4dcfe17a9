//! Any sections as an index: an error, or an index that can be searched, moved and changed without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlab_fuzz::{KINDS, scratch_file, write_container};
use nearlab_index::flat::{Flat, FlatSearchParams};
use nearlab_index::hnsw::{Hnsw, HnswSearchParams};
use nearlab_index::ivf::{Ivf, IvfSearchParams};
use nearlab_index::{Index, Mutable, Neighbor, Persist, Searcher};
use nearlab_storage::Vectors;

/// Dimensions beyond this are not searched: a query would be larger than the file.
const MOST: usize = 4096;

fn search<I: Index>(index: &I, params: &I::SearchParams) {
    let dim = index.dim();
    let _ = (index.len(), index.metric(), index.memory(), index.stats(), index.digest(), index.build_counters());
    if dim == 0 || dim > MOST {
        return;
    }
    let queries: Vec<f32> = (0..5 * dim).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
    let mut searcher = index.searcher(params).expect("parameters in range");
    let mut out = vec![Neighbor::NONE; 5 * 3];
    searcher.search_batch(Vectors::new(&queries, dim), 3, &mut out);
    let mut found = Vec::new();
    searcher.search(&queries[..dim], 1000, &mut found);
    assert!(found.len() <= 1000 && found.is_sorted());
}

fuzz_target!(|input: &[u8]| {
    let path = scratch_file();
    let Some(kind) = write_container(input, &path) else { return };
    if kind == KINDS[0] {
        if let Ok(flat) = Flat::open(&path) {
            search(&flat, &FlatSearchParams {});
        }
    } else if kind == KINDS[1] {
        let Ok(hnsw) = Hnsw::open(&path) else { return };
        search(&hnsw, &HnswSearchParams::new(7));
        let hnsw = hnsw.into_resident().expect("memory");
        let (dim, metric) = (hnsw.dim(), hnsw.metric());
        if dim > MOST {
            return;
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        if let Ok(live) = hnsw.into_live(&pool) {
            let vector: Vec<f32> = (0..dim).map(|i| i as f32).collect();
            let ids = live.insert(Vectors::new(&vector, dim), &pool).expect("a finite vector");
            live.delete(&[0, ids[0]]);
            live.optimize(&pool, &()).expect("nobody cancels");
            search(&live, &HnswSearchParams::new(3));
            assert_eq!(live.metric(), metric);
        }
    } else if let Ok(ivf) = Ivf::open(&path) {
        search(&ivf, &IvfSearchParams { nprobe: 2 });
    }
});

//! Index files that released versions wrote open forever.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};

use nearlab_index::flat::{Flat, FlatParams, FlatSearchParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{Ivf, IvfParams, IvfSearchParams};
use nearlab_index::{Build, Index, Mutable, Neighbor, Persist, Searcher};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

const DIM: usize = 4;
const N: usize = 60;
/// Those that the file of version 3 lacks.
const DELETED: [u32; 3] = [3, 20, 59];

fn golden(name: &str) -> PathBuf {
    Path::new("tests/data").join(name)
}

/// Whole numbers, which every form of codes here keeps.
fn data() -> Vec<f32> {
    (0..N * DIM).map(|i| (i * i * 7 % 256) as f32).collect()
}

/// The file is what it was, and a search that meets everything finds what comparing everything does.
fn assert_holds<I: Index>(index: &I, digest: u64, params: &I::SearchParams, deleted: &[u32]) {
    assert_eq!((index.len(), index.dim(), index.metric()), (N - deleted.len(), DIM, Metric::L2));
    assert_eq!(index.digest(), digest, "{:#x}", index.digest());
    let (data, query) = (data(), [10.0, 200.0, 30.0, 140.0]);
    let distance = |row: &[f32]| row.iter().zip(&query).map(|(a, b)| (a - b) * (a - b)).sum();
    let rows = (0..).zip(data.chunks_exact(DIM)).filter(|(id, _)| !deleted.contains(id));
    let mut expected: Vec<Neighbor> = rows.map(|(id, row)| Neighbor { id, distance: distance(row) }).collect();
    expected.sort_unstable();
    let mut found = Vec::new();
    index.searcher(params).unwrap().search(&query, 5, &mut found);
    assert_eq!(found, expected[..5]);
}

fn coded() -> HnswParams {
    let codes = HnswParams { codes: TraversalCodes::Sq4, rerank_codes: RerankCodes::Sq8, ..HnswParams::default() };
    HnswParams { m: 4, construction: Construction::Bulk, leaf: 64, seed: 5, ..codes }
}

#[test]
#[ignore = "it writes the golden files of the versions of today, where there are none"]
fn the_golden_indexes_are_written() {
    let (data, pool) = (data(), rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
    let vectors = Vectors::new(&data, DIM);
    let write = |name: &str, save: &dyn Fn(&Path)| {
        let path = golden(name);
        if !path.exists() {
            save(&path);
        }
    };
    write("flat-v1.index", &|path| {
        Flat::build(vectors, Metric::L2, &FlatParams {}, &pool, &()).unwrap().save(path).unwrap();
    });
    write("ivf-v1.index", &|path| {
        let params = IvfParams { nlist: 6, ..IvfParams::default() };
        Ivf::build(vectors, Metric::L2, &params, &pool, &()).unwrap().save(path).unwrap();
    });
    let hnsw = || Hnsw::build(vectors, Metric::L2, &coded(), &pool, &()).unwrap();
    write("hnsw-v2.index", &|path| hnsw().save(path).unwrap());
    write("hnsw-v3.index", &|path| {
        let live = hnsw().into_live(&pool).unwrap();
        live.delete(&DELETED);
        live.freeze(&pool, &()).unwrap().save(path).unwrap();
    });
}

#[test]
fn files_of_the_first_versions_open_and_search_as_they_did() {
    let flat = Flat::open(&golden("flat-v1.index")).unwrap();
    assert_holds(&flat, 0xcb9c_f37a_e12c_24bc, &FlatSearchParams {}, &[]);
    let ivf = Ivf::open(&golden("ivf-v1.index")).unwrap();
    assert_holds(&ivf, 0x81a8_11f5_6ec3_aaad, &IvfSearchParams { nprobe: 6 }, &[]);
}

#[test]
fn files_of_versions_2_and_3_open_and_search_as_they_did() {
    let thorough = HnswSearchParams { rerank: N, ..HnswSearchParams::new(N) };
    for (name, digest, deleted) in
        [("hnsw-v2.index", 0x0215_55db_690e_d7ad, &[][..]), ("hnsw-v3.index", 0x9c93_8bbc_b603_b718, &DELETED)]
    {
        let hnsw = Hnsw::open(&golden(name)).unwrap();
        assert_eq!(hnsw.params(), &coded());
        assert_holds(&hnsw, digest, &thorough, deleted);
    }
}

#[test]
fn a_file_of_version_1_opens_and_searches_as_it_did() {
    let hnsw = Hnsw::open(Path::new("tests/data/hnsw-v1.index")).unwrap();
    assert_eq!((hnsw.len(), hnsw.dim(), hnsw.metric()), (60, 4, Metric::L2));
    assert_eq!(hnsw.params(), &HnswParams { m: 4, ef_construction: 20, seed: 5, ..HnswParams::default() });
    assert_eq!(hnsw.digest(), 0xb918_4535_2a44_90c6);
    let mut found = Vec::new();
    hnsw.searcher(&HnswSearchParams::new(60)).unwrap().search(&[10.0, 20.0, 30.0, 40.0], 3, &mut found);
    let expected = [(0, 16078.0), (12, 16286.0), (4, 17114.0)].map(|(id, distance)| Neighbor { id, distance });
    assert_eq!(found, expected);
}

#[test]
fn files_of_version_4_open_and_search_as_they_did() {
    // Of 60 vectors of 4 components; those with the ids 0 and 7 are zeros.
    let nearest = [
        (Metric::Cosine, 0xe172_79cf_8bfa_ebc4, [(1, 0.2114), (44, 0.2121), (59, 0.2136)], 1.0),
        (Metric::InnerProduct, 0xb61f_84f5_a8af_9d8b, [(40, -35.52), (55, -34.20), (12, -34.12)], 0.0),
    ];
    for (metric, digest, nearest, of_zeros) in nearest {
        let hnsw = Hnsw::open(Path::new(&format!("tests/data/hnsw-v4-{metric}.index"))).unwrap();
        assert_eq!((hnsw.len(), hnsw.dim(), hnsw.metric(), hnsw.digest()), (60, 4, metric, digest));
        let mut found = Vec::new();
        hnsw.searcher(&HnswSearchParams::new(60)).unwrap().search(&[1.0, 2.0, -3.0, 4.0], 60, &mut found);
        for (found, (id, distance)) in found.iter().zip(nearest) {
            assert!(found.id == id && (found.distance - distance).abs() < 0.01, "{metric}: {found:?}");
        }
        let zeros: Vec<&Neighbor> = found.iter().filter(|near| [0, 7].contains(&near.id)).collect();
        assert!(zeros.len() == 2 && zeros.iter().all(|zero| (zero.distance - of_zeros).abs() < 0.2), "{zeros:?}");
    }
}

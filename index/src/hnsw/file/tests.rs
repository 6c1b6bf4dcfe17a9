//! Files of small graphs, and what is wrong with others.

use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::*;
use crate::hnsw::HnswSearchParams;
use crate::sections::Writer;
use crate::{Build, Counters, Index, Mutable, Searcher};

const NO: u32 = NO_LINK;

/// Opens what is saved of a graph of 3 nodes, the second of which is on layer 1, after `damage`.
fn reopened(damage: impl FnOnce(&mut Hnsw)) -> Result<Hnsw, String> {
    let graph = Graph {
        m: 2,
        base: vec![1, 2, NO, NO, 0, NO, NO, NO, 0, NO, NO, NO].into(),
        levels: vec![0, 1, 0].into(),
        upper_offsets: vec![0, 0, 1, 1].into(),
        upper: vec![NO, NO].into(),
        entry_point: Some(1),
    };
    let mut hnsw = Hnsw {
        euclid: Euclid { metric: Metric::L2, dim: 1, radius_squared: 0.0, query_length: 0.0 },
        traversal: Traversal::F32(F32 { metric: Metric::L2, dim: 1, vectors: vec![0.0, 1.0, 2.0].into() }),
        rerank: Rerank::None,
        params: HnswParams { m: 2, keep_pruned: true, alpha: 110, ..HnswParams::default() },
        graph,
        blocks: None,
        deleted: IdSet::new(),
        apart: Apart::default(),
        build_counters: Counters { hops: 3, ..Counters::default() },
        tuned: Tuned::default(),
        idle: Idle::default(),
    };
    damage(&mut hnsw);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hnsw");
    hnsw.save(&path).unwrap();
    Hnsw::open(&path).map_err(|error| error.to_string())
}

#[test]
fn what_was_saved_is_mapped_again() {
    let hnsw = reopened(|_| ()).unwrap();
    assert!(matches!(&hnsw.traversal, Traversal::F32(f32) if f32.vectors.is_mapped()));
    assert!(hnsw.graph.base.is_mapped() && hnsw.graph.upper.is_mapped());
    assert_eq!((hnsw.params.m, hnsw.params.keep_pruned, hnsw.build_counters.hops), (2, true, 3));
    assert_eq!(hnsw.params.alpha, 110);
    assert_eq!(reopened(|hnsw| hnsw.params.alpha = 100).unwrap().params.alpha, 100);
}

#[test]
fn references_that_lead_nowhere_are_refused_with_their_section() {
    let refused = |damage: fn(&mut Hnsw), part: &str| {
        let message = reopened(damage).unwrap_err();
        assert!(message.contains(part), "{message}");
    };
    refused(|hnsw| hnsw.params.m = 1, "`header` should have an m from 2 to 256, found 1");
    refused(|hnsw| hnsw.params.alpha = 99, "`header` should have `alpha` from 100 to 200, found alpha 99");
    refused(|hnsw| hnsw.params.alpha = 1 << 16, "`header` should have an alpha from 1 to 65535, found 65536");
    refused(|hnsw| hnsw.graph.entry_point = Some(3), "an entry point from 0 to 2, found 3");
    refused(|hnsw| hnsw.graph.entry_point = Some(0), "`levels` should have levels up to the entry point's, 0");
    refused(
        |hnsw| hnsw.graph.upper_offsets = vec![0, 1, 1, 1].into(),
        "`upperoff` should have the running sum of the levels",
    );
    refused(
        |hnsw| hnsw.graph.base = vec![1, 3, NO, NO, 0, NO, NO, NO, 0, NO, NO, NO].into(),
        "`base` should have links to nodes of layer 0, then empty places, found a link from node 0 to 3",
    );
    refused(
        |hnsw| hnsw.graph.base = vec![1, NO, 2, NO, 0, NO, NO, NO, 0, NO, NO, NO].into(),
        "found a link from node 0 to 2",
    );
    refused(|hnsw| hnsw.graph.upper = vec![0, NO].into(), "`upper` should have links to nodes of layer 1");
    refused(|hnsw| hnsw.graph.base = vec![1, 2, NO, NO].into(), "`base`: expected 12 elements");
    refused(|hnsw| hnsw.euclid.radius_squared = -1.0, "`header` should have a largest squared length from 0, found -1");
    refused(|hnsw| hnsw.euclid.radius_squared = f32::NAN, "found NaN");
}

/// Takes the last node out, to which nothing leads then, and gives it another level.
fn delete_last(hnsw: &mut Hnsw, level: u8) {
    hnsw.deleted.insert(2);
    hnsw.graph.base = vec![1, NO, NO, NO, 0, NO, NO, NO, NO, NO, NO, NO].into();
    hnsw.graph.levels = vec![0, 1, level].into();
    hnsw.graph.upper_offsets = vec![0, 0, 1, 1 + u32::from(level)].into();
    hnsw.graph.upper = vec![NO; 2 * (1 + usize::from(level))].into();
}

#[test]
fn deleted_ids_have_levels_that_can_be_given_again() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for level in [0, 1, MAX_LEVEL] {
        let hnsw = reopened(|hnsw| delete_last(hnsw, level)).unwrap();
        let live = hnsw.into_live(&pool).unwrap();
        let ids = live.insert(Vectors::new(&[7.0, 8.0], 1), &pool).unwrap();
        assert_eq!((ids, live.len()), (vec![2, 3], 4), "{level}");
        let mut found = Vec::new();
        live.searcher(&HnswSearchParams::new(9)).unwrap().search(&[7.0], 9, &mut found);
        assert_eq!(found.iter().map(|neighbor| neighbor.id).collect::<Vec<_>>(), [2, 3, 1, 0], "{level}");
    }
    for level in [MAX_LEVEL + 1, u8::MAX] {
        let message = reopened(|hnsw| delete_last(hnsw, level)).unwrap_err();
        assert!(message.contains(&format!("`levels` should have levels up to 53, found {level}")), "{message}");
    }
}

#[test]
fn what_is_made_resident_no_longer_lies_in_the_file() {
    let hnsw = reopened(|_| ()).unwrap().into_resident().unwrap();
    let Graph { base, levels, upper_offsets, upper, .. } = &hnsw.graph;
    assert!(!base.is_mapped() && !levels.is_mapped() && !upper_offsets.is_mapped() && !upper.is_mapped());
    assert!(matches!(&hnsw.traversal, Traversal::F32(f32) if !f32.vectors.is_mapped()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hnsw");
    let data: Vec<f32> = (0..120).map(|i| (i * 37 % 64) as f32 / 7.0).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for codes in [TraversalCodes::Rabitq4, TraversalCodes::Pq4] {
        let params = HnswParams { codes, rerank_codes: RerankCodes::F16, ..HnswParams::default() };
        Hnsw::build(Vectors::new(&data, 4), Metric::L2, &params, &pool, &()).unwrap().save(&path).unwrap();
        let hnsw = Hnsw::open(&path).unwrap().into_resident().unwrap();
        match &hnsw.traversal {
            Traversal::Affine(Affine { mean, rotation, codes, .. }) => {
                let signs = rotation.as_ref().map(|rotation| rotation.signs.is_mapped());
                assert_eq!((mean.is_mapped(), signs, codes.is_mapped()), (false, Some(false), false));
            }
            Traversal::Pq(Pq { centroids, codes, .. }) => {
                assert_eq!((centroids.is_mapped(), codes.is_mapped()), (false, false));
            }
            _ => panic!("other codes"),
        }
        assert!(matches!(&hnsw.rerank, Rerank::Half(half) if !half.codes.is_mapped()));
    }
}

#[test]
fn each_number_of_codes_is_known_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hnsw");
    let header = Header { len: 0, dim: 1, metric: Metric::L2, counters: Counters::default() };
    let opened = |codes: u64| {
        let own = [2, 1, 1, 0, u64::from(NO), codes, 0, 0, 0, 0, 2, 2000];
        Writer::create(&path, (KIND, VERSION), &header, &own).unwrap().finish().unwrap();
        Hnsw::open(&path).unwrap_err().to_string()
    };
    let count = TraversalCodes::ALL.len() as u64;
    for codes in 0..count {
        let message = opened(codes);
        assert!(message.contains("upperoff"), "only sections are missing: {message}");
    }
    assert!(opened(count).contains(&format!("codes from 0 to {}, found {count}", count - 1)));
}

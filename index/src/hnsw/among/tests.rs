//! The two walks, whatever they cost: the suite over all indexes sees only those that are worth it on small data.

use std::cell::Cell;

use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::*;
use crate::hnsw::search::Searched;
use crate::hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams};
use crate::random::SplitMix64;
use crate::space::Space;
use crate::{Build, Index, Searcher};

const DIM: usize = 16;
const NODES: usize = 4000;
const EF: usize = 60;
const K: usize = 10;

fn clustered(n: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    let mut normal = || (0..3).map(|_| random.unit() as f32 - 0.5).sum::<f32>();
    let centres: Vec<f32> = (0..40 * DIM).map(|_| normal()).collect();
    (0..n * DIM).map(|i| centres[(i / DIM % 40) * DIM + i % DIM] + normal()).collect()
}

/// A graph over vectors as they are, and these.
fn built() -> (Hnsw, Vec<f32>) {
    let data = clustered(NODES, 1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let params = HnswParams { construction: Construction::Bulk, leaf: 500, ..HnswParams::default() };
    (Hnsw::build(Vectors::new(&data, DIM), Metric::L2, &params, &pool, &()).unwrap(), data)
}

/// The nodes whose ids, shuffled, are among the first `count`.
fn random_nodes(count: usize) -> IdSet {
    crate::random::permutation(NODES, 5).into_iter().take(count).collect()
}

type Way<'w, 'a> = &'w dyn Fn(&Plan<'a, Space<'a>>, &mut Slot<Vec<f32>>, Among<'_>) -> Vec<Neighbor>;

/// The share of the nearest matches of 50 queries that a way finds, nearest first; it must find enough for all.
fn recall<'a>(searched: Searched<'a>, space: Space<'a>, ids: &IdSet, way: Way<'_, 'a>) -> f64 {
    let plan = Plan::new(searched, searched.entry_point.unwrap(), space, HnswSearchParams::new(EF));
    let (mut slots, none) = (Vec::new(), IdSet::new());
    let among = Among { ids, hidden: Hidden { deleted: &none, apart: &none }, nodes: NODES };
    let mut hits = 0;
    for query in clustered(NODES + 50, 1)[NODES * DIM..].chunks_exact(DIM) {
        let slot = &mut plan.slots(&mut slots, 1)[0];
        plan.prepare(slot, query, K);
        slot.walk.begin(plan.view, plan.route(1));
        while slot.walk.descends() {
            slot.walk.step(plan.view);
        }
        let found: Vec<u32> = way(&plan, slot, among).iter().take(K).map(|found| found.id).collect();
        assert!(found.len() == K && found.iter().all(|&id| ids.contains(id)));
        let mut all: Vec<(f32, u32)> = ids.iter().map(|id| (space.score_one(query, id as usize), id)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        hits += all[..K].iter().filter(|(_, id)| found.contains(id)).count();
    }
    hits as f64 / (50 * K) as f64
}

fn limits(plan: &Plan<'_, Space<'_>>) -> Limits {
    Limits { costs: Costs::of(plan.view), ef: EF, scan: 1e9 }
}

#[test]
fn both_walks_find_the_nearest_matches() {
    let (hnsw, data) = built();
    let space = Space::new(&data, DIM, Metric::L2);
    for share in [2, 5, 10] {
        let ids = random_nodes(NODES / share);
        let through = recall(hnsw.searched(), space, &ids, &|plan, slot, among| {
            let outcome = slot.walk.pass_through(plan.view, among, &mut slot.matched, limits(plan));
            assert!(matches!(outcome, Outcome::Found));
            slot.matched.pool.iter().collect()
        });
        let leaping = recall(hnsw.searched(), space, &ids, &|plan, slot, among| {
            assert!(slot.walk.leap(plan.view, among, &mut slot.matched, limits(plan)));
            slot.matched.pool.iter().collect()
        });
        assert!(through > 0.98 && leaping > 0.95, "one in {share}: {through} through all, {leaping} by two hops");
    }
}

#[test]
fn a_walk_gives_up_when_it_meets_too_few_matches_and_says_how_few() {
    let (hnsw, data) = built();
    let space = Space::new(&data, DIM, Metric::L2);
    for share in [10, 100] {
        let met = Cell::new((0.0, 0.0));
        recall(hnsw.searched(), space, &random_nodes(NODES / share), &|plan, slot, among| {
            let scan = 2.5 * Costs::of(plan.view).walk(EF, 1.0);
            let limits = Limits { scan, ..limits(plan) };
            let outcome = slot.walk.pass_through(plan.view, among, &mut slot.matched, limits);
            let Outcome::TooDear { share, degree } = outcome else { panic!("it went on") };
            met.set((met.get().0 + share / 50.0, met.get().1 + degree / 50.0));
            // The scan that follows finds everything.
            assert!(plan.scan_coarsely(slot, &[0.0; DIM], (among.matches(), 1.0)));
            slot.finish.found.clone()
        });
        // Each tells by some ten nodes.
        let (met, degree) = met.get();
        assert!(met < 0.15 && degree > 5.0 && degree <= 32.0, "one in {share}: {met}, {degree}");
    }
}

#[test]
fn the_three_ways_are_taken_by_cost() {
    let (hnsw, data) = built();
    let mut found = Vec::new();
    let mut hops = |ef_search: usize, ids: &IdSet| {
        let mut searcher = hnsw.searcher(&HnswSearchParams::new(ef_search)).unwrap();
        searcher.search_among(&data[..DIM], 1, ids, &mut found).hops
    };
    assert_eq!(hops(200, &random_nodes(NODES / 2)), 0, "a scan costs less than any walk");
    assert!(hops(2, &random_nodes(NODES - 1)) > 0, "a walk costs less than a scan");
}

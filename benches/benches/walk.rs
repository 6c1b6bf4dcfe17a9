//! What each part of the search loop is worth: a table for `reports/record/walk.md`.
//!
//!     cargo bench -p nearlab-benches --bench walk -- PREPARED.nearlab ...
//!
//! takes prepared data sets. One graph over 4-bit codes is searched on its base layer, from the entry point, by loops that begin as the
//! paper has them and take over one idea after another. All find the same for the same distances; they take turns on one thread,
//! and the table has medians. The last line is the library's own search, which has upper layers besides, and ranks nothing anew here.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot set itself up has nothing to measure"
)]

#[path = "data/real.rs"]
mod real;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use nearlab_index::hnsw::{Ahead, Construction, Hnsw, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes};
use nearlab_index::{Build, Index, Neighbor, Persist, Searcher};
use nearlab_simd::{CodeKernels, Metric, WITHIN, code_kernels, normalize, prefetch, u4_query_level};
use nearlab_storage::{Buffer, Container, FileKind, SectionId, Vectors, Verify};
use real::Real;

/// Rounds in which every loop takes its turn.
const ROUNDS: usize = 9;
/// Queries of a round.
const QUERIES: usize = 1000;
const EF: usize = 64;
const M: usize = 16;
const NO_LINK: u32 = u32::MAX;

/// The loops, each with the ideas of those before it.
const LOOPS: [&str; 6] = [
    "a branch and a score for each link, two heaps",
    "links collected without a branch",
    "scored together",
    "rows asked for first",
    "compared with the worst together",
    "one sorted array instead of the heaps",
];

/// What the loops walk over, read from the file of an index.
struct Walked {
    links: Buffer<u32>,
    codes: Buffer<u8>,
    /// Offsets of the levels, and their step.
    levels: Buffer<f32>,
    row_bytes: usize,
    entry: u32,
    kernels: &'static CodeKernels,
}

/// Memory of a search, kept for the next.
#[derive(Default)]
struct Scratch {
    query: Vec<i8>,
    visited: Vec<u64>,
    met: Vec<u32>,
    ids: Vec<u32>,
    scores: Vec<f32>,
    candidates: BinaryHeap<Reverse<u64>>,
    results: BinaryHeap<u64>,
    pool: Vec<u64>,
    scored: usize,
}

/// Distances are not negative, so their bits are ordered as they are; ids have 31 bits, and the lowest bit says "expanded".
fn key(id: u32, score: f32) -> u64 {
    u64::from(score.to_bits()) << 32 | u64::from(id) << 1
}

fn id_of(key: u64) -> u32 {
    (key as u32) >> 1
}

fn score_of(key: u64) -> f32 {
    f32::from_bits((key >> 32) as u32)
}

impl Scratch {
    fn visit(&mut self, id: u32) -> bool {
        let (word, bit) = (&mut self.visited[id as usize / 64], 1 << (id % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// The nearest candidate that can still lead to a nearer one.
    fn next<const LOOP: usize>(&mut self) -> Option<u32> {
        if LOOP < 5 {
            let Reverse(nearest) = self.candidates.pop()?;
            let full = self.results.len() == EF;
            return (!full || nearest <= *self.results.peek()?).then(|| id_of(nearest));
        }
        let waiting = self.pool.iter_mut().find(|key| **key & 1 == 0)?;
        *waiting |= 1;
        Some(id_of(*waiting))
    }

    fn worst<const LOOP: usize>(&self) -> f32 {
        let (worst, count) =
            if LOOP < 5 { (self.results.peek(), self.results.len()) } else { (self.pool.last(), self.pool.len()) };
        worst.filter(|_| count == EF).map_or(f32::INFINITY, |&key| score_of(key))
    }

    fn offer<const LOOP: usize>(&mut self, kernels: &CodeKernels, id: u32, score: f32) {
        let key = key(id, score);
        if LOOP < 5 {
            if self.results.len() < EF {
                self.results.push(key);
            } else if self.results.peek().is_some_and(|&worst| key < worst) {
                self.results.pop();
                self.results.push(key);
            } else {
                return;
            }
            self.candidates.push(Reverse(key));
        } else {
            if self.pool.len() < EF {
                self.pool.push(0);
            } else if self.pool.last().is_some_and(|&worst| key >= worst) {
                return;
            }
            kernels.insert_key(&mut self.pool, key);
        }
    }
}

impl Walked {
    fn of(index: &Hnsw) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        index.save(&path).unwrap();
        let file = Container::open(&path, FileKind::new("hnsw"), 1..=3, Verify::Header).unwrap();
        let section = SectionId::new;
        let codes: Buffer<u8> = file.buffer(section("sq4")).unwrap();
        Self {
            links: file.buffer(section("base")).unwrap().into_resident().unwrap(),
            row_bytes: codes.len() / index.len(),
            codes: codes.into_resident().unwrap(),
            levels: file.buffer(section("sq4level")).unwrap(),
            entry: file.view::<u64>(section("header")).unwrap()[11] as u32,
            kernels: code_kernels(),
        }
    }

    fn row(&self, id: u32) -> &[u8] {
        &self.codes[id as usize * self.row_bytes..][..self.row_bytes]
    }

    fn score(&self, scratch: &mut Scratch) {
        let Scratch { query, ids, scores, .. } = scratch;
        scores.resize(ids.len(), 0.0);
        self.kernels.u4_by_id(query, &self.codes, ids, scores);
        scratch.scored += ids.len();
    }

    /// The nearest of the base layer, nearest first, by the first `LOOP + 1` ideas.
    fn search<const LOOP: usize>(&self, query: &[f32], scratch: &mut Scratch) -> Vec<u32> {
        let (offsets, step) = self.levels.split_at(self.levels.len() - 1);
        scratch.query.clear();
        scratch.query.extend(query.iter().zip(offsets).map(|(x, offset)| u4_query_level((x - offset) / step[0])));
        scratch.query.resize(2 * self.row_bytes, 0);
        scratch.visited.resize((self.links.len() / (2 * M)).div_ceil(64), 0);
        for id in std::mem::take(&mut scratch.met) {
            scratch.visited[id as usize / 64] = 0;
        }
        scratch.candidates.clear();
        scratch.results.clear();
        scratch.pool.clear();
        self.meet::<LOOP>(&[self.entry], scratch);
        while let Some(node) = scratch.next::<LOOP>() {
            self.meet::<LOOP>(&self.links[node as usize * 2 * M..][..2 * M], scratch);
        }
        if LOOP < 5 {
            scratch.pool.extend(scratch.results.drain());
            scratch.pool.sort_unstable();
        }
        scratch.pool.iter().map(|&key| id_of(key)).collect()
    }

    /// Scores those of some links that are new, and offers them.
    fn meet<const LOOP: usize>(&self, links: &[u32], scratch: &mut Scratch) {
        if LOOP == 0 {
            for &link in links.iter().take_while(|&&link| link != NO_LINK) {
                if scratch.visit(link) {
                    scratch.met.push(link);
                    scratch.ids.clear();
                    scratch.ids.push(link);
                    self.score(scratch);
                    let score = scratch.scores[0];
                    scratch.offer::<LOOP>(self.kernels, link, score);
                }
            }
            return;
        }
        scratch.ids.resize(links.len(), 0);
        let mut new = 0;
        for &link in links.iter().take_while(|&&link| link != NO_LINK) {
            scratch.ids[new] = link;
            new += usize::from(scratch.visit(link));
        }
        scratch.ids.truncate(new);
        scratch.met.extend_from_slice(&scratch.ids);
        let ids = std::mem::take(&mut scratch.ids);
        if LOOP == 1 {
            for &id in &ids {
                scratch.ids.clear();
                scratch.ids.push(id);
                self.score(scratch);
                let score = scratch.scores[0];
                scratch.offer::<LOOP>(self.kernels, id, score);
            }
            scratch.ids = ids;
            return;
        }
        if LOOP >= 3 {
            for &id in &ids {
                prefetch(self.row(id));
            }
        }
        scratch.ids = ids;
        self.score(scratch);
        let (ids, scores) = (std::mem::take(&mut scratch.ids), std::mem::take(&mut scratch.scores));
        if LOOP >= 4 {
            for (ids, scores) in ids.chunks(WITHIN).zip(scores.chunks(WITHIN)) {
                let mut places = self.kernels.within(scores, scratch.worst::<LOOP>());
                while places != 0 {
                    let at = places.trailing_zeros() as usize;
                    places &= places - 1;
                    scratch.offer::<LOOP>(self.kernels, ids[at], scores[at]);
                }
            }
        } else {
            ids.iter().zip(&scores).for_each(|(&id, &score)| scratch.offer::<LOOP>(self.kernels, id, score));
        }
        (scratch.ids, scratch.scores) = (ids, scores);
    }

    fn search_by(&self, number: usize, query: &[f32], scratch: &mut Scratch) -> Vec<u32> {
        match number {
            0 => self.search::<0>(query, scratch),
            1 => self.search::<1>(query, scratch),
            2 => self.search::<2>(query, scratch),
            3 => self.search::<3>(query, scratch),
            4 => self.search::<4>(query, scratch),
            _ => self.search::<5>(query, scratch),
        }
    }
}

fn build(rows: Vectors<'_, f32>, metric: Metric) -> Hnsw {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let params = HnswParams {
        m: M,
        codes: TraversalCodes::Sq4,
        rerank_codes: RerankCodes::None,
        construction: Construction::Bulk,
        replicas: 3,
        ..HnswParams::default()
    };
    Hnsw::build(rows, metric, &params, &pool, &()).unwrap()
}

fn main() {
    for real in Real::named() {
        let index = build(real.train(), real.metric);
        let walked = Walked::of(&index);
        let mut queries: Vec<Vec<f32>> =
            real.test().rows(0..QUERIES.min(real.test().len())).iter().map(<[f32]>::to_vec).collect();
        if real.metric == Metric::Cosine {
            for query in &mut queries {
                normalize(query);
            }
        }
        let mut scratch = Scratch::default();
        let own = HnswSearchParams { ahead: Ahead::Links, ..HnswSearchParams::new(EF) };
        let mut searcher = index.searcher(&own).unwrap();
        let (mut times, mut scored, mut found) =
            (vec![Vec::new(); LOOPS.len() + 1], vec![0; LOOPS.len() + 1], Vec::new());
        for round in 0..ROUNDS {
            for turn in 0..=LOOPS.len() {
                let number = (turn + round) % (LOOPS.len() + 1);
                let mut digest = 0_u64;
                scratch.scored = 0;
                let start = Instant::now();
                for query in &queries {
                    if number == LOOPS.len() {
                        let mut neighbors: Vec<Neighbor> = Vec::new();
                        scratch.scored += searcher.search(query, EF, &mut neighbors).distance_computations as usize;
                    } else {
                        let ids = walked.search_by(number, query, &mut scratch);
                        digest = ids.iter().fold(digest, |digest, &id| digest.wrapping_mul(31) + u64::from(id));
                    }
                }
                times[number].push(start.elapsed().as_secs_f64() * 1e6 / queries.len() as f64);
                scored[number] = scratch.scored / queries.len();
                if number < LOOPS.len() {
                    found.push(digest);
                }
            }
        }
        assert!(found.iter().all(|&digest| digest == found[0]), "the loops find different neighbours");
        println!("\n{}: {} vectors of {}, ef {EF}\n", real.name, index.len(), real.dim);
        println!("| loop | distances | µs a query | times the first |\n|---|---|---|---|");
        let mut first = 0.0;
        for (number, times) in times.iter_mut().enumerate() {
            times.sort_by(f64::total_cmp);
            let median = times[ROUNDS / 2];
            if number == 0 {
                first = median;
            }
            let name = LOOPS.get(number).copied().unwrap_or("the library's own, one query at a time");
            let spread = format!("{:.1} ({:.1} to {:.1})", median, times[0], times[ROUNDS - 1]);
            println!("| {name} | {} | {spread} | {:.2} |", scored[number], first / median);
        }
    }
}

//! The loops themselves, each compiled for its [`Idea`](super::Idea).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;

use nearlab_index::{Counters, IdSet, Index, Neighbor, hnsw::Hnsw};
use nearlab_simd::{CodeKernels, Metric, WITHIN, code_kernels, normalize, prefetch, u4_query_level};
use nearlab_storage::{Buffer, Container, SectionId};

use super::Idea;

const NO_LINK: u32 = u32::MAX;
const COLLECTED: usize = Idea::Collected as usize;
const TOGETHER: usize = Idea::Together as usize;
const AHEAD: usize = Idea::Ahead as usize;
const WITHIN_WORST: usize = Idea::Within as usize;
const SORTED: usize = Idea::Sorted as usize;

/// What the loops walk over.
#[derive(Debug)]
pub(super) struct Walked {
    links: Buffer<u32>,
    codes: Buffer<u8>,
    /// Offsets of the levels, and their step.
    levels: Buffer<f32>,
    row_bytes: usize,
    /// Links of a node.
    degree: usize,
    entry: u32,
    kernels: &'static CodeKernels,
}

/// A query, as the kernel takes it.
#[derive(Debug, Default)]
pub(super) struct Query {
    vector: Vec<f32>,
    levels: Vec<i8>,
}

/// Memory of a search, kept for the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    ef: usize,
    visited: Vec<u64>,
    met: Vec<u32>,
    ids: Vec<u32>,
    scores: Vec<f32>,
    candidates: BinaryHeap<Reverse<u64>>,
    results: BinaryHeap<u64>,
    /// Nearest first; after a search, what it found.
    pool: Vec<u64>,
    pub(super) counters: Counters,
}

/// Scores are not negative, so their bits are ordered as they are; ids have 31 bits, and the lowest bit says "expanded".
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
    fn begin(&mut self, nodes: usize, ef: usize) {
        self.ef = ef;
        self.visited.resize(nodes.div_ceil(64), 0);
        for id in self.met.drain(..) {
            self.visited[id as usize / 64] = 0;
        }
        self.candidates.clear();
        self.results.clear();
        self.pool.clear();
        self.counters = Counters::default();
    }

    /// The `k` nearest that were found, with scores in place of distances.
    pub(super) fn found(&self, k: usize) -> impl Iterator<Item = Neighbor> {
        self.pool.iter().take(k).map(|&key| Neighbor { id: id_of(key), distance: score_of(key) })
    }

    fn visit(&mut self, id: u32) -> bool {
        let (word, bit) = (&mut self.visited[id as usize / 64], 1 << (id % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// The nearest candidate that can still lead to a nearer one.
    fn next<const IDEA: usize>(&mut self) -> Option<u32> {
        if IDEA < SORTED {
            let Reverse(nearest) = self.candidates.pop()?;
            let full = self.results.len() == self.ef;
            return (!full || nearest <= *self.results.peek()?).then(|| id_of(nearest));
        }
        let waiting = self.pool.iter_mut().find(|key| **key & 1 == 0)?;
        *waiting |= 1;
        Some(id_of(*waiting))
    }

    fn worst<const IDEA: usize>(&self) -> f32 {
        let (worst, count) =
            if IDEA < SORTED { (self.results.peek(), self.results.len()) } else { (self.pool.last(), self.pool.len()) };
        worst.filter(|_| count == self.ef).map_or(f32::INFINITY, |&key| score_of(key))
    }

    fn offer<const IDEA: usize>(&mut self, kernels: &CodeKernels, id: u32, score: f32) {
        let key = key(id, score);
        if IDEA < SORTED {
            if self.results.len() < self.ef {
                self.results.push(key);
            } else if self.results.peek().is_some_and(|&worst| key < worst) {
                self.results.pop();
                self.results.push(key);
            } else {
                return;
            }
            self.candidates.push(Reverse(key));
        } else {
            if self.pool.len() < self.ef {
                self.pool.push(0);
            } else if self.pool.last().is_some_and(|&worst| key >= worst) {
                return;
            }
            kernels.insert_key(&mut self.pool, key);
        }
    }
}

impl Walked {
    /// What the file of `index` holds.
    pub(super) fn of(file: &Container, index: &Hnsw) -> Result<Self, Box<dyn Error>> {
        let codes: Buffer<u8> = file.buffer(SectionId::new("sq4"))?;
        Ok(Self {
            links: file.buffer(SectionId::new("base"))?.into_resident()?,
            row_bytes: codes.len() / index.len().max(1),
            codes: codes.into_resident()?,
            levels: file.buffer(SectionId::new("sq4level"))?,
            degree: 2 * index.params().m,
            entry: file.view::<u64>(SectionId::new("header"))?[11] as u32,
            kernels: code_kernels(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.links.len() / self.degree
    }

    /// Makes levels of a query.
    pub(super) fn prepare(&self, (query, metric): (&[f32], Metric), prepared: &mut Query) {
        let Query { vector, levels } = prepared;
        vector.clear();
        vector.extend_from_slice(query);
        if metric == Metric::Cosine {
            normalize(vector);
        }
        let (offsets, step) = self.levels.split_at(self.levels.len() - 1);
        levels.clear();
        levels.extend(vector.iter().zip(offsets).map(|(x, offset)| u4_query_level((x - offset) / step[0])));
        levels.resize(2 * self.row_bytes, 0);
    }

    /// The distance that a score stands for: scores are squares of eighths of a step.
    pub(super) fn measured(&self, Neighbor { id, distance: score }: Neighbor, metric: Metric) -> Neighbor {
        let eighth = self.levels[self.levels.len() - 1] / 8.0;
        let squared = score * eighth * eighth;
        Neighbor { id, distance: if metric == Metric::Cosine { squared / 2.0 } else { squared } }
    }

    fn row(&self, id: u32) -> &[u8] {
        &self.codes[id as usize * self.row_bytes..][..self.row_bytes]
    }

    fn score(&self, query: &Query, scratch: &mut Scratch) {
        let Scratch { ids, scores, counters, .. } = scratch;
        scores.resize(ids.len(), 0.0);
        self.kernels.u4_by_id(&query.levels, &self.codes, ids, scores);
        counters.distance_computations += ids.len() as u64;
    }

    /// The nearest of some, by the scores of all of them.
    pub(super) fn score_all(&self, query: &Query, among: &IdSet, scratch: &mut Scratch) {
        scratch.begin(self.len(), 0);
        scratch.ids.clear();
        scratch.ids.extend(among.iter().take_while(|&id| (id as usize) < self.len()));
        self.score(query, scratch);
        let Scratch { ids, scores, pool, .. } = scratch;
        pool.extend(ids.iter().zip(&*scores).map(|(&id, &score)| key(id, score)));
        pool.sort_unstable();
    }

    /// The nearest of the base layer, by the idea of that number and those before it.
    pub(super) fn search<const IDEA: usize>(&self, query: &Query, ef: usize, scratch: &mut Scratch) {
        scratch.begin(self.len(), ef);
        if self.len() == 0 {
            return;
        }
        self.meet::<IDEA>(query, &[self.entry], scratch);
        while let Some(node) = scratch.next::<IDEA>() {
            scratch.counters.hops += 1;
            self.meet::<IDEA>(query, &self.links[node as usize * self.degree..][..self.degree], scratch);
        }
        if IDEA < SORTED {
            scratch.pool.extend(scratch.results.drain());
            scratch.pool.sort_unstable();
        }
    }

    /// Scores those of some links that are new, and offers them.
    fn meet<const IDEA: usize>(&self, query: &Query, links: &[u32], scratch: &mut Scratch) {
        let links = links.iter().copied().take_while(|&link| link != NO_LINK);
        if IDEA < COLLECTED {
            for link in links {
                if scratch.visit(link) {
                    scratch.met.push(link);
                    self.meet_one::<IDEA>(query, link, scratch);
                }
            }
            return;
        }
        scratch.ids.resize(self.degree, 0);
        let mut new = 0;
        for link in links {
            scratch.ids[new] = link;
            new += usize::from(scratch.visit(link));
        }
        scratch.ids.truncate(new);
        scratch.met.extend_from_slice(&scratch.ids);
        if IDEA < TOGETHER {
            let ids = std::mem::take(&mut scratch.ids);
            for &id in &ids {
                self.meet_one::<IDEA>(query, id, scratch);
            }
            scratch.ids = ids;
            return;
        }
        if IDEA >= AHEAD {
            for &id in &scratch.ids {
                prefetch(self.row(id));
            }
        }
        self.score(query, scratch);
        self.offer_all::<IDEA>(scratch);
    }

    fn meet_one<const IDEA: usize>(&self, query: &Query, id: u32, scratch: &mut Scratch) {
        let mut score = [0.0];
        self.kernels.u4_by_id(&query.levels, &self.codes, &[id], &mut score);
        scratch.counters.distance_computations += 1;
        scratch.offer::<IDEA>(self.kernels, id, score[0]);
    }

    /// Offers what was scored.
    fn offer_all<const IDEA: usize>(&self, scratch: &mut Scratch) {
        let (ids, scores) = (std::mem::take(&mut scratch.ids), std::mem::take(&mut scratch.scores));
        if IDEA < WITHIN_WORST {
            for (&id, &score) in ids.iter().zip(&scores) {
                scratch.offer::<IDEA>(self.kernels, id, score);
            }
        } else {
            for (ids, scores) in ids.chunks(WITHIN).zip(scores.chunks(WITHIN)) {
                let mut places = self.kernels.within(scores, scratch.worst::<IDEA>());
                while places != 0 {
                    let at = places.trailing_zeros() as usize;
                    places &= places - 1;
                    scratch.offer::<IDEA>(self.kernels, ids[at], scores[at]);
                }
            }
        }
        (scratch.ids, scratch.scores) = (ids, scores);
    }
}

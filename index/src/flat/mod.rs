//! Exact search: every vector is compared with the query.
//!
//! The index is the vectors and nothing else; it is what other indexes are measured against. [`Searcher::search`] scans
//! blocks of rows with the one-against-many kernel. [`Searcher::search_batch`] sieves (docs/adr/0009): inner products of tiles of rows x
//! queries, in the fastest order of summation, tell which rows can be among the nearest within what rounding may have added; only
//! those are scored. What is scored is scored by kernels that give one pair of vectors one distance, bit for bit, so the
//! results are equal, and so are those of an IVF that probes all its lists. [`Searcher::search_among`] scores the matches and
//! nothing else.
//!
//! Not here: threads (one searcher each), pruning of any kind.
//!
//! ```
//! use nearlab_index::{Build, Index, Searcher, flat::{Flat, FlatParams, FlatSearchParams}};
//! use nearlab_simd::Metric;
//! use nearlab_storage::Vectors;
//!
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
//! let vectors = [0.0, 0.0, /* */ 3.0, 4.0, /* */ 1.0, 0.0];
//! let flat = Flat::build(Vectors::new(&vectors, 2), Metric::L2, &FlatParams {}, &pool, &())?;
//! let mut found = Vec::new();
//! flat.searcher(&FlatSearchParams {})?.search(&[0.9, 0.0], 2, &mut found);
//! assert_eq!([found[0].id, found[1].id], [2, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod sieve;

use std::collections::BTreeMap;

use nearlab_simd::{Metric, WITHIN};
use nearlab_storage::{Buffer, Vectors};
use rayon::ThreadPool;
use xxhash_rust::xxh3::xxh3_64;

use crate::index::{assert_batch, assert_query, fill_row, one_by_one};
use crate::memory::Capacity;
use crate::quant::Codes;
use crate::scatter::score_scattered;
use crate::scratch::Idle;
use crate::space::{PreparedQuery, Space, base_of, check_base, step};
use crate::top_k::TopK;
use crate::{Build, BuildError, Counters, IdSet, Index, Memory, Neighbor, ParamError, Progress, Searcher, Stage};
use sieve::{Group, Sieve};

/// Rows that a query alone is scored against at once: their distances stay in the first-level cache.
const BLOCK_ROWS: usize = 252;
/// Queries of a batch that the same rows are scored against while the second-level cache holds these: whole groups.
const BLOCK_QUERIES: usize = 4 * WITHIN;
/// Numbers that such rows have.
const BLOCK_NUMBERS: usize = 1 << 16;
/// Such rows, at least and at most: multiples of what kernels take at a time.
const TILE_ROWS: (usize, usize) = (24, 504);
/// Queries that are not worth the sieve.
const FEW: usize = 4;

/// Exact search takes no build parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlatParams {}

/// Exact search takes no search parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlatSearchParams {}

/// Exact search over `n x d` vectors; see the [module](self).
#[derive(Debug)]
pub struct Flat {
    vectors: Buffer<f32>,
    dim: usize,
    metric: Metric,
    sieve: Sieve,
    /// Memory for searchers.
    idle: Idle<Scratch>,
}

impl Flat {
    fn new(vectors: Buffer<f32>, dim: usize, metric: Metric) -> Self {
        let sieve = Sieve::of(&vectors, dim, metric);
        Self { vectors, dim, metric, sieve, idle: Idle::default() }
    }

    fn space(&self) -> Space<'_> {
        Space::new(&self.vectors, self.dim, self.metric)
    }
}

impl Build for Flat {
    type Params = FlatParams;

    fn build(
        vectors: Vectors<'_, f32>,
        metric: Metric,
        _: &FlatParams,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        step(progress, Stage::Construct, 0, vectors.len())?;
        let base = pool.install(|| {
            check_base(vectors)?;
            base_of(vectors, metric)
        })?;
        step(progress, Stage::Construct, vectors.len(), vectors.len())?;
        Ok(pool.install(|| Self::new(base, vectors.dim(), metric)))
    }
}

impl Index for Flat {
    type SearchParams = FlatSearchParams;
    type Searcher<'a> = FlatSearcher<'a>;

    fn len(&self) -> usize {
        self.vectors.len() / self.dim
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    /// `vectors`, and `lengths`, one number for each.
    fn memory(&self) -> Memory {
        Memory::of([("vectors", size_of_val(&*self.vectors)), ("lengths", self.sieve.bytes())])
    }

    /// None: there is no structure.
    fn stats(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// Over the vectors.
    fn digest(&self) -> u64 {
        xxh3_64(bytemuck::cast_slice(&self.vectors))
    }

    /// None: nothing is compared.
    fn build_counters(&self) -> Counters {
        Counters::default()
    }

    fn scratch_bytes(&self) -> u64 {
        self.idle.capacity_bytes() as u64
    }

    fn searcher(&self, _: &FlatSearchParams) -> Result<FlatSearcher<'_>, ParamError> {
        Ok(FlatSearcher { space: self.space(), sieve: &self.sieve, scratch: self.idle.take(), idle: &self.idle })
    }
}

/// One thread's exact searches.
#[derive(Debug)]
pub struct FlatSearcher<'a> {
    space: Space<'a>,
    sieve: &'a Sieve,
    scratch: Scratch,
    idle: &'a Idle<Scratch>,
}

impl Drop for FlatSearcher<'_> {
    fn drop(&mut self) {
        self.idle.put(std::mem::take(&mut self.scratch));
    }
}

/// The memory of one thread's searches.
#[derive(Debug, Default)]
struct Scratch {
    query: PreparedQuery,
    /// The query of a search among some.
    own_query: Vec<f32>,
    top: TopK,
    batch: Batch,
}

impl Capacity for Scratch {
    fn capacity_bytes(&self) -> usize {
        let Self { query, own_query, top, batch: Batch { queries, groups, tile, found } } = self;
        let of_groups =
            groups.capacity() * size_of::<Group>() + groups.iter().map(Capacity::capacity_bytes).sum::<usize>();
        let batch = queries.capacity_bytes() + of_groups + tile.capacity_bytes() + found.capacity_bytes();
        query.capacity_bytes() + own_query.capacity_bytes() + top.capacity_bytes() + batch
    }
}

/// What a batch needs beyond a single search.
#[derive(Debug, Default)]
struct Batch {
    queries: Vec<f32>,
    groups: Vec<Group>,
    /// Products of some rows with the queries of a group.
    tile: Vec<f32>,
    found: Vec<Neighbor>,
}

impl Searcher for FlatSearcher<'_> {
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        let Self { space, scratch: Scratch { query: prepared, top, .. }, .. } = self;
        assert_query(query, space.dim());
        let query = prepared.prepare(space.metric(), query);
        let mut counters = Counters::default();
        let mut distances = [0.0; BLOCK_ROWS];
        top.begin(k.min(space.len()));
        for from in (0..space.len()).step_by(BLOCK_ROWS) {
            let distances = &mut distances[..BLOCK_ROWS.min(space.len() - from)];
            space.score_rows(query, from, distances, &mut counters);
            top.extend((from as u32..).zip(distances.iter().copied()));
        }
        top.finish(out);
        counters
    }

    /// Sieves tiles of rows x queries; see the [module](self).
    fn search_batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        assert_batch(queries.len(), k, out.len());
        let mut counters = Counters::default();
        if k == 0 || queries.is_empty() {
            return counters;
        }
        assert_query(queries.row(0), self.space.dim());
        if queries.len() < FEW {
            let mut found = std::mem::take(&mut self.scratch.batch.found);
            let counters = one_by_one((queries, k), &mut found, out, |query, found| self.search(query, k, found));
            self.scratch.batch.found = found;
            return counters;
        }
        let blocks = queries.as_slice().chunks(BLOCK_QUERIES * queries.dim());
        for (block, out) in blocks.zip(out.chunks_mut(BLOCK_QUERIES * k)) {
            self.search_block(block, k, out, &mut counters);
        }
        counters
    }

    /// Scores the matches and nothing else.
    fn search_among(&mut self, query: &[f32], k: usize, among: &IdSet, out: &mut Vec<Neighbor>) -> Counters {
        if among.covers(self.space.len()) {
            return self.search(query, k, out);
        }
        let Self { space, scratch: Scratch { own_query, top, .. }, .. } = self;
        assert_query(query, space.dim());
        let mut counters = Counters::default();
        top.begin(k.min(space.len()));
        if k > 0 {
            space.prepare(query, own_query);
            let matches = among.iter().take_while(|&id| (id as usize) < space.len()).map(|id| (id, id));
            score_scattered((*space, own_query), matches, &mut counters, |ids, distances| top.offer(ids, distances));
        }
        top.finish(out);
        counters
    }

    fn search_batch_among(
        &mut self,
        queries: Vectors<'_, f32>,
        k: usize,
        among: &IdSet,
        out: &mut [Neighbor],
    ) -> Counters {
        let mut found = std::mem::take(&mut self.scratch.batch.found);
        let counters =
            one_by_one((queries, k), &mut found, out, |query, found| self.search_among(query, k, among, found));
        self.scratch.batch.found = found;
        counters
    }
}

impl FlatSearcher<'_> {
    fn search_block(&mut self, queries: &[f32], k: usize, out: &mut [Neighbor], counters: &mut Counters) {
        let Self { space, sieve, scratch: Scratch { query, batch, .. }, .. } = self;
        let Batch { queries: prepared, groups, tile, found } = batch;
        let (dim, len) = (space.dim(), space.len());
        prepared.clear();
        for raw in queries.chunks_exact(dim) {
            prepared.extend_from_slice(query.prepare(space.metric(), raw));
        }
        let count = (prepared.len() / dim).div_ceil(WITHIN);
        groups.resize_with(groups.len().max(count), Group::default);
        let groups = &mut groups[..count];
        for (group, queries) in groups.iter_mut().zip(prepared.chunks(WITHIN * dim)) {
            group.begin(sieve, *space, queries, k.min(len));
        }
        let at_once = (BLOCK_NUMBERS / dim).clamp(TILE_ROWS.0, TILE_ROWS.1) / TILE_ROWS.0 * TILE_ROWS.0;
        tile.resize(tile.len().max(at_once * WITHIN), 0.0);
        for from in (0..len).step_by(at_once) {
            let rows = at_once.min(len - from);
            for group in &mut *groups {
                sieve.pass(*space, from, group, &mut tile[..rows * group.width()]);
                counters.add_scored(rows * group.len(), space.row_bytes());
            }
        }
        for (group, out) in groups.iter_mut().zip(out.chunks_mut(WITHIN * k)) {
            for (top, row) in group.tops.iter_mut().zip(out.chunks_exact_mut(k)) {
                top.finish(found);
                fill_row(row, found);
            }
        }
    }
}

//! HNSW: a hierarchy of navigable small world graphs.
//!
//! Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
//! World graphs", TPAMI 2018 (arXiv:1603.09320).
//!
//! | source | function | file |
//! |---|---|---|
//! | algorithm 1, INSERT | `Seeker`: all points of a batch, in parallel | `seek.rs`, `build.rs`, `batch.rs` |
//! | algorithm 1, line 4, level | `level_of` | `level.rs` |
//! | algorithm 2, SEARCH-LAYER | `Walk::step`, greedy above the layer where candidates are kept | `walk.rs`, `pool.rs`, `visited.rs` |
//! | algorithm 4, SELECT-NEIGHBORS-HEURISTIC | `select_neighbors` | `select.rs` |
//! | algorithm 5, K-NN-SEARCH | [`HnswSearcher`] | `search.rs` |
//! | `HCNNG`, `PiPNN`: neighbours from groups | `Builder::link_all` | `bulk/` |
//! | uniform scalar quantisation, principal components | `Levels`, `Projection` | `../quant/` |
//! | Aguerrebere et al. 2023, LVQ | `lvq`, `AffineRows` | `../quant/fit.rs`, `../quant/affine.rs` |
//! | Gao and Long 2024, Gao et al. 2025, `RaBitQ` | `rabitq`, `Rotation`, `AffineRows` | `../quant/fit.rs`, `../quant/rotation.rs` |
//! | Jégou et al. 2011, André et al. 2015, product quantisation | `PqRows` | `../quant/pq.rs` |
//! | NGT-QG; Gou et al. 2025, `SymphonyQG`: codes of neighbours side by side | `Blocks`, `Walk::scan` | `../quant/blocks.rs`, `walk.rs` |
//! | Bachrach et al. 2014: inner product in Euclidean space | `Euclid` | `../quant/euclid.rs` |
//! | Morozov and Babenko 2018, `ip-NSW`: links to what a vector finds as a query | `AsQueries` | `../quant/heights.rs` |
//! | `FreshDiskANN`: deleted nodes taken out | `mended` | `repair.rs` |
//! | Patel et al. 2024, ACORN-1: two hops | `Walk::leap` | `among/walks.rs` |
//! | (not in the papers) how many candidates to rank anew | `Finish` | `finish.rs` |
//! | (not in the papers) what to do among some | `Plan::one_among` | `among/` |
//! | (not in the papers) vectors that codes have no place for | `Apart` | `apart.rs` |
//! | (not in the papers) reachability | `connect`, `Anchor` | `connect.rs`, `anchor.rs` |
//!
//! Invariants: the same vectors, parameters and seed give the same graph on any number of threads. Every node can be
//! reached from the entry point on the base layer, so a search with `ef_search >= n` meets every vector. A frozen graph is flat
//! arrays; what changes, [`LiveHnsw`], is another type. Not here: `extendCandidates` of algorithm 4.
//!
//! How to choose. `m` 16 suits most sets; raise it to 24 or 32 where recall stays low at an `ef_search` of some hundreds. Then
//! sweep `ef_search` from `k` upwards until the recall suffices. The defaults search the vectors as they are. For speed,
//! build in bulk and search codes (docs/adr 6 and 7 have the figures):
//!
//! | set | codes | components | rerank codes | m | replicas |
//! |---|---|---|---|---|---|
//! | SIFT, 128 dimensions, whole numbers | sq4 | 0 | sq8 | 16 | 3 |
//! | GloVe, 100 dimensions, cosine, hard | sq4 | 0 | f16 | 32 | 4 |
//! | text embeddings, 1536 dimensions | sq4 | 256 | sq8 | 24 | 4 |
//!
//! Over codes set `rerank` to 100, or 200 at 1536 dimensions: candidates that need not be scored anew are left out. On 100,000 vectors of 1536
//! dimensions .9941 of the neighbours are found with 50 at most, .9950 with 100 (`ef_search` 160), for a tenth less speed
//! (reports/record/components). docs/choosing.md has the rest.
//! At a million points groups of 4000 (`leaf`) save 4 to 7 % of the distances of groups of 2000. On two cores of a Granite Rapids server a
//! million SIFT descriptors take 18 s to build so, and a million of 1536 dimensions 35 s (reports/record/million, openai-million).
//!
//! ```
//! use nearlab_index::{Build, Index, Searcher, hnsw::{Hnsw, HnswParams, HnswSearchParams}};
//! use nearlab_simd::Metric;
//! use nearlab_storage::Vectors;
//!
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
//! let vectors: Vec<f32> = (0..2000).map(|i| (i * 7919 % 2003) as f32).collect();
//! let vectors = Vectors::new(&vectors, 4);
//! let hnsw = Hnsw::build(vectors, Metric::L2, &HnswParams::default(), &pool, &())?;
//! let mut found = Vec::new();
//! hnsw.searcher(&HnswSearchParams::new(40))?.search(vectors.row(123), 10, &mut found);
//! assert_eq!((found[0].id, found[0].distance), (123, 0.0));
//!
//! // To change it while other threads search:
//! use nearlab_index::Mutable;
//! let live = hnsw.into_live(&pool)?;
//! let ids = live.insert(vectors.rows(0..2), &pool)?;
//! assert_eq!((live.delete(&ids), live.len()), (2, 500));
//! live.optimize(&pool, &())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod among;
mod anchor;
mod apart;
mod batch;
mod build;
mod bulk;
mod changes;
mod codes;
mod connect;
mod file;
mod finish;
mod forms;
mod graph;
mod grow;
mod growth;
mod level;
mod live;
mod pace;
mod params;
mod plan;
mod pool;
mod ready;
mod repair;
mod rows;
mod search;
mod seek;
mod select;
mod visited;
mod walk;

use std::collections::BTreeMap;
use std::io;

use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;

pub use forms::{Construction, RerankCodes, TraversalCodes};
pub use live::{LiveHnsw, LiveSaveError, LiveSearcher};
pub use pace::Ahead;
pub use params::{HnswParams, HnswSearchParams, Layers};
pub use search::HnswSearcher;
pub(crate) use search::Scratch;

use crate::index::Clock;
use crate::memory::Capacity;
use crate::quant::{Blocks, Euclid, Form, Lifted};
use crate::scratch::Idle;
use crate::space::{check_base, step};
use crate::{Build, BuildError, Counters, IdSet, Index, Memory, ParamError, Progress, Stage};
use apart::Apart;
use batch::Batches;
use codes::{Lent, Rerank, Traversal, Walked};
use graph::Graph;
use grow::grow;
use pace::{Tuned, measured};
use search::Searched;

/// A navigable graph over `n x d` vectors; see the [module](self).
#[derive(Debug)]
pub struct Hnsw {
    params: HnswParams,
    euclid: Euclid,
    traversal: Traversal,
    rerank: Rerank,
    graph: Graph,
    /// The codes of the neighbours of each node, where they lie side by side.
    blocks: Option<Blocks>,
    /// Ids that nothing leads to, in an index that was changed.
    deleted: IdSet,
    apart: Apart,
    build_counters: Counters,
    tuned: Tuned,
    /// Memory for searchers.
    idle: Idle<Scratch>,
}

impl Hnsw {
    /// The parameters of the build.
    pub fn params(&self) -> &HnswParams {
        &self.params
    }

    /// Ids that were ever given, those without a vector too.
    pub(crate) fn nodes(&self) -> usize {
        self.graph.levels.len()
    }

    /// Moves all that searches read, links, codes and what these have learnt, into memory of the process's own, in huge pages where the
    /// kernel gives them: an index that was opened from a file then searches as fast as one that was just built, and no
    /// longer waits for the file.
    pub fn into_resident(mut self) -> io::Result<Self> {
        self.graph = self.graph.into_resident()?;
        self.traversal.form_mut().make_resident()?;
        self.rerank.form_mut().map_or(Ok(()), Form::make_resident)?;
        Ok(self)
    }

    fn walked(&self) -> Walked<'_> {
        match (&self.traversal, &self.blocks) {
            (Traversal::Pq(pq), Some(blocks)) => Walked::Blocks(Lent { pq, blocks }),
            (traversal, _) => traversal.lent(),
        }
    }

    fn searched(&self) -> Searched<'_> {
        Searched {
            euclid: &self.euclid,
            traversal: self.walked(),
            rerank: &self.rerank,
            links: self.graph.links(),
            entry_point: self.graph.entry_point,
            max_level: self.graph.max_level(),
            deleted: &self.deleted,
            apart: &self.apart,
            linked: self.len(),
            dead: 0,
            pace: self.tuned.pace(),
        }
    }

    fn build_in(
        vectors: Vectors<'_, f32>,
        metric: Metric,
        params: &HnswParams,
        batches: Batches,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        check_base(vectors)?;
        step(progress, Stage::Train, 0, 1)?;
        let euclid = Euclid::of(vectors, metric);
        params.validate_width(euclid.width())?;
        if params.needs_codes() {
            euclid.check(vectors)?;
        }
        let apart = Apart::of(vectors, &euclid);
        let source = Lifted::new(vectors, &euclid).learnt_without(apart.ids());
        let (mut traversal, sq7) = Traversal::encode(&source, params)?;
        let rerank = Rerank::encode(&source, params)?;
        step(progress, Stage::Train, 1, 1)?;
        let (graph, build_counters) = grow(&source, (&traversal, sq7), params, batches, progress)?;
        traversal.trim();
        let blocks = traversal.blocks(params, graph.links())?;
        Ok(Self {
            params: *params,
            euclid,
            traversal,
            rerank,
            graph,
            blocks,
            deleted: IdSet::new(),
            // Where nothing else is, they are compared as they are.
            apart: if params.codes == TraversalCodes::F32 { Apart::default() } else { apart },
            build_counters,
            tuned: Tuned::default(),
            idle: Idle::default(),
        })
    }
}

impl Build for Hnsw {
    type Params = HnswParams;

    fn build(
        vectors: Vectors<'_, f32>,
        metric: Metric,
        params: &HnswParams,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        params.validate()?;
        pool.install(|| Self::build_in(vectors, metric, params, Batches::GROWING, progress))
    }
}

impl Index for Hnsw {
    type SearchParams = HnswSearchParams;
    type Searcher<'a> = HnswSearcher<'a>;

    fn len(&self) -> usize {
        self.graph.levels.len() - self.deleted.len()
    }

    fn dim(&self) -> usize {
        self.euclid.dim
    }

    fn metric(&self) -> Metric {
        self.euclid.metric
    }

    /// `vectors` or `codes`, what searches walk over; `base_graph`, `upper_graph` (links and where they begin), `levels`; and where
    /// there are any, `neighbor_codes`, those of each node's neighbours side by side; `rerank_codes`; `quantizers`, what codes have
    /// learnt; `deleted`, the set of ids without a vector; `apart`, the vectors that codes have no place for.
    fn memory(&self) -> Memory {
        let graph = &self.graph;
        let codes = if self.params.codes == TraversalCodes::F32 { "vectors" } else { "codes" };
        let mut memory = Memory::of([
            (codes, self.traversal.form().codes().bytes()),
            ("base_graph", size_of_val(&*graph.base)),
            ("upper_graph", size_of_val(&*graph.upper) + size_of_val(&*graph.upper_offsets)),
            ("levels", size_of_val(&*graph.levels)),
        ]);
        memory.add("neighbor_codes", self.blocks.as_ref().map_or(0, Blocks::bytes));
        let rerank = self.rerank.form();
        memory.add("rerank_codes", rerank.map_or(0, |form| form.codes().bytes()));
        let quantizers = [Some(self.traversal.form()), rerank].into_iter().flatten().map(Form::quantizer_bytes);
        memory.add("quantizers", quantizers.sum());
        memory.add("deleted", self.deleted.capacity_bytes());
        memory.add("apart", self.apart.bytes());
        memory
    }

    /// `max_level`; `base_degree_mean` and `base_degree_max`, links per node; `upper_nodes`, nodes above the base layer.
    fn stats(&self) -> BTreeMap<String, f64> {
        graph::stats(self.graph.links(), &self.graph.levels, self.graph.max_level())
    }

    /// Over links, levels and the entry point.
    fn digest(&self) -> u64 {
        graph::digest(self.graph.links(), &self.graph.levels, self.graph.entry_point)
    }

    fn build_counters(&self) -> Counters {
        self.build_counters
    }

    fn scratch_bytes(&self) -> u64 {
        self.idle.capacity_bytes() as u64
    }

    /// What a search of one query asks for ahead: up to 0.2 s, and nothing where the caches hold the graph.
    fn tune(&self, vectors: Vectors<'_, f32>, clock: Clock<'_>) {
        let codes = self.blocks.as_ref().map_or_else(|| self.traversal.form().codes().bytes(), Blocks::bytes);
        let read = codes + size_of_val(&*self.graph.base);
        self.tuned.settle(measured(self, read, vectors, clock));
    }

    fn searcher(&self, params: &HnswSearchParams) -> Result<HnswSearcher<'_>, ParamError> {
        params.validate()?;
        Ok(HnswSearcher::new(self, *params))
    }
}

#[cfg(test)]
mod tests;

//! An HNSW that is inserted into, deleted from and searched at the same time.
//!
//! There is one writer at a time, and it locks searches out only to copy what it has found: the codes of some new points, then
//! the rows of links that they change. What takes time, seeking neighbours and choosing among them, reads like any search.
//! So a search waits for at most one such copy, of some hundred or thousand rows; and the outcome of a sequence of changes depends neither
//! on the threads nor on what is searched meanwhile (ADR 8).
//!
//! A deleted vector is no longer found from then on, but its node leads on until [`optimize`](Mutable::optimize) mends the
//! rows that lead to it. From then on its id is free, and is given again to a vector inserted later.

mod insert;
mod searcher;
mod state;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;

use super::changes::RowChange;
use super::file::Saved;
use super::graph;
use super::growth::Growth;
use super::pace::measured;
use super::repair::Mended;
use super::search::Scratch;
use super::{Hnsw, HnswParams, HnswSearchParams, TraversalCodes};
use crate::index::Clock;
use crate::memory::Capacity;
use crate::quant::{Euclid, Form};
use crate::scratch::Idle;
use crate::space::step;
use crate::{BuildError, Counters, IdSet, Index, Memory, Mutable, ParamError, Progress, SaveError, Stage};
use insert::Writer;
pub use searcher::LiveSearcher;
use state::{Forms, State};

/// Nodes that are mended between two chances for searches.
const MENDED_AT_ONCE: usize = 4096;

/// Why a live index could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum LiveSaveError {
    /// It could not be optimised, or somebody cancelled that.
    #[error(transparent)]
    Optimize(#[from] BuildError),
    /// The file could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// A navigable graph that changes while it is searched; see [`Hnsw::into_live`].
#[derive(Debug)]
pub struct LiveHnsw {
    params: HnswParams,
    euclid: Euclid,
    state: RwLock<State>,
    writer: Mutex<Writer>,
    /// Memory for searchers.
    idle: Idle<Scratch>,
}

impl Hnsw {
    /// The same index, open to changes. On the threads of `pool`: the links are measured anew.
    ///
    /// It needs codes fine enough to choose neighbours by: `f32`, `f16`, `bf16`, `sq8`, or rerank codes. What codes learn from the
    /// vectors (levels, principal components, the largest length under inner product) stays as it is, so an index that begins
    /// empty must be over `f32`, and vectors unlike those of the build are kept less exactly by other codes. Under inner product those
    /// longer than all of them are kept as they are, and every search over codes compares its query with each.
    pub fn into_live(self, pool: &ThreadPool) -> Result<LiveHnsw, BuildError> {
        let refuse = |expected: &str, found: String| {
            Err(BuildError::from(ParamError { name: "codes", expected: expected.to_owned(), found }))
        };
        self.params.validate_live()?;
        let codes = self.params.codes;
        if codes != TraversalCodes::F32 && self.graph.levels.is_empty() {
            return refuse("f32 in an index that begins empty", codes.name().to_owned());
        }
        pool.install(|| self.thawed())
    }

    fn thawed(self) -> Result<LiveHnsw, BuildError> {
        let Self { params, euclid, traversal, rerank, graph, deleted, apart, build_counters, tuned, idle, .. } = self;
        let (forms, heights) = Forms::of(&euclid, traversal, &rerank)?;
        let growth = match &forms {
            Forms::Plain(f32) => Growth::thawed(&graph, f32.rows()),
            Forms::Coded(_, sq7) => Growth::thawed(&graph, sq7.rows()),
        }?;
        let writer = Writer::new(free_ids(&deleted), build_counters, &params);
        let free = deleted.len();
        let mut state = State { forms, rerank, heights, growth, deleted, apart, free, tuned };
        // Here, and not under the lock of the first insert.
        for form in state.forms_mut().into_iter().flatten() {
            let bytes = form.codes().bytes();
            form.codes_mut().make_writable().map_err(|_| BuildError::Memory { bytes })?;
        }
        Ok(LiveHnsw { params, euclid, state: RwLock::new(state), writer: Mutex::new(writer), idle })
    }
}

fn free_ids(deleted: &IdSet) -> Vec<u32> {
    let mut ids: Vec<u32> = deleted.iter().collect();
    ids.reverse();
    ids
}

impl LiveHnsw {
    /// The parameters of the build.
    pub fn params(&self) -> &HnswParams {
        &self.params
    }

    /// Ends the changes: optimises, and gives an index that can be saved. Ids stay; those that are free are not found.
    pub fn freeze(self, pool: &ThreadPool, progress: &dyn Progress) -> Result<Hnsw, BuildError> {
        self.optimize(pool, progress)?;
        let Self { params, euclid, state, writer, idle } = self;
        let State { forms, rerank, growth, deleted, apart, tuned, .. } =
            state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let build_counters = writer.into_inner().unwrap_or_else(PoisonError::into_inner).counters;
        let (traversal, graph) = (forms.into_traversal(), growth.freeze());
        let blocks = pool.install(|| traversal.blocks(&params, graph.links()))?;
        Ok(Hnsw { params, euclid, traversal, rerank, graph, blocks, deleted, apart, build_counters, tuned, idle })
    }

    /// Optimises, and writes the index to a file that [`Hnsw`] opens. Changes wait until that is done, searches do not. Not to be called on a
    /// thread of `pool`, as no [change](Mutable) is.
    pub fn save(&self, path: &Path, pool: &ThreadPool, progress: &dyn Progress) -> Result<(), LiveSaveError> {
        let mut writer = self.lock_writer();
        let writer = &mut *writer;
        pool.install(|| self.optimize_by(writer, progress))?;
        let state = self.read();
        let State { forms, rerank, growth, deleted, apart, .. } = &*state;
        let saved = Saved {
            params: &self.params,
            euclid: &self.euclid,
            traversal: forms.walked(),
            rerank,
            links: growth.links(),
            levels: growth.levels(),
            entry_point: growth.entry_point,
            deleted,
            apart,
            build_counters: writer.counters,
        };
        Ok(saved.save(path)?)
    }

    /// Whether searches have come to compare their queries with many vectors, one by one, because they are longer than those that codes have
    /// learnt from: time to build the index anew.
    pub(crate) fn is_outgrown(&self) -> bool {
        self.read().apart.is_large()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only for the thread that asks for a change; see [`insert_on`](Self::insert_on).
    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn optimize_by(&self, writer: &mut Writer, progress: &dyn Progress) -> Result<(), BuildError> {
        let nodes = self.read().growth.len();
        for first in (0..nodes).step_by(MENDED_AT_ONCE) {
            step(progress, Stage::Optimise, first, nodes)?;
            let ids = first as u32..(first + MENDED_AT_ONCE).min(nodes) as u32;
            let (rows, counters) = self.read().mended(ids, &self.params);
            writer.counters += counters;
            let mut state = self.write();
            for Mended { id, layer, neighbors } in rows {
                state.growth.set((id, layer), &neighbors);
            }
        }
        let entry_point = self.read().best_entry_point();
        self.write().growth.entry_point = entry_point;
        self.free_deleted(writer);
        self.tie_lost(writer);
        step(progress, Stage::Optimise, nodes, nodes)
    }

    /// Forgets the deleted nodes, to which nothing leads any more.
    fn free_deleted(&self, writer: &mut Writer) {
        let deleted = free_ids(&self.read().deleted);
        for ids in deleted.chunks(MENDED_AT_ONCE) {
            let mut state = self.write();
            for &id in ids {
                state.growth.clear(id);
            }
        }
        self.write().free = deleted.len();
        writer.free = deleted;
    }

    /// Links what no search would meet.
    fn tie_lost(&self, writer: &mut Writer) {
        let tied = self.read().tied(&mut writer.counters);
        let mut rows = tied.iter().peekable();
        while rows.peek().is_some() {
            let mut state = self.write();
            for RowChange { id, layer, neighbors } in rows.by_ref().take(MENDED_AT_ONCE) {
                state.growth.set((id, layer), neighbors);
            }
        }
    }
}

impl Mutable for LiveHnsw {
    /// A search sees a batch of up to 128 new vectors at once, as soon as it is linked.
    fn insert_into(&self, vectors: Vectors<'_, f32>, pool: &ThreadPool, ids: &mut Vec<u32>) -> Result<(), BuildError> {
        self.insert_on(vectors, pool, ids)
    }

    fn delete(&self, ids: &[u32]) -> usize {
        let _writer = self.lock_writer();
        let mut state = self.write();
        let nodes = state.growth.len();
        ids.iter().filter(|&&id| (id as usize) < nodes && state.delete(id, self.euclid.dim)).count()
    }

    /// Mends the rows that lead to deleted vectors and makes every vector reachable. Inserts and deletes wait, searches do not.
    fn optimize(&self, pool: &ThreadPool, progress: &dyn Progress) -> Result<(), BuildError> {
        let mut writer = self.lock_writer();
        let writer = &mut *writer;
        pool.install(|| self.optimize_by(writer, progress))
    }
}

impl Index for LiveHnsw {
    type SearchParams = HnswSearchParams;
    type Searcher<'a> = LiveSearcher<'a>;

    fn len(&self) -> usize {
        let state = self.read();
        state.growth.len() - state.deleted.len()
    }

    fn dim(&self) -> usize {
        self.euclid.dim
    }

    fn metric(&self) -> Metric {
        self.euclid.metric
    }

    /// `vectors` or `codes`, what searches walk over; `graph`, links with their distances; and where there are any,
    /// `rerank_codes`, `selection_codes`, heights among them; `quantizers`, what codes have learnt; `deleted`, the sets of deleted and free ids;
    /// `apart`, the vectors that codes have no place for.
    fn memory(&self) -> Memory {
        let state = self.read();
        let codes = if self.params.codes == TraversalCodes::F32 { "vectors" } else { "codes" };
        let names = [codes, "rerank_codes", "selection_codes"];
        let mut memory = Memory::of([("graph", state.growth.bytes())]);
        for (name, form) in names.into_iter().zip(state.forms()) {
            memory.add(name, form.map_or(0, |form| form.codes().bytes()));
            memory.add("quantizers", form.map_or(0, Form::quantizer_bytes));
        }
        memory.add("selection_codes", state.heights.bytes());
        memory.add("deleted", state.deleted.capacity_bytes());
        memory.add("apart", state.apart.bytes());
        memory
    }

    /// Those of [`Hnsw`], and `deleted`, vectors that were deleted since the last optimise.
    fn stats(&self) -> BTreeMap<String, f64> {
        let state = self.read();
        let growth = &state.growth;
        let mut stats = graph::stats(growth.links(), growth.levels(), growth.max_level().unwrap_or(0));
        stats.insert("deleted".to_owned(), (state.deleted.len() - state.free) as f64);
        stats
    }

    fn digest(&self) -> u64 {
        let state = self.read();
        graph::digest(state.growth.links(), state.growth.levels(), state.growth.entry_point)
    }

    /// The work of the build and of all changes since.
    fn build_counters(&self) -> Counters {
        self.lock_writer().counters
    }

    fn scratch_bytes(&self) -> u64 {
        // Not that of a change that is being made, which is not waited for.
        let writer = match self.writer.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(writer)) => Some(writer.into_inner()),
            Ok(writer) => Some(writer),
        };
        let changes = writer.map_or(0, |writer| writer.capacity_bytes() + writer.free.capacity_bytes());
        (self.idle.capacity_bytes() + changes) as u64
    }

    /// As that of [`Hnsw`].
    fn tune(&self, vectors: Vectors<'_, f32>, clock: Clock<'_>) {
        let read = {
            let state = self.read();
            state.forms()[0].map_or(0, |form| form.codes().bytes()) + size_of_val(state.growth.links().base)
        };
        let pace = measured(self, read, vectors, clock);
        self.read().tuned.settle(pace);
    }

    fn searcher(&self, params: &HnswSearchParams) -> Result<LiveSearcher<'_>, ParamError> {
        params.validate()?;
        Ok(LiveSearcher::new(self, *params))
    }
}

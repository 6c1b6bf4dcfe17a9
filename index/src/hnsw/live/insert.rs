//! Inserting: codes are put where searches will read them, neighbours are sought, and links are written, a batch at a time.
//!
//! What a batch is worked out in is kept for the next, and codes and links lie in memory that doubles when it is full. So an insert
//! allocates nothing, but for the doublings, and a job of the thread pool where there are more vectors than one thread seeks for at
//! once (ADR 17).

use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;

use super::LiveHnsw;
use crate::hnsw::HnswParams;
use crate::hnsw::batch::Batches;
use crate::hnsw::level::level_of;
use crate::hnsw::seek::{Crews, Found, INTERLEAVED};
use crate::index::MAX_VECTORS;
use crate::memory::Capacity;
use crate::quant::{AffineQuery, Encoded, Lifted, PqQuery, Source, Sq4Query};
use crate::space::check_base_on;
use crate::{BuildError, Counters};

/// What only the writer needs.
#[derive(Debug)]
pub(super) struct Writer {
    /// Ids to give again, largest first.
    pub(super) free: Vec<u32>,
    pub(super) counters: Counters,
    pub(super) crews: AllCrews,
    batch: Batch,
    found: Found,
    /// Points inserted since the last look for nodes that nothing leads to.
    untied: usize,
}

/// Those who seek neighbours, by the kind of a prepared query.
#[derive(Debug)]
pub(super) struct AllCrews {
    pub(super) f32: Crews<Vec<f32>>,
    pub(super) sq7: Crews<Vec<u8>>,
    pub(super) sq4: Crews<Sq4Query>,
    pub(super) affine: Crews<AffineQuery>,
    pub(super) pq: Crews<PqQuery>,
}

/// Vectors that are inserted at once.
#[derive(Debug, Default)]
struct Batch {
    ids: Vec<u32>,
    levels: Vec<u8>,
    lifted: Vec<f32>,
    /// In every form that is kept.
    encoded: [Encoded; 3],
    /// The places of those that codes do not hold.
    apart: Vec<usize>,
}

impl Writer {
    /// On the rayon pool it is called in.
    pub(super) fn new(free: Vec<u32>, counters: Counters, params: &HnswParams) -> Self {
        let crews = AllCrews {
            f32: Crews::new(params),
            sq7: Crews::new(params),
            sq4: Crews::new(params),
            affine: Crews::new(params),
            pq: Crews::new(params),
        };
        Self { free, counters, crews, batch: Batch::default(), found: Found::default(), untied: 0 }
    }
}

impl AllCrews {
    /// Makes sure that each thread of the rayon pool has its crews.
    fn man(&mut self, params: &HnswParams) {
        self.f32.man(params);
        self.sq7.man(params);
        self.sq4.man(params);
        self.affine.man(params);
        self.pq.man(params);
    }

    fn take_counters(&mut self) -> Counters {
        let Self { f32, sq7, sq4, affine, pq } = self;
        let plain = f32.take_counters() + sq7.take_counters();
        plain + sq4.take_counters() + affine.take_counters() + pq.take_counters()
    }
}

impl Capacity for AllCrews {
    fn capacity_bytes(&self) -> usize {
        let Self { f32, sq7, sq4, affine, pq } = self;
        let plain = f32.capacity_bytes() + sq7.capacity_bytes();
        plain + sq4.capacity_bytes() + affine.capacity_bytes() + pq.capacity_bytes()
    }
}

impl Capacity for Writer {
    fn capacity_bytes(&self) -> usize {
        let Self { crews, batch, found, .. } = self;
        let Batch { ids, levels, lifted, encoded, apart } = batch;
        let encoded: usize = encoded.iter().map(Encoded::memory).sum();
        crews.capacity_bytes()
            + found.capacity_bytes()
            + ids.capacity_bytes()
            + levels.capacity()
            + lifted.capacity_bytes()
            + apart.capacity_bytes()
            + encoded
    }
}

/// Nodes of a graph that is looked through after every batch, and how often a larger one is while it grows to twice its size.
const TIED_AT_ONCE: usize = 1024;
const TIED_EACH: usize = 32;

impl LiveHnsw {
    /// Inserts on the threads of `pool`, unless the vectors are too few to divide.
    ///
    /// The lock is taken by the calling thread. A thread of the pool that waits for another's half of its work takes up whatever else the
    /// pool is asked for: were that another insert, it would wait for a lock that it holds itself.
    pub(super) fn insert_on(
        &self,
        vectors: Vectors<'_, f32>,
        pool: &ThreadPool,
        ids: &mut Vec<u32>,
    ) -> Result<(), BuildError> {
        if vectors.dim() != self.euclid.dim {
            return Err(BuildError::Dimension { expected: self.euclid.dim, found: vectors.dim() });
        }
        ids.clear();
        check_base_on(pool, vectors)?;
        let mut writer = self.lock_writer();
        let writer = &mut *writer;
        if vectors.len() <= INTERLEAVED {
            return self.insert_by(writer, vectors, ids, true);
        }
        pool.install(|| self.insert_by(writer, vectors, ids, false))
    }

    fn insert_by(
        &self,
        writer: &mut Writer,
        vectors: Vectors<'_, f32>,
        ids: &mut Vec<u32>,
        alone: bool,
    ) -> Result<(), BuildError> {
        if !alone {
            writer.crews.man(&self.params);
        }
        while ids.len() < vectors.len() {
            let Writer { free, batch, crews, found, .. } = writer;
            self.begin(batch, free, vectors.len() - ids.len())?;
            self.place(batch, vectors.rows(ids.len()..ids.len() + batch.ids.len()))?;
            self.read().find_links(&batch.ids, &self.params, crews, (found, alone));
            writer.counters += writer.crews.take_counters();
            let left = writer.free.len().saturating_sub(writer.batch.ids.len());
            writer.free.truncate(left);
            self.write().link(&writer.batch.ids, &writer.found);
            ids.extend_from_slice(&writer.batch.ids);
            self.tie_if_due(writer);
        }
        Ok(())
    }

    /// Under inner product links to a node are given up for those to longer vectors, until nothing leads there. So what is lost is tied
    /// as the graph grows, each time by so much that the looking takes no more than the inserts; in a small one, at once.
    fn tie_if_due(&self, writer: &mut Writer) {
        if self.euclid.metric != Metric::InnerProduct {
            return;
        }
        writer.untied += writer.batch.ids.len();
        let nodes = self.read().growth.len();
        if nodes <= TIED_AT_ONCE || writer.untied * TIED_EACH >= nodes {
            writer.untied = 0;
            self.tie_lost(writer);
        }
    }

    /// Makes a batch of the next of `left` points: free ids first, then new ones.
    fn begin(&self, batch: &mut Batch, free: &[u32], left: usize) -> Result<(), BuildError> {
        let HnswParams { seed, m, .. } = self.params;
        let state = self.read();
        let nodes = state.growth.len();
        let Batch { ids, levels, .. } = batch;
        ids.clear();
        ids.extend(free.iter().rev().copied().chain(nodes as u32..).take(left.min(Batches::LIVE.most)));
        levels.clear();
        levels.extend(ids.iter().map(|&id| level_of(id, seed, m)));
        ids.truncate(Batches::LIVE.next(levels, nodes - state.free, state.growth.max_level()));
        match ids.iter().find(|&&id| id as usize >= MAX_VECTORS) {
            None => Ok(()),
            Some(&id) => Err(BuildError::TooMany { expected: MAX_VECTORS, found: id as usize + 1 }),
        }
    }

    /// Puts the codes of new points where searches will read them, once something leads there.
    fn place(&self, batch: &mut Batch, vectors: Vectors<'_, f32>) -> Result<(), BuildError> {
        let Batch { ids, levels, lifted, encoded, apart } = batch;
        apart.clear();
        apart.extend((0..vectors.len()).filter(|&row| !self.euclid.holds(vectors.row(row))));
        let source = Lifted::new(vectors, &self.euclid);
        source.rows(0..vectors.len(), lifted);
        for (form, encoded) in self.read().forms().into_iter().zip(&mut *encoded) {
            let Some(form) = form else { continue };
            let given = (vectors.as_slice(), vectors.dim());
            let (rows, width) = if form.is_lifted() { (&lifted[..], source.width()) } else { given };
            form.encode_rows(rows, width, encoded);
        }
        let mut state = self.write();
        // All that may fail, before anything changes.
        let nodes = state.growth.len();
        let kept = ids.iter().filter(|&&id| (id as usize) < nodes).count();
        state.growth.reserve(&levels[kept..ids.len()])?;
        for (form, encoded) in state.forms_mut().into_iter().zip(&*encoded) {
            let Some(form) = form else { continue };
            let bytes = (nodes + ids.len() - kept) * (encoded.bytes.len() / ids.len());
            form.codes_mut().reserve(bytes).map_err(|_| BuildError::Memory { bytes })?;
        }
        for (form, encoded) in state.forms_mut().into_iter().zip(&*encoded) {
            let Some(form) = form else { continue };
            let row_bytes = encoded.bytes.len() / ids.len();
            for (&id, row) in ids.iter().zip(encoded.bytes.chunks_exact(row_bytes)) {
                let put = form.codes_mut().put(id as usize * row_bytes, row);
                put.map_err(|_| BuildError::Memory { bytes: form.codes().bytes() + encoded.bytes.len() })?;
            }
        }
        for (&id, &level) in ids.iter().zip(&*levels) {
            if id as usize == state.growth.len() {
                state.growth.append(level)?;
            }
        }
        for (&id, lifted) in ids.iter().zip(lifted.chunks_exact(source.width())) {
            state.put_height(id, lifted, &self.euclid);
        }
        for &row in &*apart {
            state.set_apart(ids[row], vectors.row(row), self.euclid.metric);
        }
        // So that deleting finds room.
        let nodes = state.growth.len();
        state.deleted.reserve(nodes);
        Ok(())
    }
}

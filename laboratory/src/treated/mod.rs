//! An HNSW to which something was done: its vectors lie in another order, it lies in other pages, or tenths of it were deleted and
//! inserted again, round after round. What is found has the ids of the rows as they were given.

mod order;

use std::collections::BTreeMap;

use nearlab_harness::worker::{
    Configure, ParamsError,
    params::{choice, optional},
};
use nearlab_index::{
    Build, BuildError, Clock, Counters, IdSet, Index, Memory, Mutable, Neighbor, ParamError, Persist, Progress,
    Searcher,
    hnsw::{Hnsw, HnswParams, HnswSearchParams, HnswSearcher},
};
use nearlab_reports::record::Params;
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;
use rustix::thread::disable_transparent_huge_pages;
use tempfile::TempDir;

pub use order::Order;

/// In what pages codes and links lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    /// Memory of the process's own, in pages of 2 MiB where the kernel gives them.
    #[default]
    Huge,
    /// The same in pages of 4 KiB.
    Small,
    /// The file, mapped.
    Mapped,
}

impl Pages {
    const ALL: [(&'static str, Self); 3] = [("2MiB", Self::Huge), ("4KiB", Self::Small), ("mapped", Self::Mapped)];
}

/// The graph, and what is done to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TreatedParams {
    /// The graph.
    pub hnsw: HnswParams,
    /// The order of its vectors.
    pub order: Order,
    /// The pages it is searched in.
    pub pages: Pages,
    /// Times that a tenth of the vectors, drawn anew, is deleted, the graph optimised, and they are inserted again: the protocol of
    /// `FreshDiskANN` (Singh and others, 2021, section 6.2). The vectors stay the same, so the exact neighbours do.
    pub rounds: usize,
}

/// An HNSW to which something was done.
#[derive(Debug)]
pub struct Treated {
    index: Hnsw,
    /// The row of each id; nothing where they are the same.
    rows: Vec<u32>,
    /// The id of each row; nothing where they are the same.
    ids: Vec<u32>,
    /// Where the mapped file lies.
    _folder: Option<TempDir>,
}

/// A part of the vectors that a round takes out and puts in again.
const TENTH: usize = 10;

/// Deletes and inserts, round after round; `rows` has the row of each id.
fn churn(
    index: Hnsw,
    (vectors, rows): (Vectors<'_, f32>, &mut [u32]),
    params: &TreatedParams,
    (pool, progress): (&ThreadPool, &dyn Progress),
) -> Result<Hnsw, BuildError> {
    let live = index.into_live(pool)?;
    let mut ids: Vec<u32> = (0..rows.len() as u32).collect();
    for round in 0..params.rounds {
        order::shuffle(&mut ids, params.hnsw.seed.wrapping_add(round as u64));
        let gone = &ids[..rows.len() / TENTH];
        let come: Vec<u32> = gone.iter().map(|&id| rows[id as usize]).collect();
        let inserted: Vec<f32> = come.iter().flat_map(|&row| vectors.row(row as usize)).copied().collect();
        live.delete(gone);
        live.optimize(pool, progress)?;
        for (id, row) in live.insert(Vectors::new(&inserted, vectors.dim()), pool)?.into_iter().zip(come) {
            rows[id as usize] = row;
        }
    }
    live.freeze(pool, progress)
}

/// The same index in other pages, and where its file lies.
fn laid(index: Hnsw, pages: Pages) -> Result<(Hnsw, Option<TempDir>), Box<dyn std::error::Error>> {
    if pages == Pages::Huge {
        return Ok((index, None));
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("index");
    index.save(&path)?;
    let mapped = Hnsw::open(&path)?;
    if pages == Pages::Mapped {
        return Ok((mapped, Some(folder)));
    }
    disable_transparent_huge_pages(true)?;
    let resident = mapped.into_resident();
    disable_transparent_huge_pages(false)?;
    Ok((resident?, None))
}

impl Build for Treated {
    type Params = TreatedParams;

    fn build(
        vectors: Vectors<'_, f32>,
        metric: Metric,
        params: &TreatedParams,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let mut rows: Vec<u32> = (0..vectors.len() as u32).collect();
        let mut index = if params.order == Order::Given {
            Hnsw::build(vectors, metric, &params.hnsw, pool, progress)?
        } else {
            rows = pool.install(|| params.order.rows(vectors, metric, params.hnsw.seed));
            let ordered: Vec<f32> = rows.iter().flat_map(|&row| vectors.row(row as usize)).copied().collect();
            Hnsw::build(Vectors::new(&ordered, vectors.dim()), metric, &params.hnsw, pool, progress)?
        };
        if params.rounds > 0 {
            index = churn(index, (vectors, &mut rows), params, (pool, progress))?;
        }
        let (index, folder) = laid(index, params.pages).map_err(|error| BuildError::Other(error.to_string()))?;
        let mut ids = Vec::new();
        if rows.is_sorted() {
            rows = Vec::new();
        } else {
            ids.resize(rows.len(), 0);
            for (id, &row) in rows.iter().enumerate() {
                ids[row as usize] = id as u32;
            }
        }
        Ok(Self { index, rows, ids, _folder: folder })
    }
}

impl Configure for Treated {
    fn build_params(params: &Params, seed: u64) -> Result<TreatedParams, ParamsError> {
        let mut own = params.clone();
        own.retain(|name, _| ["order", "pages", "rounds"].contains(&name.as_str()));
        let mut hnsw = params.clone();
        hnsw.retain(|name, _| !own.contains_key(name));
        let orders = Order::ALL.map(|order| (order.name(), order));
        Ok(TreatedParams {
            hnsw: Hnsw::build_params(&hnsw, seed)?,
            order: choice(&own, "order", &orders)?.unwrap_or_default(),
            pages: choice(&own, "pages", &Pages::ALL)?.unwrap_or_default(),
            rounds: optional(&own, "rounds")?.unwrap_or_default(),
        })
    }

    fn search_params(params: &Params) -> Result<HnswSearchParams, ParamsError> {
        Hnsw::search_params(params)
    }
}

impl Index for Treated {
    type SearchParams = HnswSearchParams;
    type Searcher<'a> = TreatedSearcher<'a>;

    fn len(&self) -> usize {
        self.index.len()
    }

    fn dim(&self) -> usize {
        self.index.dim()
    }

    fn metric(&self) -> Metric {
        self.index.metric()
    }

    fn memory(&self) -> Memory {
        self.index.memory()
    }

    fn stats(&self) -> BTreeMap<String, f64> {
        self.index.stats()
    }

    fn digest(&self) -> u64 {
        self.index.digest()
    }

    fn build_counters(&self) -> Counters {
        self.index.build_counters()
    }

    fn scratch_bytes(&self) -> u64 {
        self.index.scratch_bytes()
    }

    fn tune(&self, vectors: Vectors<'_, f32>, clock: Clock<'_>) {
        self.index.tune(vectors, clock);
    }

    fn searcher(&self, params: &HnswSearchParams) -> Result<TreatedSearcher<'_>, ParamError> {
        Ok(TreatedSearcher { treated: self, searcher: self.index.searcher(params)? })
    }
}

/// One thread's searches of a [`Treated`].
#[derive(Debug)]
pub struct TreatedSearcher<'a> {
    treated: &'a Treated,
    searcher: HnswSearcher<'a>,
}

impl TreatedSearcher<'_> {
    /// Gives what was found the ids of rows.
    fn name(&self, found: &mut [Neighbor]) {
        let rows = &self.treated.rows;
        if rows.is_empty() {
            return;
        }
        for neighbor in found.iter_mut().filter(|neighbor| !neighbor.is_none()) {
            neighbor.id = rows[neighbor.id as usize];
        }
        // Among equal distances the smaller row comes first.
        if !found.is_sorted() {
            found.sort_unstable();
        }
    }
}

impl Searcher for TreatedSearcher<'_> {
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        let counters = self.searcher.search(query, k, out);
        self.name(out);
        counters
    }

    fn search_batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        let counters = self.searcher.search_batch(queries, k, out);
        out.chunks_exact_mut(k.max(1)).for_each(|found| self.name(found));
        counters
    }

    fn search_among(&mut self, query: &[f32], k: usize, among: &IdSet, out: &mut Vec<Neighbor>) -> Counters {
        let ids = &self.treated.ids;
        if ids.is_empty() {
            return self.searcher.search_among(query, k, among, out);
        }
        let among: IdSet = among.iter().filter_map(|row| ids.get(row as usize)).copied().collect();
        let counters = self.searcher.search_among(query, k, &among, out);
        self.name(out);
        counters
    }
}

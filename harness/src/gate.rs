//! The exact gate's measurements: one thread, fixed seeds, counters and digests of every index on one data set.
//!
//! Nothing here is timed. The numbers depend on the data, the code and the kernels' arithmetic, so the gate runs under
//! the portable kernels ([`TIER`]), which give every machine the same bits.

use nearlab_datasets::Prepared;
use nearlab_index::{
    BuildError, Counters, Index, ParamError, Searcher,
    flat::{Flat, FlatParams, FlatSearchParams},
    hnsw::{Construction, Hnsw, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes},
    ivf::{Ivf, IvfParams, IvfSearchParams},
};
use nearlab_reports::gate::{Cases, Exact};

use crate::{
    recall::{RecallError, Scorer},
    worker::Configure,
};

/// Value of `NEARLAB_SIMD` under which the gate must run.
pub const TIER: &str = "portable";
/// Neighbours asked for.
pub const K: usize = 10;
/// Seed of every build.
const SEED: u64 = 1;

/// Why a case could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The index could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The index could not be searched.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// Its answers are not ids of the data set.
    #[error(transparent)]
    Recall(#[from] RecallError),
    /// No thread could be started.
    #[error("cannot start a build thread: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The data set knows fewer neighbours than are asked for.
    #[error("the data set knows {found} true neighbours per query, the gate needs {K}")]
    Truth {
        /// Neighbours known.
        found: usize,
    },
}

/// Measures every case; what could not be measured is named in the second part.
pub fn measure(data: &Prepared, note: &dyn Fn(&str)) -> (Cases, Vec<String>) {
    let mut gate = Gate { data, note, cases: Cases::new(), broken: Vec::new() };
    let hnsw = HnswParams { m: 16, ef_construction: 100, seed: SEED, ..HnswParams::default() };
    let codes = HnswParams {
        codes: TraversalCodes::Sq4,
        rerank_codes: RerankCodes::Sq8,
        construction: Construction::Bulk,
        ..hnsw
    };
    let nlist = data.train().len().isqrt().max(1);
    let ivf = IvfParams { nlist, seed: SEED, ..IvfParams::default() };
    gate.case::<Flat>("flat", &FlatParams::default(), &FlatSearchParams::default());
    gate.case::<Hnsw>("hnsw", &hnsw, &HnswSearchParams::new(64));
    gate.case::<Hnsw>("hnsw-sq4-bulk", &codes, &HnswSearchParams::new(64));
    gate.case::<Ivf>("ivf", &ivf, &IvfSearchParams { nprobe: nlist.div_ceil(16) });
    (gate.cases, gate.broken)
}

struct Gate<'a> {
    data: &'a Prepared,
    note: &'a dyn Fn(&str),
    cases: Cases,
    broken: Vec<String>,
}

impl Gate<'_> {
    fn case<I: Configure>(&mut self, name: &str, build: &I::Params, search: &I::SearchParams) {
        (self.note)(&format!("gate: {name}"));
        let metric = self.data.metric();
        match measure_case::<I>(self.data, build, search) {
            Ok(values) => {
                let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                self.cases.insert(format!("{name}-{metric}"), values);
            }
            Err(error) => self.broken.push(format!("{name}: {error}")),
        }
    }
}

fn measure_case<I: Configure>(
    data: &Prepared,
    build: &I::Params,
    search: &I::SearchParams,
) -> Result<Vec<(&'static str, Exact)>, GateError> {
    let found = data.neighbors().dim();
    if found < K {
        return Err(GateError::Truth { found });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let index = I::build(data.train(), data.metric(), build, &pool, &())?;
    let (ids, counters) = answers(&index, search, data)?;
    let mut scorer = Scorer::new(data.train(), data.test(), data.neighbors(), data.metric());
    let recall = scorer.score(&ids, K)?;
    Ok(vec![
        ("digest", Exact::Text(format!("{:016x}", index.digest()))),
        ("index_bytes", index.memory().total().into()),
        ("build_distance_computations", index.build_counters().distance_computations.into()),
        ("recall_hits", recall.hits.into()),
        ("distance_computations", counters.distance_computations.into()),
        ("hops", counters.hops.into()),
        ("lists_probed", counters.lists_probed.into()),
        ("bytes_read", counters.bytes_read.into()),
    ])
}

fn answers<I: Index>(index: &I, search: &I::SearchParams, data: &Prepared) -> Result<(Vec<i32>, Counters), ParamError> {
    let mut searcher = index.searcher(search)?;
    let mut counters = Counters::default();
    let mut ids = Vec::with_capacity(data.test().len() * K);
    let mut found = Vec::new();
    for (number, query) in data.test().iter().enumerate() {
        counters += searcher.search(query, K, &mut found);
        ids.extend(found.iter().map(|neighbor| neighbor.id as i32));
        ids.resize((number + 1) * K, -1);
    }
    Ok((ids, counters))
}

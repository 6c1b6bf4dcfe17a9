//! What each part of the search loop is worth: one graph over 4-bit codes, searched on its base layer from its entry point by loops that
//! begin as the paper has them (Malkov and Yashunin, 2018, algorithm 2) and take over one idea after another ([`Idea`]). All find the
//! same for the same distances; nothing is ranked anew.

mod loops;

use std::collections::BTreeMap;
use std::error::Error;

use nearlab_harness::worker::{
    Configure, ParamsError,
    params::{choice, known, required},
};
use nearlab_index::{
    Build, BuildError, Counters, IdSet, Index, Memory, Neighbor, ParamError, Persist, Progress, Searcher,
    hnsw::{Construction, Hnsw, HnswParams, RerankCodes, TraversalCodes},
};
use nearlab_reports::record::Params;
use nearlab_simd::Metric;
use nearlab_storage::{Container, FileKind, Vectors, Verify};
use rayon::ThreadPool;

use loops::{Query, Scratch, Walked};

/// What a loop does better than the paper's: what it is named after, and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Idea {
    /// None: a branch and a score for each link, two heaps.
    None,
    /// Links not met before are collected without a branch.
    Collected,
    /// Their scores are computed together.
    Together,
    /// Their codes are asked for before the first is scored.
    Ahead,
    /// Scores are compared with the worst candidate's together.
    Within,
    /// One sorted array of candidates instead of two heaps.
    Sorted,
}

impl Idea {
    /// All, in the order in which they are taken over.
    pub const ALL: [Self; 6] = [Self::None, Self::Collected, Self::Together, Self::Ahead, Self::Within, Self::Sorted];

    /// The name in experiments.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Collected => "collected",
            Self::Together => "together",
            Self::Ahead => "ahead",
            Self::Within => "within",
            Self::Sorted => "sorted",
        }
    }
}

/// How [`Walk`] is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkSearchParams {
    /// Candidates kept; k where that is more.
    pub ef_search: usize,
    /// The loop.
    pub idea: Idea,
}

/// The base layer of an HNSW, and its 4-bit codes.
#[derive(Debug)]
pub struct Walk {
    walked: Walked,
    metric: Metric,
    dim: usize,
    memory: Memory,
    digest: u64,
    build_counters: Counters,
}

impl Walk {
    /// Reads what it needs from the index's file: an index gives no links away otherwise.
    fn of(index: &Hnsw) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("index");
        index.save(&path)?;
        let file = Container::open(&path, FileKind::new("hnsw"), 1..=3, Verify::Header)?;
        Ok(Self {
            walked: Walked::of(&file, index)?,
            metric: index.metric(),
            dim: index.dim(),
            memory: index.memory(),
            digest: index.digest(),
            build_counters: index.build_counters(),
        })
    }
}

impl Build for Walk {
    /// Those of the graph. Codes, rerank codes and construction are sq4, none and bulk, whatever they say.
    type Params = HnswParams;

    /// Refuses inner product, under which codes have more than levels.
    fn build(
        vectors: Vectors<'_, f32>,
        metric: Metric,
        params: &HnswParams,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        if metric == Metric::InnerProduct {
            let (expected, found) = ("l2 or cosine".to_owned(), metric.to_string());
            return Err(ParamError { name: "metric", expected, found }.into());
        }
        let params = HnswParams {
            codes: TraversalCodes::Sq4,
            rerank_codes: RerankCodes::None,
            construction: Construction::Bulk,
            ..*params
        };
        let index = Hnsw::build(vectors, metric, &params, pool, progress)?;
        Self::of(&index).map_err(|error| BuildError::Other(error.to_string()))
    }
}

impl Configure for Walk {
    fn build_params(params: &Params, seed: u64) -> Result<HnswParams, ParamsError> {
        known(params, &["m", "replicas"])?;
        Hnsw::build_params(params, seed)
    }

    fn search_params(params: &Params) -> Result<WalkSearchParams, ParamsError> {
        known(params, &["ef_search", "idea"])?;
        let ideas = Idea::ALL.map(|idea| (idea.name(), idea));
        let idea = choice(params, "idea", &ideas)?.ok_or(ParamsError::Missing("idea"))?;
        Ok(WalkSearchParams { ef_search: required(params, "ef_search")?, idea })
    }
}

impl Index for Walk {
    type SearchParams = WalkSearchParams;
    type Searcher<'a> = WalkSearcher<'a>;

    fn len(&self) -> usize {
        self.walked.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    /// That of the HNSW whose base layer this is.
    fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// None.
    fn stats(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    fn digest(&self) -> u64 {
        self.digest
    }

    fn build_counters(&self) -> Counters {
        self.build_counters
    }

    /// None: searchers keep their own.
    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn searcher(&self, params: &WalkSearchParams) -> Result<WalkSearcher<'_>, ParamError> {
        if params.ef_search == 0 {
            return Err(ParamError { name: "ef_search", expected: "at least 1".to_owned(), found: "0".to_owned() });
        }
        Ok(WalkSearcher { walk: self, params: *params, scratch: Scratch::default(), query: Query::default() })
    }
}

/// One thread's searches of a [`Walk`].
#[derive(Debug)]
pub struct WalkSearcher<'a> {
    walk: &'a Walk,
    params: WalkSearchParams,
    scratch: Scratch,
    query: Query,
}

impl Searcher for WalkSearcher<'_> {
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters {
        let Self { walk, params: WalkSearchParams { ef_search, idea }, scratch, query: prepared } = self;
        let ef = k.max(*ef_search);
        walk.walked.prepare((query, walk.metric), prepared);
        match idea {
            Idea::None => walk.walked.search::<{ Idea::None as usize }>(prepared, ef, scratch),
            Idea::Collected => walk.walked.search::<{ Idea::Collected as usize }>(prepared, ef, scratch),
            Idea::Together => walk.walked.search::<{ Idea::Together as usize }>(prepared, ef, scratch),
            Idea::Ahead => walk.walked.search::<{ Idea::Ahead as usize }>(prepared, ef, scratch),
            Idea::Within => walk.walked.search::<{ Idea::Within as usize }>(prepared, ef, scratch),
            Idea::Sorted => walk.walked.search::<{ Idea::Sorted as usize }>(prepared, ef, scratch),
        }
        out.clear();
        out.extend(scratch.found(k).map(|neighbor| walk.walked.measured(neighbor, walk.metric)));
        scratch.counters
    }

    /// Scores the matches, all of them.
    fn search_among(&mut self, query: &[f32], k: usize, among: &IdSet, out: &mut Vec<Neighbor>) -> Counters {
        let Self { walk, scratch, query: prepared, .. } = self;
        walk.walked.prepare((query, walk.metric), prepared);
        walk.walked.score_all(prepared, among, scratch);
        out.clear();
        out.extend(scratch.found(k).map(|neighbor| walk.walked.measured(neighbor, walk.metric)));
        scratch.counters
    }
}

//! Rough estimates, for deciding whether to start a run: within a factor of about three on one current core.
//!
//! Distance computations (n base vectors, d dimensions):
//!
//! | | build | one query |
//! |---|---|---|
//! | flat | 0 | `n` |
//! | hnsw | `n * ef_construction * m` | `ef_search * m` |
//! | ivf | `(iterations * min(n, 256 nlist) + n) * nlist` | `nlist + n * nprobe / nlist` |
//!
//! A filtered query: that over the selectivity, at most one for each match.
//!
//! Of the 2 m neighbours of a visited node about half are new, hence m distances for each of the ef candidates.
//! A distance takes d / 8 ns where rows are scanned in order, and 40 ns more where a graph jumps through memory. Build
//! time is divided by the build threads, a throughput pass by the search threads.
//!
//! Bytes: 4 n d for the vectors, and for hnsw 4 n (2 m + 2) links, for ivf 4 n ids and 4 nlist d centres. HNSW keeps its
//! codes and rerank codes instead of the vectors; that shorter codes are faster is not estimated.
//! Of an external worker nothing is known.

use nearlab_index::hnsw::{Hnsw, TraversalCodes};
use nearlab_reports::record::Params;

use super::{Facts, PlannedSearch, PlannedTrial};
use crate::{spec::Kind, worker::Configure as _};

/// The explanation under a table of estimates.
pub(super) const FORMULA: &str = "\
estimates are rough: distance computations at d / 8 ns each, 40 ns more in a graph, where
  hnsw  builds with n * ef_construction * m and answers a query with ef_search * m
  ivf   builds with (iterations * min(n, 256 nlist) + n) * nlist, answers with nlist + n * nprobe / nlist
  flat  answers with n
  a filtered query takes 1 / selectivity times as much, at most one distance for each match
preparing the data, profiles and external workers are not counted";

/// Nanoseconds that a multiply-add takes when vectors are scanned in order.
const SCAN_NS: f64 = 1.0 / 8.0;
/// Nanoseconds that a jump to another vector takes.
const JUMP_NS: f64 = 40.0;

/// Estimate of a build; `None` where sizes or the index are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Distances computed.
    pub distance_computations: Option<f64>,
    /// Wall seconds.
    pub seconds: Option<f64>,
    /// Bytes of the index, vectors included.
    pub bytes: Option<u64>,
}

fn number(params: &Params, name: &str) -> f64 {
    params.get(name).and_then(serde_json::Value::as_f64).unwrap_or(0.0)
}

fn distance_ns(kind: Kind, d: f64) -> f64 {
    d * SCAN_NS + if kind == Kind::Hnsw { JUMP_NS } else { 0.0 }
}

/// Estimate of a build.
pub(super) fn build(trial: &PlannedTrial, facts: &Facts) -> Cost {
    let (Some(n), Some(dim)) = (facts.n, facts.d) else { return Cost::default() };
    let (n, d) = (n as f64, dim as f64);
    let of = |name| number(&trial.build, name);
    let vectors = 4.0 * n * d;
    let (distances, bytes) = match trial.kind {
        Kind::External => return Cost::default(),
        Kind::Flat => (0.0, vectors),
        Kind::Hnsw => {
            let links = 4.0 * n * (2.0 * of("m") + 2.0);
            let codes = code_bytes(&trial.build, dim as usize).map_or(vectors, |bytes| n * bytes);
            (n * of("ef_construction") * of("m"), links + codes)
        }
        Kind::Ivf => {
            let nlist = of("nlist");
            ((of("iterations") * n.min(256.0 * nlist) + n) * nlist, vectors + 4.0 * n + 4.0 * nlist * d)
        }
    };
    Cost {
        distance_computations: Some(distances),
        seconds: Some(distances * distance_ns(trial.kind, d) * 1e-9 / trial.threads as f64),
        bytes: Some(bytes as u64),
    }
}

/// Bytes of one vector's codes and rerank codes in HNSW.
fn code_bytes(build: &Params, d: usize) -> Option<f64> {
    let params = Hnsw::build_params(build, 0).ok()?;
    let spaces = |default: usize| d.div_ceil(if params.sub_dim == 0 { default } else { params.sub_dim });
    let kept = match params.codes {
        TraversalCodes::Pq4 | TraversalCodes::Pq4Blocks => spaces(2),
        TraversalCodes::Pq8 => spaces(4),
        _ if params.components == 0 => d,
        _ => d.min(params.components),
    };
    let copies = if params.codes == TraversalCodes::Pq4Blocks { 1 + 2 * params.m } else { 1 };
    Some((copies * params.codes.bytes(kept) + params.rerank_codes.bytes(d)) as f64)
}

/// Estimate of one timed pass over all queries with its warm-up, in seconds.
pub(super) fn search(trial: &PlannedTrial, search: &PlannedSearch, passes: u32, facts: &Facts) -> Option<f64> {
    let (params, threads) = (&search.params, search.threads);
    let (n, d, queries) = (facts.n? as f64, facts.d? as f64, facts.queries? as f64);
    let distances = match trial.kind {
        Kind::External => return None,
        Kind::Flat => n,
        Kind::Hnsw => number(params, "ef_search") * number(&trial.build, "m"),
        Kind::Ivf => {
            let nlist = number(&trial.build, "nlist").max(1.0);
            nlist + n * number(params, "nprobe").min(nlist) / nlist
        }
    };
    // Among some, an index looks at more the fewer match, but need never do more than score all that match.
    let distances =
        search.filter.map_or(distances, |filter| (distances / filter.selectivity).min(n * filter.selectivity));
    Some(f64::from(passes) * queries * distances * distance_ns(trial.kind, d) * 1e-9 / threads as f64)
}

//! What no index of a kind can do, whatever the rules of the experiment say.

use nearlab_index::hnsw::Hnsw;
use nearlab_reports::record::Params;
use serde_json::Value;

use super::{Facts, own_parameters};
use crate::{spec::Kind, worker::Configure as _};

/// Why a build cannot be made.
pub(super) fn build(kind: Kind, build: &Params, facts: &Facts) -> Option<String> {
    match (kind, facts.n) {
        (Kind::Hnsw, _) => hnsw(build),
        (Kind::Ivf, Some(n)) if number(build, "nlist") > Some(n) => Some(format!("nlist <= n (n is {n})")),
        _ => None,
    }
}

/// Why a search of a possible build cannot be done.
pub(super) fn search(kind: Kind, build: &Params, (search, k): (&Params, usize), facts: &Facts) -> Option<String> {
    if let Some(n) = facts.n.filter(|&n| k as u64 > n) {
        return Some(format!("k <= n (n is {n})"));
    }
    if kind == Kind::Ivf && number(search, "nprobe") > number(build, "nlist") {
        return Some("nprobe <= nlist (there are no more lists)".to_owned());
    }
    None
}

/// Why HNSW refuses parameters each of which is in its range; the index itself is asked.
fn hnsw(build: &Params) -> Option<String> {
    match Hnsw::build_params(&own_parameters(build), 0) {
        Ok(params) => params.validate().err().map(|error| format!("{} must be {}", error.name, error.expected)),
        Err(error) => Some(error.to_string()),
    }
}

fn number(params: &Params, name: &str) -> Option<u64> {
    params.get(name).and_then(Value::as_u64)
}

//! Checking a data set without preparing it: every vector is decoded, and the stored truth is held against exact search
//! for a sample of the queries or for all of them.

use std::path::Path;

use crate::{
    cache::Cache,
    prepare::{Check, Input, Job, Pass, PrepareError, PrepareOptions, QuerySplit, resolve, thread_pool},
    progress::Progress,
    source::{DataFile, Source},
    truth::Nearest,
};

/// How many queries are searched exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A few dozen: seconds.
    Sampled,
    /// All: as long as computing the truth anew.
    Full,
}

/// A data set that was found in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Base vectors, all finite.
    pub n: u64,
    /// Dimensions.
    pub d: u64,
    /// Queries, all finite.
    pub queries: u64,
    /// Stored neighbours per query, all of them rows of the base with the right distances; 0 where none are stored.
    pub truth_k: u64,
    /// Queries whose stored neighbours were found to be the nearest by exact search.
    pub truth_checked: u64,
    /// SHA-256 of base vectors and queries as little-endian `f32`.
    pub sha256: String,
}

/// Checks `source` (as [`prepare`](crate::prepare()) takes it) from end to end; an error names what is wrong.
pub fn verify(
    source: impl Into<Source>,
    base_dir: &Path,
    scope: Scope,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Verified, PrepareError> {
    let resolved = resolve(&source.into(), base_dir, cache, progress)?;
    let pool = thread_pool()?;
    let mut file = DataFile::open(&resolved.train)?;
    if resolved.test.is_none() && file.test.is_none() {
        let (n, d) = (file.train.rows(), file.train.dim());
        let mut pass = Pass::new(n, Nearest::none(d), None);
        pass.run(&mut *file.train, n, (&pool, progress), &mut |_| Ok(()))?;
        let sha256 = pass.hash.finish();
        return Ok(Verified { n: n as u64, d: d as u64, queries: 0, truth_k: 0, truth_checked: 0, sha256 });
    }
    let input = Input::open(&resolved, None)?;
    let queries = input.queries().len();
    let stored_k = input.truth.as_ref().map_or(0, |truth| truth.k);
    // Without a stored truth there is nothing to hold against exact search; one query keeps the pass whole.
    let one = (stored_k == 0).then_some(QuerySplit { report: 1, calibrate: 0, seed: 0 });
    let options = PrepareOptions { queries: one, truth_k: 1, ..PrepareOptions::default() };
    let check = if scope == Scope::Full { Check::All } else { Check::Sample };
    let done = Job { input, options: &options, check }.run(&resolved, (&pool, progress), &mut |_| Ok(()))?;
    Ok(Verified {
        n: done.fingerprint.n,
        d: done.fingerprint.d,
        queries: queries as u64,
        truth_k: stored_k as u64,
        truth_checked: if stored_k == 0 { 0 } else { done.fingerprint.truth_checked },
        sha256: done.fingerprint.sha256,
    })
}

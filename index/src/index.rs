//! The traits that every index implements, and nothing else: the harness drives all of them through these.
//!
//! Building ([`Build`]), searching ([`Index::searcher`], [`Searcher`]) and files ([`Persist`]) are apart, because they
//! are timed apart. An [`Index`] is immutable and shared by threads; a [`Searcher`] belongs to one thread and owns all
//! the memory a search needs, so that a search allocates nothing and takes no lock.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use rayon::ThreadPool;

use crate::{BuildError, Counters, IdSet, Memory, Neighbor, OpenError, ParamError, SaveError};

/// Vectors an index can hold: ids are `i32` in result files.
pub const MAX_VECTORS: usize = i32::MAX as usize;

/// The time since any moment that stays the same. An index has no clock of its own.
pub type Clock<'a> = &'a dyn Fn() -> Duration;

/// A stage of a build, for progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Learning from a sample: k-means iterations.
    Train,
    /// Putting every vector in its place.
    Construct,
    /// Improving or freezing what was constructed.
    Optimise,
}

impl Stage {
    /// The stage's name in records: `train`, `construct` or `optimise`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Construct => "construct",
            Self::Optimise => "optimise",
        }
    }
}

/// Watches a build and may end it. `()` watches nothing.
pub trait Progress: Sync {
    /// `done` of `total` units of `stage` are done. Called from one thread at a time, at least once per stage, with
    /// `done == total` at the end of the stage. What it does can not change what is built.
    fn report(&self, stage: Stage, done: u64, total: u64);

    /// Asked often; when true the build ends soon with [`BuildError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing, but hears of cancelling: for a part of a stage.
pub(crate) struct Quietly<'a>(pub(crate) &'a dyn Progress);

impl Progress for Quietly<'_> {
    fn report(&self, _: Stage, _: u64, _: u64) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

impl Progress for () {
    fn report(&self, _: Stage, _: u64, _: u64) {}
}

/// A built index over `len()` vectors of `dim()` components.
pub trait Index: Send + Sync {
    /// What is chosen anew for each search point.
    type SearchParams: Clone + Send + Sync;
    /// The state of one searching thread.
    type Searcher<'a>: Searcher + Send
    where
        Self: 'a;

    /// Number of vectors.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Components of each vector.
    fn dim(&self) -> usize;

    /// How distances are measured.
    fn metric(&self) -> Metric;

    /// Logical bytes by component.
    fn memory(&self) -> Memory;

    /// Figures that describe the structure (mean degree, list sizes, ...), each named in the index's own documentation.
    fn stats(&self) -> BTreeMap<String, f64>;

    /// XXH3-64 over the built structure: equal for equal structures. Not kept; each call reads the structure once.
    fn digest(&self) -> u64;

    /// The work of the build; kept in the file too.
    fn build_counters(&self) -> Counters;

    /// Bytes of the memory that dropped searchers left for those to come, and that changes are worked out in. It grows with the use
    /// that is made of the index, up to what the largest search and the most searchers at once need; what searchers hold now is theirs,
    /// and not counted. Waits for a change that is being made.
    fn scratch_bytes(&self) -> u64;

    /// Settles how searches go about waiting for memory, by the time, as `clock` has it, that some take with some of `vectors`, the
    /// index's own or others like these, as queries. What searches find and count does not depend on it. Most indexes have nothing to
    /// settle.
    fn tune(&self, vectors: Vectors<'_, f32>, clock: Clock<'_>) {
        let _ = (vectors, clock);
    }

    /// Prepares one thread's searches, in memory that an earlier searcher left where there is some. Refuses parameters out of
    /// range.
    fn searcher(&self, params: &Self::SearchParams) -> Result<Self::Searcher<'_>, ParamError>;
}

/// Searches an index from one thread.
pub trait Searcher {
    /// Finds the `k` base vectors nearest to `query`.
    ///
    /// `out` is cleared, then filled with neighbours sorted by (distance, id), no id twice, `min(k, len)` of them where
    /// the index can reach as many; none for `k == 0`. Allocates only while `out` or the searcher still grows.
    ///
    /// `query` must have the index's dimension (panics otherwise) and be finite: a NaN in it makes the result
    /// meaningless, but never a panic or an endless loop.
    fn search(&mut self, query: &[f32], k: usize, out: &mut Vec<Neighbor>) -> Counters;

    /// Finds the `k` nearest of each of the `queries`: `out[i * k..][..k]` answers query `i`, padded with
    /// [`Neighbor::NONE`]. The results equal those of [`search`](Self::search) one by one, bit for bit.
    ///
    /// Panics when `out.len() != queries.len() * k` or the queries have another dimension. Asks one query after the other, unless
    /// the index knows better.
    fn search_batch(&mut self, queries: Vectors<'_, f32>, k: usize, out: &mut [Neighbor]) -> Counters {
        one_by_one((queries, k), &mut Vec::new(), out, |query, found| self.search(query, k, found))
    }

    /// Finds the `k` nearest to `query` of the base vectors whose ids are in `among`: the matches.
    ///
    /// Like [`search`](Self::search), with the same distances; `min(k, matches)` neighbours are found, always. Ids that the
    /// index does not hold are no matches. How much is compared depends on how many ids there are and on where they lie: not
    /// much more than the matches at most, see the [crate](crate#searching-among-some).
    fn search_among(&mut self, query: &[f32], k: usize, among: &IdSet, out: &mut Vec<Neighbor>) -> Counters;

    /// Finds the `k` nearest of each of the `queries` among the same ids: [`search_among`](Self::search_among) one by one, with
    /// the results laid out as by [`search_batch`](Self::search_batch), which panics likewise.
    fn search_batch_among(
        &mut self,
        queries: Vectors<'_, f32>,
        k: usize,
        among: &IdSet,
        out: &mut [Neighbor],
    ) -> Counters {
        one_by_one((queries, k), &mut Vec::new(), out, |query, found| self.search_among(query, k, among, found))
    }
}

/// Answers the queries of a batch with `search`, which fills `found`.
pub(crate) fn one_by_one(
    (queries, k): (Vectors<'_, f32>, usize),
    found: &mut Vec<Neighbor>,
    out: &mut [Neighbor],
    mut search: impl FnMut(&[f32], &mut Vec<Neighbor>) -> Counters,
) -> Counters {
    assert_batch(queries.len(), k, out.len());
    let mut counters = Counters::default();
    if k == 0 {
        return counters;
    }
    for (query, row) in queries.iter().zip(out.chunks_exact_mut(k)) {
        counters += search(query, found);
        fill_row(row, found);
    }
    counters
}

/// Builds an index.
pub trait Build: Index + Sized {
    /// What is fixed by the build.
    type Params: Clone;

    /// Builds an index over a copy of `vectors` on the threads of `pool`.
    ///
    /// The same vectors, metric and parameters (the seed is one of them) give the same index bit for bit on any number
    /// of threads, as long as the same instruction set computes the distances. Refused are NaN and infinities, parameters out of range, more
    /// vectors than ids can number, and what memory has no room for; a build whose progress says so ends as cancelled.
    fn build(
        vectors: Vectors<'_, f32>,
        metric: Metric,
        params: &Self::Params,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError>;
}

/// Changes an index while it is searched. One change is made at a time; others wait for it.
///
/// No thread of the pool that an index changes on may itself change the index, save it or ask how large its scratch is: while it waits
/// for the change before, that may wait for it.
pub trait Mutable: Index {
    /// Adds vectors; their ids, in the same order. As [`insert_into`](Self::insert_into).
    fn insert(&self, vectors: Vectors<'_, f32>, pool: &ThreadPool) -> Result<Vec<u32>, BuildError> {
        let mut ids = Vec::with_capacity(vectors.len());
        self.insert_into(vectors, pool, &mut ids)?;
        Ok(ids)
    }

    /// Adds vectors, and replaces `ids` by theirs, in the same order. On the threads of `pool`, or on the calling thread alone where
    /// there are too few of them to divide. Ids that [`optimize`](Self::optimize) has freed are given again. NaN, infinities and
    /// vectors of another dimension are refused before anything changes.
    ///
    /// The same changes in the same order give the same index bit for bit on any number of threads. What they are worked out in is kept
    /// from one insert to the next, so that few allocate: docs/adr/0017 says which.
    fn insert_into(&self, vectors: Vectors<'_, f32>, pool: &ThreadPool, ids: &mut Vec<u32>) -> Result<(), BuildError>;

    /// Takes vectors out, so that no search that begins later finds them. How many of the `ids` there were.
    fn delete(&self, ids: &[u32]) -> usize;

    /// Frees what deleted vectors still take up, and restores the structure to what searches need.
    fn optimize(&self, pool: &ThreadPool, progress: &dyn Progress) -> Result<(), BuildError>;
}

/// Saves an index to one file, and opens it by mapping that file.
pub trait Persist: Sized {
    /// Writes the file whole or not at all.
    fn save(&self, path: &Path) -> Result<(), SaveError>;

    /// Maps the file, verifies its checksums and every reference inside it once. Nothing is copied.
    fn open(path: &Path) -> Result<Self, OpenError>;
}

/// Panics with a sentence when `query` is not of the index's dimension.
pub(crate) fn assert_query(query: &[f32], dim: usize) {
    assert!(query.len() == dim, "the query has {} components, the index {dim}", query.len());
}

/// Panics with a sentence when a batch's `out` has the wrong length.
pub(crate) fn assert_batch(queries: usize, k: usize, out: usize) {
    assert!(out == queries * k, "{queries} queries with k = {k} need room for {} neighbours, found {out}", queries * k);
}

/// Copies one query's neighbours to its row of a batch result.
pub(crate) fn fill_row(row: &mut [Neighbor], found: &[Neighbor]) {
    row[..found.len()].copy_from_slice(found);
    row[found.len()..].fill(Neighbor::NONE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_the_names_of_the_records() {
        assert_eq!(
            [Stage::Train, Stage::Construct, Stage::Optimise].map(Stage::name),
            ["train", "construct", "optimise"]
        );
        ().report(Stage::Train, 1, 1);
        assert!(!().cancelled());
    }

    #[test]
    #[should_panic(expected = "the query has 3 components, the index 4")]
    fn a_query_of_another_dimension_panics_with_both() {
        assert_query(&[0.0; 3], 4);
    }

    #[test]
    #[should_panic(expected = "2 queries with k = 3 need room for 6 neighbours, found 5")]
    fn a_batch_without_room_panics_with_both() {
        assert_batch(2, 3, 5);
    }
}

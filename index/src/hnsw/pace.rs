//! How searches wait for memory. No result and no counter depends on it, only time; what is best depends on how much of the index
//! the caches hold, so it is measured on the index itself, by a clock of the caller's.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nearlab_storage::Vectors;

use super::HnswSearchParams;
use crate::index::Clock;
use crate::{Index, Searcher};

/// What a search of one query asks the memory for before it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ahead {
    /// What the index [measured](crate::Index::tune) to be best; until then, links.
    #[default]
    Auto,
    /// The codes that the next step scores, no more.
    Nothing,
    /// And the links of the candidate that is expanded next unless a nearer one is found.
    Links,
    /// And the codes that these lead to.
    Codes,
}

impl Ahead {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Nothing, Self::Links, Self::Codes];

    /// The name in experiments: `auto`, `nothing`, `links` or `codes`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Nothing => "nothing",
            Self::Links => "links",
            Self::Codes => "codes",
        }
    }
}

/// Most queries of a batch that walk in turns.
pub(super) const MOST_INTERLEAVED: usize = 8;

/// How the searches of an index wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Queries of a batch that walk in turns, 1 to [`MOST_INTERLEAVED`].
    pub(super) interleave: usize,
    pub(super) ahead: Ahead,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interleave: 6, ahead: Ahead::Links }
    }
}

impl Pace {
    /// What the parameters of a search choose, and this pace where they leave the choice.
    pub(super) fn chosen(self, params: HnswSearchParams) -> Self {
        Self {
            interleave: if params.interleave == 0 { self.interleave } else { params.interleave },
            ahead: if params.ahead == Ahead::Auto { self.ahead } else { params.ahead },
        }
    }
}

/// The pace of an index, which is settled while it is searched.
#[derive(Debug, Default)]
pub(super) struct Tuned {
    codes_ahead: AtomicBool,
}

impl Tuned {
    pub(super) fn pace(&self) -> Pace {
        let ahead = if self.codes_ahead.load(Relaxed) { Ahead::Codes } else { Ahead::Links };
        Pace { ahead, ..Pace::default() }
    }

    pub(super) fn settle(&self, pace: Pace) {
        self.codes_ahead.store(pace.ahead == Ahead::Codes, Relaxed);
    }
}

/// Bytes of codes and links up to which the caches hold what counts: the default is best there.
const CACHED: usize = 16 << 20;
/// Queries that are timed as one.
const BLOCK: usize = 16;
/// Blocks that are timed, at most, and for how long.
const BLOCKS: usize = 64;
const LIMIT: Duration = Duration::from_millis(200);
/// What another pace must save to be taken.
const WORTH: f64 = 0.03;

/// The pace that suits an index whose codes and links are `read` bytes, measured with some of `vectors` as queries: half of them at
/// each pace in turns, none twice, since a query finds in the caches what it met before.
pub(super) fn measured(
    index: &impl Index<SearchParams = HnswSearchParams>,
    read: usize,
    vectors: Vectors<'_, f32>,
    clock: Clock<'_>,
) -> Pace {
    let kept = Pace::default();
    if read <= CACHED || vectors.len() < BLOCK * BLOCKS {
        return kept;
    }
    let mut costs = [Ahead::Links, Ahead::Codes].map(|ahead| (ahead, Vec::with_capacity(BLOCKS)));
    let (begun, mut found) = (clock(), Vec::new());
    for block in 0..BLOCKS {
        // Which comes first changes from pair to pair.
        let (ahead, costs) = &mut costs[(block + block / 2) % 2];
        let params = HnswSearchParams { ahead: *ahead, ..HnswSearchParams::new(64) };
        let Ok(mut searcher) = index.searcher(&params) else { return kept };
        let start = clock();
        let distances: u64 = (0..BLOCK)
            .map(|query| {
                let row = vectors.row((block * BLOCK + query) * (vectors.len() / (BLOCK * BLOCKS)));
                searcher.search(row, 10, &mut found).distance_computations
            })
            .sum();
        let end = clock();
        costs.push(end.saturating_sub(start).as_secs_f64() / distances.max(1) as f64);
        if end.saturating_sub(begun) > LIMIT {
            break;
        }
    }
    let [links, codes] = costs.map(|(_, mut costs)| {
        costs.sort_by(f64::total_cmp);
        costs.get(costs.len() / 2).copied().unwrap_or(f64::INFINITY)
    });
    Pace { ahead: if codes < links * (1.0 - WORTH) { Ahead::Codes } else { kept.ahead }, ..kept }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use nearlab_simd::Metric;

    use super::*;
    use crate::hnsw::{Hnsw, HnswParams};
    use crate::random::SplitMix64;
    use crate::{Build, Neighbor};

    #[test]
    fn the_pace_that_takes_less_time_is_taken_where_it_is_worth_it() {
        let mut random = SplitMix64::new(6);
        let data: Vec<f32> = (0..2 * BLOCK * BLOCKS).map(|_| random.unit() as f32).collect();
        let vectors = Vectors::new(&data, 2);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let hnsw = Hnsw::build(vectors, Metric::L2, &HnswParams::default(), &pool, &()).unwrap();
        // The clock is asked when all begins, and before and after each block.
        let tuned = |read, codes_take: u64| {
            let (asked, now) = (AtomicU64::new(0), AtomicU64::new(0));
            let clock = || {
                let asked = asked.fetch_add(1, Relaxed);
                let block = (asked / 2).saturating_sub(1);
                let took = match (asked % 2, (block + block / 2) % 2) {
                    (1, _) => 0,
                    (_, 1) => codes_take,
                    _ => 1000,
                };
                Duration::from_nanos(now.fetch_add(took, Relaxed) + took)
            };
            measured(&hnsw, read, vectors, &clock).ahead
        };
        assert_eq!(tuned(CACHED + 1, 500), Ahead::Codes);
        assert_eq!(tuned(CACHED + 1, 2000), Ahead::Links);
        assert_eq!(tuned(CACHED, 500), Ahead::Links, "the caches hold it");
    }

    #[test]
    fn whatever_the_pace_searches_find_and_count_the_same() {
        let mut random = SplitMix64::new(5);
        let data: Vec<f32> = (0..1500 * 12).map(|_| random.unit() as f32).collect();
        let vectors = Vectors::new(&data, 12);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let hnsw = Hnsw::build(vectors, Metric::L2, &HnswParams::default(), &pool, &()).unwrap();
        let search = |params: HnswSearchParams| {
            let mut searcher = hnsw.searcher(&params).unwrap();
            let mut out = vec![Neighbor::NONE; 50 * 10];
            let batch = searcher.search_batch(vectors.rows(0..50), 10, &mut out);
            let (mut found, mut one) = (Vec::new(), Vec::new());
            let lone: crate::Counters = (0..50)
                .map(|query| {
                    let counters = searcher.search(vectors.row(query), 10, &mut one);
                    found.extend_from_slice(&one);
                    counters
                })
                .sum();
            assert_eq!((&found, lone), (&out, batch));
            (out, batch)
        };
        let expected = search(HnswSearchParams::new(40));
        for interleave in 1..=MOST_INTERLEAVED {
            for ahead in Ahead::ALL {
                let params = HnswSearchParams { interleave, ahead, ..HnswSearchParams::new(40) };
                assert_eq!(search(params), expected, "{interleave} {ahead:?}");
            }
        }
    }
}

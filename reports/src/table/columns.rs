//! Every column of the results table: its name, unit and meaning, and where its cells come from.
//!
//! To add a figure to the results: a field in [`crate::record`], and one entry in [`COLUMNS`].

use super::{Cells, Source, status};
use crate::{
    grid::Grid,
    record::{Counters, Filter, Latency, Recall, Search},
};

/// What a column counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A name, a word or a hash.
    Word,
    /// A plain count.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Queries per second.
    PerSecond,
    /// Rows per second.
    RowsPerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// A share, 0..=1.
    Share,
    /// As the parameter itself.
    Own,
}

impl Unit {
    /// As shown in the table of columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Seconds => "s",
            Self::Nanoseconds => "ns",
            Self::PerSecond => "queries/s",
            Self::RowsPerSecond => "rows/s",
            Self::BytesPerSecond => "bytes/s",
            Self::Share => "0..1",
            Self::Own => "as given",
        }
    }
}

/// One column: its documentation, and where its cells come from. A name with `*` stands for a family of columns.
#[derive(Debug, Clone, Copy)]
pub struct ColumnDoc {
    /// Column name.
    pub name: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Meaning, one sentence.
    pub meaning: &'static str,
    cell: Cell,
}

/// A cell of a row; `None` where the record does not know it.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Word(fn(&Source<'_>) -> Option<String>),
    Integer(fn(&Source<'_>) -> Option<u64>),
    Number(fn(&Source<'_>) -> Option<f64>),
    /// Columns named after parameters or components; `super::Table::of` makes them.
    Family,
}

const fn word(name: &'static str, meaning: &'static str, cell: fn(&Source<'_>) -> Option<String>) -> ColumnDoc {
    ColumnDoc { name, unit: Unit::Word, meaning, cell: Cell::Word(cell) }
}

const fn integer(
    name: &'static str,
    unit: Unit,
    meaning: &'static str,
    cell: fn(&Source<'_>) -> Option<u64>,
) -> ColumnDoc {
    ColumnDoc { name, unit, meaning, cell: Cell::Integer(cell) }
}

const fn number(
    name: &'static str,
    unit: Unit,
    meaning: &'static str,
    cell: fn(&Source<'_>) -> Option<f64>,
) -> ColumnDoc {
    ColumnDoc { name, unit, meaning, cell: Cell::Number(cell) }
}

const fn family(name: &'static str, unit: Unit, meaning: &'static str) -> ColumnDoc {
    ColumnDoc { name, unit, meaning, cell: Cell::Family }
}

/// Every column, in order.
pub const COLUMNS: &[ColumnDoc] = &[
    word("run_id", "Name of the run's folder.", |row| Some(row.run().session().run_id.clone())),
    integer("session", Unit::Count, "Session of the run that measured the row: 1, or more after a resume.", |row| {
        Some(row.session().session.into())
    }),
    word("experiment", "Experiment name: the YAML file's stem.", |row| Some(row.run().session().experiment.clone())),
    word("spec_hash", "Hash of the resolved plan.", |row| Some(row.run().session().spec_hash.clone())),
    word("environment_id", "Hash of the machine and program that measured the row.", |row| {
        Some(row.session().environment.id.clone())
    }),
    word(
        "status",
        "`ok`, or how it failed: missing, failed, crashed, timeout, out_of_memory, protocol, unsupported.",
        |row| Some(row.failure().map_or("ok".to_owned(), |failure| status(failure.outcome))),
    ),
    word("error", "What went wrong, when status is not ok.", |row| Some(row.failure()?.message.clone())),
    word("dataset", "Data set name.", |row| Some(row.run().dataset.as_ref()?.name.clone())),
    word("dataset_sha256", "SHA-256 of the decoded base and query vectors.", |row| {
        Some(row.run().dataset.as_ref()?.sha256.clone())
    }),
    word("metric", "l2, inner_product or cosine.", |row| Some(row.run().dataset.as_ref()?.metric.clone())),
    integer("n", Unit::Count, "Base vectors.", |row| Some(row.run().dataset.as_ref()?.n)),
    integer("d", Unit::Count, "Dimensions.", |row| Some(row.run().dataset.as_ref()?.d)),
    word("index", "Index name in the experiment.", |row| Some(row.index().to_owned())),
    word("kind", "flat, hnsw, ivf or external.", |row| {
        row.search().map(|search| &search.kind).or(row.built().map(|build| &build.kind)).cloned()
    }),
    word("library", "Library and version that did the work.", |row| Some(row.built()?.library.clone())),
    word("simd_tier", "Instruction set that the worker dispatched to.", |row| row.built()?.simd_tier.clone()),
    word("trial", "Hash of the build: index, build parameters, data set, code version.", |row| {
        Some(row.trial().to_owned())
    }),
    word("key", "Hash of the measurement: trial, search parameters, k, workload, repeat.", |row| row.key().cloned()),
    family("build.*", Unit::Own, "One column per build parameter."),
    family("search.*", Unit::Own, "One column per search parameter."),
    integer("build_threads", Unit::Count, "Threads of the build.", |row| Some(row.built()?.threads)),
    integer("build_seed", Unit::Count, "Seed of the build.", |row| Some(row.built()?.seed)),
    integer("k", Unit::Count, "Neighbours asked for.", |row| Some(row.search()?.k)),
    word("workload", "Workload name.", |row| {
        row.search().map(|search| &search.workload).or(row.failure().and_then(|one| one.workload.as_ref())).cloned()
    }),
    word(
        "mode",
        "latency (one query at a time), throughput (all queries, one wall clock) or filtered (one query at a time among what its filter admits).",
        |row| Some(row.search()?.mode.clone()),
    ),
    number(
        "selectivity",
        Unit::Share,
        "Share of the base vectors that match, as asked for; empty without filters.",
        |row| Some(row.filter()?.selectivity),
    ),
    word(
        "correlation",
        "How the matches lie to the query: none (anywhere), positive (near) or negative (far).",
        |row| Some(row.filter()?.correlation.clone()),
    ),
    integer("matches", Unit::Count, "Base vectors that each filter admits.", |row| Some(row.filter()?.matches)),
    integer("filters", Unit::Count, "Number of filters; each serves some of the queries.", |row| {
        Some(row.filter()?.filters)
    }),
    number(
        "near_share",
        Unit::Share,
        "Mean share of the queries' nearest base vectors (as many as match and are known, at most 100) that match.",
        |row| Some(row.filter()?.near_share),
    ),
    integer("threads", Unit::Count, "Search threads.", |row| Some(row.search()?.threads)),
    integer("repeat", Unit::Count, "Repeat, from 0. Every repeat is a row; none is chosen.", |row| {
        Some(row.search()?.repeat.into())
    }),
    integer("order", Unit::Count, "Position in the shuffled order of the session.", |row| Some(row.search()?.order)),
    integer("queries", Unit::Count, "Queries answered in the timed pass.", |row| Some(row.search()?.queries)),
    number("wall_seconds", Unit::Seconds, "Wall time of the whole timed pass.", |row| Some(row.search()?.wall_seconds)),
    number("qps", Unit::PerSecond, "queries / wall_seconds; never derived from a mean latency.", |row| {
        Some(row.search()?.qps)
    }),
    number("cpu_seconds", Unit::Seconds, "CPU time of the worker in the timed pass.", |row| {
        Some(row.search()?.cpu_seconds)
    }),
    number(
        "latency_ns_mean",
        Unit::Nanoseconds,
        "Mean time of one query; this and the percentiles over every sample.",
        |row| Some(row.latency()?.mean),
    ),
    integer("latency_ns_p50", Unit::Nanoseconds, "Median.", |row| Some(row.latency()?.p50)),
    integer("latency_ns_p90", Unit::Nanoseconds, "90th percentile.", |row| Some(row.latency()?.p90)),
    integer("latency_ns_p95", Unit::Nanoseconds, "95th percentile.", |row| Some(row.latency()?.p95)),
    integer("latency_ns_p99", Unit::Nanoseconds, "99th percentile.", |row| Some(row.latency()?.p99)),
    integer("latency_ns_p999", Unit::Nanoseconds, "99.9th percentile.", |row| Some(row.latency()?.p999)),
    integer("latency_ns_max", Unit::Nanoseconds, "Slowest query.", |row| Some(row.latency()?.max)),
    number(
        "recall_strict",
        Unit::Share,
        "Share of true ids returned: |returned ∩ truth| / k, or / matches where fewer than k match; mean over queries.",
        |row| Some(row.recall()?.strict),
    ),
    number(
        "recall_ties",
        Unit::Share,
        "As strict, but a returned vector at distance <= d_k (1 + 1e-6) counts too.",
        |row| Some(row.recall()?.ties),
    ),
    number(
        "recall_annb",
        Unit::Share,
        "ann-benchmarks' definition, distance <= d_k + 1e-3; for comparison only.",
        |row| Some(row.recall()?.annb),
    ),
    number("recall_min", Unit::Share, "Worst query (strict).", |row| Some(row.recall()?.min)),
    number("recall_p5", Unit::Share, "5th percentile over queries (strict).", |row| Some(row.recall()?.p5)),
    integer(
        "recall_hits",
        Unit::Count,
        "True ids returned over all queries: the exact counter behind recall_strict.",
        |row| Some(row.recall()?.hits),
    ),
    number("relative_error", Unit::Share, "Mean of (sum of returned / sum of true distances) - 1.", |row| {
        row.recall()?.relative_error
    }),
    integer("distance_computations", Unit::Count, "Distances computed, summed over the queries of one pass.", |row| {
        Some(row.counters()?.distance_computations)
    }),
    integer("hops", Unit::Count, "Graph nodes expanded.", |row| Some(row.counters()?.hops)),
    integer("lists_probed", Unit::Count, "Inverted lists scanned.", |row| Some(row.counters()?.lists_probed)),
    integer("bytes_read", Unit::Bytes, "Vector and adjacency bytes touched.", |row| Some(row.counters()?.bytes_read)),
    integer("faults_major", Unit::Count, "Major page faults in the timed pass.", |row| {
        Some(row.search()?.faults_major)
    }),
    integer("faults_minor", Unit::Count, "Minor page faults in the timed pass.", |row| {
        Some(row.search()?.faults_minor)
    }),
    number("build_seconds", Unit::Seconds, "train + construct + optimise.", |row| Some(row.built()?.build_seconds)),
    number("build_read_seconds", Unit::Seconds, "Mapping or reading the base vectors.", |row| {
        Some(row.built()?.stages.read)
    }),
    number("build_train_seconds", Unit::Seconds, "Training.", |row| Some(row.built()?.stages.train)),
    number("build_construct_seconds", Unit::Seconds, "Construction or insertion.", |row| {
        Some(row.built()?.stages.construct)
    }),
    number("build_optimise_seconds", Unit::Seconds, "Optimising or freezing.", |row| {
        Some(row.built()?.stages.optimise)
    }),
    number("build_save_seconds", Unit::Seconds, "Saving to disk.", |row| Some(row.built()?.stages.save)),
    number("build_load_seconds", Unit::Seconds, "Opening from disk, when the trial did that.", |row| {
        Some(row.built()?.stages.load)
    }),
    number("build_cpu_seconds", Unit::Seconds, "CPU time of the worker up to the finished build.", |row| {
        Some(row.built()?.cpu_seconds)
    }),
    integer(
        "build_peak_rss_anon_bytes",
        Unit::Bytes,
        "Peak anonymous memory of the worker up to the finished build.",
        |row| row.built()?.peak_rss_anon_bytes,
    ),
    integer(
        "build_peak_rss_file_bytes",
        Unit::Bytes,
        "Peak file-backed memory: mapped pages, not memory use.",
        |row| row.built()?.peak_rss_file_bytes,
    ),
    integer(
        "index_bytes",
        Unit::Bytes,
        "Size of the index by its own account: the sum of the memory columns.",
        |row| row.built()?.index_bytes,
    ),
    family("memory.*", Unit::Bytes, "One column per component of the index."),
    word("digest", "Digest of the built structure.", |row| row.built()?.digest.clone()),
];

/// Every column as a table of words.
pub fn describe() -> Grid {
    let mut grid = Grid::new(&["column", "unit", "meaning"]);
    for doc in COLUMNS {
        grid.push(vec![doc.name.to_owned(), doc.unit.name().to_owned(), doc.meaning.to_owned()]);
    }
    grid
}

impl ColumnDoc {
    /// The column's cells; `None` for a family.
    pub(super) fn cells(&self, rows: &[Source<'_>]) -> Option<Cells> {
        match self.cell {
            Cell::Word(cell) => Some(Cells::Text(rows.iter().map(cell).collect())),
            Cell::Integer(cell) => {
                // Counts stay far below 2^63; a seed above it wraps rather than being lost.
                Some(Cells::Integer(rows.iter().map(|row| cell(row).map(|count| count as i64)).collect()))
            }
            Cell::Number(cell) => Some(Cells::Number(rows.iter().map(cell).collect())),
            Cell::Family => None,
        }
    }
}

impl Source<'_> {
    fn recall(&self) -> Option<&Recall> {
        self.search().map(|search| &search.recall)
    }

    fn filter(&self) -> Option<&Filter> {
        match (self.search(), self.failure()) {
            (Some(search), _) => search.filter.as_ref(),
            (None, failure) => failure?.filter.as_ref(),
        }
    }

    fn latency(&self) -> Option<&Latency> {
        self.search()?.latency_ns.as_ref()
    }

    fn counters(&self) -> Option<&Counters> {
        self.search()?.counters.as_ref()
    }

    fn key(&self) -> Option<&String> {
        self.search().map(|search: &Search| &search.key).or(self.failure().and_then(|failure| failure.key.as_ref()))
    }
}

//! The results of a run about stores: one row per point and repeat, failures too. Every column, with unit and meaning.

use std::collections::BTreeSet;

use crate::{
    grid::Grid,
    record::{Failure, Latency, Params, Run},
    run::RunData,
    storage::{StoreFigures, Stored},
    table::{Cells, Unit, narrowest, status},
};

/// Every column, in order. `params.*` is one column for each parameter of a workload.
pub const COLUMNS: &[(&str, Unit, &str)] = &[
    ("run_id", Unit::Word, "Name of the run's folder."),
    ("experiment", Unit::Word, "Experiment name: the YAML file's stem."),
    ("spec_hash", Unit::Word, "Hash of the resolved plan."),
    ("environment_id", Unit::Word, "Hash of the machine and program that measured the row."),
    ("status", Unit::Word, "`ok`, or how it failed: missing, failed, crashed, timeout, out_of_memory, protocol."),
    ("error", Unit::Word, "What went wrong, when status is not ok."),
    ("dataset", Unit::Word, "Data set name; empty where the workload makes its own records."),
    ("d", Unit::Count, "Dimensions of its vectors."),
    ("store", Unit::Word, "Store name in the experiment."),
    ("kind", Unit::Word, "store, plain_file or external."),
    ("element", Unit::Word, "Components of the vectors: f32 or f16."),
    ("library", Unit::Word, "Library and version that did the work."),
    ("workload", Unit::Word, "Workload name."),
    ("mode", Unit::Word, "bulk_load, point_read, compaction, reopen or filter."),
    ("params.*", Unit::Own, "One column per parameter: batch, durability, delete, after, phase, filter."),
    ("repeat", Unit::Count, "Repeat, from 0. Every repeat is a row; none is chosen."),
    ("order", Unit::Count, "Position of the trial in the order of the run."),
    ("trial", Unit::Word, "Hash of the trial: store, element, data set, workload and its parameters, code version."),
    ("key", Unit::Word, "Hash of the trial and the repeat, and the number of the point."),
    ("rows", Unit::Count, "Rows loaded, read, kept by the compaction, there after opening, or judged by a filter."),
    ("bytes", Unit::Bytes, "Bytes of those rows' components; of the documents for fields."),
    ("calls", Unit::Count, "Calls: changes, reads, filters."),
    ("wall_seconds", Unit::Seconds, "Wall time of the whole, the last sync included."),
    ("cpu_seconds", Unit::Seconds, "CPU time of the worker meanwhile."),
    ("sync_seconds", Unit::Seconds, "Of wall_seconds, the last sync."),
    ("rows_per_second", Unit::RowsPerSecond, "rows / wall_seconds."),
    ("bytes_per_second", Unit::BytesPerSecond, "bytes / wall_seconds."),
    ("latency_ns_mean", Unit::Nanoseconds, "Mean time of a call; this and the percentiles over every call."),
    ("latency_ns_p50", Unit::Nanoseconds, "Median."),
    ("latency_ns_p90", Unit::Nanoseconds, "90th percentile."),
    ("latency_ns_p99", Unit::Nanoseconds, "99th percentile."),
    ("latency_ns_p999", Unit::Nanoseconds, "99.9th percentile."),
    ("latency_ns_max", Unit::Nanoseconds, "Slowest call."),
    ("disk_bytes", Unit::Bytes, "Bytes that the store's folder takes on the disk afterwards."),
    ("freed_bytes", Unit::Bytes, "Bytes on the disk that the compaction gave back."),
    ("found", Unit::Count, "Records that a filter found."),
    ("checked_rows", Unit::Count, "Rows read back that the harness compared with the data set."),
    ("peak_rss_anon_bytes", Unit::Bytes, "Peak anonymous memory of the worker."),
    ("peak_rss_file_bytes", Unit::Bytes, "Peak file-backed memory: mapped pages, not memory use."),
];

/// Every column as a table of words.
pub fn describe() -> Grid {
    let mut grid = Grid::new(&["column", "unit", "meaning"]);
    for (name, unit, meaning) in COLUMNS {
        grid.push(vec![(*name).to_owned(), unit.name().to_owned(), (*meaning).to_owned()]);
    }
    grid
}

/// One row: a measurement, or something that did not work.
struct Row<'a> {
    run: &'a RunData,
    /// The session that measured it; for a failure the newest that measured.
    session: &'a Run,
    stored: Option<&'a Stored>,
    failure: Option<&'a Failure>,
}

impl<'a> Row<'a> {
    fn params(&self) -> Option<&'a Params> {
        self.stored.map(|stored| &stored.params).or_else(|| self.failure.and_then(|failure| failure.search.as_ref()))
    }

    fn figures(&self) -> Option<&'a StoreFigures> {
        self.stored.map(|stored| &stored.figures)
    }

    fn latency(&self) -> Option<&'a Latency> {
        self.stored?.latency_ns.as_ref()
    }

    fn word(&self, name: &str) -> Option<String> {
        let session = self.run.session();
        let failed = |name: &str| {
            let value = self.failure?.params.get(name)?;
            Some(crate::format::value(value))
        };
        match name {
            "run_id" => Some(session.run_id.clone()),
            "experiment" => Some(session.experiment.clone()),
            "spec_hash" => Some(session.spec_hash.clone()),
            "environment_id" => Some(self.session.environment.id.clone()),
            "status" => Some(self.failure.map_or("ok".to_owned(), |failure| status(failure.outcome))),
            "error" => Some(self.failure?.message.clone()),
            "dataset" => self.stored.map_or_else(|| failed("dataset"), |stored| stored.dataset.clone()),
            "store" => self.stored.map(|stored| stored.store.clone()).or_else(|| Some(self.failure?.index.clone())),
            "kind" => Some(self.stored?.kind.clone()),
            "element" => self.stored.map_or_else(|| failed("element"), |stored| stored.element.clone()),
            "library" => Some(self.stored?.library.clone()),
            "workload" => {
                self.stored.map_or_else(|| self.failure?.workload.clone(), |stored| Some(stored.workload.clone()))
            }
            "mode" => self.stored.map(|stored| stored.mode.clone()).or_else(|| failed("mode")),
            "trial" => self.stored.map(|stored| stored.trial.clone()).or_else(|| Some(self.failure?.trial.clone())),
            "key" => self.stored.map(|stored| stored.key.clone()).or_else(|| self.failure?.key.clone()),
            _ => None,
        }
    }

    fn integer(&self, name: &str) -> Option<u64> {
        match name {
            "d" => self.stored?.d,
            "repeat" => Some(self.stored?.repeat.into()),
            "order" => Some(self.stored?.order),
            "rows" => Some(self.figures()?.rows),
            "bytes" => Some(self.figures()?.bytes),
            "calls" => Some(self.figures()?.calls),
            "latency_ns_p50" => Some(self.latency()?.p50),
            "latency_ns_p90" => Some(self.latency()?.p90),
            "latency_ns_p99" => Some(self.latency()?.p99),
            "latency_ns_p999" => Some(self.latency()?.p999),
            "latency_ns_max" => Some(self.latency()?.max),
            "disk_bytes" => self.figures()?.disk_bytes,
            "freed_bytes" => self.figures()?.freed_bytes,
            "found" => self.figures()?.found,
            "checked_rows" => Some(self.stored?.checked_rows),
            "peak_rss_anon_bytes" => self.stored?.peak_rss_anon_bytes,
            "peak_rss_file_bytes" => self.stored?.peak_rss_file_bytes,
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        let figures = self.figures()?;
        match name {
            "wall_seconds" => Some(figures.wall_seconds),
            "cpu_seconds" => figures.cpu_seconds,
            "sync_seconds" => figures.sync_seconds,
            "rows_per_second" => Some(self.stored?.rows_per_second),
            "bytes_per_second" => Some(figures.bytes as f64 / figures.wall_seconds),
            "latency_ns_mean" => Some(self.latency()?.mean),
            _ => None,
        }
    }
}

/// The columns of such runs, in the order of [`COLUMNS`].
pub(crate) fn columns(runs: &[RunData]) -> Vec<(String, Cells)> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for run in runs {
        rows.extend(run.stored.iter().enumerate().map(|(number, stored)| Row {
            run,
            session: run.session_of_stored(number),
            stored: Some(stored),
            failure: None,
        }));
        let session = run.measuring();
        rows.extend(run.failures.iter().map(|failure| Row { run, session, stored: None, failure: Some(failure) }));
    }
    let mut columns = Vec::new();
    for (name, unit, _) in COLUMNS {
        let name = *name;
        let cells = match unit {
            Unit::Own => {
                columns.extend(parameters(&rows));
                continue;
            }
            Unit::Word => Cells::Text(rows.iter().map(|row| row.word(name)).collect()),
            Unit::Count | Unit::Bytes => integers(&rows, name),
            Unit::Nanoseconds if name != "latency_ns_mean" => integers(&rows, name),
            _ => Cells::Number(rows.iter().map(|row| row.number(name)).collect()),
        };
        columns.push((name.to_owned(), cells));
    }
    columns
}

fn integers(rows: &[Row<'_>], name: &str) -> Cells {
    Cells::Integer(rows.iter().map(|row| row.integer(name).map(|count| count as i64)).collect())
}

fn parameters(rows: &[Row<'_>]) -> Vec<(String, Cells)> {
    let names: BTreeSet<&String> = rows.iter().filter_map(Row::params).flat_map(|params| params.keys()).collect();
    let column = |name: &String| {
        let values: Vec<_> = rows.iter().map(|row| row.params()?.get(name)).collect();
        (format!("params.{name}"), narrowest(&values))
    };
    names.into_iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_described_once() {
        let names: BTreeSet<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), COLUMNS.len());
        assert!(COLUMNS.iter().all(|(.., meaning)| meaning.ends_with('.')), "a meaning is a sentence");
        assert_eq!(describe().rows.len(), COLUMNS.len());
    }
}

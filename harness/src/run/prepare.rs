//! From an experiment to data that can be measured on, and the facts that a plan needs about it.

use std::{collections::BTreeMap, path::Path};

use nearlab_datasets::{Cache, Files, FilterOptions, PrepareOptions, PreparedFilter, Source, filters};
use nearlab_reports::record;
use nearlab_simd::Metric;

use super::RunError;
use crate::{
    environment,
    plan::Facts,
    progress::Display,
    protocol::{Filters, Matrix},
    spec::{DatasetSource, QuerySplit, Spec},
    trial::worker_version,
};

/// A data set, ready to be measured on.
pub struct Prepared {
    /// The mapped data.
    pub data: nearlab_datasets::Prepared,
    /// What it is, for the record.
    pub record: record::Dataset,
    /// Its metric.
    pub metric: Metric,
    /// The filters of the experiment, each once; empty until [`Prepared::make_filters`].
    pub filters: Vec<PreparedFilter>,
}

impl Prepared {
    /// Finds or makes the filters of the experiment's workloads.
    pub fn make_filters(&mut self, spec: &Spec, cache: &Cache, display: &Display) -> Result<(), RunError> {
        let wanted = spec.filters();
        if wanted.is_empty() {
            return Ok(());
        }
        display.begin("filters");
        let paths = filters::prepare(&self.data, &wanted, spec.max_k(), cache, display)
            .map_err(|error| spec.error_at(spec.dataset.place, with_causes(&error)))?;
        let open = |path: &std::path::PathBuf| {
            PreparedFilter::open(path)
                .map_err(|error| RunError::OpenPrepared { path: path.clone(), message: with_causes(&error) })
        };
        self.filters = paths.iter().map(open).collect::<Result<_, _>>()?;
        display.end(&format!("filters: {}", self.filters.len()));
        Ok(())
    }

    /// Position of a filter in `filters`.
    pub fn filter(&self, options: &FilterOptions) -> Option<usize> {
        self.filters.iter().position(|filter| filter.options() == options)
    }

    /// What a record says about a filter.
    pub fn filter_record(&self, options: &FilterOptions) -> record::Filter {
        let made = self.filter(options).map(|at| &self.filters[at]);
        record::Filter {
            selectivity: options.selectivity,
            correlation: options.correlation.as_str().to_owned(),
            matches: options.matches(self.data.train().len()) as u64,
            filters: made.map_or(options.filters, PreparedFilter::filters) as u64,
            seed: options.seed,
            near_share: made.map_or(0.0, PreparedFilter::near_share),
        }
    }

    /// Where a worker finds a filter.
    pub fn filter_files(&self, options: &FilterOptions) -> Option<Box<Filters>> {
        let filter = &self.filters[self.filter(options)?];
        let matrix = |(path, offset), n, d, element: &str| Matrix { path, offset, n, d, element: element.to_owned() };
        Some(Box::new(Filters {
            bitmaps: matrix(filter.bitmap_location(), filter.filters(), filter.words() * size_of::<u64>(), "u8"),
            of_query: matrix(filter.of_query_location(), self.data.test().len(), 1, "i32"),
        }))
    }

    /// What a plan needs to know.
    pub fn facts(&self, spec: &Spec) -> Facts {
        let truth = truth_hash(&self.data);
        Facts {
            n: Some(self.record.n),
            d: Some(self.record.d),
            queries: Some(self.record.queries),
            dataset_fingerprint: Some(format!(
                "{} {} {} {truth} {:?}",
                self.record.sha256, self.record.metric, self.record.truth_k, spec.dataset.queries
            )),
            ..code_facts(spec)
        }
    }

    /// Where a worker finds (base vectors, queries).
    pub fn matrices(&self) -> (Matrix, Matrix) {
        let matrix = |(path, offset), n| Matrix { path, offset, n, d: self.data.train().dim(), element: "f32".into() };
        (
            matrix(self.data.train_location(), self.data.train().len()),
            matrix(self.data.test_location(), self.data.test().len()),
        )
    }
}

/// Finds, decodes, checks and maps the experiment's data set.
pub fn prepare(spec: &Spec, cache: &Cache, display: &Display) -> Result<Prepared, RunError> {
    let refused = |message: String| spec.error_at(spec.dataset.place, message);
    let metric = match &spec.dataset.metric {
        Some(name) => Some(name.parse::<Metric>().map_err(|error| refused(error.to_string()))?),
        None => None,
    };
    let source = source(&spec.dataset.source, metric).map_err(refused)?;
    let options = PrepareOptions {
        limit: spec.dataset.limit,
        queries: spec.dataset.queries.map(|split| nearlab_datasets::QuerySplit {
            report: split.report,
            calibrate: split.calibrate,
            seed: split.seed,
        }),
        truth_k: spec.max_k(),
        metric,
        ..PrepareOptions::default()
    };
    display.begin(&source.name());
    let path = nearlab_datasets::prepare(&source, spec.folder(), &options, cache, display)
        .map_err(|error| refused(with_causes(&error)))?;
    let data = nearlab_datasets::Prepared::open(&path)
        .map_err(|error| RunError::OpenPrepared { path: path.clone(), message: with_causes(&error) })?;
    let drawn = |QuerySplit { report, calibrate, seed }: QuerySplit| record::Split {
        report: report as u64,
        calibrate: calibrate as u64,
        seed,
    };
    let record = record::Dataset { split: spec.dataset.queries.map(drawn), ..describe(&data) };
    display
        .end(&format!("{}: {} x {}, {} queries, {}", record.name, record.n, record.d, record.queries, record.metric));
    Ok(Prepared { metric: data.metric(), data, record, filters: Vec::new() })
}

fn source(source: &DatasetSource, metric: Option<Metric>) -> Result<Source, String> {
    match source {
        DatasetSource::Use(name) => Ok(Source::Name(name.clone())),
        DatasetSource::Files { train, test, neighbors } => Ok(Source::Files(Files {
            train: train.clone(),
            test: test.clone(),
            neighbors: neighbors.clone(),
            metric: metric.ok_or("a data set of separate files needs `metric`: l2, inner_product or cosine")?,
        })),
    }
}

/// An error and its causes on one line each, without repeating what a message already says.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

fn describe(data: &nearlab_datasets::Prepared) -> record::Dataset {
    let print = data.fingerprint();
    record::Dataset {
        name: print.name.clone(),
        source: print.source.clone(),
        sha256: print.sha256.clone(),
        n: print.n,
        d: print.d,
        queries: print.queries,
        metric: print.metric.to_string(),
        truth_k: print.truth_k,
        integral_u8: print.integral_u8,
        duplicates: print.duplicates,
        norm_min: print.norm_min,
        norm_mean: print.norm_mean,
        norm_max: print.norm_max,
        lid_mean: print.lid_mean,
        relative_contrast: print.relative_contrast,
        truth_checked: print.truth_checked,
        split: None,
        truth: Some(truth_hash(data)),
    }
}

/// Neighbours that were corrected ask another question of the same vectors.
fn truth_hash(data: &nearlab_datasets::Prepared) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(data.neighbors().as_slice())))
}

/// What is known without data: the versions of the code and of each external worker.
pub fn code_facts(spec: &Spec) -> Facts {
    let worker_versions: BTreeMap<String, String> = spec
        .indexes
        .iter()
        .filter_map(|index| Some((index.name.clone(), worker_version(index.worker.as_deref()?)?)))
        .collect();
    Facts { code_version: environment::code_version(), worker_versions, ..Facts::default() }
}

/// Holds the files of an index's or a store's worker to those that the plan knows: what others measured would be recorded under
/// their hash. To be asked once the worker has spoken, for then it has read them.
pub(crate) fn same_worker(index: &str, worker: Option<&Path>, planned: Option<&str>) -> Result<(), RunError> {
    match worker {
        Some(path) if worker_version(path).as_deref() != planned => {
            Err(RunError::WorkerChanged { index: index.to_owned(), path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_held_to_the_files_that_were_planned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.py");
        std::fs::write(&path, "a").unwrap();
        let planned = worker_version(&path);
        let same = || same_worker("peer", Some(path.as_path()), planned.as_deref());
        assert!(same().is_ok() && same_worker("ours", None, None).is_ok());
        std::fs::write(&path, "b").unwrap();
        let message = same().unwrap_err().to_string();
        assert!(message.contains("peer.py of peer has changed since the run began"), "{message}");
        std::fs::write(&path, "a").unwrap();
        assert!(same().is_ok());
        // One that was not there when the plan was made.
        assert!(same_worker("peer", Some(path.as_path()), None).is_err());
    }
}

//! The data sets of an experiment about stores, and what a plan needs to know of them and of the workers.

use nearlab_datasets::Cache;

use crate::{
    environment,
    progress::Display,
    run::{Prepared, RunError, prepare},
    spec::{StoreEntry, StoreSpec},
    storage::plan::{StoreFacts, Versions},
    trial::worker_version,
};

/// Prepares the data sets of an experiment.
pub fn prepare_all(spec: &StoreSpec, cache: &Cache, display: &Display) -> Result<Vec<Prepared>, RunError> {
    let mut all: Vec<Prepared> = Vec::with_capacity(spec.datasets.len());
    for at in 0..spec.datasets.len() {
        let one = spec.with_dataset(at);
        let data = prepare(&one, cache, display)?;
        let name = &data.record.name;
        // Records and reports know a data set by its name, which says nothing of its folder, its limit or its vectors.
        if all.iter().any(|other| other.record.name == *name) {
            let message = format!(
                "there is a data set `{name}` already, and the report could not tell the two apart: give the file another \
                 name, or ask about this one in an experiment of its own"
            );
            return Err(one.error_at(one.dataset.place, message).into());
        }
        all.push(data);
    }
    Ok(all)
}

/// What a plan needs to know about them.
pub fn facts(data: &[Prepared]) -> Vec<StoreFacts> {
    let fact = |one: &Prepared| StoreFacts {
        name: one.record.name.clone(),
        n: Some(one.record.n),
        d: Some(one.record.d),
        sha256: one.record.sha256.clone(),
    };
    data.iter().map(fact).collect()
}

/// Versions of this program and of the experiment's external workers.
pub fn versions(spec: &StoreSpec) -> Versions {
    let version = |store: &StoreEntry| Some((store.name.clone(), worker_version(store.worker.as_deref()?)?));
    Versions { code: environment::code_version(), workers: spec.stores.iter().filter_map(version).collect() }
}

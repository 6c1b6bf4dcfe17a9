//! What of a plan is done: measured, or failed and not to be tried again.

use std::collections::{HashMap, HashSet};

use nearlab_reports::{run::RunData, storage::Stored};

use crate::{
    run::RunError,
    storage::plan::{PlannedStore, StorePlan},
};

/// What earlier sessions, and this one so far, have done.
#[derive(Debug, Default)]
pub(super) struct Done {
    keys: HashSet<String>,
    failed: HashSet<String>,
    /// By store: the library that it was measured with first.
    libraries: HashMap<String, String>,
}

impl Done {
    /// As recorded. Failures count as done unless they are to be retried.
    pub(super) fn of(run: &RunData, retry_failed: bool) -> Self {
        let failed = run.failures.iter().filter(|_| !retry_failed).map(|failure| failure.trial.clone());
        let mut done = Self { failed: failed.collect(), ..Self::default() };
        run.stored.iter().for_each(|stored| done.note_stored(stored));
        done
    }

    /// Whether nothing is left of a repeat.
    pub(super) fn has(&self, trial: &PlannedStore, repeat: u32) -> bool {
        let all = (0..trial.points.len()).all(|point| self.keys.contains(&key(trial, repeat, point)));
        all || self.failed.contains(&trial.hash)
    }

    /// A measurement was made.
    pub(super) fn note_stored(&mut self, stored: &Stored) {
        self.keys.insert(stored.key.clone());
        self.libraries.entry(stored.store.clone()).or_insert_with(|| stored.library.clone());
    }

    /// A repeat of a trial failed.
    pub(super) fn note_failed(&mut self, trial: &PlannedStore) {
        self.failed.insert(trial.hash.clone());
    }

    /// Refuses a library that is not the one which the store was measured with, in whichever trial: a store is of one version.
    pub(super) fn check_library(&self, trial: &PlannedStore, store: &str, found: &str) -> Result<(), RunError> {
        match self.libraries.get(store) {
            Some(expected) if expected != found => Err(RunError::Library {
                trial: trial.hash.clone(),
                index: store.to_owned(),
                expected: expected.clone(),
                found: found.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// The name of one measurement.
pub(super) fn key(trial: &PlannedStore, repeat: u32, point: usize) -> String {
    format!("{}-{point}", trial.key(repeat))
}

/// What is left: the place in the order, and (trial, repeat).
pub(super) fn pending<'a>(plan: &'a StorePlan, done: &'a Done) -> impl Iterator<Item = (usize, (usize, u32))> {
    let left = |&(_, (trial, repeat)): &(usize, (usize, u32))| !done.has(&plan.trials[trial], repeat);
    plan.schedule.iter().copied().enumerate().filter(left)
}

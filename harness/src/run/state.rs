//! What of a plan is done already, and what is left.

use std::collections::{HashMap, HashSet};

use nearlab_reports::{
    record::{Build, Failure, Outcome},
    run::RunData,
};

use crate::plan::{Plan, PlannedTrial};

/// Kinds of profile.
const PROFILES: [&str; 2] = ["cpu", "heap"];

/// What a trial that is built again has to have in common with its recorded build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBuild {
    /// Digest of what was built, where the index has one.
    pub digest: Option<String>,
    /// Library and version that built it.
    pub library: String,
}

impl KnownBuild {
    fn of(build: &Build) -> Self {
        Self { digest: build.digest.clone(), library: build.library.clone() }
    }
}

/// What earlier sessions, and this one so far, have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    measured: HashSet<String>,
    /// Trials built and recorded.
    builds: HashMap<String, KnownBuild>,
    failed_trials: HashSet<String>,
    failed_searches: HashSet<String>,
    /// (trial, kind) of profiles taken.
    profiled: HashSet<(String, String)>,
    /// (trial, kind) of profiles tried in vain.
    failed_profiles: HashSet<(String, String)>,
}

impl State {
    /// The state of a run as recorded. Failures count as done unless `retry_failed`, unsupported searches in any case.
    pub fn of(run: &RunData, retry_failed: bool) -> Self {
        let mut state = Self {
            measured: run.searches.iter().map(|search| search.key.clone()).collect(),
            builds: run.builds.iter().map(|build| (build.trial.clone(), KnownBuild::of(build))).collect(),
            profiled: run.profiles.iter().map(|profile| (profile.trial.clone(), profile.kind.clone())).collect(),
            ..Self::default()
        };
        // What a library does not have is not mended: asking again would build its index for nothing.
        let stays = |failure: &&Failure| !retry_failed || failure.outcome == Outcome::Unsupported;
        run.failures.iter().filter(stays).for_each(|failure| state.note_failure(failure));
        state
    }

    /// Whether a search is still to be measured.
    pub fn is_pending(&self, trial: &PlannedTrial, key: &str) -> bool {
        !self.measured.contains(key) && !self.failed_searches.contains(key) && !self.failed_trials.contains(&trial.hash)
    }

    /// Searches of a trial that are still to be measured.
    pub fn pending(&self, trial: &PlannedTrial) -> usize {
        trial.searches.iter().filter(|search| self.is_pending(trial, &search.key)).count()
    }

    /// Searches of the whole plan that are still to be measured.
    pub fn pending_in(&self, plan: &Plan) -> usize {
        plan.trials.iter().map(|trial| self.pending(trial)).sum()
    }

    /// Searches measured.
    pub fn measured(&self) -> usize {
        self.measured.len()
    }

    /// The recorded build of a trial.
    pub fn build(&self, trial: &str) -> Option<&KnownBuild> {
        self.builds.get(trial)
    }

    /// Whether a profile of this kind is there.
    pub fn is_profiled(&self, trial: &str, kind: &str) -> bool {
        self.profiled.contains(&(trial.to_owned(), kind.to_owned()))
    }

    /// Whether a profile of this kind was tried in vain.
    pub fn has_failed_profile(&self, trial: &str, kind: &str) -> bool {
        self.failed_profiles.contains(&(trial.to_owned(), kind.to_owned()))
    }

    /// A search was recorded.
    pub fn note_measured(&mut self, key: &str) {
        self.measured.insert(key.to_owned());
    }

    /// A build was recorded.
    pub fn note_build(&mut self, trial: &str, build: KnownBuild) {
        self.builds.insert(trial.to_owned(), build);
    }

    /// A profile was recorded.
    pub fn note_profile(&mut self, trial: &str, kind: &str) {
        self.profiled.insert((trial.to_owned(), kind.to_owned()));
    }

    /// A failure was recorded: of one search that was refused, of a profile, or of the whole trial.
    pub fn note_failure(&mut self, failure: &Failure) {
        let kinds: Vec<&str> = PROFILES.into_iter().filter(|kind| failure.is_of_profile(kind)).collect();
        match (&failure.key, failure.outcome) {
            _ if !kinds.is_empty() => {
                self.failed_profiles.extend(kinds.into_iter().map(|kind| (failure.trial.clone(), kind.to_owned())));
            }
            (Some(key), Outcome::Failed | Outcome::Unsupported) => {
                self.failed_searches.insert(key.clone());
            }
            _ => {
                self.failed_trials.insert(failure.trial.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(key: Option<&str>, outcome: Outcome, stage: &str) -> Failure {
        Failure {
            trial: "t".into(),
            key: key.map(str::to_owned),
            index: "i".into(),
            params: std::collections::BTreeMap::default(),
            search: None,
            workload: None,
            filter: None,
            stage: stage.into(),
            outcome,
            message: String::new(),
        }
    }

    #[test]
    fn a_refused_search_costs_itself_and_a_dead_worker_the_trial() {
        let mut state = State::default();
        state.note_failure(&failure(Some("a"), Outcome::Failed, "search"));
        state.note_failure(&failure(Some("c"), Outcome::Unsupported, "search"));
        assert!(["a", "c"].iter().all(|key| state.failed_searches.contains(*key)) && state.failed_trials.is_empty());
        state.note_failure(&failure(None, Outcome::Crashed, "heap profile"));
        assert!(state.failed_trials.is_empty());
        state.note_failure(&failure(Some("b"), Outcome::Crashed, "search"));
        assert!(state.failed_trials.contains("t"));
    }

    #[test]
    fn what_is_noted_is_known() {
        let mut state = State::default();
        assert_eq!(state.build("t"), None);
        let build = KnownBuild { digest: Some("d".into()), library: "l 1".into() };
        state.note_build("t", build.clone());
        assert_eq!(state.build("t"), Some(&build));
        state.note_measured("k");
        assert_eq!(state.measured(), 1);
        assert!(!state.is_profiled("t", "cpu"));
        state.note_profile("t", "cpu");
        assert!(state.is_profiled("t", "cpu") && !state.is_profiled("t", "heap"));
    }

    #[test]
    fn a_profile_tried_in_vain_is_remembered_by_its_kind() {
        let failed = |stage: &str| {
            let mut state = State::default();
            state.note_failure(&failure(None, Outcome::Crashed, stage));
            PROFILES.map(|kind| state.has_failed_profile("t", kind))
        };
        assert_eq!(failed("cpu profile"), [true, false]);
        assert_eq!(failed("heap profile"), [false, true]);
        // As older records have it.
        assert_eq!(failed("profile"), [true, true]);
        assert_eq!(failed("build"), [false, false]);
    }
}

//! What of a plan is done already, and what is left.

use std::collections::{HashMap, HashSet};

use nearlab_reports::{
    record::{Build, Failure, Outcome},
    run::RunData,
};

use crate::{
    plan::{Plan, PlannedTrial},
    trial::Library,
};

/// Kinds of profile.
const PROFILES: [&str; 2] = ["cpu", "heap"];

/// What earlier sessions, and this one so far, have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    measured: HashSet<String>,
    /// By trial built and recorded: digest of what was built, where the index has one.
    digests: HashMap<String, Option<String>>,
    /// By index: what its first recorded build was made by. A curve has points of several trials, so it is held to one.
    libraries: HashMap<String, Library>,
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
            profiled: run.profiles.iter().map(|profile| (profile.trial.clone(), profile.kind.clone())).collect(),
            ..Self::default()
        };
        run.builds.iter().for_each(|build| state.note_build(build));
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

    /// Whether the build of a trial is recorded.
    pub fn is_built(&self, trial: &str) -> bool {
        self.digests.contains_key(trial)
    }

    /// The digest of a trial's recorded build, where it has one.
    pub fn digest(&self, trial: &str) -> Option<&str> {
        self.digests.get(trial)?.as_deref()
    }

    /// What an index was built by, if it was.
    pub fn library(&self, index: &str) -> Option<&Library> {
        self.libraries.get(index)
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
    pub fn note_build(&mut self, build: &Build) {
        self.digests.insert(build.trial.clone(), build.digest.clone());
        let library = || Library { name: build.library.clone(), simd_tier: build.simd_tier.clone() };
        self.libraries.entry(build.index.clone()).or_insert_with(library);
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
    use nearlab_reports::record::StageSeconds;

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
        assert!(!state.is_built("t") && state.digest("t").is_none());
        state.note_build(&build("t", "l 1"));
        assert!(state.is_built("t") && state.digest("t") == Some("d"));
        state.note_measured("k");
        assert_eq!(state.measured(), 1);
        assert!(!state.is_profiled("t", "cpu"));
        state.note_profile("t", "cpu");
        assert!(state.is_profiled("t", "cpu") && !state.is_profiled("t", "heap"));
    }

    fn build(trial: &str, library: &str) -> Build {
        Build {
            trial: trial.into(),
            index: "i".into(),
            kind: "hnsw".into(),
            params: std::collections::BTreeMap::default(),
            threads: 1,
            seed: 1,
            library: library.into(),
            simd_tier: Some("avx2".into()),
            build_seconds: 1.0,
            stages: StageSeconds::default(),
            cpu_seconds: 1.0,
            peak_rss_anon_bytes: None,
            peak_rss_file_bytes: None,
            memory: std::collections::BTreeMap::default(),
            index_bytes: None,
            digest: Some("d".into()),
            counters: None,
        }
    }

    #[test]
    fn an_index_is_known_by_what_built_it_first_whichever_trial_that_was() {
        let mut state = State::default();
        assert_eq!(state.library("i"), None);
        state.note_build(&build("t", "l 1"));
        state.note_build(&build("u", "l 2"));
        let library = Library { name: "l 1".into(), simd_tier: Some("avx2".into()) };
        assert_eq!(state.library("i"), Some(&library));
        assert_eq!(state.library("j"), None);
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

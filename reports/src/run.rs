//! One run's records, merged over its sessions.
//!
//! A run that was interrupted and continued has several sessions in one `records.jsonl`. [`RunData`] is the run as a
//! whole: every search key once, failures only where nothing later made up for them, and for each search the session
//! and the build it came from.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use crate::{
    record::{Build, Dataset, Environment, Event, Failure, Finished, Line, Profile, Rejected, Run, Search},
    records::{self, ReadError},
    storage::{StorageHead, Stored},
};

/// Name of the records file in a run's folder.
pub const RECORDS_FILE: &str = "records.jsonl";

/// Why a folder is not a run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no `records.jsonl`.
    #[error("{}: not a run folder: expected a file {RECORDS_FILE} in it, found none", folder.display())]
    NotARun {
        /// The folder given.
        folder: PathBuf,
    },
    /// `records.jsonl` is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No session was recorded.
    #[error("{}: no session in it: expected a `run` line, found {lines} other lines", path.display())]
    NoSession {
        /// The records file.
        path: PathBuf,
        /// Lines read.
        lines: usize,
    },
    /// Sessions of different experiments or data sets lie in one file.
    #[error("{}: session {session} has another {what} than the ones before: expected {expected}, found {found}", path.display())]
    Mixed {
        /// The records file.
        path: PathBuf,
        /// The session that differs.
        session: u32,
        /// `plan` or `data set`.
        what: &'static str,
        /// Hash of the sessions before.
        expected: String,
        /// Hash in this session.
        found: String,
    },
}

/// Where a search came from, as positions in [`RunData::runs`] and [`RunData::builds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The session that measured it.
    pub session: usize,
    /// The build it ran on: the last one of its trial before it.
    pub build: Option<usize>,
}

/// Everything recorded in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunData {
    /// The run's folder; paths in records are relative to it.
    pub folder: PathBuf,
    /// The sessions, oldest first; never empty.
    pub runs: Vec<Run>,
    /// The data set; `None` when the run stopped before it was ready.
    pub dataset: Option<Dataset>,
    /// Every build, also when a later session built the same trial again.
    pub builds: Vec<Build>,
    /// Every search, each key once.
    pub searches: Vec<Search>,
    /// For each search, where it came from.
    pub origins: Vec<Origin>,
    /// What did not work and was not made up for later, each trial and key once.
    pub failures: Vec<Failure>,
    /// Excluded points, each once.
    pub rejected: Vec<Rejected>,
    /// The newest profile of each trial, kind and stage.
    pub profiles: Vec<Profile>,
    /// The disk and the data sets of the newest session about stores; `None` in a run about indexes.
    pub storage: Option<StorageHead>,
    /// Every measurement of a store, each key once.
    pub stored: Vec<Stored>,
    /// The newest end of a session; `None` when the last session was cut off.
    pub finished: Option<Finished>,
}

impl RunData {
    /// Reads `run_folder/records.jsonl`.
    pub fn load(run_folder: &Path) -> Result<Self, LoadError> {
        let path = run_folder.join(RECORDS_FILE);
        if !path.is_file() {
            return Err(LoadError::NotARun { folder: run_folder.to_owned() });
        }
        Self::from_lines(run_folder, records::read(&path)?)
    }

    /// Merges lines that were read from `run_folder/records.jsonl`.
    pub fn from_lines(run_folder: &Path, lines: Vec<Line>) -> Result<Self, LoadError> {
        let path = run_folder.join(RECORDS_FILE);
        let count = lines.len();
        let mut merge = Merge::new(run_folder);
        for line in lines {
            merge.add(line.event, &path)?;
        }
        if merge.run.runs.is_empty() {
            return Err(LoadError::NoSession { path, lines: count });
        }
        Ok(merge.run)
    }

    /// The newest session.
    pub fn session(&self) -> &Run {
        self.runs.last().expect("a loaded run has at least one session")
    }

    /// The newest session's environment.
    pub fn environment(&self) -> &Environment {
        &self.session().environment
    }

    /// Sessions whose environment is not the newest one's: their numbers are not comparable without care.
    pub fn foreign_sessions(&self) -> impl Iterator<Item = &Run> {
        let id = &self.environment().id;
        self.runs.iter().filter(move |run| run.environment.id != *id)
    }

    /// The build that search number `search` ran on.
    pub fn build_of(&self, search: usize) -> Option<&Build> {
        self.origins[search].build.map(|build| &self.builds[build])
    }

    /// The session that measured search number `search`.
    pub fn session_of(&self, search: usize) -> &Run {
        &self.runs[self.origins[search].session]
    }

    /// Index names in the order in which the run first mentions them.
    pub fn index_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let builds = self.builds.iter().map(|build| build.index.as_str());
        for name in builds.chain(self.searches.iter().map(|search| search.index.as_str())) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The index that ratios are quoted against: the experiment's choice, else the first external one, else the first.
    pub fn baseline(&self) -> Option<&str> {
        let names = self.index_names();
        let chosen = self.session().baseline.as_deref().filter(|chosen| names.contains(chosen));
        let external = || self.builds.iter().find(|build| build.kind == "external").map(|build| build.index.as_str());
        chosen.or_else(external).or_else(|| names.first().copied())
    }
}

/// The state of one pass over the lines.
struct Merge {
    run: RunData,
    keys: HashSet<String>,
    newest_build: BTreeMap<String, usize>,
}

impl Merge {
    fn new(folder: &Path) -> Self {
        let run = RunData {
            folder: folder.to_owned(),
            runs: Vec::new(),
            dataset: None,
            builds: Vec::new(),
            searches: Vec::new(),
            origins: Vec::new(),
            failures: Vec::new(),
            rejected: Vec::new(),
            profiles: Vec::new(),
            storage: None,
            stored: Vec::new(),
            finished: None,
        };
        Self { run, keys: HashSet::new(), newest_build: BTreeMap::new() }
    }

    fn add(&mut self, event: Event, path: &Path) -> Result<(), LoadError> {
        let run = &mut self.run;
        match event {
            Event::Run(session) => self.add_session(session, path)?,
            Event::Dataset(dataset) => {
                let session = run.runs.last().map_or(0, |run| run.session);
                if let Some(before) = &run.dataset {
                    same(path, session, "data set", &before.sha256, &dataset.sha256)?;
                }
                run.dataset = Some(dataset);
            }
            Event::Rejected(rejected) => {
                if !run.rejected.contains(&rejected) {
                    run.rejected.push(rejected);
                }
            }
            Event::Build(build) => {
                run.failures.retain(|old| old.trial != build.trial || !old.is_of_build());
                self.newest_build.insert(build.trial.clone(), run.builds.len());
                run.builds.push(build);
            }
            Event::Search(search) => {
                if self.keys.insert(search.key.clone()) {
                    // It was built, then, whatever befell an attempt before.
                    let built = |old: &Failure| old.trial == search.trial && old.is_of_build();
                    run.failures.retain(|old| old.key.as_ref() != Some(&search.key) && !built(old));
                    let build = self.newest_build.get(&search.trial).copied();
                    run.origins.push(Origin { session: run.runs.len().saturating_sub(1), build });
                    run.searches.push(search);
                }
            }
            Event::Failure(failure) => {
                run.failures.retain(|old| {
                    (&old.trial, &old.key, &old.index, &old.params, &old.stage)
                        != (&failure.trial, &failure.key, &failure.index, &failure.params, &failure.stage)
                });
                run.failures.push(failure);
            }
            Event::Profile(profile) => {
                run.failures.retain(|old| old.trial != profile.trial || !old.is_of_profile(&profile.kind));
                run.profiles.retain(|old| {
                    (&old.trial, &old.kind, &old.stage, &old.search)
                        != (&profile.trial, &profile.kind, &profile.stage, &profile.search)
                });
                run.profiles.push(profile);
            }
            Event::Storage(head) => run.storage = Some(head),
            Event::Stored(stored) => {
                if self.keys.insert(stored.key.clone()) {
                    let repeat = format!("repeat {}", stored.repeat + 1);
                    run.failures.retain(|old| old.trial != stored.trial || old.stage != repeat);
                    run.stored.push(stored);
                }
            }
            Event::Finished(finished) => run.finished = Some(finished),
        }
        Ok(())
    }

    fn add_session(&mut self, session: Run, path: &Path) -> Result<(), LoadError> {
        if let Some(before) = self.run.runs.last() {
            same(path, session.session, "plan", &before.spec_hash, &session.spec_hash)?;
        }
        self.run.runs.push(session);
        self.run.finished = None;
        Ok(())
    }
}

fn same(path: &Path, session: u32, what: &'static str, expected: &str, found: &str) -> Result<(), LoadError> {
    if expected == found {
        return Ok(());
    }
    Err(LoadError::Mixed {
        path: path.to_owned(),
        session,
        what,
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}

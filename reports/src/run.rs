//! One run's records, merged over its sessions.
//!
//! A run that was interrupted and continued has several sessions in one `records.jsonl`. [`RunData`] is the run as a
//! whole: every search key once, failures only where nothing later made up for them, and for each search the session
//! and the build it came from. A session need not have measured: one that found everything on record judges it anew. What
//! it ran on says nothing of the numbers, so that a run's machine is that of the sessions that measured.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
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
    /// For each session, its end; `None` where it was cut off.
    pub ends: Vec<Option<Finished>>,
    /// The sessions that a build, a search or a measurement of a store is kept of, as positions in `runs`.
    pub measured: BTreeSet<usize>,
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
    /// The disk and the data sets of the newest session that measured stores; `None` in a run about indexes.
    pub storage: Option<StorageHead>,
    /// Every measurement of a store, each key once.
    pub stored: Vec<Stored>,
    /// For each measurement of a store, the session that took it, as a position in `runs`.
    pub stored_sessions: Vec<usize>,
    /// The end of the newest session, with what was judged last; `None` when that session was cut off.
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

    fn newest_measuring(&self) -> usize {
        self.measured.last().copied().unwrap_or(self.runs.len() - 1)
    }

    /// The newest session that measured something; the newest of all where none did.
    pub fn measuring(&self) -> &Run {
        &self.runs[self.newest_measuring()]
    }

    /// The environment of [`RunData::measuring`].
    pub fn environment(&self) -> &Environment {
        &self.measuring().environment
    }

    /// The end of [`RunData::measuring`]; `None` where it was cut off.
    pub fn end(&self) -> Option<&Finished> {
        self.ends.get(self.newest_measuring())?.as_ref()
    }

    /// The end of the newest session where it measured nothing, and so only judged what was on record.
    pub fn judged(&self) -> Option<&Finished> {
        self.finished.as_ref().filter(|_| self.newest_measuring() + 1 < self.runs.len())
    }

    /// Sessions that measured in another environment than the newest that did: their numbers are not comparable without
    /// care.
    pub fn foreign_sessions(&self) -> impl Iterator<Item = &Run> {
        let id = &self.environment().id;
        let measured = self.measured.iter().filter_map(move |session| self.runs.get(*session));
        measured.filter(move |run| run.environment.id != *id)
    }

    /// The build that search number `search` ran on.
    pub fn build_of(&self, search: usize) -> Option<&Build> {
        self.origins[search].build.map(|build| &self.builds[build])
    }

    /// The session that measured search number `search`.
    pub fn session_of(&self, search: usize) -> &Run {
        &self.runs[self.origins[search].session]
    }

    /// The session that took measurement number `stored` of a store.
    pub fn session_of_stored(&self, stored: usize) -> &Run {
        &self.runs[self.stored_sessions[stored]]
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
    /// What the newest session says of its disk, until it measures something there.
    head: Option<StorageHead>,
}

impl Merge {
    fn new(folder: &Path) -> Self {
        let run = RunData {
            folder: folder.to_owned(),
            runs: Vec::new(),
            ends: Vec::new(),
            measured: BTreeSet::new(),
            dataset: None,
            builds: Vec::new(),
            searches: Vec::new(),
            origins: Vec::new(),
            failures: Vec::new(),
            rejected: Vec::new(),
            profiles: Vec::new(),
            storage: None,
            stored: Vec::new(),
            stored_sessions: Vec::new(),
            finished: None,
        };
        Self { run, keys: HashSet::new(), newest_build: BTreeMap::new(), head: None }
    }

    /// Position of the newest session.
    fn newest(&self) -> usize {
        self.run.runs.len().saturating_sub(1)
    }

    fn add(&mut self, event: Event, path: &Path) -> Result<(), LoadError> {
        let newest = self.newest();
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
                run.rejected.retain(|old| !replaces(&rejected, old));
                run.rejected.push(rejected);
            }
            Event::Build(build) => {
                run.failures.retain(|old| old.trial != build.trial || !old.is_of_build());
                self.newest_build.insert(build.trial.clone(), run.builds.len());
                run.measured.insert(newest);
                run.builds.push(build);
            }
            Event::Search(search) => self.add_search(search),
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
            Event::Storage(head) if run.stored.is_empty() => run.storage = Some(head),
            Event::Storage(head) => self.head = Some(head),
            Event::Stored(stored) => self.add_stored(stored),
            Event::Finished(finished) => {
                if let Some(end) = run.ends.last_mut() {
                    *end = Some(finished.clone());
                }
                run.finished = Some(finished);
            }
        }
        Ok(())
    }

    fn add_session(&mut self, session: Run, path: &Path) -> Result<(), LoadError> {
        if let Some(before) = self.run.runs.last() {
            same(path, session.session, "plan", &before.spec_hash, &session.spec_hash)?;
        }
        self.run.runs.push(session);
        self.run.ends.push(None);
        self.run.finished = None;
        Ok(())
    }

    fn add_search(&mut self, search: Search) {
        if !self.keys.insert(search.key.clone()) {
            return;
        }
        let session = self.newest();
        let run = &mut self.run;
        // It was built, then, whatever befell an attempt before.
        let built = |old: &Failure| old.trial == search.trial && old.is_of_build();
        run.failures.retain(|old| old.key.as_ref() != Some(&search.key) && !built(old));
        let build = self.newest_build.get(&search.trial).copied();
        run.origins.push(Origin { session, build });
        run.measured.insert(session);
        run.searches.push(search);
    }

    fn add_stored(&mut self, stored: Stored) {
        if !self.keys.insert(stored.key.clone()) {
            return;
        }
        let session = self.newest();
        let run = &mut self.run;
        let repeat = format!("repeat {}", stored.repeat + 1);
        run.failures.retain(|old| old.trial != stored.trial || old.stage != repeat);
        if let Some(head) = self.head.take() {
            run.storage = Some(head);
        }
        run.stored_sessions.push(session);
        run.measured.insert(session);
        run.stored.push(stored);
    }
}

/// Whether a newer rejection takes the place of an older one: a rule in other words excludes the same point, or one of
/// the two excludes all of its build.
fn replaces(new: &Rejected, old: &Rejected) -> bool {
    let whole_build = new.search.is_none() || old.search.is_none();
    (&new.index, &new.params) == (&old.index, &old.params)
        && (whole_build || (&new.search, new.k) == (&old.search, old.k))
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

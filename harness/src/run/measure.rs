//! Builds an index in a worker, and measures one search point on it.

use std::{fmt::Write as _, fs, io, path::Path};

use nearlab_reports::record::{Build, Event, Failure, Outcome, Search};

use super::{
    Answer, RunError, read_answer, same_worker,
    session::{Session, program, trial_failure},
};
use crate::{
    latency,
    plan::{PlannedSearch, PlannedTrial},
    protocol::{self, PROTOCOL, ProfileRequest, SearchRequest, Searched},
    recall::RecallError,
    spec::Kind,
    trial::{BuiltWorker, Ended, Launch, Library, Step, Trouble, Worker},
};

/// A worker whose index is ready.
pub(super) struct Live {
    pub(super) worker: Worker,
    /// Searches measured on it in this session.
    measured: u64,
    /// Searches there were to measure when it was built.
    planned: u64,
}

/// Where one measurement's samples go.
struct Samples {
    ids: std::path::PathBuf,
    nanoseconds: Option<std::path::PathBuf>,
}

impl<'a> Session<'a> {
    /// Builds a trial's index. `None`: it failed, which is recorded, or the person interrupted it.
    pub(super) fn build(&mut self, trial: &'a PlannedTrial) -> Result<Option<Live>, RunError> {
        let (worker, built) = match self.start_worker(trial, None)? {
            Ok(started) => started,
            Err(Ended::Interrupted) => return Ok(None),
            Err(Ended::Trouble(trouble)) => {
                self.fail(trial_failure(trial, "build", trouble))?;
                return Ok(None);
            }
        };
        self.record_build(trial, &built)?;
        let planned = self.state.pending(trial) as u64;
        Ok(Some(Live { worker, measured: 0, planned }))
    }

    /// Starts a worker on `trial` and waits until its index is ready.
    pub(super) fn start_worker(
        &self,
        trial: &PlannedTrial,
        profile: Option<ProfileRequest>,
    ) -> Result<Result<(Worker, BuiltWorker), Ended>, RunError> {
        let heap = matches!(profile, Some(ProfileRequest::Heap { .. }));
        let file = self.write_trial(trial, profile)?;
        let mut limits = self.limits();
        if heap {
            // dhat's own bookkeeping is not the index's memory.
            limits.memory_bytes = None;
        }
        let cores = self.cores(trial)?;
        let launch = Launch { program: &program(trial), trial_file: &file, limits, cores: cores.as_deref() };
        let mut worker = match Worker::start(&launch) {
            Ok(worker) => worker,
            Err(trouble) => return Ok(Err(trouble.into())),
        };
        let said = worker.hello();
        same_worker(&trial.index, trial.worker.as_deref(), trial.worker_version.as_deref())?;
        let library = match said {
            Ok(library) => library,
            Err(ended) => return Ok(Err(ended)),
        };
        self.check_library(trial, &library)?;
        let built = worker.built(library, &mut |step: Step| self.display.step(&step.stage, step.done, step.total));
        Ok(built.map(|built| (worker, built)))
    }

    fn write_trial(
        &self,
        trial: &PlannedTrial,
        profile: Option<ProfileRequest>,
    ) -> Result<std::path::PathBuf, RunError> {
        let (train, test) = self.data.matrices();
        let kind = if trial.kind == Kind::External { trial.index.as_str() } else { trial.kind.as_str() };
        let suffix = match &profile {
            None => "",
            Some(ProfileRequest::Cpu { .. }) => "-cpu",
            Some(ProfileRequest::Heap { .. }) => "-heap",
        };
        let told = protocol::Trial {
            protocol: PROTOCOL,
            trial: trial.hash.clone(),
            kind: kind.to_owned(),
            build: trial.build.clone(),
            threads: trial.threads,
            seed: trial.seed,
            metric: self.data.metric.to_string(),
            train,
            test,
            save: self.saved_index(trial, profile.is_none())?,
            profile,
        };
        let path = self.folder.trial_file(&format!("{}{suffix}", trial.hash));
        let text =
            serde_json::to_vec_pretty(&told).map_err(io::Error::from).map_err(RunError::file("encode", &path))?;
        fs::write(&path, text).map_err(RunError::file("write", &path))?;
        // Workers run in the same folder, but a person may start one from elsewhere.
        std::path::absolute(&path).map_err(RunError::file("find", &path))
    }

    /// Where the worker saves the index: asked for, ours, and not a profile. Absolute, like the trial's path.
    fn saved_index(&self, trial: &PlannedTrial, timed: bool) -> Result<Option<std::path::PathBuf>, RunError> {
        if !self.spec.measure.save || trial.kind == Kind::External || !timed {
            return Ok(None);
        }
        let path = self.folder.index_file(&trial.hash)?;
        Ok(Some(std::path::absolute(&path).map_err(RunError::file("find", &path))?))
    }

    /// Refuses a library that is not the one which its index was measured with, in whichever trial: a curve is of one.
    fn check_library(&self, trial: &PlannedTrial, found: &Library) -> Result<(), RunError> {
        match self.state.library(&trial.index) {
            Some(expected) if expected != found => Err(RunError::Library {
                trial: trial.hash.clone(),
                index: trial.index.clone(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Records a build unless an earlier session did; then the two must be the same index.
    fn record_build(&mut self, trial: &PlannedTrial, worker: &BuiltWorker) -> Result<(), RunError> {
        let built = &worker.built;
        if self.state.is_built(&trial.hash) {
            return same_digest(trial, self.state.digest(&trial.hash), built.digest.as_deref());
        }
        let stages = built.stages;
        let build = Build {
            trial: trial.hash.clone(),
            index: trial.index.clone(),
            kind: trial.kind.as_str().to_owned(),
            params: trial.build.clone(),
            threads: trial.threads as u64,
            seed: trial.seed,
            library: worker.library.name.clone(),
            simd_tier: worker.library.simd_tier.clone(),
            build_seconds: stages.train + stages.construct + stages.optimise,
            stages,
            cpu_seconds: built.cpu_seconds,
            peak_rss_anon_bytes: Some(worker.peaks.anon_bytes).filter(|&bytes| bytes > 0),
            peak_rss_file_bytes: Some(worker.peaks.file_bytes).filter(|&bytes| bytes > 0),
            index_bytes: (!built.memory.is_empty()).then(|| built.memory.values().sum()),
            memory: built.memory.clone(),
            digest: built.digest.clone(),
            counters: built.counters,
        };
        self.state.note_build(&build);
        self.journal.record(&Event::Build(build))?;
        Ok(())
    }

    /// Measures one search point once and records what came of it. `false`: the worker is gone.
    pub(super) fn measure(
        &mut self,
        trial: &PlannedTrial,
        search: &PlannedSearch,
        live: &mut Live,
    ) -> Result<bool, RunError> {
        let samples = self.samples(search);
        let request = self.request(search, &samples);
        // Not more often than once per measurement: drawing takes time from the machine that is being measured.
        self.display.step("measure", live.measured, live.planned);
        live.measured += 1;
        let answer = live.worker.search(&request, &mut |_| ());
        let measured = match answer {
            Ok(searched) => self.read_samples(trial, search, &searched, &samples)?,
            Err(trouble) => Err(trouble),
        };
        match measured {
            Ok(record) => {
                self.journal.record(&Event::Search(record))?;
                self.state.note_measured(&search.key);
                Ok(true)
            }
            Err(trouble) => {
                let lives = trouble.worker_lives;
                self.check_space(search)?;
                self.fail_search(trial, search, trouble)?;
                Ok(lives)
            }
        }
    }

    fn samples(&self, search: &PlannedSearch) -> Samples {
        let folder = self.folder.path().join("samples");
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Samples {
            ids: folder.join(format!("{}.ids.bin", search.key)),
            nanoseconds: search.mode.times_queries().then(|| folder.join(format!("{}.ns.bin", search.key))),
        }
    }

    fn request(&self, search: &PlannedSearch, samples: &Samples) -> SearchRequest {
        SearchRequest {
            key: search.key.clone(),
            k: search.k,
            params: search.params.clone(),
            mode: search.mode.as_str().to_owned(),
            threads: search.threads,
            warmup: self.spec.measure.warmup as usize,
            ids: samples.ids.clone(),
            latencies: samples.nanoseconds.clone(),
            filters: search.filter.and_then(|filter| self.data.filter_files(&filter)),
        }
    }

    /// Turns a worker's answer and its files into a record. The inner error is the worker's fault.
    fn read_samples(
        &mut self,
        trial: &PlannedTrial,
        search: &PlannedSearch,
        searched: &Searched,
        samples: &Samples,
    ) -> Result<Result<Search, Trouble>, RunError> {
        let queries = self.data.data.test().len();
        let ids: Vec<i32> = match read(&samples.ids, queries * search.k)? {
            Ok(ids) => ids,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let scorer = match search.filter.and_then(|filter| self.data.filter(&filter)) {
            Some(filter) => &mut self.filtered[filter],
            None => &mut self.scorer,
        };
        let recall = match scorer.score(&ids, search.k) {
            Ok(recall) => recall,
            Err(
                error @ (RecallError::OutOfRange { .. } | RecallError::Shape { .. } | RecallError::NotAMatch { .. }),
            ) => {
                return Ok(Err(Trouble::new(Outcome::Protocol, format!("the worker broke the protocol: {error}"))));
            }
        };
        let mut latency_ns = None;
        if let Some(path) = &samples.nanoseconds {
            match read::<u64>(path, queries)? {
                Ok(mut nanoseconds) => latency_ns = latency::summarise(&mut nanoseconds),
                Err(trouble) => return Ok(Err(trouble)),
            }
        }
        if !(searched.wall_seconds > 0.0 && searched.wall_seconds.is_finite()) {
            let message = format!("the worker broke the protocol: a pass took {} s", searched.wall_seconds);
            return Ok(Err(Trouble::new(Outcome::Protocol, message)));
        }
        Ok(Ok(Search {
            key: search.key.clone(),
            trial: trial.hash.clone(),
            index: trial.index.clone(),
            kind: trial.kind.as_str().to_owned(),
            build: trial.build.clone(),
            params: search.params.clone(),
            k: search.k as u64,
            workload: search.workload.clone(),
            mode: search.mode.as_str().to_owned(),
            filter: search.filter.map(|filter| self.data.filter_record(&filter)),
            threads: search.threads as u64,
            repeat: search.repeat,
            order: search.order,
            queries: queries as u64,
            wall_seconds: searched.wall_seconds,
            qps: queries as f64 / searched.wall_seconds,
            cpu_seconds: searched.cpu_seconds,
            latency_ns,
            recall,
            counters: searched.counters,
            faults_major: searched.faults_major,
            faults_minor: searched.faults_minor,
            ids_file: format!("samples/{}.ids.bin", search.key),
            latencies_file: samples.nanoseconds.as_ref().map(|_| format!("samples/{}.ns.bin", search.key)),
        }))
    }

    /// A full disk is nobody's refusal and stops the run: makes sure that samples could have been written.
    fn check_space(&self, search: &PlannedSearch) -> Result<(), RunError> {
        let probe = self.folder.path().join("samples/space.tmp");
        let bytes = self.data.data.test().len() * (search.k * size_of::<i32>() + size_of::<u64>());
        let written = fs::write(&probe, vec![0; bytes]);
        let removed = fs::remove_file(&probe);
        written.and(removed).map_err(RunError::file("write samples such as", &probe))
    }

    fn fail_search(&mut self, trial: &PlannedTrial, search: &PlannedSearch, trouble: Trouble) -> Result<(), RunError> {
        let mut message = trouble.message;
        if !trouble.worker_lives {
            let given_up = self.state.pending(trial).saturating_sub(1);
            if given_up > 0 {
                let _ = write!(message, "\n{given_up} more measurements of this trial were given up");
            }
        }
        self.fail(Failure {
            trial: trial.hash.clone(),
            key: Some(search.key.clone()),
            index: trial.index.clone(),
            params: trial.build.clone(),
            search: Some(search.params.clone()),
            workload: Some(search.workload.clone()),
            filter: search.filter.map(|filter| self.data.filter_record(&filter)),
            stage: "search".to_owned(),
            outcome: trouble.outcome,
            message,
        })
    }
}

/// Holds a build to the recorded one of the same trial: what is measured on the two stands side by side.
fn same_digest(trial: &PlannedTrial, expected: Option<&str>, found: Option<&str>) -> Result<(), RunError> {
    match (expected, found) {
        (Some(expected), Some(found)) if trial.kind != Kind::External && expected != found => Err(RunError::Digest {
            trial: trial.hash.clone(),
            index: trial.index.clone(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Reads exactly `count` little-endian elements and makes sure that they survive a power cut. The inner error: the
/// worker did not write what it said it had.
fn read<T: bytemuck::Pod>(path: &Path, count: usize) -> Result<Result<Vec<T>, Trouble>, RunError> {
    let broke =
        |what: String| Ok(Err(Trouble::new(Outcome::Protocol, format!("the worker broke the protocol: {what}"))));
    let expected = (count * size_of::<T>()) as u64;
    let bytes = match read_answer(path, |size| size == expected).map_err(RunError::file("read", path))? {
        Answer::Bytes(bytes) => bytes,
        Answer::Absent => return broke(format!("it did not write {}", path.display())),
        Answer::Size(size) => return broke(format!("{} has {size} bytes, expected {expected}", path.display())),
    };
    fs::File::open(path).and_then(|file| file.sync_data()).map_err(RunError::file("sync", path))?;
    let mut elements = vec![T::zeroed(); count];
    bytemuck::cast_slice_mut(&mut elements).copy_from_slice(&bytes);
    Ok(Ok(elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_the_wrong_size_are_the_workers_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        let missing = read::<i32>(&path, 2).unwrap().unwrap_err();
        assert!(missing.message.contains("did not write"), "{}", missing.message);
        fs::write(&path, [1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
        assert_eq!(read::<i32>(&path, 2).unwrap().unwrap(), [1, 2]);
        let short = read::<u64>(&path, 2).unwrap().unwrap_err();
        assert!(short.message.ends_with("has 8 bytes, expected 16"), "{}", short.message);
        assert!(read::<i32>(folder.path(), 2).is_err());
    }
}

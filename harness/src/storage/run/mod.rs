//! A run about stores: trial by trial, each repeat in a process and a folder of its own, everything recorded as it is known.
//!
//! `<run>/scratch/` holds what the trials write, and is gone when the session ends, however it ends; ids that are read and
//! deleted, and the records that external workers load, lie there too, so that every contestant is asked the same.

mod check;
mod data;
mod done;
mod told;

use std::fs;

use jiff::Timestamp;
use nearlab_reports::{
    format,
    record::{Event, Failure, Finished, Latency, Outcome, Params, Run},
    run::RunData,
    storage::{StorageHead, StoreFigures, Stored},
};
use serde_json::Value;

pub use self::data::{facts, prepare_all, versions};
use self::{
    check::latencies,
    done::{Done, key, pending},
};
use super::{
    disk, judge,
    plan::{PlannedStore, StorePlan},
    protocol::{Phase, StoreTrial},
};
use crate::{
    environment,
    progress::Display,
    run::{
        Conclusion, End, Journal, Options, Prepared, RunError,
        folder::{FolderError, RunFolder},
        interrupt::{self, Measuring},
        render_tables, same_worker,
        scratch::Scratch,
    },
    spec::{StoreMode, StoreSpec},
    trial::{Ended, Launch, Limits, Program, Step, Trouble, Worker, choose_cores},
};

/// Rows of each trial that are compared with the data set.
const CHECKED: usize = 200;

/// Runs an experiment about stores by its plan on prepared data.
pub fn run(
    spec: &StoreSpec,
    plan: &StorePlan,
    data: &[Prepared],
    options: &Options,
    display: &Display,
) -> Result<Conclusion, RunError> {
    let cores = environment::cores_allowed();
    let cores = choose_cores(&spec.base.measure.pin, 2, &cores)?;
    let earlier = if options.new { None } else { RunFolder::latest(&options.runs, &spec.base.name, &plan.spec_hash)? };
    // Rules, question and baseline are no part of the plan's hash: where the file has changed, it is judged anew.
    if let Some((folder, recorded)) = &earlier
        && recorded.finished.is_some()
        && recorded.session().spec_yaml == spec.base.yaml
        && pending(plan, &Done::of(recorded, options.retry_failed)).next().is_none()
    {
        let end = complete(folder, recorded.clone(), true, options.report)?;
        return conclude(folder, plan, end);
    }
    let folder = match earlier {
        Some((folder, _)) => folder,
        None => RunFolder::create(&options.runs, &spec.base.name)?,
    };
    // The lock first: the scratch folder is that of the session which holds it, and until then another one may add records.
    let journal = Journal::open(&folder.records(), display)?;
    let recorded = folder.recorded()?;
    folder.keep_question(&spec.base.yaml)?;
    folder.sweep()?;
    let scratch = Scratch::make(&folder.path().join("scratch"))?;
    let done = recorded.as_ref().map(|run| Done::of(run, options.retry_failed)).unwrap_or_default();
    let mut session = Session { spec, plan, data, folder: &folder, scratch, display, journal, cores, done };
    session.write_head(options, recorded.as_ref())?;
    let interrupted = session.measure_all()?;
    let end = if interrupted { End::Interrupted } else { session.finish(options.report)? };
    drop(session);
    conclude(&folder, plan, end)
}

fn conclude(folder: &RunFolder, plan: &StorePlan, end: End) -> Result<Conclusion, RunError> {
    let recorded = load(folder)?;
    Ok(Conclusion {
        folder: folder.path().to_owned(),
        end,
        measured: (recorded.stored.len(), plan.measurements()),
        failures: recorded.failures,
    })
}

fn load(folder: &RunFolder) -> Result<RunData, RunError> {
    Ok(RunData::load(folder.path()).map_err(FolderError::from)?)
}

fn complete(folder: &RunFolder, run: RunData, already: bool, report: bool) -> Result<End, RunError> {
    let expectations = run.finished.as_ref().map(|finished| finished.expectations.clone()).unwrap_or_default();
    let (report, summary) = render_tables(run, folder.path(), report)?;
    Ok(End::Complete { already, report, summary, expectations })
}

/// What came of a trial, with what the worker said of itself.
struct Measured {
    library: String,
    points: Vec<StoreFigures>,
    /// Of each point, where its calls were timed.
    latencies: Vec<Option<Latency>>,
    peaks: crate::trial::Peaks,
}

struct Session<'a> {
    spec: &'a StoreSpec,
    plan: &'a StorePlan,
    data: &'a [Prepared],
    folder: &'a RunFolder,
    display: &'a Display,
    /// Before the journal, and so dropped before it: whoever waits for its lock makes the same folder anew.
    scratch: Scratch,
    journal: Journal<'a>,
    cores: Option<Vec<u32>>,
    done: Done,
}

impl Session<'_> {
    fn write_head(&mut self, options: &Options, recorded: Option<&RunData>) -> Result<(), RunError> {
        let (spec, plan) = (&self.spec.base, self.plan);
        self.journal.record(&Event::Run(Run {
            run_id: self.folder.id(),
            session: recorded.map_or(0, |run| run.session().session) + 1,
            experiment: spec.name.clone(),
            question: spec.question.clone(),
            analysis: spec.analysis.clone(),
            spec_hash: plan.spec_hash.clone(),
            spec_yaml: spec.yaml.clone(),
            baseline: Some(self.spec.baseline().to_owned()),
            planned_searches: plan.measurements() as u64,
            planned_builds: 0,
            command: options.command.clone(),
            started: Timestamp::now().to_string(),
            environment: environment::describe(),
        }))?;
        let disk =
            disk::describe(self.scratch.path()).map_err(RunError::file("look at the disk of", self.scratch.path()))?;
        let datasets = self.data.iter().map(|one| one.record.clone()).collect();
        self.journal.record(&Event::Storage(StorageHead { disk, datasets }))?;
        // As in a run about indexes, of one point the newest rejection counts.
        for rejected in &plan.rejected {
            if !recorded.is_some_and(|run| run.rejected.contains(rejected)) {
                self.journal.record(&Event::Rejected(rejected.clone()))?;
            }
        }
        Ok(())
    }

    /// Measures what is left; whether the person interrupted it.
    fn measure_all(&mut self) -> Result<bool, RunError> {
        let _measuring = Measuring::begin();
        let all = self.plan.schedule.len();
        let left: Vec<(usize, (usize, u32))> = pending(self.plan, &self.done).collect();
        for (order, (number, repeat)) in left {
            let trial = &self.plan.trials[number];
            // A repeat before may have failed meanwhile.
            if self.done.has(trial, repeat) {
                continue;
            }
            if interrupt::requested() {
                break;
            }
            let title = format!("[{}/{all}] {} repeat {}", order + 1, self.title(trial), repeat + 1);
            self.display.begin(&title);
            self.room_for(trial)?;
            match self.measure(trial, repeat)? {
                Ok(measured) => {
                    let seconds: f64 = measured.points.iter().map(|point| point.wall_seconds).sum();
                    self.record(trial, (repeat, order as u64), measured)?;
                    self.display.end(&format!("{title}: {}", format::seconds(seconds)));
                }
                Err(Ended::Interrupted) => break,
                Err(Ended::Trouble(trouble)) => self.fail(trial, repeat, trouble)?,
            }
        }
        Ok(interrupt::requested())
    }

    fn title(&self, trial: &PlannedStore) -> String {
        let data = trial.dataset.map(|at| self.data[at].record.name.clone());
        let params = (!trial.params.is_empty()).then(|| format::params(&trial.params));
        let words = [Some(self.spec.workloads[trial.workload].name.clone()), data, trial.element.clone(), params];
        let words: Vec<String> = words.into_iter().flatten().collect();
        format!("{}: {}", self.spec.stores[trial.store].name, words.join(", "))
    }

    /// A disk that is too full is no trial's failure: nothing has begun, and the run can be continued once there is room.
    fn room_for(&self, trial: &PlannedStore) -> Result<(), RunError> {
        let path = self.scratch.path();
        let (_, free) = disk::space(path).map_err(RunError::file("look at the disk of", path))?;
        match trial.disk_bytes {
            Some(needed) if needed > free => Err(RunError::DiskFull {
                path: path.to_owned(),
                what: self.title(trial),
                needed: format::bytes(needed as f64),
                free: format::bytes(free as f64),
            }),
            _ => Ok(()),
        }
    }

    fn measure(&self, trial: &PlannedStore, repeat: u32) -> Result<Result<Measured, Ended>, RunError> {
        let folder = self.scratch.path().join(trial.key(repeat));
        // It has to be new: what lay in it would be measured too.
        fs::create_dir(&folder).map_err(RunError::file("make the folder", &folder))?;
        let outcome = self.store_trial(trial, repeat, &folder).and_then(|told| self.tell(trial, told));
        fs::remove_dir_all(&folder).map_err(RunError::file("remove", &folder))?;
        outcome
    }

    /// Starts the worker of a trial, or one worker after the other where the second opens what the first left.
    fn tell(&self, trial: &PlannedStore, mut told: StoreTrial) -> Result<Result<Measured, Ended>, RunError> {
        if self.spec.workloads[trial.workload].mode == StoreMode::Reopen {
            told.phase = Phase::Load;
            let killed = trial.params.get("after").and_then(Value::as_str) == Some("kill");
            match self.converse(trial, &told)? {
                // Dropped, and so killed while it waits.
                Ok((worker, _)) if killed => drop(worker),
                Ok((worker, _)) => {
                    if let Err(trouble) = worker.finish() {
                        return Ok(Err(trouble.into()));
                    }
                }
                Err(ended) => return Ok(Err(ended)),
            }
            told.phase = Phase::Open;
        }
        let (worker, mut measured) = match self.converse(trial, &told)? {
            Ok(answer) => answer,
            Err(ended) => return Ok(Err(ended)),
        };
        // Everything is answered; how the worker leaves changes nothing.
        let _left = worker.finish();
        if measured.points.len() != trial.points.len() {
            let (found, expected) = (measured.points.len(), trial.points.len());
            let message = format!("the worker answered {found} points, expected {expected}");
            return Ok(Err(Trouble::new(Outcome::Protocol, message).into()));
        }
        if let Err(message) = self.check(trial, &told, &measured.points) {
            return Ok(Err(Trouble::new(Outcome::Failed, message).into()));
        }
        Ok(match latencies(&told, &measured.points)? {
            Ok(latencies) => {
                measured.latencies = latencies;
                Ok(measured)
            }
            Err(message) => Err(Trouble::new(Outcome::Protocol, message).into()),
        })
    }

    fn converse(&self, trial: &PlannedStore, told: &StoreTrial) -> Result<Result<(Worker, Measured), Ended>, RunError> {
        let file = self.folder.trial_file(&told.trial);
        let text = serde_json::to_vec_pretty(told).unwrap_or_default();
        fs::write(&file, text).map_err(RunError::file("write", &file))?;
        let entry = &self.spec.stores[trial.store];
        let program = entry.worker.clone().map_or(Program::Own, Program::External);
        let measure = &self.spec.base.measure;
        let limits = Limits { timeout: measure.timeout, memory_bytes: measure.memory_bytes };
        let launch = Launch { program: &program, trial_file: &file, limits, cores: self.cores.as_deref() };
        let mut worker = match Worker::start(&launch) {
            Ok(worker) => worker,
            Err(trouble) => return Ok(Err(trouble.into())),
        };
        let said = worker.hello();
        same_worker(&entry.name, entry.worker.as_deref(), trial.worker_version.as_deref())?;
        let library = match said {
            Ok(library) => library.name,
            Err(ended) => return Ok(Err(ended)),
        };
        self.done.check_library(trial, &entry.name, &library)?;
        let answer = worker.stored(&mut |step: Step| self.display.step(&step.stage, step.done, step.total));
        Ok(answer.map(|reply| {
            let peaks = worker.peaks();
            (worker, Measured { library, points: reply.points, latencies: Vec::new(), peaks })
        }))
    }

    fn record(
        &mut self,
        trial: &PlannedStore,
        (repeat, order): (u32, u64),
        measured: Measured,
    ) -> Result<(), RunError> {
        let (entry, of) = (&self.spec.stores[trial.store], &self.spec.workloads[trial.workload]);
        let data = trial.dataset.map(|at| &self.data[at].record);
        for (point, (figures, latency_ns)) in measured.points.into_iter().zip(measured.latencies).enumerate() {
            let stored = Stored {
                key: key(trial, repeat, point),
                trial: trial.hash.clone(),
                dataset: data.map(|data| data.name.clone()),
                d: data.map(|data| data.d),
                store: entry.name.clone(),
                kind: entry.kind.as_str().to_owned(),
                element: trial.element.clone(),
                library: measured.library.clone(),
                workload: of.name.clone(),
                mode: of.mode.as_str().to_owned(),
                params: trial.points[point].clone(),
                repeat,
                order,
                rows_per_second: figures.rows as f64 / figures.wall_seconds,
                samples_file: latency_ns.map(|_| format!("samples/{}.{point}.ns.bin", trial.key(repeat))),
                latency_ns,
                checked_rows: if trial.dataset.is_some() { CHECKED as u64 } else { 0 },
                peak_rss_anon_bytes: Some(measured.peaks.anon_bytes),
                peak_rss_file_bytes: Some(measured.peaks.file_bytes),
                figures,
            };
            self.done.note_stored(&stored);
            self.journal.record(&Event::Stored(stored))?;
        }
        Ok(())
    }

    /// What failed once is not tried again in this run: another repeat would meet the same.
    fn fail(&mut self, trial: &PlannedStore, repeat: u32, trouble: Trouble) -> Result<(), RunError> {
        let of = &self.spec.workloads[trial.workload];
        let mut params = Params::from([("mode".to_owned(), Value::from(of.mode.as_str()))]);
        params.extend(trial.element.clone().map(|element| ("element".to_owned(), Value::from(element))));
        let data = trial.dataset.map(|at| self.data[at].record.name.clone());
        params.extend(data.map(|name| ("dataset".to_owned(), Value::from(name))));
        let failure = Failure {
            trial: trial.hash.clone(),
            key: None,
            index: self.spec.stores[trial.store].name.clone(),
            params,
            search: Some(trial.params.clone()),
            workload: Some(of.name.clone()),
            filter: None,
            stage: format!("repeat {}", repeat + 1),
            outcome: trouble.outcome,
            message: trouble.message,
        };
        self.display.end(&format!("{} failed: {}", self.title(trial), failure.message));
        self.done.note_failed(trial);
        self.journal.record(&Event::Failure(failure))?;
        Ok(())
    }

    fn finish(&mut self, report: bool) -> Result<End, RunError> {
        let expectations = judge::judge(&self.spec.expect, &load(self.folder)?);
        self.journal.record(&Event::Finished(Finished {
            finished: Timestamp::now().to_string(),
            load_after: environment::load(),
            steal_ticks_after: environment::steal_ticks(),
            expectations,
        }))?;
        complete(self.folder, load(self.folder)?, false, report)
    }
}

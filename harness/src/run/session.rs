//! One session of a run: everything between two starts of the program.

use std::collections::HashMap;

use jiff::Timestamp;
use nearlab_reports::{
    format,
    record::{Event, Failure, Outcome, Rejected, Run},
    run::RunData,
};

use super::{
    End, Options, Prepared, RunError, State, Work, finish,
    folder::RunFolder,
    interrupt::{self, Measuring},
    journal::Journal,
    measure::Live,
    profiles,
};
use crate::{
    environment,
    plan::{Plan, PlannedTrial},
    progress::Display,
    recall::Scorer,
    spec::{Kind, Order, Spec},
    trial::{Limits, Program, Trouble, choose_cores},
};

/// What a session is about.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) spec: &'a Spec,
    pub(super) plan: &'a Plan,
    pub(super) data: &'a Prepared,
}

/// One session of a run.
pub(super) struct Session<'a> {
    pub(super) spec: &'a Spec,
    pub(super) plan: &'a Plan,
    pub(super) data: &'a Prepared,
    pub(super) folder: &'a RunFolder,
    pub(super) display: &'a Display,
    pub(super) journal: Journal<'a>,
    pub(super) state: State,
    pub(super) scorer: Scorer<'a>,
    /// One for each of the data's filters.
    pub(super) filtered: Vec<Scorer<'a>>,
    pub(super) report: bool,
    work: &'a Work,
    cores: Vec<u32>,
}

impl<'a> Session<'a> {
    /// Opens the records, and writes down what this session is.
    pub(super) fn open(
        Subject { spec, plan, data }: Subject<'a>,
        options: &'a Options,
        folder: &'a RunFolder,
        display: &'a Display,
    ) -> Result<Self, RunError> {
        let cores = environment::cores_allowed();
        let journal = Journal::open(&folder.records(), display)?;
        // Read once the lock is held: another session may have added to it since the run was found.
        let recorded = folder.recorded()?;
        folder.keep_question(&spec.yaml)?;
        folder.sweep()?;
        let set = &data.data;
        let scorer = Scorer::new(set.train(), set.test(), set.neighbors(), data.metric);
        let mut session = Self {
            spec,
            plan,
            data,
            folder,
            display,
            journal,
            state: recorded.as_ref().map(|run| State::of(run, options.retry_failed)).unwrap_or_default(),
            filtered: data.filters.iter().map(|filter| scorer.among(filter)).collect(),
            scorer,
            report: options.report,
            work: &options.work,
            cores,
        };
        session.write_head(options, recorded.as_ref())?;
        Ok(session)
    }

    fn write_head(&mut self, options: &Options, recorded: Option<&RunData>) -> Result<(), RunError> {
        let number = recorded.map_or(0, |run| run.session().session) + 1;
        if number > 1 {
            let (measured, planned) = (self.state.measured(), self.plan.planned_searches());
            self.display
                .note(&format!("continuing {} ({measured} of {planned} measured)", self.folder.path().display()));
        }
        self.journal.record(&Event::Run(Run {
            run_id: self.folder.id(),
            session: number,
            experiment: self.spec.name.clone(),
            question: self.spec.question.clone(),
            analysis: self.spec.analysis.clone(),
            spec_hash: self.plan.spec_hash.clone(),
            spec_yaml: self.spec.yaml.clone(),
            baseline: self.spec.baseline.clone(),
            planned_searches: self.plan.planned_searches() as u64,
            planned_builds: self.plan.planned_builds() as u64,
            command: options.command.clone(),
            started: Timestamp::now().to_string(),
            environment: environment::describe(),
        }))?;
        self.journal.record(&Event::Dataset(self.data.record.clone()))?;
        // Where a rule has other words now, its points are recorded again: of one point the newest rejection counts.
        let is_recorded = |rejected: &Rejected| recorded.is_some_and(|run| run.rejected.contains(rejected));
        for rejected in self.plan.rejected.iter().map(|point| Rejected {
            index: point.index.clone(),
            params: point.params.clone(),
            search: point.search.clone(),
            k: point.k.map(|k| k as u64),
            rule: point.rule.clone(),
        }) {
            if !is_recorded(&rejected) {
                self.journal.record(&Event::Rejected(rejected))?;
            }
        }
        Ok(())
    }

    /// Measures and profiles what is left; whether the person interrupted it.
    pub(super) fn measure_and_profile(&mut self) -> Result<bool, RunError> {
        let _measuring = Measuring::begin();
        if *self.work == Work::Measure {
            self.measure_all()?;
        }
        if !interrupt::requested() {
            profiles::take(self, self.work)?;
        }
        Ok(interrupt::requested())
    }

    fn measure_all(&mut self) -> Result<(), RunError> {
        let plan = self.plan;
        let mut live: HashMap<usize, Live> = HashMap::new();
        if plan.order == Order::Interleaved {
            // Everyone is there before the first measurement: no build runs between two of them.
            for (number, trial) in plan.trials.iter().enumerate() {
                self.ensure_built(number, trial, &mut live)?;
            }
        }
        for (number, search) in plan.schedule() {
            if interrupt::requested() {
                break;
            }
            let trial = &plan.trials[number];
            let search = &trial.searches[search];
            if !self.state.is_pending(trial, &search.key) {
                continue;
            }
            self.ensure_built(number, trial, &mut live)?;
            let Some(worker) = live.get_mut(&number) else { continue };
            let worker_lives = self.measure(trial, search, worker)?;
            if !worker_lives {
                live.remove(&number);
            } else if self.state.pending(trial) == 0 {
                self.display.end(&format!("{} done", self.title(number, trial)));
                // Everything is recorded; how the worker leaves changes nothing.
                let _left = live.remove(&number).map(|live| live.worker.finish());
            }
        }
        Ok(())
    }

    fn ensure_built(
        &mut self,
        number: usize,
        trial: &'a PlannedTrial,
        live: &mut HashMap<usize, Live>,
    ) -> Result<(), RunError> {
        if live.contains_key(&number) || self.state.pending(trial) == 0 || interrupt::requested() {
            return Ok(());
        }
        self.display.begin(&self.title(number, trial));
        if let Some(worker) = self.build(trial)? {
            live.insert(number, worker);
        }
        Ok(())
    }

    /// `[2/7] hnsw ef_construction=200 m=16`.
    pub(super) fn title(&self, number: usize, trial: &PlannedTrial) -> String {
        let words = trial.build.iter().map(|(name, value)| format!("{name}={}", format::value(value)));
        let words: Vec<String> = std::iter::once(trial.index.clone()).chain(words).collect();
        format!("[{}/{}] {}", number + 1, self.plan.trials.len(), words.join(" "))
    }

    /// Searches still to be measured.
    pub(super) fn pending(&self) -> usize {
        self.state.pending_in(self.plan)
    }

    /// Ends the run: nothing is left to measure.
    pub(super) fn finish(&mut self) -> Result<End, RunError> {
        finish::finish(self)
    }

    /// Records that something did not work, and shows it.
    pub(super) fn fail(&mut self, failure: Failure) -> Result<(), RunError> {
        if failure.outcome != Outcome::Unsupported {
            self.display.end(&format!("{} failed ({}): {}", failure.index, failure.stage, failure.message));
        }
        self.state.note_failure(&failure);
        self.journal.record(&Event::Failure(failure))?;
        Ok(())
    }

    /// What a worker of this experiment may use.
    pub(super) fn limits(&self) -> Limits {
        Limits { timeout: self.spec.measure.timeout, memory_bytes: self.spec.measure.memory_bytes }
    }

    /// The processors for a trial's worker.
    pub(super) fn cores(&self, trial: &PlannedTrial) -> Result<Option<Vec<u32>>, RunError> {
        Ok(choose_cores(&self.spec.measure.pin, threads(trial), &self.cores)?)
    }
}

/// Makes sure that every trial can be pinned as asked.
pub(super) fn check_pinning(spec: &Spec, plan: &Plan) -> Result<(), RunError> {
    let cores = environment::cores_allowed();
    for trial in &plan.trials {
        choose_cores(&spec.measure.pin, threads(trial), &cores)?;
    }
    Ok(())
}

/// The program that a trial's worker is.
pub(super) fn program(trial: &PlannedTrial) -> Program {
    match (&trial.worker, trial.kind) {
        (Some(worker), Kind::External) => Program::External(worker.clone()),
        _ => Program::Own,
    }
}

/// A failure of a whole trial.
pub(super) fn trial_failure(trial: &PlannedTrial, stage: &str, trouble: Trouble) -> Failure {
    Failure {
        trial: trial.hash.clone(),
        key: None,
        index: trial.index.clone(),
        params: trial.build.clone(),
        search: None,
        workload: None,
        filter: None,
        stage: stage.to_owned(),
        outcome: trouble.outcome,
        message: trouble.message,
    }
}

/// Most threads that a trial ever uses at once.
fn threads(trial: &PlannedTrial) -> usize {
    trial.searches.iter().map(|search| search.threads).chain([trial.threads]).max().unwrap_or(1)
}

//! A run: one experiment, walked from its plan to its report, over as many sessions as it takes.
//!
//! 1. [`prepare`]: the data set, then the plan that fits it.
//! 2. [`folder`]: the newest unfinished run of the same plan is continued; else a new folder is made.
//! 3. `session`: trial by trial (or in turns), each measurement recorded as soon as it is known.
//! 4. `profiles`: profiles, in processes of their own, after the timed trials.
//! 5. `finish`: expectations, tables, report.
//!
//! What counts as done: a recorded search, and a recorded failure (a missing peer too) until the run is started with
//! `retry_failed`. A search that a worker refuses costs only itself; a worker that dies costs the rest of its trial. What is
//! done is judged again when the experiment's text is another.

pub mod folder;
pub mod interrupt;

mod answer;
mod error;
mod finish;
mod journal;
mod measure;
mod prepare;
mod profiles;
pub(crate) mod scratch;
mod session;
mod state;

use std::path::PathBuf;

pub(crate) use answer::{Answer, read_answer};
pub use error::RunError;
pub use finish::render;
pub(crate) use finish::render_tables;
pub(crate) use journal::Journal;
use nearlab_reports::{
    record::{Expectation, ExpectationOutcome, Failure},
    run::RunData,
};
pub(crate) use prepare::same_worker;
pub use prepare::{Prepared, code_facts, prepare};
pub use state::State;

use self::{
    folder::RunFolder,
    session::{Session, Subject},
};
use crate::{plan::Plan, progress::Display, spec::Spec};

/// What a person asked for besides the experiment.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of all runs.
    pub runs: PathBuf,
    /// Start another run even where one could be continued or is complete.
    pub new: bool,
    /// Try again what failed in earlier sessions.
    pub retry_failed: bool,
    /// Write tables and report at the end.
    pub report: bool,
    /// What to do.
    pub work: Work,
    /// The command that reproduces the run.
    pub command: Vec<String>,
}

/// What to do with the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Measure everything, then take the profiles that the experiment asks for.
    Measure,
    /// Take profiles only.
    Profile {
        /// Only of this index; `None`: of all.
        index: Option<String>,
    },
}

/// How a session ended.
#[derive(Debug)]
pub struct Conclusion {
    /// The run's folder.
    pub folder: PathBuf,
    /// What came of it.
    pub end: End,
    /// Failures recorded in the run and not made up for.
    pub failures: Vec<Failure>,
    /// Searches measured in the run so far, and planned.
    pub measured: (usize, usize),
}

/// What came of a session.
#[derive(Debug)]
pub enum End {
    /// Nothing is left to measure.
    Complete {
        /// Whether that was so before this session.
        already: bool,
        /// The report's `index.html`, if one was written.
        report: Option<PathBuf>,
        /// The summary as text.
        summary: String,
        /// What the author expected, and what was found.
        expectations: Vec<Expectation>,
    },
    /// The person interrupted it.
    Interrupted,
    /// Profiles were taken; measurements are still to be made.
    ProfiledOnly,
}

impl Conclusion {
    /// Whether every expectation was met.
    pub fn expectations_met(&self) -> bool {
        match &self.end {
            End::Complete { expectations, .. } => {
                expectations.iter().all(|expectation| expectation.outcome == ExpectationOutcome::Met)
            }
            End::Interrupted | End::ProfiledOnly => true,
        }
    }
}

/// Runs `spec` by `plan` on prepared data.
pub fn run(
    spec: &Spec,
    plan: &Plan,
    data: &Prepared,
    options: &Options,
    display: &Display,
) -> Result<Conclusion, RunError> {
    session::check_pinning(spec, plan)?;
    let earlier = if options.new { None } else { RunFolder::latest(&options.runs, &spec.name, &plan.spec_hash)? };
    if let Some((folder, recorded)) = &earlier {
        let state = State::of(recorded, options.retry_failed);
        // Rules, question and baseline are no part of the plan's hash: where the file has changed, it is judged anew.
        if recorded.finished.is_some()
            && recorded.session().spec_yaml == spec.yaml
            && profiles::wanted(spec, plan, &options.work, &state).is_empty()
            && state.pending_in(plan) == 0
        {
            let end = finish::already_complete(folder, recorded, options.report)?;
            return conclude(folder, plan, end);
        }
    }
    let folder = match earlier {
        Some((folder, _)) => folder,
        None => RunFolder::create(&options.runs, &spec.name)?,
    };
    let mut session = Session::open(Subject { spec, plan, data }, options, &folder, display)?;
    let interrupted = session.measure_and_profile()?;
    let end = if interrupted {
        End::Interrupted
    } else if session.pending() > 0 {
        End::ProfiledOnly
    } else {
        session.finish()?
    };
    drop(session);
    conclude(&folder, plan, end)
}

fn conclude(folder: &RunFolder, plan: &Plan, end: End) -> Result<Conclusion, RunError> {
    let recorded = RunData::load(folder.path()).map_err(folder::FolderError::from)?;
    Ok(Conclusion {
        folder: folder.path().to_owned(),
        end,
        measured: (recorded.searches.len(), plan.planned_searches()),
        failures: recorded.failures,
    })
}

//! How long each stage of a build took, from the progress that the index reports.
//!
//! A stage lasts from its first report to the first report of the next one (or the end of the build); what comes before
//! the first report belongs to construction. Reports come from many threads and often, so an unchanged stage costs one
//! relaxed load.

use std::{
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use nearlab_index::{Progress, Stage};
use nearlab_reports::record::StageSeconds;

use super::output::Output;
use crate::protocol::Reply;

/// Times stages and passes progress on.
pub(super) struct StageClock<'a, W> {
    output: &'a Output<W>,
    current: AtomicU8,
    times: Mutex<Times>,
}

struct Times {
    stage: Stage,
    since: Instant,
    seconds: StageSeconds,
}

impl<'a, W: Write> StageClock<'a, W> {
    /// Starts the clock.
    pub(super) fn start(output: &'a Output<W>) -> Self {
        let times = Times { stage: Stage::Construct, since: Instant::now(), seconds: StageSeconds::default() };
        Self { output, current: AtomicU8::new(number(Stage::Construct)), times: Mutex::new(times) }
    }

    /// Stops the clock; only `train`, `construct` and `optimise` are filled in.
    pub(super) fn stop(self) -> StageSeconds {
        let mut times = self.times.into_inner().unwrap_or_else(PoisonError::into_inner);
        times.close();
        times.seconds
    }

    fn enter(&self, stage: Stage) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.close();
        times.stage = stage;
        self.current.store(number(stage), Ordering::Relaxed);
    }
}

impl Times {
    fn close(&mut self) {
        let now = Instant::now();
        *field(&mut self.seconds, self.stage) += (now - self.since).as_secs_f64();
        self.since = now;
    }
}

impl<W: Write + Send> Progress for StageClock<'_, W> {
    fn report(&self, stage: Stage, done: u64, total: u64) {
        if self.current.load(Ordering::Relaxed) != number(stage) {
            self.enter(stage);
        }
        self.output.progress(|| Reply::Building { stage: name(stage).to_owned(), done, total });
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Train => "train",
        Stage::Construct => "construct",
        Stage::Optimise => "optimise",
    }
}

fn number(stage: Stage) -> u8 {
    match stage {
        Stage::Train => 0,
        Stage::Construct => 1,
        Stage::Optimise => 2,
    }
}

fn field(seconds: &mut StageSeconds, stage: Stage) -> &mut f64 {
    match stage {
        Stage::Train => &mut seconds.train,
        Stage::Construct => &mut seconds.construct,
        Stage::Optimise => &mut seconds.optimise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_the_stage_that_was_reported_last() {
        let output = Output::new(Vec::new());
        let clock = StageClock::start(&output);
        clock.report(Stage::Train, 0, 1);
        clock.report(Stage::Train, 1, 1);
        clock.report(Stage::Optimise, 1, 1);
        let seconds = clock.stop();
        assert!(seconds.train > 0.0 && seconds.optimise > 0.0 && seconds.construct > 0.0);
        assert_eq!((seconds.read, seconds.save, seconds.load), (0.0, 0.0, 0.0));
    }
}

//! What a person (or a program) sees while a command works.
//!
//! On a terminal: one bar per task with the stage, the rate and the time left. Elsewhere: plain lines, a few per task.
//! Quiet: nothing. JSON: the records themselves, one per line on standard output. Everything else goes to standard
//! error.

use std::{
    fmt,
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use nearlab_reports::record::{Event, Line, SCHEMA_VERSION};

/// Between two plain lines about the same stage.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bars that are redrawn.
    Bars,
    /// Lines.
    Lines,
    /// Nothing.
    Quiet,
    /// Records as JSON lines on standard output.
    Json,
}

impl Style {
    /// The style for what was asked and where standard error goes.
    pub fn choose(quiet: bool, json: bool) -> Self {
        match (json, quiet, std::io::stderr().is_terminal()) {
            (true, _, _) => Self::Json,
            (_, true, _) => Self::Quiet,
            (_, _, true) => Self::Bars,
            (_, _, false) => Self::Lines,
        }
    }
}

/// The display of one command.
pub struct Display {
    style: Style,
    task: Mutex<Task>,
}

#[derive(Default)]
struct Task {
    title: String,
    stage: String,
    bar: Option<ProgressBar>,
    next_line: Option<Instant>,
}

impl Display {
    /// A display with nothing on it.
    pub fn new(style: Style) -> Self {
        Self { style, task: Mutex::default() }
    }

    /// How it shows things.
    pub fn style(&self) -> Style {
        self.style
    }

    /// A line for people.
    pub fn note(&self, text: &str) {
        let task = self.task();
        match (&task.bar, self.style) {
            (Some(bar), Style::Bars) => bar.suspend(|| to_stderr(text)),
            (None, Style::Bars) | (_, Style::Lines) => to_stderr(text),
            (_, Style::Quiet | Style::Json) => {}
        }
    }

    /// A line that even `--quiet` shows: something a person must know.
    pub fn warn(&self, text: &str) {
        match &self.task().bar {
            Some(bar) => bar.suspend(|| to_stderr(text)),
            None => to_stderr(text),
        }
    }

    /// A record was written.
    pub fn record(&self, event: &Event) {
        if self.style == Style::Json {
            let line = Line { schema_version: SCHEMA_VERSION, event: event.clone() };
            if let Ok(text) = serde_json::to_string(&line) {
                // A reader that has gone does not stop the run.
                let _closed = writeln!(std::io::stdout(), "{text}");
            }
        }
    }

    /// A task begins: a data set to prepare, a trial.
    pub fn begin(&self, title: &str) {
        let mut task = self.task();
        task.clear();
        title.clone_into(&mut task.title);
    }

    /// Where the task stands; `total` is 0 while it is not known.
    pub fn step(&self, stage: &str, done: u64, total: u64) {
        let mut task = self.task();
        let entered = task.stage != stage;
        if entered {
            stage.clone_into(&mut task.stage);
        }
        match self.style {
            Style::Bars => task.draw(entered, done, total),
            Style::Lines => task.print(entered, done, total),
            Style::Quiet | Style::Json => {}
        }
    }

    /// The task is over; `line` says how it went.
    pub fn end(&self, line: &str) {
        self.task().clear();
        self.note(line);
    }

    fn task(&self) -> std::sync::MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        *self = Self::default();
    }

    fn draw(&mut self, entered: bool, done: u64, total: u64) {
        if entered && let Some(bar) = &self.bar {
            bar.set_style(style(total > 0));
            bar.set_message(self.stage.clone());
            bar.reset();
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(total).with_style(style(total > 0));
            bar.with_prefix(self.title.clone()).with_message(self.stage.clone())
        });
        bar.set_length(total.max(done));
        bar.set_position(done);
    }

    fn print(&mut self, entered: bool, done: u64, total: u64) {
        let now = Instant::now();
        if !entered && self.next_line.is_some_and(|next| now < next) {
            return;
        }
        self.next_line = Some(now + LINE_EVERY);
        to_stderr(&line(&self.title, &self.stage, done, total));
    }
}

fn line(title: &str, stage: &str, done: u64, total: u64) -> String {
    match total {
        0 => format!("{title}: {stage}"),
        _ => format!("{title}: {stage} {done}/{total} ({} %)", done.saturating_mul(100) / total),
    }
}

fn style(with_length: bool) -> ProgressStyle {
    let template = if with_length {
        "{prefix}  {msg} [{bar:30}] {human_pos}/{human_len}  {rate}  {eta} left"
    } else {
        "{prefix}  {msg} {spinner} {human_pos}  {elapsed}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A terminal that cannot be written to shows nothing anyway.
            let _closed = write!(out, "{:.0}/s", state.per_sec());
        })
}

fn to_stderr(text: &str) {
    // Nobody reads it: nobody misses it.
    let _closed = writeln!(std::io::stderr(), "{text}");
}

impl nearlab_datasets::Progress for Display {
    fn report(&self, stage: &str, done: u64, total: u64) {
        self.step(stage, done, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_wins_over_quiet() {
        assert_eq!(Style::choose(true, true), Style::Json);
        assert_eq!(Style::choose(true, false), Style::Quiet);
    }

    #[test]
    fn a_line_says_how_far_a_stage_is() {
        assert_eq!(line("hnsw", "construct", 50, 200), "hnsw: construct 50/200 (25 %)");
        assert_eq!(line("hnsw", "read", 3, 0), "hnsw: read");
    }

    #[test]
    fn every_style_takes_a_task_from_begin_to_end() {
        for style in [Style::Bars, Style::Lines, Style::Quiet, Style::Json] {
            let display = Display::new(style);
            display.begin("task");
            display.step("read", 0, 0);
            display.step("train", 1, 9);
            display.step("train", 2, 9);
            display.note("note");
            display.end("done");
            assert_eq!(display.style(), style);
            assert!(display.task().title.is_empty());
        }
    }
}

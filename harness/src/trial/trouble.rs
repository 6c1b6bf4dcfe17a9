//! How a worker ended badly, in words.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use nearlab_reports::record::Outcome;

/// Something that did not work, and whether the worker can still be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of end it was.
    pub outcome: Outcome,
    /// One sentence, with the worker's last words.
    pub message: String,
    /// Whether the worker goes on (it refused one search, not more).
    pub worker_lives: bool,
}

/// Why an answer did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Something did not work.
    Trouble(Trouble),
    /// The person interrupted the run.
    Interrupted,
}

impl Trouble {
    /// The end of a worker.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), worker_lives: false }
    }

    /// The same with the last lines of the worker's standard error.
    #[must_use]
    pub fn quoting(mut self, tail: &[String]) -> Self {
        if !tail.is_empty() {
            self.message.push_str("; its last words:\n");
            self.message.push_str(&tail.join("\n"));
        }
        self
    }
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// A worker that left without being asked to.
pub(super) fn left(status: ExitStatus) -> Trouble {
    match (status.signal(), status.code()) {
        (Some(9), _) => Trouble::new(
            Outcome::OutOfMemory,
            "the worker was killed with SIGKILL, which is what the system does when memory runs out",
        ),
        (Some(signal), _) => Trouble::new(Outcome::Crashed, format!("the worker was killed by {}", name(signal))),
        (None, code) => Trouble::new(
            Outcome::Crashed,
            format!("the worker exited with status {} before it had answered", code.unwrap_or(-1)),
        ),
    }
}

fn name(signal: i32) -> String {
    let known = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL (an instruction this CPU does not have)",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS (a mapped file that shrank, or a bad disk)",
        8 => "SIGFPE",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_name() {
        let of = |raw| left(ExitStatus::from_raw(raw));
        assert_eq!(of(9).outcome, Outcome::OutOfMemory);
        assert_eq!((of(11).outcome, of(11).message.as_str()), (Outcome::Crashed, "the worker was killed by SIGSEGV"));
        assert_eq!(of(40).message, "the worker was killed by signal 40");
        assert_eq!(of(3 << 8).message, "the worker exited with status 3 before it had answered");
    }

    #[test]
    fn last_words_are_quoted_when_there_are_any() {
        let trouble = Trouble::new(Outcome::Crashed, "it left");
        assert_eq!(trouble.clone().quoting(&[]).message, "it left");
        assert_eq!(trouble.quoting(&["a".into(), "b".into()]).message, "it left; its last words:\na\nb");
    }
}

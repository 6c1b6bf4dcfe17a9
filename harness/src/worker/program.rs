//! A worker as a program: how it ends, and that it does not outlive the harness.

use std::{env, io, path::PathBuf, process::ExitCode};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::{Configure, WorkerError, serve_as};

/// The whole program of a worker for an index of one's own, which records know as `library`, name and version:
///
/// ```ignore
/// fn main() -> std::process::ExitCode {
///     nearlab_harness::worker::run::<MyIndex>("my index 0.1")
/// }
/// ```
///
/// An experiment names it as `{name: mine, kind: external, worker: ../target/release/mine, build: {...}, search: {...}}`.
/// Its one argument is the trial (docs/worker-protocol.md). Ends with status 0 once the harness is done, with 1 where the index could
/// not be built, and with 2 where the harness could not be understood; then standard error says why.
pub fn run<I: Configure + 'static>(library: &str) -> ExitCode {
    let Some(trial) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("{library}: expected the path of a trial, as the harness gives it (docs/worker-protocol.md)");
        return ExitCode::from(2);
    };
    die_with_the_harness();
    match serve_as::<I, _, _>(library, &trial, io::stdin().lock(), io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // The harness has been told already.
        Err(WorkerError::Build(_)) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{library}: {error}");
            ExitCode::from(2)
        }
    }
}

/// Has the kernel end this process with the one that started it. Where it cannot, a worker notices at the end of its input that
/// the harness is gone.
pub(crate) fn die_with_the_harness() {
    let _unsupported = set_parent_process_death_signal(Some(Signal::KILL));
}

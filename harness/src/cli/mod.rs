//! The commands: one file each. Everything they do lives in the library modules; here are arguments, messages and exit
//! statuses.
//!
//! Exit status: 0 done; 1 something that was asked for did not hold (an expectation, a gate, a failed trial); 2 the
//! question could not be asked (bad input, no data, no space); 130 interrupted.

mod check;
mod collection;
mod compare;
mod datasets;
mod export;
mod gate;
mod inspect;
mod profile;
mod report;
mod run;
mod schema;
mod worker;

use std::{
    fmt::{Display, Write as _},
    io::Write,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::run::{RunError, interrupt};

/// Everything held: exit status 0.
const OK: u8 = 0;
/// Something asked for did not hold.
const NOT_HELD: u8 = 1;
/// The question could not be asked.
const BAD_INPUT: u8 = 2;
/// Interrupted.
const INTERRUPTED: u8 = 130;

/// Benchmarks for approximate nearest neighbour search: a question in YAML in, a report out.
#[derive(Debug, Parser)]
#[command(name = "nearlab", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 an expectation or gate did not hold, 2 bad input, 130 interrupted.
Environment: NEARLAB_CACHE (prepared data sets), NEARLAB_SIMD (portable, neon, avx2, avx512), NEARLAB_PYTHON (peers).
Start with:  nearlab run experiments/quickstart.yaml";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Schema(schema::Arguments),
    Report(report::Arguments),
    Compare(compare::Arguments),
    Profile(profile::Arguments),
    Gate(gate::Arguments),
    Datasets(datasets::Arguments),
    Collection(collection::Arguments),
    Inspect(inspect::Arguments),
    Export(export::Arguments),
    Worker(worker::Arguments),
}

/// Reads the arguments, does what they say, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if !matches!(cli.command, Command::Worker(_)) {
        interrupt::listen();
    }
    let result = match cli.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Profile(arguments) => profile::run(arguments),
        Command::Gate(arguments) => gate::run(&arguments),
        Command::Datasets(arguments) => datasets::run(arguments),
        Command::Collection(arguments) => collection::run(arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Worker(arguments) => worker::run(&arguments),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let _closed = write!(std::io::stderr(), "{}", describe(&error));
            ExitCode::from(status(&error))
        }
    }
}

/// The exit status of an error: nearly always the input's fault; an index that does not come out the same is ours.
fn status(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(RunError::Digest { .. }) => NOT_HELD,
        _ => BAD_INPUT,
    }
}

/// `error: ...` and its causes, each said once.
fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("error: {}\n", error.to_string().trim_start_matches("error: ").trim_end());
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(cause.trim_end()) {
            let _ = writeln!(text, "  because: {}", cause.trim_end());
        }
    }
    text
}

/// Writes text to standard output; a reader that has gone (`| head`) is no error.
fn say(text: impl Display) -> anyhow::Result<()> {
    match write!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// A line to standard output.
fn say_line(text: impl Display) -> anyhow::Result<()> {
    say(format_args!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file").context("outer");
        assert_eq!(describe(&error), "error: outer\n  because: cannot read x: no such file\n");
    }
}

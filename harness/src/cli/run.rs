//! `nearlab run`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Args;
use nearlab_datasets::{
    Cache,
    catalog::{Catalog, Place},
};
use nearlab_reports::{
    format,
    record::{Expectation, ExpectationOutcome, Failure, Outcome},
};

use super::{INTERRUPTED, NOT_HELD, OK, say, say_line};
use crate::{
    plan::{self, Facts},
    progress::{Display, Style},
    run::{self, Conclusion, End, Options, Work},
    spec::{self, DatasetSource, Question, Spec, StoreSpec, Surroundings},
    storage,
};

/// Folder of all runs, unless another one is named.
const RUNS: &str = "runs";

/// Run an experiment: prepare the data, measure every point, write the report. Continues an unfinished run.
///
/// Measurements go to RUNS/<experiment>/<time>/ as they are made, so a run that is interrupted (or killed) loses
/// nothing: the same command measures what is missing. A run that is complete is not measured again; its report is
/// rendered anew. What failed (a crash, a timeout, a missing peer) stays recorded until --retry-failed.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Arguments {
    /// The experiment, a YAML file.
    file: PathBuf,
    /// Print every point that would be measured, and every rejected one with its rule; measure nothing.
    #[arg(long)]
    plan: bool,
    /// Start another run, even where one could be continued or is complete.
    #[arg(long)]
    new: bool,
    /// Try again what failed in earlier sessions of the run.
    #[arg(long)]
    retry_failed: bool,
    /// Folder that runs go to.
    #[arg(long, value_name = "RUNS", default_value = RUNS)]
    out: PathBuf,
    /// Measure only: write neither tables nor report (`nearlab report RUN` does that later).
    #[arg(long)]
    no_report: bool,
    /// Show no progress; print the summary only.
    #[arg(long)]
    quiet: bool,
    /// Print the records as JSON lines instead of progress and summary.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<u8> {
    let question = load(&arguments.file)?;
    let display = Display::new(Style::choose(arguments.quiet, arguments.json));
    let options = Options {
        command: reproduce(&arguments.file),
        runs: arguments.out,
        new: arguments.new,
        retry_failed: arguments.retry_failed,
        report: !arguments.no_report,
        work: Work::Measure,
    };
    let conclusion = match (&question, arguments.plan) {
        (Question::Indexes(spec), true) => return print_plan(spec, &display),
        (Question::Indexes(spec), false) => go(spec, &options, &display)?,
        (Question::Stores(spec), true) => return print_store_plan(spec, &display),
        (Question::Stores(spec), false) => go_stores(spec, &options, &display)?,
    };
    conclude(&conclusion, &display, (&options, arguments.file.as_path()))
}

fn go_stores(spec: &StoreSpec, options: &Options, display: &Display) -> Result<Conclusion> {
    let data = storage::run::prepare_all(spec, &Cache::from_env(), display)?;
    let plan = storage::plan::expand(spec, &storage::run::facts(&data), &storage::run::versions(spec))?;
    for warning in &plan.warnings {
        display.note(&format!("warning: {warning}"));
    }
    Ok(storage::run::run(spec, &plan, &data, options, display)?)
}

fn print_store_plan(spec: &StoreSpec, display: &Display) -> Result<u8> {
    // The catalogue is not asked: what has to be fetched is fetched, and sizes are exact.
    let facts = storage::run::facts(&storage::run::prepare_all(spec, &Cache::from_env(), display)?);
    say(storage::plan::expand(spec, &facts, &storage::run::versions(spec))?.render(spec, &facts))?;
    Ok(OK)
}

/// Reads and judges the experiment, and looks for its files.
pub(super) fn load(file: &Path) -> Result<Question> {
    let question = spec::load_question(file)?;
    match &question {
        Question::Indexes(spec) => spec.check_files(&surroundings())?,
        Question::Stores(spec) => spec.check_files(&surroundings())?,
    }
    Ok(question)
}

/// This process's surroundings, with the catalogue's names.
pub(super) fn surroundings() -> Surroundings<'static> {
    let names = Catalog::builtin().entries().map(|entry| entry.name.clone()).collect();
    Surroundings { catalogue: Some(names), ..Surroundings::of_process() }
}

/// The command that measures the same again.
pub(super) fn reproduce(file: &Path) -> Vec<String> {
    ["nearlab".to_owned(), "run".to_owned(), file.display().to_string()].into()
}

/// Prepares, plans and runs.
pub(super) fn go(spec: &Spec, options: &Options, display: &Display) -> Result<Conclusion> {
    let mut data = run::prepare(spec, &Cache::from_env(), display)?;
    let plan = plan::expand(spec, &data.facts(spec))?;
    data.make_filters(spec, &Cache::from_env(), display)?;
    for warning in &plan.warnings {
        display.note(&format!("warning: {warning}"));
    }
    Ok(run::run(spec, &plan, &data, options, display)?)
}

fn print_plan(spec: &Spec, display: &Display) -> Result<u8> {
    // A plan depends on the size of the data. The catalogue knows that of what would have to be fetched; a file that is
    // here is prepared (once; then it is in the cache).
    let facts = match catalogue_facts(spec) {
        Some(facts) => facts,
        None => run::prepare(spec, &Cache::from_env(), display)?.facts(spec),
    };
    say(plan::expand(spec, &facts)?.render(spec, &facts))?;
    Ok(OK)
}

/// What the catalogue says of a data set that lies elsewhere.
fn catalogue_facts(spec: &Spec) -> Option<Facts> {
    let DatasetSource::Use(name) = &spec.dataset.source else { return None };
    let catalog = Catalog::builtin();
    let entry = catalog.find(name).filter(|entry| matches!(entry.place, Place::Url(_)))?;
    if Path::new(name).exists() {
        return None;
    }
    let limit = spec.dataset.limit.map_or(u64::MAX, |limit| limit as u64);
    let queries = spec.dataset.queries.map_or(entry.queries, |split| split.report as u64);
    Some(Facts { n: Some(entry.n.min(limit)), d: Some(entry.d), queries: Some(queries), ..run::code_facts(spec) })
}

/// Says how it went; the exit status.
pub(super) fn conclude(conclusion: &Conclusion, display: &Display, asked: (&Options, &Path)) -> Result<u8> {
    let quiet = display.style() == Style::Json;
    let (measured, planned) = conclusion.measured;
    match &conclusion.end {
        End::Interrupted => {
            display.warn(&format!(
                "interrupted: {measured} of {planned} measured and recorded in {}\ncontinue with: {}",
                conclusion.folder.display(),
                continuing(asked)
            ));
            Ok(INTERRUPTED)
        }
        End::ProfiledOnly => {
            if !quiet {
                say_line(format_args!("profiles: {}", conclusion.folder.join("profiles").display()))?;
            }
            Ok(OK)
        }
        End::Complete { already, report, summary, expectations } => {
            if !quiet {
                if *already {
                    let folder = conclusion.folder.display();
                    say_line(format_args!("complete already: {folder} (measure again with --new)\n"))?;
                }
                say_line(summary.trim_end())?;
                say(failures(conclusion))?;
                say(judged(expectations))?;
                if let Some(report) = report {
                    say_line(format_args!("\nreport: {}", report.display()))?;
                }
            }
            Ok(if conclusion.expectations_met() { OK } else { NOT_HELD })
        }
    }
}

/// The command that goes on with what was interrupted: it finds the run, and is to do what this one was to do.
fn continuing((options, file): (&Options, &Path)) -> String {
    let (verb, index) = match &options.work {
        Work::Measure => ("run", None),
        Work::Profile { index } => ("profile", index.as_deref()),
    };
    let mut command = format!("nearlab {verb} {}", quoted(&file.display().to_string()));
    if let Some(index) = index {
        let _ = write!(command, " --index {}", quoted(index));
    }
    if options.runs != Path::new(RUNS) {
        let _ = write!(command, " --out {}", quoted(&options.runs.display().to_string()));
    }
    if options.retry_failed {
        command.push_str(" --retry-failed");
    }
    if !options.report {
        command.push_str(" --no-report");
    }
    command
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./,:=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn failures(conclusion: &Conclusion) -> String {
    let mut text = String::new();
    let unsupported = |failure: &&Failure| failure.outcome == Outcome::Unsupported;
    let mut refused: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for failure in conclusion.failures.iter().filter(unsupported) {
        *refused.entry((&failure.index, &failure.message)).or_default() += 1;
    }
    for ((index, message), count) in refused {
        let count = format::plural(count, "measurement", "measurements");
        let _ = writeln!(text, "\nunsupported by {index} ({count}): {message}");
    }
    let before = text.len();
    for failure in conclusion.failures.iter().filter(|failure| !unsupported(failure)) {
        let first = failure.message.lines().next().unwrap_or_default();
        let _ = write!(text, "\nnot measured: {} ({}): {first}", failure.index, failure.stage);
    }
    if text.len() > before {
        text.push_str("\n(once it is mended: the same command with --retry-failed)\n");
    }
    text
}

fn judged(expectations: &[Expectation]) -> String {
    let mut text = String::new();
    for expectation in expectations {
        let word = match expectation.outcome {
            ExpectationOutcome::Met => "met",
            ExpectationOutcome::NotMet => "NOT MET",
            ExpectationOutcome::NoData => "NO DATA",
        };
        let _ = write!(text, "\nexpect {}: {word}: {}", expectation.rule, expectation.found);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_run_goes_on_where_and_as_it_was_started() {
        let options = Options {
            runs: RUNS.into(),
            new: true,
            retry_failed: false,
            report: true,
            work: Work::Measure,
            command: reproduce(Path::new("a.yaml")),
        };
        let go_on = |options: &Options| continuing((options, Path::new("a.yaml")));
        assert_eq!(go_on(&options), "nearlab run a.yaml");
        assert_eq!(go_on(&Options { retry_failed: true, ..options.clone() }), "nearlab run a.yaml --retry-failed");
        assert_eq!(go_on(&Options { report: false, ..options.clone() }), "nearlab run a.yaml --no-report");
        assert_eq!(go_on(&Options { runs: "b c".into(), ..options.clone() }), "nearlab run a.yaml --out 'b c'");
        // Measuring everything is not what a person began who asked for profiles.
        let work = Work::Profile { index: Some("graph".into()) };
        assert_eq!(go_on(&Options { work, ..options.clone() }), "nearlab profile a.yaml --index graph");
        let options = Options { work: Work::Profile { index: None }, report: false, ..options };
        assert_eq!(continuing((&options, Path::new("my own.yaml"))), "nearlab profile 'my own.yaml' --no-report");
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_for_more() {
        assert_eq!(quoted("experiments/a-b_1.yaml"), "experiments/a-b_1.yaml");
        assert_eq!(quoted("größe.yaml"), "größe.yaml");
        assert_eq!(quoted("it's; $HOME"), r"'it'\''s; $HOME'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn expectations_are_said_one_a_line() {
        let expectation = |outcome| Expectation { rule: "qps > 1".into(), outcome, found: "0.5".into() };
        let text = judged(&[expectation(ExpectationOutcome::NotMet), expectation(ExpectationOutcome::Met)]);
        assert_eq!(text, "\nexpect qps > 1: NOT MET: 0.5\nexpect qps > 1: met: 0.5\n");
        assert_eq!(judged(&[]), "");
    }
}

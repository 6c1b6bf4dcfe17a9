//! `nearlab gate`.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Args;
use nearlab_datasets::{Cache, PrepareOptions, Prepared};
use nearlab_reports::gate::{Cases, Golden, judge};

use super::{BAD_INPUT, NOT_HELD, OK, say, say_line};
use crate::{
    environment, gate,
    progress::{Display, Style},
};

/// Name of the variable that chooses the kernels.
const SIMD: &str = "NEARLAB_SIMD";

/// Compare exact counters (recall hits, distance computations, hops, digests, bytes) with the golden file.
///
/// Exit status: 0 all as expected, 1 something moved, 2 could not tell. Nothing is timed: the same code gives the same
/// numbers on every machine, because the gate runs on the portable kernels with one thread.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Write what was measured as the new golden file.
    #[arg(long)]
    bless: bool,
    /// The golden file.
    #[arg(long, value_name = "FILE", default_value = "reports/record/gates/exact.json")]
    golden: PathBuf,
    /// The data set.
    #[arg(long, value_name = "FILE", default_value = "datasets/data/sift-photos-20k-128-euclidean.hdf5")]
    data: String,
    /// Write the result as Markdown too.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the result as `JUnit` XML too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    if env::var_os(SIMD).is_none_or(|tier| tier != gate::TIER) {
        return again();
    }
    let display = Display::new(Style::choose(arguments.quiet, false));
    let (cases, broken) = match prepare(&arguments.data, &display) {
        Ok(data) => gate::measure(&data, &|text| display.note(text)),
        Err(error) => (Cases::new(), vec![format!("{error:#}")]),
    };
    if arguments.bless {
        return bless(&arguments.golden, cases, &broken);
    }
    let judgement = judge(&Golden::read(&arguments.golden)?, &cases, &broken);
    say(judgement.to_text())?;
    write(arguments.markdown.as_deref(), &judgement.to_markdown())?;
    write(arguments.junit.as_deref(), &judgement.to_junit())?;
    Ok(judgement.verdict.exit_code())
}

/// The kernels are chosen once per process, so the gate is another process, of the same program.
fn again() -> Result<u8> {
    let program = environment::program().context("cannot find this program")?;
    let status = Command::new(program)
        .arg0("nearlab")
        .args(env::args_os().skip(1))
        .env(SIMD, gate::TIER)
        .status()
        .context("cannot start this program again")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(BAD_INPUT))
}

fn prepare(data: &str, display: &Display) -> Result<Prepared> {
    display.begin("gate");
    let options = PrepareOptions { truth_k: gate::K, ..PrepareOptions::default() };
    let path = nearlab_datasets::prepare(data, Path::new("."), &options, &Cache::from_env(), display)?;
    display.end(&format!("gate: {data}"));
    Ok(Prepared::open(&path)?)
}

fn bless(golden: &Path, cases: Cases, broken: &[String]) -> Result<u8> {
    if !broken.is_empty() {
        say_line(format_args!("not blessed: {}", broken.join("; ")))?;
        return Ok(if cases.is_empty() { BAD_INPUT } else { NOT_HELD });
    }
    if let Some(folder) = golden.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    Golden::bless(cases).write(golden)?;
    say_line(format_args!("blessed: {}", golden.display()))?;
    Ok(OK)
}

fn write(path: Option<&Path>, text: &str) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

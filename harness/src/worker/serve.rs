//! The conversation: hello, build, then searches until `exit` or the end of input.

use std::{
    fs,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

use nearlab_reports::{
    environment,
    record::{Counters, StageSeconds},
};
use nearlab_simd::{Metric, code_kernels, kernels};
use nearlab_storage::Vectors;

use super::{
    Configure, Engine, EngineError, Pass,
    engine::{self, Job, Loading},
    filters::LoadedFilters,
    matrix::{MapError, MappedMatrix},
    output::Output,
    profile::{Profile, ProfileError, write_whole},
    usage::Usage,
};
use crate::protocol::{Built, PROTOCOL, Reply, Request, SearchRequest, Searched, Trial};

/// Why a worker stops before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The trial file cannot be read.
    #[error("cannot read the trial {}: {source}", path.display())]
    ReadTrial {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The trial file is not a trial.
    #[error("{} is not a trial: {source}", path.display())]
    NotATrial {
        /// The file.
        path: PathBuf,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// The harness speaks another version.
    #[error("the trial is for worker protocol {found}, this worker speaks {PROTOCOL}")]
    Protocol {
        /// Version in the trial.
        found: u32,
    },
    /// A request is not one.
    #[error("not a request: {line}: {source}")]
    Request {
        /// The line.
        line: String,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// The harness cannot be heard or spoken to.
    #[error("lost the harness: {0}")]
    Pipe(#[from] io::Error),
    /// The index could not be built; the harness has been told.
    #[error("{0}")]
    Build(String),
}

/// Answers the harness about nearlab's own indexes until it is done.
pub fn serve<R: BufRead, W: Write + Send>(trial: &Path, input: R, output: W) -> Result<(), WorkerError> {
    let library = format!("nearlab {}", env!("CARGO_PKG_VERSION"));
    converse((&library, engine::build), trial, input, output)
}

/// Answers the harness about the index `I`, which it knows as `library` (name and version), until it is done.
pub fn serve_as<I: Configure + 'static, R: BufRead, W: Write + Send>(
    library: &str,
    trial: &Path,
    input: R,
    output: W,
) -> Result<(), WorkerError> {
    converse((library, engine::build_as::<I, W>), trial, input, output)
}

/// Builds what a trial asks for.
type BuildFn<W> = fn(&Trial, Vectors<'_, f32>, Metric, &Output<W>) -> Result<Loading, EngineError>;

fn converse<R: BufRead, W: Write + Send>(
    (library, build): (&str, BuildFn<W>),
    trial: &Path,
    input: R,
    output: W,
) -> Result<(), WorkerError> {
    let trial = read_trial(trial)?;
    let output = Output::new(output);
    output.reply(&Reply::Hello {
        protocol: PROTOCOL,
        library: library.to_owned(),
        simd_tier: Some(environment::kernels(kernels().tier().as_str(), Some(code_kernels().tier().as_str()))),
    })?;
    let mut profile = match Profile::start(trial.profile.as_ref()) {
        Ok(profile) => profile,
        Err(error) => return fail_build(&output, error.to_string()),
    };
    let (engine, test) = match prepare(build, &trial, (&mut profile, &output)) {
        Ok((engine, test, built)) => {
            output.reply(&Reply::Built(built))?;
            (engine, test)
        }
        Err(error) => return fail_build(&output, error.to_string()),
    };
    for line in input.lines() {
        let line = line?;
        match serde_json::from_str(&line) {
            Ok(Request::Search(request)) => {
                let reply = search(&*engine, test.vectors(), &request, &mut profile, &output);
                output.reply(&reply)?;
            }
            Ok(Request::Exit {}) => break,
            Err(source) => return Err(WorkerError::Request { line, source }),
        }
    }
    Ok(())
}

fn read_trial(path: &Path) -> Result<Trial, WorkerError> {
    let text = fs::read(path).map_err(|source| WorkerError::ReadTrial { path: path.to_owned(), source })?;
    let trial: Trial =
        serde_json::from_slice(&text).map_err(|source| WorkerError::NotATrial { path: path.to_owned(), source })?;
    if trial.protocol == PROTOCOL { Ok(trial) } else { Err(WorkerError::Protocol { found: trial.protocol }) }
}

fn fail_build<W: Write>(output: &Output<W>, message: String) -> Result<(), WorkerError> {
    output.reply(&Reply::Failed { stage: "build".into(), message: message.clone() })?;
    Err(WorkerError::Build(message))
}

/// Why a trial ends before `built`.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("there is no metric `{0}`; known: l2, inner_product, cosine")]
    Metric(String),
    #[error("queries have {test} dimensions, base vectors {train}")]
    Dimension { train: usize, test: usize },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

type Prepared = (Box<dyn Engine>, MappedMatrix, Built);

fn prepare<W: Write + Send>(
    build: BuildFn<W>,
    trial: &Trial,
    (profile, output): (&mut Profile, &Output<W>),
) -> Result<Prepared, PrepareError> {
    let start = Instant::now();
    let train = MappedMatrix::open(&trial.train)?;
    let test = MappedMatrix::open(&trial.test)?;
    if train.vectors().dim() != test.vectors().dim() {
        return Err(PrepareError::Dimension { train: train.vectors().dim(), test: test.vectors().dim() });
    }
    let metric = Metric::from_str(&trial.metric).map_err(|_| PrepareError::Metric(trial.metric.clone()))?;
    // Reading from disk belongs to `read`, not to the first timed build or search that touches a page.
    std::hint::black_box(train.fault_in() + test.fault_in());
    let read = start.elapsed().as_secs_f64();
    let (engine, stages) = profile.build(|| build(trial, train.vectors(), metric, output))??;
    let mut stages = StageSeconds { read, ..stages };
    if let Some(path) = &trial.save {
        (stages.save, stages.load) = engine.save_and_open(path)?;
    }
    let built = Built {
        stages,
        cpu_seconds: Usage::now().cpu_seconds,
        memory: engine.memory(),
        digest: Some(format!("{:016x}", engine.digest())),
        counters: Some(counters(engine.build_counters())),
    };
    Ok((engine, test, built))
}

fn search<W: Write + Send>(
    engine: &dyn Engine,
    queries: Vectors<'_, f32>,
    request: &SearchRequest,
    profile: &mut Profile,
    output: &Output<W>,
) -> Reply {
    let failed = |message: String| Reply::Failed { stage: "search".into(), message };
    if request.k == 0 {
        return failed("k is 0".into());
    }
    let filters = request.filters.as_deref().map(|filters| LoadedFilters::read(filters, queries.len()));
    let filters = match filters.transpose() {
        Ok(filters) => filters,
        Err(error) => return failed(error.to_string()),
    };
    let progress = |done, total| output.progress(|| Reply::Searching { key: request.key.clone(), done, total });
    let job = Job { queries, request, filters: filters.as_ref(), progress: &progress };
    let pass = match profile.search(engine, &job) {
        Ok(Ok(pass)) => pass,
        Ok(Err(error)) => return failed(error.to_string()),
        Err(error) => return failed(error.to_string()),
    };
    match write_samples(&pass, request) {
        Err((path, error)) => failed(format!("cannot write {}: {error}", path.display())),
        Ok(()) => Reply::Searched(Searched {
            key: request.key.clone(),
            wall_seconds: pass.wall_seconds,
            cpu_seconds: pass.usage.cpu_seconds,
            counters: Some(counters(pass.counters)),
            faults_major: pass.usage.faults_major,
            faults_minor: pass.usage.faults_minor,
        }),
    }
}

fn write_samples<'a>(pass: &Pass, request: &'a SearchRequest) -> Result<(), (&'a Path, io::Error)> {
    write_whole(&request.ids, bytemuck::cast_slice(&pass.ids)).map_err(|error| (request.ids.as_path(), error))?;
    match &request.latencies {
        Some(path) if !pass.nanoseconds.is_empty() => {
            write_whole(path, bytemuck::cast_slice(&pass.nanoseconds)).map_err(|error| {
                // A failed search leaves neither file.
                let _absent = fs::remove_file(&request.ids);
                (path.as_path(), error)
            })
        }
        _ => Ok(()),
    }
}

/// The index's counters as the record has them.
pub(crate) fn counters(counters: nearlab_index::Counters) -> Counters {
    Counters {
        distance_computations: counters.distance_computations,
        hops: counters.hops,
        lists_probed: counters.lists_probed,
        bytes_read: counters.bytes_read,
    }
}

#[cfg(test)]
mod tests;

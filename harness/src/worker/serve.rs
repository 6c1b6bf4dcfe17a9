//! The conversation: hello, build, then searches until `exit` or the end of input.

use std::{
    fs,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    str::FromStr,
    time::Instant,
};

use nearlab_reports::record::{Counters, StageSeconds};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::{
    Engine, Pass,
    engine::{self, Job},
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

/// Answers the harness until it is done.
pub fn serve<R: BufRead, W: Write + Send>(trial: &Path, input: R, output: W) -> Result<(), WorkerError> {
    let trial = read_trial(trial)?;
    let output = Output::new(output);
    output.reply(&Reply::Hello {
        protocol: PROTOCOL,
        library: format!("nearlab {}", env!("CARGO_PKG_VERSION")),
        simd_tier: Some(nearlab_simd::kernels().tier().to_string()),
    })?;
    let mut profile = match Profile::start(trial.profile.as_ref()) {
        Ok(profile) => profile,
        Err(error) => return fail_build(&output, error.to_string()),
    };
    let (engine, test) = match prepare(&trial, &mut profile, &output) {
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
    Engine(#[from] engine::EngineError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

type Prepared = (Box<dyn Engine>, MappedMatrix, Built);

fn prepare<W: Write + Send>(
    trial: &Trial,
    profile: &mut Profile,
    output: &Output<W>,
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
    let (engine, stages) = profile.build(|| engine::build(trial, train.vectors(), metric, output))??;
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
    let progress = |done, total| output.progress(|| Reply::Searching { key: request.key.clone(), done, total });
    let job = Job { queries, request, progress: &progress };
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
            write_whole(path, bytemuck::cast_slice(&pass.nanoseconds)).map_err(|error| (path.as_path(), error))
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
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::*;
    use crate::protocol::Matrix;

    /// A trial over 60 vectors of 4 dimensions, its first 5 the queries.
    fn laboratory(kind: &str) -> (tempfile::TempDir, Trial) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        let vectors: Vec<f32> = (0..240u32).map(|x| (x.wrapping_mul(2_654_435_761) >> 20) as f32 / 4096.0).collect();
        fs::write(&path, bytemuck::cast_slice(&vectors)).unwrap();
        let train = Matrix { path, offset: 0, n: 60, d: 4, element: "f32".into() };
        let trial = Trial {
            protocol: PROTOCOL,
            trial: "t".into(),
            kind: kind.into(),
            build: BTreeMap::new(),
            threads: 2,
            seed: 1,
            metric: "l2".into(),
            test: Matrix { n: 5, ..train.clone() },
            train,
            save: None,
            profile: None,
        };
        (folder, trial)
    }

    fn request(folder: &Path, mode: &str, params: serde_json::Value) -> SearchRequest {
        SearchRequest {
            key: "key".into(),
            k: 3,
            params: serde_json::from_value(params).unwrap(),
            mode: mode.into(),
            threads: 2,
            warmup: 1,
            ids: folder.join("ids"),
            latencies: (mode == "latency").then(|| folder.join("ns")),
        }
    }

    /// What the worker says to some requests, and how it ends.
    fn talk(folder: &Path, trial: &Trial, requests: &[Request]) -> (Vec<Reply>, Result<(), WorkerError>) {
        let path = folder.join("trial.json");
        fs::write(&path, serde_json::to_vec(trial).unwrap()).unwrap();
        let lines: Vec<String> = requests.iter().map(|request| serde_json::to_string(request).unwrap()).collect();
        let mut said = Vec::new();
        let end = serve(&path, io::Cursor::new(lines.join("\n")), &mut said);
        let replies = said.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let replies: Vec<Reply> = replies.map(|line| serde_json::from_slice(line).unwrap()).collect();
        let quiet = |reply: &Reply| !matches!(reply, Reply::Building { .. } | Reply::Searching { .. });
        (replies.into_iter().filter(quiet).collect(), end)
    }

    fn failure(replies: &[Reply]) -> (&str, &str) {
        match replies.last() {
            Some(Reply::Failed { stage, message }) => (stage, message),
            other => panic!("expected `failed`, found {other:?}"),
        }
    }

    #[test]
    fn every_kind_finds_each_query_itself_in_both_modes() {
        for (kind, build, search) in [
            ("flat", serde_json::json!({}), serde_json::json!({})),
            ("hnsw", serde_json::json!({"m": 4, "ef_construction": 20}), serde_json::json!({"ef_search": 60})),
            (
                "hnsw",
                serde_json::json!({"m": 4, "codes": "sq4", "components": 2, "rerank_codes": "f32"}),
                serde_json::json!({"ef_search": 60, "rerank": 40}),
            ),
            ("ivf", serde_json::json!({"nlist": 4, "iterations": 3}), serde_json::json!({"nprobe": 4})),
        ] {
            let (folder, mut trial) = laboratory(kind);
            trial.build = serde_json::from_value(build).unwrap();
            trial.save = Some(folder.path().join("index"));
            for mode in ["latency", "throughput"] {
                let search = Request::Search(request(folder.path(), mode, search.clone()));
                let (replies, end) = talk(folder.path(), &trial, &[search, Request::Exit {}]);
                assert!(end.is_ok(), "{kind} {mode}: {end:?}");
                let [Reply::Hello { protocol: PROTOCOL, .. }, Reply::Built(built), Reply::Searched(searched)] =
                    &replies[..]
                else {
                    panic!("{kind} {mode}: {replies:?}")
                };
                assert!(built.digest.is_some() && !built.memory.is_empty() && built.stages.load > 0.0, "{built:?}");
                assert!(searched.wall_seconds > 0.0 && searched.counters.is_some_and(|c| c.distance_computations > 0));
                let bytes = fs::read(folder.path().join("ids")).unwrap();
                let ids: Vec<i32> = bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect();
                assert_eq!(ids.iter().copied().step_by(3).collect::<Vec<_>>(), [0, 1, 2, 3, 4], "{kind} {mode}");
            }
            assert_eq!(fs::read(folder.path().join("ns")).unwrap().len(), 40);
            assert!(folder.path().join("index").is_file());
        }
    }

    /// Makes a good trial a bad one.
    type Spoil = fn(&mut Trial);

    #[test]
    fn a_trial_that_cannot_be_built_says_why() {
        let spoilt: [(&str, Spoil); 8] = [
            ("there is no index kind `tree`", |trial| trial.kind = "tree".into()),
            ("there is no metric `miles`", |trial| trial.metric = "miles".into()),
            ("queries have 2 dimensions, base vectors 4", |trial| trial.test.d = 2),
            ("cannot map", |trial| trial.train.path = PathBuf::from("/nowhere")),
            ("`m` must be a whole number", |trial| {
                trial.build.insert("m".into(), "many".into());
            }),
            ("`m`", |trial| {
                trial.build.insert("m".into(), 1.into());
            }),
            (
                "`codes` must be one of f32, f16, sq8, sq4, lvq4, lvq8, rabitq1, rabitq4, rabitq8, found \"sp4\"",
                |trial| {
                    trial.build.insert("codes".into(), "sp4".into());
                },
            ),
            ("`components` must be 0 for codes other than sq4, found 2", |trial| {
                trial.build.insert("components".into(), 2.into());
            }),
        ];
        for (words, spoil) in spoilt {
            let (folder, mut trial) = laboratory("hnsw");
            spoil(&mut trial);
            let (replies, end) = talk(folder.path(), &trial, &[]);
            let (stage, message) = failure(&replies);
            assert!(stage == "build" && message.contains(words), "{message}");
            assert!(matches!(end, Err(WorkerError::Build(_))));
        }
    }

    #[test]
    fn a_search_that_cannot_be_done_is_refused_and_the_next_one_answered() {
        let (folder, trial) = laboratory("hnsw");
        let good = request(folder.path(), "latency", serde_json::json!({"ef_search": 10}));
        for (words, bad) in [
            ("k is 0", SearchRequest { k: 0, ..good.clone() }),
            ("there is no mode `soon`", SearchRequest { mode: "soon".into(), ..good.clone() }),
            ("`ef_search` is missing", SearchRequest { params: BTreeMap::new(), ..good.clone() }),
            ("ef_search", request(folder.path(), "throughput", serde_json::json!({"ef_search": 0}))),
            ("cannot write", SearchRequest { ids: "/nowhere/ids".into(), ..good.clone() }),
            ("cannot write", SearchRequest { latencies: Some("/nowhere/ns".into()), ..good.clone() }),
        ] {
            let requests = [Request::Search(good.clone()), Request::Search(bad)];
            let (replies, end) = talk(folder.path(), &trial, &requests);
            let (stage, message) = failure(&replies);
            assert!(stage == "search" && message.contains(words), "{message}");
            assert!(end.is_ok(), "the end of input is a good end");
            let (replies, _) = talk(folder.path(), &trial, &[requests[1].clone(), requests[0].clone()]);
            assert!(matches!(replies.last(), Some(Reply::Searched(_))), "{replies:?}");
        }
    }

    #[test]
    fn what_is_no_trial_or_no_request_ends_the_worker() {
        let (folder, mut trial) = laboratory("flat");
        let path = folder.path().join("trial.json");
        let end = serve(&path, io::empty(), Vec::new()).unwrap_err();
        assert!(matches!(end, WorkerError::ReadTrial { .. }), "{end}");
        fs::write(&path, "{").unwrap();
        let end = serve(&path, io::empty(), Vec::new()).unwrap_err();
        assert!(matches!(end, WorkerError::NotATrial { .. }), "{end}");
        fs::write(&path, serde_json::to_vec(&trial).unwrap()).unwrap();
        let end = serve(&path, io::Cursor::new("dig\n"), Vec::new()).unwrap_err();
        assert!(end.to_string().starts_with("not a request: dig"), "{end}");
        trial.protocol = 7;
        let (_, end) = talk(folder.path(), &trial, &[]);
        assert!(matches!(end, Err(WorkerError::Protocol { found: 7 })));
    }
}

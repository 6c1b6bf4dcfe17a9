//! A folder with a small data set, a cache of its own, and the program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nearlab_reports::run::RunData;

/// Longest time that anything here may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Three kinds of index, two workloads, two repeats: 2 x (1 + 3 + 2) x 2 = 24 measurements of 3 builds.
pub(crate) const SMALL: &str = "
question: Does everything work?
dataset: {use: data.hdf5}
k: [10]
indexes:
  - {name: exact, kind: flat}
  - {name: graph, kind: hnsw, build: {m: 8, ef_construction: 40}, search: {ef_search: [5, 10, 40]}, require: ['ef_search >= k']}
  - {name: lists, kind: ivf, build: {nlist: 16}, search: {nprobe: [1, 16]}}
workloads:
  - {name: single, mode: latency}
  - {name: batch, mode: throughput, threads: [2]}
measure: {repeats: 2, warmup: 1, order: shuffled, timeout: 60s}
expect:
  recall_at_10 == 1:
    - {index: exact}
    - {index: lists, at: {nprobe: 16}}
  recall_at_10 >= 0.5: {index: graph}
";

pub(crate) struct Laboratory {
    folder: tempfile::TempDir,
}

impl Laboratory {
    /// A laboratory with `data.hdf5`: 1000 x 12, 40 queries, 20 true neighbours.
    pub(crate) fn new() -> Self {
        let laboratory = Self::empty();
        let made = laboratory.run("datasets synth clustered -n 1000 -d 12 --queries 40 -k 20 --seed 7 --out data.hdf5");
        assert!(made.status.success(), "{}", text(&made));
        laboratory
    }

    /// A laboratory without data.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The program with arguments, ready to run in the laboratory.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_nearlab")), arguments)
    }

    /// The same of a program that lies elsewhere.
    pub(crate) fn command_of(&self, program: &Path, arguments: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env("NEARLAB_CACHE", self.path("cache"))
            .env_remove("NEARLAB_PYTHON")
            .env_remove("NEARLAB_MIRROR")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program and holds it to an exit status.
    pub(crate) fn expect(&self, arguments: &str, status: i32) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(status), "nearlab {arguments}\n{}", text(&output));
        output
    }

    /// Starts the program with its output thrown away.
    pub(crate) fn start(&self, arguments: &str) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The folders of an experiment's runs, oldest first.
    pub(crate) fn runs(&self, experiment: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("runs").join(experiment)) else { return Vec::new() };
        let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    }

    /// The records of an experiment's only run.
    pub(crate) fn records(&self, experiment: &str) -> RunData {
        let runs = self.runs(experiment);
        assert_eq!(runs.len(), 1, "{runs:?}");
        RunData::load(&runs[0]).unwrap()
    }

    /// Waits until the only run of an experiment has recorded `count` searches.
    pub(crate) fn wait_for_searches(&self, experiment: &str, count: usize) {
        wait_until(|| {
            let runs = self.runs(experiment);
            let text = runs.first().and_then(|run| fs::read_to_string(run.join("records.jsonl")).ok());
            text.is_some_and(|text| text.matches("\"search\":{\"key\"").count() >= count)
        });
    }
}

/// Polls until something holds; what it waits for is done by another process.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a child's end, but not for ever.
pub(crate) fn wait(mut child: Child) -> std::process::ExitStatus {
    let (sender, receiver) = mpsc::channel();
    let id = child.id();
    thread::spawn(move || sender.send(child.wait()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(status) => status.unwrap(),
        Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => {
            panic!("process {id} does not end")
        }
    }
}

/// Both outputs, for messages.
pub(crate) fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Reads little-endian i32.
pub(crate) fn read_ids(path: &Path) -> Vec<i32> {
    fs::read(path).unwrap().chunks_exact(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

//! Workers that misbehave, each in its own way: every end has its name, and the run goes on.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use nearlab_reports::{
    record::{Failure, Outcome},
    run::RunData,
};

use crate::laboratory::{Laboratory, stdout, text, wait, wait_until};

/// Begins every fake worker: a correct hello, and what it takes to answer.
const PRELUDE: &str = r#"
import json, os, struct, sys, time
trial = json.load(open(sys.argv[-1]))
QUERIES, N = trial["test"]["n"], trial["train"]["n"]
def say(message):
    print(json.dumps(message), flush=True)
def built():
    say({"building": {"stage": "construct", "done": 1, "total": 2}})
    say({"built": {"stages": {"construct": 0.5}, "cpu_seconds": 0.25, "memory": {"vectors": 100}}})
def searches():
    for line in sys.stdin:
        request = json.loads(line)
        if "exit" in request:
            sys.exit(0)
        yield request["search"]
def write(path, code, values):
    with open(path + ".tmp", "wb") as file:
        file.write(struct.pack("<%d%s" % (len(values), code), *values))
    os.rename(path + ".tmp", path)
def answer(search, ids=None, seconds=0.01):
    write(search["ids"], "i", ids or list(range(search["k"])) * QUERIES)
    if search["latencies"]:
        write(search["latencies"], "Q", [1000] * QUERIES)
    say({"searched": {"key": search["key"], "wall_seconds": seconds, "cpu_seconds": 0.01}})
"#;

const HELLO: &str = r#"say({"hello": {"protocol": 1, "library": "fake 1"}})"#;

/// Writes the worker `<name>.py` and gives its entry in `indexes`.
fn worker(laboratory: &Laboratory, name: &str, body: &str) -> String {
    laboratory.write(&format!("{name}.py"), &format!("{PRELUDE}\n{body}\n"));
    format!("  - {{name: {name}, kind: external, worker: {name}.py, search: {{effort: [1, 2]}}}}\n")
}

fn experiment(indexes: &str, measure: &str) -> String {
    format!(
        "question: What breaks?\ndataset: {{use: data.hdf5}}\nk: [5]\nindexes:\n{indexes}  \
         - {{name: exact, kind: flat}}\nworkloads:\n  - {{name: single, mode: latency}}\n\
         measure: {{repeats: 1, warmup: 0, order: sequential, {measure}}}\n"
    )
}

fn failures(run: &RunData) -> BTreeMap<&str, Vec<&Failure>> {
    let mut by_index: BTreeMap<&str, Vec<&Failure>> = BTreeMap::new();
    for failure in &run.failures {
        by_index.entry(&failure.index).or_default().push(failure);
    }
    by_index
}

/// A way to end badly: name, how it is recorded, words of the message, what the worker does after its hello.
type Bad = (&'static str, Outcome, &'static str, &'static str);

const BAD_BUILDS: [Bad; 8] = [
    ("aborts", Outcome::Crashed, "SIGABRT", "print('the last straw', file=sys.stderr); sys.stderr.flush(); os.abort()"),
    ("leaves", Outcome::Crashed, "status 3", "sys.exit(3)"),
    ("killed", Outcome::OutOfMemory, "SIGKILL", "os.kill(os.getpid(), 9)"),
    ("gives_up", Outcome::Failed, "no, thanks", "say({'failed': {'stage': 'build', 'message': 'no, thanks'}})"),
    ("no_library", Outcome::Missing, "install it", "say({'failed': {'stage': 'missing', 'message': 'install it'}})"),
    ("rubbish", Outcome::Protocol, "what a lovely day", "print('what a lovely day', flush=True); time.sleep(60)"),
    ("endless", Outcome::Protocol, "xxxxx", "while True: sys.stdout.write('x' * 65536)"),
    (
        "answers_early",
        Outcome::Protocol,
        "Searched",
        "say({'searched': {'key': 'k', 'wall_seconds': 1, 'cpu_seconds': 1}}); time.sleep(60)",
    ),
];

const BAD_SEARCHES: [Bad; 6] = [
    ("crashes", Outcome::Crashed, "in mid-search", "raise RuntimeError('in mid-search')"),
    ("past_the_end", Outcome::Protocol, "query 0 was answered with id 1000", "answer(s, [N] * s['k'] * QUERIES)"),
    ("too_few", Outcome::Protocol, "4 bytes, expected", "answer(s, [1])"),
    ("other_key", Outcome::Protocol, "answered the search", "s['key'] = 'x'; answer(s); time.sleep(60)"),
    ("no_time", Outcome::Protocol, "took 0 s", "answer(s, seconds=0)"),
    (
        "no_files",
        Outcome::Protocol,
        "did not write",
        "say({'searched': {'key': s['key'], 'wall_seconds': 1, 'cpu_seconds': 1}})",
    ),
];

/// Runs every bad worker beside exact search, and holds each to its failure.
fn each_is_recorded(bad: &[Bad], stage: &str, body: impl Fn(&str) -> String) -> RunData {
    let laboratory = Laboratory::new();
    let indexes: Vec<String> = bad.iter().map(|(name, _, _, act)| worker(&laboratory, name, &body(act))).collect();
    laboratory.write("broken.yaml", &experiment(&indexes.concat(), "timeout: 60s"));
    let output = laboratory.expect("run broken.yaml --quiet --no-report", 0);
    assert!(stdout(&output).contains("not measured: "), "{}", text(&output));
    let run = laboratory.records("broken");
    assert_eq!(run.searches.len(), 1, "exact search is measured all the same");
    assert!(run.finished.is_some());
    let failed = failures(&run);
    for (name, outcome, words, _) in bad {
        let failures = &failed[name];
        let found: Vec<_> = failures.iter().map(|one| (one.stage.as_str(), one.outcome)).collect();
        assert_eq!(found, [(stage, *outcome)], "{name}: {failures:?}");
        assert!(failures[0].message.contains(words), "{name}: {}", failures[0].message);
    }
    run
}

#[test]
fn each_bad_end_of_a_build_is_recorded_and_the_run_goes_on() {
    let run = each_is_recorded(&BAD_BUILDS, "build", |act| format!("{HELLO}\n{act}"));
    let aborts = &failures(&run)["aborts"][0].message;
    assert!(aborts.contains("the last straw"), "{aborts}");
}

#[test]
fn each_bad_end_of_a_search_is_recorded_and_the_run_goes_on() {
    let run = each_is_recorded(&BAD_SEARCHES, "search", |act| format!("{HELLO}\nbuilt()\nfor s in searches(): {act}"));
    let crashes = &failures(&run)["crashes"][0].message;
    assert!(crashes.contains("1 more measurements of this trial were given up"), "{crashes}");
}

#[test]
fn a_worker_of_another_protocol_or_none_is_refused_and_one_that_is_not_there_is_missing() {
    let laboratory = Laboratory::new();
    let old = r#"say({"hello": {"protocol": 0, "library": "old"}}); time.sleep(60)"#;
    let indexes = worker(&laboratory, "old", old)
        + &worker(&laboratory, "no_hello", "built(); time.sleep(60)")
        + "  - {name: nowhere, kind: external, worker: nowhere.py}\n";
    laboratory.write("odd.yaml", &experiment(&indexes, "timeout: 60s"));
    let output = laboratory.expect("run odd.yaml --quiet --no-report", 0);
    let run = laboratory.records("odd");
    let failed = failures(&run);
    assert!(failed["old"][0].message.contains("protocol 0, expected 1"), "{failed:?}");
    assert_eq!(failed["no_hello"][0].outcome, Outcome::Protocol);
    assert_eq!(failed["nowhere"][0].outcome, Outcome::Missing);
    assert!(stdout(&output).contains("not measured: nowhere"), "{}", text(&output));
}

#[test]
fn a_worker_that_hangs_is_stopped_in_build_and_in_search() {
    let laboratory = Laboratory::new();
    // Not `.py`: what appears beside a Python worker during a run is a change of it.
    let note = "open('pid-' + sys.argv[0].split('/')[-1][:-3], 'w').write(str(os.getpid()))";
    let indexes = worker(&laboratory, "stuck_build", &format!("{note}\n{HELLO}\ntime.sleep(600)"))
        + &worker(
            &laboratory,
            "stuck_search",
            &format!("{note}\n{HELLO}\nbuilt()\nfor s in searches(): time.sleep(600)"),
        );
    laboratory.write("stuck.yaml", &experiment(&indexes, "timeout: 3s"));
    laboratory.expect("run stuck.yaml --quiet --no-report", 0);
    let run = laboratory.records("stuck");
    for (name, stage) in [("stuck_build", "build"), ("stuck_search", "search")] {
        let failed = failures(&run);
        assert_eq!((failed[name][0].outcome, failed[name][0].stage.as_str()), (Outcome::Timeout, stage), "{failed:?}");
        let pid = std::fs::read_to_string(laboratory.path(&format!("pid-{name}"))).unwrap();
        wait_until(|| !std::path::Path::new("/proc").join(&pid).exists());
    }
    assert_eq!(run.searches.len(), 1);
}

#[test]
fn temporary_files_of_a_worker_lie_in_the_run_and_go_with_it() {
    let laboratory = Laboratory::new();
    let note = "import tempfile; open('temporary', 'w').write(tempfile.mkdtemp())";
    let index = worker(&laboratory, "leaves_much", &format!("{note}\n{HELLO}\nos.kill(os.getpid(), 9)"));
    laboratory.write("leaving.yaml", &experiment(&index, "timeout: 60s"));
    laboratory.expect("run leaving.yaml --quiet --no-report", 0);
    let temporary = std::fs::read_to_string(laboratory.path("temporary")).unwrap();
    assert!(temporary.contains("/leaving/") && temporary.contains("/trials/"), "{temporary}");
    assert!(!std::path::Path::new(&temporary).parent().unwrap().exists(), "{temporary}");
}

#[test]
fn a_worker_that_never_falls_silent_is_held_to_its_time() {
    let laboratory = Laboratory::new();
    let flood = "while True: say({'building': {'stage': 'train', 'done': 0, 'total': 1}})";
    let indexes = worker(&laboratory, "talker", &format!("{HELLO}\n{flood}"));
    laboratory.write("talk.yaml", &experiment(&indexes, "timeout: 1s"));
    laboratory.expect("run talk.yaml --quiet --no-report", 0);
    let run = laboratory.records("talk");
    assert_eq!(failures(&run)["talker"][0].outcome, Outcome::Timeout, "{:?}", run.failures);
}

#[test]
fn a_program_that_is_built_anew_during_a_run_goes_on_as_it_was() {
    let laboratory = Laboratory::new();
    let patient = "open('begun', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.002)";
    let indexes = worker(&laboratory, "waits", &format!("{patient}\n{HELLO}\nbuilt()\nfor s in searches(): answer(s)"));
    laboratory.write("anew.yaml", &experiment(&indexes, "timeout: 60s"));
    let own = laboratory.path("nearlab");
    let program = Path::new(env!("CARGO_BIN_EXE_nearlab"));
    // Another file system has a copy, made by a process of its own: what this one is writing it could not start.
    if std::fs::hard_link(program, &own).is_err() {
        assert!(Command::new("cp").arg(program).arg(&own).status().unwrap().success());
    }
    let mut command = laboratory.command_of(&own, "run anew.yaml --no-report");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(|| laboratory.path("begun").exists());
    std::fs::remove_file(&own).unwrap();
    laboratory.write("go", "");
    assert!(wait(child).success());
    let run = laboratory.records("anew");
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    assert_eq!(run.searches.iter().filter(|search| search.index == "exact").count(), 1);
}

#[test]
fn what_lies_beside_a_python_worker_is_a_part_of_it() {
    let laboratory = Laboratory::new();
    let indexes = worker(&laboratory, "fine", &format!("{HELLO}\nbuilt()\nfor s in searches(): answer(s)"));
    laboratory.write("beside.yaml", &experiment(&indexes, "timeout: 60s"));
    laboratory.write("loops.py", "PASSES = 1\n");
    laboratory.expect("run beside.yaml --quiet --no-report", 0);
    let output = laboratory.expect("run beside.yaml --quiet --no-report", 0);
    assert!(stdout(&output).contains("complete already"), "{}", text(&output));
    laboratory.write("loops.py", "PASSES = 2\n");
    laboratory.expect("run beside.yaml --quiet --no-report", 0);
    assert_eq!(laboratory.runs("beside").len(), 2);
}

#[test]
fn a_worker_that_is_edited_during_a_run_is_not_taken_for_the_one_before() {
    let laboratory = Laboratory::new();
    let patient = "open('begun', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.002)";
    let indexes = worker(&laboratory, "waits", &format!("{patient}\n{HELLO}\nbuilt()\nfor s in searches(): answer(s)"));
    laboratory.write("edited.yaml", &experiment(&indexes, "timeout: 60s"));
    let mut command = laboratory.command("run edited.yaml --quiet --no-report");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| laboratory.path("begun").exists());
    let loops = laboratory.write("loops.py", "PASSES = 2\n");
    laboratory.write("go", "");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    for words in ["waits.py of waits has changed since the run began", "put it back"] {
        assert!(text(&output).contains(words), "{words}\n{}", text(&output));
    }
    let run = laboratory.records("edited");
    assert!(run.builds.is_empty() && run.searches.is_empty() && run.failures.is_empty(), "{run:?}");
    // As it was, it goes on; as it is, it is another run.
    std::fs::remove_file(loops).unwrap();
    laboratory.expect("run edited.yaml --quiet --no-report", 0);
    let run = laboratory.records("edited");
    assert_eq!((run.runs.len(), run.searches.len()), (2, 3));
    laboratory.write("loops.py", "PASSES = 2\n");
    laboratory.expect("run edited.yaml --quiet --no-report", 0);
    assert_eq!(laboratory.runs("edited").len(), 2);
}

#[test]
fn another_library_is_not_measured_in_one_run_with_an_index_whichever_trial_it_builds() {
    let laboratory = Laboratory::new();
    let body = "library, tier = open('library').read().split()\n\
                say({'hello': {'protocol': 1, 'library': 'fake ' + library, 'simd_tier': tier}})\n\
                if trial['build']['size'] == 2 and not os.path.exists('mended'): sys.exit('it is broken')\n\
                built()\nfor s in searches(): answer(s)";
    let indexes = worker(&laboratory, "sized", body).replace("search:", "build: {size: [1, 2]}, search:");
    laboratory.write("sized.yaml", &experiment(&indexes, "timeout: 60s"));
    laboratory.write("library", "1.9 avx2");
    laboratory.expect("run sized.yaml --quiet --no-report", 0);
    let run = laboratory.records("sized");
    assert_eq!((run.builds.len(), run.searches.len(), run.failures.len()), (2, 3, 1), "{:?}", run.failures);
    laboratory.write("mended", "");
    for (library, found) in [("1.10 avx2", "fake 1.10 on avx2"), ("1.9 avx512", "fake 1.9 on avx512")] {
        laboratory.write("library", library);
        let output = laboratory.expect("run sized.yaml --quiet --no-report --retry-failed", 2);
        let words = format!("expected fake 1.9 on avx2, found {found} in trial ");
        assert!(text(&output).contains(&words), "{}", text(&output));
        assert_eq!(laboratory.records("sized").builds.len(), 2, "nothing is measured with it");
    }
    laboratory.write("library", "1.9 avx2");
    laboratory.expect("run sized.yaml --quiet --no-report --retry-failed", 0);
    let run = laboratory.records("sized");
    assert_eq!((run.builds.len(), run.searches.len(), run.failures.len()), (3, 5, 0), "{:?}", run.failures);
}

#[test]
fn a_worker_that_takes_too_much_memory_is_stopped() {
    let laboratory = Laboratory::new();
    let indexes =
        worker(&laboratory, "hog", &format!("{HELLO}\nx = [b'x' * (1 << 20) for _ in range(400)]\ntime.sleep(60)"));
    laboratory.write("hog.yaml", &experiment(&indexes, "timeout: 60s, memory: 100MiB"));
    laboratory.expect("run hog.yaml --quiet --no-report", 0);
    let run = laboratory.records("hog");
    let failed = failures(&run);
    assert_eq!(failed["hog"][0].outcome, Outcome::OutOfMemory);
    assert!(failed["hog"][0].message.contains("past the limit of 100 MiB"), "{}", failed["hog"][0].message);
    assert_eq!(run.searches.len(), 1);
}

#[test]
fn a_refused_search_costs_only_itself() {
    let laboratory = Laboratory::new();
    let body = "built()\nfor s in searches():\n  if s['params']['effort'] == 1: say({'failed': {'stage': 'search', 'message': 'too little effort'}})\n  else: answer(s)";
    let indexes = worker(&laboratory, "proud", &format!("{HELLO}\n{body}"));
    laboratory.write("proud.yaml", &experiment(&indexes, "timeout: 60s"));
    laboratory.expect("run proud.yaml --quiet --no-report", 0);
    let run = laboratory.records("proud");
    assert_eq!(run.searches.iter().filter(|search| search.index == "proud").count(), 1);
    let failed = failures(&run);
    assert_eq!((failed["proud"].len(), failed["proud"][0].outcome), (1, Outcome::Failed));
    assert_eq!(failed["proud"][0].message, "too little effort");
    let build = run.builds.iter().find(|build| build.index == "proud").unwrap();
    assert_eq!((build.library.as_str(), build.build_seconds, build.index_bytes), ("fake 1", 0.5, Some(100)));
}

#[test]
fn samples_that_cannot_be_written_stop_the_run_and_are_no_failure_of_the_worker() {
    let laboratory = Laboratory::new();
    let body = "built()\nfor s in searches():\n  import shutil; shutil.rmtree(os.path.dirname(s['ids']))\n  \
                say({'failed': {'stage': 'search', 'message': 'no space left'}})";
    let indexes = worker(&laboratory, "unlucky", &format!("{HELLO}\n{body}"));
    laboratory.write("full.yaml", &experiment(&indexes, "timeout: 60s"));
    let output = laboratory.expect("run full.yaml --quiet --no-report", 2);
    assert!(text(&output).contains("cannot write samples"), "{}", text(&output));
    assert!(laboratory.records("full").failures.is_empty());
}

#[test]
fn what_failed_is_tried_again_only_when_asked() {
    let laboratory = Laboratory::new();
    let body = "if not os.path.exists('mended'): sys.exit('it is broken')\nbuilt()\nfor s in searches(): answer(s)";
    let indexes = worker(&laboratory, "mendable", &format!("{HELLO}\n{body}"));
    laboratory.write("mend.yaml", &experiment(&indexes, "timeout: 60s"));
    laboratory.expect("run mend.yaml --quiet --no-report", 0);
    assert!(laboratory.records("mend").failures[0].message.contains("it is broken"));
    laboratory.write("mended", "");
    let output = laboratory.expect("run mend.yaml --quiet --no-report", 0);
    assert!(stdout(&output).contains("complete already"), "{}", text(&output));
    assert_eq!(laboratory.records("mend").searches.len(), 1);
    laboratory.expect("run mend.yaml --quiet --no-report --retry-failed", 0);
    let run = laboratory.records("mend");
    assert_eq!((run.searches.len(), run.failures.len(), run.runs.len()), (3, 0, 2));
}

#[test]
fn a_worker_program_is_run_directly_and_python_can_be_chosen() {
    let laboratory = Laboratory::new();
    let indexes = worker(&laboratory, "fine", &format!("{HELLO}\nbuilt()\nfor s in searches(): answer(s)"));
    laboratory.write("python.yaml", &experiment(&indexes, "timeout: 60s"));
    let output = laboratory
        .command("run python.yaml --quiet --no-report")
        .env("NEARLAB_PYTHON", "/nowhere/python")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let failure = laboratory.records("python").failures.remove(0);
    assert_eq!(failure.outcome, Outcome::Missing);
    assert!(failure.message.contains("/nowhere/python"), "{}", failure.message);

    // A program that is no worker: it prints its arguments.
    let echo = "  - {name: echo, kind: external, worker: /bin/echo}\n";
    laboratory.write("echo.yaml", &experiment(echo, "timeout: 60s"));
    laboratory.expect("run echo.yaml --quiet --no-report", 0);
    let failure = laboratory.records("echo").failures.remove(0);
    assert_eq!(failure.outcome, Outcome::Protocol);
    assert!(failure.message.contains("trials/"), "{}", failure.message);
}

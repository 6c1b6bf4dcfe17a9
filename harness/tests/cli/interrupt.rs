//! Ctrl-C: once to finish what is under way, twice to stop at once.

use std::{fs, fs::File, process::Child};

use rustix::process::{Pid, Signal, kill_process};

use crate::laboratory::{Laboratory, SMALL, wait, wait_until};

fn ctrl_c(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

fn start(laboratory: &Laboratory, arguments: &str) -> Child {
    let stderr = File::create(laboratory.path("stderr")).unwrap();
    laboratory.command(arguments).stderr(stderr).stdout(std::process::Stdio::null()).spawn().unwrap()
}

fn said(laboratory: &Laboratory) -> String {
    fs::read_to_string(laboratory.path("stderr")).unwrap()
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_goes_on() {
    let laboratory = Laboratory::new();
    laboratory.write("stopped.yaml", &SMALL.replace("repeats: 2", "repeats: 30"));
    let child = start(&laboratory, "run stopped.yaml --no-report");
    laboratory.wait_for_searches("stopped", 2);
    ctrl_c(&child);
    assert_eq!(wait(child).code(), Some(130), "{}", said(&laboratory));
    let text = said(&laboratory);
    assert!(text.contains("finishing the measurement under way"), "{text}");
    assert!(text.contains("continue with: nearlab run stopped.yaml --no-report"), "{text}");
    let run = laboratory.records("stopped");
    assert!(run.finished.is_none() && (2..300).contains(&run.searches.len()), "{}", run.searches.len());
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    laboratory.expect("run stopped.yaml --quiet --no-report", 0);
    assert_eq!(laboratory.records("stopped").searches.len(), 300);
}

/// A Python worker, and an experiment that has the time for it.
fn experiment(laboratory: &Laboratory, name: &str, worker: &str) {
    laboratory.write(&format!("{name}.py"), worker);
    let yaml = format!(
        "question: How long?\ndataset: {{use: data.hdf5}}\nk: [5]\n\
         indexes:\n  - {{name: {name}, kind: external, worker: {name}.py}}\n\
         workloads:\n  - {{name: single, mode: latency}}\nmeasure: {{timeout: 10m}}\n"
    );
    laboratory.write(&format!("{name}.yaml"), &yaml);
}

#[test]
fn a_build_that_never_falls_silent_ends_at_the_first_ctrl_c() {
    let laboratory = Laboratory::new();
    experiment(
        &laboratory,
        "talker",
        "import json, os, sys\n\
         print(json.dumps({'hello': {'protocol': 1, 'library': 'talker'}}), flush=True)\n\
         open('begun', 'w').close()\n\
         while True: print(json.dumps({'building': {'stage': 'train', 'done': 0, 'total': 1}}), flush=True)\n",
    );
    let child = start(&laboratory, "run talker.yaml --no-report --retry-failed");
    wait_until(|| laboratory.path("begun").exists());
    ctrl_c(&child);
    assert_eq!(wait(child).code(), Some(130), "{}", said(&laboratory));
    let text = said(&laboratory);
    assert!(text.contains("continue with: nearlab run talker.yaml --retry-failed --no-report"), "{text}");
    assert!(laboratory.records("talker").failures.is_empty());
}

#[test]
fn the_second_ctrl_c_stops_at_once_and_takes_the_worker_along() {
    let laboratory = Laboratory::new();
    experiment(
        &laboratory,
        "slow",
        "import json, os, sys, time\n\
         print(json.dumps({'hello': {'protocol': 1, 'library': 'slow'}}), flush=True)\n\
         print(json.dumps({'built': {'stages': {}, 'cpu_seconds': 0}}), flush=True)\n\
         sys.stdin.readline()\n\
         open('pid.tmp', 'w').write(str(os.getpid())); os.rename('pid.tmp', 'pid')\n\
         time.sleep(600)\n",
    );
    let child = start(&laboratory, "run slow.yaml --no-report");
    wait_until(|| laboratory.path("pid").exists());
    ctrl_c(&child);
    wait_until(|| said(&laboratory).contains("Ctrl-C again"));
    ctrl_c(&child);
    assert_eq!(wait(child).code(), Some(130));
    let worker = fs::read_to_string(laboratory.path("pid")).unwrap();
    wait_until(|| !std::path::Path::new("/proc").join(&worker).exists());
}

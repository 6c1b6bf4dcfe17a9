//! The programs, as the harness meets them.

use std::{fs, io::Write, process::Command, process::Stdio};

/// What a worker says and how it ends, given its arguments and its input.
fn talk(program: &str, arguments: &[&str], input: &str) -> (String, String, Option<i32>) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker is built with its tests");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the worker reads its input");
    let output = child.wait_with_output().expect("the worker ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn a_worker_builds_and_searches_what_a_trial_asks_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let vectors: Vec<u8> =
        (0..240_u32).flat_map(|x| ((x.wrapping_mul(2_654_435_761) >> 20) as f32).to_le_bytes()).collect();
    fs::write(at("vectors"), vectors).expect("a file");
    for (program, name, build, search) in [
        (env!("CARGO_BIN_EXE_walk"), "nearlab walk ", "{}", r#"{"ef_search": 20, "idea": "sorted"}"#),
        (env!("CARGO_BIN_EXE_treated"), "nearlab treated ", r#"{"rounds": 1}"#, r#"{"ef_search": 20}"#),
    ] {
        let matrix = |n| format!(r#"{{"path": "{}", "offset": 0, "n": {n}, "d": 4, "element": "f32"}}"#, at("vectors"));
        let trial = format!(
            r#"{{"protocol": 1, "trial": "t", "kind": "external", "build": {build}, "threads": 1, "seed": 1,
                 "metric": "l2", "train": {}, "test": {}, "save": null, "profile": null}}"#,
            matrix(60),
            matrix(5)
        );
        fs::write(at("trial.json"), trial).expect("a file");
        let request = format!(
            r#"{{"search": {{"key": "a", "k": 1, "params": {search}, "mode": "throughput", "threads": 1, "warmup": 0, "ids": "{}", "latencies": null}}}}"#,
            at("ids")
        );
        let (said, complained, status) = talk(program, &[&at("trial.json")], &format!("{request}\n"));
        assert_eq!((status, complained.as_str()), (Some(0), ""), "{said}");
        assert!(said.contains(name) && said.contains(r#""searched""#), "{said}");
        let ids = fs::read(at("ids")).expect("the ids of what was found");
        assert_eq!(ids, [0, 1, 2, 3, 4].map(i32::to_le_bytes).concat(), "{program}");
    }
}

#[test]
fn a_worker_that_cannot_do_what_it_is_asked_says_why() {
    let walk = env!("CARGO_BIN_EXE_walk");
    let (_, complained, status) = talk(walk, &[], "");
    assert_eq!(status, Some(2));
    assert!(complained.contains("expected the path of a trial"), "{complained}");
    let (_, complained, status) = talk(walk, &["/nowhere/trial.json"], "");
    assert_eq!(status, Some(2));
    assert!(complained.contains("cannot read the trial /nowhere/trial.json"), "{complained}");
}

//! Bad input: one screen that names the file, the place, what was expected and found; a non-zero status; no run folder.

use std::fs;

use crate::laboratory::{Laboratory, SMALL, stderr, stdout, text};

/// Most lines of a one-screen error.
const SCREEN: usize = 24;

fn refused(laboratory: &Laboratory, words: &[&str]) {
    let output = laboratory.expect("run bad.yaml --quiet --no-report", 2);
    let said = stderr(&output);
    assert!(said.starts_with("error: "), "{said}");
    assert!(said.lines().count() <= SCREEN, "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing: {}", text(&output));
    }
    assert!(laboratory.runs("bad").is_empty(), "a run folder was left");
}

#[test]
fn a_question_with_a_mistake_is_drawn_at_its_place() {
    let laboratory = Laboratory::new();
    for (from, to, words) in [
        ("workloads:", "workload:", &["bad.yaml", "workloads"][..]),
        ("m: 8", "m: eight", &["bad.yaml", "eight"]),
        ("ef_search: [5, 10, 40]", "ef_search: []", &["bad.yaml", "empty"]),
        ("ef_search >= k", "ef_search < 0", &["bad.yaml", "ef_search < 0"]),
        ("use: data.hdf5", "use: nowhere.hdf5", &["bad.yaml", "nowhere.hdf5"]),
        ("timeout: 60s", "timeout: 60", &["bad.yaml", "timeout"]),
        ("timeout: 60s", "timeout: 60s, pin: [4000]", &["4000"]),
    ] {
        let yaml = SMALL.replace(from, to);
        assert_ne!(yaml, SMALL, "{from}");
        laboratory.write("bad.yaml", &yaml);
        refused(&laboratory, words);
    }
    let (question, _) = SMALL.split_once("expect:").unwrap();
    laboratory.write("bad.yaml", &question.replace("k: [10]", "k: [21]"));
    refused(&laboratory, &["bad.yaml", "data.hdf5", "20", "21"]);
    laboratory.write("good.yaml", SMALL);
    let output = laboratory.expect("check good.yaml bad.yaml", 0);
    // Processors and true neighbours are looked at where the experiment runs, not by `check`.
    assert_eq!(stdout(&output).matches(": ok").count(), 2, "{}", text(&output));
    laboratory.write("bad.yaml", "question: 1\n");
    let output = laboratory.expect("check good.yaml bad.yaml", 2);
    assert!(stdout(&output).contains("good.yaml: ok") && stderr(&output).contains("bad.yaml"), "{}", text(&output));
    let output = laboratory.expect("run nowhere.yaml --no-report", 2);
    assert!(stderr(&output).contains("nowhere.yaml"), "{}", text(&output));
}

#[test]
fn a_damaged_data_file_is_named_and_leaves_nothing_in_the_cache() {
    let laboratory = Laboratory::new();
    laboratory.write("bad.yaml", SMALL);
    let whole = fs::read(laboratory.path("data.hdf5")).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"not HDF5 at all", b""] {
        fs::write(laboratory.path("data.hdf5"), damaged).unwrap();
        refused(&laboratory, &["data.hdf5"]);
        let prepared = laboratory.path("cache/prepared");
        assert!(!prepared.exists() || fs::read_dir(prepared).unwrap().next().is_none());
    }
}

#[test]
fn the_name_of_an_index_that_is_not_there_is_refused() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    let output = laboratory.expect("profile small.yaml --index grahp", 2);
    assert!(stderr(&output).contains("exact, graph, lists"), "{}", text(&output));
}

#[test]
fn a_damaged_run_is_not_continued() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --quiet --no-report", 0);
    let path = laboratory.runs("small")[0].join("records.jsonl");
    fs::write(&path, "{\"schema_version\": 1, \"surprise\": {}}\n").unwrap();
    let output = laboratory.expect("run small.yaml --quiet --no-report", 2);
    assert!(stderr(&output).contains("records.jsonl:1"), "{}", text(&output));
}

#[test]
fn a_worker_started_by_hand_refuses_what_is_no_trial() {
    let laboratory = Laboratory::new();
    let output = laboratory.expect("worker nowhere.json", 2);
    assert!(stderr(&output).contains("nowhere.json"), "{}", text(&output));
    laboratory.write("trial.json", "{}");
    let output = laboratory.expect("worker trial.json", 2);
    assert!(stderr(&output).contains("trial.json is not a trial"), "{}", text(&output));
}

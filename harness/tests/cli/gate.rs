//! The exact gate: pass, regression, could not tell.

use std::fs;

use crate::laboratory::{Laboratory, stderr, stdout, text};

const GATE: &str = "gate --quiet --data data.hdf5 --golden gates/golden.json";

#[test]
fn what_was_blessed_passes_and_what_moves_is_named() {
    let laboratory = Laboratory::new();
    let output = laboratory.expect(GATE, 2);
    assert!(stderr(&output).contains("--bless"), "{}", text(&output));
    laboratory.expect(&format!("{GATE} --bless"), 0);
    laboratory.expect(GATE, 0);

    let path = laboratory.path("gates/golden.json");
    let golden = fs::read_to_string(&path).unwrap();
    for metric in ["digest", "recall_hits", "distance_computations", "hops", "index_bytes"] {
        assert!(golden.contains(&format!("\"{metric}\"")), "{golden}");
    }
    let mut value: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let hops = &mut value["cases"]["hnsw-l2"]["hops"];
    *hops = (hops.as_u64().unwrap() + 1).into();
    fs::write(&path, value.to_string()).unwrap();
    let output = laboratory.expect(&format!("{GATE} --markdown out/gate.md --junit out/gate.xml"), 1);
    assert!(stdout(&output).contains("regression"), "{}", text(&output));
    assert!(fs::read_to_string(laboratory.path("out/gate.md")).unwrap().contains("hops"));
    assert!(fs::read_to_string(laboratory.path("out/gate.xml")).unwrap().contains("failures=\"1\""));
}

#[test]
fn a_gate_without_its_data_is_not_a_pass() {
    let laboratory = Laboratory::new();
    laboratory.expect(&format!("{GATE} --bless"), 0);
    let output = laboratory.expect("gate --quiet --data nowhere.hdf5 --golden gates/golden.json", 2);
    assert!(stdout(&output).contains("could not tell"), "{}", text(&output));
    laboratory.expect("gate --quiet --data nowhere.hdf5 --golden gates/other.json --bless", 2);
    assert!(!laboratory.path("gates/other.json").exists());
}

#[test]
fn the_numbers_do_not_depend_on_the_kernels_asked_for() {
    let laboratory = Laboratory::new();
    laboratory.expect(&format!("{GATE} --bless"), 0);
    let output = laboratory.command(GATE).env("NEARLAB_SIMD", "portable").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

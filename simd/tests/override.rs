//! `NEARLAB_SIMD` in a process of its own: the choice is made once per process, so each case starts this test binary
//! again with the variable set.

use std::process::{Command, Output};

use nearlab_simd::{OVERRIDE_VARIABLE, available, kernels};

/// Set for the child alone, so that the reporting test does nothing in an ordinary run.
const CHILD_VARIABLE: &str = "NEARLAB_SIMD_TEST_CHILD";

fn child_with(value: Option<&str>) -> Output {
    let mut child = Command::new(std::env::current_exe().expect("the test binary has a path"));
    child.args(["--exact", "the_child_reports_its_tier", "--nocapture"]).env(CHILD_VARIABLE, "1");
    match value {
        Some(value) => child.env(OVERRIDE_VARIABLE, value),
        None => child.env_remove(OVERRIDE_VARIABLE),
    };
    child.output().expect("the test binary starts")
}

#[test]
fn the_child_reports_its_tier() {
    if std::env::var_os(CHILD_VARIABLE).is_some() {
        println!("dispatched to {}.", kernels().tier());
    }
}

#[test]
fn each_available_tier_can_be_named() {
    for candidate in available() {
        let output = child_with(Some(candidate.tier().as_str()));
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{stdout}");
        assert!(stdout.contains(&format!("dispatched to {}.", candidate.tier())), "{stdout}");
    }
}

#[test]
fn without_the_variable_the_best_tier_runs() {
    let output = child_with(None);
    let best = available().next().expect("portable is always there").tier();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("dispatched to {best}.")));
}

#[test]
fn an_unknown_value_stops_the_process_with_the_choices() {
    let output = child_with(Some("sse9"));
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("NEARLAB_SIMD=sse9: unknown instruction set \"sse9\""), "{stderr}");
    assert!(stderr.contains("the choices here are "), "{stderr}");
}

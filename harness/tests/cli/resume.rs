//! Killed in mid-sweep and run again: nothing is measured twice, nothing is lost.

use std::{collections::HashSet, fs};

use nearlab_reports::{
    record::{Event, Search},
    records,
};

use crate::laboratory::{Laboratory, SMALL, text, wait};

/// Enough measurements that the kill falls between them.
fn longer() -> String {
    SMALL.replace("repeats: 2", "repeats: 30")
}

const ALL: usize = 300;

fn searches(laboratory: &Laboratory, experiment: &str) -> Vec<Search> {
    let lines = records::read(&laboratory.runs(experiment)[0].join("records.jsonl")).unwrap();
    lines
        .into_iter()
        .filter_map(|line| if let Event::Search(search) = line.event { Some(search) } else { None })
        .collect()
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_stopped() {
    let laboratory = Laboratory::new();
    laboratory.write("killed.yaml", &longer());
    let mut survivors = Vec::new();
    for count in [3, 60] {
        let mut child = laboratory.start("run killed.yaml --no-report");
        laboratory.wait_for_searches("killed", count);
        child.kill().unwrap();
        assert!(!wait(child).success());
        let measured = searches(&laboratory, "killed");
        assert!((count..ALL).contains(&measured.len()), "{} measured when killed", measured.len());
        // What was there before is still there, untouched.
        assert_eq!(measured[..survivors.len()], survivors[..]);
        survivors = measured;
    }
    laboratory.expect("run killed.yaml --quiet --no-report", 0);

    let measured = searches(&laboratory, "killed");
    assert_eq!(measured[..survivors.len()], survivors[..]);
    let keys: HashSet<&str> = measured.iter().map(|search| search.key.as_str()).collect();
    assert_eq!((measured.len(), keys.len()), (ALL, ALL), "measured twice or lost");
    let run = laboratory.records("killed");
    assert_eq!(run.runs.iter().map(|run| run.session).collect::<Vec<_>>(), [1, 2, 3]);
    let trials: HashSet<&str> = run.builds.iter().map(|build| build.trial.as_str()).collect();
    assert_eq!((run.builds.len(), trials.len()), (3, 3), "a build was recorded twice");
    assert!(run.finished.is_some());
    for search in &run.searches {
        assert_eq!(fs::metadata(run.folder.join(&search.ids_file)).unwrap().len(), 1600);
    }
}

#[test]
fn a_torn_last_line_costs_one_measurement() {
    let laboratory = Laboratory::new();
    laboratory.write("torn.yaml", SMALL);
    laboratory.expect("run torn.yaml --quiet --no-report", 0);
    let path = laboratory.runs("torn")[0].join("records.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    // As if the power had gone while the last search was written.
    let last = lines.iter().rposition(|line| line.contains("\"search\":{\"key\"")).unwrap();
    let torn = lines[..last].join("\n") + "\n" + &lines[last][..40];
    fs::write(&path, torn).unwrap();
    laboratory.expect("run torn.yaml --quiet --no-report", 0);
    let measured = searches(&laboratory, "torn");
    let keys: HashSet<&str> = measured.iter().map(|search| search.key.as_str()).collect();
    assert_eq!((measured.len(), keys.len()), (20, 20));
}

#[test]
fn another_question_or_another_data_set_is_another_run() {
    let laboratory = Laboratory::new();
    laboratory.write("moving.yaml", SMALL);
    laboratory.expect("run moving.yaml --quiet --no-report", 0);
    laboratory.write("moving.yaml", &SMALL.replace("nprobe: [1, 16]", "nprobe: [2, 16]"));
    laboratory.expect("run moving.yaml --quiet --no-report", 0);
    assert_eq!(laboratory.runs("moving").len(), 2);
    laboratory.expect("datasets synth clustered -n 1000 -d 12 --queries 40 -k 20 --seed 8 --out data.hdf5", 0);
    laboratory.expect("run moving.yaml --quiet --no-report", 0);
    assert_eq!(laboratory.runs("moving").len(), 3);
}

/// Records other words in the place of some, and one search of the graph less, so that it has to be built again.
fn rewrite(laboratory: &Laboratory, experiment: &str, from: &str, to: &str) {
    let path = laboratory.runs(experiment)[0].join("records.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    assert!(whole.contains(from), "{from}");
    let mut lines: Vec<String> = whole.lines().map(|line| line.replace(from, to)).collect();
    let position =
        lines.iter().rposition(|line| line.contains("\"search\":{\"key\"") && line.contains("\"graph\"")).unwrap();
    lines.remove(position);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_rebuilt_index_that_differs_is_an_error() {
    let laboratory = Laboratory::new();
    laboratory.write("digest.yaml", SMALL);
    laboratory.expect("run digest.yaml --quiet --no-report", 0);
    let digest = laboratory
        .records("digest")
        .builds
        .iter()
        .find(|build| build.index == "graph")
        .unwrap()
        .digest
        .clone()
        .unwrap();
    let other = if digest.starts_with('0') { digest.replacen('0', "1", 1) } else { format!("0{}", &digest[1..]) };
    rewrite(&laboratory, "digest", &digest, &other);
    let output = laboratory.run("run digest.yaml --quiet --no-report");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains(&digest) && text(&output).contains(&other), "{}", text(&output));
}

#[test]
fn another_version_of_the_library_is_another_run() {
    let laboratory = Laboratory::new();
    laboratory.write("library.yaml", SMALL);
    laboratory.expect("run library.yaml --quiet --no-report", 0);
    let library = laboratory.records("library").builds[0].library.clone();
    rewrite(&laboratory, "library", &format!("\"library\":\"{library}\""), "\"library\":\"nearlab of old\"");
    let output = laboratory.expect("run library.yaml --quiet --no-report", 2);
    for words in ["expected nearlab of old on ", &format!("found {library} on "), "--new"] {
        assert!(text(&output).contains(words), "{words}\n{}", text(&output));
    }
    assert_eq!(searches(&laboratory, "library").len(), 19, "nothing is measured on it");
}

#[test]
fn what_is_expected_now_is_held_against_what_was_measured_before() {
    let laboratory = Laboratory::new();
    laboratory.write("judged.yaml", SMALL);
    laboratory.expect("run judged.yaml --quiet --no-report", 0);
    laboratory.write("judged.yaml", &SMALL.replace("recall_at_10 >= 0.5", "recall_at_10 >= 1.5"));
    let output = laboratory.expect("run judged.yaml --quiet --no-report", 1);
    assert!(text(&output).contains("NOT MET"), "{}", text(&output));
    let run = laboratory.records("judged");
    assert_eq!((run.searches.len(), run.builds.len(), run.runs.len()), (20, 3, 2), "nothing is measured again");
    assert!(fs::read_to_string(run.folder.join("experiment.yaml")).unwrap().contains("recall_at_10 >= 1.5"));
    // That verdict stays until the file changes once more.
    let output = laboratory.expect("run judged.yaml --quiet --no-report", 1);
    assert!(text(&output).contains("complete already") && text(&output).contains("NOT MET"), "{}", text(&output));
    laboratory.write("judged.yaml", SMALL);
    laboratory.expect("run judged.yaml --quiet --no-report", 0);
    assert_eq!(laboratory.records("judged").runs.len(), 3);
}

#[test]
fn a_rule_in_other_words_rejects_no_point_twice() {
    let laboratory = Laboratory::new();
    laboratory.write("worded.yaml", SMALL);
    laboratory.expect("run worded.yaml --quiet --no-report", 0);
    for (session, rule) in [(2, "k <= ef_search"), (3, "ef_search >= k")] {
        laboratory.write("worded.yaml", &SMALL.replace("ef_search >= k", rule));
        laboratory.expect("run worded.yaml --quiet --no-report", 0);
        let run = laboratory.records("worded");
        let rules: Vec<&str> = run.rejected.iter().map(|rejected| rejected.rule.as_str()).collect();
        assert_eq!((run.runs.len(), run.searches.len(), rules), (session, 20, vec![rule]));
    }
}

#[test]
fn two_sessions_cannot_share_a_run() {
    let laboratory = Laboratory::new();
    laboratory.write("shared.yaml", &longer());
    let mut child = laboratory.start("run shared.yaml --no-report");
    laboratory.wait_for_searches("shared", 1);
    let output = laboratory.run("run shared.yaml --quiet --no-report");
    child.kill().unwrap();
    wait(child);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("another session"), "{}", text(&output));
}

//! A whole experiment, from YAML to report.

use std::collections::HashSet;

use nearlab_reports::record::{Event, ExpectationOutcome, Line};

use crate::laboratory::{Laboratory, SMALL, read_ids, stderr, stdout, text};

#[test]
fn an_experiment_is_measured_judged_and_reported() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    let output = laboratory.expect("run small.yaml", 0);
    assert!(stdout(&output).contains("report: "), "{}", text(&output));

    let run = laboratory.records("small");
    assert_eq!((run.builds.len(), run.searches.len()), (3, 20));
    assert_eq!(run.session().planned_searches, 20);
    let keys: HashSet<&str> = run.searches.iter().map(|search| search.key.as_str()).collect();
    assert_eq!(keys.len(), 20);
    // One of three values of ef_search is below k.
    assert_eq!(run.rejected.len(), 1);
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    let finished = run.finished.as_ref().unwrap();
    assert_eq!(finished.expectations.len(), 3);
    assert!(finished.expectations.iter().all(|one| one.outcome == ExpectationOutcome::Met), "{finished:?}");

    for build in &run.builds {
        assert!(build.digest.is_some() && build.index_bytes.is_some_and(|bytes| bytes > 0), "{build:?}");
        assert!(build.peak_rss_anon_bytes.is_some(), "{build:?}");
    }
    for search in &run.searches {
        assert_eq!((search.queries, search.latency_ns.is_some()), (40, search.mode == "latency"));
        assert_eq!(read_ids(&run.folder.join(&search.ids_file)).len(), 400);
        assert!(search.counters.is_some_and(|counters| counters.distance_computations > 0));
        assert!(search.recall.ties >= search.recall.strict);
    }
    for file in ["experiment.yaml", "results.parquet", "results.csv", "report/index.html", "report/report.md"] {
        assert!(run.folder.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    let leftovers: Vec<_> = std::fs::read_dir(run.folder.join("samples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".ids.bin") && !name.ends_with(".ns.bin"))
        .collect();
    assert_eq!(leftovers, Vec::<String>::new());
}

#[test]
fn one_index_answers_both_workloads_alike_and_probing_all_lists_is_exact() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --quiet --no-report", 0);
    let run = laboratory.records("small");
    let exact = run.searches.iter().find(|search| search.index == "exact").unwrap();
    let truth = read_ids(&run.folder.join(&exact.ids_file));
    for search in &run.searches {
        let ids = read_ids(&run.folder.join(&search.ids_file));
        if search.index == "exact" || search.params.get("nprobe").is_some_and(|nprobe| nprobe == 16) {
            assert_eq!(ids, truth, "{} {:?}", search.index, search.params);
            assert_eq!(search.recall.strict, 1.0);
        }
        // Latency and throughput, every repeat: the same point, the same answers.
        let twins = run.searches.iter().filter(|twin| twin.trial == search.trial && twin.params == search.params);
        for twin in twins {
            assert_eq!(twin.recall, search.recall);
        }
    }
}

#[test]
fn a_complete_run_is_not_measured_again_unless_asked() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --quiet", 0);
    let records = laboratory.runs("small")[0].join("records.jsonl");
    let before = std::fs::read(&records).unwrap();
    std::fs::remove_dir_all(laboratory.runs("small")[0].join("report")).unwrap();
    let output = laboratory.expect("run small.yaml --quiet", 0);
    assert!(stdout(&output).contains("complete already"), "{}", text(&output));
    assert_eq!(std::fs::read(&records).unwrap(), before);
    assert!(laboratory.runs("small")[0].join("report/index.html").is_file());
    laboratory.expect("run small.yaml --quiet --new", 0);
    assert_eq!(laboratory.runs("small").len(), 2);
}

#[test]
fn taking_turns_measures_the_same_points() {
    let laboratory = Laboratory::new();
    laboratory.write("turns.yaml", &SMALL.replace("order: shuffled", "order: interleaved"));
    laboratory.expect("run turns.yaml --quiet --no-report", 0);
    let run = laboratory.records("turns");
    assert_eq!((run.builds.len(), run.searches.len()), (3, 20));
    let switches = run.searches.windows(2).filter(|pair| pair[0].trial != pair[1].trial).count();
    assert!(switches >= 5, "only {switches} changes of trial");
}

#[test]
fn an_expectation_that_does_not_hold_is_exit_status_one() {
    let laboratory = Laboratory::new();
    let hopeful = SMALL.replace("recall_at_10 >= 0.5: {index: graph}", "qps > 1e15: {index: graph}");
    laboratory.write("hopeful.yaml", &hopeful);
    let output = laboratory.expect("run hopeful.yaml --quiet --no-report", 1);
    assert!(stdout(&output).contains("NOT MET"), "{}", text(&output));
    // Once complete, it still does not hold.
    laboratory.expect("run hopeful.yaml --quiet --no-report", 1);
}

#[test]
fn json_is_the_records_and_nothing_else() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    let output = laboratory.expect("run small.yaml --json --no-report", 0);
    let events: Vec<Event> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str::<Line>(line).unwrap_or_else(|error| panic!("{error}: {line}")).event)
        .collect();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Search(_))).count(), 20);
    assert!(matches!(events.first(), Some(Event::Run(_))) && matches!(events.last(), Some(Event::Finished(_))));
}

#[test]
fn a_plan_names_every_point_and_measures_nothing() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    let output = laboratory.expect("run small.yaml --plan", 0);
    let plan = stdout(&output);
    assert!(plan.contains("ef_search") && plan.contains("nprobe") && plan.contains("ef_search >= k"), "{plan}");
    assert!(laboratory.runs("small").is_empty());
}

#[test]
fn a_plan_of_a_public_data_set_fetches_nothing() {
    let laboratory = Laboratory::new();
    laboratory.write("public.yaml", &SMALL.replace("use: data.hdf5", "use: sift-128-euclidean, limit: 500000"));
    let output = laboratory.expect("run public.yaml --plan", 0);
    assert!(stdout(&output).contains("500") && !laboratory.path("cache").exists(), "{}", text(&output));
}

#[test]
fn several_runs_are_reported_together_and_compared() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --quiet --no-report", 0);
    laboratory.expect("run small.yaml --quiet --no-report --new", 0);
    let runs = laboratory.runs("small");
    let both = format!("{} {}", runs[0].display(), runs[1].display());
    laboratory.expect(&format!("report {both} --out together"), 0);
    assert!(laboratory.path("together/index.html").is_file());
    let output = laboratory.expect(&format!("report {both}"), 2);
    assert!(stderr(&output).contains("--out"), "{}", text(&output));
    let output = laboratory.expect(&format!("compare {both}"), 0);
    assert!(stdout(&output).contains("graph"), "{}", text(&output));
    laboratory.expect(&format!("compare {both} --markdown"), 0);
    let output = laboratory.expect("report nowhere", 2);
    assert!(stderr(&output).contains("not a run folder"), "{}", text(&output));
}

#[test]
fn help_and_schema_are_printed() {
    let laboratory = Laboratory::new();
    for command in ["run", "check", "schema", "report", "compare", "profile", "gate", "datasets", "worker", "export"] {
        let output = laboratory.expect(&format!("{command} --help"), 0);
        assert!(stdout(&output).contains("Usage:"), "{command}");
    }
    let schema = stdout(&laboratory.expect("schema", 0));
    assert!(serde_json::from_str::<serde_json::Value>(&schema).unwrap().is_object());
}

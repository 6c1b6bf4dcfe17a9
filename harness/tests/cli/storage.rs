//! Experiments about stores, from YAML to report.

use std::{fmt::Write as _, fs, process::Stdio};

use nearlab_reports::{
    record::{ExpectationOutcome, Outcome},
    run::RunData,
};

use crate::laboratory::{Laboratory, stderr, stdout, text, wait, wait_until};

const STORAGE: &str = "
question: What does a store cost?
dataset: {use: data.hdf5}
stores:
  - {name: ours, kind: store, element: [f32, f16]}
  - {name: plain, kind: plain_file, element: [f32, f16]}
workloads:
  - {name: load, mode: bulk_load, batch: 100, durability: [none, sync]}
  - {name: points, mode: point_read, ids: 500, batch: [1, 64]}
  - {name: compact, mode: compaction, delete: 0.4, ids: 200}
  - {name: open, mode: reopen}
  - {name: fields, mode: filter, rows: 2000, filters: ['price < 30', 'color == \"red\" and not sold']}
measure: {repeats: 2, order: interleaved, timeout: 60s}
expect:
  load_ratio > 0: {store: ours, at: {durability: sync}}
  found >= 100: {store: ours, workload: fields}
  read_ratio > 1000000: {store: ours}
  freed_bytes > 1: {store: plain, at: {element: f64}}
";

/// Loads 2 x 2, reads 1 of 2 points, compactions 1 of 2, openings 2, each in two elements; fields of 3 points.
const POINTS: usize = 2 * (2 * (2 + 2 + 2 + 2) + 3);

#[test]
fn an_experiment_about_stores_is_measured_judged_and_reported() {
    let laboratory = Laboratory::new();
    laboratory.write("disk.yaml", STORAGE);
    let checked = laboratory.expect("check disk.yaml", 0);
    assert!(stdout(&checked).contains(&format!("{} measurements", 2 * POINTS)), "{}", text(&checked));
    let plan = laboratory.expect("run disk.yaml --plan", 0);
    assert!(stdout(&plan).contains("disk needed at once"), "{}", text(&plan));
    // One rule is not met, one speaks of nothing.
    let output = laboratory.expect("run disk.yaml", 1);
    let said = stdout(&output);
    for words in
        ["Beside plain, ours reaches", "load_ratio > 0 (store ours, durability sync): met", "NOT MET", "NO DATA"]
    {
        assert!(said.contains(words), "{words}\n{}", text(&output));
    }
    let run = laboratory.records("disk");
    assert_eq!(run.stored.len(), 2 * POINTS, "{:?}", run.failures);
    assert!(run.failures.is_empty() && run.searches.is_empty() && run.dataset.is_none());
    let head = run.storage.as_ref().unwrap();
    assert!(head.datasets.len() == 1 && head.disk.free_bytes > 0 && head.disk.sync_ns.is_some());
    let outcomes: Vec<_> = run.finished.as_ref().unwrap().expectations.iter().map(|one| one.outcome).collect();
    assert_eq!(
        outcomes,
        [ExpectationOutcome::Met, ExpectationOutcome::Met, ExpectationOutcome::NotMet, ExpectationOutcome::NoData]
    );
    figures_make_sense(&run);
    assert!(!run.folder.join("scratch").exists());
    for file in ["results.parquet", "results.csv", "report/index.html", "report/report.md"] {
        assert!(run.folder.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    let report = fs::read_to_string(run.folder.join("report/report.md")).unwrap();
    for words in ["storage-load-bulk-load.png", "× plain", "### Disk", "freed_bytes"] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    let rendered = laboratory.expect(&format!("report {}", run.folder.display()), 0);
    assert!(stdout(&rendered).contains("Beside plain"), "{}", text(&rendered));
    let folder = run.folder.display();
    let compared = laboratory.expect(&format!("compare {folder} {folder}"), 2);
    assert!(stderr(&compared).contains("runs about stores stand side by side"), "{}", text(&compared));
    let both = laboratory.expect(&format!("report {folder} {folder} --out both"), 0);
    assert!(stdout(&both).contains("Beside plain"), "{}", text(&both));
    // Complete: nothing is measured again.
    let again = laboratory.expect("run disk.yaml --quiet", 1);
    assert!(stdout(&again).contains("complete already"), "{}", text(&again));
    assert_eq!(laboratory.records("disk").stored.len(), 2 * POINTS);
}

fn figures_make_sense(run: &RunData) {
    for stored in &run.stored {
        let (figures, name) = (&stored.figures, format!("{} {} {:?}", stored.store, stored.workload, stored.params));
        assert!(figures.wall_seconds > 0.0 && stored.rows_per_second > 0.0, "{name}");
        let bytes = if stored.element.as_deref() == Some("f16") { 24 } else { 48 };
        match stored.mode.as_str() {
            "bulk_load" => {
                assert_eq!((figures.rows, figures.bytes, figures.calls), (1000, 1000 * bytes, 10), "{name}");
                assert!(figures.disk_bytes.unwrap() >= figures.bytes && figures.sync_seconds.is_some(), "{name}");
            }
            "point_read" => assert_eq!((figures.rows, stored.latency_ns.is_some()), (500, true), "{name}"),
            "compaction" if stored.params["phase"] == "during" => {
                assert_eq!(figures.rows, 600, "{name}");
                assert!(figures.freed_bytes.is_some() && figures.calls > 0, "{name}");
            }
            "compaction" => assert_eq!(figures.rows, 200, "{name}"),
            "reopen" => assert_eq!((figures.rows, figures.calls), (1000, 1), "{name}"),
            _ => assert_eq!(figures.found.is_some(), stored.params["phase"] == "filter", "{name}"),
        }
        assert!(stored.mode == "filter" || stored.checked_rows > 0, "{name}");
        let timed = stored.mode != "reopen" && stored.params.get("phase").is_none_or(|phase| phase != "load");
        assert!(!timed || stored.samples_file.is_some(), "{name}");
    }
}

/// A store in thirty lines, and what it does wrong.
const FAKE: &str = r#"
import json, struct, sys
trial = json.load(open(sys.argv[-1]))
def say(message):
    print(json.dumps(message), flush=True)
say({"hello": {"protocol": 1, "library": "fake 1"}})
matrix = trial["train"]
def load(change=lambda rows: rows, seconds=0.5, points=1):
    with open(matrix["path"], "rb") as file:
        file.seek(matrix["offset"])
        rows = file.read(matrix["n"] * matrix["d"] * 4)
    size = matrix["d"] * 4
    with open(trial["samples"] + ".rows.bin", "wb") as file:
        file.write(change(b"".join(rows[i * size:][:size] for i in trial["check"])))
    say({"stored": {"points": [{"rows": matrix["n"], "bytes": len(rows), "calls": 1, "wall_seconds": seconds}] * points}})
    sys.stdin.readline()
"#;

fn with_fakes(laboratory: &Laboratory, fakes: &[(&str, &str)]) -> String {
    let mut stores = String::new();
    for (name, act) in fakes {
        laboratory.write(&format!("{name}.py"), &format!("{FAKE}\n{act}\n"));
        writeln!(stores, "  - {{name: {name}, kind: external, worker: {name}.py}}").unwrap();
    }
    format!(
        "question: What breaks?\ndataset: {{use: data.hdf5}}\nstores:\n{stores}  - {{name: plain, kind: plain_file}}\n\
         workloads: [{{name: load, mode: bulk_load}}]\nmeasure: {{repeats: 1, timeout: 60s}}\n"
    )
}

#[test]
fn what_a_worker_read_wrongly_is_no_result_and_the_run_goes_on() {
    let laboratory = Laboratory::new();
    let fakes = [
        ("honest", "load()"),
        ("forgets", "load(lambda rows: bytes(len(rows)))"),
        ("short", "load(lambda rows: rows[:-1])"),
        ("torn", "open(trial['samples'] + '.0.ns.bin', 'wb').write(bytes(7)); load()"),
        ("generous", "open(trial['samples'] + '.0.ns.bin', 'wb').write(bytes(16)); load()"),
        ("timeless", "load(seconds=0)"),
        ("talkative", "load(points=2)"),
        ("chatty", "say({'exit': {}})"),
        ("refuses", "say({'failed': {'stage': 'store', 'message': 'no room'}})"),
        ("absent", "say({'failed': {'stage': 'missing', 'message': 'install it'}})"),
        ("dies", "sys.exit(3)"),
    ];
    let yaml = with_fakes(&laboratory, &fakes);
    laboratory.write("broken.yaml", &yaml);
    let output = laboratory.expect("run broken.yaml --quiet --no-report", 0);
    assert!(stdout(&output).contains("not measured: forgets"), "{}", text(&output));
    let run = laboratory.records("broken");
    let mut stores: Vec<&str> = run.stored.iter().map(|stored| stored.store.as_str()).collect();
    stores.sort_unstable();
    assert_eq!(stores, ["honest", "plain"]);
    for (name, outcome, words) in [
        ("forgets", Outcome::Failed, "is not the row that was written"),
        ("short", Outcome::Failed, "rows to compare, found"),
        ("torn", Outcome::Protocol, ".0.ns.bin has 7 bytes"),
        ("generous", Outcome::Protocol, "has 16 bytes, expected 8 for each call of 1"),
        ("timeless", Outcome::Failed, "not above 0"),
        ("talkative", Outcome::Protocol, "2 points, expected 1"),
        ("chatty", Outcome::Protocol, "not a reply"),
        ("refuses", Outcome::Failed, "no room"),
        ("absent", Outcome::Missing, "install it"),
        ("dies", Outcome::Crashed, "status 3"),
    ] {
        let failure = run.failures.iter().find(|failure| failure.index == name).unwrap();
        assert_eq!(failure.outcome, outcome, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
    }
    // What was measured stays; what failed is tried again when it is asked for.
    laboratory.expect("run broken.yaml --quiet --no-report --retry-failed", 0);
    assert_eq!(laboratory.records("broken").stored.len(), 2);
}

#[test]
fn a_second_session_leaves_what_the_first_one_writes_alone() {
    let laboratory = Laboratory::new();
    let patient = "import os, time\nopen('begun', 'w').close()\n\
                   while not os.path.exists('go'): time.sleep(0.002)\n\
                   if not os.path.isdir(trial['folder']): sys.exit('the folder is gone')\nload()";
    laboratory.write("shared.yaml", &with_fakes(&laboratory, &[("patient", patient)]));
    let child = laboratory.start("run shared.yaml --no-report");
    wait_until(|| laboratory.path("begun").exists());
    let refused = laboratory.expect("run shared.yaml --quiet --no-report", 2);
    assert!(stderr(&refused).contains("another session"), "{}", text(&refused));
    laboratory.write("go", "");
    assert!(wait(child).success());
    let run = laboratory.records("shared");
    assert!(run.failures.is_empty() && run.stored.len() == 2, "{:?}", run.failures);
    assert!(!run.folder.join("scratch").exists());
}

#[test]
fn another_version_of_a_store_is_another_run() {
    // Another repeat of what was measured, and another trial of the same store.
    for (one, two) in [("repeats: 1", "repeats: 2"), ("mode: bulk_load", "mode: bulk_load, batch: [100, 200]")] {
        let laboratory = Laboratory::new();
        let yaml = with_fakes(&laboratory, &[("honest", "load()")]).replace(one, two);
        laboratory.write("library.yaml", &yaml);
        laboratory.expect("run library.yaml --quiet --no-report", 0);
        let path = laboratory.records("library").folder.join("records.jsonl");
        let whole = fs::read_to_string(&path).unwrap().replace("\"library\":\"fake 1\"", "\"library\":\"fake 0\"");
        let mut lines: Vec<&str> = whole.lines().collect();
        // One of two measurements is missing.
        lines.remove(lines.iter().rposition(|line| line.contains("\"store\":\"honest\"")).unwrap());
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let output = laboratory.expect("run library.yaml --quiet --no-report", 2);
        assert!(stderr(&output).contains("expected fake 0, found fake 1"), "{two}\n{}", text(&output));
        assert_eq!(laboratory.records("library").stored.len(), 3, "{two}");
    }
}

#[test]
fn a_store_whose_worker_is_edited_during_a_run_is_not_taken_for_the_one_before() {
    let laboratory = Laboratory::new();
    let patient = "import os, time\nopen('begun', 'w').close()\n\
                   while not os.path.exists('go'): time.sleep(0.002)\nload()";
    let yaml = with_fakes(&laboratory, &[("patient", patient), ("honest", "load()")]);
    laboratory.write("edited.yaml", &yaml.replace("repeats: 1", "repeats: 1, order: sequential"));
    let mut command = laboratory.command("run edited.yaml --quiet --no-report");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| laboratory.path("begun").exists());
    laboratory.write("loops.py", "PASSES = 2\n");
    laboratory.write("go", "");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(stderr(&output).contains("has changed since the run began"), "{}", text(&output));
    let run = laboratory.records("edited");
    assert!(run.failures.is_empty() && run.stored.iter().all(|stored| stored.store == "patient"), "{run:?}");
}

#[test]
fn what_is_expected_of_stores_now_is_held_against_what_was_measured_before() {
    let laboratory = Laboratory::new();
    let expecting = |least: &str| {
        with_fakes(&laboratory, &[]) + &format!("expect:\n  rows_per_second > {least}: {{store: plain}}\n")
    };
    laboratory.write("judged.yaml", &expecting("0"));
    laboratory.expect("run judged.yaml --quiet --no-report", 0);
    laboratory.write("judged.yaml", &expecting("1000000000000"));
    let output = laboratory.expect("run judged.yaml --quiet --no-report", 1);
    assert!(stdout(&output).contains("NOT MET"), "{}", text(&output));
    let run = laboratory.records("judged");
    assert_eq!((run.stored.len(), run.runs.len()), (1, 2), "nothing is measured again");
    let output = laboratory.expect("run judged.yaml --quiet --no-report", 1);
    assert!(stdout(&output).contains("complete already"), "{}", text(&output));
}

/// Begins a trial and never ends it.
const ENDLESS: &str = r#"
import importlib.util, os, time
spec = importlib.util.spec_from_file_location("base", BASE)
base = importlib.util.module_from_spec(spec)
spec.loader.exec_module(base)
class Endless(base.Store):
    def load(self):
        return "endless 1"
    def create(self, folder, d, durability):
        with open("pid.tmp", "w") as file:
            file.write(str(os.getpid()))
        os.rename("pid.tmp", "pid")
        time.sleep(600)
base.main(Endless())
"#;

#[test]
#[cfg(target_os = "linux")]
fn a_python_worker_does_not_outlive_a_harness_that_is_killed() {
    let laboratory = Laboratory::new();
    laboratory.write("killed.yaml", &with_fakes(&laboratory, &[("endless", "")]));
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/workers/nearlab_store_worker.py");
    laboratory.write("endless.py", &ENDLESS.replace("BASE", &format!("{base:?}")));
    let mut child = laboratory.start("run killed.yaml --no-report");
    wait_until(|| laboratory.path("pid").exists());
    child.kill().unwrap();
    wait(child);
    let worker = fs::read_to_string(laboratory.path("pid")).unwrap();
    wait_until(|| !std::path::Path::new("/proc").join(&worker).exists());
}

#[test]
fn two_data_sets_of_one_name_are_refused() {
    let laboratory = Laboratory::new();
    let twice = "[{use: data.hdf5}, {use: data.hdf5, limit: 500}]";
    laboratory.write("twice.yaml", &with_fakes(&laboratory, &[]).replace("{use: data.hdf5}", twice));
    let refused = laboratory.expect("run twice.yaml --quiet", 2);
    assert!(
        stderr(&refused).contains("twice.yaml:2:") && stderr(&refused).contains("another name"),
        "{}",
        text(&refused)
    );
    assert!(laboratory.runs("twice").is_empty());
}

#[test]
fn a_foreign_store_goes_through_every_mode() {
    let laboratory = Laboratory::new();
    let workers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("workers");
    let worker = workers.join("sqlite_store.py");
    let yaml = STORAGE
        .replace(
            "  - {name: ours, kind: store, element: [f32, f16]}\n",
            &format!(
                "  - {{name: foreign, kind: external, worker: {}, durability: [none, flush, sync]}}\n",
                worker.display()
            ),
        )
        .replace("plain_file, element: [f32, f16]", "plain_file")
        .replace("repeats: 2", "repeats: 1");
    let yaml = format!("{}\n", yaml.split("expect:").next().unwrap());
    laboratory.write("foreign.yaml", &yaml);
    laboratory.expect("run foreign.yaml --quiet", 0);
    let run = laboratory.records("foreign");
    if run.failures.iter().any(|failure| failure.outcome == Outcome::Missing) {
        // No Python here, or one without SQLite.
        return;
    }
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    assert_eq!(run.stored.iter().filter(|stored| stored.store == "foreign").count(), 2 + 2 + 2 + 2 + 3);
    let text = fs::read_to_string(run.folder.join("report/report.md")).unwrap();
    assert!(text.contains("SQLite") || text.contains("foreign"), "{text}");
}

#[test]
fn what_an_experiment_about_stores_has_not_is_said() {
    let laboratory = Laboratory::new();
    laboratory.write("disk.yaml", STORAGE);
    let refused = laboratory.expect("profile disk.yaml", 2);
    assert!(stderr(&refused).contains("profiles are taken of indexes"), "{}", text(&refused));
    laboratory
        .write("huge.yaml", &STORAGE.replace("rows: 2000", "rows: 100000000").replace("repeats: 2", "repeats: 1"));
    let plan = laboratory.expect("run huge.yaml --plan", 0);
    assert!(stdout(&plan).contains("GiB") || stdout(&plan).contains("GB"), "{}", text(&plan));
}

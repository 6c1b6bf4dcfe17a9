use nearlab_reports::{
    record::{Event, Failure, Latency, Line, Outcome, Params, Rejected, Run, SCHEMA_VERSION},
    render,
    run::RunData,
    storage::{self, Disk, StorageHead, StoreFigures, Stored},
    summary::Summary,
    table::{Cells, Table},
};
use serde_json::Value;

use crate::fixture;

fn params(pairs: &[(&str, Value)]) -> Params {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn latency(p50: u64) -> Latency {
    Latency { mean: p50 as f64, p50, p90: p50 * 2, p95: p50 * 2, p99: p50 * 4, p999: p50 * 8, max: p50 * 9 }
}

fn head() -> StorageHead {
    let disk = Disk {
        device: Some("/dev/example".into()),
        file_system: Some("ext4".into()),
        mount_options: None,
        rotational: Some(false),
        total_bytes: 1 << 40,
        free_bytes: 1 << 39,
        sync_ns: Some(latency(900_000)),
        syncs: 64,
    };
    let second = nearlab_reports::record::Dataset { name: "openai-like".into(), d: 1536, ..fixture::dataset() };
    StorageHead { disk, datasets: vec![fixture::dataset(), second] }
}

/// Three repeats of a point: the middle one is the median.
fn point(store: (&str, &str), element: Option<&str>, work: (&str, &str), at: &Params, seconds: f64) -> Vec<Stored> {
    let filter = work.1 == "filter";
    [1.1, 1.0, 0.8]
        .into_iter()
        .enumerate()
        .map(|(repeat, factor)| Stored {
            key: format!("{}-{element:?}-{}-{at:?}-{repeat}", store.0, work.0),
            trial: format!("{}-{element:?}-{}-{at:?}", store.0, work.0),
            dataset: (!filter).then(|| fixture::dataset().name),
            d: (!filter).then_some(128),
            store: store.0.into(),
            kind: store.1.into(),
            element: element.map(str::to_owned),
            library: "a library 1.0".into(),
            workload: work.0.into(),
            mode: work.1.into(),
            params: at.clone(),
            repeat: repeat as u32,
            order: repeat as u64,
            figures: StoreFigures {
                rows: 20_000,
                bytes: 20_000 * 512,
                calls: 2,
                wall_seconds: seconds * factor,
                cpu_seconds: Some(seconds / 2.0),
                sync_seconds: (work.1 == "bulk_load").then_some(seconds / 4.0),
                disk_bytes: (work.1 == "bulk_load").then_some(11_000_000),
                freed_bytes: (work.1 == "compaction").then_some(3_000_000),
                found: filter.then_some(77),
            },
            rows_per_second: 20_000.0 / (seconds * factor),
            latency_ns: (work.1 != "reopen").then(|| latency(1_000)),
            checked_rows: 200,
            peak_rss_anon_bytes: Some(1 << 20),
            peak_rss_file_bytes: None,
            samples_file: None,
        })
        .collect()
}

fn events() -> Vec<Event> {
    let session = Run { baseline: Some("plain file".into()), planned_searches: 30, ..fixture::session(1) };
    let mut events = vec![Event::Run(session), Event::Storage(head())];
    let (ours, plain, foreign) = (("nearlab", "store"), ("plain file", "plain_file"), ("sqlite", "external"));
    let load = |durability: &str| params(&[("batch", 10_000.into()), ("durability", durability.into())]);
    let mut add = |stored: Vec<Stored>| events.extend(stored.into_iter().map(Event::Stored));
    for (durability, factor) in [("none", 1.0), ("sync", 3.0)] {
        add(point(ours, Some("f32"), ("load", "bulk_load"), &load(durability), 0.02 * factor));
        add(point(plain, Some("f32"), ("load", "bulk_load"), &load(durability), 0.01 * factor));
    }
    add(point(ours, Some("f16"), ("load", "bulk_load"), &load("none"), 0.016));
    add(point(foreign, Some("f32"), ("load", "bulk_load"), &load("none"), 0.2));
    let read = || params(&[("batch", 64.into())]);
    add(point(ours, Some("f32"), ("points", "point_read"), &read(), 0.005));
    add(point(plain, Some("f32"), ("points", "point_read"), &read(), 0.002));
    for phase in ["before", "during"] {
        add(point(
            ours,
            Some("f32"),
            ("compact", "compaction"),
            &params(&[("delete", 0.3.into()), ("phase", phase.into())]),
            0.1,
        ));
    }
    let filter = || params(&[("filter", "price < 30".into()), ("phase", "filter".into())]);
    add(point(ours, None, ("fields", "filter"), &filter(), 0.001));
    add(point(plain, None, ("fields", "filter"), &filter(), 0.01));
    events.push(Event::Failure(Failure {
        trial: "lancedb".into(),
        key: None,
        index: "lancedb".into(),
        params: params(&[("mode", "bulk_load".into()), ("element", "f32".into())]),
        search: Some(load("none")),
        workload: Some("load".into()),
        filter: None,
        stage: "repeat 1".into(),
        outcome: Outcome::Missing,
        message: "python has no module named lancedb".into(),
    }));
    events.push(Event::Rejected(Rejected {
        index: "sqlite".into(),
        params: load("sync"),
        search: None,
        k: None,
        rule: "it does not offer durability sync".into(),
    }));
    events.push(fixture::finished());
    events
}

fn written(folder: &std::path::Path) -> RunData {
    loaded(folder, events().into_iter())
}

fn loaded(folder: &std::path::Path, events: impl Iterator<Item = Event>) -> RunData {
    let lines: Vec<String> =
        events.map(|event| serde_json::to_string(&Line { schema_version: SCHEMA_VERSION, event }).unwrap()).collect();
    std::fs::write(folder.join("records.jsonl"), lines.join("\n") + "\n").unwrap();
    RunData::load(folder).unwrap()
}

#[test]
fn a_repeat_that_was_measured_makes_up_for_its_failure_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let stored = point(("nearlab", "store"), Some("f32"), ("load", "bulk_load"), &Params::new(), 0.1);
    let failed = |repeat: u32| {
        Event::Failure(Failure {
            trial: stored[0].trial.clone(),
            key: None,
            index: "nearlab".into(),
            params: Params::new(),
            search: None,
            workload: Some("load".into()),
            filter: None,
            stage: format!("repeat {repeat}"),
            outcome: Outcome::Crashed,
            message: "signal 11".into(),
        })
    };
    let events = [
        Event::Run(fixture::session(1)),
        Event::Storage(head()),
        failed(1),
        failed(2),
        Event::Stored(stored[0].clone()),
    ];
    let run = loaded(folder.path(), events.into_iter());
    let stages: Vec<&str> = run.failures.iter().map(|failure| failure.stage.as_str()).collect();
    assert_eq!(stages, ["repeat 2"]);
}

#[test]
fn a_report_about_stores_says_how_each_stands_to_the_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let run = written(folder.path());
    Table::of(std::slice::from_ref(&run)).write(folder.path()).unwrap();
    let done = render(std::slice::from_ref(&run), &folder.path().join("report")).unwrap();
    insta::assert_snapshot!("storage_markdown", std::fs::read_to_string(done.markdown).unwrap());
    let page = std::fs::read_to_string(done.html).unwrap();
    for words in ["<h2>Storage</h2>", "id=\"storage\"", "× plain file", "/dev/example", "storage-load"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("id=\"frontier\"") && done.plots.len() == 2 * 4, "{:?}", done.plots);
}

#[test]
fn ratios_compare_medians_at_the_same_point() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [written(folder.path())];
    let points = storage::gather(&runs);
    let ratio = |store: &str, element: Option<&str>, name: &str, value: Value| {
        let found = points.iter().find(|point| {
            let first = point.first();
            first.store == store && first.element.as_deref() == element && first.params.get(name) == Some(&value)
        });
        found.unwrap().ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0)
    };
    assert_eq!(ratio("nearlab", Some("f32"), "durability", "sync".into()), Some(0.5));
    // No f16 in the baseline: its f32 stands for it.
    assert_eq!(ratio("nearlab", Some("f16"), "durability", "none".into()), Some(0.625));
    assert_eq!(ratio("plain file", Some("f32"), "durability", "sync".into()), Some(1.0));
    assert_eq!(ratio("nearlab", None, "phase", "filter".into()), Some(10.0));
    assert_eq!(ratio("nearlab", Some("f32"), "phase", "during".into()), None);
    let summary = Summary::of(&runs);
    insta::assert_snapshot!("storage_summary", summary.to_text());
}

#[test]
fn results_about_stores_have_columns_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let run = written(folder.path());
    let table = Table::of(std::slice::from_ref(&run));
    assert_eq!(table.len(), run.stored.len() + 1);
    let [_, csv] = table.write(folder.path()).unwrap();
    let text = std::fs::read_to_string(csv).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    insta::assert_snapshot!("storage_rows", [rows[0], rows[1], rows[rows.len() - 1]].join("\n"));
    let named: Vec<&str> = rows[0].split(',').collect();
    for (name, ..) in storage::COLUMNS.iter().filter(|(name, ..)| !name.ends_with('*')) {
        assert!(named.contains(name), "{name}");
    }
}

#[test]
fn a_session_that_only_judged_changes_neither_disk_nor_environment() {
    let folder = tempfile::tempdir().unwrap();
    let (mut session, mut judging) = (fixture::session(2), head());
    session.environment.id = "e0a2".into();
    judging.disk.device = Some("/dev/other".into());
    let more = [Event::Run(session), Event::Storage(judging), fixture::finished()];
    let run = loaded(folder.path(), events().into_iter().chain(more));
    assert_eq!(run.storage.as_ref().unwrap().disk.device.as_deref(), Some("/dev/example"));
    let table = Table::of(std::slice::from_ref(&run));
    let (_, ids) = table.columns.iter().find(|(name, _)| name == "environment_id").unwrap();
    assert_eq!(*ids, Cells::Text(vec![Some("e0a1".to_owned()); table.len()]));
}

#[test]
fn a_run_with_nothing_to_compare_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = written(folder.path());
    run.stored.retain(|stored| stored.store == "plain file");
    assert!(storage::verdict(std::slice::from_ref(&run)).starts_with("Only plain file was measured"));
    run.stored.clear();
    run.runs[0].baseline = None;
    assert_eq!(storage::verdict(&[run]), "Nothing was measured.");
}

use std::{fs::OpenOptions, io::Write, path::Path};

use nearlab_reports::{
    record::{Event, Failure, Finished, Outcome, Params, Rejected},
    records::{self, ReadError, WriteError, Writer},
    run::{LoadError, RunData},
};

use crate::fixture;

fn append_raw(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn write(path: &Path, events: Vec<Event>) {
    let mut writer = Writer::open(path).unwrap();
    for event in events {
        writer.append(event).unwrap();
    }
}

#[test]
fn what_is_appended_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let events = vec![Event::Run(fixture::session(1)), Event::Dataset(fixture::dataset()), fixture::finished()];
    write(&path, events.clone());
    let read: Vec<Event> = records::read(&path).unwrap().into_iter().map(|line| line.event).collect();
    assert_eq!(read, events);
    let first = std::fs::read_to_string(&path).unwrap();
    assert!(first.starts_with(r#"{"schema_version":2,"run":{"#), "{first}");
}

#[test]
fn a_torn_last_line_is_skipped_and_then_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    write(&path, vec![Event::Run(fixture::session(1))]);
    let whole = std::fs::metadata(&path).unwrap().len();
    append_raw(&path, br#"{"schema_version":1,"sear"#);
    assert_eq!(records::read(&path).unwrap().len(), 1);
    let mut writer = Writer::open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
    writer.append(Event::Dataset(fixture::dataset())).unwrap();
    assert_eq!(writer.path(), path);
    assert_eq!(records::read(&path).unwrap().len(), 2);
}

#[test]
fn a_complete_line_without_its_newline_was_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    write(&path, vec![Event::Run(fixture::session(1)), Event::Dataset(fixture::dataset())]);
    let length = std::fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    assert_eq!(records::read(&path).unwrap().len(), 1);
    drop(Writer::open(&path).unwrap());
    assert_eq!(records::read(&path).unwrap().len(), 1);
}

#[test]
fn a_damaged_line_in_the_middle_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    write(&path, vec![Event::Run(fixture::session(1))]);
    append_raw(&path, b"{\"schema_version\":1,\"search\":{\"key\":7}}\n");
    write(&path, vec![fixture::finished()]);
    let error = records::read(&path).unwrap_err();
    assert!(matches!(error, ReadError::Line { line: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("records.jsonl:2: not a record: "), "{error}");
    assert!(matches!(RunData::load(folder.path()), Err(LoadError::Read(_))));
}

#[test]
fn rubbish_and_newer_versions_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    append_raw(&path, b"\n{\"schema_version\":3,\"unheard_of\":{}}\n");
    let error = records::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("records.jsonl:2: schema version 3, but this program reads up to 2"), "{error}");
    std::fs::write(&path, "rubbish\n").unwrap();
    assert!(records::read(&path).unwrap_err().to_string().contains(":1: not a record"));
    std::fs::remove_file(&path).unwrap();
    assert!(records::read(&path).unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn what_version_1_wrote_is_read_as_searches_without_filters() {
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("record/quickstart");
    let run = RunData::load(&record).unwrap();
    assert!(!run.searches.is_empty() && run.searches.iter().all(|search| search.filter.is_none()));
}

#[test]
fn a_second_writer_waits_for_the_first_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let first = Writer::open(&path).unwrap();
    let error = Writer::open(&path).unwrap_err();
    assert!(matches!(error, WriteError::Locked { .. }) && error.to_string().contains("another session"), "{error}");
    drop(first);
    Writer::open(&path).unwrap();
    let nowhere = Writer::open(&folder.path().join("no/records.jsonl")).unwrap_err();
    assert!(nowhere.to_string().contains("cannot open for appending"), "{nowhere}");
}

#[test]
fn a_path_that_cannot_be_written_is_an_error_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    std::fs::create_dir(&path).unwrap();
    let error = Writer::open(&path).unwrap_err();
    assert!(matches!(error, WriteError::Io { .. }) && error.to_string().contains("records.jsonl"), "{error}");
}

#[test]
fn sessions_are_merged_and_nothing_counts_twice() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::write(folder.path());
    assert_eq!(run.runs.len(), 2);
    assert_eq!(run.session().session, 2);
    assert_eq!(run.searches.len(), 30 * 2 * 3);
    assert_eq!(run.origins.len(), run.searches.len());
    assert_eq!(run.index_names(), ["flat", "hnsw", "ivf", "hnswlib"]);
    assert_eq!(run.baseline(), Some("hnswlib"));
    assert_eq!((run.failures.len(), run.rejected.len(), run.profiles.len()), (2, 1, 2));
    assert!(run.finished.is_some() && run.foreign_sessions().next().is_none());
    let last = run.searches.len() - 1;
    assert_eq!((run.session_of(0).session, run.session_of(last).session), (1, 2));
    assert_eq!(run.build_of(last).unwrap().index, "hnswlib");

    // The same records once more, as if a key had been measured again.
    let mut lines = records::read(&folder.path().join("records.jsonl")).unwrap();
    lines.extend(lines.clone());
    let twice = RunData::from_lines(folder.path(), lines).unwrap();
    assert_eq!(twice.searches, run.searches);
    assert_eq!((twice.rejected.len(), twice.profiles.len(), twice.failures.len()), (1, 2, 2));
}

#[test]
fn a_session_that_only_judged_says_nothing_of_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let end = fixture::write(folder.path()).finished.unwrap();
    let judging = |number: u32| {
        let mut session = fixture::session(number);
        session.environment.id = "e0a2".into();
        Event::Run(session)
    };
    let judged = Finished { finished: "2025-01-03T00:00:00Z".into(), ..end.clone() };
    write(&path, vec![judging(3), Event::Dataset(fixture::dataset()), Event::Finished(judged.clone())]);
    let run = RunData::load(folder.path()).unwrap();
    assert_eq!((run.session().session, run.measuring().session), (3, 2));
    assert_eq!((run.environment().id.as_str(), run.foreign_sessions().count()), ("e0a1", 0));
    assert_eq!((run.end(), run.judged(), run.finished.as_ref()), (Some(&end), Some(&judged), Some(&judged)));
    // One that was cut off before it judged: what was measured still has its end, the run has none.
    write(&path, vec![judging(4)]);
    let run = RunData::load(folder.path()).unwrap();
    assert_eq!((run.end(), run.judged(), run.finished.as_ref()), (Some(&end), None, None));
    // A build is a measurement too.
    write(&path, vec![Event::Build(fixture::build("late", "hnsw", Params::new(), 1.0))]);
    let run = RunData::load(folder.path()).unwrap();
    assert_eq!((run.measuring().session, run.environment().id.as_str(), run.end()), (4, "e0a2", None));
    assert_eq!(run.foreign_sessions().map(|session| session.session).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_rule_in_other_words_rejects_a_point_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let rejected = |ef_search: Option<i64>, rule: &str| {
        Event::Rejected(Rejected {
            index: "hnsw".into(),
            params: fixture::params(&[("m", 8)]),
            search: ef_search.map(|ef_search| fixture::params(&[("ef_search", ef_search)])),
            k: ef_search.map(|_| 10),
            rule: rule.into(),
        })
    };
    let rules = || {
        let run = RunData::load(folder.path()).unwrap();
        run.rejected.into_iter().map(|one| one.rule).collect::<Vec<_>>()
    };
    write(&path, vec![Event::Run(fixture::session(1)), rejected(Some(5), "first"), rejected(Some(6), "first")]);
    assert_eq!(rules(), ["first", "first"]);
    write(&path, vec![Event::Run(fixture::session(2)), rejected(Some(5), "second"), rejected(Some(6), "second")]);
    assert_eq!(rules(), ["second", "second"]);
    // A rule that excludes the whole build, and one that excludes points of it again.
    write(&path, vec![Event::Run(fixture::session(3)), rejected(None, "third")]);
    assert_eq!(rules(), ["third"]);
    write(&path, vec![Event::Run(fixture::session(4)), rejected(Some(6), "fourth"), rejected(Some(5), "fourth")]);
    assert_eq!(rules(), ["fourth", "fourth"]);
}

fn failure(trial: &str, stage: &str, key: Option<&str>) -> Event {
    Event::Failure(Failure {
        trial: trial.to_owned(),
        key: key.map(str::to_owned),
        index: "hnsw".into(),
        params: Params::new(),
        search: None,
        workload: None,
        filter: None,
        stage: stage.into(),
        outcome: Outcome::Crashed,
        message: "signal 11".into(),
    })
}

#[test]
fn what_was_measured_on_a_later_build_makes_up_for_one_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let built = fixture::build("hnsw", "hnsw", Params::new(), 1.0);
    let search = fixture::search(&built, Params::new(), ("latency", 1), 0, (1000.0, 0.9));
    // Built and recorded once; a second session could not build it, a third one could, and does not record that again.
    let failed = failure(&built.trial, "build", None);
    let events = vec![Event::Run(fixture::session(1)), Event::Build(built), failed, Event::Search(search)];
    write(&folder.path().join("records.jsonl"), events);
    assert_eq!(RunData::load(folder.path()).unwrap().failures, []);
}

#[test]
fn a_failure_that_was_made_up_for_is_gone_and_a_later_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let built = fixture::build("hnsw", "hnsw", Params::new(), 1.0);
    let search = fixture::search(&built, Params::new(), ("latency", 1), 0, (1000.0, 0.9));
    let failure = |stage: &str, key: Option<&str>| failure(&built.trial, stage, key);
    let mut events = vec![
        Event::Run(fixture::session(1)),
        failure("build", None),
        failure("search", Some(&search.key)),
        Event::Build(built.clone()),
        Event::Search(search.clone()),
    ];
    write(&path, events.clone());
    assert_eq!(RunData::load(folder.path()).unwrap().failures, []);
    // Built once, then the second session could not build it again: what it would have measured is missing.
    events = vec![failure("build", None), failure("build", None), failure("search", Some("other"))];
    write(&path, events);
    let run = RunData::load(folder.path()).unwrap();
    assert_eq!(run.failures.len(), 2);
    assert_eq!(run.baseline(), Some("hnsw"));
    assert!(run.finished.is_none() && run.dataset.is_none());
}

#[test]
fn a_folder_that_is_no_run_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = RunData::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("not a run folder: expected a file records.jsonl"), "{error}");
    write(&folder.path().join("records.jsonl"), vec![Event::Dataset(fixture::dataset())]);
    let error = RunData::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no session in it: expected a `run` line, found 1 other lines"), "{error}");
}

#[test]
fn sessions_of_another_plan_or_data_set_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let mut other = fixture::dataset();
    other.sha256 = "0000".into();
    write(&path, vec![Event::Run(fixture::session(1)), Event::Dataset(fixture::dataset())]);
    write(&path, vec![Event::Run(fixture::session(2)), Event::Dataset(other)]);
    let error = RunData::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("session 2 has another data set") && error.contains("found 0000"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let mut changed = fixture::session(2);
    changed.spec_hash = "beef".into();
    write(&path, vec![Event::Run(fixture::session(1)), Event::Run(changed)]);
    let error = RunData::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("session 2 has another plan than the ones before: expected 5bec, found beef"), "{error}");
}

#[test]
fn the_experiments_own_baseline_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::write(folder.path());
    run.runs[1].baseline = Some("ivf".into());
    assert_eq!(run.baseline(), Some("ivf"));
    run.runs[1].baseline = Some("not measured".into());
    assert_eq!(run.baseline(), Some("hnswlib"));
    run.runs[0].environment.id = "other".into();
    assert_eq!(run.foreign_sessions().count(), 1);
}

//! Experiments about stores: what is accepted, what is refused and in which words, and what the plan is.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use nearlab_harness::{
    spec::{self, Durability, Question, SpecError, StoreMode, StoreSpec, Surroundings},
    storage::plan::{StoreFacts, StorePlan, Versions, expand},
};

const STORAGE: &str = include_str!("fixtures/storage.yaml");

fn surroundings() -> Surroundings<'static> {
    Surroundings {
        current_folder: PathBuf::from("."),
        variable: &|_| None,
        catalogue: Some(vec!["some-set".to_owned(), "other-set".to_owned()]),
    }
}

fn parse(yaml: &str) -> Result<StoreSpec, SpecError> {
    match spec::parse_question(Path::new("bad.yaml"), yaml, &surroundings())? {
        Question::Stores(spec) => Ok(*spec),
        Question::Indexes(_) => panic!("taken for an experiment about indexes:\n{yaml}"),
    }
}

fn judge(yaml: &str) -> Result<StorePlan, SpecError> {
    let spec = parse(yaml)?;
    spec.check_files(&surroundings())?;
    expand(&spec, &[], &Versions::default())
}

fn facts() -> Vec<StoreFacts> {
    vec![StoreFacts { name: "some-set".into(), n: Some(100_000), d: Some(128), sha256: "ab".into() }]
}

/// (what, text of the experiment, what stands there instead).
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    ("an unknown key at the top", "measure:", "mesure:"),
    ("a slip in the key that tells the kind of experiment", "stores:", "storse:"),
    ("indexes as well", "workloads:", "indexes: []\nworkloads:"),
    ("an unknown key of a store", "kind: plain_file", "kind: plain_file, elemnt: f32"),
    ("an unknown kind", "kind: plain_file", "kind: plain_fil"),
    ("an unknown mode", "mode: point_read", "mode: point_raed"),
    ("an unknown element", "element: [f32, f16]", "element: [f32, f61]"),
    ("an unknown durability", "durability: [none, sync]}\n  - {name: plain", "durability: [nome]}\n  - {name: plain"),
    ("a mode that is none, of a store", "kind: plain_file", "kind: plain_file, modes: [bulk_laod]"),
    ("a key of another mode", "ids: 1000", "ids: 1000, durability: none"),
    ("a key where there are none", "mode: reopen", "mode: reopen, rows: 10"),
    ("a batch of nothing", "batch: [1, 64]", "batch: [0, 64]"),
    ("all that there is to be deleted", "delete: 0.3", "delete: [0.3, 1]"),
    ("an end that is none", "mode: reopen", "mode: reopen, after: [crash]"),
    ("no filters", ", filters: [\"price < 30 and color in [\\\"red\\\"]\"]", ""),
    ("a filter over a field that is not there", "price < 30", "prise < 30"),
    ("a filter that does not parse", "price < 30", "price <"),
    ("no data", "dataset: {use: some-set}\n", ""),
    ("data that is not there", "some-set", "some-st"),
    ("a worker for a known kind", "kind: plain_file", "kind: plain_file, worker: x.py"),
    ("an external store without a worker", "kind: plain_file", "kind: external"),
    ("a store's name taken", "name: plain", "name: ours"),
    ("a workload's name taken", "name: points", "name: load"),
    ("a baseline that is no store", "measure:", "baseline: plian\nmeasure:"),
    ("an unknown metric", "load_ratio", "load_raito"),
    ("a rule about no store", "{store: ours, at", "{store: our, at"),
    ("a rule about no workload", "{store: ours, at", "{store: ours, workload: laod, at"),
    ("a rule about a workload of another mode", "{store: ours, at", "{store: ours, workload: points, at"),
    ("a rule at an unknown parameter", "at: {durability: none}", "at: {durabilty: none}"),
    ("a rule about nothing", "{store: ours, at: {durability: none}}", "[]"),
    ("indexes to be saved", "repeats: 3", "save: true"),
    ("no repeats", "repeats: 3", "repeats: 0"),
    ("a store of which no point is left", "kind: plain_file", "kind: external, worker: x.py, modes: [bulk_load], durability: flush"),
];

#[test]
fn every_mistake_is_answered_with_its_place_and_what_would_have_been_right() {
    let mut answers = String::new();
    for (what, from, to) in MISTAKES {
        assert!(STORAGE.contains(from), "{what}: {from}");
        let text = judge(&STORAGE.replacen(from, to, 1)).expect_err(what).to_string();
        assert!(text.lines().count() <= 24 && text.contains("--> bad.yaml"), "{what}:\n{text}");
        writeln!(answers, "## {what}\n\n{text}\n").unwrap();
    }
    insta::assert_snapshot!("mistakes", answers);
}

#[test]
fn what_is_left_out_has_its_default() {
    let spec = parse(
        "question: q?\ndataset: {use: some-set}\nstores: [{name: a, kind: store}, {name: b, kind: external, worker: w.py}]\n\
         workloads:\n  - {name: l, mode: bulk_load}\n  - {name: p, mode: point_read}\n  - {name: o, mode: reopen}\n",
    )
    .unwrap();
    assert_eq!(spec.stores[0].durabilities, Durability::ALL);
    assert_eq!(spec.stores[1].durabilities, [Durability::None]);
    assert_eq!(spec.stores[1].modes, StoreMode::ALL);
    assert_eq!(spec.stores[1].elements, ["f32"]);
    assert_eq!((spec.workloads[0].batch[0], spec.workloads[1].batch[0]), (10_000, 1));
    assert_eq!(spec.workloads[0].durability, [Durability::None]);
    assert_eq!((spec.workloads[1].ids, spec.workloads[2].after.len()), (100_000, 2));
    assert_eq!(spec.baseline(), "a", "where there is no plain file, the first");
}

#[test]
fn several_data_sets_are_a_list_and_filters_need_none() {
    let several = STORAGE.replace("{use: some-set}", "[{use: some-set, limit: 10}, {use: other-set}]");
    let spec = parse(&several).unwrap();
    assert_eq!(spec.datasets.len(), 2);
    assert_eq!(spec.with_dataset(0).dataset.limit, Some(10));
    assert_eq!(spec.with_dataset(1).dataset.queries.unwrap().report, 1);
    let filters = "question: q?\nstores: [{name: a, kind: store}]\n\
                   workloads: [{name: f, mode: filter, filters: ['sold']}]\n";
    let plan = judge(filters).unwrap();
    assert_eq!((plan.trials.len(), plan.trials[0].points.len(), plan.trials[0].dataset), (1, 2, None));
}

#[test]
fn an_experiment_about_indexes_is_still_one() {
    let small = include_str!("fixtures/small.yaml");
    let question = spec::parse_question(Path::new("small.yaml"), small, &surroundings()).unwrap();
    assert!(matches!(question, Question::Indexes(spec) if spec.indexes.len() == 1));
}

#[test]
fn the_plan_lists_trials_rejections_and_the_room_they_need() {
    let spec =
        parse(&STORAGE.replace("durability: [none, sync]}\n  - {name: plain", "durability: none}\n  - {name: plain"))
            .unwrap();
    let plan = expand(&spec, &facts(), &Versions::default()).unwrap();
    insta::assert_snapshot!("plan", plan.render(&spec, &facts()));
    // Ours in two elements: 2 loads (2 rejected), reads, a compaction, 2 openings; plain in one: 4 loads; one of fields each.
    assert_eq!(plan.trials.len(), 2 * (2 + 1 + 1 + 2) + (4 + 1 + 1 + 2) + 2);
    assert_eq!(plan.schedule.len(), 3 * plan.trials.len());
    assert_eq!(plan.rejected.len(), 2);
    let rows = 100_000 * 128 * 4;
    assert!((2 * rows..3 * rows + (128 << 20)).contains(&plan.disk_bytes().unwrap()), "twice the rows to compact them");
    assert_eq!(expand(&spec, &[], &Versions::default()).unwrap().trials[0].disk_bytes, None);
}

#[test]
fn a_trial_is_another_when_its_data_its_worker_or_the_code_is() {
    let spec = parse(&STORAGE.replace("kind: plain_file", "kind: external, worker: w.py")).unwrap();
    let hash = |facts: &[StoreFacts], versions: &Versions| expand(&spec, facts, versions).unwrap().spec_hash;
    let versions = Versions { code: "1".into(), workers: [("plain".to_owned(), "x".to_owned())].into() };
    let first = hash(&facts(), &versions);
    assert_eq!(first, hash(&facts(), &versions));
    assert_ne!(first, hash(&[], &versions));
    assert_ne!(first, hash(&facts(), &Versions { code: "2".into(), ..versions.clone() }));
    assert_ne!(first, hash(&facts(), &Versions { workers: [("plain".to_owned(), "y".to_owned())].into(), ..versions }));
}

#[test]
fn an_expectation_that_nothing_speaks_to_is_warned_of() {
    let plan = judge(
        &STORAGE
            .replace("load_ratio >= 0.8: {store: ours, at: {durability: none}}", "found > 1: {store: plain}")
            .replace("kind: plain_file", "kind: plain_file, modes: bulk_load"),
    )
    .unwrap();
    assert!(plan.warnings.iter().any(|warning| warning.contains("no point speaks to")), "{:?}", plan.warnings);
}

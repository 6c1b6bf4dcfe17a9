//! Experiment files: what is accepted, what is refused and in which words.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nearlab_harness::{
    plan,
    spec::{self, DatasetSource, Kind, Mode, Order, Pin, Question, Spec, SpecError, Surroundings},
    storage,
};
use proptest::prelude::*;
use serde_json::json;

const FULL: &str = include_str!("fixtures/full.yaml");
const SMALL: &str = include_str!("fixtures/small.yaml");

fn surroundings() -> Surroundings<'static> {
    Surroundings {
        current_folder: PathBuf::from("."),
        variable: &|name| (name == "NEARLAB_DATA").then(|| "/data".to_owned()),
        catalogue: Some(vec!["some-set".to_owned(), "sift-128-euclidean".to_owned()]),
    }
}

fn parse(yaml: &str) -> Result<Spec, SpecError> {
    spec::parse(Path::new("bad.yaml"), yaml, &surroundings())
}

/// Everything `nearlab check` would say about a text.
fn judge(yaml: &str) -> Result<(), SpecError> {
    let spec = parse(yaml)?;
    spec.check_files(&surroundings())?;
    plan::expand(&spec, &plan::Facts::default()).map(|_| ())
}

/// The error for the small experiment with one edit; on one screen, and placed.
fn refused(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    let text = judge(&SMALL.replace(from, to)).expect_err(to).to_string();
    assert!(text.lines().count() <= 24, "more than a screen:\n{text}");
    assert!(text.contains("--> bad.yaml:"), "{text}");
    text
}

/// (what, text of the small experiment, what stands there instead).
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    ("an unknown key", "repeats: 3", "repaets: 3"),
    ("an unknown key at the top", "measure:", "mesure:"),
    ("an unknown key far from every key", "{name: single,", "{name: single, colour: red,"),
    ("a missing key", "question: How good is it?\n", ""),
    ("a key given twice", "k: [10]", "k: [10]\nk: [20]"),
    ("a number expected and a text found", "repeats: 3", "repeats: many"),
    ("a whole number expected and a fraction found", "repeats: 3", "repeats: 2.5"),
    ("a mapping expected and a number found", "measure: {repeats: 3}", "measure: 3"),
    ("a list expected and a mapping found", "  - {name: single, mode: latency}", "  single: {mode: latency}"),
    ("a text expected and a list found", "question: How good is it?", "question: [why]"),
    ("a text expected and nothing found", "question: How good is it?", "question:"),
    ("an empty question", "How good is it?", "''"),
    ("broken yaml", "k: [10]", "k: [10"),
    ("a tab for indentation", "    kind: hnsw", "\tkind: hnsw"),
    ("an empty sweep", "ef_search: [10, 40]", "ef_search: []"),
    ("a value twice in a sweep", "ef_search: [10, 40]", "ef_search: [10, 40, 10]"),
    ("a progression without end", "ef_search: [10, 40]", "ef_search: {geometric: [10, 40, 1]}"),
    ("a progression with two numbers", "ef_search: [10, 40]", "ef_search: {range: [10, 40]}"),
    ("an unknown form of sweep", "ef_search: [10, 40]", "ef_search: {geometrical: [10, 40, 2]}"),
    ("an unknown parameter", "ef_construction: 200", "ef_constuction: 200"),
    ("a search parameter in build", "m: 16, ", "m: 16, ef_search: 10, "),
    ("search threads of an index", "ef_search: [10, 40]", "ef_search: [10, 40], threads: 2"),
    ("a parameter out of range", "m: 16", "m: [8, 1]"),
    ("a parameter of another type", "m: 16", "m: sixteen"),
    ("a choice misspelt", "m: 16", "m: 16, codes: [f32, sp4]"),
    ("a choice far from every name", "m: 16", "m: 16, rerank_codes: float"),
    ("a number for a choice", "m: 16", "m: 16, codes: 4"),
    ("a progression of a choice", "m: 16", "m: 16, codes: {range: [4, 8, 4]}"),
    ("a choice twice in a sweep", "m: 16", "m: 16, codes: [f32, sq4, f32]"),
    ("a number out of range in a search", "ef_search: [10, 40]", "ef_search: [10, 40], rerank: 2147483648"),
    ("a build parameter in search", "ef_search: [10, 40]", "ef_search: [10, 40], rerank_codes: sq8"),
    ("a sub-space of too many components", "m: 16", "m: 16, codes: pq4, sub_dim: 65"),
    ("components without sq4", "m: 16", "m: 16, components: 64"),
    ("rerank codes no finer than the codes", "m: 16", "m: 16, codes: [sq8, f16], rerank_codes: sq8"),
    ("an expectation at a choice misspelt", "at: {ef_search: 40}", "at: {codes: f23}"),
    ("a rule that compares a choice with a number", "ef_search >= k", "codes >= 4"),
    ("a k of zero", "k: [10]", "k: [10, 0]"),
    ("an empty k", "k: [10]", "k: []"),
    ("a baseline that is no index", "workloads:", "baseline: grpah\nworkloads:"),
    ("no workloads", "\n  - {name: single, mode: latency}", " []"),
    ("no indexes", "indexes:\n  - name: graph\n    kind: hnsw\n    build: {m: 16, ef_construction: 200, threads: 2}\n    search: {ef_search: [10, 40]}\n    require: [\"ef_search >= k\"]", "indexes: []"),
    ("a value of an expectation that is nothing", "at: {ef_search: 40}", "at: {ef_search: ~}"),
    ("a value that is nothing", "m: 16", "m: ~"),
    ("a value that is a list of lists", "m: 16", "m: [[16]]"),
    ("a value that is not a number", "m: 16", "m: .nan"),
    ("two forms of a sweep", "ef_search: [10, 40]", "ef_search: {range: [1, 2, 1], geometric: [1, 2, 2]}"),
    ("true or false expected", "measure:", "profile: {heap: yes}\nmeasure:"),
    ("a path that is empty", "use: some-set", "use: ''"),
    ("an unknown kind", "kind: hnsw", "kind: hsnw"),
    ("an external index without a worker", "kind: hnsw", "kind: external"),
    ("a worker for a known kind", "kind: hnsw", "kind: hnsw\n    worker: x.py"),
    ("an index name taken", "workloads:", "  - {name: graph, kind: flat}\nworkloads:"),
    ("an empty index name", "name: graph", "name: ''"),
    ("an unknown mode", "mode: latency", "mode: latncy"),
    ("filters for another mode", "mode: latency", "mode: latency, selectivity: 0.1, correlation: none, filters: 10, seed: 2"),
    ("a filtered workload without selectivity", "mode: latency", "mode: filtered"),
    ("a selectivity above one", "mode: latency", "mode: filtered, selectivity: [0.5, 1.5]"),
    ("a selectivity of nothing", "mode: latency", "mode: filtered, selectivity: 0"),
    ("a selectivity that is a text", "mode: latency", "mode: filtered, selectivity: few"),
    ("a misspelt key of a workload", "mode: latency", "mode: filtered, selectivty: 0.1"),
    ("a misspelt correlation", "mode: latency", "mode: filtered, selectivity: 0.1, correlation: [none, postive]"),
    ("no filters", "mode: latency", "mode: filtered, selectivity: 0.1, filters: 0"),
    ("threads for a filtered workload", "mode: latency", "mode: filtered, selectivity: 0.1, threads: 2"),
    ("a mode of a later version", "mode: latency", "mode: closed_loop, clients: [1, 4]"),
    ("threads for latency", "mode: latency", "mode: latency, threads: [1, 2]"),
    ("no repeats", "repeats: 3", "repeats: 0"),
    ("a duration without unit", "repeats: 3", "timeout: 30"),
    ("a size without unit", "repeats: 3", "memory: 8G"),
    ("a policy of pinning that is none", "repeats: 3", "pin: all"),
    ("a processor twice", "repeats: 3", "pin: [0, 1, 0]"),
    ("an unknown order", "repeats: 3", "order: random"),
    ("a search policy of a later version", "measure:", "search_policy: {target: {recall: 0.95}}\nmeasure:"),
    ("a sampling rate beyond the kernel", "measure:", "profile: {cpu: {hz: 100000}}\nmeasure:"),
    ("a rule with an unknown name", "ef_search >= k", "m > 2 and ef_serach >= k"),
    ("a rule that does not parse", "ef_search >= k", "ef_search >= and k"),
    ("a rule that is no condition", "ef_search >= k", "ef_search + k"),
    ("a rule with a chain", "ef_search >= k", "1 < k < 20"),
    ("a rule that compares text with a number", "ef_search >= k", "ef_search >= 'k'"),
    ("an impossible require", "ef_search >= k", "ef_search >= 100 * k"),
    ("an expectation with an unknown metric", "recall_at_10", "recal_at_10"),
    ("an expectation that does not parse", "recall_at_10 >= 0.95", "recall_at_10 >= good"),
    ("an expectation at another k", "recall_at_10", "recall_at_100"),
    ("an expectation of an unknown index", "{index: graph,", "{index: grahp,"),
    ("an expectation at a value not swept", "at: {ef_search: 40}", "at: {ef_search: 80}"),
    ("an expectation at an unknown parameter", "at: {ef_search: 40}", "at: {nprobe: 80}"),
    ("an expectation of unknown rows", "{index: graph,", "{index: graph, workload: batch, k: 20, threads: 4,"),
    ("an expectation without an index", "{index: graph, at: {ef_search: 40}}", "{at: {ef_search: 40}}"),
    ("a data set that is not in the catalogue", "use: some-set", "use: sift-128-euclidian"),
    ("a data set file that is not there", "use: some-set", "use: data/none.hdf5"),
    ("a data set without a source", "use: some-set", "limit: 5"),
    ("a data set with two sources", "use: some-set", "use: some-set, train: a.fvecs"),
    ("a limit of zero", "use: some-set", "use: some-set, limit: 0"),
    ("a variable that is not set", "use: some-set", "use: '${NOT_SET}/x.hdf5'"),
    ("a variable without a brace", "use: some-set", "use: '${NOT_SET'"),
    ("an unknown metric", "use: some-set", "use: some-set, metric: euclidean"),
    ("too many measurements", "{m: 16, ef_construction: 200", "{m: {range: [2, 200, 1]}, ef_construction: {range: [1, 10000, 1]}"),
    ("several mistakes together", "repeats: 3}", "repeats: 0, timeout: soon, pin: []}\nbaseline: grpah"),
    ("a second document", "measure: {repeats: 3}", "measure: {repeats: 3}\n---\nk: 1"),
    ("an alias without an anchor", "k: [10]", "k: *k"),
];

#[test]
fn every_mistake_has_its_words() {
    let words: Vec<String> =
        MISTAKES.iter().map(|(what, from, to)| format!("# {what}\n\n{}", refused(from, to))).collect();
    insta::assert_snapshot!("mistakes", words.join("\n\n\n"));
}

#[test]
fn an_empty_file_and_one_of_another_shape_are_refused() {
    for yaml in ["", "\n# nothing\n", "hello", "[1, 2]", "~"] {
        let text = judge(yaml).expect_err(yaml).to_string();
        assert!(text.starts_with("error: ") && text.lines().count() < 12, "{yaml:?}: {text}");
    }
}

#[test]
fn every_key_of_the_format_arrives_in_the_spec() {
    let spec =
        spec::parse(Path::new("some/full.yaml"), FULL, &surroundings()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((spec.name.as_str(), spec.folder()), ("full", Path::new("some")));
    assert_eq!(
        (spec.question.as_str(), spec.analysis.as_deref()),
        ("Does every key of the format work?", Some("It should."))
    );
    assert_eq!(spec.dataset.source, DatasetSource::Use("some-set".to_owned()));
    assert_eq!((spec.dataset.limit, spec.dataset.metric.as_deref()), (Some(10_000), Some("l2")));
    assert_eq!(spec.dataset.queries.map(|split| (split.report, split.calibrate, split.seed)), Some((800, 200, 7)));
    assert_eq!((spec.k.as_slice(), spec.max_k()), ([10, 100].as_slice(), 100));
    let kinds: Vec<Kind> = spec.indexes.iter().map(|index| index.kind).collect();
    assert_eq!(kinds, Kind::ALL);
    assert_eq!(spec.indexes[1].build["ef_construction"], [json!(64), json!(128), json!(256)]);
    assert_eq!((&spec.indexes[1].build["threads"], &spec.indexes[1].build["seed"]), (&vec![json!(1)], &vec![json!(3)]));
    assert_eq!(spec.indexes[2].build["iterations"], [json!(5)]);
    assert_eq!(spec.indexes[3].worker.as_deref(), Some(Path::new("workers/peer.py")));
    assert_eq!(spec.indexes[3].search["ef"], [json!(40.5)]);
    assert_eq!(spec.workloads[1].threads, [1, 2]);
    assert_eq!((spec.workloads[0].mode, spec.workloads[1].mode.to_string()), (Mode::Latency, "throughput".to_owned()));
    let measure = &spec.measure;
    assert_eq!((measure.repeats, measure.warmup, measure.order, measure.seed), (2, 0, Order::Interleaved, 9));
    assert_eq!((measure.timeout, measure.memory_bytes), (Duration::from_mins(90), Some(8 << 30)));
    assert_eq!(measure.pin, Pin::Cores(vec![0, 1]));
    assert_eq!((spec.baseline.as_deref(), spec.gate.as_deref()), (Some("exact"), Some(Path::new("gates/full.json"))));
    assert!(spec.profile.is_any() && spec.profile.heap && spec.profile.cpu_hz == Some(99));
    let texts: Vec<&str> = spec.expect.iter().map(|expect| expect.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "recall_at_10 >= 0.95 (index graph, workload single, ef_search 100, m 16)",
            "qps > 100 (index exact, k 100, threads 2)",
            "qps > 100 (index lists)",
        ]
    );
    assert_eq!((spec.expect[0].k, spec.expect[1].k, spec.expect[1].threads), (Some(10), Some(100), Some(2)));
}

#[test]
fn what_is_left_out_takes_its_default() {
    let spec = parse(SMALL).unwrap();
    assert_eq!((spec.measure.warmup, spec.measure.order, &spec.measure.pin), (1, Order::Shuffled, &Pin::Auto));
    assert_eq!((spec.measure.timeout, spec.measure.memory_bytes), (Duration::from_mins(30), None));
    assert!(!spec.profile.is_any() && spec.gate.is_none() && spec.warnings.is_empty());
    assert_eq!(spec.indexes[0].build["seed"], [json!(1)]);
    let once = parse(&SMALL.replace("repeats: 3", "repeats: 1, pin: none, order: sequential")).unwrap();
    assert!(once.warnings[0].contains("spread") && once.measure.pin == Pin::None);
    let profiled = parse(&SMALL.replace("measure:", "profile: {cpu: {}}\nmeasure:")).unwrap();
    assert_eq!(profiled.profile.cpu_hz, Some(199));
}

#[test]
fn a_choice_is_swept_like_a_number() {
    let codes = "m: 16, codes: [f32, sq4], rerank_codes: [none, 'sq8'], components: {range: [0, 128, 64]}";
    let yaml = SMALL.replace("m: 16", codes).replace("at: {ef_search: 40}", "at: {ef_search: 40, codes: sq4}");
    let spec = parse(&yaml).unwrap_or_else(|error| panic!("{error}"));
    let build = &spec.indexes[0].build;
    assert_eq!(build["codes"], [json!("f32"), json!("sq4")]);
    assert_eq!(build["rerank_codes"], [json!("none"), json!("sq8")]);
    assert_eq!(build["components"], [json!(0), json!(64), json!(128)]);
    assert_eq!(spec.expect[0].text, "recall_at_10 >= 0.95 (index graph, ef_search 40, codes sq4)");
    let left_out = &parse(SMALL).unwrap().indexes[0];
    assert_eq!(
        (&left_out.build["codes"], &left_out.build["rerank_codes"]),
        (&vec![json!("f32")], &vec![json!("none")])
    );
    assert_eq!((&left_out.build["components"], &left_out.search["rerank"]), (&vec![json!(0)], &vec![json!(0)]));
}

#[test]
fn paths_are_looked_up_beside_the_file_first_and_then_in_the_current_folder() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["questions", "data"] {
        std::fs::create_dir(root.path().join(folder)).unwrap();
    }
    for file in ["questions/a.hdf5", "data/b.hdf5", "a.hdf5"] {
        std::fs::write(root.path().join(file), "").unwrap();
    }
    let here = Surroundings { current_folder: root.path().to_owned(), ..surroundings() };
    let at = root.path().join("questions/q.yaml");
    let found = |dataset: &str| {
        let spec = spec::parse(&at, &SMALL.replace("{use: some-set}", dataset), &here).unwrap();
        spec.check_files(&here).map(|()| spec.dataset.source)
    };
    let used = |path: &str| DatasetSource::Use(root.path().join(path).to_string_lossy().into_owned());
    assert_eq!(found("{use: a.hdf5}").unwrap(), used("questions/a.hdf5"));
    assert_eq!(found("{use: data/b.hdf5}").unwrap(), used("data/b.hdf5"));
    let absolute = root.path().join("data/b.hdf5");
    assert_eq!(found(&format!("{{use: {}}}", absolute.display())).unwrap(), used("data/b.hdf5"));
    assert!(found("{use: c.hdf5}").unwrap_err().to_string().contains("no such file in"));
    assert!(found("{use: /nowhere/c.hdf5}").unwrap_err().to_string().contains("no such file"));
    let files = found("{train: a.hdf5, test: data/b.hdf5, neighbors: a.hdf5}").unwrap();
    assert!(matches!(files, DatasetSource::Files { neighbors: Some(_), .. }));
    let missing = found("{train: a.hdf5, test: no.fvecs}").unwrap_err();
    assert!(missing.to_string().contains("no.fvecs") && missing.diagnostics().len() == 1);
}

#[test]
fn a_variable_stands_for_its_value() {
    let spec = parse(&SMALL.replace("some-set", "'${NEARLAB_DATA}/x.hdf5'")).unwrap();
    assert_eq!(spec.dataset.source, DatasetSource::Use("/data/x.hdf5".to_owned()));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let root = tempfile::tempdir().unwrap();
    let missing = spec::load(&root.path().join("none.yaml")).unwrap_err();
    assert!(missing.to_string().contains("none.yaml") && missing.diagnostics().is_empty());
    let huge = root.path().join("huge.yaml");
    std::fs::File::create(&huge).unwrap().set_len(1 << 21).unwrap();
    assert!(spec::load(&huge).unwrap_err().to_string().contains("2097152 bytes"));
    let fine = root.path().join("fine.yaml");
    std::fs::write(&fine, SMALL).unwrap();
    let (spec, plan) = plan::check(&fine, &surroundings()).unwrap();
    assert_eq!((spec.name.as_str(), plan.planned_builds()), ("fine", 1));
}

#[test]
fn a_later_error_can_be_drawn_at_a_place_of_the_file() {
    let spec = parse(SMALL).unwrap();
    let text = spec.error_at(spec.dataset.place, "it is truncated").to_string();
    assert!(text.contains("bad.yaml:2:16") && text.contains("^^^^^^^^"), "{text}");
}

#[test]
fn every_experiment_of_the_repository_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments");
    let mut folders = vec![root];
    let mut checked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let question = spec::load_question_in(&path, &surroundings()).unwrap_or_else(|error| panic!("{error}"));
                let (analysis, expects) = match question {
                    Question::Indexes(spec) => {
                        plan::expand(&spec, &plan::Facts::default()).unwrap_or_else(|error| panic!("{error}"));
                        (spec.analysis, spec.expect.len())
                    }
                    Question::Stores(spec) => {
                        storage::plan::expand(&spec, &[], &storage::plan::Versions::default())
                            .unwrap_or_else(|error| panic!("{error}"));
                        (spec.base.analysis, spec.expect.len())
                    }
                };
                assert!(analysis.is_some() && expects > 0, "{}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "{checked}");
}

#[test]
fn the_quickstart_finds_its_data_from_any_folder() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/quickstart.yaml");
    plan::check(&path, &surroundings()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_schema_of_the_format() {
    insta::assert_snapshot!("schema", spec::schema_json());
}

#[test]
fn the_schema_forbids_unknown_keys_wherever_the_parser_does() {
    let schema: serde_json::Value = serde_json::from_str(&spec::schema_json()).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let objects =
        definitions.iter().chain([(&"root".to_owned(), &schema)]).filter(|(_, one)| one["type"] == "object").count();
    let closed = definitions.values().chain([&schema]).filter(|one| one["additionalProperties"] == false).count();
    assert_eq!(objects, closed);
    assert!(objects >= 9, "{objects}");
}

/// A text with a few bytes replaced, removed or doubled.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        0..FULL.len(),
        0..4_u8,
        prop::sample::select("{}[]:,-'\"*&!|>%@`#~ \n\t\0\u{e9}019.ek".chars().collect::<Vec<_>>()),
    );
    prop::collection::vec(edit, 1..8).prop_map(|edits| {
        let mut text: Vec<char> = FULL.chars().collect();
        for (at, what, character) in edits {
            let at = at % text.len();
            match what {
                0 => text[at] = character,
                1 => text.insert(at, character),
                2 => {
                    text.remove(at);
                }
                _ => {
                    let line: Vec<char> = text[at..].iter().copied().take_while(|c| *c != '\n').collect();
                    text.splice(at..at, line);
                }
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_file_panics_and_every_error_fits_a_screen(yaml in mutated()) {
        if let Err(error) = judge(&yaml) {
            let text = error.to_string();
            prop_assert!(text.starts_with("error: "), "{}", text);
            prop_assert!(text.lines().count() <= 30, "{}", text);
        }
    }

    #[test]
    fn no_rule_panics(rule in "[a-z0-9<>=!+*/()'\". _&|\\-\u{e9}]{0,40}|(not |and |or |\\(|k|<|1|-){0,30}") {
        let place = spec::Place { line: 1, column: 1, length: 1 };
        if let Ok(rule) = spec::Rule::parse(&rule, place) {
            let _ = rule.judge(&|_| spec::Operand::Unknown);
            let _ = rule.judge(&|_| spec::Operand::Number(1.0));
        }
        let quoted = serde_json::to_string(&rule).unwrap();
        let _ = judge(&SMALL.replace("\"ef_search >= k\"", &quoted));
        let _ = judge(&SMALL.replace("\"recall_at_10 >= 0.95\"", &quoted));
    }
}

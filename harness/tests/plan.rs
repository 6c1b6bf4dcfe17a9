//! Plans: what is measured, in which order, under which names; what rules exclude.

use std::{collections::BTreeSet, path::Path};

use nearlab_harness::{
    plan::{Facts, Plan, PlannedTrial, expand},
    spec::{self, Kind, Spec, Surroundings},
};
use nearlab_reports::format;
use serde_json::json;

const FULL: &str = include_str!("fixtures/full.yaml");
const SMALL: &str = include_str!("fixtures/small.yaml");

fn parse(yaml: &str) -> Spec {
    spec::parse(Path::new("full.yaml"), yaml, &Surroundings::of_process()).unwrap_or_else(|error| panic!("{error}"))
}

fn facts() -> Facts {
    Facts {
        n: Some(10_000),
        d: Some(128),
        queries: Some(800),
        dataset_fingerprint: Some("abc".to_owned()),
        code_version: "1".to_owned(),
        worker_versions: [("peer".to_owned(), "x".to_owned())].into(),
    }
}

fn plan(yaml: &str) -> Plan {
    expand(&parse(yaml), &facts()).unwrap_or_else(|error| panic!("{error}"))
}

fn keys(plan: &Plan) -> BTreeSet<String> {
    plan.trials.iter().flat_map(|trial| &trial.searches).map(|search| search.key.clone()).collect()
}

#[test]
fn every_point_is_either_planned_or_rejected() {
    let plan = plan(FULL);
    // Points: exact 2 builds x 2 k; graph 6 builds x 3 ef x 2 k; lists 2 x 3 x 2; peer 2 x 2.
    let points = plan.planned_searches() as u64 / 6 + plan.rejected_points();
    assert_eq!(plan.planned_searches() % 6, 0, "3 workload and thread pairs, 2 repeats");
    assert_eq!(points, 4 + 36 + 12 + 4);
    // m 32 with ef_construction 64: 6 points as one build; ef_search 50 with k 100: once in each of the other 5 builds;
    // nlist 1024 x 39 > n: 6 points as one build; nprobe 128 > nlist 64: 2 points.
    let count =
        |rule: &str| plan.rejected.iter().filter(|one| one.rule.starts_with(rule)).map(|one| one.points).sum::<u64>();
    assert_eq!(count("ef_construction"), 6);
    assert_eq!(count("ef_search >= k"), 5);
    assert_eq!(count("nlist * 39"), 6);
    assert_eq!(count("nprobe <= nlist"), 2);
    assert_eq!(plan.rejected_points(), 19);
    let build = plan.rejected.iter().find(|one| one.rule.starts_with("ef_construction")).unwrap();
    assert_eq!((&build.search, build.k, build.points), (&None, None, 6));
    assert!(plan.deferred.is_empty());
}

#[test]
fn a_rule_over_sizes_not_known_yet_keeps_its_points_and_is_named() {
    let plan = expand(&parse(FULL), &Facts::default()).unwrap();
    assert_eq!(plan.deferred.iter().collect::<Vec<_>>(), ["lists: nlist * 39 <= n"]);
    assert!(plan.trials.iter().any(|trial| trial.build.get("nlist") == Some(&json!(1024))));
    assert!(plan.trials.iter().all(|trial| trial.cost.seconds.is_none() && trial.cost.bytes.is_none()));
}

#[test]
fn what_no_index_can_do_is_rejected_with_its_reason() {
    let tiny = Facts { n: Some(50), ..facts() };
    let plan = expand(
        &parse(&FULL.replace("[\"nlist * 39 <= n\"]", "[]").replace("nlist: [64, 1024]", "nlist: [8, 1024]")),
        &tiny,
    )
    .unwrap();
    let reasons: BTreeSet<&str> = plan.rejected.iter().map(|one| one.rule.as_str()).collect();
    for reason in ["k <= n (n is 50)", "nlist <= n (n is 50)", "nprobe <= nlist (there are no more lists)"] {
        assert!(reasons.contains(reason), "{reasons:?}");
    }
}

#[test]
fn codes_that_do_not_go_together_are_rejected_before_any_work() {
    let sweeps = "m: 16, codes: [f32, sq8, sq4], components: [0, 64], rerank_codes: [none, sq8]";
    let plan = plan(&SMALL.replace("m: 16", sweeps));
    let mut kept: Vec<String> = plan.trials.iter().map(codes).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["f32 0 none", "sq4 0 none", "sq4 0 sq8", "sq4 64 none", "sq4 64 sq8", "sq8 0 none"]);
    let count = |rule: &str| plan.rejected.iter().filter(|one| one.rule == rule).map(|one| one.points).sum::<u64>();
    assert_eq!(count("components must be 0 for codes other than sq4"), 8);
    assert_eq!(count("rerank_codes must be none, or finer than the codes"), 4);
    assert_eq!(plan.rejected_points(), 12);
}

/// `sq4 64 sq8`: the codes, components and rerank codes of a trial.
fn codes(trial: &PlannedTrial) -> String {
    ["codes", "components", "rerank_codes"].map(|name| format::value(&trial.build[name])).join(" ")
}

#[test]
fn a_rule_may_speak_of_a_choice_whether_it_is_given_or_not() {
    let rule = "    require: [\"codes != 'f32' or m > 16\"]";
    let yaml = SMALL.replace("    require: [\"ef_search >= k\"]", rule);
    let swept = plan(&yaml.replace("m: 16", "m: 16, codes: [f32, f16]"));
    assert_eq!((codes(&swept.trials[0]).as_str(), swept.planned_builds()), ("f16 0 none", 1));
    let error = expand(&parse(&yaml), &facts()).unwrap_err().to_string();
    assert!(error.contains("2 by `codes != 'f32' or m > 16`"), "{error}");
}

#[test]
fn a_rerank_without_codes_to_rerank_by_is_warned_of() {
    let yaml = SMALL.replace("[10, 40]", "[10, 40], rerank: [0, 20]");
    assert!(plan(&yaml).warnings[0].contains("rerank changes nothing"), "{:?}", plan(&yaml).warnings);
    let with_codes = yaml.replace("m: 16", "m: 16, codes: sq4, rerank_codes: sq8");
    assert_eq!(plan(&with_codes).warnings, Vec::<String>::new());
    let required = yaml.replace("[\"ef_search >= k\"]", "[\"rerank == 0 or rerank_codes != 'none'\"]");
    assert_eq!(plan(&required).warnings, Vec::<String>::new());
}

#[test]
fn an_index_with_no_point_left_is_an_error_at_the_rule_that_rejects_most() {
    let spec = parse(FULL);
    let error = expand(&spec, &Facts { n: Some(2_000), ..facts() }).unwrap_err().to_string();
    assert!(error.contains("impossible require: no point of `lists` is left"), "{error}");
    assert!(error.contains("12 by `nlist * 39 <= n`") && error.contains("full.yaml:12:"), "{error}");
}

#[test]
fn threads_and_seed_stand_beside_the_build_parameters() {
    let plan = plan(FULL);
    let exact: Vec<usize> =
        plan.trials.iter().filter(|trial| trial.kind == Kind::Flat).map(|trial| trial.threads).collect();
    assert_eq!(exact.iter().sum::<usize>(), 3);
    for trial in &plan.trials {
        assert!(!trial.build.contains_key("threads") && !trial.build.contains_key("seed"));
        assert_eq!(trial.seed, if trial.kind == Kind::Hnsw { 3 } else { 1 });
        assert_eq!(trial.worker.is_some(), trial.kind == Kind::External);
    }
}

#[test]
fn hashes_are_32_hex_digits_all_different_and_the_same_every_time() {
    let first = plan(FULL);
    assert_eq!(first, plan(FULL));
    let mut names = keys(&first);
    assert_eq!(names.len(), first.planned_searches());
    names.extend(first.trials.iter().map(|trial| trial.hash.clone()));
    names.insert(first.spec_hash);
    assert_eq!(names.len(), first.trials.iter().map(|trial| 1 + trial.searches.len()).sum::<usize>() + 1);
    assert!(names.iter().all(|name| name.len() == 32 && name.chars().all(|c| c.is_ascii_hexdigit())));
}

#[test]
fn the_hashes_of_a_known_experiment_do_not_change_with_the_program() {
    let plan = plan(SMALL);
    let search = plan.trials[0].searches.iter().find(|search| search.written == 0).unwrap();
    insta::assert_snapshot!("hashes", format!("{}\n{}\n{}", plan.spec_hash, plan.trials[0].hash, search.key));
}

#[test]
fn prose_limits_and_expectations_do_not_change_what_is_measured() {
    let before = plan(SMALL);
    for (from, to) in [
        ("How good is it?", "How bad is it?"),
        ("repeats: 3", "repeats: 3, timeout: 1h, memory: 1GiB"),
        ("at: {ef_search: 40}", "at: {ef_search: 10}"),
        ("k: [10]", "k: 10"),
        ("m: 16, ef_construction: 200", "ef_construction: {range: [200, 200, 1]}"),
        ("[10, 40]", "[40, 10]"),
        ("m: 16", "m: 16, codes: f32, components: 0, rerank_codes: none"),
        ("[10, 40]", "[10, 40], rerank: 0"),
        ("[10, 40]", "[10, 40], patience: 0, ahead: auto, interleave: 0, layers: all"),
    ] {
        let after = plan(&SMALL.replace(from, to));
        assert_eq!((before.spec_hash.as_str(), keys(&before)), (after.spec_hash.as_str(), keys(&after)), "{to}");
    }
}

#[test]
fn whatever_changes_the_measurement_changes_its_key() {
    let before = plan(SMALL);
    for (from, to) in [
        ("graph", "other"),
        ("m: 16", "m: 17"),
        ("m: 16", "m: 16, codes: f16"),
        ("[10, 40]", "[10, 40], rerank: 1"),
        ("[10, 40]", "[10, 40], patience: 5"),
        ("[10, 40]", "[10, 40], ahead: codes"),
        ("[10, 40]", "[10, 40], interleave: 1"),
        ("threads: 2", "threads: 1"),
        ("threads: 2", "threads: 2, seed: 2"),
        ("repeats: 3", "repeats: 3, warmup: 2"),
        ("name: single", "name: double"),
        ("mode: latency", "mode: throughput"),
    ] {
        assert!(keys(&before).is_disjoint(&keys(&plan(&SMALL.replace(from, to)))), "{to}");
    }
    let spec = parse(SMALL);
    for changed in [
        Facts { dataset_fingerprint: Some("abd".to_owned()), ..facts() },
        Facts { dataset_fingerprint: None, ..facts() },
        Facts { code_version: "2".to_owned(), ..facts() },
    ] {
        assert!(keys(&before).is_disjoint(&keys(&expand(&spec, &changed).unwrap())), "{changed:?}");
    }
    let orders: BTreeSet<String> =
        ["seed: 2", "order: sequential", "order: interleaved", "pin: none", "pin: [0]", "repeats: 4"]
            .map(|measure| plan(&SMALL.replace("repeats: 3", measure)).spec_hash)
            .into();
    assert_eq!(orders.len(), 6);
    assert!(!orders.contains(&before.spec_hash));
}

#[test]
fn another_worker_is_another_trial_but_another_folder_is_not() {
    let hash = |yaml: &str, version: &str| {
        let facts = Facts { worker_versions: [("peer".to_owned(), version.to_owned())].into(), ..facts() };
        let plan = expand(&parse(yaml), &facts).unwrap();
        plan.trials
            .iter()
            .filter(|trial| trial.index == "peer")
            .map(|trial| trial.hash.clone())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(hash(FULL, "x"), hash(&FULL.replace("workers/peer.py", "elsewhere/peer.py"), "x"));
    assert_ne!(hash(FULL, "x"), hash(&FULL.replace("workers/peer.py", "workers/other.py"), "x"));
    assert_ne!(hash(FULL, "x"), hash(FULL, "y"));
}

const FILTERED: &str = "mode: filtered, selectivity: [0.5, 0.01], correlation: [none, negative]";

#[test]
fn every_filter_of_a_workload_is_measured() {
    let plan = plan(&SMALL.replace("mode: latency", FILTERED));
    assert_eq!(plan.planned_searches(), 2 * 4 * 3);
    let filters: Vec<String> = plan.trials[0]
        .searches
        .iter()
        .filter_map(|search| search.filter)
        .map(|filter| format!("{} {} {} {}", filter.correlation, filter.selectivity, filter.filters, filter.seed))
        .collect();
    assert_eq!(filters.len(), 24);
    assert_eq!(filters.iter().collect::<BTreeSet<_>>().len(), 4);
    assert!(filters.contains(&"negative 0.01 100 1".to_owned()), "{filters:?}");
    let seconds = |selectivity: f64| {
        let with = |search: &&nearlab_harness::plan::PlannedSearch| {
            search.filter.is_some_and(|filter| filter.selectivity == selectivity)
        };
        plan.trials[0].searches.iter().find(with).unwrap().seconds.unwrap()
    };
    assert!(seconds(0.01) < seconds(0.5), "a hundredth of so few vectors is soon scanned");
    let spec = parse(&SMALL.replace("mode: latency", FILTERED));
    let text = plan.render(&spec, &facts());
    assert!(text.contains("single none at 0.5 x3") && text.contains("single negative at 0.01 x3"), "{text}");
    assert!(spec.warnings.iter().any(|warning| warning.contains("without an index of kind flat")), "{spec:?}");
}

#[test]
fn a_selectivity_that_admits_no_vector_is_an_error_at_its_workload() {
    let spec = parse(&SMALL.replace("mode: latency", &FILTERED.replace("0.01", "0.00001")));
    let error = expand(&spec, &facts()).unwrap_err().to_string();
    assert!(error.contains("no vector matches at selectivity 0.00001"), "{error}");
    assert!(error.contains("a selectivity of 0.0001 or more") && error.contains("--> full.yaml:11:"), "{error}");
    assert!(expand(&spec, &Facts::default()).is_ok(), "not known before the data are");
}

#[test]
fn whatever_changes_the_filters_changes_the_key() {
    let before = plan(&SMALL.replace("mode: latency", FILTERED));
    for (from, to) in [
        ("selectivity: [0.5, 0.01]", "selectivity: [0.4, 0.02]"),
        ("correlation: [none, negative]", "correlation: positive"),
        ("correlation: [none, negative]", "correlation: [none, negative], filters: 99"),
        ("correlation: [none, negative]", "correlation: [none, negative], seed: 2"),
    ] {
        let after = plan(&SMALL.replace("mode: latency", &FILTERED.replace(from, to)));
        assert!(keys(&before).is_disjoint(&keys(&after)), "{to}");
    }
}

/// (trial, repeat) of every measurement in measuring order, and whether the positions count up without a gap.
fn walk(plan: &Plan) -> Vec<(usize, u32)> {
    let schedule = plan.schedule();
    for (position, &(t, s)) in schedule.iter().enumerate() {
        assert_eq!(plan.trials[t].searches[s].order, position as u64);
    }
    assert_eq!(schedule.iter().collect::<BTreeSet<_>>().len(), plan.planned_searches());
    schedule.into_iter().map(|(t, s)| (t, plan.trials[t].searches[s].repeat)).collect()
}

#[test]
fn the_sequential_order_is_as_written() {
    let plan = plan(&FULL.replace("interleaved", "sequential"));
    walk(&plan);
    assert!(plan.trials.iter().enumerate().all(|(i, trial)| trial.written == i));
    assert!(plan.trials.iter().all(|trial| trial.searches.iter().enumerate().all(|(i, search)| search.written == i)));
}

#[test]
fn the_shuffled_order_finishes_each_trial_and_depends_on_the_seed() {
    let shuffled = FULL.replace("interleaved", "shuffled");
    let plan = plan(&shuffled);
    let mut trials: Vec<usize> = walk(&plan).into_iter().map(|(trial, _)| trial).collect();
    trials.dedup();
    assert_eq!(trials, (0..plan.planned_builds()).collect::<Vec<_>>());
    let order = |plan: &Plan| plan.trials.iter().map(|trial| trial.written).collect::<Vec<_>>();
    assert_ne!(order(&plan), (0..plan.planned_builds()).collect::<Vec<_>>());
    assert_ne!(order(&plan), order(&self::plan(&shuffled.replace("seed: 9", "seed: 10"))));
    let trial = &plan.trials[0];
    assert!(trial.searches.iter().enumerate().any(|(i, search)| search.written != i));
}

#[test]
fn the_interleaved_order_measures_one_repeat_of_everything_before_the_next() {
    let plan = plan(FULL);
    let walk = walk(&plan);
    let (first, second) = walk.split_at(walk.len() / 2);
    assert!(first.iter().all(|(_, repeat)| *repeat == 0) && second.iter().all(|(_, repeat)| *repeat == 1));
    let turns = |half: &[(usize, u32)]| {
        let mut trials: Vec<usize> = half.iter().map(|(trial, _)| *trial).collect();
        trials.dedup();
        trials
    };
    assert_eq!(turns(first), (0..plan.planned_builds()).collect::<Vec<_>>());
    assert_eq!(turns(second).len(), plan.planned_builds());
    assert_ne!(turns(first), turns(second));
}

#[test]
fn adding_an_index_does_not_reorder_the_measurements_of_another() {
    let more = SMALL.replace("workloads:", "  - {name: exact, kind: flat}\nworkloads:");
    let of_graph = |plan: Plan| {
        plan.trials
            .into_iter()
            .find(|trial| trial.index == "graph")
            .unwrap()
            .searches
            .into_iter()
            .map(|search| search.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(of_graph(plan(SMALL)), of_graph(plan(&more)));
}

#[test]
fn estimates_follow_the_stated_formulas() {
    let plan = plan(FULL);
    let graph = plan
        .trials
        .iter()
        .find(|trial| trial.build.get("ef_construction") == Some(&json!(128)) && trial.build["m"] == json!(16))
        .unwrap();
    assert_eq!(graph.cost.distance_computations, Some(10_000.0 * 128.0 * 16.0));
    assert_eq!(graph.cost.bytes, Some(4 * 10_000 * 128 + 4 * 10_000 * 34));
    let lists = plan.trials.iter().find(|trial| trial.kind == Kind::Ivf).unwrap();
    assert_eq!(lists.cost.distance_computations, Some((5.0 * 10_000.0 + 10_000.0) * 64.0));
    let exact = plan.trials.iter().find(|trial| trial.kind == Kind::Flat).unwrap();
    let seconds = |threads| {
        exact.searches.iter().find(|search| search.threads == threads).and_then(|search| search.seconds).unwrap()
    };
    assert!((seconds(1) - 800.0 * 10_000.0 * 16e-9).abs() < 1e-9 && (seconds(1) / seconds(2) - 2.0).abs() < 1e-9);
    let peer = plan.trials.iter().find(|trial| trial.kind == Kind::External).unwrap();
    assert!(peer.cost.seconds.is_none() && peer.searches[0].seconds.is_none());
}

#[test]
fn an_index_over_codes_is_as_large_as_its_codes() {
    let bytes = |params: &str| plan(&SMALL.replace("m: 16", params)).trials[0].cost.bytes.unwrap() - 4 * 10_000 * 34;
    for (params, per_vector) in [
        ("m: 16", 512),
        ("m: 16, codes: f16", 256),
        ("m: 16, codes: sq8, rerank_codes: f32", 128 + 512),
        ("m: 16, codes: sq4, rerank_codes: f16", 64 + 256),
        ("m: 16, codes: sq4, components: 32, rerank_codes: sq8", 16 + 128),
        ("m: 16, codes: sq4, components: 65536", 64),
        ("m: 16, codes: pq4, rerank_codes: f16", 32 + 256),
        ("m: 16, codes: pq4-blocks, rerank_codes: f16", 33 * 32 + 256),
        ("m: 16, codes: pq8, sub_dim: 8, rerank_codes: f16", 16 + 256),
    ] {
        assert_eq!(bytes(params), 10_000 * per_vector, "{params}");
    }
}

#[test]
fn points_that_an_index_would_measure_twice_are_warned_of() {
    let plan = plan(&SMALL.replace("    require: [\"ef_search >= k\"]\n", "").replace("k: [10]", "k: [10, 20]"));
    assert!(plan.warnings[0].contains("raises an ef_search below k"), "{:?}", plan.warnings);
}

#[test]
fn an_expectation_of_rejected_points_is_warned_of() {
    let yaml = SMALL.replace("ef_search >= k", "ef_search < 40");
    assert!(plan(&yaml).warnings[0].contains("cannot be met"), "{:?}", plan(&yaml).warnings);
}

#[test]
fn the_plan_as_text() {
    insta::assert_snapshot!("full", plan(FULL).render(&parse(FULL), &facts()));
}

#[test]
fn the_plan_as_text_before_the_data_is_known() {
    let spec = parse(SMALL);
    insta::assert_snapshot!("unknown", expand(&spec, &Facts::default()).unwrap().render(&spec, &Facts::default()));
}

#[test]
fn a_long_list_of_rejected_points_is_cut_and_counted() {
    let yaml = SMALL
        .replace("[10, 40]", "{range: [1, 80, 1]}")
        .replace("ef_search >= k", "ef_search >= 70")
        .replace("at: {ef_search: 40}", "at: {ef_search: 80}");
    let spec = parse(&yaml.replace("{use: some-set}", "{train: a.fvecs, test: b.fvecs}"));
    let text = expand(&spec, &facts()).unwrap().render(&spec, &facts());
    assert!(text.contains("69 points rejected") && text.contains("... and 29 more rows"), "{text}");
    assert!(text.contains("data: a.fvecs, n = 10,000, d = 128, queries = 800"), "{text}");
}

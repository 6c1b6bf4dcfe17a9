//! Workloads with filters, from YAML to report.

use std::{collections::BTreeSet, fs};

use nearlab_reports::record::{ExpectationOutcome, Outcome, Search};

use crate::laboratory::{Laboratory, stdout, text};

const FILTERED: &str = "
question: What do filters cost?
dataset: {use: data.hdf5}
k: [10]
indexes:
  - {name: exact, kind: flat}
  - {name: graph, kind: hnsw, build: {m: 8, ef_construction: 40}, search: {ef_search: [40]}}
  - {name: lists, kind: ivf, build: {nlist: 16}, search: {nprobe: [1, 16]}}
workloads:
  - {name: filter, mode: filtered, selectivity: [0.5, 0.1, 0.005], correlation: [none, positive, negative], filters: 5}
measure: {repeats: 2, warmup: 1, timeout: 60s}
expect:
  recall_at_10 == 1:
    - {index: exact}
  recall_at_10 >= 0.9: {index: graph, workload: filter}
";

/// A worker that answers each filtered search with what Python makes of it.
fn worker(answer: &str) -> String {
    format!(
        r#"
import json, os, struct, sys
trial = json.load(open(sys.argv[-1]))
def say(message):
    print(json.dumps(message), flush=True)
say({{"hello": {{"protocol": 1, "library": "fake 1"}}}})
say({{"built": {{"stages": {{}}, "cpu_seconds": 0.1}}}})
for line in sys.stdin:
    request = json.loads(line)
    if "exit" in request:
        break
    search = request["search"]
    assert search["mode"] == "filtered" and search["filters"]["of_query"]["n"] == trial["test"]["n"]
    {answer}
"#
    )
}

fn of<'a>(searches: &'a [Search], index: &str, selectivity: f64, correlation: &str) -> &'a Search {
    let wanted = |search: &&Search| {
        let filter = search.filter.as_ref().unwrap();
        search.index == index && filter.selectivity == selectivity && filter.correlation == correlation
    };
    searches.iter().find(wanted).unwrap()
}

#[test]
fn every_selectivity_and_correlation_is_measured_judged_and_reported() {
    let laboratory = Laboratory::new();
    laboratory.write("filtered.yaml", FILTERED);
    let output = laboratory.expect("run filtered.yaml", 0);
    assert!(stdout(&output).contains("workload filter (filtered), 1 thread, k 10\n"), "{}", text(&output));
    assert!(stdout(&output).contains("as fast as an exact scan of the matches"), "{}", text(&output));
    let run = laboratory.records("filtered");
    assert_eq!((run.builds.len(), run.searches.len(), run.failures.len()), (3, 4 * 9 * 2, 0));
    let keys: BTreeSet<&str> = run.searches.iter().map(|search| search.key.as_str()).collect();
    assert_eq!(keys.len(), run.searches.len());
    let finished = run.finished.as_ref().unwrap();
    assert!(finished.expectations.iter().all(|one| one.outcome == ExpectationOutcome::Met), "{finished:?}");
    for search in &run.searches {
        let filter = search.filter.as_ref().unwrap();
        assert_eq!((search.mode.as_str(), search.queries, filter.filters), ("filtered", 40, 5));
        assert_eq!(filter.matches, (1000.0 * filter.selectivity) as u64);
        assert!(search.latency_ns.is_some());
        // Of five matches five are found, and that is all there is.
        let possible = 40 * filter.matches.min(10);
        assert!(search.recall.hits <= possible);
        if search.index == "exact" {
            assert_eq!((search.recall.hits, search.recall.strict, search.recall.ties), (possible, 1.0, 1.0));
        }
    }
    let near = |correlation| of(&run.searches, "exact", 0.1, correlation).filter.as_ref().unwrap().near_share;
    assert!(near("negative") < near("none") && near("none") < near("positive"));

    let csv = fs::read_to_string(run.folder.join("results.csv")).unwrap();
    let header = csv.lines().next().unwrap();
    assert!(header.contains(",mode,selectivity,correlation,matches,filters,near_share,"), "{header}");
    let page = fs::read_to_string(run.folder.join("report/index.html")).unwrap();
    assert!(page.contains("<h2>Filtered search</h2>") && page.contains("Recall, matches far from the query"));
    for name in ["recall-none", "time-positive", "time-negative"] {
        for ending in ["png", "svg"] {
            assert!(run.folder.join(format!("report/filtered-{name}.{ending}")).is_file(), "{name}");
        }
    }
    let output = laboratory.expect("run filtered.yaml --quiet --no-report", 0);
    assert!(stdout(&output).contains("complete already"), "{}", text(&output));
}

#[test]
fn a_plan_lists_every_filter_and_makes_none() {
    let laboratory = Laboratory::new();
    laboratory.write("filtered.yaml", FILTERED);
    let plan = stdout(&laboratory.expect("run filtered.yaml --plan", 0));
    for point in ["filter none at 0.5 x2", "filter positive at 0.1 x2", "filter negative at 0.005 x2"] {
        assert_eq!(plan.matches(point).count(), 4, "{point}\n{plan}");
    }
    let made = fs::read_dir(laboratory.path("cache/prepared")).unwrap();
    assert!(made.map(|entry| entry.unwrap().file_name()).all(|name| !name.to_string_lossy().contains("-filter-")));
    laboratory.write("few.yaml", &FILTERED.replace("0.005]", "0.0001]"));
    let output = laboratory.expect("run few.yaml", 2);
    assert!(text(&output).contains("no vector matches at selectivity 0.0001"), "{}", text(&output));
}

#[test]
fn a_library_without_filters_is_unsupported_and_one_that_ignores_them_breaks_the_protocol() {
    let laboratory = Laboratory::new();
    laboratory
        .write("without.py", &worker(r#"say({"failed": {"stage": "unsupported", "message": "no filters here"}})"#));
    let ignore = r#"
    for name, code, values in (("ids", "i", list(range(10)) * 40), ("latencies", "Q", [1000] * 40)):
        with open(search[name], "wb") as file:
            file.write(struct.pack("<%d%s" % (len(values), code), *values))
    say({"searched": {"key": search["key"], "wall_seconds": 0.1, "cpu_seconds": 0.1}})"#;
    laboratory.write("ignores.py", &worker(ignore));
    let peers = "  - {name: without, kind: external, worker: without.py}\n  - {name: ignores, kind: external, worker: ignores.py}\nworkloads:";
    laboratory.write("peers.yaml", &FILTERED.replace("workloads:", peers));
    let output = laboratory.expect("run peers.yaml --quiet", 0);
    assert!(stdout(&output).contains("unsupported by without (18 measurements): no filters here"), "{}", text(&output));
    let run = laboratory.records("peers");
    assert_eq!(run.searches.len(), 4 * 9 * 2);
    let (refused, broken): (Vec<_>, Vec<_>) = run.failures.iter().partition(|failure| failure.index == "without");
    assert_eq!(refused.len(), 18);
    assert!(refused.iter().all(|one| one.outcome == Outcome::Unsupported && one.filter.is_some()), "{refused:?}");
    // Its first answer ends it.
    assert_eq!((broken.len(), broken[0].outcome), (1, Outcome::Protocol));
    assert!(broken[0].message.contains("which its filter does not admit"), "{}", broken[0].message);
    let report = fs::read_to_string(run.folder.join("report/report.md")).unwrap();
    assert!(report.contains("- Unsupported: without (18 measurements): no filters here"), "{report}");
    assert!(report.contains("1 build or search failed"), "{report}");
    // What a library does not have is not tried again for nothing, and not what --retry-failed mends.
    let output = laboratory.expect("run peers.yaml --quiet --no-report", 0);
    assert!(stdout(&output).contains("complete already"), "{}", text(&output));
    laboratory.expect("run peers.yaml --quiet --no-report --retry-failed", 0);
    let again = laboratory.records("peers");
    assert_eq!((again.searches.len(), again.failures.len()), (4 * 9 * 2, 18 + 1));
    assert!(again.builds.iter().filter(|build| build.index == "without").count() == 1, "it is not built again");
}

#[test]
fn the_data_set_of_the_repository_is_searched_among_matches() {
    let laboratory = Laboratory::empty();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/data/sift-photos-20k-128-euclidean.hdf5");
    let yaml = FILTERED
        .replace("{use: data.hdf5}", &format!("{{use: {data}, queries: {{report: 50}}}}"))
        .replace("nlist: 16", "nlist: 64, iterations: 2")
        .replace("m: 8, ef_construction: 40", "m: 8, ef_construction: 40, construction: bulk")
        .replace("repeats: 2, warmup: 1", "repeats: 1, warmup: 0")
        .replace("[0.5, 0.1, 0.005]", "[0.1, 0.01]")
        .replace("filters: 5", "filters: 20");
    laboratory.write("photos.yaml", &yaml);
    laboratory.expect("run photos.yaml --quiet", 0);
    let run = laboratory.records("photos");
    assert_eq!(run.searches.len(), 4 * 6);
    let near = |correlation| of(&run.searches, "exact", 0.1, correlation).filter.as_ref().unwrap().near_share;
    assert!(near("positive") > 0.5 && near("negative") < 0.01, "{} {}", near("positive"), near("negative"));
}

//! Saved indexes and prepared data sets, checked from the command line.

use std::fs;

use nearlab_reports::format;

use crate::laboratory::{Laboratory, SMALL, stderr, stdout};

#[test]
fn saved_indexes_are_timed_and_can_be_inspected_and_damage_is_named() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", &SMALL.replace("warmup: 1", "warmup: 1, save: true"));
    laboratory.expect("run small.yaml --quiet --no-report", 0);
    let run = laboratory.records("small");
    assert_eq!(run.builds.len(), 3);
    for build in &run.builds {
        assert!(build.stages.save > 0.0 && build.stages.load > 0.0, "{build:?}");
        let path = run.folder.join("indexes").join(format!("{}.nearlab", build.trial));
        let said = stdout(&laboratory.expect(&format!("inspect {}", path.display()), 0));
        assert!(said.contains(&format!("{} index", build.kind)), "{said}");
        assert!(said.contains(build.digest.as_deref().unwrap()), "{said}");

        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(laboratory.path("damaged.nearlab"), bytes).unwrap();
        let said = stderr(&laboratory.expect("inspect damaged.nearlab", 2));
        assert!(said.starts_with("error: ") && said.contains("damaged.nearlab"), "{said}");
    }
}

#[test]
fn an_index_over_codes_is_measured_saved_and_described() {
    let laboratory = Laboratory::new();
    let graph = "build: {m: 8, ef_construction: 40, codes: [f32, sq4], components: [0, 8], rerank_codes: [none, sq8]}, search: {ef_search: 40, rerank: 30}";
    let yaml = SMALL
        .replace("build: {m: 8, ef_construction: 40}, search: {ef_search: [5, 10, 40]}", graph)
        .replace("warmup: 1", "warmup: 1, save: true");
    laboratory.write("codes.yaml", &yaml);
    laboratory.expect("run codes.yaml --quiet --no-report", 0);
    let run = laboratory.records("codes");
    let mut seen = Vec::new();
    for build in run.builds.iter().filter(|build| build.index == "graph") {
        let path = run.folder.join("indexes").join(format!("{}.nearlab", build.trial));
        let said = stdout(&laboratory.expect(&format!("inspect {}", path.display()), 0));
        let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
        let codes = ["codes", "components", "rerank_codes"].map(|name| format::value(&build.params[name]));
        assert!(rows.contains(&vec!["codes", &codes[0]]) && rows.contains(&vec!["components", &codes[1]]), "{said}");
        assert!(rows.contains(&vec!["rerank_codes", &codes[2]]), "{said}");
        assert_eq!(said.contains("rerank_codes bytes"), codes[2] != "none", "{said}");
        seen.push(codes.join(" "));
    }
    seen.sort();
    assert_eq!(seen, ["f32 0 none", "sq4 0 none", "sq4 0 sq8", "sq4 8 none", "sq4 8 sq8"]);
    // f32 with sq8 after it, with components, and with both.
    assert_eq!(run.rejected.len(), 3);
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    assert!(run.searches.iter().filter(|search| search.index == "graph").all(|search| search.params["rerank"] == 30));
}

#[test]
fn a_prepared_data_set_is_described_and_a_foreign_file_is_refused() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --plan", 0);
    let prepared = fs::read_dir(laboratory.path("cache/prepared")).unwrap().next().unwrap().unwrap().path();
    let said = stdout(&laboratory.expect(&format!("inspect {}", prepared.display()), 0));
    assert!(said.contains("prepared data set") && said.contains("1000"), "{said}");
    let said = stderr(&laboratory.expect("inspect data.hdf5", 2));
    assert!(said.contains("data.hdf5"), "{said}");
    let said = stderr(&laboratory.expect("inspect nowhere.nearlab", 2));
    assert!(said.contains("nowhere.nearlab"), "{said}");
}

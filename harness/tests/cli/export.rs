//! ann-benchmarks result files.

use std::{fs, path::PathBuf};

use nearlab_reports::format;
use rust_hdf5::H5File;

use crate::laboratory::{Laboratory, SMALL, stderr, text};

fn files_below(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(path)) } else { found.push(path) }
    }
    found
}

#[test]
fn an_exported_file_gives_the_recall_that_was_recorded() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --quiet --no-report", 0);
    let run = laboratory.records("small");
    laboratory.expect(&format!("export {} --ann-benchmarks results", run.folder.display()), 0);

    let truth = H5File::open(laboratory.path("data.hdf5")).unwrap();
    let true_distances = truth.dataset("distances").unwrap().read_raw::<f32>().unwrap();
    let files = files_below(laboratory.path("results"));
    // Ten points: five of each workload, repeats folded.
    assert_eq!(files.len(), 10, "{files:?}");
    for path in files {
        let file = H5File::open(&path).unwrap();
        let name = file.attr_string("name").unwrap();
        let index = file.attr_string("algo").unwrap();
        assert_eq!(file.attr_string("distance").unwrap(), "euclidean");
        let attributes = file.attr_names().unwrap();
        for attribute in ["best_search_time", "build_time", "candidates", "count", "index_size", "run_count"] {
            assert!(attributes.iter().any(|name| name == attribute), "{attribute}");
        }
        assert_eq!(file.dataset("neighbors").unwrap().shape(), [40, 10]);
        assert_eq!(file.dataset("times").unwrap().read_raw::<f64>().unwrap().len(), 40);
        let distances = file.dataset("distances").unwrap().read_raw::<f32>().unwrap();
        // ann-benchmarks' own definition, as its plotting code computes it.
        let hits: usize = distances
            .chunks(10)
            .zip(true_distances.chunks(20))
            .map(|(found, truth)| found.iter().filter(|&&distance| distance <= truth[9] + 1e-3).count())
            .sum();
        let batch = path.to_string_lossy().contains("-batch");
        let recorded = run.searches.iter().find(|search| {
            let word = |(key, value): (&String, &serde_json::Value)| format!("{key}={}", format::value(value));
            let words: Vec<String> = search.build.iter().chain(&search.params).map(word).collect();
            name.starts_with(&format!("{index}({})", words.join(", ")))
                && search.index == index
                && (search.mode == "throughput") == batch
        });
        let recall = hits as f64 / 400.0;
        assert!((recorded.unwrap().recall.annb - recall).abs() < 1e-9, "{name}: {recall}");
    }
}

#[test]
fn without_its_data_set_or_without_searches_there_is_nothing_to_export() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --quiet --no-report", 0);
    let run = laboratory.runs("small").remove(0);
    laboratory.expect("datasets clean", 0);
    let export = format!("export {} --ann-benchmarks results", run.display());
    let output = laboratory.expect(&export, 2);
    assert!(stderr(&output).contains("prepares it again"), "{}", text(&output));
    let records = run.join("records.jsonl");
    let recorded = fs::read_to_string(&records).unwrap();
    let head: Vec<&str> = recorded.lines().take(2).collect();
    fs::write(&records, head.join("\n") + "\n").unwrap();
    let output = laboratory.expect(&export, 2);
    assert!(stderr(&output).contains("nothing to export"), "{}", text(&output));
    assert!(!laboratory.path("results").exists());
}

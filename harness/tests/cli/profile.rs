//! Profiles: apart from timed runs, and in the report.

use nearlab_reports::run::RunData;

use crate::laboratory::{Laboratory, SMALL, text};

#[test]
fn a_run_takes_the_profiles_that_the_experiment_asks_for() {
    let laboratory = Laboratory::new();
    laboratory.write(
        "profiled.yaml",
        "question: Where does time go?\ndataset: {use: data.hdf5}\nk: [10]\n\
         indexes:\n  - {name: graph, kind: hnsw, search: {ef_search: [10, 20, 30]}}\n\
         workloads:\n  - {name: single, mode: latency}\nmeasure: {repeats: 1}\n\
         profile: {cpu: {hz: 199}, heap: true}\n",
    );
    laboratory.expect("run profiled.yaml --quiet --no-report", 0);
    let run = laboratory.records("profiled");
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    // Samples of the build and of searches, and the heap.
    assert_eq!(run.profiles.len(), 3, "{:?}", run.profiles);
    for profile in &run.profiles {
        assert_eq!(profile.search["ef_search"], 20);
        for file in profile.files.values() {
            assert!(run.folder.join(file).metadata().unwrap().len() > 0, "{file}");
        }
        match &profile.heap {
            Some(heap) => {
                // The order in which vectors are inserted, say; codes and links lie in maps of their own.
                assert!(heap.total_bytes >= heap.peak_bytes && heap.peak_bytes > 1000 * 4, "{heap:?}");
                assert!(heap.sites[0].frame.contains("index/src") || heap.sites[0].frame.contains("(src/"), "{heap:?}");
            }
            None if profile.stage == "search" => assert!(profile.samples.unwrap() > 0, "{profile:?}"),
            None => assert_eq!(profile.files.is_empty(), profile.samples == Some(0), "{profile:?}"),
        }
    }
    assert!(run.finished.is_some());
    // Nothing left to do.
    let output = laboratory.expect("run profiled.yaml --quiet --no-report", 0);
    assert!(text(&output).contains("complete already"));
}

#[test]
fn one_index_is_profiled_without_measuring_and_a_later_run_goes_on_there() {
    let laboratory = Laboratory::new();
    laboratory.write("later.yaml", &(SMALL.to_owned() + "profile: {heap: true}\n"));
    laboratory.expect("profile later.yaml --index graph --quiet --no-report", 0);
    let run = laboratory.records("later");
    assert_eq!((run.searches.len(), run.builds.len()), (0, 0));
    assert!(
        run.profiles.iter().all(|profile| profile.index == "graph") && run.profiles.len() == 1,
        "{:?}",
        run.profiles
    );
    laboratory.expect("run later.yaml --quiet --no-report", 0);
    laboratory.expect("profile later.yaml --index exact --quiet --no-report", 0);
    let run = RunData::load(&laboratory.runs("later")[0]).unwrap();
    assert_eq!((run.searches.len(), run.profiles.len()), (20, 3));
    assert!(run.finished.is_some());
}

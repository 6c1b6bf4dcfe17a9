use nearlab_reports::{
    compare::{self, Options, Word},
    record::{Dataset, Split},
    run::RunData,
};

use crate::fixture;

/// The same run, measured again: hnsw twice as fast at m 16, ivf slower and less exact, hnswlib gone.
fn later(before: &RunData) -> RunData {
    let mut run = before.clone();
    run.runs[1].run_id = "specimen-2".into();
    let keep: Vec<usize> = (0..run.searches.len()).filter(|at| run.searches[*at].index != "hnswlib").collect();
    run.searches = keep.iter().map(|at| before.searches[*at].clone()).collect();
    run.origins = keep.iter().map(|at| before.origins[*at]).collect();
    for search in &mut run.searches {
        if search.index == "hnsw" && search.build["m"] == 16 {
            search.qps *= 2.0;
        }
        if search.index == "ivf" {
            search.qps /= 3.0;
            search.recall.strict -= 0.01;
            search.recall.hits -= 50;
            if let Some(latency) = &mut search.latency_ns {
                latency.p99 *= 3;
            }
            if let Some(counters) = &mut search.counters {
                counters.distance_computations += 1;
            }
        }
    }
    run
}

#[test]
fn a_run_against_itself_is_inconclusive_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::write(folder.path());
    let comparison = compare::compare(&run, &run, &Options::default());
    assert_eq!(comparison.rows.len(), 60);
    assert_eq!(comparison.count(Word::Inconclusive), 60);
    assert!(comparison.rows.iter().all(|row| row.recall_change == 0.0 && row.counters.is_empty()));
    assert_eq!((comparison.only_a.len(), comparison.only_b.len(), comparison.differences.len()), (0, 0, 0));
    assert!(comparison.at_recall.iter().all(|at| at.ratio == 1.0));
}

#[test]
fn what_got_better_and_worse_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let before = fixture::write(folder.path());
    let comparison = compare::compare(&before, &later(&before), &Options::default());
    assert_eq!((comparison.count(Word::Better), comparison.count(Word::Worse)), (12, 16));
    insta::assert_snapshot!("compare_text", comparison.to_text());
    insta::assert_snapshot!("compare_markdown", comparison.to_markdown());
}

#[test]
fn speed_that_was_paid_for_with_recall_is_not_called_better() {
    let folder = tempfile::tempdir().unwrap();
    let before = fixture::write(folder.path());
    let mut after = later(&before);
    for search in after.searches.iter_mut().filter(|search| search.index != "flat") {
        search.recall.strict += if search.index == "ivf" { 0.02 } else { -0.001 };
    }
    let comparison = compare::compare(&before, &after, &Options::default());
    assert_eq!((comparison.count(Word::Traded), comparison.count(Word::Better)), (28, 0));
    assert!(comparison.verdict().contains("28 traded speed for recall"));
}

#[test]
fn one_repeat_is_not_enough_for_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = fixture::write(folder.path());
    let keep: Vec<usize> = (0..before.searches.len()).filter(|at| before.searches[*at].repeat == 0).collect();
    before.origins = keep.iter().map(|at| before.origins[*at]).collect();
    before.searches = keep.iter().map(|at| before.searches[*at].clone()).collect();
    let comparison = compare::compare(&before, &later(&before), &Options::default());
    assert_eq!(comparison.count(Word::Inconclusive), comparison.rows.len());
}

#[test]
fn other_data_and_another_machine_are_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let before = fixture::write(folder.path());
    let mut after = before.clone();
    after.dataset.as_mut().unwrap().sha256 = "other".into();
    after.runs[1].environment.id = "e0a2".into();
    after.runs[1].environment.cpu_model = "Other CPU".into();
    after.runs[1].environment.git_commit = None;
    after.runs[1].environment.load_before = None;
    after.finished = None;
    let text = compare::compare(&before, &after, &Options::default()).to_text();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('!')).collect();
    insta::assert_snapshot!("differences", lines.join("\n"));
    // The same vectors, asked by another metric, or by other queries of the set.
    after.dataset.clone_from(&before.dataset);
    let split = |seed| Some(Split { report: 500, calibrate: 0, seed });
    let mut before = before;
    before.dataset.as_mut().unwrap().split = split(1);
    for (metric, split) in [("cosine", split(1)), ("l2", split(2))] {
        let dataset = after.dataset.as_mut().unwrap();
        (dataset.metric, dataset.split) = (metric.into(), split);
        let comparison = compare::compare(&before, &after, &Options::default());
        assert!(comparison.differences[0].starts_with("Different data"), "{:?}", comparison.differences);
    }
    after.dataset = None;
    let comparison = compare::compare(&before, &after, &Options::default());
    assert_eq!(comparison.differences[0], "One run has no data set on record.");
}

#[test]
fn data_are_the_same_where_the_same_is_asked() {
    let plain = fixture::dataset();
    let drawn =
        |report, calibrate, seed| Dataset { split: Some(Split { report, calibrate, seed }), ..fixture::dataset() };
    assert!(drawn(500, 100, 7).asks_as(&drawn(500, 0, 7)) && plain.asks_as(&drawn(500, 0, 7)));
    assert!(!drawn(500, 0, 7).asks_as(&drawn(500, 0, 8)));
    let known = |truth: &str, truth_k| Dataset { truth: Some(truth.into()), truth_k, ..fixture::dataset() };
    assert!(known("a", 100).asks_as(&known("a", 100)) && known("a", 100).asks_as(&plain));
    assert!(!known("a", 100).asks_as(&known("b", 100)));
    // More neighbours of the same queries have another hash.
    assert!(known("a", 100).asks_as(&known("b", 1000)));
    assert!(known("a", 100).describe().ends_with("500 queries, neighbours a)"), "{}", known("a", 100).describe());
    let before = serde_json::to_value(&plain).unwrap();
    assert!(before.get("truth").is_none() && serde_json::from_value::<Dataset>(before).unwrap() == plain);
}

#[test]
fn kernels_that_one_run_did_not_record_are_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let before = fixture::write(folder.path());
    let differences = |codes: Option<&str>, rustflags: Option<&str>| {
        let mut after = before.clone();
        after.runs[1].environment.simd_tier_codes = codes.map(str::to_owned);
        after.runs[1].environment.rustflags = rustflags.map(str::to_owned);
        compare::compare(&before, &after, &Options::default()).differences
    };
    assert!(differences(None, None).is_empty(), "{:?}", differences(None, None));
    let codes = "kernels dispatched to: A avx512, for codes amx, B avx512, for codes avx2.";
    assert_eq!(differences(Some("avx2"), None), [codes]);
    let flags = "rustc: A 1.95.0, B 1.95.0 with flags -C target-cpu=native.";
    assert_eq!(differences(None, Some("-C target-cpu=native")), [flags]);
}

#[test]
fn runs_without_a_common_point_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = fixture::write(folder.path());
    let mut after = before.clone();
    after.searches.clear();
    after.origins.clear();
    let comparison = compare::compare(&before, &after, &Options::default());
    assert!(comparison.to_text().contains("No point was measured in both runs"));
    assert!(comparison.to_markdown().contains("Only in A: flat: –; hnsw"));
}

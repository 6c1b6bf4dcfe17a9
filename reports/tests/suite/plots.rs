use nearlab_reports::{
    plots,
    points::{self, SeriesBy},
    record::Params,
};

use crate::fixture;

#[test]
fn every_setting_and_the_builds_have_their_plots() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [fixture::write(folder.path())];
    let points = points::gather(&runs);
    let plots = plots::draw(&runs, &points).unwrap();
    let names: Vec<&str> = plots.iter().map(|plot| plot.name.as_str()).collect();
    let batch = "qps-recall-specimen-20k-128-euclidean-batch-t2-k10";
    assert_eq!(names, ["qps-recall", "p99-recall", batch, "build-time", "memory"]);
    for plot in &plots {
        assert_eq!(&plot.png[..8], b"\x89PNG\r\n\x1a\n");
        assert!(plot.svg.starts_with("<svg") && plot.svg.contains("font-family=\"sans-serif\""));
    }
    assert!(plots[0].svg.contains("hnswlib") && plots[0].svg.contains("Queries per second"));
    assert!(plots[0].caption.contains("median of 3 repeats"));
}

#[test]
fn a_sweep_of_one_index_is_drawn_by_its_builds_and_many_series_do_not_overflow() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::write(folder.path());
    let mut builds = Vec::new();
    let mut searches = Vec::new();
    for m in 0..40 {
        let mut built = fixture::build(
            "hnsw",
            "hnsw",
            fixture::params(&[("m", m), ("a_parameter_with_a_long_name", 123_456_789)]),
            0.0,
        );
        built.memory.clear();
        built.index_bytes = None;
        built.peak_rss_anon_bytes = None;
        searches.push(fixture::search(&built, Params::new(), ("latency", 1), 0, (1000.0 + m as f64, 0.5)));
        builds.push(built);
    }
    run.origins.truncate(searches.len());
    (run.builds, run.searches) = (builds, searches);
    run.origins.iter_mut().enumerate().for_each(|(at, origin)| origin.build = Some(at));
    let runs = [run];
    let points = points::gather(&runs);
    assert_eq!(SeriesBy::choose(&runs), SeriesBy::Build);
    assert_eq!(points::all_series(&runs, &points, SeriesBy::Build).len(), 40);
    let plots = plots::draw(&runs, &points).unwrap();
    // Nothing is known about memory, and no time was taken: neither is drawn.
    assert_eq!(plots.iter().map(|plot| plot.name.as_str()).collect::<Vec<_>>(), ["qps-recall", "p99-recall"]);
    assert!(plots[0].svg.contains("more") && plots[0].svg.contains('…'));
    assert!(plots[0].caption.contains("measured once"));
}

#[test]
fn more_builds_than_fit_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::write(folder.path());
    run.builds =
        (0..30).map(|m| fixture::build("hnsw", "hnsw", fixture::params(&[("m", m)]), 1.0 + m as f64)).collect();
    run.searches.clear();
    run.origins.clear();
    let plots = plots::draw(&[run], &[]).unwrap();
    assert!(plots[0].caption.contains("the first 24 of 30 builds"), "{}", plots[0].caption);
}

#[test]
fn runs_shown_together_carry_their_names() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut runs = [fixture::write(folders[0].path()), fixture::write(folders[1].path())];
    assert_eq!(points::run_name(&runs, 1), "specimen-1 (2)");
    runs[1].runs[1].run_id = "later".into();
    let points = points::gather(&runs);
    let series = points::all_series(&runs, &points, SeriesBy::Index);
    assert_eq!(series.len(), 8);
    assert!(series.contains(&"later: hnsw".to_owned()));
    let by_build = points::all_series(&runs, &points, SeriesBy::Build);
    assert!(by_build.contains(&"specimen-1: hnsw ef_construction=200 m=16".to_owned()), "{by_build:?}");
}

use nearlab_reports::{compare, filtered, plots, points, render, summary::Summary, table::Table};

use crate::fixture;

#[test]
fn the_report_of_a_filtered_run_says_where_it_loses_to_a_scan() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::filtered(folder.path());
    Table::of(std::slice::from_ref(&run)).write(folder.path()).unwrap();
    let done = render(&[run], &folder.path().join("report")).unwrap();
    let text = std::fs::read_to_string(done.markdown).unwrap();
    let (start, end) = (text.find("## Filtered search").unwrap(), text.find("### Builds").unwrap());
    insta::assert_snapshot!("filtered_markdown", &text[start..end]);
    assert!(!text.contains("or searches failed") && !text.contains("### Failed"), "{text}");
    let page = std::fs::read_to_string(done.html).unwrap();
    for words in
        ["<h2>Filtered search</h2>", "Recall, matches far from the query", "Unsupported: usearch (9 measurements)"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains(".pictures svg { filter: invert") && !page.contains("id=\"frontier\""));
}

#[test]
fn a_filtered_run_has_two_plots_for_each_correlation() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [fixture::filtered(folder.path())];
    let points = points::gather(&runs);
    let plots = plots::draw(&runs, &points).unwrap();
    let names: Vec<&str> = plots.iter().map(|plot| plot.name.as_str()).collect();
    let of = |correlation| ["recall", "time"].map(|name| format!("filtered-{name}-{correlation}"));
    let expected: Vec<String> = ["none", "positive", "negative"].into_iter().flat_map(of).collect();
    assert_eq!(names[..6], expected);
    assert_eq!(names[6..], ["build-time", "memory"]);
    assert!(plots[0].caption.contains("flat scores every match") && plots[0].svg.contains("0.01 %"));
}

#[test]
fn ratios_are_to_the_scan_of_the_same_matches() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [fixture::filtered(folder.path())];
    let points = points::gather(&runs);
    assert_eq!(points::settings(&points), []);
    let gathered = filtered::gather(&runs, &points);
    assert_eq!((gathered.len(), gathered[0].scan, gathered[0].points.len()), (1, Some("flat"), 18));
    let correlations: Vec<String> = gathered[0].parts().into_iter().map(|part| part.correlation).collect();
    assert_eq!(correlations, ["none", "positive", "negative"]);
    for point in &gathered[0].points {
        let selectivity = point.setting.filtering.as_ref().unwrap().selectivity();
        let expected = if point.index == "flat" { 1.0 } else { 20_000.0 * selectivity.powf(0.6) / 1450.0 };
        assert!((gathered[0].ratio(point).unwrap() / expected - 1.0).abs() < 0.01);
    }
    let summary = Summary::of(&runs);
    assert_eq!((summary.failures, summary.filtered.len()), (0, 1));
    insta::assert_snapshot!("filtered_summary", summary.to_text());
}

#[test]
fn a_run_without_a_scan_has_recall_and_no_ratios() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::filtered(folder.path());
    run.builds.iter_mut().for_each(|build| build.kind = "external".into());
    let runs = [run];
    let points = points::gather(&runs);
    let gathered = filtered::gather(&runs, &points);
    assert_eq!((gathered[0].scan, gathered[0].ratio(gathered[0].points[0])), (None, None));
    let verdict = gathered[0].verdict(&runs);
    assert!(
        verdict.contains("flat reaches recall@10 0.95 at 9 of 9 points (lowest 1).") && !verdict.contains("exact scan"),
        "{verdict}"
    );
}

#[test]
fn filtered_points_are_compared_filter_by_filter() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::filtered(folder.path());
    let comparison = compare::compare(&run, &run, &compare::Options::default());
    assert_eq!((comparison.rows.len(), comparison.only_a.len()), (18, 0));
    assert!(comparison.rows.iter().any(|row| row.setting.ends_with(", 0.01 % match, correlation positive")));
}

use std::path::Path;

use nearlab_reports::{
    RenderError, plots, points,
    record::{Event, Finished, Split},
    records::Writer,
    render,
    run::RunData,
    samples,
    summary::Summary,
    table::Table,
};

use crate::fixture;

fn rendered(folder: &Path) -> (RunData, String, String) {
    let run = fixture::write(folder);
    Table::of(std::slice::from_ref(&run)).write(folder).unwrap();
    let done = render(std::slice::from_ref(&run), &folder.join("report")).unwrap();
    let page = std::fs::read_to_string(done.html).unwrap();
    let text = std::fs::read_to_string(done.markdown).unwrap();
    assert!(done.plots.iter().all(|plot| plot.is_file()) && done.plots.len() == 10);
    (run, page, text)
}

/// The values of every `src` and `href` in the page's own markup.
fn addresses(page: &str) -> Vec<&str> {
    let cut = |rest: &'static str| {
        page.match_indices(rest).map(move |(at, _)| {
            let value = &page[at + rest.len()..];
            &value[..value.find('"').unwrap_or(value.len())]
        })
    };
    cut(" src=\"").chain(cut(" href=\"")).collect()
}

#[test]
fn the_page_needs_no_network_and_escapes_what_it_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, page, _) = rendered(folder.path());
    let found = addresses(&page);
    assert!(found.contains(&"../results.csv") && found.contains(&"qps-recall.svg"), "{found:?}");
    for address in found {
        let local = !address.contains("//") || address.starts_with("data:");
        assert!(local && !address.to_lowercase().contains("http:/") && !address.contains("https:/"), "{address}");
    }
    assert!(!page.contains("@import") && !page.contains("url(http"));
    assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62; &#38; to hnswlib"));
    assert_eq!(page.matches("<script>alert").count(), 0);
    // Two of JSON, three of code.
    assert_eq!(page.matches("</script>").count(), 5);
}

#[test]
fn everything_a_reader_may_ask_for_is_in_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let (run, page, _) = rendered(folder.path());
    let wanted = [
        "is fastest with",
        "The graph wins once recall matters",
        "python has no module named faiss",
        "ef_search &#62;= k",
        "Example CPU 9000",
        "nearlab run experiments/specimen.yaml",
        "data:image/svg+xml,%3C%3Fxml",
        "nearlab_index::hnsw::build::Builder::new",
        "recall_at_10 &#62;= 0.95",
        "at most 73,000",
        "True ids returned over all queries",
        "prefers-color-scheme: dark",
        "@media print",
    ];
    for words in wanted {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains(&run.dataset.unwrap().sha256));
}

#[test]
fn the_embedded_data_are_json_again() {
    let folder = tempfile::tempdir().unwrap();
    let (run, page, _) = rendered(folder.path());
    let json = |id: &str| -> serde_json::Value {
        let start = page.find(&format!("id=\"{id}\">")).unwrap() + id.len() + 6;
        let end = start + page[start..].find("</script>").unwrap();
        serde_json::from_str(&page[start..end]).unwrap()
    };
    let charts = json("chart-data");
    assert_eq!(charts["settings"][0]["points"].as_array().unwrap().len(), 30);
    assert_eq!(charts["settings"][0]["distributions"].as_array().unwrap().len(), 4);
    assert_eq!(charts["settings"][1]["points"][0]["p"], serde_json::Value::Null);
    assert_eq!(charts["series"]["i"], serde_json::json!(["flat", "hnsw", "ivf", "hnswlib"]));
    let rows = json("rows");
    assert_eq!(rows[0][1].as_array().unwrap().len(), run.searches.len() + run.failures.len());
}

#[test]
fn the_markdown_report_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, text) = rendered(folder.path());
    insta::assert_snapshot!("report_markdown", text);
}

#[test]
fn the_summary_is_short_and_names_the_winner() {
    let folder = tempfile::tempdir().unwrap();
    let summary = Summary::of(&[fixture::write(folder.path())]);
    assert_eq!(summary.baseline.as_deref(), Some("hnswlib"));
    assert_eq!((summary.failures, summary.rejected, summary.missing.len()), (2, 1, 1));
    insta::assert_snapshot!("summary", summary.to_text());
}

#[test]
fn what_nobody_reaches_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::write(folder.path());
    for search in &mut run.searches {
        search.recall.strict = if search.index == "hnsw" { 0.92 } else { 0.5 };
    }
    let summary = Summary::of(std::slice::from_ref(&run));
    assert!(summary.verdict.starts_with("At recall@10 of at least 0.90, hnsw is fastest"), "{}", summary.verdict);
    assert!(summary.verdict.ends_with("; flat, ivf and hnswlib do not reach it."), "{}", summary.verdict);
    assert!(summary.settings[0].grid(None).to_text().contains("not reached"));
    run.searches.iter_mut().for_each(|search| search.recall.strict = 0.5);
    let verdict = Summary::of(std::slice::from_ref(&run)).verdict;
    assert!(verdict.starts_with("No index reaches recall@10 0.90"), "{verdict}");
}

#[test]
fn a_run_that_measured_nothing_still_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let lines = nearlab_reports::records::read(&{
        fixture::write(folder.path());
        folder.path().join("records.jsonl")
    })
    .unwrap();
    let kept = lines.into_iter().filter(|line| matches!(line.event, Event::Run(_) | Event::Failure(_))).collect();
    let run = RunData::from_lines(folder.path(), kept).unwrap();
    let done = render(&[run], &folder.path().join("elsewhere/report")).unwrap();
    assert!(done.plots.is_empty());
    let page = std::fs::read_to_string(done.html).unwrap();
    assert!(page.contains("Nothing was measured.") && page.contains("is not finished: 0 of 99 searches"));
}

#[test]
fn several_runs_are_shown_together_with_what_differs() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut runs = [fixture::write(folders[0].path()), fixture::write(folders[1].path())];
    runs[1].runs[1].run_id = "specimen-2".into();
    runs[1].runs[1].environment.id = "e0a2".into();
    runs[1].runs[1].environment.rustc = "1.96.0".into();
    let dataset = runs[1].dataset.as_mut().unwrap();
    (dataset.name, dataset.sha256) = ("other-data".into(), "0e".into());
    let out = tempfile::tempdir().unwrap();
    let done = render(&runs, out.path()).unwrap();
    let text = std::fs::read_to_string(done.markdown).unwrap();
    for words in [
        "specimen-2: hnsw",
        "specimen-2 used other data than specimen-1.",
        "The runs were measured on different machines or programs",
        "specimen-2 was measured in sessions on different machines or programs.",
        "| specimen-2 | rustc | 1.95.0 | 1.96.0 |",
        "other-data, workload single",
        "[results.csv](results.csv)",
    ] {
        assert!(text.contains(words), "{words}");
    }
    assert!(out.path().join("results.parquet").is_file());
}

#[test]
fn other_data_of_the_same_name_are_neither_ranked_nor_drawn_together() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut runs = [fixture::write(folders[0].path()), fixture::write(folders[1].path())];
    runs[1].runs[1].run_id = "larger".into();
    let dataset = runs[1].dataset.as_mut().unwrap();
    (dataset.sha256, dataset.n) = ("0e".into(), 200_000);
    let named = ["specimen-20k-128-euclidean", "specimen-20k-128-euclidean as in larger"];
    assert_eq!(points::data_names(&runs), named);
    let summary = Summary::of(&runs);
    let datasets: Vec<&str> = summary.settings.iter().map(|short| short.setting.dataset.as_str()).collect();
    assert_eq!(datasets, [named[0], named[0], named[1], named[1]]);
    for row in summary.settings[2..].iter().flat_map(|short| &short.rows) {
        assert!(row.index.starts_with("larger: ") && row.ratio.is_none(), "{row:?}");
    }
    let plots = plots::draw(&runs, &points::gather(&runs)).unwrap();
    for (plot, n) in [(&plots[0], "20,000"), (&plots[3], "200,000")] {
        let name = &plot.setting.as_ref().unwrap().dataset;
        assert!(plot.caption.contains(&format!("{name} ({n} × 128, l2)")), "{}", plot.caption);
    }
}

#[test]
fn who_asks_as_one_run_of_before_is_held_against_all_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::write(folder.path());
    // What older records do not say fits every split.
    let of = |id: &str, seed: Option<u64>| {
        let mut run = run.clone();
        run.runs[1].run_id = id.into();
        run.dataset.as_mut().unwrap().split = seed.map(|seed| Split { report: 500, calibrate: 0, seed });
        run
    };
    let name = fixture::dataset().name;
    let names =
        points::data_names(&[of("a", None), of("b", Some(1)), of("c", Some(2)), of("d", Some(1)), of("e", Some(2))]);
    let other = format!("{name} as in c");
    assert_eq!(names, [&name, &name, &other, &name, &other].map(String::clone));
}

#[test]
fn a_session_that_only_judged_has_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let end = fixture::write(folder.path()).finished.unwrap();
    let mut session = fixture::session(3);
    (session.environment.id, session.environment.cpu_model) = ("e0a2".into(), "Other CPU".into());
    let judged = Finished {
        finished: "2025-01-03T00:00:00Z".into(),
        load_after: Some([9.0; 3]),
        steal_ticks_after: Some(900),
        ..end
    };
    let mut writer = Writer::open(&folder.path().join("records.jsonl")).unwrap();
    for event in [Event::Run(session), Event::Finished(judged)] {
        writer.append(event).unwrap();
    }
    let mut run = RunData::load(folder.path()).unwrap();
    let said = |run: &RunData| {
        let done = render(std::slice::from_ref(run), &folder.path().join("report")).unwrap();
        std::fs::read_to_string(done.markdown).unwrap()
    };
    let text = said(&run);
    for words in [
        "| finished | 2025-01-02T03:14:05Z |",
        "| judged | 2025-01-03T00:00:00Z |",
        "| load after | 1.00 0.90 0.50 |",
        "| ticks stolen in the last session that measured | 8 |",
        "| environment id | e0a1 |",
    ] {
        assert!(text.contains(words), "{words}");
    }
    assert!(!text.contains("Other CPU") && !text.contains("different machines"), "{text}");
    run.ends[1] = None;
    assert!(said(&run).contains("| finished | not on record: the last session that measured was cut off |"));
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(render(&[], folder.path()), Err(RenderError::NoRuns)));
    let run = fixture::write(folder.path());
    std::fs::write(folder.path().join("report"), "in the way").unwrap();
    let error = render(&[run], &folder.path().join("report")).unwrap_err().to_string();
    assert!(error.contains("report: cannot create the folder"), "{error}");
    assert_eq!(std::fs::read(folder.path().join("report")).unwrap(), b"in the way");
}

#[test]
fn percentiles_come_from_all_samples_where_they_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::write(folder.path());
    for (at, search) in run.searches.iter_mut().enumerate().filter(|(_, search)| search.mode == "latency") {
        let name = format!("{at}.ns.bin");
        // 1..=500 in the first repeat, 501..=1000 in the second, 1001..=1500 in the third.
        let bytes: Vec<u8> = (1..=500u64).flat_map(|ns| (ns + 500 * u64::from(search.repeat)).to_le_bytes()).collect();
        std::fs::write(folder.path().join(&name), bytes).unwrap();
        search.latencies_file = Some(name);
    }
    let runs = [run];
    let gathered = points::gather(&runs);
    let found = samples::distribution(&runs, &gathered[0]).unwrap();
    assert_eq!(found.basis, samples::Basis::Samples(1500));
    assert_eq!((found.percentiles, found.max), ([750.0, 1350.0, 1425.0, 1485.0, 1499.0], 1500.0));
    assert_eq!(found.mean, 750.5);
    // A file that lost its end is not half used.
    let name = gathered[0].repeats[1].latencies_file.clone().unwrap();
    std::fs::write(folder.path().join(name), [0; 9]).unwrap();
    assert_eq!(samples::distribution(&runs, &gathered[0]).unwrap().basis, samples::Basis::Repeats(3));
    let throughput = gathered.iter().find(|point| point.setting.mode == "throughput").unwrap();
    assert_eq!(samples::distribution(&runs, throughput), None);
}

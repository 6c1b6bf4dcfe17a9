use std::collections::BTreeSet;

use nearlab_reports::table::{COLUMNS, Cells, Table, describe};
use polars::prelude::{AnyValue, DataFrame, DataType, ParquetReader, SerReader};

use crate::fixture;

fn read_back(path: &std::path::Path) -> DataFrame {
    ParquetReader::new(std::fs::File::open(path).unwrap()).finish().unwrap()
}

#[test]
fn parquet_and_csv_hold_every_search_and_every_failure() {
    let folder = tempfile::tempdir().unwrap();
    let run = fixture::write(folder.path());
    let table = Table::of(std::slice::from_ref(&run));
    let [parquet, csv] = table.write(folder.path()).unwrap();
    let frame = read_back(&parquet);
    assert_eq!(frame.height(), run.searches.len() + run.failures.len());
    assert_eq!(frame.height(), table.len());
    let text = std::fs::read_to_string(csv).unwrap();
    assert_eq!(text.lines().count(), table.len() + 1);
    let qps: Vec<f64> = frame.column("qps").unwrap().f64().unwrap().iter().flatten().collect();
    assert_eq!(qps, run.searches.iter().map(|search| search.qps).collect::<Vec<_>>());
    assert_eq!(frame.column("build.m").unwrap().dtype(), &DataType::Int64);
    assert_eq!(frame.column("qps").unwrap().get(frame.height() - 1).unwrap(), AnyValue::Null);
    let status = frame.column("status").unwrap().str().unwrap();
    let words: BTreeSet<&str> = status.iter().flatten().collect();
    assert_eq!(words, BTreeSet::from(["missing", "ok", "out_of_memory"]));
    let names: Vec<&str> = frame.get_column_names().into_iter().map(polars::prelude::PlSmallStr::as_str).collect();
    insta::assert_snapshot!("columns", names.join("\n"));
    insta::assert_snapshot!("first_rows", text.lines().take(3).collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_column_is_described_once_and_in_order() {
    let names: BTreeSet<&str> = COLUMNS.iter().map(|doc| doc.name).collect();
    assert_eq!(names.len(), COLUMNS.len());
    assert!(COLUMNS.iter().all(|doc| doc.meaning.ends_with('.')), "a meaning is a sentence");
    assert_eq!(describe().rows.len(), COLUMNS.len());
    let folder = tempfile::tempdir().unwrap();
    let table = Table::of(&[fixture::write(folder.path())]);
    for (name, _) in &table.columns {
        let family = ["build.", "search.", "memory."].into_iter().find(|prefix| name.starts_with(prefix));
        let documented = family.map_or(name.clone(), |prefix| format!("{prefix}*"));
        assert!(names.contains(documented.as_str()), "{name}");
    }
}

#[test]
fn parameters_take_the_narrowest_type_that_holds_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::write(folder.path());
    run.searches.truncate(3);
    run.failures.clear();
    for (search, values) in run.searches.iter_mut().zip([
        serde_json::json!({"a": 1, "b": 1, "c": true, "d": "x"}),
        serde_json::json!({"a": 2, "b": 0.5, "c": false, "d": 1}),
        serde_json::json!({}),
    ]) {
        search.params = serde_json::from_value(values).unwrap();
    }
    let table = Table::of(std::slice::from_ref(&run));
    let cells = |name: &str| table.columns.iter().find(|(found, _)| found == name).unwrap().1.clone();
    assert_eq!(cells("search.a"), Cells::Integer(vec![Some(1), Some(2), None]));
    assert_eq!(cells("search.b"), Cells::Number(vec![Some(1.0), Some(0.5), None]));
    assert_eq!(cells("search.c"), Cells::Boolean(vec![Some(true), Some(false), None]));
    assert_eq!(cells("search.d"), Cells::Text(vec![Some("x".into()), Some("1".into()), None]));
    assert_eq!(table.to_frame().unwrap().height(), 3);
    assert!(table.to_json().to_string().contains(r#"["search.c",[true,false,null]]"#));
}

#[test]
fn a_run_without_measurements_still_has_typed_columns() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::write(folder.path());
    run.searches.clear();
    run.origins.clear();
    run.failures.clear();
    let table = Table::of(&[run]);
    assert!(table.is_empty());
    let [parquet, _] = table.write(folder.path()).unwrap();
    assert_eq!(read_back(&parquet).column("qps").unwrap().dtype(), &DataType::Float64);
    let error = table.write(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere/results.parquet: cannot create"), "{error}");
}

//! Parquet files with vectors in list columns.

use std::{fs::File, path::Path, sync::Arc};

use nearlab_datasets::{DataFile, source::Element};
use parquet::{
    data_type::{DoubleType, FloatType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::set::Workplace;

pub(crate) const SCHEMA: &str = "message m { OPTIONAL INT64 id; OPTIONAL GROUP other (LIST) { REPEATED GROUP list { OPTIONAL \
     DOUBLE element; } } OPTIONAL GROUP emb (LIST) { REPEATED GROUP list { OPTIONAL FLOAT element; } } }";

/// Lists as row groups; an empty list is a null one, NaN a null element.
pub(crate) fn write(path: &Path, schema: &str, groups: &[&[&[f32]]]) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_data_page_row_count_limit(2).set_write_batch_size(2).build();
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for rows in groups {
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        for row in *rows {
            if row.is_empty() {
                definitions.push(0);
                repetitions.push(0);
            }
            for (i, &value) in row.iter().enumerate() {
                repetitions.push(i16::from(i > 0));
                definitions.push(if value.is_nan() { 2 } else { 3 });
                values.extend((!value.is_nan()).then_some(value));
            }
        }
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            let levels = (Some(definitions.as_slice()), Some(repetitions.as_slice()));
            match column.untyped() {
                parquet::column::writer::ColumnWriter::Int64ColumnWriter(_) => {
                    let ids: Vec<i64> = (0..rows.len() as i64).collect();
                    column.typed::<Int64Type>().write_batch(&ids, Some(&vec![1; ids.len()]), None).map(drop).unwrap();
                }
                parquet::column::writer::ColumnWriter::DoubleColumnWriter(_) => {
                    let doubles: Vec<f64> = values.iter().map(|&v| f64::from(v) * 2.0).collect();
                    column.typed::<DoubleType>().write_batch(&doubles, levels.0, levels.1).map(drop).unwrap();
                }
                _ => column.typed::<FloatType>().write_batch(&values, levels.0, levels.1).map(drop).unwrap(),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn refused(schema: &str, groups: &[&[&[f32]]]) -> String {
    let place = Workplace::new();
    let path = place.path("a.parquet");
    write(&path, schema, groups);
    match DataFile::open(&path) {
        Err(e) => e.to_string(),
        Ok(mut file) => file.train.read_all_f32().unwrap_err().to_string(),
    }
}

#[test]
fn lists_are_vectors_over_pages_and_row_groups() {
    let place = Workplace::new();
    let path = place.path("a.parquet");
    let rows: Vec<[f32; 3]> = (0..11u16).map(|i| [f32::from(i), f32::from(i) + 0.5, -1.0]).collect();
    let slices: Vec<&[f32]> = rows.iter().map(<[f32; 3]>::as_slice).collect();
    write(&path, SCHEMA, &[&slices[..7], &slices[7..]]);
    let mut file = DataFile::open(&path).unwrap();
    assert_eq!((file.train.rows(), file.train.dim(), file.train.name()), (11, 3, "emb"));
    assert_eq!(file.train.read_all_f32().unwrap(), rows.as_flattened());
    // Ranges in any order: back, ahead in the same row group, across the groups.
    let mut some = Vec::new();
    for range in [3..5, 9..11, 0..1, 4..6, 5..9] {
        file.train.read_f32(range.clone(), &mut some).unwrap();
        assert_eq!(some, rows[range.clone()].as_flattened(), "{range:?}");
    }
}

#[test]
fn the_first_list_of_floats_is_taken_where_none_is_called_emb() {
    let place = Workplace::new();
    let path = place.path("a.parquet");
    let doubles = "message m { REQUIRED INT64 id; OPTIONAL GROUP vector (LIST) { REPEATED GROUP list { OPTIONAL DOUBLE \
         element; } } }";
    let doubles = doubles.replace("REQUIRED", "OPTIONAL");
    write(&path, &doubles, &[&[&[1.0, 2.0], &[3.0, 4.0]]]);
    let mut file = DataFile::open(&path).unwrap();
    assert_eq!((file.train.name(), file.train.element()), ("vector", Element::F64));
    assert_eq!(file.train.read_all_f32().unwrap(), [2.0, 4.0, 6.0, 8.0]);
}

#[test]
fn lists_of_other_lengths_nulls_and_missing_columns_are_refused() {
    let message = refused(SCHEMA, &[&[&[1.0, 2.0], &[1.0, 2.0], &[1.0, 2.0, 3.0]]]);
    assert!(message.contains("length of the list in column `emb`, row 2: expected 2, found 3"), "{message}");
    let message = refused(SCHEMA, &[&[&[1.0, 2.0], &[]]]);
    assert!(message.contains("column `emb`, row 1: expected a list without nulls, found a null"), "{message}");
    let message = refused(SCHEMA, &[&[&[1.0, f32::NAN]]]);
    assert!(message.contains("row 0: expected a list without nulls"), "{message}");
    let message = refused("message m { OPTIONAL INT64 id; }", &[&[&[1.0]]]);
    assert!(message.contains("columns: expected a list of FLOAT or DOUBLE, found"), "{message}");
    let message = refused(SCHEMA, &[]);
    assert!(message.contains("at least one row, whose length is the dimension, found none"), "{message}");
    let place = Workplace::new();
    std::fs::write(place.path("a.parquet"), "PAR1 not really").unwrap();
    let message = DataFile::open(&place.path("a.parquet")).err().unwrap().to_string();
    assert!(message.contains("Parquet structure: expected a readable footer"), "{message}");
}

//! Parquet files whose vectors stand in a list column (`emb`, or else the first list of floats), row `i` of the file being
//! vector `i`. An `id` column and any others are ignored.
//!
//! Lists may be of `FLOAT` or `DOUBLE`, in any of Parquet's list encodings; all must have the length of the first, and
//! neither a list nor an element may be null. Columns are read directly (no Arrow), row group by row group.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use parquet::{
    basic::Type as Physical,
    column::reader::{ColumnReader, get_typed_column_reader},
    data_type::{DoubleType, FloatType},
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
    schema::types::ColumnDescriptor,
};

use crate::source::{Element, Header, ReadError, RowReader, guard, open_file};

/// Name that wins when several columns would do.
const PREFERRED: &str = "emb";

struct ListColumn {
    path: PathBuf,
    name: String,
    file: SerializedFileReader<File>,
    column: usize,
    descriptor: std::sync::Arc<ColumnDescriptor>,
    rows: usize,
    dim: usize,
    element: Element,
    /// Reader of one row group, standing at row `next`; the group ends before row `end`.
    open: Option<ColumnReader>,
    next: usize,
    end: usize,
}

/// Opens a Parquet file.
pub fn open(path: &Path) -> Result<Box<dyn RowReader>, ReadError> {
    let (file, _) = open_file(path)?;
    guard(path, "Parquet structure", || open_structure(path, file))
}

fn open_structure(path: &Path, file: File) -> Result<Box<dyn RowReader>, ReadError> {
    let file = SerializedFileReader::new(file)
        .map_err(|e| ReadError::malformed(path, "Parquet structure", "a readable footer", e.to_string()))?;
    let metadata = file.metadata().file_metadata();
    let schema = metadata.schema_descr();
    let is_vector = |c: &ColumnDescriptor| {
        c.max_rep_level() == 1 && matches!(c.physical_type(), Physical::FLOAT | Physical::DOUBLE)
    };
    let candidates: Vec<usize> = (0..schema.num_columns()).filter(|&i| is_vector(&schema.column(i))).collect();
    let top = |&i: &usize| schema.column(i).path().parts().first().is_some_and(|p| p == PREFERRED);
    let Some(column) = candidates.iter().copied().find(top).or(candidates.first().copied()) else {
        let found: Vec<String> = (0..schema.num_columns())
            .map(|i| format!("{}: {}", schema.column(i).path(), schema.column(i).physical_type()))
            .collect();
        return Err(ReadError::malformed(path, "columns", "a list of FLOAT or DOUBLE", found.join(", ")));
    };
    let descriptor = schema.column(column);
    let rows = u64::try_from(metadata.num_rows())
        .map_err(|_| ReadError::malformed(path, "row count", "a count", metadata.num_rows().to_string()))?;
    let element = if descriptor.physical_type() == Physical::FLOAT { Element::F32 } else { Element::F64 };
    let name = descriptor.path().parts().first().cloned().unwrap_or_default();
    let mut lists = ListColumn {
        path: path.to_path_buf(),
        name,
        file,
        column,
        descriptor,
        rows: rows as usize,
        dim: 1,
        element,
        open: None,
        next: 0,
        end: 0,
    };
    if rows == 0 {
        let place = format!("column `{}`", lists.name);
        return Err(ReadError::malformed(path, place, "at least one row, whose length is the dimension", "none"));
    }
    lists.dim = lists.first_length()?;
    let (path, name) = (lists.path.clone(), lists.name.clone());
    (lists.rows, lists.dim, _) = Header { path, name, rows, dim: lists.dim as u64, element }.shape()?;
    Ok(Box::new(lists))
}

impl ListColumn {
    fn broken(&self, row: usize, e: &ParquetError) -> ReadError {
        let place = format!("column `{}` from row {row} on", self.name);
        ReadError::malformed(&self.path, place, "readable pages", e.to_string())
    }

    /// Length of the first list: the dimension.
    fn first_length(&mut self) -> Result<usize, ReadError> {
        self.seek(0)?;
        let lists = self.read_lists(1)?;
        self.open = None;
        Ok(lists.lengths.first().copied().unwrap_or(0))
    }

    /// Puts the reader at `row`, opening its row group unless it is open and not past the row.
    fn seek(&mut self, row: usize) -> Result<(), ReadError> {
        if self.open.is_none() || !(self.next..self.end).contains(&row) {
            self.open_group(row)?;
        }
        let ahead = row - self.next;
        let skipped = match &mut self.open {
            Some(ColumnReader::FloatColumnReader(reader)) => reader.skip_records(ahead),
            Some(ColumnReader::DoubleColumnReader(reader)) => reader.skip_records(ahead),
            _ => Ok(0),
        };
        match skipped {
            Ok(count) if count == ahead => self.next = row,
            Ok(count) => return Err(self.too_short(self.next + count)),
            Err(e) => return Err(self.broken(row, &e)),
        }
        Ok(())
    }

    /// Opens the row group that holds `row`, at its start.
    fn open_group(&mut self, row: usize) -> Result<(), ReadError> {
        let mut first = 0;
        for group in 0..self.file.num_row_groups() {
            let rows = usize::try_from(self.file.metadata().row_group(group).num_rows()).unwrap_or(0);
            if row < first + rows {
                let reader = self.file.get_row_group(group).and_then(|g| g.get_column_reader(self.column));
                self.open = Some(reader.map_err(|e| self.broken(row, &e))?);
                (self.next, self.end) = (first, first + rows);
                return Ok(());
            }
            first += rows;
        }
        Err(self.too_short(first))
    }

    fn too_short(&self, found: usize) -> ReadError {
        let place = format!("column `{}`", self.name);
        ReadError::malformed(&self.path, place, format!("{} rows", self.rows), found.to_string())
    }

    /// Reads up to `count` lists of the open row group.
    fn read_lists(&mut self, count: usize) -> Result<Lists, ReadError> {
        let mut lists = Lists::default();
        let (mut definitions, mut repetitions) = (Vec::new(), Vec::new());
        let (d, r) = (Some(&mut definitions), Some(&mut repetitions));
        let outcome = match self.open.take() {
            Some(ColumnReader::FloatColumnReader(reader)) => {
                let mut reader = get_typed_column_reader::<FloatType>(ColumnReader::FloatColumnReader(reader));
                let mut values = Vec::new();
                let outcome = reader.read_records(count, d, r, &mut values);
                lists.bytes = bytemuck::cast_slice(&values).to_vec();
                self.open = Some(ColumnReader::FloatColumnReader(reader));
                outcome
            }
            Some(ColumnReader::DoubleColumnReader(reader)) => {
                let mut reader = get_typed_column_reader::<DoubleType>(ColumnReader::DoubleColumnReader(reader));
                let mut values = Vec::new();
                let outcome = reader.read_records(count, d, r, &mut values);
                lists.bytes = bytemuck::cast_slice(&values).to_vec();
                self.open = Some(ColumnReader::DoubleColumnReader(reader));
                outcome
            }
            _ => Ok((0, 0, 0)),
        };
        outcome.map_err(|e| self.broken(self.next, &e))?;
        let full = self.descriptor.max_def_level();
        for (definition, repetition) in definitions.into_iter().zip(repetitions) {
            if repetition == 0 {
                lists.lengths.push(0);
            }
            match lists.lengths.last_mut() {
                Some(length) if definition == full => *length += 1,
                _ => {
                    let row = self.next + lists.lengths.len().saturating_sub(1);
                    let place = format!("column `{}`, row {row}", self.name);
                    return Err(ReadError::malformed(
                        &self.path,
                        place,
                        "a list without nulls",
                        "a null or an empty list",
                    ));
                }
            }
        }
        self.next += lists.lengths.len();
        Ok(lists)
    }
}

#[derive(Default)]
struct Lists {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl RowReader for ListColumn {
    fn path(&self) -> &Path {
        &self.path
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn rows(&self) -> usize {
        self.rows
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn element(&self) -> Element {
        self.element
    }
    fn read_bytes(&mut self, first: usize, out: &mut [u8]) -> Result<(), ReadError> {
        let (path, place) = (self.path.clone(), format!("column `{}`", self.name));
        guard(&path, &place, || self.read_rows(first, out))
    }
}

impl ListColumn {
    fn read_rows(&mut self, first: usize, out: &mut [u8]) -> Result<(), ReadError> {
        let row_bytes = self.dim * self.element.size();
        let (mut row, mut out) = (first, out);
        while !out.is_empty() {
            self.seek(row)?;
            let lists = self.read_lists(out.len() / row_bytes)?;
            if let Some(i) = lists.lengths.iter().position(|&l| l != self.dim) {
                let place = format!("length of the list in column `{}`, row {}", self.name, row + i);
                return Err(ReadError::malformed(
                    &self.path,
                    place,
                    self.dim.to_string(),
                    lists.lengths[i].to_string(),
                ));
            }
            if lists.lengths.is_empty() {
                return Err(self.too_short(row));
            }
            let (now, rest) = out.split_at_mut(lists.lengths.len() * row_bytes);
            now.copy_from_slice(&lists.bytes);
            out = rest;
            row += lists.lengths.len();
        }
        Ok(())
    }
}

//! What a worker answered is held to what the harness knows.

use std::fs;

use half::f16;
use nearlab_reports::storage::StoreFigures;
use nearlab_storage::metadata::Expression;
use serde_json::Value;

use super::Session;
use crate::storage::{fields, plan::PlannedStore, protocol::StoreTrial};

impl Session<'_> {
    /// Holds what the worker read to the data set, and what its filters found to a scan.
    pub(super) fn check(&self, trial: &PlannedStore, told: &StoreTrial, points: &[StoreFigures]) -> Result<(), String> {
        if points.iter().any(|point| !(point.wall_seconds.is_finite() && point.wall_seconds > 0.0)) {
            return Err("the worker answered a time that is not above 0".to_owned());
        }
        let Some(data) = trial.dataset.map(|at| &self.data[at]) else { return self.check_filters(trial, points) };
        let path = told.rows_file();
        let bytes = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let _gone = fs::remove_file(&path);
        let (rows, dim) = (data.data.train(), data.data.train().dim());
        if bytes.len() != told.check.len() * dim * 4 {
            return Err(format!("expected {} rows to compare, found {} bytes", told.check.len(), bytes.len()));
        }
        let half = told.element == "f16";
        for (id, found) in told.check.iter().zip(bytes.chunks_exact(dim * 4)) {
            let found = found.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            let expected = rows.row(*id as usize).iter().map(|&x| if half { f16::from_f32(x).to_f32() } else { x });
            if !found.eq(expected) {
                return Err(format!("row {id} was read back and is not the row that was written"));
            }
        }
        Ok(())
    }

    fn check_filters(&self, trial: &PlannedStore, points: &[StoreFigures]) -> Result<(), String> {
        let of = &self.spec.workloads[trial.workload];
        let records: Vec<fields::Record> = fields::records(self.spec.base.measure.seed, of.rows).collect();
        for (params, point) in trial.points.iter().zip(points) {
            let Some(text) = params.get("filter").and_then(Value::as_str) else { continue };
            let expression = Expression::parse(text).map_err(|error| error.to_string())?;
            let expected = fields::scan(&records, &expression).len() as u64;
            if point.found != Some(expected) {
                let found = point.found.map_or_else(|| "nothing said".to_owned(), |found| found.to_string());
                return Err(format!("`{text}`: expected {expected} records, found {found}"));
            }
        }
        Ok(())
    }
}

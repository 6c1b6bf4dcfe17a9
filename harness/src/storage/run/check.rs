//! What a worker answered is held to what the harness knows.

use std::{fs, path::Path};

use half::f16;
use nearlab_reports::{record::Latency, storage::StoreFigures};
use nearlab_storage::metadata::Expression;
use serde_json::Value;

use super::Session;
use crate::{
    latency,
    run::{Answer, RunError, read_answer},
    storage::{fields, plan::PlannedStore, protocol::StoreTrial},
};

impl Session<'_> {
    /// Holds what the worker read to the data set, and what its filters found to a scan.
    pub(super) fn check(&self, trial: &PlannedStore, told: &StoreTrial, points: &[StoreFigures]) -> Result<(), String> {
        if points.iter().any(|point| !(point.wall_seconds.is_finite() && point.wall_seconds > 0.0)) {
            return Err("the worker answered a time that is not above 0".to_owned());
        }
        let Some(data) = trial.dataset.map(|at| &self.data[at]) else { return self.check_filters(trial, points) };
        let path = told.rows_file();
        let (rows, dim) = (data.data.train(), data.data.train().dim());
        let expected = (told.check.len() * dim * 4) as u64;
        let answer = read_answer(&path, |size| size == expected);
        let _gone = fs::remove_file(&path);
        let bytes = match answer.map_err(|error| format!("cannot read {}: {error}", path.display()))? {
            Answer::Bytes(bytes) => bytes,
            Answer::Absent => return Err(format!("the worker did not write {}", path.display())),
            Answer::Size(size) => {
                return Err(format!("expected {} rows to compare, found {size} bytes", told.check.len()));
            }
        };
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

/// Percentiles over the calls of each point. The inner error: what the worker wrote is not what the protocol asks for.
pub(super) fn latencies(
    told: &StoreTrial,
    points: &[StoreFigures],
) -> Result<Result<Vec<Option<Latency>>, String>, RunError> {
    let mut latencies = Vec::with_capacity(points.len());
    for (number, point) in points.iter().enumerate() {
        match nanoseconds(&told.samples_of(number), point.calls)? {
            Ok(mut samples) => latencies.push(latency::summarise(&mut samples)),
            Err(message) => return Ok(Err(message)),
        }
    }
    Ok(Ok(latencies))
}

/// The times of a point's calls; none where it does not time them.
fn nanoseconds(path: &Path, calls: u64) -> Result<Result<Vec<u64>, String>, RunError> {
    let fits = |size: u64| size.is_multiple_of(8) && size / 8 <= calls;
    Ok(match read_answer(path, fits).map_err(RunError::file("read", path))? {
        Answer::Bytes(bytes) => Ok(bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()),
        Answer::Absent => Ok(Vec::new()),
        Answer::Size(size) => Err(format!(
            "the worker broke the protocol: {} has {size} bytes, expected 8 for each call of {calls}, or for fewer",
            path.display()
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_and_of_no_more_calls_than_there_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trial.0.ns.bin");
        assert_eq!(nanoseconds(&path, 2).unwrap(), Ok(vec![]));
        fs::write(&path, [7_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat()).unwrap();
        assert_eq!(nanoseconds(&path, 2).unwrap(), Ok(vec![7, 9]));
        let more = nanoseconds(&path, 1).unwrap().unwrap_err();
        assert!(more.contains("has 16 bytes, expected 8 for each call of 1"), "{more}");
        fs::write(&path, [0; 15]).unwrap();
        let torn = nanoseconds(&path, 2).unwrap().unwrap_err();
        assert!(torn.contains("trial.0.ns.bin has 15 bytes"), "{torn}");
        // What cannot be read is not taken for what was not written.
        let unreadable = nanoseconds(&path.join("below"), 2).unwrap_err().to_string();
        assert!(unreadable.contains("trial.0.ns.bin/below"), "{unreadable}");
    }
}

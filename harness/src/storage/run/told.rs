//! What a worker is told about one repeat of a trial, and the files that go with it: ids to read and to delete, records to load.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use rand_pcg::rand_core::Rng;
use serde_json::Value;

use super::{CHECKED, Session};
use crate::{
    plan::order::{shuffle, stream},
    protocol::PROTOCOL,
    run::RunError,
    spec::{StoreKind, StoreMode},
    storage::{
        fields,
        plan::PlannedStore,
        protocol::{Phase, StoreTrial},
    },
};

impl Session<'_> {
    /// What the worker is told; ids and records are written where they are needed.
    pub(super) fn store_trial(&self, trial: &PlannedStore, repeat: u32, folder: &Path) -> Result<StoreTrial, RunError> {
        let (entry, of) = (&self.spec.stores[trial.store], &self.spec.workloads[trial.workload]);
        let seed = self.spec.base.measure.seed;
        let data = trial.dataset.map(|at| &self.data[at]);
        let n = data.map_or(0, |data| data.record.n);
        let gone = match trial.params.get("delete").and_then(Value::as_f64) {
            Some(share) => deleted(seed, n, share),
            None => Vec::new(),
        };
        let (reads, deletes) = (of.mode == StoreMode::PointRead, of.mode == StoreMode::Compaction);
        let lasting = if reads || deletes { kept(n, &gone) } else { Vec::new() };
        let ids = (reads || deletes).then(|| drawn(seed, "ids", &lasting, of.ids));
        let check = match (data, deletes) {
            (None, _) => Vec::new(),
            (_, true) => drawn(seed, "check", &lasting, CHECKED),
            _ => drawn(seed, "check", &(0..n).collect::<Vec<u64>>(), CHECKED),
        };
        let fields = of.mode == StoreMode::Filter && entry.kind == StoreKind::External;
        let key = trial.key(repeat);
        Ok(StoreTrial {
            protocol: PROTOCOL,
            trial: key.clone(),
            store: match entry.kind {
                StoreKind::External => entry.name.clone(),
                kind => kind.as_str().to_owned(),
            },
            element: trial.element.clone().unwrap_or_else(|| "f32".to_owned()),
            mode: of.mode.as_str().to_owned(),
            params: trial.params.clone(),
            points: trial.points.clone(),
            phase: Phase::Measure,
            folder: folder.to_owned(),
            train: data.map(|data| data.matrices().0),
            ids: ids.map(|ids| self.write_ids("ids", &ids)).transpose()?,
            delete: deletes.then(|| self.write_ids("delete", &gone)).transpose()?,
            check,
            fields: fields.then(|| self.write_fields(of.rows)).transpose()?,
            records: of.rows,
            seed,
            warmup: self.spec.base.measure.warmup as usize,
            samples: std::path::absolute(self.folder.path().join("samples").join(key))
                .map_err(RunError::file("find", self.folder.path()))?,
        })
    }

    fn write_ids(&self, name: &str, ids: &[u64]) -> Result<PathBuf, RunError> {
        let path = self.scratch.path().join(format!("{name}.u64.bin"));
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        fs::write(&path, bytes).map_err(RunError::file("write", &path))?;
        Ok(path)
    }

    fn write_fields(&self, rows: usize) -> Result<PathBuf, RunError> {
        let path = self.scratch.path().join(format!("fields-{rows}.jsonl"));
        if path.exists() {
            return Ok(path);
        }
        self.display.step("making records", 0, 0);
        let write = || {
            let mut file = BufWriter::new(fs::File::create(&path)?);
            for record in fields::records(self.spec.base.measure.seed, rows) {
                file.write_all(record.line().as_bytes())?;
            }
            file.into_inner()?.sync_all()
        };
        write().map_err(RunError::file("write", &path))?;
        Ok(path)
    }
}

/// A share of the ids 0..n, at random, in order.
fn deleted(seed: u64, n: u64, share: f64) -> Vec<u64> {
    let mut ids: Vec<u64> = (0..n).collect();
    shuffle(&mut ids, &mut stream(seed, "delete"));
    // One row stays at least: something has to be read.
    ids.truncate(((n as f64 * share).round() as usize).min(ids.len().saturating_sub(1)));
    ids.sort_unstable();
    ids
}

/// The ids 0..n without some, which are in order.
fn kept(n: u64, gone: &[u64]) -> Vec<u64> {
    let mut gone = gone.iter().copied().peekable();
    (0..n).filter(|id| gone.next_if_eq(id).is_none()).collect()
}

/// So many of some ids, at random, with repetition.
fn drawn(seed: u64, name: &str, from: &[u64], count: usize) -> Vec<u64> {
    let mut random = stream(seed, name);
    let one = || from[((u128::from(random.next_u64()) * from.len() as u128) >> 64) as usize];
    std::iter::repeat_with(one).take(if from.is_empty() { 0 } else { count }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_is_never_read() {
        let gone = deleted(1, 1000, 0.3);
        assert_eq!(gone.len(), 300);
        let kept = kept(1000, &gone);
        assert_eq!(kept.len(), 700);
        let read = drawn(1, "ids", &kept, 5000);
        assert!(read.len() == 5000 && read.iter().all(|id| gone.binary_search(id).is_err()));
        assert_eq!(read, drawn(1, "ids", &kept, 5000));
        assert_ne!(read, drawn(2, "ids", &kept, 5000));
    }

    #[test]
    fn something_is_left_of_the_smallest_set() {
        assert!(deleted(1, 1, 0.9).is_empty());
        assert!(drawn(1, "ids", &[], 10).is_empty());
        assert_eq!(kept(3, &[1]), [0, 2]);
    }
}

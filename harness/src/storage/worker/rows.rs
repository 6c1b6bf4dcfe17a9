//! The modes that keep vectors: bulk load, point reads, compaction, opening.

use std::{
    borrow::Cow,
    fs,
    hint::black_box,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use nearlab_reports::storage::StoreFigures;
use nearlab_storage::Vectors;
use serde_json::Value;

use super::{
    Done, Failed, StoreTrial, StoredReply,
    contestant::{Component, Contestant},
    waits_to_be_killed,
};
use crate::{
    spec::Durability,
    storage::{disk, protocol::Phase},
    worker::{MappedMatrix, Usage},
};

/// Rows in a change where no load is measured.
const BATCH: usize = 10_000;
/// Calls during a compaction of which the time is kept; a reader faster than that goes on reading, untimed.
const MOST_SAMPLES: usize = 8 << 20;

/// The rows of a trial, and what is read of them.
struct Work<'a, T: Component> {
    trial: &'a StoreTrial,
    rows: Vectors<'a, T>,
    numbers: Vec<u64>,
}

/// Does a trial with a contestant of one kind.
pub(super) fn run<T: Component, C: Contestant>(trial: &StoreTrial) -> Result<Done, Failed> {
    let matrix = trial.train.as_ref().ok_or(Failed::Missing("rows"))?;
    let mapped = MappedMatrix::open(matrix)?;
    black_box(mapped.fault_in());
    let source = mapped.vectors();
    let rows: Cow<'_, [T]> = match bytemuck::try_cast_slice(source.as_slice()) {
        Ok(same) if size_of::<T>() == size_of::<f32>() => Cow::Borrowed(same),
        _ => Cow::Owned(source.as_slice().iter().map(|&value| T::of(value)).collect()),
    };
    let work = Work { trial, rows: Vectors::new(&rows, matrix.d), numbers: (0..matrix.n as u64).collect() };
    let mut open: Option<Box<dyn std::any::Any>> = None;
    let points = match (trial.mode.as_str(), trial.phase) {
        ("bulk_load", _) => vec![work.bulk_load::<C>()?],
        ("point_read", _) => work.point_reads::<C>()?,
        ("compaction", _) => work.compaction::<C>()?,
        (_, Phase::Open) => vec![work.reopen::<C>()?],
        _ => {
            let mut store = work.create::<C>()?;
            work.load(&mut store, BATCH, Durability::Flush, &mut Vec::new())?;
            if waits_to_be_killed(trial) {
                open = Some(Box::new(store));
            } else {
                store.sync()?;
            }
            Vec::new()
        }
    };
    Ok(Done { reply: StoredReply { points }, open })
}

impl<T: Component> Work<'_, T> {
    fn create<C: Contestant>(&self) -> Result<C, Failed> {
        C::create(&self.trial.folder, self.rows.dim(), T::KIND)
    }

    /// Writes all rows; the nanoseconds of each change.
    fn load<C: Contestant>(
        &self,
        store: &mut C,
        batch: usize,
        durability: Durability,
        samples: &mut Vec<u64>,
    ) -> Result<(), Failed> {
        let n = self.rows.len();
        for from in (0..n).step_by(batch) {
            let to = (from + batch).min(n);
            let start = Instant::now();
            store.write(&self.numbers[from..to], self.rows.rows(from..to), durability)?;
            samples.push(start.elapsed().as_nanos() as u64);
        }
        Ok(())
    }

    /// A store with all rows, durable and ready to be read.
    fn loaded<C: Contestant>(&self) -> Result<C, Failed> {
        let mut store = self.create::<C>()?;
        self.load(&mut store, BATCH, Durability::None, &mut Vec::new())?;
        store.sync()?;
        store.written()?;
        Ok(store)
    }

    fn row_bytes(&self) -> u64 {
        (self.rows.dim() * size_of::<T>()) as u64
    }

    fn bulk_load<C: Contestant>(&self) -> Result<StoreFigures, Failed> {
        let batch = self.trial.params.get("batch").and_then(Value::as_u64).unwrap_or(BATCH as u64) as usize;
        let durability = self.trial.params.get("durability").and_then(Value::as_str).and_then(Durability::of);
        let mut samples = Vec::with_capacity(self.rows.len() / batch + 1);
        let mut store = self.create::<C>()?;
        let (before, start) = (Usage::now(), Instant::now());
        self.load(&mut store, batch, durability.unwrap_or(Durability::None), &mut samples)?;
        let last = Instant::now();
        store.sync()?;
        let (wall, sync) = (start.elapsed(), last.elapsed());
        let used = Usage::now() - before;
        write_samples(self.trial, 0, &samples)?;
        store.written()?;
        self.write_check(&store)?;
        let rows = self.rows.len() as u64;
        Ok(StoreFigures {
            rows,
            bytes: rows * self.row_bytes(),
            calls: samples.len() as u64,
            wall_seconds: wall.as_secs_f64(),
            cpu_seconds: Some(used.cpu_seconds),
            sync_seconds: Some(sync.as_secs_f64()),
            disk_bytes: Some(taken(&self.trial.folder)?),
            ..StoreFigures::default()
        })
    }

    fn point_reads<C: Contestant>(&self) -> Result<Vec<StoreFigures>, Failed> {
        let store = self.loaded::<C>()?;
        let ids = read_ids(self.trial.ids.as_deref())?;
        let mut points = Vec::new();
        for (number, point) in self.trial.points.iter().enumerate() {
            let batch = point.get("batch").and_then(Value::as_u64).unwrap_or(1) as usize;
            let mut reader = Reader::<T>::new(batch, self.rows.dim());
            for _ in 0..self.trial.warmup.max(1) {
                reader.pass(&store, &ids)?;
            }
            // Twice: reading a clock takes as long as copying a short row, so speed has a pass without clocks.
            let (before, start) = (Usage::now(), Instant::now());
            reader.pass(&store, &ids)?;
            let wall = start.elapsed();
            let used = Usage::now() - before;
            let mut samples = Vec::with_capacity(ids.len() / batch + 1);
            reader.timed_pass(&store, &ids, &mut samples)?;
            write_samples(self.trial, number, &samples)?;
            points.push(StoreFigures {
                rows: ids.len() as u64,
                bytes: ids.len() as u64 * self.row_bytes(),
                calls: samples.len() as u64,
                wall_seconds: wall.as_secs_f64(),
                cpu_seconds: Some(used.cpu_seconds),
                ..StoreFigures::default()
            });
        }
        self.write_check(&store)?;
        Ok(points)
    }

    fn compaction<C: Contestant>(&self) -> Result<Vec<StoreFigures>, Failed> {
        let mut store = self.loaded::<C>()?;
        let (ids, gone) = (read_ids(self.trial.ids.as_deref())?, read_ids(self.trial.delete.as_deref())?);
        store.delete(&gone)?;
        store.sync()?;
        let mut reader = Reader::<T>::new(1, self.rows.dim());
        reader.pass(&store, &ids)?;
        let mut samples = Vec::with_capacity(ids.len());
        let start = Instant::now();
        reader.timed_pass(&store, &ids, &mut samples)?;
        let before = StoreFigures {
            rows: ids.len() as u64,
            bytes: ids.len() as u64 * self.row_bytes(),
            calls: ids.len() as u64,
            wall_seconds: start.elapsed().as_secs_f64(),
            ..StoreFigures::default()
        };
        write_samples(self.trial, 0, &samples)?;
        let full = taken(&self.trial.folder)?;
        let over = AtomicBool::new(false);
        let (wall, read) = thread::scope(|scope| {
            let reading = scope.spawn(|| reader.until(&store, &ids, &over));
            let start = Instant::now();
            let outcome = store.compact(gone.len() as f64 / self.rows.len() as f64);
            let wall = start.elapsed();
            over.store(true, Ordering::Relaxed);
            let read = reading.join().expect("a reader that panics ends the process' answer, as it should");
            outcome.and(read).map(|read| (wall, read))
        })?;
        store.compacted()?;
        write_samples(self.trial, 1, &read)?;
        let left = taken(&self.trial.folder)?;
        self.write_check(&store)?;
        let rows = (self.rows.len() - gone.len()) as u64;
        let during = StoreFigures {
            rows,
            bytes: rows * self.row_bytes(),
            calls: read.len() as u64,
            wall_seconds: wall.as_secs_f64(),
            disk_bytes: Some(left),
            freed_bytes: Some(full.saturating_sub(left)),
            ..StoreFigures::default()
        };
        Ok(vec![before, during])
    }

    fn reopen<C: Contestant>(&self) -> Result<StoreFigures, Failed> {
        let first = self.trial.check.first().copied().ok_or(Failed::Missing("ids to check"))?;
        let mut reader = Reader::<T>::new(1, self.rows.dim());
        let (before, start) = (Usage::now(), Instant::now());
        let store = C::open(&self.trial.folder, self.rows.dim(), T::KIND)?;
        reader.pass(&store, &[first])?;
        let wall = start.elapsed();
        let used = Usage::now() - before;
        self.write_check(&store)?;
        let rows = self.rows.len() as u64;
        Ok(StoreFigures {
            rows,
            bytes: rows * self.row_bytes(),
            calls: 1,
            wall_seconds: wall.as_secs_f64(),
            cpu_seconds: Some(used.cpu_seconds),
            disk_bytes: Some(taken(&self.trial.folder)?),
            ..StoreFigures::default()
        })
    }

    /// Hands in the rows that the harness compares.
    fn write_check<C: Contestant>(&self, store: &C) -> Result<(), Failed> {
        let mut rows: Vec<f32> = Vec::with_capacity(self.trial.check.len() * self.rows.dim());
        let mut reader = Reader::<T>::new(1, self.rows.dim());
        for id in &self.trial.check {
            reader.pass(store, &[*id])?;
            rows.extend(reader.rows.iter().map(|component| component.to_f32()));
        }
        let path = self.trial.rows_file();
        fs::write(&path, bytemuck::cast_slice(&rows)).map_err(Failed::file("write", &path))
    }
}

/// Reads ids, so many a call, into room of its own.
struct Reader<T> {
    batch: usize,
    dim: usize,
    rows: Vec<T>,
    found: Vec<bool>,
}

impl<T: Component> Reader<T> {
    fn new(batch: usize, dim: usize) -> Self {
        Self { batch, dim, rows: vec![T::zeroed(); batch * dim], found: vec![false; batch] }
    }

    fn call<C: Contestant>(&mut self, store: &C, ids: &[u64]) -> Result<(), Failed> {
        let (rows, found) = (&mut self.rows[..ids.len() * self.dim], &mut self.found[..ids.len()]);
        store.read(ids, rows, found)?;
        black_box(rows);
        match self.found[..ids.len()].iter().position(|found| !found) {
            None => Ok(()),
            Some(at) => Err(Failed::NotFound(ids[at])),
        }
    }

    fn pass<C: Contestant>(&mut self, store: &C, ids: &[u64]) -> Result<(), Failed> {
        ids.chunks(self.batch).try_for_each(|ids| self.call(store, ids))
    }

    fn timed_pass<C: Contestant>(&mut self, store: &C, ids: &[u64], samples: &mut Vec<u64>) -> Result<(), Failed> {
        for ids in ids.chunks(self.batch) {
            let start = Instant::now();
            self.call(store, ids)?;
            samples.push(start.elapsed().as_nanos() as u64);
        }
        Ok(())
    }

    /// Reads until it is over, and at least once.
    fn until<C: Contestant>(&mut self, store: &C, ids: &[u64], over: &AtomicBool) -> Result<Vec<u64>, Failed> {
        let mut samples = Vec::with_capacity(1 << 20);
        for ids in ids.chunks(self.batch).cycle() {
            let start = Instant::now();
            self.call(store, ids)?;
            if samples.len() < MOST_SAMPLES {
                samples.push(start.elapsed().as_nanos() as u64);
            }
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(samples)
    }
}

fn read_ids(path: Option<&Path>) -> Result<Vec<u64>, Failed> {
    let path = path.ok_or(Failed::Missing("ids"))?;
    let bytes = fs::read(path).map_err(Failed::file("read", path))?;
    Ok(bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
}

pub(super) fn write_samples(trial: &StoreTrial, point: usize, samples: &[u64]) -> Result<(), Failed> {
    let path = trial.samples_of(point);
    fs::write(&path, bytemuck::cast_slice(samples)).map_err(Failed::file("write", &path))
}

pub(super) fn taken(folder: &Path) -> Result<u64, Failed> {
    disk::taken(folder).map_err(Failed::file("list", folder))
}

//! Mode `filter`: fields of records are loaded, then filters are asked, text to set of slots. The first point of the trial is
//! the load, each further one a filter.

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Write},
    time::{Duration, Instant},
};

use nearlab_reports::storage::StoreFigures;
use nearlab_storage::metadata::{self, Change, Document, Expression, Filter, MetadataStore, encode};
use serde_json::Value;

use super::{
    Failed, StoreTrial,
    rows::{taken, write_samples},
};
use crate::{
    storage::fields::{self, Record},
    worker::Usage,
};

/// Records in a change.
const BATCH: usize = 50_000;
/// A filter is asked at least so often, then until so much time is over, and never oftener than the last.
const LEAST_CALLS: usize = 5;
const LONG_ENOUGH: Duration = Duration::from_millis(300);
const MOST_CALLS: usize = 1_000;

/// nearlab's metadata store.
pub(super) fn filtered(trial: &StoreTrial) -> Result<Vec<StoreFigures>, Failed> {
    let schema = fields::schema();
    let store = MetadataStore::create(trial.folder.join("metadata.redb"), fields::schema())?;
    let (mut seconds, mut cpu_seconds, mut bytes, mut samples) = (0.0, 0.0, 0, Vec::new());
    let mut records = fields::records(trial.seed, trial.records).peekable();
    let mut slot = 0_u32;
    while records.peek().is_some() {
        let documents: Vec<Document> = records.by_ref().take(BATCH).map(|record| record.document()).collect();
        let (before, start) = (Usage::now(), Instant::now());
        let encoded: Vec<Vec<u8>> =
            documents.iter().map(|document| encode(&schema, document)).collect::<Result<_, _>>()?;
        let changes: Vec<Change<'_>> =
            encoded.iter().zip(slot..).map(|(document, slot)| Change::Put { slot, document }).collect();
        store.apply(store.sequence()? + 1, &changes, metadata::Durability::Deferred)?;
        seconds += start.elapsed().as_secs_f64();
        cpu_seconds += (Usage::now() - before).cpu_seconds;
        samples.push(start.elapsed().as_nanos() as u64);
        slot += documents.len() as u32;
        bytes += encoded.iter().map(|document| document.len() as u64).sum::<u64>();
    }
    let start = Instant::now();
    store.sync()?;
    let sync_seconds = start.elapsed().as_secs_f64();
    write_samples(trial, 0, &samples)?;
    let mut points = vec![StoreFigures {
        rows: trial.records as u64,
        bytes,
        calls: samples.len() as u64,
        wall_seconds: seconds + sync_seconds,
        cpu_seconds: Some(cpu_seconds),
        sync_seconds: Some(sync_seconds),
        disk_bytes: Some(taken(&trial.folder)?),
        ..StoreFigures::default()
    }];
    for (number, text) in texts(trial) {
        points.push(asked(trial, number, || Ok(store.filter(&Filter::parse(store.schema(), text)?)?.len()))?);
    }
    Ok(points)
}

/// The plain file: lines of JSON, synced; filters scan the records in memory, one look at each.
pub(super) fn scanned(trial: &StoreTrial) -> Result<Vec<StoreFigures>, Failed> {
    let path = trial.folder.join("records.jsonl");
    let records: Vec<Record> = fields::records(trial.seed, trial.records).collect();
    let (before, start) = (Usage::now(), Instant::now());
    let mut writer = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(Failed::file("make", &path))?);
    let mut bytes = 0;
    for record in &records {
        let line = record.line();
        bytes += line.len() as u64;
        writer.write_all(line.as_bytes()).map_err(Failed::file("write", &path))?;
    }
    let file = writer.into_inner().map_err(|error| Failed::file("write", &path)(error.into_error()))?;
    let last = Instant::now();
    file.sync_all().map_err(Failed::file("sync", &path))?;
    let mut points = vec![StoreFigures {
        rows: records.len() as u64,
        bytes,
        calls: 1,
        wall_seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: Some((Usage::now() - before).cpu_seconds),
        sync_seconds: Some(last.elapsed().as_secs_f64()),
        disk_bytes: Some(taken(&trial.folder)?),
        ..StoreFigures::default()
    }];
    for (number, text) in texts(trial) {
        points.push(asked(trial, number, || Ok(fields::scan(&records, &Expression::parse(text)?).len() as u64))?);
    }
    Ok(points)
}

/// The filters of the trial, with the numbers of their points.
fn texts(trial: &StoreTrial) -> impl Iterator<Item = (usize, &str)> {
    trial
        .points
        .iter()
        .enumerate()
        .filter_map(|(number, point)| Some((number, point.get("filter").and_then(Value::as_str)?)))
}

/// Asks a filter again and again.
fn asked(trial: &StoreTrial, point: usize, ask: impl Fn() -> Result<u64, Failed>) -> Result<StoreFigures, Failed> {
    let mut found = 0;
    for _ in 0..trial.warmup.max(1) {
        found = ask()?;
    }
    let mut samples = Vec::new();
    let (before, start) = (Usage::now(), Instant::now());
    while samples.len() < LEAST_CALLS || (start.elapsed() < LONG_ENOUGH && samples.len() < MOST_CALLS) {
        let start = Instant::now();
        black_box(ask()?);
        samples.push(start.elapsed().as_nanos() as u64);
    }
    let used = Usage::now() - before;
    // The clock's own time between calls belongs to nobody.
    let wall_seconds = samples.iter().sum::<u64>() as f64 * 1e-9;
    write_samples(trial, point, &samples)?;
    Ok(StoreFigures {
        rows: trial.records as u64 * samples.len() as u64,
        calls: samples.len() as u64,
        wall_seconds,
        cpu_seconds: Some(used.cpu_seconds),
        found: Some(found),
        ..StoreFigures::default()
    })
}

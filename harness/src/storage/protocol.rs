//! What a worker is told about a trial of a store, and what it answers.
//!
//! The conversation is short: the harness starts `worker trial.json`, the worker says `hello` as any worker does, works, and
//! answers `stored` (or `failed`), then waits for `exit` or the end of its input. Whoever is to be killed is killed while it
//! waits. docs/worker-protocol.md says the same for other languages.
//!
//! Files beside the trial, little-endian: `ids` and `delete` are u64 numbers that the harness wrote; a worker that times
//! calls writes nanoseconds, u64, to `<samples>.<point>.ns.bin`, and the rows of `check` as f32 to `<samples>.rows.bin`.

use std::path::PathBuf;

use nearlab_reports::{record::Params, storage::StoreFigures};
use serde::{Deserialize, Serialize};

use crate::protocol::Matrix;

/// What to do with one store. Written as `trial.json`; told from a trial of an index by its key `store`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreTrial {
    /// [`PROTOCOL`](crate::protocol::PROTOCOL).
    pub protocol: u32,
    /// Hash of the trial and the repeat, for messages.
    pub trial: String,
    /// `store`, `plain_file`; for an external worker the name of the store in the experiment.
    pub store: String,
    /// `f32` or `f16`.
    pub element: String,
    /// `bulk_load`, `point_read`, `compaction`, `reopen` or `filter`.
    pub mode: String,
    /// Parameters of the trial: `batch`, `durability`, `delete`, `after`.
    pub params: Params,
    /// What is to be measured, in this order: one answer each.
    pub points: Vec<Params>,
    /// Of `reopen`: whether this process makes the store (`load`) or opens it (`open`); else `measure`.
    pub phase: Phase,
    /// An empty folder that exists (of `open`: with what the other process left).
    pub folder: PathBuf,
    /// The rows, whose ids are their numbers from 0; `None` for `filter`.
    pub train: Option<Matrix>,
    /// Ids to read, in this order.
    pub ids: Option<PathBuf>,
    /// Ids to delete.
    pub delete: Option<PathBuf>,
    /// Ids whose rows the harness compares; empty where none are read.
    pub check: Vec<u64>,
    /// Records of `filter`, one JSON object per line; only for external workers. Others make them by `seed`.
    pub fields: Option<PathBuf>,
    /// Records of `filter`.
    pub records: usize,
    /// Seed of the records.
    pub seed: u64,
    /// Untimed passes first.
    pub warmup: usize,
    /// Beginning of the names of what the worker writes.
    pub samples: PathBuf,
}

/// Which part of a trial a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// All of it.
    Measure,
    /// Make the store and leave it, or wait to be killed.
    Load,
    /// Open what another process left.
    Open,
}

/// The worker's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredReply {
    /// One for each of the trial's points; none after `load`.
    pub points: Vec<StoreFigures>,
}

impl StoreTrial {
    /// Where the nanoseconds of a point's calls go.
    pub fn samples_of(&self, point: usize) -> PathBuf {
        with(&self.samples, &format!(".{point}.ns.bin"))
    }

    /// Where the rows of `check` go.
    pub fn rows_file(&self) -> PathBuf {
        with(&self.samples, ".rows.bin")
    }
}

fn with(path: &std::path::Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

//! What a run about stores writes down: one [`StorageHead`] per session, one [`Stored`] per measurement.

use serde::{Deserialize, Serialize};

use crate::record::{Dataset, Latency, Params};

/// What every measurement of the session was taken on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageHead {
    /// The disk that the trials wrote to.
    pub disk: Disk,
    /// The data sets, in the order written.
    pub datasets: Vec<Dataset>,
}

/// A disk, as the system describes it, and how long it takes to make a few bytes durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Device, as the list of mounts names it; `None` where there is no such list.
    pub device: Option<String>,
    /// File system.
    pub file_system: Option<String>,
    /// Options that it is mounted with.
    pub mount_options: Option<String>,
    /// Whether the device says that it turns; virtual disks often say so of what does not.
    pub rotational: Option<bool>,
    /// Size of the file system in bytes.
    pub total_bytes: u64,
    /// Bytes free for this user before the session.
    pub free_bytes: u64,
    /// Time of writing 4 KiB at the end of a file and syncing its data, one after the other.
    pub sync_ns: Option<Latency>,
    /// How often that was done.
    pub syncs: u64,
}

/// One measurement of one store: one repeat of one workload at one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Hash of the trial and the repeat, with the number of the point behind it: measured once per run.
    pub key: String,
    /// Hash of (store, element, data set, workload, its parameters, code version).
    pub trial: String,
    /// Data set; `None` where the workload makes its own.
    pub dataset: Option<String>,
    /// Dimensions of its vectors.
    pub d: Option<u64>,
    /// Store name in the experiment.
    pub store: String,
    /// Kind: `store`, `plain_file`, `external`.
    pub kind: String,
    /// Components of the vectors: `f32` or `f16`; `None` where there are no vectors.
    pub element: Option<String>,
    /// Library and version that did the work, as the worker said.
    pub library: String,
    /// Workload name.
    pub workload: String,
    /// `bulk_load`, `point_read`, `compaction`, `reopen` or `filter`.
    pub mode: String,
    /// What the point was: `batch`, `durability`, `filter`, ...
    pub params: Params,
    /// 0-based.
    pub repeat: u32,
    /// Position of the trial in the order of the run.
    pub order: u64,
    /// What was measured.
    pub figures: StoreFigures,
    /// rows / `wall_seconds`.
    pub rows_per_second: f64,
    /// Time of each call, where calls were timed one by one.
    pub latency_ns: Option<Latency>,
    /// Rows read back that the harness compared with the data set.
    pub checked_rows: u64,
    /// Peak anonymous resident memory of the worker (kernel's figure, sampled).
    pub peak_rss_anon_bytes: Option<u64>,
    /// Peak file-backed resident memory of the worker.
    pub peak_rss_file_bytes: Option<u64>,
    /// Nanoseconds per call, u64; path relative to the run's folder.
    pub samples_file: Option<String>,
}

/// The figures of one measurement, as the worker hands them in. What does not apply is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreFigures {
    /// Rows loaded, read, kept by the compaction, there after opening, or judged by a filter.
    pub rows: u64,
    /// Bytes of those rows' components (of the documents, for fields).
    pub bytes: u64,
    /// Calls made: changes, reads, filters.
    pub calls: u64,
    /// Wall time of the whole, the last sync included.
    pub wall_seconds: f64,
    /// CPU time of the worker meanwhile.
    pub cpu_seconds: Option<f64>,
    /// Of `wall_seconds`, the last sync.
    pub sync_seconds: Option<f64>,
    /// Bytes that the folder takes on the disk afterwards.
    pub disk_bytes: Option<u64>,
    /// Bytes on the disk that a compaction gave back, when it was over.
    pub freed_bytes: Option<u64>,
    /// Records that a filter found.
    pub found: Option<u64>,
}

//! Runs about stores: their records, points with ratios to a baseline, columns of the results, what a report says.
//!
//! | file | what |
//! |---|---|
//! | `record` | the schema |
//! | `points` | repeats gathered into points, and each point's ratio to the baseline's |
//! | `columns` | `results.parquet` and `results.csv` of such a run |
//! | `content` | verdict, tables and facts of the report |
//!
//! A run is about indexes or about stores, never both, so its results have the columns of one of them.

mod columns;
mod content;
mod points;
mod record;

pub(crate) use columns::columns;
pub use columns::{COLUMNS, describe};
pub use content::{disk, tables, verdict};
pub(crate) use points::name;
pub use points::{StorePoint, baseline, gather, settings};
pub use record::{Disk, StorageHead, StoreFigures, Stored};

use crate::run::RunData;

/// Whether these runs are about stores.
pub fn is_storage(runs: &[RunData]) -> bool {
    runs.iter().any(|run| run.storage.is_some() || !run.stored.is_empty())
}

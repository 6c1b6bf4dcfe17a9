//! The record schema, and everything that is derived from records: statistics, tables, plots, reports, comparisons,
//! gate verdicts.
//!
//! | what | where |
//! |---|---|
//! | what a run writes down, line by line | [`record`] |
//! | appending to and reading `records.jsonl` | [`records`] |
//! | one run's records, merged over its sessions | [`run`] |
//! | repeats gathered into points, points into series | [`points`] |
//! | the same for runs about stores | [`storage`] |
//! | medians, intervals, Pareto fronts | [`stats`] |
//! | `results.parquet` and `results.csv` | [`table`] |
//! | "best at recall >= r" | [`summary`] |
//! | searches with filters beside an exact scan of what matches | [`filtered`] |
//! | PNG and SVG plots | [`plots`] |
//! | a report folder: `index.html`, `report.md`, plots | [`render()`] |
//! | what changed between two runs | [`compare`] |
//! | exact counters against a golden file | [`gate`] |
//!
//! Architecture Invariant: this crate never knows how a number was made. It reads records, and uses no other nearlab
//! crate. What it writes is complete or absent: files are written under a temporary name and renamed.

mod atomic;
pub mod compare;
mod content;
pub mod environment;
pub mod filtered;
pub mod format;
pub mod gate;
pub mod grid;
mod html;
mod markdown;
pub mod plots;
pub mod points;
pub mod record;
pub mod records;
mod render;
pub mod run;
pub mod samples;
pub mod stats;
pub mod storage;
pub mod summary;
pub mod table;

pub use atomic::FileError;
pub use render::{RenderError, Rendered, render};

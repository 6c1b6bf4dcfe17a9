//! Data sets for nearlab: the catalogue, the field's file formats, exact neighbours, and the prepared form every
//! experiment runs on.
//!
//! | module | what it does |
//! |---|---|
//! | [`source`] | what an experiment may name (`use:`), and one reader over all formats: matrices in blocks of rows |
//! | [`hdf5`] | ann-benchmarks HDF5, read and written |
//! | [`xvecs`] | fvecs, ivecs, bvecs |
//! | [`xbin`] | big-ann's fbin, u8bin, i8bin, f16bin, ibin and ground truth files |
//! | [`npy`] | NumPy arrays |
//! | [`parquet`] | Parquet files with a list column of vectors |
//! | [`mod@prepare`] | decode once, validate, split queries, check or compute the truth, fingerprint |
//! | [`prepared`] | the result: one memory-mapped container in the [`cache`] |
//! | [`truth`] | exact neighbours |
//! | [`filters`] | filters over a prepared set by selectivity and correlation, with the exact neighbours among their matches |
//! | [`describe`], [`verify`], [`convert`] | what the command line offers on single files |
//! | [`catalog`], [`fetch`], [`synth`] | public sets by name, downloads, generated sets |
//!
//! ```no_run
//! use nearlab_datasets::{Cache, PrepareOptions, Prepared, prepare};
//!
//! let here = std::path::Path::new(".");
//! let path = prepare("sift-photos-20k-128-euclidean", here, &PrepareOptions::default(), &Cache::from_env(), &())?;
//! let data = Prepared::open(&path)?;
//! println!("{} x {}, nearest to query 0: {}", data.train().len(), data.dim(), data.neighbors().row(0)[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants: vectors are `f32` from here on; every byte from a file is checked once, here, so later loops may trust
//! it; what is written is whole or absent. Absent from this crate: indexes, clocks, and anything that prints.

pub mod cache;
pub mod catalog;
pub mod convert;
pub mod describe;
pub mod fetch;
pub mod filters;
pub mod hdf5;
pub mod npy;
pub mod parquet;
pub mod prepare;
pub mod prepared;
pub mod progress;
pub mod source;
pub mod synth;
pub mod truth;
pub mod verify;
pub mod xbin;
pub mod xvecs;

pub use cache::Cache;
pub use filters::{Correlation, FilterOptions, PreparedFilter};
pub use prepare::{PrepareError, PrepareOptions, QuerySplit, prepare};
pub use prepared::{Fingerprint, Prepared};
pub use progress::Progress;
pub use source::{DataFile, Files, Format, ReadError, Source};

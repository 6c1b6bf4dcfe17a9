//! What an experiment names as its data, and one reader over all file formats.
//!
//! A [`Source`] is a name (catalogue entry or path) or a set of files; [`DataFile`] is one opened file: its matrices as
//! [`RowReader`]s and what it says of its metric. Nothing is decoded here.

mod element;
mod error;
mod format;
mod guard;
mod name;
mod rows;

pub use element::Element;
pub use error::ReadError;
pub use format::{DataFile, Format};
pub(crate) use guard::guard;
pub use name::{Files, Source, metric_name, metric_of};
pub(crate) use rows::{Header, PackedRows, open_file};
pub use rows::{MAX_DIM, RowReader};

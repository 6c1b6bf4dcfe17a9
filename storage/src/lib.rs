//! Bytes and files: the one file format everything is kept in, files that are whole or absent, memory maps, and the vector
//! [`store`], which survives what befalls a machine.
//!
//! A prepared data set and a saved index are each one [`Container`]: a header, a table, and page-aligned sections of
//! plain little-endian arrays, each with a checksum. `docs/formats.md` gives the layout byte by byte. A container is
//! opened by mapping it, so opening costs nothing per byte and the arrays are used where they lie.
//!
//! Architecture invariants: nothing here knows a graph, a metric or a data set. A container is never changed; it is replaced
//! by another, in one step. The store appends to files of its own, metadata changes pages in place. `unsafe` stands in [`mmap`]
//! and in `disk::writeback`, one system call.
//!
//! ```
//! use nearlab_storage::{Container, ContainerWriter, FileKind, SectionId, Verify};
//!
//! const KIND: FileKind = FileKind::new("example");
//! const SQUARES: SectionId = SectionId::new("squares");
//!
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("squares.nearlab");
//! let mut writer = ContainerWriter::create(&path, KIND, 1)?;
//! writer.section::<u32>(SQUARES, &[0, 1, 4, 9])?;
//! writer.finish()?;
//!
//! let container = Container::open(&path, KIND, 1..=1, Verify::Sections)?;
//! assert_eq!(container.view::<u32>(SQUARES)?, [0, 1, 4, 9]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(target_endian = "little"))]
compile_error!("nearlab maps its little-endian files as they are, so it cannot be built for a big-endian machine");

mod atomic;
mod buffer;
mod container;
pub mod disk;
mod error;
pub mod metadata;
pub mod mmap;
pub mod store;
mod sync;
mod vectors;

pub use atomic::{AtomicFile, folder_of};
pub use buffer::{Buffer, MappedSlice, Resident};
pub use container::{Container, ContainerWriter, FileKind, MAX_SECTIONS, Section, SectionId, SectionWriter, Verify};
pub use error::{OpenError, Place, WriteError};
pub use vectors::Vectors;

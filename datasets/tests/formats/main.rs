//! Reading, checking, preparing and converting files of every format, through the public interface.
//!
//! `tests/data` holds tiny HDF5 files that h5py wrote, one per variant (`make_fixtures.py` beside them says which);
//! everything else is written here.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test itself")]

mod bad_input;
mod conversion;
mod description;
mod filters;
mod hdf5_variants;
mod list_columns;
mod mutation;
mod preparation;
mod set;

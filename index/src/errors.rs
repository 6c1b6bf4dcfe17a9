//! What can go wrong with parameters and builds. Files have [`OpenError`] and [`SaveError`], which are those of
//! nearlab-storage: each names the file and the section.

pub use nearlab_storage::{OpenError, WriteError as SaveError};

/// A parameter is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}` must be {expected}, found {found}")]
pub struct ParamError {
    /// The parameter's name, as in the params struct.
    pub name: &'static str,
    /// Its range, in words.
    pub expected: String,
    /// The value that was given.
    pub found: String,
}

impl ParamError {
    /// Refuses `value` unless it lies in `least..=most`.
    pub(crate) fn check(name: &'static str, value: usize, least: usize, most: usize) -> Result<(), Self> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(Self { name, expected: format!("from {least} to {most}"), found: value.to_string() })
    }
}

/// Why an index could not be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A parameter is out of its range.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// A component is NaN or infinite, so distances to that vector would mean nothing. The first one is named.
    #[error("vectors must be finite: row {row}, column {column} is {value}")]
    NotFinite {
        /// Row of the vector, from 0.
        row: usize,
        /// Component of the vector, from 0.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// Vectors inserted into an index of another dimension.
    #[error("the index has {expected} components, the vectors {found}")]
    Dimension {
        /// Components of the index's vectors.
        expected: usize,
        /// Components of the vectors that were given.
        found: usize,
    },
    /// Ids would not fit.
    #[error("an index holds at most {expected} vectors, found {found}")]
    TooMany {
        /// The most an index can hold.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// Codes under inner product need the squares of the vectors' lengths. The first one that no number holds is named.
    #[error("codes under inner product need squared lengths of at most {expected:e}, row {row} has {found:e}")]
    TooLong {
        /// Row of the vector, from 0.
        row: usize,
        /// The largest square.
        expected: f32,
        /// The square of the vector's length.
        found: f64,
    },
    /// The process may not have the memory that the index needs.
    #[error("the index needs {bytes} bytes of memory that the system does not give")]
    Memory {
        /// Bytes of the array that was asked for.
        bytes: usize,
    },
    /// Whatever else keeps an index that is not of this crate from being built.
    #[error("{0}")]
    Other(String),
    /// [`Progress::cancelled`](crate::Progress::cancelled) said so.
    #[error("the build was cancelled")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_out_of_range_is_refused_with_its_name_and_range() {
        assert_eq!(ParamError::check("m", 2, 2, 256), Ok(()));
        let error = ParamError::check("m", 1, 2, 256).unwrap_err();
        assert_eq!(error.to_string(), "parameter `m` must be from 2 to 256, found 1");
        assert_eq!(BuildError::from(error).to_string(), "parameter `m` must be from 2 to 256, found 1");
    }

    #[test]
    fn build_errors_say_what_was_expected_and_found() {
        let error = BuildError::NotFinite { row: 3, column: 1, value: f32::NAN };
        assert_eq!(error.to_string(), "vectors must be finite: row 3, column 1 is NaN");
        let error = BuildError::TooMany { expected: 10, found: 11 };
        assert_eq!(error.to_string(), "an index holds at most 10 vectors, found 11");
        let error = BuildError::TooLong { row: 3, expected: 2e38, found: 4e40 };
        let expected = "codes under inner product need squared lengths of at most 2e38, row 3 has 4e40";
        assert_eq!(error.to_string(), expected);
    }
}

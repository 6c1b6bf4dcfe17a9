//! Foreign decoders on damaged bytes.
//!
//! The HDF5 and Parquet libraries answer damaged files with errors nearly always; where one panics instead (fuzzing finds
//! an arithmetic overflow or an `unwrap` now and then), the panic becomes the same kind of error here.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::ReadError;

/// Runs `decode`; a panic inside becomes an error at `place`. What `decode` borrows is not used after an error.
pub(crate) fn guard<T>(
    path: &Path,
    place: &str,
    decode: impl FnOnce() -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let found = format!("bytes that its decoder fails on ({})", message(&*panic));
        Err(ReadError::malformed(path, place, "readable data", found))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(decode: impl FnOnce() -> Result<u8, ReadError>) -> String {
        guard(Path::new("a.parquet"), "column `emb`", decode).unwrap_err().to_string()
    }

    #[test]
    fn a_panic_becomes_an_error_at_its_place() {
        let n = 7;
        let said = found(|| panic!("page {n}"));
        let expected =
            "a.parquet: column `emb`: expected readable data, found bytes that its decoder fails on (page 7)";
        assert_eq!(said, expected);
        assert!(found(|| panic!("plain")).ends_with("(plain)"));
        assert!(found(|| std::panic::panic_any(1)).ends_with("(no message)"));
    }

    #[test]
    fn results_pass_through() {
        assert_eq!(guard(Path::new("a"), "b", || Ok(1)).unwrap(), 1);
        assert!(found(|| Err(ReadError::truncated(Path::new("a"), "b", 1, 0))).contains("truncated"));
    }
}

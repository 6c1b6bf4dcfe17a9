//! The files that workers answer with.

use std::{fs, io, path::Path};

/// What lies where a worker was to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What it wrote.
    Bytes(Vec<u8>),
    /// Nothing.
    Absent,
    /// Something of a size that does not fit, in bytes.
    Size(u64),
}

/// Reads a file whose size in bytes `fits`. The size is looked at before anything is read: what a worker writes by mistake may be
/// more than memory holds.
pub(crate) fn read_answer(path: &Path, fits: impl Fn(u64) -> bool) -> io::Result<Answer> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Answer::Absent),
        Err(error) => return Err(error),
    };
    // A pipe of that name would never be read to its end.
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if !fits(metadata.len()) {
        return Ok(Answer::Size(metadata.len()));
    }
    let bytes = fs::read(path)?;
    let size = bytes.len() as u64;
    Ok(if fits(size) { Answer::Bytes(bytes) } else { Answer::Size(size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_where_its_size_fits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer");
        assert_eq!(read_answer(&path, |_| true).unwrap(), Answer::Absent);
        fs::write(&path, [1, 2, 3]).unwrap();
        assert_eq!(read_answer(&path, |size| size == 3).unwrap(), Answer::Bytes(vec![1, 2, 3]));
        assert_eq!(read_answer(&path, |size| size == 4).unwrap(), Answer::Size(3));
        // Neither is the worker's file, and neither is absent.
        assert!(read_answer(folder.path(), |_| true).is_err());
        assert!(read_answer(&path.join("below"), |_| true).is_err());
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer");
        // A hole: more than any memory, and nothing on the disk.
        let size = 1 << 40;
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        assert_eq!(read_answer(&path, |size| size == 8).unwrap(), Answer::Size(size));
    }
}

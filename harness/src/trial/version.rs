//! Which version of itself a worker program is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nearlab_storage::folder_of;
use xxhash_rust::xxh3::Xxh3;

/// Text that differs when an external worker may measure something else: a hash of its file. With a Python file every one
/// beside it counts, for there lie the timed loops that workers share, and what they import of each other. `None` where it
/// cannot be read.
pub fn worker_version(worker: &Path) -> Option<String> {
    let own = fs::read(worker).ok()?;
    let mut hash = Xxh3::new();
    hash.update(&own);
    if is_python(worker) {
        for module in beside(worker) {
            // What cannot be read cannot be imported either, and counts by its name.
            let bytes = fs::read(&module).unwrap_or_default();
            hash.update(module.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
        }
    }
    Some(format!("{:016x}", hash.digest()))
}

/// Whether a worker is run by Python.
pub(super) fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

/// The Python files of the folder that a file lies in, by name.
fn beside(path: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder_of(path)).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| is_python(path) && !is_hidden(path)).collect();
    files.sort();
    files
}

/// Whether it is what an editor keeps beside an open file: no module has such a name.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_worker_is_another_when_anything_that_it_may_import_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("worker.py", "import loops"), ("loops.py", "a"), ("tool", "b"), ("notes.txt", "c")] {
            fs::write(at(name), text).unwrap();
        }
        let versions = || (worker_version(&at("worker.py")).unwrap(), worker_version(&at("tool")).unwrap());
        let first = versions();
        fs::write(at("notes.txt"), "d").unwrap();
        fs::write(at(".#loops.py"), "an editor has it open").unwrap();
        assert_eq!(versions(), first);
        fs::write(at("loops.py"), "aa").unwrap();
        let second = versions();
        assert!(second.0 != first.0 && second.1 == first.1, "{first:?} {second:?}");
        fs::rename(at("loops.py"), at("passes.py")).unwrap();
        let third = versions();
        assert!(third.0 != second.0 && third.0 != first.0, "{second:?} {third:?}");
        fs::write(at("tool"), "bb").unwrap();
        assert_ne!(versions().1, first.1);
        assert_eq!(worker_version(&at("absent.py")), None);
    }
}

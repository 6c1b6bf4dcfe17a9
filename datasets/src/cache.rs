//! The cache folder: what it holds, how large it is, and emptying it.
//!
//! `<root>/prepared` holds prepared data sets (written by [`mod@crate::prepare`]), `<root>/downloads` fetched files. Only
//! these two folders are ever listed or cleaned, so that a root set to the wrong place loses nothing else. Files appear
//! there whole, by a rename; two processes that prepare the same data do the work twice and agree on the result.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Folders below the root, in the order they are listed.
const FOLDERS: [&str; 2] = ["prepared", "downloads"];

/// A temporary file older than this belongs to no running process.
const ABANDONED: Duration = Duration::from_hours(24);

/// A cache folder. It need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The folder.
    pub root: PathBuf,
}

/// One file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its path.
    pub path: PathBuf,
    /// File name.
    pub name: String,
    /// `prepared` or `downloads`.
    pub folder: &'static str,
    /// Length in bytes.
    pub bytes: u64,
    /// Whether it is the temporary file of a process at work, or of one that was killed.
    pub temporary: bool,
    /// Last change.
    pub modified: SystemTime,
}

/// The cache could not be listed or cleaned.
#[derive(Debug, thiserror::Error)]
#[error("cache {}: cannot {action}: {source}", path.display())]
pub struct CacheError {
    /// File or folder.
    pub path: PathBuf,
    /// `list` or `remove`.
    pub action: &'static str,
    /// The system's answer.
    pub source: io::Error,
}

impl Cache {
    /// The cache at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The user's cache: `$NEARLAB_CACHE`, else `$XDG_CACHE_HOME/nearlab`, else `~/.cache/nearlab`, else
    /// `.nearlab-cache` in the current folder.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let root = variable("NEARLAB_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("nearlab")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/nearlab")))
            .unwrap_or_else(|| ".nearlab-cache".into());
        Self { root }
    }

    /// Folder of prepared data sets.
    pub fn prepared(&self) -> PathBuf {
        self.root.join(FOLDERS[0])
    }

    /// Folder of downloaded files.
    pub fn downloads(&self) -> PathBuf {
        self.root.join(FOLDERS[1])
    }

    /// Every file, sorted by folder and name; empty when the cache does not exist.
    pub fn entries(&self) -> Result<Vec<CacheEntry>, CacheError> {
        let mut entries = Vec::new();
        for folder in FOLDERS {
            list(&self.root.join(folder), folder, &mut entries)?;
        }
        Ok(entries)
    }

    /// Bytes in all files.
    pub fn size(&self) -> Result<u64, CacheError> {
        Ok(self.entries()?.iter().map(|entry| entry.bytes).sum())
    }

    /// Removes every file, or those whose name starts with `name`; returns what was removed.
    ///
    /// Temporary files of the last day are kept: a process may be writing them. A file that vanishes meanwhile is no
    /// error, and whoever has a prepared set open keeps it open.
    pub fn clean(&self, name: Option<&str>) -> Result<Vec<CacheEntry>, CacheError> {
        let mut removed = Vec::new();
        for entry in self.entries()? {
            let wanted = name.is_none_or(|name| entry.name.trim_start_matches('.').starts_with(name));
            let busy = entry.temporary && entry.modified.elapsed().unwrap_or_default() < ABANDONED;
            if !wanted || busy {
                continue;
            }
            match fs::remove_file(&entry.path) {
                Ok(()) => removed.push(entry),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(CacheError { path: entry.path, action: "remove", source }),
            }
        }
        Ok(removed)
    }
}

fn list(path: &Path, folder: &'static str, entries: &mut Vec<CacheEntry>) -> Result<(), CacheError> {
    let error = |source| CacheError { path: path.to_path_buf(), action: "list", source };
    let listing = match fs::read_dir(path) {
        Ok(listing) => listing,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(error(e)),
    };
    let start = entries.len();
    for entry in listing {
        let entry = entry.map_err(error)?;
        let metadata = match entry.metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            // A folder, or a file that was renamed or removed since it was listed.
            _ => continue,
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push(CacheEntry {
            path: entry.path(),
            folder,
            bytes: metadata.len(),
            temporary: name.starts_with('.') && entry.path().extension().is_some_and(|e| e == "tmp"),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            name,
        });
    }
    entries[start..].sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        fs::create_dir_all(cache.prepared().join("subfolder")).unwrap();
        fs::create_dir_all(cache.downloads()).unwrap();
        fs::write(cache.prepared().join("sift-1.nearlab"), [0; 10]).unwrap();
        fs::write(cache.prepared().join(".sift-1.nearlab.x.tmp"), [0; 3]).unwrap();
        fs::write(cache.prepared().join("glove-2.nearlab"), [0; 20]).unwrap();
        fs::write(cache.downloads().join("sift.hdf5"), [0; 5]).unwrap();
        fs::write(folder.path().join("mine.txt"), [0; 7]).unwrap();
        (folder, cache)
    }

    #[test]
    fn size_and_entries_count_only_its_own_folders() {
        let (_folder, cache) = filled();
        assert_eq!(cache.size().unwrap(), 38);
        let names: Vec<String> =
            cache.entries().unwrap().into_iter().map(|e| format!("{}/{}", e.folder, e.name)).collect();
        let expected = [
            "prepared/.sift-1.nearlab.x.tmp",
            "prepared/glove-2.nearlab",
            "prepared/sift-1.nearlab",
            "downloads/sift.hdf5",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn one_name_or_all_can_be_cleaned_and_nothing_foreign_or_busy_is_touched() {
        let (folder, cache) = filled();
        let removed: Vec<String> = cache.clean(Some("sift")).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(removed, ["sift-1.nearlab", "sift.hdf5"]);
        assert_eq!(cache.clean(None).unwrap().len(), 1);
        assert_eq!(cache.size().unwrap(), 3);
        assert!(folder.path().join("mine.txt").exists());
    }

    #[test]
    fn an_abandoned_temporary_file_is_cleaned() {
        let (_folder, cache) = filled();
        let path = cache.prepared().join(".sift-1.nearlab.x.tmp");
        let old = SystemTime::now() - 2 * ABANDONED;
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        cache.clean(None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_cache_that_does_not_exist_is_empty() {
        let cache = Cache::new("/nonexistent/nearlab");
        assert_eq!((cache.size().unwrap(), cache.clean(None).unwrap().len()), (0, 0));
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("prepared"), "").unwrap();
        let message = Cache::new(folder.path()).size().unwrap_err().to_string();
        assert!(message.contains("prepared: cannot list"), "{message}");
    }

    #[test]
    fn the_environment_decides_where_it_is() {
        let from = |set: &[(&str, &str)]| {
            let set: Vec<(String, PathBuf)> = set.iter().map(|&(k, v)| (k.to_owned(), v.into())).collect();
            Cache::from_variables(|name| set.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())).root
        };
        assert_eq!(from(&[("NEARLAB_CACHE", "/a"), ("HOME", "/h")]), Path::new("/a"));
        assert_eq!(from(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), Path::new("/x/nearlab"));
        assert_eq!(from(&[("HOME", "/h")]), Path::new("/h/.cache/nearlab"));
        assert_eq!(from(&[]), Path::new(".nearlab-cache"));
        assert!(!Cache::from_env().root.as_os_str().is_empty());
    }
}

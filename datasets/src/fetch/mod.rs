//! Getting the file of a catalogue entry onto this machine, whole and verified, or not at all.
//!
//! - A local file (the entry's `file:`, or one found in a mirror folder) is used where it lies; nothing is copied.
//! - An address is downloaded to `<cache>/downloads/<name>.<extension>`: into `<file>.part` first, continued after a
//!   cut or a kill (`http.rs`), then checked for length and SHA-256, synced, and renamed.
//! - Beside each file that was checked lies a receipt (`<name>.receipt.json`), so that the next use costs a `stat`
//!   and not a hash of gigabytes. A file that no longer fits its receipt is checked again.
//!
//! A mirror is a folder or an address that holds files under the last part of their published address. Where one is
//! given (`NEARLAB_MIRROR`, or [`Options::mirror`]) it stands for the network: what it lacks is an error.
//!
//! Does not read the data: shapes and values are checked by `prepare`.

mod http;
mod receipt;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    cache::Cache,
    catalog::{Entry, Place},
    progress::Progress,
};
use receipt::Receipt;

/// Environment variable that names a mirror: a folder, or an `http(s)://` address.
pub const MIRROR_VARIABLE: &str = "NEARLAB_MIRROR";

/// How to fetch.
pub struct Options<'a> {
    /// A folder or an `http(s)://` address to use instead of the published addresses.
    pub mirror: Option<String>,
    /// Tries in a row that may get no further than the one before; at least 1.
    pub attempts: u32,
    /// Called before try 2, 3, ... with 1, 2, ...; [`backoff`] by default.
    pub pause: &'a dyn Fn(u32),
}

impl Default for Options<'_> {
    /// Five tries with [`backoff`], and the mirror that [`MIRROR_VARIABLE`] names, if any.
    fn default() -> Self {
        let mirror = std::env::var(MIRROR_VARIABLE).ok().filter(|mirror| !mirror.is_empty());
        Self { mirror, attempts: 5, pause: &backoff }
    }
}

/// Sleeps 1, 2, 4, ... seconds, at most 30.
pub fn backoff(failures: u32) {
    std::thread::sleep(pause_length(failures));
}

fn pause_length(failures: u32) -> Duration {
    Duration::from_secs((1 << (failures.max(1) - 1).min(5)).min(30))
}

/// Why a file could not be had. No partial file is left behind, except where a connection broke or a server refused:
/// the next fetch continues that one.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was attempted: `read`, `write`, ...
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A local file of the catalogue does not exist.
    #[error("{name}: expected the file {}, found nothing there", path.display())]
    NoFile {
        /// The entry.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// The mirror folder has no such file.
    #[error("{name}: expected {file} in the mirror {}, found nothing; unset {MIRROR_VARIABLE} to use the published address", mirror.display())]
    NotInMirror {
        /// The entry.
        name: String,
        /// The file looked for.
        file: String,
        /// The folder.
        mirror: PathBuf,
    },
    /// The server answered with an error; server errors (5xx) only after all tries.
    #[error("{url}: expected the file, found HTTP status {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or one that broke again and again.
    #[error("{url}: gave up after {attempts} tries with {have} bytes here: {reason}")]
    Interrupted {
        /// The address.
        url: String,
        /// Tries in a row that got no further.
        attempts: u32,
        /// Bytes kept for the next fetch.
        have: u64,
        /// What went wrong last.
        reason: String,
    },
    /// A file of another length than the catalogue says.
    #[error("{place}: expected {expected} bytes, found {found}")]
    Length {
        /// Address or path.
        place: String,
        /// Bytes by the catalogue.
        expected: u64,
        /// Bytes by the server or the file system.
        found: u64,
    },
    /// A file with another SHA-256 than the catalogue says.
    #[error("{place}: expected SHA-256 {expected}, found {found}")]
    Hash {
        /// Address or path.
        place: String,
        /// By the catalogue.
        expected: String,
        /// Of the bytes received.
        found: String,
    },
}

impl FetchError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The local path of the entry's file, downloaded first where it must be. See [`fetch_with`].
pub fn fetch(entry: &Entry, cache: &Cache, progress: &dyn Progress) -> Result<PathBuf, FetchError> {
    fetch_with(entry, cache, &Options::default(), progress)
}

/// As [`fetch`], with the caller's options. Two processes that fetch the same file wait for each other.
pub fn fetch_with(
    entry: &Entry,
    cache: &Cache,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<PathBuf, FetchError> {
    let downloads = cache.downloads();
    let receipt = downloads.join(format!("{}.receipt.json", entry.name));
    match source(entry, options)? {
        Source::Local(path) => {
            check(entry, &path, &receipt, progress)?;
            Ok(path)
        }
        Source::Address(url) => {
            std::fs::create_dir_all(&downloads).map_err(FetchError::io("create", &downloads))?;
            let path = downloads.join(format!("{}{}", entry.name, extension(&url)));
            // Named like the cache's temporary files, so that listing and cleaning treat it as one.
            let lock_path = downloads.join(format!(".{}.lock.tmp", entry.name));
            let lock = File::create(&lock_path).map_err(FetchError::io("create", &lock_path))?;
            if lock.try_lock().is_err() {
                progress.report("wait for another fetch", 0, 0);
                lock.lock().map_err(FetchError::io("lock", &lock_path))?;
            }
            if !is_whole(entry, &path, &receipt, progress)? {
                let version = http::download(entry, &url, &path, options, progress)?;
                Receipt::of(entry, &path, version)?.write(&receipt)?;
            }
            Ok(path)
        }
    }
}

/// Reads the whole file at `path` again and compares length and SHA-256 with the entry.
///
/// Returns the SHA-256 found, so that a caller can print it where the catalogue has none.
pub fn verify(entry: &Entry, path: &Path, progress: &dyn Progress) -> Result<String, FetchError> {
    let place = path.display().to_string();
    let found = std::fs::metadata(path).map_err(FetchError::io("read", path))?.len();
    check_length(entry, &place, found)?;
    let hash = sha256(path, progress)?;
    check_hash(entry, &place, &hash)?;
    Ok(hash)
}

enum Source {
    Local(PathBuf),
    Address(String),
}

fn source(entry: &Entry, options: &Options<'_>) -> Result<Source, FetchError> {
    let url = match &entry.place {
        Place::File(path) if path.is_file() => return Ok(Source::Local(path.clone())),
        Place::File(path) => return Err(FetchError::NoFile { name: entry.name.clone(), path: path.clone() }),
        Place::Url(url) => url,
    };
    let Some(mirror) = &options.mirror else { return Ok(Source::Address(url.clone())) };
    let file = last_part(url);
    if mirror.starts_with("http://") || mirror.starts_with("https://") {
        return Ok(Source::Address(format!("{}/{file}", mirror.trim_end_matches('/'))));
    }
    let folder = PathBuf::from(mirror.strip_prefix("file://").unwrap_or(mirror));
    let path = folder.join(file);
    if path.is_file() {
        Ok(Source::Local(path))
    } else {
        Err(FetchError::NotInMirror { name: entry.name.clone(), file: file.into(), mirror: folder })
    }
}

/// Checks a file that is used where it lies, once: the receipt remembers.
fn check(entry: &Entry, path: &Path, receipt: &Path, progress: &dyn Progress) -> Result<(), FetchError> {
    let now = Receipt::of(entry, path, None)?;
    if entry.sha256.is_none() || Receipt::read(receipt).is_some_and(|written| written.same(&now)) {
        let bytes = std::fs::metadata(path).map_err(FetchError::io("read", path))?.len();
        return check_length(entry, &path.display().to_string(), bytes);
    }
    verify(entry, path, progress)?;
    now.write(receipt)
}

/// Whether `path` already is the entry's file; a download that is not, or came from another address, is removed.
fn is_whole(entry: &Entry, path: &Path, receipt: &Path, progress: &dyn Progress) -> Result<bool, FetchError> {
    if !path.exists() {
        return Ok(false);
    }
    let now = Receipt::of(entry, path, None)?;
    let from_elsewhere =
        Receipt::read(receipt).is_some_and(|written| written.same_file(&now) && !written.same_address(&now));
    if !from_elsewhere {
        match check(entry, path, receipt, progress) {
            Ok(()) => return Ok(true),
            Err(FetchError::Length { .. } | FetchError::Hash { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    std::fs::remove_file(path).map_err(FetchError::io("remove", path))?;
    Ok(false)
}

fn check_length(entry: &Entry, place: &str, found: u64) -> Result<(), FetchError> {
    match entry.bytes {
        Some(expected) if expected != found => Err(FetchError::Length { place: place.into(), expected, found }),
        _ => Ok(()),
    }
}

fn check_hash(entry: &Entry, place: &str, found: &str) -> Result<(), FetchError> {
    match &entry.sha256 {
        Some(expected) if expected != found => {
            Err(FetchError::Hash { place: place.into(), expected: expected.clone(), found: found.into() })
        }
        _ => Ok(()),
    }
}

/// SHA-256 of a file in lower-case hex, read once from front to back.
pub fn sha256(path: &Path, progress: &dyn Progress) -> Result<String, FetchError> {
    use std::{fmt::Write as _, io::Read as _};
    let mut file = File::open(path).map_err(FetchError::io("read", path))?;
    let total = file.metadata().map_err(FetchError::io("read", path))?.len();
    let (mut hasher, mut buffer, mut done) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut buffer).map_err(FetchError::io("read", path))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        if pace(done, done + read as u64) {
            progress.report("verify", done + read as u64, total);
        }
        done += read as u64;
    }
    progress.report("verify", done, total);
    Ok(hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    }))
}

/// Whether the bytes between `before` and `after` cross a mark at which progress is reported: every 4 MiB.
fn pace(before: u64, after: u64) -> bool {
    before >> 22 != after >> 22
}

/// The part of an address after its last `/`, without query or fragment.
fn last_part(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}

/// `.hdf5` of `http://a/b.hdf5`; empty where there is none.
fn extension(url: &str) -> &str {
    let last = last_part(url);
    let extension = last.rfind('.').map_or("", |dot| &last[dot..]);
    if extension.bytes().skip(1).all(|b| b.is_ascii_alphanumeric()) { extension } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_comes_from_the_last_part_of_the_address() {
        assert_eq!(extension("http://a.org/sift.hdf5"), ".hdf5");
        assert_eq!(extension("http://a.org/base.1B.u8bin?download=1#x"), ".u8bin");
        assert_eq!(extension("http://a.org/plain"), "");
        assert_eq!(extension("http://a.org/odd.h%5f"), "");
    }

    #[test]
    fn the_backoff_doubles_and_is_bounded() {
        let seconds = [1, 2, 3, 4, 5, 6, 99].map(|failures| pause_length(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    }
}

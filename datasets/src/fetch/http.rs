//! One file by HTTP(S), in as many pieces as the network cuts it into.
//!
//! `<file>.part` holds the bytes so far and `<file>.part.json` says of which version of which address (RFC 9110: strong
//! `ETag`, else `Last-Modified`). A later try asks for `Range: bytes=<have>-` with `If-Range: <version>`, so that a
//! server whose file has changed sends the whole new one. A server that ignores ranges is read from the start again.
//! Bytes are only ever continued when the version is known, or when a SHA-256 will find a wrong mixture.
//!
//! Invariants: the partial file never holds bytes of two versions; it is never renamed before length and hash are right;
//! tries end after `attempts` in a row that brought the partial file no further than it had ever been.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

use super::{FetchError, Options, check_hash, check_length, pace, receipt::write_json, sha256};
use crate::{catalog::Entry, progress::Progress};

/// What `<file>.part.json` says about `<file>.part`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    url: String,
    /// Strong `ETag` or `Last-Modified`, as the server wrote it.
    validator: Option<String>,
    /// Length of the whole file, when the server said it.
    total: Option<u64>,
}

/// One download in progress.
struct Transfer<'a> {
    entry: &'a Entry,
    url: &'a str,
    part: PathBuf,
    note: PathBuf,
    progress: &'a dyn Progress,
}

/// How one try ended, when the file is not here yet.
enum Setback {
    /// Trying again may help.
    Again(Trouble),
    /// It will not.
    Final(FetchError),
}

/// Why a try failed that may be repeated.
enum Trouble {
    Status(u16),
    Cut(String),
}

impl From<FetchError> for Setback {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// Downloads `url` to `path`; returns the version (`ETag` or `Last-Modified`) of what was downloaded.
pub(super) fn download(
    entry: &Entry,
    url: &str,
    path: &Path,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Option<String>, FetchError> {
    let transfer = Transfer { entry, url, part: beside(path, ".part"), note: beside(path, ".part.json"), progress };
    let agent = agent(url);
    let (mut failures, mut furthest) = (0, transfer.have());
    loop {
        let trouble = match transfer.attempt(&agent) {
            Ok(()) => break,
            // What was received before stays good when a server refuses for a while.
            Err(Setback::Final(error @ FetchError::Status { .. })) => return Err(error),
            Err(Setback::Final(error)) => {
                transfer.discard();
                return Err(error);
            }
            Err(Setback::Again(trouble)) => trouble,
        };
        let have = transfer.have();
        failures = if have > furthest { 1 } else { failures + 1 };
        furthest = furthest.max(have);
        if failures >= options.attempts.max(1) {
            return Err(match trouble {
                Trouble::Status(status) => FetchError::Status { url: url.into(), status },
                Trouble::Cut(reason) => FetchError::Interrupted { url: url.into(), attempts: failures, have, reason },
            });
        }
        (options.pause)(failures);
    }
    transfer.finish(path)
}

/// A client that trusts the system's proxy settings, except on the way to this machine itself.
fn agent(url: &str) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("nearlab/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_mins(1)))
        .timeout_per_read(Some(Duration::from_mins(1)));
    let host = url.split("://").nth(1).unwrap_or_default();
    if host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]") {
        return config.proxy(None).build().into();
    }
    config.build().into()
}

impl Transfer<'_> {
    /// Bytes in the partial file.
    fn have(&self) -> u64 {
        std::fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    /// The version of the partial file, when it may be continued.
    fn version(&self) -> Option<Version> {
        let bytes = std::fs::read(&self.note).ok()?;
        let version: Version = serde_json::from_slice(&bytes).ok()?;
        let certain = version.validator.is_some() || self.entry.sha256.is_some();
        (version.url == self.url && certain).then_some(version)
    }

    fn discard(&self) {
        // Absence is what is wanted; a file that cannot be removed is overwritten by the next try.
        let _ = std::fs::remove_file(&self.part);
        let _ = std::fs::remove_file(&self.note);
    }

    /// One request. `Ok` when the partial file holds everything the server has.
    fn attempt(&self, agent: &ureq::Agent) -> Result<(), Setback> {
        let kept = self.version().filter(|_| self.have() > 0);
        if kept.is_none() {
            self.discard();
        }
        let have = self.have();
        let mut request = agent.get(self.url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(version) = &kept {
            if version.total == Some(have) {
                return Ok(());
            }
            request = request.header(header::RANGE, format!("bytes={have}-"));
            if let Some(validator) = &version.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Err(Setback::Again(Trouble::Cut(error.to_string()))),
        };
        match (response.status(), kept) {
            (StatusCode::PARTIAL_CONTENT, Some(version)) => self.continued(response, have, &version),
            (StatusCode::OK, _) => self.anew(response),
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                self.discard();
                Err(Setback::Again(Trouble::Status(416)))
            }
            (status, _)
                if status.is_server_error()
                    || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) =>
            {
                Err(Setback::Again(Trouble::Status(status.as_u16())))
            }
            (status, _) => Err(FetchError::Status { url: self.url.into(), status: status.as_u16() }.into()),
        }
    }

    /// A 206: continue the partial file if these are the bytes asked for, of the version it holds; else drop it.
    fn continued(&self, response: Response<Body>, have: u64, kept: &Version) -> Result<(), Setback> {
        let (first, total) = content_range(&response).unwrap_or((u64::MAX, None));
        let same_version = kept.validator.is_none() || validator(&response).is_none_or(|v| Some(v) == kept.validator);
        let same_length = kept.total.is_none() || total.is_none() || kept.total == total;
        if first != have || !same_version || !same_length {
            self.discard();
            let reason = format!("expected the range from byte {have} of the file begun, found another");
            return Err(Setback::Again(Trouble::Cut(reason)));
        }
        let total = kept.total.or(total);
        let part = OpenOptions::new().append(true).open(&self.part).map_err(FetchError::io("write", &self.part))?;
        self.receive(response, part, have, total)
    }

    /// A 200: the whole file, from its first byte.
    fn anew(&self, response: Response<Body>) -> Result<(), Setback> {
        let total = response.body().content_length();
        if let Some(found) = total {
            check_length(self.entry, self.url, found)?;
        }
        self.discard();
        let version = Version { url: self.url.into(), validator: validator(&response), total };
        write_json(&self.note, &version)?;
        let part = File::create(&self.part).map_err(FetchError::io("write", &self.part))?;
        self.receive(response, part, 0, total)
    }

    /// Copies the body into the partial file. What arrived before a cut is kept.
    fn receive(&self, response: Response<Body>, mut part: File, have: u64, total: Option<u64>) -> Result<(), Setback> {
        let mut body = response.into_body().into_reader();
        let (mut buffer, mut done) = (vec![0; 1 << 18], have);
        let shown = total.or(self.entry.bytes).unwrap_or(0);
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(Setback::Again(Trouble::Cut(error.to_string()))),
            };
            part.write_all(&buffer[..read]).map_err(FetchError::io("write", &self.part))?;
            if pace(done, done + read as u64) {
                self.progress.report("download", done + read as u64, shown);
            }
            done += read as u64;
        }
        self.progress.report("download", done, shown);
        match total.or(self.entry.bytes) {
            Some(total) if done < total => {
                Err(Setback::Again(Trouble::Cut(format!("expected {total} bytes, found the end after {done}"))))
            }
            _ => Ok(()),
        }
    }

    /// Checks the complete partial file and gives it its name.
    fn finish(&self, path: &Path) -> Result<Option<String>, FetchError> {
        let version = self.version().and_then(|version| version.validator);
        if let Err(error) = self.check() {
            self.discard();
            return Err(error);
        }
        std::fs::rename(&self.part, path).map_err(FetchError::io("rename", &self.part))?;
        if let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(FetchError::io("sync", folder))?;
        }
        self.discard();
        Ok(version)
    }

    fn check(&self) -> Result<(), FetchError> {
        check_length(self.entry, self.url, self.have())?;
        File::open(&self.part).and_then(|part| part.sync_all()).map_err(FetchError::io("sync", &self.part))?;
        if self.entry.sha256.is_some() {
            check_hash(self.entry, self.url, &sha256(&self.part, self.progress)?)?;
        }
        Ok(())
    }
}

/// `path` with `suffix` after its whole name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What `If-Range` may carry: a strong `ETag`, else `Last-Modified`.
fn validator(response: &Response<Body>) -> Option<String> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG).filter(|etag| !etag.starts_with("W/")).or_else(|| text(header::LAST_MODIFIED))
}

/// First byte and whole length out of `Content-Range: bytes 5-9/10` (`*` for an unknown length).
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

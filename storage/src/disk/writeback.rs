//! Writing back before a sync: the disk works while the next bytes are computed. No library wraps the call.

#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "a system call that the standard library lacks"))]

use std::fs::File;
use std::ops::Range;

/// Lets the system begin to write dirty pages of a file to the disk. Neither waits nor reports.
#[cfg(target_os = "linux")]
pub(super) fn start(file: &File, bytes: Range<u64>) {
    use std::os::fd::AsRawFd;

    let (Ok(offset), Ok(len)) = (bytes.start.try_into(), (bytes.end - bytes.start).try_into()) else { return };
    // SAFETY: the descriptor is open as long as `file` is, and the call reads and writes no memory of the process. What it returns
    // does not matter: the file keeps the error of a write that was begun here for the next sync.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// The call is Linux's own; elsewhere the sync does all of the work.
#[cfg(not(target_os = "linux"))]
pub(super) fn start(_file: &File, _bytes: Range<u64>) {}

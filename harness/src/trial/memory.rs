//! Watches a worker's memory: its peaks for the record, its limit for everyone else on the machine.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

/// Between two readings while the worker is young and its memory may grow fast.
const EARLY: Duration = Duration::from_millis(10);
/// Between two readings later: rare enough not to be seen in a measurement.
const LATER: Duration = Duration::from_millis(100);
/// How long a worker is young.
const YOUTH: Duration = Duration::from_secs(2);

/// Largest resident memory seen, in bytes. Anonymous memory is what a program uses; file-backed memory is cache that
/// the kernel may drop, so the two are never added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Anonymous.
    pub anon_bytes: u64,
    /// File-backed, shared included.
    pub file_bytes: u64,
}

/// A watching thread; it ends with this value.
pub(super) struct Watch {
    pid: Pid,
    peaks: Arc<Mutex<Peaks>>,
    /// Anonymous bytes at the moment the limit was passed; 0 before.
    killed_at: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
    _stop: Sender<()>,
}

impl Watch {
    /// Watches process `pid`, and kills its group when its anonymous memory passes `limit` bytes.
    pub(super) fn start(pid: Pid, limit: Option<u64>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let watch = Self { pid, peaks: Arc::default(), killed_at: Arc::default(), dead: Arc::default(), _stop: stop };
        let (peaks, killed_at, dead) = (watch.peaks.clone(), watch.killed_at.clone(), watch.dead.clone());
        let began = Instant::now();
        thread::spawn(move || {
            loop {
                let pause = if began.elapsed() < YOUTH { EARLY } else { LATER };
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let Some(now) = read(pid) else { continue };
                note(&peaks, now);
                if limit.is_some_and(|limit| now.anon_bytes > limit) && !dead.load(Ordering::Relaxed) {
                    killed_at.store(now.anon_bytes, Ordering::Relaxed);
                    let _gone = rustix::process::kill_process_group(pid, Signal::KILL);
                    return;
                }
            }
        });
        watch
    }

    /// The peaks up to now, now included.
    pub(super) fn peaks(&self) -> Peaks {
        if let Some(now) = read(self.pid) {
            note(&self.peaks, now);
        }
        *self.peaks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The anonymous bytes for which the worker was killed, if it was.
    pub(super) fn killed_at(&self) -> Option<u64> {
        Some(self.killed_at.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0)
    }

    /// The process has been waited for: its number may belong to another one soon.
    pub(super) fn note_death(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }
}

fn note(peaks: &Mutex<Peaks>, now: Peaks) {
    let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
    peaks.anon_bytes = peaks.anon_bytes.max(now.anon_bytes);
    peaks.file_bytes = peaks.file_bytes.max(now.file_bytes);
}

fn read(pid: Pid) -> Option<Peaks> {
    parse(&fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).ok()?)
}

/// `RssAnon`, `RssFile` and `RssShmem` of `proc_pid_status(5)`; a process that is going away has none.
fn parse(status: &str) -> Option<Peaks> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Peaks { anon_bytes: bytes("RssAnon")?, file_bytes: bytes("RssFile")? + bytes("RssShmem").unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_status() {
        let status = "Name:\tx\nVmHWM:\t  900 kB\nRssAnon:\t   100 kB\nRssFile:\t    50 kB\nRssShmem:\t     2 kB\n";
        assert_eq!(parse(status), Some(Peaks { anon_bytes: 100 * 1024, file_bytes: 52 * 1024 }));
        assert_eq!(parse("Name:\tzombie\n"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let watch = Watch::start(rustix::process::getpid(), None);
        let peaks = watch.peaks();
        assert!(peaks.anon_bytes > 0 && peaks.file_bytes > 0);
        assert_eq!(watch.killed_at(), None);
        watch.note_death();
    }
}

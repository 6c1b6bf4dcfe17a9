//! The worker's side of the conversation: replies as JSON lines, progress at most a few times a second.

use std::{
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::protocol::Reply;

/// Shortest time between two progress lines.
const PROGRESS_MS: u64 = 200;

/// Standard output, shared between the worker and the threads that report progress.
pub(super) struct Output<W> {
    sink: Mutex<W>,
    began: Instant,
    next_progress_ms: AtomicU64,
}

impl<W: Write> Output<W> {
    /// Replies go to `sink`.
    pub(super) fn new(sink: W) -> Self {
        Self { sink: Mutex::new(sink), began: Instant::now(), next_progress_ms: AtomicU64::new(0) }
    }

    /// Writes one line.
    pub(super) fn reply(&self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(&line)?;
        sink.flush()
    }

    /// Writes a progress line unless one was written less than 0.2 s ago. A reader that has gone is noticed at the next
    /// reply, so errors are not reported here.
    pub(super) fn progress(&self, reply: impl FnOnce() -> Reply) {
        let now = self.began.elapsed().as_millis() as u64;
        let due = self.next_progress_ms.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        // Of several threads that come at once, one writes.
        if self.next_progress_ms.compare_exchange(due, now + PROGRESS_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let _gone = self.reply(&reply());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_thinned_and_replies_are_not() {
        let output = Output::new(Vec::new());
        let building = |done| Reply::Building { stage: "train".into(), done, total: 9 };
        for done in 0..1000 {
            output.progress(|| building(done));
        }
        output.reply(&building(1000)).unwrap();
        let text = String::from_utf8(output.sink.into_inner().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() < 100, "{} lines", lines.len());
        assert_eq!(lines[0], r#"{"building":{"stage":"train","done":0,"total":9}}"#);
        assert!(lines.last().unwrap().contains("1000"));
    }
}

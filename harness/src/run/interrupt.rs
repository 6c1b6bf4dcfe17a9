//! Ctrl-C (and the other signals that ask a program to end).
//!
//! While measurements are under way the first one asks: the measurement in progress is finished and recorded, then the
//! run stops and says how to continue. The second one, or the first one at any other time, ends the program at once:
//! everything on disk is whole at every moment, so nothing is lost.

use std::{
    io::Write,
    process,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::trial;

/// Exit status of an interrupted program: 128 + SIGINT.
pub const EXIT: i32 = 130;

static SIGNALS: AtomicU32 = AtomicU32::new(0);
static MEASURING: AtomicBool = AtomicBool::new(false);

/// Starts to listen. A program that cannot (a handler is there already) keeps the system's own behaviour.
pub fn listen() {
    let _no_handler = ctrlc::set_handler(|| {
        let earlier = SIGNALS.fetch_add(1, Ordering::Relaxed);
        let mut stderr = std::io::stderr();
        if earlier == 0 && MEASURING.load(Ordering::Relaxed) {
            let _closed = writeln!(stderr, "\nfinishing the measurement under way; Ctrl-C again stops at once");
            return;
        }
        trial::kill_all();
        process::exit(EXIT);
    });
}

/// Whether the person asked to stop.
pub fn requested() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}

/// From here on, until dropped, an interruption finishes what is under way.
pub struct Measuring(());

impl Measuring {
    /// Enters the phase.
    pub fn begin() -> Self {
        MEASURING.store(true, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        MEASURING.store(false, Ordering::Relaxed);
    }
}

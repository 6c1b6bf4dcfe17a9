//! What a store promises, put to the test: random histories, a crash at every call that reaches the disk, every kind of fault.
//!
//! `just crash` runs ten thousand histories; the tests run some hundred. Each history is made from a number, which a failure
//! prints: `NEARLAB_SEED=1234 cargo test --release -p nearlab-storage --test crash` plays it again.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, all of it, that says what it tried")]

mod flips;
mod history;
mod killed;
mod metadata;
mod model;
mod unread;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use history::Tally;

/// Histories that are played where nobody says how many.
const HISTORIES: u64 = 150;

/// A number that the environment gives.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn everything_acknowledged_outlives_a_crash_at_any_call_and_nothing_else_is_half_there() {
    if let Some(seed) = number("NEARLAB_SEED") {
        println!("{}", history::play(seed));
        return;
    }
    let histories = number("NEARLAB_HISTORIES").unwrap_or(HISTORIES);
    let next = AtomicU64::new(0);
    let play = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= histories {
                return tally;
            }
            tally += history::play(seed);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a history failed; its number stands above")).collect()
    });
    let mut total = Tally::default();
    for tally in tallies {
        total += tally;
    }
    println!("{total}");
    assert!(total.crashes > histories && total.faults > histories / 4, "{total}");
}

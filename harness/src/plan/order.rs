//! In which order measurements are taken: a seeded Fisher-Yates shuffle over PCG-64 (XSL RR 128/64).
//!
//! A machine that warms up, throttles or is visited by a neighbour must not favour what stands first in the file, so
//! the order written is only kept when it is asked for. Each trial's measurements are shuffled by the measure seed and
//! the trial's own hash: adding an index does not reorder another one's measurements.

use rand_pcg::{Pcg64, rand_core::Rng};
use xxhash_rust::xxh3::xxh3_128;

use super::PlannedTrial;
use crate::spec::Order;

/// Puts trials and their searches in measuring order and numbers the searches. They come as written.
pub(super) fn arrange(trials: &mut [PlannedTrial], order: Order, seed: u64) {
    match order {
        Order::Sequential => {}
        Order::Shuffled => {
            shuffle(trials, &mut stream(seed, "trials"));
            for trial in &mut *trials {
                let mut random = stream(seed, &trial.hash);
                shuffle(&mut trial.searches, &mut random);
            }
        }
        Order::Interleaved => {
            shuffle(trials, &mut stream(seed, "trials"));
            for trial in &mut *trials {
                let mut random = stream(seed, &trial.hash);
                shuffle(&mut trial.searches, &mut random);
                trial.searches.sort_by_key(|search| search.repeat);
            }
            return number_in_rounds(trials, seed);
        }
    }
    for (position, search) in trials.iter_mut().flat_map(|trial| &mut trial.searches).enumerate() {
        search.order = position as u64;
    }
}

fn number_in_rounds(trials: &mut [PlannedTrial], seed: u64) {
    let rounds = trials.iter().flat_map(|trial| &trial.searches).map(|search| search.repeat + 1).max().unwrap_or(0);
    let mut turns: Vec<usize> = (0..trials.len()).collect();
    let mut position = 0;
    for round in 0..rounds {
        // The first round keeps the order of the trials, so that the list shows it.
        if round > 0 {
            shuffle(&mut turns, &mut stream(seed, &format!("round {round}")));
        }
        for &turn in &turns {
            for search in trials[turn].searches.iter_mut().filter(|search| search.repeat == round) {
                search.order = position;
                position += 1;
            }
        }
    }
}

/// Random numbers of a seed, for one use of them.
pub(crate) fn stream(seed: u64, name: &str) -> Pcg64 {
    Pcg64::new(u128::from(seed), xxh3_128(name.as_bytes()))
}

/// Fisher-Yates.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut Pcg64) {
    for last in (1..items.len()).rev() {
        // Multiply-shift: the bias of 64 random bits over so few places is far below one in 2^40.
        let other = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_keeps_every_item_and_depends_on_the_seed_and_the_name_alone() {
        let shuffled = |seed, name| {
            let mut items: Vec<u32> = (0..100).collect();
            shuffle(&mut items, &mut stream(seed, name));
            items
        };
        let first = shuffled(1, "a");
        assert_eq!(first, shuffled(1, "a"));
        assert_ne!(first, shuffled(2, "a"));
        assert_ne!(first, shuffled(1, "b"));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn every_place_is_about_equally_likely() {
        let mut counts = [[0_u32; 4]; 4];
        for seed in 0..4000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut stream(seed, ""));
            for (place, item) in items.into_iter().enumerate() {
                counts[item][place] += 1;
            }
        }
        // 1000 expected, standard deviation 27.
        assert!(counts.as_flattened().iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn nothing_to_order_is_no_problem() {
        for order in [Order::Shuffled, Order::Sequential, Order::Interleaved] {
            arrange(&mut [], order, 1);
        }
    }
}

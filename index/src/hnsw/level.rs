//! The layer up to which a node exists (the paper's algorithm 1, line 4, with `m_L = 1 / ln(m)`).
//!
//! The level is a hash of (seed, id) and not the next number of a stream, so that it depends neither on the order of
//! insertion nor on the number of threads.

use crate::random::mix;

/// The highest level a node can have: `-ln(2^-53) / ln(2)`, rounded up.
pub(super) const MAX_LEVEL: u8 = 53;

/// `floor(-ln(u) / ln(m))` with `u` uniform in (0, 1].
pub(super) fn level_of(id: u32, seed: u64, m: usize) -> u8 {
    let hash = mix(mix(seed).wrapping_add(u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let u = ((hash >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    (-u.ln() / (m as f64).ln()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_holds_one_in_m_of_the_layer_below() {
        for m in [4, 16] {
            let mut counts = [0_u32; MAX_LEVEL as usize + 1];
            for id in 0..100_000 {
                counts[level_of(id, 7, m) as usize] += 1;
            }
            let above_base: u32 = counts[1..].iter().sum();
            let above_first: u32 = counts[2..].iter().sum();
            assert!((f64::from(above_base) * m as f64 / 1e5 - 1.0).abs() < 0.05, "{counts:?}");
            assert!((f64::from(above_first) * (m * m) as f64 / 1e5 - 1.0).abs() < 0.2, "{counts:?}");
        }
    }

    #[test]
    fn the_level_depends_on_the_id_and_the_seed_only() {
        let levels = |seed| (0..1000).map(|id| level_of(id, seed, 4)).collect::<Vec<_>>();
        assert_eq!(levels(1), levels(1));
        assert_ne!(levels(1), levels(2));
    }
}

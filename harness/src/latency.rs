//! Latency percentiles from every sample: nearest rank, no interpolation, no histogram.

use nearlab_reports::record::Latency;

/// Percentiles of `nanoseconds`, which is sorted in place; `None` when there is no sample.
///
/// The p-th percentile is the smallest sample that at least p % of the samples do not exceed.
pub fn summarise(nanoseconds: &mut [u64]) -> Option<Latency> {
    nanoseconds.sort_unstable();
    let max = *nanoseconds.last()?;
    let sum: u128 = nanoseconds.iter().map(|&sample| u128::from(sample)).sum();
    let at = |per_mille: usize| nanoseconds[nearest_rank(nanoseconds.len(), per_mille)];
    Some(Latency {
        mean: sum as f64 / nanoseconds.len() as f64,
        p50: at(500),
        p90: at(900),
        p95: at(950),
        p99: at(990),
        p999: at(999),
        max,
    })
}

/// 0-based position of a percentile, given in thousandths, among `count` sorted samples; `count` is at least 1.
pub fn nearest_rank(count: usize, per_mille: usize) -> usize {
    (count * per_mille).div_ceil(1000).max(1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_at_the_nearest_rank() {
        let mut samples: Vec<u64> = (1..=1000).rev().collect();
        let latency = summarise(&mut samples).unwrap();
        assert_eq!((latency.p50, latency.p90, latency.p95, latency.p99), (500, 900, 950, 990));
        assert_eq!((latency.p999, latency.max), (999, 1000));
        assert_eq!(latency.mean, 500.5);
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let latency = summarise(&mut [7]).unwrap();
        assert_eq!((latency.p50, latency.p999, latency.max, latency.mean), (7, 7, 7, 7.0));
    }

    #[test]
    fn no_samples_have_no_percentiles() {
        assert_eq!(summarise(&mut []), None);
    }

    #[test]
    fn few_samples_round_up() {
        assert_eq!(nearest_rank(3, 500), 1);
        assert_eq!(nearest_rank(3, 990), 2);
        assert_eq!(nearest_rank(10, 50), 0);
    }
}

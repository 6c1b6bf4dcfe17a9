//! The raw latencies beside the records, pooled over a point's repeats.
//!
//! Percentiles of pooled samples cannot be had from the percentiles of the repeats; where the sample files are still
//! there, a report quotes these. Files are u64 little-endian nanoseconds, one per query.

use crate::{points::Point, run::RunData};

/// The percentiles a report shows: name and share.
pub const PERCENTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

/// Where a distribution came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Every sample of every repeat.
    Samples(usize),
    /// The median over repeats of each repeat's own percentile.
    Repeats(usize),
}

/// The latency distribution of a point, in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Mean.
    pub mean: f64,
    /// As [`PERCENTILES`].
    pub percentiles: [f64; 5],
    /// Slowest query.
    pub max: f64,
    /// What it was made from.
    pub basis: Basis,
}

/// The distribution of `point`, from its sample files, else from its records; `None` when it was not timed by query.
pub fn distribution(runs: &[RunData], point: &Point<'_>) -> Option<Distribution> {
    if let Some(mut samples) = pooled(&runs[point.run], point) {
        samples.sort_unstable();
        let rank = |share: f64| samples[((share * samples.len() as f64).ceil() as usize).clamp(1, samples.len()) - 1];
        return Some(Distribution {
            mean: samples.iter().map(|ns| *ns as f64).sum::<f64>() / samples.len() as f64,
            percentiles: PERCENTILES.map(|(_, share)| rank(share) as f64),
            max: rank(1.0) as f64,
            basis: Basis::Samples(samples.len()),
        });
    }
    let middle = |figure: fn(&crate::record::Latency) -> f64| point.latency(figure).map(|spread| spread.median);
    Some(Distribution {
        mean: middle(|latency| latency.mean)?,
        percentiles: [
            middle(|latency| latency.p50 as f64)?,
            middle(|latency| latency.p90 as f64)?,
            middle(|latency| latency.p95 as f64)?,
            middle(|latency| latency.p99 as f64)?,
            middle(|latency| latency.p999 as f64)?,
        ],
        // The slowest of all repeats is still the slowest query.
        max: point.latency(|latency| latency.max as f64)?.max,
        basis: Basis::Repeats(point.repeats.len()),
    })
}

/// Every sample of every repeat; `None` unless all files are there and whole.
fn pooled(run: &RunData, point: &Point<'_>) -> Option<Vec<u64>> {
    let mut samples = Vec::new();
    for repeat in &point.repeats {
        let bytes = std::fs::read(run.folder.join(repeat.latencies_file.as_ref()?)).ok()?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || numbers.len() as u64 != repeat.queries {
            return None;
        }
        samples.extend(numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)));
    }
    (!samples.is_empty()).then_some(samples)
}

//! Axes: where a value lies between two ends, and where the labelled ticks are.

use crate::format;

/// Recalls that make good ticks.
const RECALL_TICKS: [f64; 18] = [
    0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995,
    0.99999,
];

/// An axis from 0 (left, bottom) to 1 (right, top).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    kind: Kind,
    low: f64,
    high: f64,
    /// Place on the axis and label.
    pub(super) ticks: Vec<(f64, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// -log10(1 - recall + miss): what is left to 1 is what matters, and 1 itself has a place.
    Recall {
        miss: f64,
    },
    Log,
    Linear,
}

impl Kind {
    fn map(self, value: f64) -> f64 {
        match self {
            Self::Recall { miss } => -(1.0 - value.clamp(0.0, 1.0) + miss).log10(),
            Self::Log => value.max(f64::MIN_POSITIVE).log10(),
            Self::Linear => value,
        }
    }
}

impl Axis {
    /// A recall axis over `recalls`, on which ticks stand at least `gap` (a share of the axis) apart.
    pub(super) fn recall(recalls: &[f64], gap: f64) -> Self {
        let misses = recalls.iter().map(|recall| 1.0 - recall).filter(|miss| *miss > 1e-12);
        let smallest = misses.fold(f64::INFINITY, f64::min);
        let miss = if smallest.is_finite() { (smallest / 3.0).clamp(1e-5, 3e-3) } else { 3e-3 };
        let kind = Kind::Recall { miss };
        let least = recalls.iter().copied().fold(1.0, f64::min);
        let most = recalls.iter().copied().fold(0.0, f64::max);
        let low = RECALL_TICKS.into_iter().rfind(|tick| *tick <= least).unwrap_or(0.0).min(0.9);
        let high =
            if most > 1.0 - 1e-12 { 1.0 } else { RECALL_TICKS.into_iter().find(|tick| *tick >= most).unwrap_or(1.0) };
        let (from, to) = (kind.map(low), kind.map(high));
        let mut axis = Self { kind, low: from, high: to + (to - from) * 0.02, ticks: Vec::new() };
        let inner = RECALL_TICKS.into_iter().filter(|tick| (low..=high).contains(tick));
        // Round values first: a tick that is crowded out gives way to one with fewer digits.
        let mut wanted: Vec<f64> = inner.chain((high == 1.0).then_some(1.0)).collect();
        wanted.sort_by_key(|tick| {
            let end = *tick == high || *tick == low;
            (!end, format::trimmed(*tick, 5).len() + usize::from(!matches!(*tick, 0.5 | 0.9 | 0.95 | 0.99 | 0.999)) * 4)
        });
        for tick in wanted {
            let place = axis.place(tick);
            if axis.ticks.iter().all(|(other, _)| (place - other).abs() >= gap) {
                axis.ticks.push((place, format::trimmed(tick, 5)));
            }
        }
        axis.ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
        axis
    }

    /// A logarithmic axis over positive `values`; ticks at 1, 2, 5 or 1, 3 or 1 of each decade, as many as fit.
    pub(super) fn log(values: &[f64], gap: f64, label: fn(f64) -> String) -> Self {
        let positive = values.iter().copied().filter(|value| *value > 0.0 && value.is_finite());
        let low = positive.clone().fold(f64::INFINITY, f64::min);
        let high = positive.fold(0.0, f64::max);
        let (low, high) = if low <= high { (low.log10(), high.log10()) } else { (0.0, 1.0) };
        let margin = ((high - low) * 0.06).max(0.06);
        let (low, high) = (low - margin, high + margin);
        let mut axis = Self { kind: Kind::Log, low, high, ticks: Vec::new() };
        let steps: [&[f64]; 4] = [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        for step in steps {
            let decades = (low.floor() as i32)..=(high.ceil() as i32);
            let ticks = decades.flat_map(|decade| step.iter().map(move |digit| digit * 10f64.powi(decade)));
            let inner = ticks.filter(|tick| (low..=high).contains(&tick.log10()));
            axis.ticks = inner.map(|tick| (axis.place(tick), label(tick))).collect();
            if axis.ticks.windows(2).all(|pair| pair[1].0 - pair[0].0 >= gap) {
                break;
            }
        }
        axis
    }

    /// A linear axis from 0 to `most`, in steps of 1, 2, 2.5 or 5 (of `unit`), about `wanted` of them.
    pub(super) fn linear(most: f64, wanted: f64, unit: f64, label: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 && most.is_finite() { most / unit } else { 1.0 };
        let rough = most / wanted;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|digit| digit * decade).find(|step| *step >= rough);
        let step = step.unwrap_or(decade * 10.0);
        let mut axis = Self { kind: Kind::Linear, low: 0.0, high: most * unit, ticks: Vec::new() };
        let count = (most / step).floor() as usize;
        axis.ticks =
            (0..=count).map(|at| at as f64 * step * unit).map(|tick| (axis.place(tick), label(tick))).collect();
        axis
    }

    /// Where `value` lies; outside 0..=1 when it is beyond the ends.
    pub(super) fn place(&self, value: f64) -> f64 {
        (self.kind.map(value) - self.low) / (self.high - self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn perfect_recall_has_a_place_of_its_own() {
        let axis = Axis::recall(&[0.62, 0.9, 0.99, 0.9995, 1.0], 0.06);
        assert!(axis.place(1.0) < 1.0 && axis.place(0.9995) < axis.place(1.0) - 0.05);
        assert_eq!((labels(&axis).first(), labels(&axis).last()), (Some(&"0.5"), Some(&"1")));
        assert!(axis.ticks.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 0.06));
    }

    #[test]
    fn an_axis_without_perfect_recall_ends_at_the_next_tick() {
        let axis = Axis::recall(&[0.3, 0.96], 0.06);
        assert_eq!((labels(&axis).first(), labels(&axis).last()), (Some(&"0.25"), Some(&"0.97")));
        assert_eq!(labels(&Axis::recall(&[1.0], 0.06)).last(), Some(&"1"));
    }

    #[test]
    fn log_ticks_thin_out_as_the_range_grows() {
        assert_eq!(labels(&Axis::log(&[100.0, 400.0], 0.05, format::short)), ["100", "150", "200", "300"]);
        let wide = Axis::log(&[1.0, 1e6], 0.09, format::short);
        assert_eq!(labels(&wide), ["1", "10", "100", "1k", "10k", "100k", "1M"]);
        assert!(labels(&Axis::log(&[], 0.05, format::short)).contains(&"1"));
    }

    #[test]
    fn linear_ticks_are_round() {
        assert_eq!(labels(&Axis::linear(9.3, 5.0, 1.0, |tick| format::trimmed(tick, 1))), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(&Axis::linear(0.0, 5.0, 1.0, |tick| format::trimmed(tick, 1))).len(), 6);
    }
}

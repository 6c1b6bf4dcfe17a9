//! Medians, spreads, bootstrap intervals and Pareto fronts.
//!
//! Nothing here prefers a good number: a point is its median, with the spread of its repeats beside it. The bootstrap is
//! the percentile bootstrap (Efron, 1979), in blocks where neighbouring values may be correlated (moving blocks, Künsch,
//! 1989), and seeded: the same records give the same interval.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// The five numbers of a set of repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// How many values.
    pub n: usize,
    /// Smallest.
    pub min: f64,
    /// First quartile.
    pub q1: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub q3: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of the finite values; `None` when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            n: values.len(),
            min: *values.first()?,
            q1: quantile(&values, 0.25)?,
            median: quantile(&values, 0.5)?,
            q3: quantile(&values, 0.75)?,
            max: *values.last()?,
        })
    }

    /// Interquartile range.
    pub fn iqr(&self) -> f64 {
        self.q3 - self.q1
    }
}

/// The `q`-quantile (0..=1) of ascending values, linear between neighbours; `None` when there are none.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    // Equal neighbours, infinities among them, must not turn into NaN.
    Some(if below == above { below } else { below + (above - below) * place.fract() })
}

/// The median; `None` when there are no finite values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Resamples drawn.
    pub resamples: usize,
    /// Share of resamples inside the interval, e.g. 0.95.
    pub confidence: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2000, confidence: 0.95, seed: 1 }
    }
}

/// An estimate with its bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The estimate from the values themselves.
    pub estimate: f64,
    /// Upper end.
    pub high: f64,
}

impl Bootstrap {
    /// The median of `log_ratios`, taken in measured order, resampled in blocks of `block` neighbours, and turned back
    /// into a ratio. For pairs that were measured side by side. `None` when there are no values, or one is not finite.
    pub fn median_ratio(&self, log_ratios: &[f64], block: usize) -> Option<Interval> {
        if log_ratios.is_empty() || log_ratios.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = log_ratios.len();
        let block = block.clamp(1, n);
        let mut rng = Pcg64Mcg::new(u128::from(self.seed));
        let mut sample = Vec::with_capacity(n + block);
        let estimates = (0..self.resamples.max(1)).filter_map(|_| {
            sample.clear();
            while sample.len() < n {
                let start = rng.random_range(0..=n - block);
                sample.extend_from_slice(&log_ratios[start..start + block]);
            }
            sample.truncate(n);
            median(sample.iter().copied())
        });
        let (low, high) = self.ends(estimates.collect());
        Some(Interval { low: low.exp(), estimate: median(log_ratios.iter().copied())?.exp(), high: high.exp() })
    }

    /// median(`after`) / median(`before`), each side resampled by itself. For repeats that were not measured in pairs.
    /// `None` when a side is empty or holds a value that is not positive and finite.
    pub fn ratio_of_medians(&self, before: &[f64], after: &[f64]) -> Option<Interval> {
        let positive = |values: &[f64]| values.iter().all(|value| value.is_finite() && *value > 0.0);
        if !positive(before) || !positive(after) {
            return None;
        }
        let estimate = median(after.iter().copied())? / median(before.iter().copied())?;
        let mut rng = Pcg64Mcg::new(u128::from(self.seed));
        let mut draw = |values: &[f64]| median((0..values.len()).map(|_| values[rng.random_range(0..values.len())]));
        let ratios = (0..self.resamples.max(1)).filter_map(|_| Some(draw(after)? / draw(before)?)).collect();
        let (low, high) = self.ends(ratios);
        Some(Interval { low, estimate, high })
    }

    fn ends(&self, mut estimates: Vec<f64>) -> (f64, f64) {
        estimates.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence.clamp(0.0, 1.0)) / 2.0;
        let end = |q| quantile(&estimates, q).unwrap_or(f64::NAN);
        (end(tail), end(1.0 - tail))
    }
}

/// Which way a measure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Queries per second.
    Higher,
    /// Latency, seconds, bytes.
    Lower,
}

impl Better {
    /// Whether `a` is strictly better than `b`.
    pub fn prefers(self, a: f64, b: f64) -> bool {
        match self {
            Self::Higher => a > b,
            Self::Lower => a < b,
        }
    }
}

/// For each (recall, measure): whether no other point has recall at least as high and a measure at least as good, one of
/// them strictly. Equal points stand together.
pub fn pareto(points: &[(f64, f64)], better: Better) -> Vec<bool> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| {
        let measure = points[b].1.total_cmp(&points[a].1);
        let measure = if better == Better::Higher { measure } else { measure.reverse() };
        points[b].0.total_cmp(&points[a].0).then(measure)
    });
    let mut front = vec![false; points.len()];
    let mut best: Option<(f64, f64)> = None;
    for at in order {
        let point = points[at];
        // Sorted by recall downwards: whatever came before has at least this recall.
        if best.is_none_or(|best| better.prefers(point.1, best.1) || point == best) {
            front[at] = true;
            best = Some(point);
        }
    }
    front
}

/// Position of the point with the best measure among those with recall >= `level`; nothing is interpolated. Ties go to
/// the higher recall, then to the first.
pub fn best_at(points: &[(f64, f64)], level: f64, better: Better) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (at, point) in points.iter().enumerate().filter(|(_, point)| point.0 >= level) {
        let wins = best.is_none_or(|best: usize| {
            better.prefers(point.1, points[best].1) || (point.1 == points[best].1 && point.0 > points[best].0)
        });
        if wins {
            best = Some(at);
        }
    }
    best
}

/// The measure at exactly `level`, on the line between the two neighbours on the Pareto front, linear in recall and in
/// the measure's logarithm. An estimate, to be labelled as one. `None` outside the measured recalls.
pub fn interpolate(points: &[(f64, f64)], level: f64, better: Better) -> Option<f64> {
    let on_front = pareto(points, better);
    let mut front: Vec<(f64, f64)> =
        points.iter().zip(on_front).filter(|(point, on)| *on && point.1 > 0.0).map(|(point, _)| *point).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let above = front.iter().position(|point| point.0 >= level)?;
    let right = front[above];
    if right.0 == level {
        return Some(right.1);
    }
    let left = front[above.checked_sub(1)?];
    let share = (level - left.0) / (right.0 - left.0);
    Some((left.1.ln() + (right.1.ln() - left.1.ln()) * share).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_five_numbers_of_five_values_are_those_values() {
        let spread = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { n: 5, min: 1.0, q1: 2.0, median: 3.0, q3: 4.0, max: 5.0 });
        assert_eq!(spread.iqr(), 2.0);
    }

    #[test]
    fn nothing_has_no_median_and_nan_is_not_a_value() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(median([f64::NAN, f64::INFINITY]), None);
        assert_eq!(median([f64::NAN, 2.0]), Some(2.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_point_that_is_worse_in_both_is_off_the_front() {
        let points = [(0.9, 100.0), (0.95, 50.0), (0.92, 40.0), (0.95, 50.0), (0.9, 90.0)];
        assert_eq!(pareto(&points, Better::Higher), [true, true, false, true, false]);
        assert_eq!(pareto(&points, Better::Lower), [false, true, true, true, false]);
    }

    #[test]
    fn the_best_at_a_recall_is_a_measured_point() {
        let points = [(0.9, 100.0), (0.951, 50.0), (0.99, 50.0), (0.999, 10.0)];
        assert_eq!(best_at(&points, 0.95, Better::Higher), Some(2));
        assert_eq!(best_at(&points, 0.9, Better::Lower), Some(3));
        assert_eq!(best_at(&points, 1.0, Better::Higher), None);
    }

    #[test]
    fn interpolation_is_linear_in_the_logarithm_and_never_leaves_the_data() {
        let points = [(0.9, 100.0), (1.0, 1.0)];
        assert!((interpolate(&points, 0.95, Better::Higher).unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(interpolate(&points, 0.9, Better::Higher), Some(100.0));
        assert_eq!(interpolate(&points, 0.89, Better::Higher), None);
        assert_eq!(interpolate(&points, 1.1, Better::Higher), None);
    }

    #[test]
    fn a_bootstrap_needs_positive_numbers_on_both_sides() {
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.ratio_of_medians(&[], &[1.0]), None);
        assert_eq!(bootstrap.ratio_of_medians(&[0.0], &[1.0]), None);
        assert_eq!(bootstrap.median_ratio(&[], 1), None);
        assert_eq!(bootstrap.median_ratio(&[f64::NAN], 1), None);
    }

    #[test]
    fn a_doubling_is_found_and_the_seed_decides_the_draws() {
        let bootstrap = Bootstrap::default();
        let found = bootstrap.ratio_of_medians(&[10.0, 10.1, 9.9], &[20.0, 20.2, 19.8]).unwrap();
        assert!(found.low > 1.9 && found.high < 2.1 && (found.estimate - 2.0).abs() < 1e-12);
        assert_eq!(bootstrap.ratio_of_medians(&[10.0, 10.1, 9.9], &[20.0, 20.2, 19.8]), Some(found));
        let pairs: Vec<f64> = (0..30).map(|at| 2f64.ln() + f64::from(at % 3) * 0.01).collect();
        let paired = bootstrap.median_ratio(&pairs, 5).unwrap();
        assert!(paired.low <= paired.estimate && paired.estimate <= paired.high && paired.low > 1.9);
    }

    fn cloud() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec(((0u32..=20).prop_map(|r| f64::from(r) / 20.0), (1u32..50).prop_map(f64::from)), 0..40)
    }

    proptest! {
        #[test]
        fn a_spread_is_in_order(values in prop::collection::vec(-1e9f64..1e9, 1..50)) {
            let s = Spread::of(values).unwrap();
            prop_assert!(s.min <= s.q1 && s.q1 <= s.median && s.median <= s.q3 && s.q3 <= s.max);
        }

        #[test]
        fn the_front_is_exactly_what_nothing_dominates(points in cloud(), up in any::<bool>()) {
            let better = if up { Better::Higher } else { Better::Lower };
            let front = pareto(&points, better);
            for (at, point) in points.iter().enumerate() {
                let dominated = points.iter().any(|other| {
                    let no_worse = other.0 >= point.0 && !better.prefers(point.1, other.1);
                    no_worse && (other.0 > point.0 || better.prefers(other.1, point.1))
                });
                prop_assert_eq!(front[at], !dominated);
            }
        }

        #[test]
        fn the_best_is_on_the_front_and_reaches_the_level(points in cloud(), level in 0.0f64..1.0) {
            if let Some(best) = best_at(&points, level, Better::Higher) {
                prop_assert!(points[best].0 >= level);
                prop_assert!(pareto(&points, Better::Higher)[best]);
            } else {
                prop_assert!(points.iter().all(|point| point.0 < level));
            }
        }

        #[test]
        fn an_interval_holds_its_estimate_between_the_extremes(
            a in prop::collection::vec(1.0f64..100.0, 1..8),
            b in prop::collection::vec(1.0f64..100.0, 1..8),
            seed in any::<u64>(),
        ) {
            let bootstrap = Bootstrap { resamples: 200, confidence: 0.95, seed };
            let found = bootstrap.ratio_of_medians(&a, &b).unwrap();
            let (sa, sb) = (Spread::of(a).unwrap(), Spread::of(b).unwrap());
            prop_assert!(found.low <= found.high);
            prop_assert!(found.low >= sb.min / sa.max * 0.999_999 && found.high <= sb.max / sa.min * 1.000_001);
        }
    }
}

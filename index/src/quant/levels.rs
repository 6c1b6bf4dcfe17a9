//! Uniform scalar quantisation: a component becomes one of some equal levels between two bounds.
//!
//! Level `c` of component `i` stands for the numbers from `offset[i] + c step` to `offset[i] + (c + 1) step`, by their
//! middle. One step serves all components, so that squared differences of levels add up to a squared distance; the offset
//! may differ by component, which no difference notices. Of some candidate bounds, quantiles of a sample, those with the least
//! squared error on it are taken; what lies beyond is clamped. The farthest ten-thousandth has no say, or one stray number
//! would widen the levels of all; unless all the rest is alike.

use std::borrow::Cow;

use nearlab_simd::code_kernels;

/// Shares of the sample that lie within the candidate bounds, one-sided.
const SHARES: [f64; 8] = [0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, WIDEST];
/// The widest of them.
const WIDEST: f64 = 0.9999;
/// Components of the sample that are looked at, at most.
const MOST: usize = 1 << 19;

/// The levels of a quantiser.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Levels {
    pub(crate) offset: Vec<f32>,
    pub(crate) step: f32,
    /// `1 / step`: a multiplication takes a tenth of a division's time.
    per_step: f32,
}

impl Levels {
    pub(crate) fn new(offset: Vec<f32>, step: f32) -> Self {
        Self { offset, step, per_step: 1.0 / step }
    }

    /// Levels for components that lie where those of `sample`, rows of `width`, do. Whole numbers from 0 to `count - 1` are
    /// kept exactly.
    pub(crate) fn train(sample: &[f32], width: usize, count: u32) -> Self {
        if sample.iter().all(|&x| x.fract() == 0.0 && (0.0..count as f32).contains(&x)) {
            return Self::fallback(width);
        }
        let looked_at = spread(sample, width, MOST.div_ceil(width));
        let medians = (0..width).map(|i| median(sample.iter().skip(i).step_by(width).copied().collect())).collect();
        let candidates = [vec![0.0; width], medians].map(|centre| Self::around(&centre, &looked_at, count));
        candidates.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or_else(|| Self::fallback(width), |best| best.1)
    }

    /// The least squared error for levels around a centre, and those levels.
    fn around(centre: &[f32], sample: &[f32], count: u32) -> (f64, Self) {
        let width = centre.len();
        let mut residuals: Vec<f32> = sample.iter().enumerate().map(|(i, x)| x - centre[i % width]).collect();
        residuals.sort_unstable_by(f32::total_cmp);
        let place = |share: f64| (residuals.len().saturating_sub(1) as f64 * share) as usize;
        let quantile = |share: f64| residuals.get(place(share)).copied().unwrap_or(0.0);
        let ordinary = residuals.get(place(1.0 - WIDEST)..=place(WIDEST)).unwrap_or_default();
        let bounds = SHARES.map(|share| (quantile(1.0 - share), quantile(share)));
        // Nearly all alike: the few that are not are all there is to tell apart.
        let whole = (quantile(0.0), quantile(1.0));
        let bounds = if bounds.iter().any(|(low, high)| high > low) { &bounds[..] } else { &[whole] };
        let mut best = (f64::INFINITY, Self::fallback(width));
        for &(low, high) in bounds.iter().filter(|(low, high)| high > low) {
            // A step that is no ordinary number has no inverse, and files with one are refused.
            let step = ((high - low) / count as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
            let levels = Self::new(vec![low], step);
            let error = ordinary
                .iter()
                .map(|&x| {
                    let error = x - levels.value(level_at((x - low) * levels.per_step, count), 0);
                    f64::from(error * error)
                })
                .sum::<f64>();
            if error < best.0 {
                let offset = centre.iter().map(|centre| centre + low).collect();
                best = (error, Self::new(offset, levels.step));
            }
        }
        best
    }

    /// For whole numbers, and for samples that say nothing: no rows, or all alike.
    fn fallback(width: usize) -> Self {
        Self::new(vec![-0.5; width], 1.0)
    }

    /// What a level of component `i` stands for.
    #[inline]
    pub(crate) fn value(&self, level: u8, i: usize) -> f32 {
        self.offset[i] + (f32::from(level) + 0.5) * self.step
    }

    /// Writes the levels, of `count`, in which some components of a vector lie, from component `first` on.
    #[inline]
    pub(super) fn write(&self, first: usize, components: &[f32], count: u32, out: &mut [u8]) {
        let offset = &self.offset[first..][..components.len()];
        code_kernels().levels(components, (offset, self.per_step, (count - 1) as u8), out);
    }

    /// The components of a vector in units of levels, each from its lower bound.
    #[inline]
    pub(crate) fn positions(&self, vector: &[f32]) -> impl Iterator<Item = f32> {
        vector.iter().zip(&self.offset).map(|(&x, offset)| (x - offset) * self.per_step)
    }
}

/// The level, of `count`, in which a position lies.
#[inline]
pub(super) fn level_at(position: f32, count: u32) -> u8 {
    position.clamp(0.0, (count - 1) as f32) as u8
}

/// At most so many of the rows, evenly spread: what comes first need not be like the rest.
fn spread(rows: &[f32], width: usize, most: usize) -> Cow<'_, [f32]> {
    let count = rows.len() / width;
    if count <= most {
        return Cow::Borrowed(rows);
    }
    Cow::Owned((0..most).flat_map(|i| &rows[i * count / most * width..][..width]).copied().collect())
}

fn median(mut numbers: Vec<f32>) -> f32 {
    let middle = numbers.len() / 2;
    if numbers.is_empty() { 0.0 } else { *numbers.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// What a vector becomes when it is encoded and read again.
    fn kept(levels: &Levels, vector: &[f32], count: u32) -> Vec<f32> {
        let positions = levels.positions(vector).enumerate();
        positions.map(|(i, position)| levels.value(level_at(position, count), i)).collect()
    }

    #[test]
    fn whole_numbers_in_range_are_kept_exactly() {
        let levels = Levels::train(&[0.0, 255.0, 17.0, 3.0], 2, 256);
        for x in 0..=255_u8 {
            let vector = [f32::from(x), f32::from(255 - x)];
            assert_eq!(kept(&levels, &vector, 256), vector);
        }
    }

    #[test]
    fn outliers_do_not_widen_the_levels_of_the_rest() {
        let mut random = SplitMix64::new(5);
        let mut sample: Vec<f32> = (0..8000).map(|i| random.unit() as f32 + (i % 4) as f32 * 10.0).collect();
        sample[17] = 1e5;
        let levels = Levels::train(&sample, 4, 16);
        assert!(levels.step < 0.1, "{}", levels.step);
        for vector in sample.chunks_exact(4).skip(25) {
            for (kept, x) in kept(&levels, vector, 16).iter().zip(vector) {
                assert!((kept - x).abs() < 0.2, "{x} became {kept}");
            }
        }
        assert_eq!(level_at(f32::NAN, 16), 0);
    }

    #[test]
    fn samples_that_say_nothing_still_give_levels() {
        for sample in [vec![], vec![2.5; 6]] {
            let levels = Levels::train(&sample, 3, 16);
            assert!(levels.step.is_finite() && levels.step > 0.0 && levels.offset.len() == 3);
        }
    }

    #[test]
    fn rows_that_come_first_do_not_speak_for_all() {
        let (width, mut random) = (600, SplitMix64::new(9));
        let rows = 3 * MOST.div_ceil(width);
        let sample: Vec<f32> =
            (0..rows * width).map(|i| if i < rows * width / 2 { 0.0 } else { random.unit() as f32 }).collect();
        let levels = Levels::train(&sample, width, 256);
        let last = &sample[(rows - 1) * width..];
        for (kept, x) in kept(&levels, last, 256).iter().zip(last) {
            assert!((kept - x).abs() < 0.03, "{x} became {kept}");
        }
        assert_eq!(*spread(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2, 3), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(*spread(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 1, 3), [0.0, 2.0, 4.0]);
    }

    #[test]
    fn samples_that_hardly_differ_give_steps_with_an_inverse() {
        let sample: Vec<f32> = (0..600).map(|i| (i % 7) as f32 * 1e-41).collect();
        let levels = Levels::train(&sample, 3, 16);
        assert!(levels.step.is_normal() && levels.per_step.is_finite(), "{levels:?}");
    }

    #[test]
    fn samples_of_nearly_nothing_but_zeros_keep_what_is_not() {
        let mut sample = vec![0.0; 100_000];
        (sample[7], sample[40_000], sample[90_001]) = (0.25, -0.5, 0.75);
        let levels = Levels::train(&sample, 4, 16);
        for vector in [[0.25, -0.5, 0.75, 0.0], [0.0; 4]] {
            for (kept, x) in kept(&levels, &vector, 16).iter().zip(vector) {
                assert!((kept - x).abs() < 0.05, "{x} became {kept}");
            }
        }
    }
}

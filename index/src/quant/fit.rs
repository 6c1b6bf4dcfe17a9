//! Levels and factors of one vector for [`Affine`](super::affine) codes.

use nearlab_simd::norm_squared;

/// Levels of a vector, and the three numbers beside them.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    pub(super) levels: Vec<u8>,
    pub(super) factors: [f32; 3],
}

/// `LVQ`: level `c` stands for `low + c step`, with `low` the least component and `step` such that the highest level is the
/// largest. The factors are `|x|²`, `-2 step` and `-2 low`, of the vector as the levels have it.
pub(super) fn lvq(vector: &[f32], bits: u32, fitted: &mut Fitted) {
    let (low, high) =
        vector.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
    let most = (1_u32 << bits) as f32 - 1.0;
    let step = (high - low) / most;
    let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
    fitted.levels.clear();
    fitted.levels.extend(vector.iter().map(|x| ((x - low) * per_step).round().min(most) as u8));
    let squared: f32 = fitted.levels.iter().map(|&level| (low + step * f32::from(level)).powi(2)).sum();
    fitted.factors = [squared, -2.0 * step, -2.0 * low];
}

/// The middle of each component's range in a sample, rows of `width`, and what a level of so many bits is worth if they divide that.
pub(super) fn ranges_of(sample: &[f32], width: usize, bits: u32) -> (Vec<f32>, Vec<f32>) {
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); width];
    for row in sample.chunks_exact(width) {
        for ((low, high), &x) in ranges.iter_mut().zip(row) {
            (*low, *high) = (low.min(f64::from(x)), high.max(f64::from(x)));
        }
    }
    let most = f64::from((1_u32 << bits) - 1);
    let range =
        |(low, high): (f64, f64)| if low <= high { ((low + high) * 0.5, (high - low) / most) } else { (0.0, 0.0) };
    ranges.into_iter().map(range).map(|(middle, scale)| (middle as f32, scale as f32)).unzip()
}

/// Scalar quantisation by component: level `c` of a component stands for its scale times `c` less half of the highest level. What lies
/// beyond the range is clamped. The first factor is `|x|²`, of the vector as the levels have it, the second -2.
pub(super) fn scaled(vector: &[f32], scales: &[f32], bits: u32, fitted: &mut Fitted) {
    let most = (1_u32 << bits) as f32 - 1.0;
    let level = |(x, &scale): (&f32, &f32)| {
        let level = if scale.is_normal() { x / scale } else { 0.0 };
        (level + 0.5 * most).round().clamp(0.0, most) as u8
    };
    fitted.levels.clear();
    fitted.levels.extend(vector.iter().zip(scales).map(level));
    let worth = |(&level, scale): (&u8, &f32)| (scale * (f32::from(level) - 0.5 * most)).powi(2);
    fitted.factors = [fitted.levels.iter().zip(scales).map(worth).sum(), -2.0, 0.0];
}

/// Scales that are tried for levels of more than one bit, in shares of the one at which the largest component just fits.
const SCALES: [f32; 12] = [0.95, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 1.9, 2.1, 2.4];

/// `RaBitQ`: the levels `c`, less their middle, point in nearly the direction of `vector`. Of some scales the one whose levels
/// come nearest to it is taken; the paper looks through all that differ. With `u` the levels less their middle the factors are
/// `|x|²`, `-2 |x|² / <u, x>`, and the error's bound per length of the query, or the number of set bits where there is one bit.
pub(super) fn rabitq(vector: &[f32], bits: u32, fitted: &mut Fitted) {
    let squared = norm_squared(vector);
    let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scales: &[f32] = if bits == 1 { &SCALES[..1] } else { &SCALES };
    let mut best = (0.0, 0.0);
    let half = (1_u32 << (bits - 1)) as f32;
    for scale in scales {
        let scale = scale * half / largest.max(f32::MIN_POSITIVE);
        let (mut product, mut length) = (0.0_f32, 0.0_f32);
        for &x in vector {
            let level = level(x, scale, half) - (half - 0.5);
            product += level * x;
            length += level * level;
        }
        let cosine = product / length.sqrt();
        if cosine > best.0 {
            best = (cosine, scale);
        }
    }
    fitted.levels.clear();
    fitted.levels.extend(vector.iter().map(|&x| level(x, best.1, half) as u8));
    let product: f32 = fitted.levels.iter().zip(vector).map(|(&c, x)| (f32::from(c) - (half - 0.5)) * x).sum();
    let second = if product > 0.0 { -2.0 * squared / product } else { 0.0 };
    let third = if bits == 1 {
        fitted.levels.iter().map(|&bit| f32::from(bit)).sum()
    } else {
        error(squared, best.0 / squared.sqrt().max(f32::MIN_POSITIVE), vector.len() as f32)
    };
    fitted.factors = [squared, second, third];
}

/// The level of a component at a scale.
fn level(x: f32, scale: f32, half: f32) -> f32 {
    (x * scale + half).floor().clamp(0.0, 2.0 * half - 1.0)
}

/// `RaBitQ`'s constant: an estimate is off by more than the bound about once in twenty times.
const EPSILON: f32 = 1.9;

/// How far an estimated squared distance may be off per length of the query, for a vector of squared length `squared` whose
/// levels have the given cosine with it.
fn error(squared: f32, cosine: f32, width: f32) -> f32 {
    let sine = (1.0 / (cosine * cosine).clamp(f32::MIN_POSITIVE, 1.0) - 1.0).sqrt();
    2.0 * squared.sqrt() * sine * EPSILON / (width - 1.0).max(1.0).sqrt()
}

/// The same for single bits, from the two factors: all directions of levels are of one length, half the root of the width.
pub(super) fn error_of_bits(squared: f32, second: f32, width: f32) -> f32 {
    if second == 0.0 {
        return 0.0;
    }
    let product = -2.0 * squared / second;
    error(squared, product / (0.5 * width.sqrt() * squared.sqrt()), width)
}

/// How far rounding each component of the query to a multiple of `step` may put the estimate off: errors of that many independent
/// components, each even within half a step.
pub(super) fn error_of_query(squared: f32, step: f32) -> f32 {
    2.0 * squared.sqrt() * step * EPSILON / 12.0_f32.sqrt()
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;
    use nearlab_storage::Vectors;

    use super::super::affine::{Affine, AffineQuery, Kind};
    use super::super::{Codes, Euclid, Lifted, SelfQuery};
    use super::{Fitted, ranges_of, scaled};
    use crate::random::SplitMix64;

    const DIM: usize = 200;
    const N: usize = 300;

    fn data() -> Vec<f32> {
        let mut random = SplitMix64::new(11);
        (0..N * DIM).map(|i| random.unit() as f32 + random.unit() as f32 - 1.0 + (i % DIM % 7) as f32).collect()
    }

    fn every_kind() -> impl Iterator<Item = (Kind, u32)> {
        let rabitq = (1..=8).map(|bits| (Kind::Rabitq, bits));
        [(Kind::Lvq, 4), (Kind::Lvq, 8), (Kind::Scaled, 8)].into_iter().chain(rabitq)
    }

    /// Mean and root mean square of the relative errors of all pairs of 20 queries and the rows, and the share of the pairs
    /// nearer than the lower bound.
    fn errors(kind: Kind, bits: u32) -> (f64, f64, f64) {
        let data = data();
        let vectors = Vectors::new(&data, DIM);
        let euclid = Euclid::of(vectors, Metric::L2);
        let affine = Affine::encode(&Lifted::new(vectors, &euclid), kind, bits, 3).unwrap();
        let rows = affine.rows();
        let (mut query, mut scores) = (AffineQuery::default(), vec![0.0; N - 20]);
        let (mut sum, mut squares, mut beyond) = (0.0, 0.0, 0);
        let ids: Vec<u32> = (20..N as u32).collect();
        for q in 0..20 {
            rows.prepare(vectors.row(q), &mut query);
            rows.score(&query, &ids, &mut scores);
            for (&id, &score) in ids.iter().zip(&scores) {
                let exact = nearlab_simd::kernels().l2(vectors.row(q), vectors.row(id as usize));
                let error = f64::from(score / exact - 1.0);
                sum += error;
                squares += error * error;
                beyond += usize::from(rows.lower_bound(&query, id, score).is_some_and(|bound| exact < bound));
            }
        }
        let pairs = (20 * ids.len()) as f64;
        (sum / pairs, (squares / pairs).sqrt(), beyond as f64 / pairs)
    }

    #[test]
    fn estimates_are_unbiased_and_better_with_every_bit() {
        let mut coarser = 0.1;
        for bits in 1..=8 {
            let (bias, error, beyond) = errors(Kind::Rabitq, bits);
            assert!(bias.abs() < 0.001, "{bits}: {bias}");
            assert!(error < 0.7 * coarser, "{bits}: {error} after {coarser}");
            assert!(beyond < 0.004, "{bits}: {beyond}");
            coarser = error;
        }
        let (_, lvq4, _) = errors(Kind::Lvq, 4);
        let (_, lvq8, _) = errors(Kind::Lvq, 8);
        assert!(lvq4 < 0.02 && lvq8 < 0.005, "{lvq4} {lvq8}");
        let (_, scaled, _) = errors(Kind::Scaled, 8);
        assert!(scaled < 0.005, "{scaled}");
    }

    #[test]
    fn components_of_ranges_of_their_own_keep_levels_of_their_own() {
        // A narrow component beside wide ones, one that is always the same, and one whose range no number holds.
        let sample = [0.0, -50.0, 7.0, -3e38, 1e-3, 50.0, 7.0, 3e38];
        let (middles, scales) = ranges_of(&sample, 4, 8);
        assert_eq!((middles[0], middles[1], middles[2], scales[2]), (5e-4, 0.0, 7.0, 0.0));
        assert!(scales.iter().all(|scale| scale.is_finite()));
        let mut fitted = Fitted::default();
        scaled(&[-5e-4, 50.0, 9.0, 0.0], &scales, 8, &mut fitted);
        assert_eq!(fitted.levels, [0, 255, 128, 128]);
        scaled(&[2.5e-4, -1e9, 0.0, 0.0], &scales, 8, &mut fitted);
        assert_eq!(fitted.levels, [191, 0, 128, 128]);
        assert_eq!(ranges_of(&[], 2, 8), (vec![0.0; 2], vec![0.0; 2]));
    }

    #[test]
    fn a_row_as_a_query_is_nearest_to_itself() {
        let data = data();
        let vectors = Vectors::new(&data, DIM);
        let euclid = Euclid::of(vectors, Metric::L2);
        let ids: Vec<u32> = (0..N as u32).collect();
        for (kind, bits) in every_kind() {
            let affine = Affine::encode(&Lifted::new(vectors, &euclid), kind, bits, 3).unwrap();
            let (rows, mut query, mut scores) = (affine.rows(), AffineQuery::default(), vec![0.0; N]);
            for row in [0, 17, 299] {
                rows.prepare_row(row, &mut query);
                rows.score(&query, &ids, &mut scores);
                let nearest = ids.iter().min_by(|a, b| scores[**a as usize].total_cmp(&scores[**b as usize]));
                assert_eq!(nearest, Some(&row), "{kind:?} {bits}");
            }
        }
    }

    #[test]
    fn copies_of_the_mean_and_zeros_have_codes_too() {
        for (kind, bits) in every_kind() {
            for data in [vec![0.0; 30], vec![2.5; 30]] {
                let vectors = Vectors::new(&data, 10);
                let euclid = Euclid::of(vectors, Metric::L2);
                let affine = Affine::encode(&Lifted::new(vectors, &euclid), kind, bits, 3).unwrap();
                let (rows, mut query, mut scores) = (affine.rows(), AffineQuery::default(), vec![1.0; 3]);
                rows.prepare(vectors.row(0), &mut query);
                rows.score(&query, &[0, 1, 2], &mut scores);
                assert!(scores.iter().all(|score| score.abs() < 1e-3), "{kind:?} {bits}: {scores:?}");
            }
        }
    }
}

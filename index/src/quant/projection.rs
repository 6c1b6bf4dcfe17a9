//! Principal components: the p directions in which the vectors vary most, rotated at random among themselves.
//!
//! A vector's distances are kept as far as its variance is (Pearson 1901); the rotation spreads the variance evenly, so that
//! one step of levels suits all components. The directions are found by subspace iteration on the covariance of a sample
//! (Rutishauser 1969), which needs no library: only their span matters here, and it converges fast where the spectrum has
//! an end.

use std::sync::OnceLock;

use nearlab_simd::{Columns, code_kernels, kernels};
use nearlab_storage::Buffer;
use rayon::prelude::*;

use super::{SAMPLE_ROWS, Source, padded};
use crate::memory::Capacity;
use crate::random::SplitMix64;

/// Rows that the covariance is taken over, at most.
const SAMPLE: usize = 16_384;
const ITERATIONS: usize = 10;
/// Numbers that are scaled as one unit of parallel work.
const SCALED_AT_ONCE: usize = 1 << 16;
/// Rows of a matrix product computed as one unit of parallel work.
const BLOCK_ROWS: usize = 128;

/// An orthonormal projection of centred vectors.
#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) mean: Buffer<f32>,
    /// p x d, row-major: the directions.
    pub(crate) directions: Buffer<f32>,
    /// p: the mean's own components.
    shift: Vec<f32>,
    coarse: Coarse,
    /// The directions again, in the order in which many vectors meet them: made when the first do.
    columns: OnceLock<Columns>,
}

/// The directions in 8 bits, for queries: a product with 1.5 MB of `f32` would take longer than the search it prepares. What
/// it loses is a tenth of what 4-bit codes lose.
#[derive(Debug)]
struct Coarse {
    /// p x d, rows padded to whole cache lines.
    directions: Vec<i8>,
    /// p: what the numbers of a row must be multiplied with.
    steps: Vec<f32>,
    /// p: the sum of the numbers of a row.
    sums: Vec<i32>,
}

/// Level 128 stands for zero; a sum with 2^23 is rounded to a whole number, which stands in its lowest bits.
const LEVEL_0: f32 = (1 << 23 | 128) as f32;

/// What a coarse projection needs besides its input, and its output.
#[derive(Debug, Default)]
pub(crate) struct CoarseScratch {
    centred: Vec<f32>,
    levels: Vec<u8>,
    steps: Vec<f32>,
    products: Vec<i32>,
    components: Vec<f32>,
}

impl CoarseScratch {
    /// What the last projection made.
    pub(super) fn components(&self) -> &[f32] {
        &self.components
    }
}

impl Capacity for CoarseScratch {
    fn capacity_bytes(&self) -> usize {
        let Self { centred, levels, steps, products, components } = self;
        let levels = centred.capacity_bytes() + levels.capacity() + steps.capacity_bytes();
        levels + products.capacity_bytes() + components.capacity_bytes()
    }
}

impl Projection {
    /// Learns the `components` main directions of the vectors. On the rayon pool it is called in.
    pub(crate) fn train(source: &dyn Source, components: usize, seed: u64) -> Self {
        let d = source.width();
        let mut sample = source.sample(SAMPLE);
        if sample.is_empty() {
            return Self::new(vec![0.0; d].into(), vec![0.0; components * d].into());
        }
        let rows = sample.len() / d;
        let mut mean = vec![0.0_f64; d];
        for row in sample.chunks_exact(d) {
            mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / rows as f64);
        }
        let mean: Vec<f32> = mean.into_iter().map(|x| x as f32).collect();
        for row in sample.chunks_exact_mut(d) {
            row.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean);
        }
        bring_near_one(&mut sample);
        let components_of_rows = transposed(&sample, d);
        drop(sample);
        let covariance = product(&components_of_rows, &components_of_rows, rows);
        drop(components_of_rows);
        let mut random = SplitMix64::new(seed);
        let mut directions = gaussian(components * d, &mut random);
        orthonormalise(&mut directions, d);
        for _ in 0..ITERATIONS {
            directions = product(&directions, &covariance, d);
            orthonormalise(&mut directions, d);
        }
        let mut rotation = gaussian(components * components, &mut random);
        orthonormalise(&mut rotation, components);
        let directions = product(&rotation, &transposed(&directions, d), components);
        Self::new(mean.into(), directions.into())
    }

    /// `directions` is p x d.
    pub(crate) fn new(mean: Buffer<f32>, directions: Buffer<f32>) -> Self {
        let mut shift = vec![0.0; directions.len() / mean.len()];
        kernels().inner_product_many(&mean, &directions, &mut shift);
        let coarse = Coarse::of(&directions, mean.len());
        Self { mean, directions, shift, coarse, columns: OnceLock::new() }
    }

    /// The components of some lifted vectors, from 8 bits per number: vector after vector, in the scratch.
    pub(crate) fn apply_coarsely<'s>(
        &self,
        vectors: impl Iterator<Item = impl AsRef<[f32]>>,
        scratch: &'s mut CoarseScratch,
    ) -> &'s [f32] {
        let Coarse { directions, steps: row_steps, sums } = &self.coarse;
        let CoarseScratch { centred, levels, steps, products, components } = scratch;
        levels.clear();
        steps.clear();
        let width = padded::<u8>(self.mean.len());
        for vector in vectors {
            // What is left of a vector without the mean is smaller, so its levels are finer, and what the directions lose in 8 bits does not
            // grow with the mean.
            centred.clear();
            centred.extend(vector.as_ref().iter().zip(&*self.mean).map(|(x, mean)| x - mean));
            let largest = largest_magnitude(centred);
            let per_step = 127.0 / largest;
            steps.push(largest / 127.0);
            levels.extend(centred.iter().map(|x| (x * per_step + LEVEL_0).to_bits() as u8));
            levels.resize(steps.len() * width, 0);
        }
        products.resize(steps.len() * row_steps.len(), 0);
        code_kernels().u8i8_products(levels, directions, width, products);
        components.clear();
        for (products, step) in products.chunks_exact(row_steps.len()).zip(steps) {
            let rows = products.iter().zip(row_steps).zip(sums);
            components.extend(rows.map(|((product, row_step), sum)| (product - 128 * sum) as f32 * (*step * row_step)));
        }
        components
    }

    /// Gives back what only encoding needs.
    pub(crate) fn trim(&mut self) {
        self.columns.take();
    }

    /// Bytes of the directions, in all their forms, and of what goes with them.
    pub(crate) fn bytes(&self) -> usize {
        let Coarse { directions, steps, sums } = &self.coarse;
        size_of_val(&*self.mean)
            + size_of_val(&*self.directions)
            + size_of_val(&*self.shift)
            + directions.len()
            + size_of_val(&**steps)
            + size_of_val(&**sums)
            + self.columns.get().map_or(0, Columns::bytes)
    }

    pub(crate) fn components(&self) -> usize {
        self.shift.len()
    }

    /// Some rows of a source that levels can be learnt from, after a projection where there is one, and the components of each.
    pub(super) fn sample(projection: Option<&Self>, source: &dyn Source) -> (Vec<f32>, usize) {
        let width = projection.map_or(source.width(), Self::components);
        (Self::owned(projection, source.sample(SAMPLE_ROWS)), width)
    }

    /// The same rows as queries are lifted, where that makes a difference.
    pub(super) fn sample_as_queries(projection: Option<&Self>, source: &dyn Source) -> Vec<f32> {
        Self::owned(projection, source.sample_as_queries(SAMPLE_ROWS))
    }

    fn owned(projection: Option<&Self>, lifted: Vec<f32>) -> Vec<f32> {
        let Some(projection) = projection else { return lifted };
        let mut projected = Vec::new();
        projection.apply(&lifted, &mut projected);
        projected
    }

    /// The lifted `rows`, after a projection where there is one, in `out` then.
    pub(super) fn of<'r>(projection: Option<&Self>, rows: &'r [f32], out: &'r mut Vec<f32>) -> &'r [f32] {
        let Some(projection) = projection else { return rows };
        projection.apply(rows, out);
        out
    }

    /// Replaces `out` by the components of the lifted `rows`.
    fn apply(&self, rows: &[f32], out: &mut Vec<f32>) {
        let (d, components) = (self.mean.len(), self.components());
        let columns = self.columns.get_or_init(|| Columns::of(&self.directions, d));
        multiply(rows, columns, components, out);
        for row in out.chunks_exact_mut(components) {
            row.iter_mut().zip(&self.shift).for_each(|(x, shift)| *x -= shift);
        }
    }
}

impl Coarse {
    fn of(directions: &[f32], d: usize) -> Self {
        let width = padded::<i8>(d);
        let mut coarse =
            Self { directions: vec![0; directions.len() / d * width], steps: Vec::new(), sums: Vec::new() };
        for (row, numbers) in directions.chunks_exact(d).zip(coarse.directions.chunks_exact_mut(width)) {
            let step = largest_magnitude(row) / 127.0;
            numbers.iter_mut().zip(row).for_each(|(number, x)| *number = (x / step).round() as i8);
            coarse.steps.push(step);
            coarse.sums.push(numbers.iter().map(|&number| i32::from(number)).sum());
        }
        coarse
    }
}

/// The largest magnitude of a number; in lanes, for a maximum of one number after another waits for the one before.
fn largest_magnitude(vector: &[f32]) -> f32 {
    let (chunks, rest) = vector.as_chunks::<16>();
    let mut largest = [f32::MIN_POSITIVE; 16];
    for chunk in chunks {
        for (largest, x) in largest.iter_mut().zip(chunk) {
            *largest = largest.max(x.abs());
        }
    }
    largest.iter().chain(rest).fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()))
}

/// Multiplies some numbers by the power of two that brings the largest magnitude to between 1 and 2. That changes no digit of what is
/// made of them; but the square of a length is then within the range of `f32`, whatever the unit of the vectors.
fn bring_near_one(numbers: &mut [f32]) {
    // Without its fraction.
    let power = f32::from_bits(largest_magnitude(numbers).to_bits() & f32::INFINITY.to_bits());
    if power.is_finite() {
        let scale = 1.0 / power;
        numbers.par_chunks_mut(SCALED_AT_ONCE).for_each(|numbers| numbers.iter_mut().for_each(|x| *x *= scale));
    }
}

/// `a b^T` for row-major `a` (m x d) and `b` (n x d).
fn product(a: &[f32], b: &[f32], d: usize) -> Vec<f32> {
    let (columns, n) = (Columns::of(b, d), b.len() / d);
    let mut out = vec![0.0; a.len() / d * n];
    out.par_chunks_mut(BLOCK_ROWS * n).zip(a.par_chunks(BLOCK_ROWS * d)).for_each_init(
        Vec::new,
        |products, (out, a)| {
            multiply(a, &columns, n, products);
            out.copy_from_slice(products);
        },
    );
    out
}

/// Replaces `out` by the products of each of the `rows` with the first `n` of the columns.
fn multiply(rows: &[f32], columns: &Columns, n: usize, out: &mut Vec<f32>) {
    let (count, width) = (rows.len() / columns.dim(), columns.count());
    out.clear();
    out.resize(count * width, 0.0);
    code_kernels().products_tile(columns, rows, out);
    if n < width {
        (1..count).for_each(|row| out.copy_within(row * width..row * width + n, row * n));
        out.truncate(count * n);
    }
}

/// A row-major matrix with rows of `d`, transposed.
fn transposed(matrix: &[f32], d: usize) -> Vec<f32> {
    let rows = matrix.len() / d;
    let mut out = vec![0.0; matrix.len()];
    out.par_chunks_mut(rows).enumerate().for_each(|(column, out)| {
        for (row, x) in out.iter_mut().enumerate() {
            *x = matrix[row * d + column];
        }
    });
    out
}

/// Normal numbers, by Box and Muller.
fn gaussian(count: usize, random: &mut SplitMix64) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let (u, v) = (1.0 - random.unit(), random.unit());
            ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
        })
        .collect()
}

/// Makes the rows of `d` orthonormal (Gram and Schmidt, modified, each row twice). A row that depends on those before it
/// becomes zeros.
fn orthonormalise(rows: &mut [f32], d: usize) {
    for i in 0..rows.len() / d {
        let (before, rest) = rows.split_at_mut(i * d);
        let row = &mut rest[..d];
        let length = kernels().inner_product(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(d) {
                let share = kernels().inner_product(row, other);
                row.iter_mut().zip(other).for_each(|(x, other)| *x -= share * other);
            }
        }
        let left = kernels().inner_product(row, row).sqrt();
        let scale = if left > 1e-5 * length { 1.0 / left } else { 0.0 };
        for x in row {
            *x *= scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;
    use nearlab_storage::Vectors;

    use super::super::{Euclid, Lifted};
    use super::*;

    #[test]
    fn the_directions_are_orthonormal_and_hold_the_variance() {
        let mut random = SplitMix64::new(3);
        // Components 2 and 5 of 8 vary a hundred times as much as the others.
        let data: Vec<f32> = gaussian(8 * 2000, &mut random)
            .into_iter()
            .enumerate()
            .map(|(i, x)| x * if i % 8 == 2 || i % 8 == 5 { 100.0 } else { 1.0 } + 7.0)
            .collect();
        let vectors = Vectors::new(&data, 8);
        let euclid = Euclid::of(vectors, Metric::L2);
        let projection = Projection::train(&Lifted::new(vectors, &euclid), 2, 1);
        let gram = product(&projection.directions, &projection.directions, 8);
        for (found, expected) in gram.iter().zip([1.0, 0.0, 0.0, 1.0]) {
            assert!((found - expected).abs() < 1e-4, "{gram:?}");
        }
        let (a, b) = (vectors.row(3), vectors.row(4));
        let (mut pa, mut pb) = (Vec::new(), Vec::new());
        projection.apply(a, &mut pa);
        projection.apply(b, &mut pb);
        let (whole, kept) = (kernels().l2(a, b), kernels().l2(&pa, &pb));
        assert!(kept <= whole * 1.001 && kept > whole * 0.98, "{kept} of {whole}");
    }

    #[test]
    fn the_unit_of_the_vectors_does_not_matter() {
        let data = gaussian(12 * 500, &mut SplitMix64::new(5));
        let directions = |exponent: i32| {
            let data: Vec<f32> = data.iter().map(|x| x * 2.0_f32.powi(exponent)).collect();
            let vectors = Vectors::new(&data, 12);
            let euclid = Euclid::of(vectors, Metric::L2);
            Projection::train(&Lifted::new(vectors, &euclid), 3, 1).directions.to_vec()
        };
        let plain = directions(0);
        assert!(plain.chunks_exact(12).all(|row| (kernels().inner_product(row, row) - 1.0).abs() < 1e-4));
        for exponent in [-60, 27, 58] {
            assert_eq!(directions(exponent), plain, "{exponent}");
        }
    }

    #[test]
    fn a_mean_far_from_zero_costs_a_coarse_projection_nothing() {
        let deviations = gaussian(64 * 1000, &mut SplitMix64::new(7));
        for mean in [0.0, 1000.0] {
            let data: Vec<f32> = deviations.iter().map(|x| x + mean).collect();
            let vectors = Vectors::new(&data, 64);
            let euclid = Euclid::of(vectors, Metric::L2);
            let projection = Projection::train(&Lifted::new(vectors, &euclid), 8, 1);
            let (mut exact, mut scratch) = (Vec::new(), CoarseScratch::default());
            projection.apply(vectors.row(3), &mut exact);
            let coarse = projection.apply_coarsely(std::iter::once(vectors.row(3)), &mut scratch);
            for (coarse, exact) in coarse.iter().zip(&exact) {
                assert!((coarse - exact).abs() < 0.05, "{coarse} for {exact} around {mean}");
            }
        }
    }

    #[test]
    fn vectors_that_do_not_vary_are_no_trouble() {
        let data = [1.0; 40];
        let vectors = Vectors::new(&data, 4);
        let euclid = Euclid::of(vectors, Metric::L2);
        let projection = Projection::train(&Lifted::new(vectors, &euclid), 2, 1);
        assert!(projection.directions.iter().all(|x| x.is_finite()));
    }
}

//! Seeded synthetic data sets, made row by row, so that a set larger than memory needs no memory.
//!
//! Each row has its own stream of random numbers, seeded by (seed, part, row): a row is the same whichever rows are made
//! beside it, in whatever order, on any number of threads. Queries are drawn from the same distribution as the base, from
//! streams of their own.
//!
//! | kind | model |
//! |---|---|
//! | `uniform` | each coordinate uniform in [0, 1) |
//! | `clustered` | Gaussian mixture: centres uniform in [0, 1)^d, weights exponential, standard deviation `spread` |
//! | `low_intrinsic` | A z + noise: z standard normal in `intrinsic` dimensions, A a random matrix with rows of length about 1 |
//! | `embedding` | unit vectors shaped like text embeddings: a common mean, a power-law spectrum, topics (see `rows.rs`) |
//!
//! Does not write files or compute neighbours. The same numbers come out wherever the platform's `ln`, `sin` and `cos`
//! agree in double precision; a published result therefore names the SHA-256 of the data and not only the seed.

mod random;
mod rows;
mod spec;

use nearlab_simd::Metric;
use rayon::prelude::*;

use rows::Model;
pub use spec::{SynthError, SynthKind, SynthSpec};

/// Which part of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The `n` base vectors.
    Train,
    /// The query vectors.
    Queries,
}

/// A set that can be made: any rows of it, any number of times.
pub struct Synth {
    spec: SynthSpec,
    model: Model,
}

/// Checks the specification and prepares what all rows share.
pub fn generate(spec: &SynthSpec) -> Result<Synth, SynthError> {
    let spec = spec.resolved()?;
    let model = Model::new(&spec);
    Ok(Synth { spec, model })
}

impl Synth {
    /// Floats in a block of [`Synth::blocks`], about: 16 MiB.
    const BLOCK_FLOATS: usize = 4 << 20;

    /// The specification with every parameter that its kind uses filled in.
    pub fn spec(&self) -> &SynthSpec {
        &self.spec
    }

    /// The metric such data is searched with: cosine for `embedding`, else L2.
    pub fn metric(&self) -> Metric {
        match self.spec.kind {
            SynthKind::Embedding => Metric::Cosine,
            SynthKind::Uniform | SynthKind::Clustered | SynthKind::LowIntrinsic => Metric::L2,
        }
    }

    /// Rows in a part.
    pub fn rows(&self, part: Part) -> usize {
        match part {
            Part::Train => self.spec.n,
            Part::Queries => self.spec.queries,
        }
    }

    /// Writes consecutive rows, from `first_row` on, over `out` (rows x d, row-major).
    ///
    /// Panics unless `out` is whole rows that the part has.
    pub fn fill(&self, part: Part, first_row: usize, out: &mut [f32]) {
        self.check(part, first_row, out.len());
        for (i, row) in out.chunks_exact_mut(self.spec.d).enumerate() {
            self.model.row(part, first_row + i, row);
        }
    }

    /// As [`Synth::fill`], on the threads of `pool`; the same values.
    pub fn fill_parallel(&self, part: Part, first_row: usize, out: &mut [f32], pool: &rayon::ThreadPool) {
        self.check(part, first_row, out.len());
        let rows = out.par_chunks_exact_mut(self.spec.d).enumerate().with_min_len(64);
        pool.install(|| rows.for_each(|(i, row)| self.model.row(part, first_row + i, row)));
    }

    /// The part as consecutive blocks of whole rows, about 16 MiB each, made one at a time on the threads of `pool`.
    pub fn blocks<'a>(&'a self, part: Part, pool: &'a rayon::ThreadPool) -> impl Iterator<Item = Vec<f32>> + 'a {
        let rows_per_block = (Self::BLOCK_FLOATS / self.spec.d).max(1);
        (0..self.rows(part)).step_by(rows_per_block).map(move |first_row| {
            let rows = rows_per_block.min(self.rows(part) - first_row);
            let mut block = vec![0.0; rows * self.spec.d];
            self.fill_parallel(part, first_row, &mut block, pool);
            block
        })
    }

    fn check(&self, part: Part, first_row: usize, floats: usize) {
        let (d, rows) = (self.spec.d, self.rows(part));
        assert!(floats.is_multiple_of(d), "a buffer of {floats} floats does not hold whole rows of {d}");
        let end = first_row + floats / d;
        assert!(end <= rows, "rows up to {end} were asked of a part that has {rows}");
    }
}

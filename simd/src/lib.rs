//! Distance kernels for nearlab: `f32` vectors and compressed ones, one table of functions per instruction set, chosen once per
//! process.
//!
//! ```
//! use nearlab_simd::{Metric, kernels, normalize};
//!
//! let query = [1.0, 0.0];
//! let rows = [1.0, 0.0, /* */ 0.0, 2.0, /* */ 3.0, 4.0];
//! let mut distances = [0.0; 3];
//! kernels().distances_many(Metric::L2, &query, &rows, &mut distances);
//! assert_eq!(distances, [0.0, 5.0, 20.0]); // squared; smaller is nearer
//!
//! let distance = kernels().distance(Metric::Cosine); // fetched once, called in loops
//! let mut unit = [0.0, 7.0];
//! normalize(&mut unit);
//! assert_eq!(distance(&query, &unit), 1.0);
//! ```
//!
//! # Kernels and tiers
//!
//! | kernel | shape | [`Portable`](Tier::Portable) | [`Neon`](Tier::Neon) | [`Avx2`](Tier::Avx2) | [`Avx512`](Tier::Avx512) |
//! |---|---|---|---|---|---|
//! | lanes | | 4, no FMA | 4 | 8 | 16 |
//! | [`l2`](Kernels::l2), [`inner_product`](Kernels::inner_product), [`distance`](Kernels::distance) | 1 x 1 | 1 x 1 | 1 x 1 | 1 x 1 | 1 x 1 |
//! | [`l2_many`](Kernels::l2_many), [`inner_product_many`](Kernels::inner_product_many), [`distances_many`](Kernels::distances_many) | 1 x n, contiguous | 1 x 1 | 1 x 1 | 1 x 1 | 1 x 1 |
//! | [`distances_by_id`](Kernels::distances_by_id) | 1 x n, gathered | 1 x 1, no prefetch | 1 x 4 | 1 x 3 | 1 x 4 |
//! | [`inner_product_tile`](Kernels::inner_product_tile), [`distances_tile`](Kernels::distances_tile) | n x m | 1 x 1 | 4 x 3 | 2 x 3 | 4 x 3 |
//!
//! The cells say how many vectors stand against how many in the inner loop. The best tier of the CPU is chosen at run
//! time, AVX2 before AVX-512; `NEARLAB_SIMD=portable|neon|avx2|avx512` overrides the choice.
//!
//! Compressed vectors have tables of their own, [`CodeKernels`], for the same tiers, and one for [`Amx`](Tier::Amx), which is
//! chosen where no tier is named.
//!
//! # Same numbers
//!
//! - Within one tier, the distance of a pair of vectors is one number, bit for bit, whichever kernel computed it and
//!   whatever stood beside it; and `distance(a, b)` is `distance(b, a)`.
//! - Tiers are **not** bit-identical to each other: they add in another order. Each stays within
//!   `(d / 16 + 9) * 2^-24 * Σ |term|` of the exact sum, so well within a relative `1e-6 * d`. Sums of integers that stay
//!   below 2^24 (SIFT's squared distances, say) are exact in all of them, hence equal.
//! - [`normalize()`] and [`norm_squared`] give the same bits on every CPU.
//!
//! This crate knows numbers, not indexes: no ids but as row numbers, no files, no threads. NaN and infinities go through
//! the arithmetic as IEEE 754 has it; data is checked where it enters.

mod aligned;
mod arch;
mod codes;
mod columns;
mod kernels;
mod levels;
mod metric;
mod normalize;
mod pick;
mod tile_columns;

pub use aligned::Aligned;
pub use codes::{
    CENTROIDS, CodeKernels, LINE_BYTES, LUT4_BLOCK, LUT4_CHUNK, LUT4_LINE, LUT4_LINES, PlaneRows, available_codes,
    code_kernels, prefetch, products_error, u4_query_level,
};
pub use columns::Columns;
pub use kernels::{Kernels, OVERRIDE_VARIABLE, ParseTierError, Tier, available, kernels};
pub use metric::{Metric, ParseMetricError};
pub use normalize::{norm_squared, normalize};
pub use pick::{WITHIN, score_and_place};
pub use tile_columns::{TILE_COLUMNS, TileColumns};

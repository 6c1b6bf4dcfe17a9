//! Kernels that score compressed vectors: integer and half-precision codes against a prepared query.
//!
//! All of them compute a squared Euclidean distance in the units of the codes, of one query to rows that ids name. A row of
//! codes is whole cache lines of 64 bytes, padded with zeros, so that it begins and ends where the memory system's units do
//! when the first one does.
//!
//! | kernel | a line of a row | query | score |
//! |---|---|---|---|
//! | [`u4`](CodeKernels::u4_by_id) | 128 levels 0..=15: byte j holds component j low, j + 64 high | per line 128 `i8`: [`u4_query_level`] of a component in steps of 1/8 level | `Σ (8 c - q)²`, exact up to 2^24, then rounded |
//! | [`u7`](CodeKernels::u7_by_id) | 64 levels 0..=127 | 64 levels 0..=127 | `Σ (c - q)²`, as above |
//! | [`u8`](CodeKernels::u8_by_id) | 64 levels 0..=255 | 64 `f32`, in levels | `Σ (c - q)²` |
//! | [`f16`](CodeKernels::f16_by_id) | 32 binary16 numbers, as bits | 32 `f32` | `Σ (c - q)²` |
//!
//! One more kernel is a matrix in 8 bits: [`u8i8_products`](CodeKernels::u8i8_products) multiplies one vector with many rows, for
//! projections.
//!
//! The scores of `u4` and `u7` are sums of integers: the same on every tier. Those of `u8` and `f16` are sums of `f32`: one
//! number per pair within a tier, and exact, hence the same everywhere, for integral queries of sums below 2^24.
//!
//! The tier of these kernels is chosen apart from that of the `f32` kernels: where integers are concerned, AVX-512 with VNNI
//! has what AVX2 lacks, and nothing that a user can see depends on the choice.

use std::fmt;
use std::sync::OnceLock;

use crate::Tier;
use crate::arch;
use crate::kernels::kernels;

/// Bytes of a cache line, and of the unit in which rows of codes are measured.
pub const LINE_BYTES: usize = 64;

/// The kernels for codes of one instruction set.
///
/// Every method panics when the shapes do not fit: rows have as many lines as the query, `out` is as long as `ids`, and
/// every id names a whole row of the codes.
pub struct CodeKernels {
    pub(crate) tier: Tier,
    pub(crate) u4: ById<i8, u8>,
    pub(crate) u7: ById<u8, u8>,
    pub(crate) u8: ById<f32, u8>,
    pub(crate) f16: ById<f32, u16>,
    pub(crate) u8i8_products: Products,
}

/// `(query, codes, ids, out)`
pub(crate) type ById<Q, C> = fn(&[Q], &[C], &[u32], &mut [f32]);

/// `(vector, rows, out)`
pub(crate) type Products = fn(&[u8], &[i8], &mut [i32]);

impl CodeKernels {
    /// The instruction set of this table. AVX-512 here means with VNNI.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Scores of a query of 7-bit resolution with rows of 4-bit codes. Each row has `query.len() / 2` bytes.
    #[inline]
    pub fn u4_by_id(&self, query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.u4)(query, codes, ids, out);
    }

    /// Scores of a 7-bit code with rows of 7-bit codes. Each row has `query.len()` bytes.
    #[inline]
    pub fn u7_by_id(&self, query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.u7)(query, codes, ids, out);
    }

    /// Scores of a query of numbers with rows of 8-bit codes. Each row has `query.len()` bytes.
    #[inline]
    pub fn u8_by_id(&self, query: &[f32], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.u8)(query, codes, ids, out);
    }

    /// Scores of a query of numbers with rows of binary16 numbers. Each row has `query.len()` numbers.
    #[inline]
    pub fn f16_by_id(&self, query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
        (self.f16)(query, codes, ids, out);
    }

    /// Inner products of a vector of levels 0..=255 with each of the contiguous `rows` (`out.len()` x `vector.len()`) of
    /// -127..=127: exact. The length of the vector is whole lines, at most 2^16 numbers.
    #[inline]
    pub fn u8i8_products(&self, vector: &[u8], rows: &[i8], out: &mut [i32]) {
        assert!(
            vector.len().is_multiple_of(LINE_BYTES)
                && vector.len() <= 1 << 16
                && out.len().checked_mul(vector.len()) == Some(rows.len()),
            "{} products of a vector of {} levels need as many rows of its length, not {} numbers",
            out.len(),
            vector.len(),
            rows.len()
        );
        (self.u8i8_products)(vector, rows, out);
    }
}

impl fmt::Debug for CodeKernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeKernels").field("tier", &self.tier).finish_non_exhaustive()
    }
}

/// The query byte of the `u4` kernel for a component at `x` levels (level c of a code stands for components from c to
/// c + 1): its distance to the middle of level 0 in steps of 1/8, clamped to the range of the levels.
#[inline]
pub fn u4_query_level(x: f32) -> i8 {
    ((x * 8.0).floor().clamp(0.0, 127.0) - 4.0) as i8
}

/// The kernels for codes of this process: the best this CPU can run, or the tier `NEARLAB_SIMD` names. Chosen at the first
/// call.
#[inline]
pub fn code_kernels() -> &'static CodeKernels {
    static CHOSEN: OnceLock<&'static CodeKernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let forced = std::env::var_os(crate::OVERRIDE_VARIABLE).is_some_and(|tier| !tier.is_empty());
        // A tier that is named was found by `kernels()` or refused by it with a sentence. Its kernels for codes may be
        // missing where a CPU has AVX-512 without VNNI; AVX2's are the next.
        let highest = if forced { kernels().tier() } else { Tier::Avx512 };
        arch::codes_by_preference().find(|codes| codes.tier <= highest).unwrap_or(&arch::PORTABLE_CODES)
    })
}

/// The kernels for codes of every tier this CPU can run, best first. Always ends with [`Tier::Portable`].
pub fn available_codes() -> impl Iterator<Item = &'static CodeKernels> {
    arch::codes_by_preference()
}

/// Asks for the cache lines that hold `row`, all of them: a hint that changes no result.
#[inline]
pub fn prefetch<T>(row: &[T]) {
    arch::prefetch(row.as_ptr().cast(), size_of_val(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_levels_are_eighths_around_the_middle_and_clamped() {
        let levels = [-3.0, 0.0, 0.49, 0.5, 1.0, 15.99, 16.0, f32::INFINITY, f32::NAN].map(u4_query_level);
        assert_eq!(levels, [-4, -4, -1, 0, 4, 123, 123, 123, 0]);
    }

    #[test]
    fn a_table_is_shown_by_its_tier_and_the_portable_one_comes_last() {
        let last = available_codes().last().unwrap();
        assert_eq!(format!("{last:?}"), "CodeKernels { tier: Portable, .. }");
        assert!(available_codes().any(|codes| codes.tier() == code_kernels().tier()));
    }

    #[test]
    fn prefetching_changes_nothing() {
        prefetch(&[1.0_f32; 100]);
        prefetch::<u8>(&[]);
    }
}

//! The table of kernels and the choice of one per process.
//!
//! A [`Kernels`] is a static table of function pointers for one instruction set. [`kernels`] picks the best table this
//! CPU can run, once; nothing asks the CPU again. The environment variable `NEARLAB_SIMD` overrides the choice, so that
//! a test, an instruction count under Valgrind or a comparison of tiers can name its tier.
//!
//! Invariant: a reference to a table leaves this crate only after the CPU was found to have its instruction set; the
//! pointers in it are therefore safe to call. Shapes are checked in the kernels themselves, once per call, because
//! [`Kernels::distance`] hands their addresses out.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::Metric;
use crate::arch;

/// The environment variable that overrides the choice of [`kernels`]: the name of a [`Tier`].
pub const OVERRIDE_VARIABLE: &str = "NEARLAB_SIMD";

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Plain Rust for the target's baseline: runs everywhere.
    Portable,
    /// Arm NEON (aarch64), 4 lanes.
    Neon,
    /// x86-64 with AVX2 and FMA, 8 lanes.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and DQ, 16 lanes.
    Avx512,
    /// x86-64 with tiles of bytes (AMX) besides AVX-512. For codes only; chosen where no tier is named, and has no name to be
    /// chosen by.
    Amx,
}

impl Tier {
    /// Every tier that can be named, in the order of this enum, whether or not this CPU has it.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// The name used in `NEARLAB_SIMD` and in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = ParseTierError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == name)
            .ok_or_else(|| ParseTierError { found: name.to_owned() })
    }
}

/// A name that is no tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown instruction set {found:?}: expected \"portable\", \"neon\", \"avx2\" or \"avx512\"")]
pub struct ParseTierError {
    /// The name that was given.
    pub found: String,
}

/// The kernels of one instruction set. `d` stands for the dimension: the length of a vector.
///
/// Every method panics, with a sentence, when the shapes do not fit: that is the caller's mistake, not the data's.
pub struct Kernels {
    pub(crate) tier: Tier,
    pub(crate) squared_l2: Scored,
    pub(crate) inner_product: Scored,
    pub(crate) negated_inner_product: Scored,
    pub(crate) one_minus_inner_product: Scored,
}

/// The kernels that compute one score of a pair of vectors, by the shape of their input.
pub(crate) struct Scored {
    pub(crate) pair: Pair,
    pub(crate) many: Many,
    pub(crate) by_id: ById,
    pub(crate) tile: Tile,
}

/// `(a, b)` to their score.
pub(crate) type Pair = fn(&[f32], &[f32]) -> f32;
/// `(query, rows, out)`
pub(crate) type Many = fn(&[f32], &[f32], &mut [f32]);
/// `(query, base, ids, out)`
pub(crate) type ById = fn(&[f32], &[f32], &[u32], &mut [f32]);
/// `(queries, rows, d, out)`
pub(crate) type Tile = fn(&[f32], &[f32], usize, &mut [f32]);

impl Kernels {
    /// The instruction set of this table.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Squared Euclidean distance of two vectors of `d` elements.
    #[inline]
    pub fn l2(&self, a: &[f32], b: &[f32]) -> f32 {
        (self.squared_l2.pair)(a, b)
    }

    /// The plain inner product `<a, b>` of two vectors of `d` elements: larger is nearer.
    #[inline]
    pub fn inner_product(&self, a: &[f32], b: &[f32]) -> f32 {
        (self.inner_product.pair)(a, b)
    }

    /// The function that computes the metric's distance (smaller is nearer) of two vectors of `d` elements. Fetch it
    /// once, call it in loops.
    #[inline]
    pub fn distance(&self, metric: Metric) -> fn(&[f32], &[f32]) -> f32 {
        self.scored(metric).pair
    }

    /// [`l2`](Self::l2) of one query (`d`) to each of the contiguous `rows` (`out.len()` x `d`).
    #[inline]
    pub fn l2_many(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        (self.squared_l2.many)(query, rows, out);
    }

    /// [`inner_product`](Self::inner_product) of one query (`d`) with each of the contiguous `rows` (`out.len()` x `d`).
    #[inline]
    pub fn inner_product_many(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        (self.inner_product.many)(query, rows, out);
    }

    /// The metric's distance of one query (`d`) to each of the contiguous `rows` (`out.len()` x `d`).
    #[inline]
    pub fn distances_many(&self, metric: Metric, query: &[f32], rows: &[f32], out: &mut [f32]) {
        (self.scored(metric).many)(query, rows, out);
    }

    /// The metric's distance of one query (`d`) to the rows of `base` (n x `d`) that `ids` names, in that order; `out`
    /// is as long as `ids`. Each id is checked once, as its turn comes, and rows are prefetched a few ids ahead. That `base`
    /// is whole rows is checked in debug builds only, to keep a division out of every call.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the operands of one operation, not options of a procedure")]
    pub fn distances_by_id(&self, metric: Metric, query: &[f32], base: &[f32], ids: &[u32], out: &mut [f32]) {
        (self.scored(metric).by_id)(query, base, ids, out);
    }

    /// [`inner_product`](Self::inner_product) of each of the `queries` (nq x `d`) with each of the `rows` (nr x `d`);
    /// `out` is nq x nr, row-major by query. Blocked for registers and caches: the way to compare many with many.
    #[inline]
    pub fn inner_product_tile(&self, queries: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
        (self.inner_product.tile)(queries, rows, d, out);
    }

    /// The metric's distance of each of the `queries` (nq x `d`) to each of the `rows` (nr x `d`); `out` is nq x nr,
    /// row-major by query. L2 is summed from differences, so it does not cancel as `|q|² + |r|² - 2<q, r>` does, at
    /// about half the speed of [`inner_product_tile`](Self::inner_product_tile).
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the operands of one operation, not options of a procedure")]
    pub fn distances_tile(&self, metric: Metric, queries: &[f32], rows: &[f32], d: usize, out: &mut [f32]) {
        (self.scored(metric).tile)(queries, rows, d, out);
    }

    fn scored(&self, metric: Metric) -> &Scored {
        match metric {
            Metric::L2 => &self.squared_l2,
            Metric::InnerProduct => &self.negated_inner_product,
            Metric::Cosine => &self.one_minus_inner_product,
        }
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernels").field("tier", &self.tier).finish_non_exhaustive()
    }
}

/// The kernels of this process: the best tier this CPU can run, or the one `NEARLAB_SIMD` names. Chosen at the first
/// call. Panics, naming the choices, when the variable holds something that is no tier or a tier this CPU lacks.
#[inline]
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        choose(std::env::var_os(OVERRIDE_VARIABLE).as_deref()).unwrap_or_else(|sentence| panic!("{sentence}"))
    })
}

/// The kernels of every tier this CPU can run, best first. Always ends with [`Tier::Portable`].
pub fn available() -> impl Iterator<Item = &'static Kernels> {
    arch::by_preference()
}

/// The table for the value of the override variable; empty counts as not set.
fn choose(wanted: Option<&OsStr>) -> Result<&'static Kernels, String> {
    let wanted = wanted.unwrap_or_default().to_string_lossy();
    available().find(|kernels| wanted.is_empty() || kernels.tier.as_str() == wanted).ok_or_else(|| {
        let why = match wanted.parse::<Tier>() {
            Ok(tier) => format!("this CPU cannot run {tier} kernels"),
            Err(error) => error.to_string(),
        };
        let choices: Vec<_> = available().map(|kernels| kernels.tier.as_str()).collect();
        format!("{OVERRIDE_VARIABLE}={wanted}: {why}; the choices here are {}", choices.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_is_read_back_from_its_name() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
    }

    #[test]
    fn the_dispatched_tier_is_an_available_one() {
        assert!(available().any(|candidate| candidate.tier() == kernels().tier()));
    }

    #[test]
    fn without_an_override_the_best_tier_is_chosen() {
        let best = available().next().unwrap().tier();
        assert_eq!(choose(None).unwrap().tier(), best);
        assert_eq!(choose(Some(OsStr::new(""))).unwrap().tier(), best);
    }

    #[test]
    fn every_available_tier_can_be_named_and_the_portable_one_comes_last() {
        for candidate in available() {
            assert_eq!(choose(Some(OsStr::new(candidate.tier().as_str()))).unwrap().tier(), candidate.tier());
        }
        assert_eq!(available().last().unwrap().tier(), Tier::Portable);
    }

    #[test]
    fn an_unknown_override_is_refused_with_the_choices() {
        let sentence = choose(Some(OsStr::new("mmx"))).unwrap_err();
        assert!(sentence.starts_with("NEARLAB_SIMD=mmx: unknown instruction set \"mmx\""), "{sentence}");
        assert!(sentence.ends_with("portable"), "{sentence}");
    }

    #[test]
    fn an_override_this_cpu_lacks_is_refused_with_the_choices() {
        let absent = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
        let sentence = choose(Some(OsStr::new(absent))).unwrap_err();
        assert!(
            sentence.contains(&format!("this CPU cannot run {absent} kernels; the choices here are ")),
            "{sentence}"
        );
    }

    #[test]
    fn a_table_is_shown_by_its_tier() {
        assert_eq!(format!("{:?}", choose(Some(OsStr::new("portable"))).unwrap()), "Kernels { tier: Portable, .. }");
    }
}

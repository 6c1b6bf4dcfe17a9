//! What an id can be, as the tables need it.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// What is looked for.
pub(super) trait Sought: Ord + Hash {
    /// The number that it is, if it is one.
    #[inline]
    fn number(&self) -> Option<u64> {
        None
    }
}

impl Sought for u64 {
    #[inline]
    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Sought for str {}
impl Sought for Arc<str> {}

/// An id that is kept.
pub(super) trait Key: Clone + Sought + Default + Debug {
    /// Asks for the memory that it leads to.
    fn prefetch(&self) {}
}

impl Key for u64 {}

impl Key for Arc<str> {
    #[inline]
    fn prefetch(&self) {
        nearlab_simd::prefetch(self.as_bytes());
    }
}

//! A search result, and the one total order that all searches and builds sort by.
//!
//! The order is (distance, id), so results never depend on the order in which candidates were met. It is implemented
//! on a 64-bit key: the distance's bits, mapped so that unsigned comparison is numeric comparison, above the id. NaN
//! (which comes of a query with a NaN, or where sums go beyond all `f32`) sorts last, so no loop depends on distances being comparable.

use std::cmp::Ordering;

use bytemuck::{Pod, Zeroable};

/// A base vector and its distance to the query; smaller is nearer.
///
/// Equality and order are those of (distance, id), with -0 equal to 0.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Neighbor {
    /// Row of the base vector in the matrix that the index was built from.
    pub id: u32,
    /// L2: squared Euclidean distance. Inner product: `-<a, b>`. Cosine: `1 - cos`. By codes, where the index keeps only these.
    pub distance: f32,
}

impl Neighbor {
    /// Fills the places of a batch result for which no neighbour exists.
    pub const NONE: Self = Self { id: u32::MAX, distance: f32::INFINITY };

    /// Whether this is [`Neighbor::NONE`].
    pub const fn is_none(self) -> bool {
        self.id == u32::MAX
    }

    pub(crate) const fn key(self) -> u64 {
        ((sortable(self.distance) as u64) << 32) | self.id as u64
    }

    pub(crate) const fn from_key(key: u64) -> Self {
        Self { id: key as u32, distance: from_sortable((key >> 32) as u32) }
    }
}

/// Maps a distance to bits whose unsigned order is the numeric order; -0 becomes 0. NaN of either sign comes last.
pub(crate) const fn sortable(distance: f32) -> u32 {
    let bits = (distance + 0.0).to_bits();
    if distance.is_nan() {
        u32::MAX
    } else if bits >> 31 == 1 {
        !bits
    } else {
        bits | (1 << 31)
    }
}

/// The inverse of [`sortable`].
pub(crate) const fn from_sortable(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

impl PartialEq for Neighbor {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Neighbor {}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_keeps_the_numeric_order_and_comes_back() {
        let distances = [f32::NEG_INFINITY, -3.5, -1e-40, 0.0, 1e-40, 1.0, f32::MAX, f32::INFINITY];
        for pair in distances.windows(2) {
            assert!(sortable(pair[0]) < sortable(pair[1]), "{pair:?}");
        }
        for distance in distances {
            assert_eq!(Neighbor::from_key(Neighbor { id: 7, distance }.key()).distance, distance);
        }
    }

    #[test]
    fn equal_distances_are_ordered_by_id_and_the_sign_of_zero_does_not_matter() {
        let near = Neighbor { id: 1, distance: 0.0 };
        let also_near = Neighbor { id: 2, distance: -0.0 };
        assert!(near < also_near);
        assert_eq!(near, Neighbor { id: 1, distance: -0.0 });
        assert!(Neighbor { id: 9, distance: -1.0 } < near);
    }

    #[test]
    fn nan_and_the_missing_neighbor_sort_last() {
        for nan in [f32::NAN, -f32::NAN] {
            assert!(Neighbor { id: 0, distance: nan } > Neighbor::NONE);
            assert!(Neighbor::from_key(Neighbor { id: 0, distance: nan }.key()).distance.is_nan());
        }
        assert!(Neighbor { id: 0, distance: f32::MAX } < Neighbor::NONE);
        assert!(Neighbor::NONE.is_none());
    }
}

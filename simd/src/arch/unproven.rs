//! The step from functions that need certain CPU features to a table that can be called from anywhere.

#![expect(
    unsafe_code,
    reason = "the features of the functions are proved once, when a table is handed out, not at each call"
)]

use std::mem::transmute;

use crate::kernels::{ById, Many, Pair, Scored, Tile};

/// Kernels as the compiler types those of a `#[target_feature]` function: callable only where the CPU is known.
pub(super) struct Unproven {
    pub(super) pair: UnprovenPair,
    pub(super) many: UnprovenMany,
    pub(super) by_id: UnprovenById,
    pub(super) tile: UnprovenTile,
}

type UnprovenPair = unsafe fn(&[f32], &[f32]) -> f32;
type UnprovenMany = unsafe fn(&[f32], &[f32], &mut [f32]);
type UnprovenById = unsafe fn(&[f32], &[f32], &[u32], &mut [f32]);
type UnprovenTile = unsafe fn(&[f32], &[f32], usize, &mut [f32]);

impl Unproven {
    /// The same kernels for the table, which calls them without further proof and without a jump in between.
    ///
    /// # Safety
    ///
    /// The kernels must be sound to call on every CPU on which the table that holds them can be reached.
    pub(super) const unsafe fn trust(self) -> Scored {
        // SAFETY: `unsafe fn` and `fn` pointers have one representation and one ABI; the caller vouches for the calls.
        unsafe {
            Scored {
                pair: transmute::<UnprovenPair, Pair>(self.pair),
                many: transmute::<UnprovenMany, Many>(self.many),
                by_id: transmute::<UnprovenById, ById>(self.by_id),
                tile: transmute::<UnprovenTile, Tile>(self.tile),
            }
        }
    }
}

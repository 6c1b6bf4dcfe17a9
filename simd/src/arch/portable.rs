//! Plain Rust: four lanes in an array, which the compiler turns into the target's baseline vectors (SSE2, NEON) where
//! there are any. No fused multiply-add: without the instruction it would be a library call.

use super::generic;
use super::isa::{self, Isa, Score};
use crate::kernels::{Kernels, Scored, Tier};

const LANES: usize = 4;
/// One row at a time: with more, the compiler gathers lanes of different rows into its vectors, which is slower.
const ROWS: usize = 1;
/// Queries by rows scored at a time in a tile, for the same reason.
const TILE: (usize, usize) = (1, 1);

pub(super) static KERNELS: Kernels = Kernels {
    tier: Tier::Portable,
    squared_l2: scored::<isa::SquaredL2>(),
    inner_product: scored::<isa::InnerProduct>(),
    negated_inner_product: scored::<isa::NegatedInnerProduct>(),
    one_minus_inner_product: scored::<isa::OneMinusInnerProduct>(),
};

const fn scored<S: Score>() -> Scored {
    Scored {
        pair: |a, b| generic::pair::<_, S>(Portable, a, b),
        many: |query, rows, out| generic::many::<_, S>(Portable, query, rows, out),
        by_id: |query, base, ids, out| generic::by_id::<_, S, ROWS>(Portable, query, base, ids, out),
        tile: |queries, rows, d, out| {
            generic::tile::<_, S, { TILE.0 }, { TILE.1 }>(Portable, queries, rows, d, out);
        },
    }
}

/// Needs no proof: every CPU can run it.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Isa for Portable {
    type Vector = [f32; LANES];
    type Chunk = [f32; LANES];

    #[inline(always)]
    fn chunks(v: &[f32]) -> (&[Self::Chunk], &[f32]) {
        v.as_chunks()
    }

    #[inline(always)]
    fn chunks_mut(v: &mut [f32]) -> &mut [Self::Chunk] {
        v.as_chunks_mut().0
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Vector {
        [x; LANES]
    }

    #[inline(always)]
    fn store(self, v: Self::Vector, chunk: &mut Self::Chunk) {
        *chunk = v;
    }

    #[inline(always)]
    fn zero(self) -> Self::Vector {
        [0.0; LANES]
    }

    #[inline(always)]
    fn load(self, chunk: &Self::Chunk) -> Self::Vector {
        *chunk
    }

    #[inline(always)]
    fn load_partial(self, rest: &[f32]) -> Self::Vector {
        let mut v = [0.0; LANES];
        for (lane, &x) in v.iter_mut().zip(rest) {
            *lane = x;
        }
        v
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }

    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
    }

    #[inline(always)]
    fn fmadd(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        [a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]]
    }

    #[inline(always)]
    fn reduce(self, v: Self::Vector) -> f32 {
        (v[0] + v[2]) + (v[1] + v[3])
    }
}

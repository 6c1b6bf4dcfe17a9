//! What a kernel needs from an instruction set, and what it computes of a pair of vectors.

/// The operations of one instruction set on registers of `f32`.
///
/// A value of an implementing type is a proof that the CPU has the instruction set: it can be made only inside functions
/// compiled for it. That is why the methods are safe. They must be `#[inline(always)]`: a call that is not inlined into
/// the `#[target_feature]` function that made the proof costs more than the instruction.
pub(super) trait Isa: Copy {
    /// A register.
    type Vector: Copy;
    /// An array of as many `f32` as a register has lanes.
    type Chunk: Copy;

    /// Whole registers of `v`, and the elements after the last whole one.
    fn chunks(v: &[f32]) -> (&[Self::Chunk], &[f32]);
    /// The same where all of it is whole registers, to be written.
    fn chunks_mut(v: &mut [f32]) -> &mut [Self::Chunk];
    /// All lanes 0.
    fn zero(self) -> Self::Vector;
    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::Vector;
    /// Writes the lanes to a chunk, of any alignment.
    fn store(self, v: Self::Vector, chunk: &mut Self::Chunk);
    /// The elements of a chunk, of any alignment.
    fn load(self, chunk: &Self::Chunk) -> Self::Vector;
    /// The elements of `rest`, fewer than there are lanes, then zeros. Reads nothing after `rest`.
    fn load_partial(self, rest: &[f32]) -> Self::Vector;
    /// `a + b` in each lane.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b` in each lane.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c` in each lane, rounded once where the instruction set can.
    fn fmadd(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The sum of the lanes, added as a tree whose shape never changes.
    fn reduce(self, v: Self::Vector) -> f32;
}

/// What is computed of a pair of vectors: a sum over their elements, and what is made of that sum.
pub(super) trait Score {
    /// Adds the terms of one register of each vector to `sum`.
    fn accumulate<I: Isa>(isa: I, sum: I::Vector, a: I::Vector, b: I::Vector) -> I::Vector;
    /// The score for the sum of all terms.
    fn finish(sum: f32) -> f32;
}

/// `Σ (a_i - b_i)²`
pub(super) struct SquaredL2;
/// `Σ a_i b_i`
pub(super) struct InnerProduct;
/// `-Σ a_i b_i`
pub(super) struct NegatedInnerProduct;
/// `1 - Σ a_i b_i`
pub(super) struct OneMinusInnerProduct;

impl Score for SquaredL2 {
    #[inline(always)]
    fn accumulate<I: Isa>(isa: I, sum: I::Vector, a: I::Vector, b: I::Vector) -> I::Vector {
        let difference = isa.sub(a, b);
        isa.fmadd(difference, difference, sum)
    }

    #[inline(always)]
    fn finish(sum: f32) -> f32 {
        sum
    }
}

impl Score for InnerProduct {
    #[inline(always)]
    fn accumulate<I: Isa>(isa: I, sum: I::Vector, a: I::Vector, b: I::Vector) -> I::Vector {
        isa.fmadd(a, b, sum)
    }

    #[inline(always)]
    fn finish(sum: f32) -> f32 {
        sum
    }
}

impl Score for NegatedInnerProduct {
    #[inline(always)]
    fn accumulate<I: Isa>(isa: I, sum: I::Vector, a: I::Vector, b: I::Vector) -> I::Vector {
        isa.fmadd(a, b, sum)
    }

    #[inline(always)]
    fn finish(sum: f32) -> f32 {
        -sum
    }
}

impl Score for OneMinusInnerProduct {
    #[inline(always)]
    fn accumulate<I: Isa>(isa: I, sum: I::Vector, a: I::Vector, b: I::Vector) -> I::Vector {
        isa.fmadd(a, b, sum)
    }

    #[inline(always)]
    fn finish(sum: f32) -> f32 {
        1.0 - sum
    }
}

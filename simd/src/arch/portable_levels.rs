//! Numbers to levels in plain Rust.

/// See [`CodeKernels::levels`](crate::CodeKernels::levels). Left to the compiler, which makes of it what the caller's instruction
/// set has.
#[inline(always)]
pub(super) fn levels(vector: &[f32], offset: &[f32], per_step: f32, highest: f32, out: &mut [u8]) {
    for ((level, &x), &offset) in out.iter_mut().zip(vector).zip(offset) {
        *level = ((x - offset) * per_step).clamp(0.0, highest) as u8;
    }
}

//! Numbers to levels: what scalar quantisation does with a component, many at a time.

use crate::CodeKernels;

/// `(vector, offset, per_step, highest, out)`
pub(crate) type Levels = fn(&[f32], &[f32], f32, f32, &mut [u8]);

impl CodeKernels {
    /// For each component `x` of a vector the level in which it lies, `(x - offset) * per_step`, cut to 0..=`highest` and rounded
    /// down; for NaN 0. The same on every tier.
    #[inline]
    pub fn levels(&self, vector: &[f32], (offset, per_step, highest): (&[f32], f32, u8), out: &mut [u8]) {
        assert!(
            vector.len() == offset.len() && vector.len() == out.len(),
            "{} components, {} offsets and room for {} levels: the lengths must be equal",
            vector.len(),
            offset.len(),
            out.len()
        );
        (self.levels)(vector, offset, per_step, f32::from(highest), out);
    }
}

//! aarch64: NEON, which nearly every such CPU has.

mod neon;

use crate::kernels::Kernels;

/// The tables this CPU can run, best first.
pub(super) fn by_preference() -> [Option<&'static Kernels>; 1] {
    [neon::detect()]
}

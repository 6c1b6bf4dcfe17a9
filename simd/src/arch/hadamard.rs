//! The fast Walsh and Hadamard transform. Plain loops over arrays and halves, which the compiler turns into what the caller's
//! instruction set has.

/// Elements whose steps stay in registers.
const BLOCK: usize = 16;

/// See [`CodeKernels::hadamard`](crate::CodeKernels::hadamard).
#[inline(always)]
pub(super) fn hadamard(vector: &mut [f32]) {
    let (blocks, rest) = vector.as_chunks_mut::<BLOCK>();
    for block in blocks {
        steps(block, BLOCK);
    }
    // Shorter than a block: the whole vector.
    let len = rest.len();
    steps(rest, len);
    let mut half = BLOCK;
    while half < vector.len() {
        for pair in vector.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// The steps within `len` elements.
#[inline(always)]
fn steps(vector: &mut [f32], len: usize) {
    let mut half = 1;
    while half < len {
        for start in (0..len).step_by(2 * half) {
            for i in start..start + half {
                (vector[i], vector[i + half]) = (vector[i] + vector[i + half], vector[i] - vector[i + half]);
            }
        }
        half *= 2;
    }
}

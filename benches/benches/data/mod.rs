//! Seeded vectors for both benches.

/// `n x dim` vectors around 100 centres, the same on every machine.
pub(crate) fn clustered(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut normal = || uniform() + uniform() + uniform();
    let centres: Vec<f32> = (0..100 * dim).map(|_| 2.0 * normal()).collect();
    (0..n * dim).map(|i| centres[(i / dim % 100) * dim + i % dim] + normal()).collect()
}

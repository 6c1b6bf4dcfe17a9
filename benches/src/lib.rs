//! Micro-benchmarks of nearlab's kernels and searches; the benches themselves are in `benches/benches`.
//!
//! | bench | measures | with |
//! |---|---|---|
//! | `kernels`, `codes` | distance kernels of every instruction set, from cache and from memory, beside simsimd; at the end a table of the best against the machine's ceilings | criterion |
//! | `parts` | the kernels that searches and builds call besides distances, likewise | criterion |
//! | `metadata` | a metadata store of a million records: loading, filters, estimates, changes | criterion |
//! | `compression` | on prepared data sets: packed rows beside codes | a table for `reports/record` |
//! | `search` | flat, HNSW and IVF searches on seeded data | criterion |
//! | `kernel_instructions`, `search_instructions` | the same as instruction counts, repeatable | gungraun (valgrind) |
//!
//! A crate of its own, outside the default members, so that its tools do not change how the program is built
//! (docs/adr/0005).

pub mod ceilings;
pub mod roofline;

use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use rustix::time::{ClockId, clock_gettime};

/// A cache line, of which buffers are made whose rows begin where lines do.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u64; 8]);

/// The values in whole lines, the last filled up with zeros.
pub fn in_lines<T: Pod>(values: &[T]) -> Vec<Line> {
    let mut lines = vec![Line([0; 8]); size_of_val(values).div_ceil(size_of::<Line>())];
    bytemuck::cast_slice_mut(&mut lines)[..values.len()].copy_from_slice(values);
    lines
}

/// The processor time that `run` takes of this thread: the machine may be doing other work.
pub fn processor_time(run: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = now();
    run();
    now().saturating_sub(start)
}

/// The next 24 bits of a fixed linear congruential sequence.
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 40
}

/// Values in [-1, 1) from a fixed sequence.
pub fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1;
    (0..count).map(|_| random(&mut state) as f32 / (1_u64 << 23) as f32 - 1.0).collect()
}

/// Numbers below 124 from a fixed sequence. Two of them are also a finite binary16 number: no exponent has all bits set.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1;
    (0..count).map(|_| (random(&mut state) & 0x7b) as u8).collect()
}

/// Ids of `N` rows at a time, anywhere among `rows`: as many in all as there are rows, so that no cache holds a part of them that
/// comes again and again.
pub fn hops<const N: usize>(rows: usize) -> Vec<[u32; N]> {
    let mut state = 7;
    (0..rows.div_ceil(N)).map(|_| [(); N].map(|()| (random(&mut state) % rows as u64) as u32)).collect()
}

//! Instructions executed by every kernel at fixed inputs, counted by Callgrind: exact, so fit for a gate.
//!
//! Runs the tiers that Valgrind can: the portable one, and AVX2 or NEON. Valgrind shows programs no AVX-512. To run it,
//! install the runner whose version is that of the `gungraun` dependency (`cargo install --locked gungraun-runner`).

#![expect(missing_docs, reason = "gungraun's macros write public items")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use nearlab_simd::{Kernels, Metric, Tier, available};

/// The tier with vector instructions that Valgrind can run.
const VECTOR: Tier = if cfg!(target_arch = "aarch64") { Tier::Neon } else { Tier::Avx2 };
const PORTABLE: Tier = Tier::Portable;
const L2: Metric = Metric::L2;
const INNER_PRODUCT: Metric = Metric::InnerProduct;

/// Enough for whole blocks of rows and a remainder.
const ROWS: usize = 33;
const QUERIES: usize = 9;

/// What the kernels are given.
struct Input {
    kernels: &'static Kernels,
    metric: Metric,
    d: usize,
    queries: Vec<f32>,
    rows: Vec<f32>,
    ids: Vec<u32>,
    out: Vec<f32>,
}

fn input(tier: Tier, metric: Metric, d: usize) -> Input {
    Input {
        kernels: available().find(|kernels| kernels.tier() == tier).expect("the CPU has the tier"),
        metric,
        d,
        queries: (0..QUERIES * d).map(|i| (i % 251) as f32).collect(),
        rows: (0..ROWS * d).map(|i| (i % 241) as f32).collect(),
        ids: (0..ROWS as u32).rev().collect(),
        out: vec![0.0; QUERIES * ROWS],
    }
}

#[library_benchmark(setup = input)]
#[bench::portable_l2_100(PORTABLE, L2, 100)]
#[bench::portable_inner_product_1536(PORTABLE, INNER_PRODUCT, 1536)]
#[bench::vector_l2_100(VECTOR, L2, 100)]
#[bench::vector_l2_128(VECTOR, L2, 128)]
#[bench::vector_inner_product_100(VECTOR, INNER_PRODUCT, 100)]
#[bench::vector_inner_product_1536(VECTOR, INNER_PRODUCT, 1536)]
fn pair(input: Input) -> Input {
    let (query, row) = (&input.queries[..input.d], &input.rows[..input.d]);
    black_box(input.kernels.distance(input.metric)(black_box(query), black_box(row)));
    input
}

#[library_benchmark(setup = input)]
#[bench::portable_l2_100(PORTABLE, L2, 100)]
#[bench::vector_l2_100(VECTOR, L2, 100)]
#[bench::vector_l2_128(VECTOR, L2, 128)]
#[bench::vector_inner_product_1536(VECTOR, INNER_PRODUCT, 1536)]
fn many(mut input: Input) -> Input {
    let query = &input.queries[..input.d];
    input.kernels.distances_many(input.metric, black_box(query), &input.rows, &mut input.out[..ROWS]);
    input
}

#[library_benchmark(setup = input)]
#[bench::portable_l2_100(PORTABLE, L2, 100)]
#[bench::vector_l2_100(VECTOR, L2, 100)]
#[bench::vector_l2_128(VECTOR, L2, 128)]
#[bench::vector_inner_product_1536(VECTOR, INNER_PRODUCT, 1536)]
fn by_id(mut input: Input) -> Input {
    let query = &input.queries[..input.d];
    input.kernels.distances_by_id(input.metric, black_box(query), &input.rows, &input.ids, &mut input.out[..ROWS]);
    input
}

#[library_benchmark(setup = input)]
#[bench::portable_inner_product_100(PORTABLE, INNER_PRODUCT, 100)]
#[bench::vector_l2_128(VECTOR, L2, 128)]
#[bench::vector_inner_product_100(VECTOR, INNER_PRODUCT, 100)]
#[bench::vector_inner_product_1536(VECTOR, INNER_PRODUCT, 1536)]
fn tile(mut input: Input) -> Input {
    input.kernels.distances_tile(input.metric, black_box(&input.queries), &input.rows, input.d, &mut input.out);
    input
}

library_benchmark_group!(name = kernels, benchmarks = [pair, many, by_id, tile]);
main!(library_benchmark_groups = kernels);

//! Processor time of the kernels that searches and builds call besides distances: tables of product quantisation, products of many with
//! many, rotations, and picking among scores; then the chosen tier's beside what the machine can do. None has a counterpart in simsimd.

mod timed;

use std::hint::black_box;

use nearlab_benches::ceilings::{Access, Term};
use nearlab_benches::roofline::Case;
use nearlab_benches::{bytes, numbers, random};
use nearlab_simd::{CodeKernels, Columns, LUT4_BLOCK, WITHIN, available_codes, code_kernels};
use timed::Bench;

const L1_BYTES: usize = 16 * 1024;
const L2_BYTES: usize = 256 * 1024;
/// Rows of a tile, and vectors that meet as many rows.
const TILE: usize = 64;
/// Candidates of a search.
const POOL: usize = 160;
/// Scores that the nearest are picked of: a group of bulk construction. And how many.
const SCORES: usize = 1024;
const NEAREST: usize = 16;

/// A case whose operands lie in the second-level cache, and are read once for many.
fn case(name: &str, d: usize, vectors: usize, (terms, term): (usize, Term)) -> Case {
    Case { name: name.to_owned(), d, vectors, bytes: 0, access: Access::Streamed(L2_BYTES), terms, term }
}

fn on_every_tier(bench: &mut Bench, case: &Case, mut work: impl FnMut(&CodeKernels)) {
    for kernels in available_codes() {
        bench.time(case, kernels.tier().as_str(), || work(kernels));
    }
}

/// Product quantisation with two components a code: sums over blocks of neighbours, and the distances that its tables are made of.
fn quantised(bench: &mut Bench, d: usize) {
    let (spaces, rows) = (d / 2, 2 * LUT4_BLOCK);
    let (table, codes, mut sums) = (bytes(16 * spaces), bytes(rows * spaces / 2), vec![0.0; rows]);
    // A search reads a node's block once; here it comes from the first-level cache.
    let read = Case {
        bytes: spaces / 2,
        access: Access::Streamed(L1_BYTES),
        ..case("lut4/blocks", d, rows, (spaces, Term::Lookup))
    };
    if spaces <= 8 * nearlab_simd::LUT4_LINES {
        on_every_tier(bench, &read, |kernels| {
            kernels.lut4_blocks(black_box(&table), black_box(&codes), &[], &mut sums);
        });
    }
    let (vector, centroids, mut out) = (numbers(d), numbers(16 * d), vec![0.0; 16 * spaces]);
    let distances = case("centroid_distances", d, 1, (16 * d, Term::Fma));
    on_every_tier(bench, &distances, |kernels| {
        kernels.centroid_distances(black_box(&vector), black_box(&centroids), 2, &mut out);
    });
}

/// Products of many with many: the sieve of exact search, and projections to principal components.
fn products(bench: &mut Bench, d: usize) {
    let (columns, rows) = (Columns::of(&numbers(TILE * d), d), numbers(TILE * d));
    let mut out = vec![0.0; TILE * columns.count()];
    let sieve = case("products/tile", d, TILE * TILE, (d, Term::Fma));
    on_every_tier(bench, &sieve, |kernels| kernels.products_tile(black_box(&columns), black_box(&rows), &mut out));
    let (levels, rows) = (bytes(TILE * d), bytes(TILE * d));
    let (rows, mut out): (&[i8], _) = (bytemuck::cast_slice(&rows), vec![0; TILE * TILE]);
    let projections = case("u8i8_products", d, TILE * TILE, (d, Term::ByteProduct));
    on_every_tier(bench, &projections, |kernels| {
        kernels.u8i8_products(black_box(&levels), black_box(rows), d, &mut out);
    });
}

fn rotation(bench: &mut Bench, d: usize) {
    let mut vector = numbers(d);
    let turned = Case {
        bytes: d * 4,
        access: Access::Streamed(L1_BYTES),
        ..case("hadamard", d, 1, (d * d.ilog2() as usize, Term::Fma))
    };
    on_every_tier(bench, &turned, |kernels| {
        kernels.hadamard(black_box(&mut vector));
        // Each transform makes it longer.
        vector[0] = 1.0;
        if !vector[1].is_finite() {
            vector.fill(0.5);
        }
    });
}

/// Picking among scores; a vector is a score.
fn picks(bench: &mut Bench) {
    let (scores, lines) = (numbers(WITHIN), numbers(WITHIN));
    let read = |name: &str, d, vectors, bytes| Case {
        bytes,
        access: Access::Streamed(L1_BYTES),
        ..case(name, d, vectors, (0, Term::Fma))
    };
    on_every_tier(bench, &read("within", WITHIN, WITHIN, 4), |kernels| {
        black_box(kernels.within(black_box(&scores), black_box(-0.9)));
    });
    on_every_tier(bench, &read("reaching", WITHIN, WITHIN, 12), |kernels| {
        black_box(kernels.reaching(black_box(&scores), (&lines, &lines), black_box((3.0, 1.0))));
    });
    let many: Vec<i32> = numbers(SCORES).into_iter().map(|x| (x * 1e6) as i32).collect();
    let mut nearest = Vec::with_capacity(SCORES);
    on_every_tier(bench, &read("smallest", SCORES, SCORES, 4), |kernels| {
        nearest.clear();
        kernels.smallest(black_box(&many), NEAREST, &mut nearest);
    });
    let sorted: Vec<u64> = (0..POOL as u64).map(|i| i << 40).collect();
    let (mut keys, mut state) = (sorted.clone(), 1);
    // Half of the keys move, on average: they are read and written.
    on_every_tier(bench, &read("insert_key", POOL, 1, POOL * 8), |kernels| {
        let key = random(&mut state) % POOL as u64;
        keys.copy_from_slice(&sorted);
        black_box(kernels.insert_key(black_box(&mut keys), key << 40 | 1));
    });
}

fn main() {
    let mut bench = Bench::new(code_kernels().tier().as_str());
    for d in [128, 1536] {
        quantised(&mut bench, d);
        products(&mut bench, d);
        rotation(&mut bench, d.next_power_of_two());
    }
    picks(&mut bench);
    bench.finish();
}

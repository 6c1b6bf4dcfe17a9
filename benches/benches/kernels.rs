//! Processor time of every kernel under every tier this CPU can run, and of simsimd's; then the chosen tier's beside what the
//! machine can do.
//!
//! A `pair` stays in the first-level cache, `cached` inputs in the second-level one; `uncached` ones are larger than any, and
//! gathered rows come from anywhere in them. Throughput counts scored pairs and the bytes of their rows. Not a gate: two runs of
//! one binary differ by several per cent on a shared machine; `kernel_instructions` counts instead.

mod timed;

use std::hint::black_box;

use nearlab_benches::ceilings::{Access, Term};
use nearlab_benches::roofline::{Case, RIVAL};
use nearlab_benches::{hops, in_lines, numbers};
use nearlab_simd::{Kernels, Metric, available, kernels};
use simsimd::SpatialSimilarity;
use timed::Bench;

const DIMENSIONS: [usize; 3] = [100, 128, 1536];
const METRICS: [(Metric, &str); 2] = [(Metric::L2, "l2"), (Metric::InnerProduct, "inner_product")];
const PAIR_BYTES: usize = 16 * 1024;
const CACHED_BYTES: usize = 256 * 1024;
const UNCACHED_BYTES: usize = 128 * 1024 * 1024;
/// As many as a graph search scores per hop.
const IDS: usize = 32;
const TILE_QUERIES: usize = 64;

/// The rival's distance.
fn rival(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let distance = match metric {
        Metric::L2 => f32::l2sq(a, b),
        Metric::InnerProduct | Metric::Cosine => f32::dot(a, b),
    };
    distance.expect("the lengths are equal") as f32
}

/// Times `ours` on every tier, and `rival`.
fn compare(bench: &mut Bench, case: &Case, mut ours: impl FnMut(&Kernels), rival: impl FnMut()) {
    for kernels in available() {
        bench.time(case, kernels.tier().as_str(), || ours(kernels));
    }
    bench.time(case, RIVAL, rival);
}

/// A case of vectors of `d` components whose rows must be read.
fn case(name: String, d: usize, vectors: usize, access: Access) -> Case {
    Case { name, d, vectors, bytes: d * 4, access, terms: d, term: Term::Fma }
}

fn pair(bench: &mut Bench) {
    for (metric, name) in METRICS {
        for d in DIMENSIONS {
            let (a, b) = (in_lines(&numbers(d)), in_lines(&numbers(d)));
            let (a, b): (&[f32], &[f32]) = (&bytemuck::cast_slice(&a)[..d], &bytemuck::cast_slice(&b)[..d]);
            let both = case(format!("{name}/pair"), d, 1, Access::Streamed(PAIR_BYTES));
            compare(
                bench,
                &Case { bytes: 2 * d * 4, ..both },
                |kernels| _ = black_box(kernels.distance(metric)(black_box(a), black_box(b))),
                || _ = black_box(rival(metric, black_box(a), black_box(b))),
            );
        }
    }
}

fn many(bench: &mut Bench) {
    for (place, bytes) in [("cached", CACHED_BYTES), ("uncached", UNCACHED_BYTES)] {
        for d in DIMENSIONS {
            let n = bytes / (d * 4);
            let (query, lines) = (numbers(d), in_lines(&numbers(n * d)));
            let rows: &[f32] = &bytemuck::cast_slice(&lines)[..n * d];
            let (mut out, mut theirs) = (vec![0.0; n], vec![0.0; n]);
            for (metric, name) in METRICS {
                compare(
                    bench,
                    &case(format!("{name}/many_{place}"), d, n, Access::Streamed(bytes)),
                    |kernels| kernels.distances_many(metric, black_box(&query), black_box(rows), &mut out),
                    || {
                        for (out, row) in theirs.iter_mut().zip(black_box(rows).chunks_exact(d)) {
                            *out = rival(metric, black_box(&query), row);
                        }
                    },
                );
            }
        }
    }
}

fn by_id(bench: &mut Bench) {
    for d in DIMENSIONS {
        let gathered = Access::Gathered { buffer: UNCACHED_BYTES, row: d * 4 };
        // In a cache it matters little where rows are.
        let cached = Access::Streamed(CACHED_BYTES);
        for (place, bytes, access) in [("cached", CACHED_BYTES, cached), ("uncached", UNCACHED_BYTES, gathered)] {
            let n = bytes / (d * 4);
            let (query, lines, hops) = (numbers(d), in_lines(&numbers(n * d)), hops::<IDS>(n));
            let base: &[f32] = &bytemuck::cast_slice(&lines)[..n * d];
            let (mut out, mut theirs) = ([0.0; IDS], [0.0; IDS]);
            let (mut next, mut theirs_next) = (hops.iter().cycle(), hops.iter().cycle());
            compare(
                bench,
                &case(format!("l2/by_id_{place}"), d, IDS, access),
                |kernels| {
                    let ids = next.next().expect("a cycle does not end");
                    kernels.distances_by_id(Metric::L2, black_box(&query), base, ids, &mut out);
                },
                || {
                    let ids = theirs_next.next().expect("a cycle does not end");
                    for (out, &id) in theirs.iter_mut().zip(ids) {
                        *out = rival(Metric::L2, black_box(&query), &base[id as usize * d..][..d]);
                    }
                },
            );
        }
    }
}

fn tile(bench: &mut Bench) {
    for (metric, name) in METRICS {
        for d in DIMENSIONS {
            let n = CACHED_BYTES / (d * 4);
            let (queries, rows) = (numbers(TILE_QUERIES * d), numbers(n * d));
            let (mut out, mut theirs) = (vec![0.0; TILE_QUERIES * n], vec![0.0; TILE_QUERIES * n]);
            // What is read once serves many pairs.
            let pairs = case(format!("{name}/tile"), d, TILE_QUERIES * n, Access::Streamed(CACHED_BYTES));
            compare(
                bench,
                &Case { bytes: 0, ..pairs },
                |kernels| kernels.distances_tile(metric, black_box(&queries), black_box(&rows), d, &mut out),
                || {
                    let pairs =
                        queries.chunks_exact(d).flat_map(|query| rows.chunks_exact(d).map(move |row| (query, row)));
                    for (out, (query, row)) in theirs.iter_mut().zip(pairs) {
                        *out = rival(metric, black_box(query), row);
                    }
                },
            );
        }
    }
}

fn main() {
    let mut bench = Bench::new(kernels().tier().as_str());
    pair(&mut bench);
    many(&mut bench);
    by_id(&mut bench);
    tile(&mut bench);
    bench.finish();
}

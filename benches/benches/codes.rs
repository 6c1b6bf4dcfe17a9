//! Processor time of the kernels for codes, under every tier this CPU can run, and of what simsimd has like them; then the
//! chosen tier's beside what the machine can do.
//!
//! Rows are gathered by id: `cached` ones stay in the second-level cache; `uncached` ones come from anywhere in 256 MiB, `streamed`
//! ones one after another. Not a gate: two runs of one binary differ by several per cent on a shared machine. It shows a kernel
//! by itself; a search asks for its rows earlier, and does more between them.
//!
//! simsimd compares like with like: its query has the type of its rows. `u7` stands beside `i8::l2sq`, `dot8` beside `i8::dot`, `f16`
//! beside `f16::l2sq`, and `dot1`, whose query has four planes, beside four times `u8::hamming`.

mod timed;

use std::hint::black_box;

use nearlab_benches::ceilings::{Access, Term};
use nearlab_benches::roofline::{Case, RIVAL};
use nearlab_benches::{Line, bytes, hops, in_lines};
use nearlab_simd::{Aligned, CodeKernels, PlaneRows, TileColumns, available_codes, code_kernels};
use simsimd::{BinarySimilarity, SpatialSimilarity};
use timed::Bench;

const CACHED_BYTES: usize = 256 * 1024;
const UNCACHED_BYTES: usize = 256 * 1024 * 1024;
/// As many as a graph search scores per hop.
const IDS: usize = 32;
/// Columns of a tile: a group of bulk construction.
const TILE_COLUMNS: usize = 1024;
/// Bits of a level in planes.
const PLANES: u32 = 3;

/// A kind of codes: a name, the components of a vector, and what is multiplied.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    d: usize,
    row_bytes: usize,
    terms: usize,
    term: Term,
}

/// What a kernel does with some rows.
type Ours<'a> = &'a dyn Fn(&CodeKernels, &[Line], &[u32], &mut [f32]);
/// What simsimd makes of the row of an id.
type Theirs<'a> = &'a dyn Fn(u32, &[u8]) -> Option<f64>;

/// One kernel over rows that ids name, in three places, beside what simsimd has like it.
fn by_id(bench: &mut Bench, kind: Kind, ours: Ours<'_>, theirs: Option<Theirs<'_>>) {
    let Kind { name, d, row_bytes, terms, term } = kind;
    let gathered = Access::Gathered { buffer: UNCACHED_BYTES, row: row_bytes };
    let places = [
        // In a cache it matters little where rows are.
        ("cached", CACHED_BYTES, Access::Streamed(CACHED_BYTES)),
        ("uncached", UNCACHED_BYTES, gathered),
        ("streamed", UNCACHED_BYTES, Access::Streamed(UNCACHED_BYTES)),
    ];
    for (place, buffer, access) in places {
        let n = buffer / row_bytes;
        let (lines, mut hops) = (in_lines(&bytes(n * row_bytes)), hops::<IDS>(n));
        if place == "streamed" {
            hops = (0..n as u32).collect::<Vec<_>>().as_chunks().0.to_vec();
        }
        let (codes, mut out) = (as_bytes(&lines), [0.0; IDS]);
        let mut next = hops.iter().cycle();
        let name = format!("{name}/by_id_{place}");
        let case = Case { name, d, vectors: IDS, bytes: row_bytes, access, terms, term };
        for kernels in available_codes() {
            bench.time(&case, kernels.tier().as_str(), || {
                let ids = next.next().expect("a cycle does not end");
                ours(kernels, black_box(&lines), ids, &mut out);
            });
        }
        if let Some(theirs) = theirs {
            bench.time(&case, RIVAL, || {
                for (out, &id) in out.iter_mut().zip(next.next().expect("a cycle does not end")) {
                    *out = theirs(id, &codes[id as usize * row_bytes..][..row_bytes]).expect("equal lengths") as f32;
                }
            });
        }
    }
}

/// Bytes of codes.
fn as_bytes(lines: &[Line]) -> &[u8] {
    bytemuck::cast_slice(lines)
}

fn squares(bench: &mut Bench, d: usize) {
    let query: Vec<i8> = bytes(d).into_iter().map(|x| x as i8).collect();
    let kind = Kind { name: "u7", d, row_bytes: d, terms: d, term: Term::ByteProduct };
    by_id(
        bench,
        Kind { name: "u4", row_bytes: d / 2, ..kind },
        &|kernels, codes, ids, out| kernels.u4_by_id(black_box(&query), as_bytes(codes), ids, out),
        None,
    );
    let levels = bytes(d);
    by_id(
        bench,
        kind,
        &|kernels, codes, ids, out| kernels.u7_by_id(black_box(&levels), as_bytes(codes), ids, out),
        Some(&|_, row| i8::l2sq(black_box(&query), bytemuck::cast_slice(row))),
    );
    let numbers: Vec<f32> = bytes(d).into_iter().map(f32::from).collect();
    by_id(
        bench,
        Kind { name: "u8", term: Term::Fma, ..kind },
        &|kernels, codes, ids, out| kernels.u8_by_id(black_box(&numbers), as_bytes(codes), ids, out),
        None,
    );
}

fn halves(bench: &mut Bench, d: usize) {
    let numbers: Vec<f32> = bytes(d).into_iter().map(f32::from).collect();
    let query: Vec<simsimd::f16> = numbers.iter().map(|&x| simsimd::f16::from_f32(x)).collect();
    // Rows of simsimd's own type: the same numbers.
    let pairs = bytes(UNCACHED_BYTES);
    let rows: Vec<_> = pairs.as_chunks().0.iter().map(|&bits| simsimd::f16(u16::from_le_bytes(bits))).collect();
    by_id(
        bench,
        Kind { name: "f16", d, row_bytes: 2 * d, terms: d, term: Term::Fma },
        &|kernels, codes, ids, out| kernels.f16_by_id(black_box(&numbers), bytemuck::cast_slice(codes), ids, out),
        Some(&|id, _| simsimd::f16::l2sq(black_box(&query), &rows[id as usize * d..][..d])),
    );
}

/// The upper halves of numbers, and levels of three bits in planes: rows that no other library here has.
fn others(bench: &mut Bench, d: usize) {
    let numbers: Vec<f32> = bytes(d).into_iter().map(f32::from).collect();
    by_id(
        bench,
        Kind { name: "bf16", d, row_bytes: 2 * d, terms: d, term: Term::Fma },
        &|kernels, codes, ids, out| kernels.bf16_by_id(black_box(&numbers), bytemuck::cast_slice(codes), ids, out),
        None,
    );
    let query: Vec<i8> = bytes(d).into_iter().map(|x| x as i8).collect();
    let row_bytes = (d / 8 * PLANES as usize).next_multiple_of(64);
    by_id(
        bench,
        Kind { name: "planes", d, row_bytes, terms: d, term: Term::ByteProduct },
        &|kernels, codes, ids, out| {
            let rows = PlaneRows { codes: as_bytes(codes), row_bytes, bits: PLANES };
            kernels.planes_by_id(black_box(&query), rows, ids, out);
        },
        None,
    );
}

/// Codes of product quantisation: of two components and 4 bits, of four and 8 bits.
fn quantised(bench: &mut Bench, d: usize) {
    let table = bytes(16 * d / 2);
    by_id(
        bench,
        Kind { name: "lut4", d, row_bytes: (d / 4).next_multiple_of(64), terms: d / 2, term: Term::Lookup },
        &|kernels, codes, ids, out| kernels.lut4_by_id(black_box(&table), as_bytes(codes), ids, out),
        None,
    );
    let numbers: Vec<f32> = bytes(256 * d / 4).into_iter().map(f32::from).collect();
    let width = (d / 4).next_multiple_of(64);
    by_id(
        bench,
        Kind { name: "lut8", d, row_bytes: width, terms: d / 4, term: Term::Fma },
        &|kernels, codes, ids, out| kernels.lut8_by_id(black_box(&numbers), (as_bytes(codes), width), ids, out),
        None,
    );
}

fn products(bench: &mut Bench, d: usize) {
    let query: Vec<i8> = bytes(2 * d).into_iter().map(|x| x as i8).collect();
    let kind = Kind { name: "dot8", d, row_bytes: d, terms: d, term: Term::ByteProduct };
    by_id(
        bench,
        kind,
        &|kernels, codes, ids, out| kernels.dot8_by_id(black_box(&query[..d]), as_bytes(codes), ids, out),
        Some(&|_, row| i8::dot(black_box(&query[..d]), bytemuck::cast_slice(row))),
    );
    by_id(
        bench,
        Kind { name: "dot4", row_bytes: d / 2, ..kind },
        &|kernels, codes, ids, out| kernels.dot4_by_id(black_box(&query[..d]), as_bytes(codes), ids, out),
        None,
    );
}

/// One bit per component.
fn bits(bench: &mut Bench, d: usize) {
    let planes = bytes(d / 2);
    by_id(
        bench,
        Kind { name: "dot1", d, row_bytes: d / 8, terms: 4 * d, term: Term::BitProduct },
        &|kernels, codes, ids, out| kernels.dot1_by_id(black_box(&planes), as_bytes(codes), ids, out),
        Some(&|_, row| {
            let hamming = |plane: usize| u8::hamming(black_box(&planes[plane * d / 8..][..d / 8]), row);
            (0..4).map(hamming).sum()
        }),
    );
}

fn tile(bench: &mut Bench, d: usize) {
    let mut columns = TileColumns::default();
    columns.fill(&bytes(TILE_COLUMNS * d), d);
    for kernels in available_codes() {
        let rows = kernels.u7_tile_rows();
        let (levels, mut out) = (bytes(rows * d), Aligned::default());
        out.resize(rows * columns.count());
        let (name, vectors, term) = ("u7/tile".to_owned(), rows * TILE_COLUMNS, Term::TiledByteProduct);
        // What is read once serves many pairs.
        let case = Case { name, d, vectors, bytes: 0, access: Access::Streamed(CACHED_BYTES), terms: d, term };
        bench.time(&case, kernels.tier().as_str(), || kernels.u7_tile(black_box(&levels), &columns, &mut out));
    }
}

fn main() {
    let mut bench = Bench::new(code_kernels().tier().as_str());
    for d in [128, 1536] {
        squares(&mut bench, d);
        halves(&mut bench, d);
        others(&mut bench, d);
        quantised(&mut bench, d.max(256));
        products(&mut bench, d);
        bits(&mut bench, d.max(512));
        tile(&mut bench, d);
    }
    bench.finish();
}

//! Codes in plain Rust.

use super::hadamard::hadamard;
use super::lines::{Bf16, CodeIsa, Dot1, Dot4, Dot8, F16, U4, U7, U8, by_id};
use super::lut::{centroid_distances, lut4, lut4_blocks};
use super::planes::{PlaneIsa, planes_by_id};
use super::portable_levels::levels;
use super::portable_pick::{add_within, insert_key, reaching, smallest, within};
use super::products::ProductTile;
use crate::codes::CodeKernels;
use crate::kernels::Tier;
use crate::tile_columns::TILE_COLUMNS;

pub(crate) static CODES: CodeKernels = CodeKernels {
    tier: Tier::Portable,
    u4: |query, codes, ids, out| by_id(U4(Portable), query, codes, ids, out),
    u7: |query, codes, ids, out| by_id(U7(Portable), query, codes, ids, out),
    u8: |query, codes, ids, out| by_id(U8(Portable), query, codes, ids, out),
    f16: |query, codes, ids, out| by_id(F16(Portable), query, codes, ids, out),
    bf16: |query, codes, ids, out| by_id(Bf16(Portable), query, codes, ids, out),
    dot1: |query, codes, ids, out| by_id(Dot1(Portable), query, codes, ids, out),
    dot4: |query, codes, ids, out| by_id(Dot4(Portable), query, codes, ids, out),
    dot8: |query, codes, ids, out| by_id(Dot8(Portable), query, codes, ids, out),
    planes: |query, rows, ids, out| planes_by_id(Portable, query, rows, ids, out),
    lut4: |table, codes, ids, out| lut4(table, codes, ids, out),
    lut4_blocks: |table, blocks, ahead, out| lut4_blocks(table, blocks, ahead, out),
    centroid_distances: |vector, centroids, sub_dim, out| centroid_distances(vector, centroids, sub_dim, out),
    u8i8_products: |vectors, rows, width, out| {
        for (vector, out) in vectors.chunks_exact(width).zip(out.chunks_exact_mut((rows.len() / width).max(1))) {
            for (product, row) in out.iter_mut().zip(rows.chunks_exact(width)) {
                *product = vector.iter().zip(row).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
            }
        }
    },
    u7_tile,
    smallest: |scores, k, keys| smallest(scores, k, keys, |bound, keys| add_within(scores, bound, 0, keys)),
    within: |scores, bound| within(scores, bound),
    insert_key: |keys, key| insert_key(keys, key),
    hadamard: |vector| hadamard(vector),
    products: |columns, rows, d, out| {
        ProductTile::new(columns, rows, d, out).products::<_, 4, 4, 2>(super::portable::Portable, 0);
    },
    reaching: |products, lines, floor| reaching(products, lines, floor),
    levels: |vector, offset, per_step, highest, out| levels(vector, offset, per_step, highest, out),
};

fn u7_tile(rows: &[u8], columns: &[u8], norms: &[i32], out: &mut [i32]) {
    let width = columns.len() / norms.len();
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(norms.len())) {
        let blocks = columns.chunks_exact(TILE_COLUMNS * width).zip(norms.chunks_exact(TILE_COLUMNS));
        for ((block, norms), out) in blocks.zip(out.chunks_exact_mut(TILE_COLUMNS)) {
            // Doubled, as the levels of columns are.
            let mut products = [0; TILE_COLUMNS];
            for (levels, group) in row.as_chunks::<4>().0.iter().zip(block.as_chunks::<64>().0) {
                for (product, column) in products.iter_mut().zip(group.as_chunks::<4>().0) {
                    for i in 0..4 {
                        *product += i32::from(levels[i]) * i32::from(column[i]);
                    }
                }
            }
            for ((out, norm), product) in out.iter_mut().zip(norms).zip(products) {
                *out = norm.wrapping_sub(product);
            }
        }
    }
}

/// Lanes of the sums of `f32`.
const LANES: usize = 8;

/// Needs no proof: every CPU can run it.
#[derive(Clone, Copy)]
struct Portable;

impl CodeIsa for Portable {
    type Integers = i32;
    type Numbers = [f32; LANES];

    #[inline(always)]
    fn no_integers(self) -> i32 {
        0
    }

    #[inline(always)]
    fn no_numbers(self) -> [f32; LANES] {
        [0.0; LANES]
    }

    #[inline(always)]
    fn add_u4(self, mut sum: i32, query: &[i8; 128], codes: &[u8; 64]) -> i32 {
        let (low, high) = query.split_at(64);
        for i in 0..64 {
            let a = i32::from(codes[i] & 15) * 8 - i32::from(low[i]);
            let b = i32::from(codes[i] >> 4) * 8 - i32::from(high[i]);
            sum += a * a + b * b;
        }
        sum
    }

    #[inline(always)]
    fn add_u7(self, mut sum: i32, query: &[u8; 64], codes: &[u8; 64]) -> i32 {
        for i in 0..64 {
            let difference = i32::from(codes[i]) - i32::from(query[i]);
            sum += difference * difference;
        }
        sum
    }

    #[inline(always)]
    fn add_u8(self, mut sum: [f32; LANES], query: &[f32; 64], codes: &[u8; 64]) -> [f32; LANES] {
        for i in 0..64 {
            let difference = f32::from(codes[i]) - query[i];
            sum[i % LANES] += difference * difference;
        }
        sum
    }

    #[inline(always)]
    fn add_f16(self, mut sum: [f32; LANES], query: &[f32; 32], codes: &[u16; 32]) -> [f32; LANES] {
        for i in 0..32 {
            let difference = f32_from_f16(codes[i]) - query[i];
            sum[i % LANES] += difference * difference;
        }
        sum
    }

    #[inline(always)]
    fn add_bf16(self, mut sum: [f32; LANES], query: &[f32; 32], codes: &[u16; 32]) -> [f32; LANES] {
        for i in 0..32 {
            let difference = f32::from_bits(u32::from(codes[i]) << 16) - query[i];
            sum[i % LANES] += difference * difference;
        }
        sum
    }

    #[inline(always)]
    fn add_dot1(self, mut sum: i32, query: &[u8; 256], codes: &[u8; 64]) -> i32 {
        for (plane, bits) in query.as_chunks::<64>().0.iter().enumerate() {
            let shared: u32 = bits.iter().zip(codes).map(|(bits, codes)| (bits & codes).count_ones()).sum();
            sum += (shared << plane) as i32;
        }
        sum
    }

    #[inline(always)]
    fn add_dot4(self, mut sum: i32, query: &[i8; 128], codes: &[u8; 64]) -> i32 {
        let (low, high) = query.split_at(64);
        for i in 0..64 {
            sum += i32::from(codes[i] & 15) * i32::from(low[i]) + i32::from(codes[i] >> 4) * i32::from(high[i]);
        }
        sum
    }

    #[inline(always)]
    fn add_dot8(self, mut sum: i32, query: &[i8; 64], codes: &[u8; 64]) -> i32 {
        for i in 0..64 {
            sum += i32::from(codes[i]) * i32::from(query[i]);
        }
        sum
    }

    #[inline(always)]
    fn sum_integers(self, sum: i32) -> f32 {
        sum as f32
    }

    #[inline(always)]
    fn sum_numbers(self, sum: [f32; LANES]) -> f32 {
        sum.iter().sum()
    }
}

impl PlaneIsa for Portable {
    #[inline(always)]
    fn add_planes<const BITS: usize>(self, mut sum: i32, query: &[i8; 64], planes: &[[u8; 8]; BITS]) -> i32 {
        for (place, plane) in planes.iter().enumerate() {
            let bits = u64::from_le_bytes(*plane);
            let chosen = |(i, &number): (usize, &i8)| i32::from(number) * (bits >> i & 1) as i32;
            sum += query.iter().enumerate().map(chosen).sum::<i32>() << place;
        }
        sum
    }
}

/// The number that the bits of a binary16 stand for: exponent and fraction moved to their places in binary32, and the
/// difference of the biases, 127 - 15, made up by a multiplication, which is exact for subnormal numbers too. The highest exponent
/// is that of infinities and of what is no number.
#[inline(always)]
fn f32_from_f16(bits: u16) -> f32 {
    let scale = if bits & 0x7c00 == 0x7c00 { f32::INFINITY } else { f32::from_bits((127 + 112) << 23) };
    let fraction = u32::from(bits & 0x7fff) << 13;
    let magnitude = if bits & 0x7fff > 0x7c00 { f32::NAN } else { f32::from_bits(fraction) * scale };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary16_numbers_become_what_they_stand_for() {
        let cases = [(0x0000, 0.0), (0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x7bff, 65504.0)];
        for (bits, number) in cases {
            assert_eq!(f32_from_f16(bits), number);
        }
        assert_eq!(f32_from_f16(0x0001), 2.0_f32.powi(-24));
        assert_eq!(f32_from_f16(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert_eq!((f32_from_f16(0x7c00), f32_from_f16(0xfc00)), (f32::INFINITY, f32::NEG_INFINITY));
        assert!(f32_from_f16(0x7e00).is_nan() && f32_from_f16(0xfc01).is_nan());
    }
}

//! Sums of numbers looked up in tables, and the distances that such tables are made of: product quantisation. Plain loops,
//! which the compiler turns into what the caller's instruction set has.

use super::prefetch::prefetch;
use super::rows::row;
use crate::codes::{CENTROIDS, LINE_BYTES, LUT4_BLOCK, LUT4_CHUNK, LUT4_LINE, LUT4_LINE_TABLE, LUT4_TABLE};

/// Rows whose sums of `f32` are made at the same time: an addition of one waits for that before it.
const ROWS: usize = 4;

/// See [`CodeKernels::lut4_by_id`](crate::CodeKernels::lut4_by_id).
pub(super) fn lut4(table: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
    let tables = table.as_chunks::<LUT4_TABLE>().0;
    for (out, &id) in out.iter_mut().zip(ids) {
        let chunks = row(codes, id, tables.len() * LUT4_CHUNK).as_chunks::<LUT4_CHUNK>().0;
        let sum: u32 = tables.iter().zip(chunks).map(|(table, chunk)| sum_of_chunk(table, chunk)).sum();
        *out = sum as f32;
    }
}

fn sum_of_chunk(table: &[u8; LUT4_TABLE], chunk: &[u8; LUT4_CHUNK]) -> u32 {
    let mut sum = 0;
    for (tables, bytes) in table.as_chunks::<256>().0.iter().zip(chunk.as_chunks::<8>().0) {
        for (at, byte) in bytes.iter().enumerate() {
            let (low, high) = (usize::from(byte & 15), usize::from(byte >> 4));
            sum += u32::from(tables[16 * at + low]) + u32::from(tables[128 + 16 * at + high]);
        }
    }
    sum
}

/// See [`CodeKernels::lut4_blocks`](crate::CodeKernels::lut4_blocks).
pub(super) fn lut4_blocks(table: &[u8], blocks: &[u8], ahead: &[u8], out: &mut [f32]) {
    prefetch(ahead.as_ptr(), ahead.len());
    let tables = table.as_chunks::<LUT4_LINE_TABLE>().0;
    let blocks = blocks.as_chunks::<LINE_BYTES>().0.chunks_exact(tables.len());
    for (out, lines) in out.as_chunks_mut::<LUT4_BLOCK>().0.iter_mut().zip(blocks) {
        let mut sums = [0_u16; LUT4_BLOCK];
        for (table, line) in tables.iter().zip(lines) {
            let (low, high) = table.as_chunks::<16>().0.split_at(LUT4_LINE / 2);
            for ((low, high), bytes) in low.iter().zip(high).zip(line.as_chunks::<LUT4_BLOCK>().0) {
                for (sum, byte) in sums.iter_mut().zip(bytes) {
                    *sum += u16::from(low[usize::from(byte & 15)]) + u16::from(high[usize::from(byte >> 4)]);
                }
            }
        }
        *out = sums.map(f32::from);
    }
}

/// See [`CodeKernels::lut8_by_id`](crate::CodeKernels::lut8_by_id).
pub(crate) fn lut8(table: &[f32], codes: &[u8], width: usize, ids: &[u32], out: &mut [f32]) {
    let tables = table.as_chunks::<256>().0;
    let (blocks, rest) = out.as_chunks_mut::<ROWS>();
    let (block_ids, rest_ids) = ids.as_chunks::<ROWS>();
    for (out, ids) in blocks.iter_mut().zip(block_ids) {
        *out = sums(tables, ids.map(|id| row(codes, id, width)));
    }
    for (out, &id) in rest.iter_mut().zip(rest_ids) {
        [*out] = sums(tables, [row(codes, id, width)]);
    }
}

#[inline(always)]
fn sums<const R: usize>(tables: &[[f32; 256]], rows: [&[u8]; R]) -> [f32; R] {
    let rows = rows.map(|row| &row[..tables.len()]);
    let mut sums = [0.0; R];
    for (space, table) in tables.iter().enumerate() {
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum += table[usize::from(row[space])];
        }
    }
    sums
}

/// See [`CodeKernels::centroid_distances`](crate::CodeKernels::centroid_distances).
#[inline(always)]
pub(super) fn centroid_distances(vector: &[f32], centroids: &[f32], sub_dim: usize, out: &mut [f32]) {
    let spaces = vector.len().div_ceil(sub_dim);
    let (blocks, out) = (centroids.chunks_exact(sub_dim * CENTROIDS), out.as_chunks_mut::<CENTROIDS>().0);
    let of_space = out.len() / spaces.max(1);
    for ((at, centroids), out) in blocks.enumerate().zip(out) {
        let first = at / of_space * sub_dim;
        let part = &vector[first..vector.len().min(first + sub_dim)];
        let mut distances = [0.0; CENTROIDS];
        for (x, components) in part.iter().zip(centroids.as_chunks::<CENTROIDS>().0) {
            for (distance, component) in distances.iter_mut().zip(components) {
                let difference = x - component;
                *distance += difference * difference;
            }
        }
        *out = distances;
    }
}

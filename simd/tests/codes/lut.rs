//! Sums of numbers looked up, and distances to centroids.

use nearlab_simd::{CENTROIDS, LINE_BYTES, LUT4_BLOCK, LUT4_CHUNK, LUT4_LINE, LUT4_LINES, available_codes};

use super::{ROWS, bytes, check, numbers};

#[test]
fn numbers_that_four_bits_name_are_added_exactly() {
    for (chunks, most) in [(1, 128), (2, 128), (12, 128), (41, 128), (41, 1)] {
        let width = chunks * LUT4_CHUNK;
        let codes = bytes(40 * width, 256, 51);
        // All 127 where `most` is 1: then nothing larger can be added.
        let table: Vec<u8> = bytes(width * 32, most, 52).into_iter().map(|x| 127 - x).collect();
        let number = |row: usize, code: usize| {
            let byte = codes[row * width + code / 16 * 8 + code % 8];
            f64::from(table[code * 16 + usize::from(if code % 16 < 8 { byte & 15 } else { byte >> 4 })])
        };
        // Blocks of sixteen rows, and rests of few and of more.
        for rows in [1, 2, 3, 15, 16, 31, 33] {
            let expected: Vec<f64> = (0..rows).map(|row| (0..2 * width).map(|code| number(row, code)).sum()).collect();
            check("lut4", &expected, 0.0, |k, ids, out| k.lut4_by_id(&table, &codes, ids, out));
        }
    }
}

#[test]
fn numbers_that_codes_side_by_side_name_are_added_exactly() {
    for (lines, most) in [(1, 128), (2, 128), (7, 128), (LUT4_LINES, 128), (LUT4_LINES, 1)] {
        let width = lines * LINE_BYTES;
        let codes = bytes(9 * width, 256, 57);
        // All 127 where `most` is 1: then nothing larger can be added.
        let table: Vec<u8> = bytes(lines * LUT4_LINE * 16, most, 58).into_iter().map(|x| 127 - x).collect();
        let number = |row: usize, code: usize| {
            let (line, within) = (code / LUT4_LINE, code % LUT4_LINE);
            let byte = codes[row / LUT4_BLOCK * width + line * LINE_BYTES + within % 4 * LUT4_BLOCK + row % LUT4_BLOCK];
            f64::from(table[code * 16 + usize::from(if within < 4 { byte & 15 } else { byte >> 4 })])
        };
        let sum = |row: usize| (0..lines * LUT4_LINE).map(|code| number(row, code)).sum::<f64>() as f32;
        for blocks in [0, 1, 3, 4, 9] {
            let expected: Vec<f32> = (0..blocks * LUT4_BLOCK).map(sum).collect();
            for kernels in available_codes() {
                let mut out = vec![f32::NAN; expected.len()];
                kernels.lut4_blocks(&table, &codes[..blocks * width], &codes[..13 * lines], &mut out);
                assert_eq!(out, expected, "{} {lines} {blocks}", kernels.tier());
            }
        }
    }
}

#[test]
#[should_panic(expected = "tables of 256 bytes and blocks of 128 do not make 32 sums")]
fn blocks_that_are_not_whole_are_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.lut4_blocks(&[0; 256], &[0; 128], &[], &mut [0.0; 32]);
}

#[test]
fn numbers_that_eight_bits_name_are_added_in_order() {
    for (tables, width) in [(0, 32), (1, 32), (25, 32), (64, 64)] {
        let codes = bytes(ROWS * width, 256, 53);
        let table: Vec<f32> = numbers(tables * 256, 1000, 54).into_iter().map(|x| x as f32 / 7.0).collect();
        let number = |row: usize, i: usize| table[i * 256 + usize::from(codes[row * width + i])];
        let expected: Vec<f64> = (0..ROWS)
            .map(|row| f64::from((0..tables).map(|i| number(row, i)).fold(0.0, |sum, number| sum + number)))
            .collect();
        check("lut8", &expected, 0.0, |k, ids, out| k.lut8_by_id(&table, (&codes, width), ids, out));
    }
}

#[test]
fn distances_to_centroids_are_those_of_each_part() {
    for (dim, sub_dim, count) in [(8_usize, 2, 16_usize), (9, 2, 16), (10, 4, 256), (3, 4, 16), (5, 1, 32), (0, 3, 16)]
    {
        let spaces = dim.div_ceil(sub_dim);
        let vector = levels(dim, 55);
        let centroids = levels(spaces * count * sub_dim, 56);
        let distance = |space: usize, centroid: usize| -> f32 {
            let block = (space * count + centroid) / CENTROIDS * sub_dim;
            let of = |j: usize| centroids[(block + j) * CENTROIDS + centroid % CENTROIDS];
            (0..sub_dim.min(dim - space * sub_dim)).map(|j| (vector[space * sub_dim + j] - of(j)).powi(2)).sum()
        };
        let expected: Vec<f32> = (0..spaces * count).map(|i| distance(i / count, i % count)).collect();
        for kernels in available_codes() {
            let mut out = vec![f32::NAN; spaces * count];
            kernels.centroid_distances(&vector, &centroids, sub_dim, &mut out);
            assert_eq!(out, expected, "{} {dim} {sub_dim}", kernels.tier());
        }
    }
}

/// Whole numbers from 0 to 255: sums of few of their squares are exact.
fn levels(count: usize, seed: u64) -> Vec<f32> {
    bytes(count, 256, seed).into_iter().map(f32::from).collect()
}

#[test]
#[should_panic(expected = "tables of 1000 bytes, 1 ids and room for 1 sums")]
fn tables_that_are_not_whole_are_refused() {
    available_codes().next().expect("there is always one").lut4_by_id(&[0; 1000], &[0; 32], &[0], &mut [0.0]);
}

#[test]
#[should_panic(expected = "tables of 512 numbers for rows of 1 bytes")]
fn more_tables_than_codes_are_refused() {
    available_codes().next().expect("there is always one").lut8_by_id(&[0.0; 512], (&[0], 1), &[0], &mut [0.0]);
}

#[test]
#[should_panic(expected = "4 components and centroids of 64 numbers, 2 each, do not make 16 distances")]
fn centroids_without_their_distances_are_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.centroid_distances(&[0.0; 4], &[0.0; 64], 2, &mut [0.0; 16]);
}

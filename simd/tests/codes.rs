//! Every kernel for codes of every tier this CPU can run, against plain arithmetic, and against each other.

use nearlab_simd::{CodeKernels, Columns, PlaneRows, Tier, available_codes, products_error, u4_query_level};

#[path = "codes/lut.rs"]
mod lut;
#[path = "codes/pick.rs"]
mod pick;
#[path = "codes/tiles.rs"]
mod tiles;

/// Numbers from a fixed linear congruential sequence, below `bound`.
fn numbers(count: usize, bound: u32, seed: u64) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as u32) % bound
    };
    (0..count).map(|_| next()).collect()
}

fn bytes(count: usize, bound: u32, seed: u64) -> Vec<u8> {
    numbers(count, bound, seed).into_iter().map(|x| x as u8).collect()
}

/// Backwards, with one row twice, and as many as make whole blocks and a rest.
fn ids(rows: usize) -> Vec<u32> {
    (0..rows as u32).rev().chain([0]).collect()
}

/// Runs `score` on each tier and compares with the expected scores of the rows.
fn check(what: &str, expected: &[f64], tolerance: f64, score: impl Fn(&CodeKernels, &[u32], &mut [f32])) {
    for kernels in available_codes() {
        let ids = ids(expected.len());
        let mut out = vec![f32::NAN; ids.len()];
        score(kernels, &ids, &mut out);
        for (&id, &found) in ids.iter().zip(&out) {
            let expected = f64::from(expected[id as usize] as f32);
            let error = (f64::from(found) - expected).abs();
            assert!(error <= tolerance * expected.max(1.0), "{} {what}: {found} for {expected}", kernels.tier());
        }
    }
}

const ROWS: usize = 11;

#[test]
fn four_bit_codes_meet_their_query_component_by_component() {
    for lines in [1, 2, 3, 12] {
        let codes = bytes(ROWS * lines * 64, 256, 1);
        let positions: Vec<f32> = numbers(lines * 128, 1700, 2).into_iter().map(|x| x as f32 / 100.0 - 0.5).collect();
        let query: Vec<i8> = positions.iter().map(|&x| u4_query_level(x)).collect();
        let level = |row: usize, i: usize| {
            let byte = codes[row * lines * 64 + i / 128 * 64 + i % 64];
            i32::from(if i % 128 < 64 { byte & 15 } else { byte >> 4 })
        };
        let expected: Vec<f64> = (0..ROWS)
            .map(|row| (0..lines * 128).map(|i| f64::from((8 * level(row, i) - i32::from(query[i])).pow(2))).sum())
            .collect();
        // Sums of integers, rounded once.
        check("u4", &expected, 0.0, |kernels, ids, out| kernels.u4_by_id(&query, &codes, ids, out));
    }
}

#[test]
fn seven_bit_codes_are_compared_exactly() {
    for lines in [1, 2, 5, 24] {
        let (codes, query) = (bytes(ROWS * lines * 64, 128, 3), bytes(lines * 64, 128, 4));
        let expected: Vec<f64> = codes
            .chunks(lines * 64)
            .map(|row| row.iter().zip(&query).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum())
            .collect();
        check("u7", &expected, 0.0, |kernels, ids, out| kernels.u7_by_id(&query, &codes, ids, out));
    }
}

#[test]
fn eight_bit_codes_meet_a_query_of_numbers() {
    for lines in [1, 2, 24] {
        let codes = bytes(ROWS * lines * 64, 256, 5);
        for scale in [1.0, 7.3] {
            let query: Vec<f32> = bytes(lines * 64, 256, 6).into_iter().map(|x| f32::from(x) / scale).collect();
            let expected: Vec<f64> = codes
                .chunks(lines * 64)
                .map(|row| row.iter().zip(&query).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum())
                .collect();
            // Whole numbers are exact as long as the sum stays below 2^24.
            let tolerance = if scale == 1.0 && lines <= 2 { 0.0 } else { 1e-5 };
            check("u8", &expected, tolerance, |kernels, ids, out| kernels.u8_by_id(&query, &codes, ids, out));
        }
    }
}

#[test]
fn half_precision_codes_meet_a_query_of_numbers() {
    let lines = 3;
    // 1.0 and the 1023 numbers after it, and their negatives: bits 0x3c00 and up.
    let codes: Vec<u16> =
        numbers(ROWS * lines * 32, 1024, 7).into_iter().map(|x| 0x3c00 + x as u16 + ((x as u16 & 1) << 15)).collect();
    let query: Vec<f32> = numbers(lines * 32, 4000, 8).into_iter().map(|x| x as f32 / 1000.0 - 2.0).collect();
    let expected = |number: fn(u16) -> f64| -> Vec<f64> {
        let squares = |row: &[u16]| row.iter().zip(&query).map(|(&c, &q)| (number(c) - f64::from(q)).powi(2)).sum();
        codes.chunks(lines * 32).map(squares).collect()
    };
    let f16 = expected(|bits| (1.0 + f64::from(bits & 0x3ff) / 1024.0) * (1.0 - 2.0 * f64::from(bits >> 15)));
    check("f16", &f16, 1e-5, |kernels, ids, out| kernels.f16_by_id(&query, &codes, ids, out));
    // The same bits: from 2^-7 up to nearly 2.
    let bf16 = expected(|bits| f64::from(f32::from_bits(u32::from(bits) << 16)));
    check("bf16", &bf16, 1e-5, |kernels, ids, out| kernels.bf16_by_id(&query, &codes, ids, out));
}

#[test]
fn integers_at_their_ends_overflow_nowhere() {
    for lines in [1, 24] {
        let width = lines * 64;
        for (code, query) in [(255, 127), (255, -127), (0, -127), (0, 127)] {
            let codes = vec![code; width];
            let (level, high) = (f64::from(code), f64::from(code >> 4));
            let expected = |terms: usize, term: f64| [terms as f64 * term];
            check("dot8", &expected(width, level * f64::from(query)), 0.0, |kernels, ids, out| {
                kernels.dot8_by_id(&vec![query; width], &codes, ids, out);
            });
            check("dot4", &expected(2 * width, high * f64::from(query)), 0.0, |kernels, ids, out| {
                kernels.dot4_by_id(&vec![query; 2 * width], &codes, ids, out);
            });
            check("dot1", &expected(8 * width, high), 0.0, |kernels, ids, out| {
                kernels.dot1_by_id(&vec![255; 4 * width], &codes, ids, out);
            });
            let query = if query < 0 { -4 } else { 123 };
            check("u4", &expected(2 * width, (8.0 * high - f64::from(query)).powi(2)), 0.0, |kernels, ids, out| {
                kernels.u4_by_id(&vec![query; 2 * width], &codes, ids, out);
            });
            check("u7", &expected(width, 127.0 * 127.0), 0.0, |kernels, ids, out| {
                kernels.u7_by_id(&vec![127 - code / 2; width], &vec![code / 2; width], ids, out);
            });
        }
    }
}

#[test]
fn products_of_unsigned_and_signed_bytes_are_exact_also_at_the_ends() {
    for (lines, vectors, rows) in [(1, 1, 3), (2, 5, 8), (24, 4, 19)] {
        let width = lines * 64;
        let mut levels = bytes(vectors * width, 256, 9);
        levels[0] = 255;
        let mut matrix: Vec<i8> = numbers(rows * width, 255, 10).into_iter().map(|x| (x as i32 - 127) as i8).collect();
        matrix[0] = -127;
        let product = |vector: &[u8], row: &[i8]| -> i32 {
            row.iter().zip(vector).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
        };
        let expected: Vec<i32> =
            levels.chunks(width).flat_map(|vector| matrix.chunks(width).map(move |row| product(vector, row))).collect();
        for kernels in available_codes() {
            let mut out = vec![0; vectors * rows];
            kernels.u8i8_products(&levels, &matrix, width, &mut out);
            assert_eq!(out, expected, "{}", kernels.tier());
        }
    }
}

#[test]
fn products_with_codes_of_one_four_and_eight_bits_are_exact() {
    for lines in [1, 2, 7] {
        let codes = bytes(ROWS * lines * 64, 256, 21);
        let row = |row: usize| &codes[row * lines * 64..][..lines * 64];
        let query: Vec<i8> = numbers(lines * 128, 255, 22).into_iter().map(|x| (x as i32 - 127) as i8).collect();
        let sum = |products: &mut dyn Iterator<Item = i32>| f64::from(products.sum::<i32>());
        let dot8: Vec<f64> = (0..ROWS)
            .map(|r| sum(&mut row(r).iter().zip(&query).map(|(&c, &q)| i32::from(c) * i32::from(q))))
            .collect();
        check("dot8", &dot8, 0.0, |k, ids, out| k.dot8_by_id(&query[..lines * 64], &codes, ids, out));
        let level = |r: usize, i: usize| {
            let byte = row(r)[i / 128 * 64 + i % 64];
            i32::from(if i % 128 < 64 { byte & 15 } else { byte >> 4 })
        };
        let dot4: Vec<f64> =
            (0..ROWS).map(|r| sum(&mut (0..lines * 128).map(|i| level(r, i) * i32::from(query[i])))).collect();
        check("dot4", &dot4, 0.0, |k, ids, out| k.dot4_by_id(&query, &codes, ids, out));
        let planes = bytes(lines * 256, 256, 23);
        let number = |i: usize| -> i32 {
            let plane = |p: usize| i32::from(planes[i / 512 * 256 + p * 64 + i % 512 / 8] >> (i % 8) & 1);
            (0..4).map(|p| plane(p) << p).sum()
        };
        let dot1: Vec<f64> = (0..ROWS)
            .map(|r| sum(&mut (0..lines * 512).map(|i| i32::from(row(r)[i / 8] >> (i % 8) & 1) * number(i))))
            .collect();
        check("dot1", &dot1, 0.0, |k, ids, out| k.dot1_by_id(&planes, &codes, ids, out));
    }
}

#[test]
fn products_with_levels_in_planes_are_exact_at_every_number_of_bits() {
    for bits in 1..=7 {
        for (groups, rest) in [(1, 0), (2, 12), (5, 60), (24, 13)] {
            let row_bytes = groups * 8 * bits as usize + rest;
            let mut codes = bytes(ROWS * row_bytes, 256, 24 + u64::from(bits));
            // Also the largest levels only, against the largest numbers.
            codes[..row_bytes].fill(255);
            let mut query: Vec<i8> =
                numbers(groups * 64, 255, 25).into_iter().map(|x| (x as i32 - 127) as i8).collect();
            query[..32].fill(127);
            query[32..64].fill(-127);
            let level = |row: usize, i: usize| -> i32 {
                let plane = |p: u32| row * row_bytes + (i / 64 * bits as usize + p as usize) * 8;
                (0..bits).map(|p| i32::from(codes[plane(p) + i % 64 / 8] >> (i % 8) & 1) << p).sum()
            };
            let product = |row| (0..groups * 64).map(|i| level(row, i) * i32::from(query[i])).sum::<i32>();
            let expected: Vec<f64> = (0..ROWS).map(|row| f64::from(product(row))).collect();
            let rows = PlaneRows { codes: &codes, row_bytes, bits };
            check("planes", &expected, 0.0, |k, ids, out| k.planes_by_id(&query, rows, ids, out));
        }
    }
}

#[test]
#[should_panic(expected = "a query of 64 numbers does not meet rows of 23 bytes with 3 bits, 1 to 7, for each of 64")]
fn planes_beyond_their_row_are_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.planes_by_id(&[0; 64], PlaneRows { codes: &[0; 23], row_bytes: 23, bits: 3 }, &[0], &mut [0.0]);
}

#[test]
#[should_panic(expected = "a query of 64 numbers does not meet rows of 64 bytes with 8 bits, 1 to 7, for each of 64")]
fn planes_of_whole_bytes_are_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.planes_by_id(&[0; 64], PlaneRows { codes: &[0; 64], row_bytes: 64, bits: 8 }, &[0], &mut [0.0]);
}

#[test]
fn products_for_a_sieve_are_within_their_error() {
    let floats = |count: usize, seed: u64| -> Vec<f32> {
        numbers(count, 2001, seed).into_iter().map(|x| x as f32 / 1000.0 - 1.0).collect()
    };
    for (queries, rows, d) in [(1, 1, 1), (4, 6, 16), (17, 7, 19), (70, 40, 128), (64, 13, 300), (3, 26, 1537)] {
        let (a, b) = (floats(queries * d, 41), floats(rows * d, 42));
        for kernels in available_codes() {
            let mut columns = Columns::default();
            columns.fill(&a, d);
            let count = columns.count();
            let mut out = vec![f32::NAN; rows * count];
            kernels.products_tile(&columns, &b, &mut out);
            for (i, &found) in out.iter().enumerate() {
                if i % count >= queries {
                    assert_eq!(found, 0.0, "{} {d}", kernels.tier());
                    continue;
                }
                let (q, x) = (&a[i % count * d..][..d], &b[i / count * d..][..d]);
                let exact: f64 = q.iter().zip(x).map(|(&q, &x)| f64::from(q) * f64::from(x)).sum();
                let lengths = [q, x].map(|v| v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt());
                let most = f64::from(products_error(d)) * lengths[0] * lengths[1];
                assert!((f64::from(found) - exact).abs() <= most, "{} {d}: {found} for {exact}", kernels.tier());
            }
        }
    }
}

/// What a projection relies on: codes of a vector are the same on all CPUs, and whether it comes alone or with others.
#[test]
fn products_for_a_sieve_are_the_same_wherever_multiply_adds_are_fused() {
    let floats = |count: usize, seed: u64| -> Vec<f32> {
        numbers(count, 2001, seed).into_iter().map(|x| x as f32 / 1000.0 - 1.0).collect()
    };
    for (columns, rows, d) in [(16, 13, 100), (48, 25, 129), (256, 7, 384), (112, 12, 1536)] {
        let (columns, rows) = (Columns::of(&floats(columns * d, 43), d), floats(rows * d, 44));
        let fused = || available_codes().filter(|kernels| kernels.tier() != Tier::Portable);
        let products = |kernels: &CodeKernels, rows: &[f32]| {
            let mut out = vec![f32::NAN; rows.len() / d * columns.count()];
            kernels.products_tile(&columns, rows, &mut out);
            out.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        let Some(expected) = fused().next().map(|kernels| products(kernels, &rows)) else { return };
        for kernels in fused() {
            assert_eq!(products(kernels, &rows), expected, "{} {d}", kernels.tier());
            let alone: Vec<u32> = rows.chunks(d).flat_map(|row| products(kernels, row)).collect();
            assert_eq!(alone, expected, "{} {d}", kernels.tier());
        }
    }
}

#[test]
#[should_panic(expected = "rows of 6 components and 16 columns of 2 do not make 5 products")]
fn products_for_a_sieve_without_room_are_refused() {
    let mut columns = Columns::default();
    columns.fill(&[0.0; 4], 2);
    available_codes().next().expect("there is always one").products_tile(&columns, &[0.0; 6], &mut [0.0; 5]);
}

#[test]
#[should_panic(expected = "5 components are no vectors of 2")]
fn columns_of_half_a_vector_are_refused() {
    Columns::default().fill(&[0.0; 5], 2);
}

#[test]
fn levels_are_the_same_on_every_tier_whatever_the_number() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, 1e-40];
    for len in [0, 1, 15, 16, 17, 31, 32, 33, 64, 100, 1537] {
        let mut vector: Vec<f32> = numbers(len, 4001, 51).into_iter().map(|x| x as f32 / 1000.0 - 2.0).collect();
        let offset: Vec<f32> = numbers(len, 1001, 52).into_iter().map(|x| x as f32 / 1000.0 - 1.5).collect();
        vector.iter_mut().step_by(5).zip(odd.iter().cycle()).for_each(|(x, &odd)| *x = odd);
        for (per_step, highest) in [(4.0, 15), (50.0, 127), (0.3, 255), (100.0, 255), (f32::INFINITY, 15)] {
            let expected: Vec<u8> = vector
                .iter()
                .zip(&offset)
                .map(|(x, offset)| ((x - offset) * per_step).clamp(0.0, f32::from(highest)) as u8)
                .collect();
            for kernels in available_codes() {
                let mut found = vec![77; len];
                kernels.levels(&vector, (&offset, per_step, highest), &mut found);
                assert_eq!(found, expected, "{} {len} {per_step}", kernels.tier());
            }
        }
    }
}

#[test]
#[should_panic(expected = "3 components, 2 offsets and room for 3 levels: the lengths must be equal")]
fn levels_without_their_offsets_are_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.levels(&[0.0; 3], (&[0.0; 2], 1.0, 15), &mut [0; 3]);
}

#[test]
fn the_hadamard_transform_is_the_sum_with_the_signs_of_its_matrix() {
    for len in [1_usize, 2, 8, 16, 32, 256] {
        let vector: Vec<f32> = numbers(len, 1000, 31).into_iter().map(|x| x as f32 - 500.0).collect();
        let sign = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        let expected: Vec<f32> = (0..len).map(|i| (0..len).map(|j| sign(i, j) * vector[j]).sum()).collect();
        for kernels in available_codes() {
            let mut found = vector.clone();
            kernels.hadamard(&mut found);
            // Whole numbers far below 2^24: every order of summation is exact.
            assert_eq!(found, expected, "{} {len}", kernels.tier());
        }
    }
}

#[test]
#[should_panic(expected = "24 components are no power of two")]
fn a_hadamard_transform_of_another_length_is_refused() {
    available_codes().next().expect("there is always one").hadamard(&mut [0.0; 24]);
}

#[test]
#[should_panic(expected = "id 4 names no row of 256 elements in rows of 64")]
fn an_id_without_a_row_is_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.u7_by_id(&[0; 64], &[0; 256], &[0, 4], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "a query of 100 elements, 1 ids and room for 1 scores")]
fn a_query_that_is_no_whole_lines_is_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.u7_by_id(&[0; 100], &[0; 128], &[0], &mut [0.0]);
}

#[test]
#[should_panic(expected = "64 levels and 64 numbers in rows of 64 do not make 2 products")]
fn products_without_their_rows_are_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.u8i8_products(&[0; 64], &[0; 64], 64, &mut [0; 2]);
}

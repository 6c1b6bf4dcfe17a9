//! Tiles: many vectors against many.

use nearlab_simd::{Columns, TileColumns, available_codes};

use super::bytes;

#[test]
fn a_tile_orders_columns_as_their_distances_do() {
    // Of rows as many as make one of AMX's tiles, two, and several pairs, and some more or fewer.
    let few = [(1, 1, 1), (2, 5, 16), (2, 9, 33), (24, 4, 50)];
    let many = [15, 16, 17, 31, 32, 33, 65].into_iter().flat_map(|rows| [(1, rows, 16), (3, rows, 40)]);
    for (lines, rows, columns) in few.into_iter().chain(many) {
        let width = lines * 64;
        let (a, b) = (bytes(rows * width, 128, 11), bytes(columns * width, 128, 12));
        let mut tile = TileColumns::default();
        tile.fill(&b, width);
        assert_eq!(tile.count(), columns.next_multiple_of(16));
        for kernels in available_codes() {
            let mut out = vec![0; rows * tile.count()];
            kernels.u7_tile(&a, &tile, &mut out);
            for (row, scores) in a.chunks(width).zip(out.chunks(tile.count())) {
                let length: i32 = row.iter().map(|&x| i32::from(x).pow(2)).sum();
                for (column, &score) in b.chunks(width).zip(scores) {
                    let squares = row.iter().zip(column).map(|(&a, &b)| (i32::from(a) - i32::from(b)).pow(2));
                    assert_eq!(score + length, squares.sum::<i32>(), "{}", kernels.tier());
                }
                assert!(scores[columns..].iter().all(|&score| score == i32::MAX));
            }
        }
    }
}

#[test]
fn tiles_are_scored_on_several_threads_at_once() {
    let (rows, columns) = (bytes(40 * 128, 128, 13), bytes(48 * 128, 128, 14));
    let mut tile = TileColumns::default();
    tile.fill(&columns, 128);
    for kernels in available_codes() {
        let scores = || {
            let mut out = vec![0; 40 * tile.count()];
            (0..20).for_each(|_| kernels.u7_tile(&rows, &tile, &mut out));
            out
        };
        let expected = scores();
        std::thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(scores));
            for thread in threads {
                assert_eq!(thread.join().unwrap(), expected, "{}", kernels.tier());
            }
        });
    }
}

#[test]
fn nothing_with_nothing_makes_nothing_on_every_tier() {
    let mut tile = TileColumns::default();
    tile.fill(&[1; 17 * 64], 64);
    let columns = Columns::of(&[1.0; 40], 2);
    for kernels in available_codes() {
        kernels.u7_tile(&[], &tile, &mut []);
        for rows in [1, 2, 3, 5, 8] {
            kernels.u8i8_products(&[], &vec![1; rows * 64], 64, &mut []);
        }
        kernels.u8i8_products(&[1; 64], &[], 64, &mut []);
        kernels.products_tile(&columns, &[], &mut []);
        kernels.u4_by_id(&[0; 128], &[0; 64], &[], &mut []);
        kernels.u8_by_id(&[0.0; 64], &[0; 64], &[], &mut []);
    }
}

#[test]
#[should_panic(expected = "do not make 3 scores")]
fn a_tile_without_room_is_refused() {
    let mut columns = TileColumns::default();
    columns.fill(&[0; 64], 64);
    let kernels = available_codes().next().expect("there is always one");
    kernels.u7_tile(&[0; 64], &columns, &mut [0; 3]);
}

#[test]
#[should_panic(expected = "65 levels are no whole rows of 64")]
fn columns_that_are_no_whole_rows_are_refused() {
    TileColumns::default().fill(&[0; 65], 64);
}

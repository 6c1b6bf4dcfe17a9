//! Picking from scores.

use nearlab_simd::{available_codes, score_and_place};

use super::numbers;

#[test]
fn the_smallest_scores_come_first_and_ties_by_place() {
    let spread = |count: usize, bound: u32| -> Vec<i32> {
        numbers(count, bound, 13).into_iter().map(|x| x as i32 - bound as i32 / 2).collect()
    };
    let ends = vec![i32::MAX, i32::MIN, 0, i32::MAX, i32::MIN, -1];
    let sets = [0, 1, 15, 16, 63, 64, 65, 79, 300, 2700].map(|count| spread(count, 1000));
    let alike = [spread(500, 3), vec![7; 200], vec![i32::MAX; 70], spread(3000, u32::MAX / 4), ends];
    for scores in sets.into_iter().chain(alike) {
        let mut expected: Vec<(i32, usize)> = scores.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        for k in [1, 3, 17, 63, 64, 65, 400] {
            for kernels in available_codes() {
                let mut keys = vec![5];
                kernels.smallest(&scores, k, &mut keys);
                let found: Vec<_> = keys.iter().map(|&key| score_and_place(key)).collect();
                assert_eq!(found, expected[..k.min(scores.len())], "{} {} {k}", kernels.tier(), scores.len());
            }
        }
    }
}

#[test]
#[should_panic(expected = "the smallest of no scores")]
fn the_smallest_of_none_are_refused() {
    available_codes().next().expect("there is always one").smallest(&[1], 0, &mut vec![]);
}

#[test]
fn products_that_reach_their_floor_are_marked() {
    let products: Vec<f32> = (0..64).map(|i| (i * 37 % 64) as f32).collect();
    let (flat, steep): (Vec<f32>, Vec<f32>) = (0..64).map(|i| ((i % 5) as f32, (i % 3) as f32)).unzip();
    for (len, height, length) in [(0, 1.0, 1.0), (5, 30.0, 2.0), (16, 40.0, 0.0), (23, -9.0, 4.0), (64, 35.5, 1.5)] {
        let reaches = |i: usize| products[i] >= height - flat[i] - steep[i] * length;
        let expected = (0..len).map(|i| u64::from(reaches(i)) << i).sum::<u64>();
        for kernels in available_codes() {
            let lines = (&flat[..len], &steep[..len]);
            assert_eq!(kernels.reaching(&products[..len], lines, (height, length)), expected, "{}", kernels.tier());
            let unknown = vec![f32::NAN; len];
            let all = kernels.reaching(&products[..len], (&unknown, &steep[..len]), (height, length));
            assert_eq!(all.count_ones() as usize, len, "{}", kernels.tier());
        }
    }
}

#[test]
#[should_panic(expected = "1 products, of at most 64, do not meet 2 and 1 lines")]
fn products_without_their_lines_are_refused() {
    let kernels = available_codes().next().expect("there is always one");
    kernels.reaching(&[0.0], (&[0.0; 2], &[0.0]), (0.0, 0.0));
}

#[test]
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is not above anything")]
fn scores_within_a_bound_are_marked() {
    for count in [0, 1, 7, 8, 15, 16, 17, 31, 33, 63, 64] {
        let mut scores: Vec<f32> = (0..count).map(|i| ((i * 37) % 64) as f32 - 20.0).collect();
        if count > 5 {
            scores[5] = f32::NAN;
        }
        for bound in [-21.0, 3.0, f32::INFINITY] {
            let expected =
                scores.iter().enumerate().fold(0, |bits, (i, &score)| bits | u64::from(!(score > bound)) << i);
            for kernels in available_codes() {
                assert_eq!(kernels.within(&scores, bound), expected, "{} {count} {bound}", kernels.tier());
            }
        }
    }
}

#[test]
fn keys_are_inserted_in_order_at_every_place() {
    for held in 0..40_u64 {
        // Even keys, some twice, with the highest bit set in the upper half.
        let key = |i: u64| (i - i % 5 / 4) * 2 + (u64::from(i > held / 2) << 63);
        let sorted: Vec<u64> = (0..held).map(key).collect();
        assert!(sorted.is_sorted());
        let wanted = sorted.iter().flat_map(|&key| [key, key + 1]).chain([0, u64::MAX]);
        for key in wanted {
            for kernels in available_codes() {
                let mut keys = sorted.clone();
                keys.push(7);
                let place = kernels.insert_key(&mut keys, key);
                let expected = sorted.partition_point(|&other| other < key);
                assert_eq!(place, expected, "{} {held} {key}", kernels.tier());
                assert_eq!(keys[place], key);
                keys.remove(place);
                assert_eq!(keys, sorted, "{} {held} {key}", kernels.tier());
            }
        }
    }
}

#[test]
#[should_panic(expected = "there is no room for a key")]
fn a_key_without_room_is_refused() {
    available_codes().next().expect("there is always one").insert_key(&mut [], 1);
}

#[test]
#[should_panic(expected = "65 scores are more than 64")]
fn more_scores_than_bits_are_refused() {
    available_codes().next().expect("there is always one").within(&[0.0; 65], 1.0);
}

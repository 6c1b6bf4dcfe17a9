//! Shapes that do not fit are the caller's mistake: every tier refuses them with a sentence, before reading anything.

use std::panic::catch_unwind;

use nearlab_simd::{Kernels, Metric, available};

/// Asserts that `call` panics, for every tier, with a message that holds `sentence`.
fn assert_refused(sentence: &str, call: impl Fn(&Kernels) + std::panic::RefUnwindSafe) {
    for kernels in available() {
        let tier = kernels.tier();
        let payload = catch_unwind(|| {
            let kernels = available().find(|kernels| kernels.tier() == tier).expect("the tier was just listed");
            call(kernels);
        })
        .expect_err("the call must panic");
        let message = payload.downcast_ref::<String>().expect("the panic has a formatted message");
        assert!(message.contains(sentence), "{tier}: {message}");
    }
}

#[test]
fn a_pair_of_different_lengths_is_refused() {
    assert_refused("two vectors of 3 and 4 elements have no distance", |kernels| {
        kernels.l2(&[0.0; 3], &[0.0; 4]);
    });
    assert_refused("two vectors of 4 and 3 elements have no distance", |kernels| {
        kernels.distance(Metric::Cosine)(&[0.0; 4], &[0.0; 3]);
    });
}

#[test]
fn rows_that_are_not_one_for_each_score_are_refused() {
    for floats in [5, 7, 0, 8] {
        assert_refused("3 scores of a query of 2 elements need rows of 3 x 2 floats", |kernels| {
            kernels.l2_many(&[0.0; 2], &vec![0.0; floats], &mut [0.0; 3]);
        });
    }
}

#[test]
fn ids_that_are_not_one_for_each_score_are_refused() {
    assert_refused("2 ids give 2 scores, but there is room for 3", |kernels| {
        kernels.distances_by_id(Metric::L2, &[0.0], &[0.0; 9], &[1, 2], &mut [0.0; 3]);
    });
}

#[test]
fn an_id_beyond_the_base_is_refused_wherever_it_stands() {
    for place in 0..9 {
        let mut ids = [0; 9];
        ids[place] = 5;
        assert_refused("id 5 names no row of 10 elements in rows of 2", |kernels| {
            kernels.distances_by_id(Metric::InnerProduct, &[0.0; 2], &[0.0; 10], &ids, &mut [0.0; 9]);
        });
    }
    assert_refused("id 4294967295 names no row", |kernels| {
        kernels.distances_by_id(Metric::L2, &[0.0; 2], &[0.0; 10], &[u32::MAX], &mut [0.0]);
    });
}

#[test]
fn a_tile_whose_sides_do_not_make_its_scores_is_refused() {
    for (queries, rows, d, out) in [(4, 6, 2, 5), (5, 6, 2, 6), (4, 7, 2, 6), (4, 6, 0, 6), (0, 0, 0, 0)] {
        let sentence = format!("queries of {queries} floats and rows of {rows} floats, {d} elements each");
        assert_refused(&sentence, |kernels| {
            kernels.inner_product_tile(&vec![0.0; queries], &vec![0.0; rows], d, &mut vec![0.0; out]);
        });
    }
}

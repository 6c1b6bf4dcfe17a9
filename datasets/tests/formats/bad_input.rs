//! Everything a data file can be wrong in, and the sentence that says so.

use std::fs;

use nearlab_datasets::{Files, PrepareOptions, QuerySplit, Source};
use nearlab_simd::Metric;
use rust_hdf5::H5File;

use super::set::{Set, Workplace, fixture, quickstart};

fn options() -> PrepareOptions {
    PrepareOptions { truth_k: 1, ..PrepareOptions::default() }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

#[test]
fn a_truncated_file_is_refused_wherever_it_is_cut() {
    for path in [quickstart(), fixture("contiguous.hdf5"), fixture("latest.hdf5")] {
        let whole = fs::read(path).unwrap();
        for share in [0, 5, 20, 50, 90, 99] {
            let place = Workplace::new();
            fs::write(place.path("cut.hdf5"), &whole[..whole.len() * share / 100]).unwrap();
            let message = place.refused("cut.hdf5", &options());
            assert_says(&message, &["cut.hdf5: ", "expected", "found"]);
            if share > 0 {
                let found = whole.len() * share / 100;
                assert_says(
                    &message,
                    &[&format!("the file is truncated: expected {} bytes, found {found}", whole.len())],
                );
            }
        }
    }
}

#[test]
fn contiguous_data_that_ends_early_is_named_with_both_lengths() {
    let place = Workplace::new();
    let path = place.path("cut.fbin");
    let mut bytes = vec![10, 0, 0, 0, 4, 0, 0, 0];
    bytes.extend([0; 100]);
    fs::write(&path, bytes).unwrap();
    let files = Files { train: "cut.fbin".into(), test: "cut.fbin".into(), neighbors: None, metric: Metric::L2 };
    let message = place.refused(files, &options());
    assert_says(&message, &["cut.fbin: `rows` (10 x 4 f32) is truncated: expected 168 bytes, found 108"]);
}

#[test]
fn a_file_that_is_not_hdf5_is_refused_with_what_it_begins_with() {
    let place = Workplace::new();
    fs::write(place.path("page.hdf5"), "<!DOCTYPE html>\n".repeat(100)).unwrap();
    let message = place.refused("page.hdf5", &options());
    assert_says(&message, &["page.hdf5: first bytes: expected the HDF5 signature", "found `<!DOCTYP`"]);
    fs::write(place.path("empty.hdf5"), "").unwrap();
    assert_says(&place.refused("empty.hdf5", &options()), &["found 0 bytes"]);
}

#[test]
fn a_missing_data_set_says_where_it_was_looked_for() {
    let place = Workplace::new();
    let message = place.refused("sift-129-euclidean", &options());
    assert_says(&message, &["no data set `sift-129-euclidean`", "did you mean", "sift-128-euclidean"]);
    let message = place.refused("data/nowhere.hdf5", &options());
    assert_says(&message, &["data/nowhere.hdf5 or data/nowhere.hdf5)", "found neither"]);
    let files = Files { train: "a.npy".into(), test: "b.npy".into(), neighbors: None, metric: Metric::L2 };
    assert_says(&place.refused(files, &options()), &["no data set `a.npy`"]);
}

#[test]
fn an_unknown_extension_lists_the_known_ones() {
    let place = Workplace::new();
    fs::write(place.path("a.csv"), "1,2\n").unwrap();
    assert_says(&place.refused("a.csv", &options()), &["a.csv: file extension: expected one of .hdf5", "found .csv"]);
}

#[test]
fn files_without_the_needed_matrices_list_those_they_have() {
    let place = Workplace::new();
    let file = H5File::create(place.path("other.hdf5")).unwrap();
    file.new_dataset::<f32>().shape([2, 2]).create("vectors").unwrap().write_raw(&[0f32; 4]).unwrap();
    file.close().unwrap();
    let message = place.refused("other.hdf5", &options());
    assert_says(&message, &["data sets: expected `train` (and `test`, `neighbors`, `distances`), found vectors"]);

    let file = H5File::create(place.path("base-euclidean.hdf5")).unwrap();
    file.new_dataset::<f32>().shape([2, 2]).create("train").unwrap().write_raw(&[0f32; 4]).unwrap();
    file.close().unwrap();
    let message = place.refused("base-euclidean.hdf5", &options());
    assert_says(&message, &["queries: expected `test` with at least one row, found no such matrix", "use: {train:"]);
}

#[test]
fn wrong_ranks_and_types_are_refused() {
    let place = Workplace::new();
    let file = H5File::create(place.path("flat.hdf5")).unwrap();
    file.new_dataset::<f32>().shape([8]).create("train").unwrap().write_raw(&[0f32; 8]).unwrap();
    file.close().unwrap();
    let message = place.refused("flat.hdf5", &options());
    assert_says(&message, &["rank of `train`: expected 2 (rows x columns), found 1 (8)"]);

    let file = H5File::create(place.path("complex.hdf5")).unwrap();
    let zero = rust_hdf5::Complex32 { re: 0.0, im: 0.0 };
    file.new_dataset::<rust_hdf5::Complex32>().shape([1, 1]).create("train").unwrap().write_raw(&[zero]).unwrap();
    file.close().unwrap();
    let message = place.refused("complex.hdf5", &options());
    assert_says(&message, &["element type of `train`: expected integers or IEEE floats, found"]);
}

#[test]
fn metrics_and_kinds_that_nearlab_does_not_have_are_refused() {
    let message = Set { distance: Some("hamming"), ..Set::line() }.refused();
    assert_says(&message, &["attribute `distance`: expected euclidean, angular or ip, found hamming"]);
    let place = Workplace::new();
    let file = H5File::create(place.path("sparse.hdf5")).unwrap();
    file.set_attr_string("type", "sparse").unwrap();
    file.new_dataset::<f32>().shape([1, 1]).create("train").unwrap().write_raw(&[0f32]).unwrap();
    file.close().unwrap();
    let message = place.refused("sparse.hdf5", &options());
    assert_says(&message, &["attribute `type`: expected dense vectors, found sparse"]);
}

#[test]
fn a_metric_must_be_known_and_agreed() {
    let silent = Set { distance: None, ..Set::line() };
    assert_says(&silent.refused(), &["set.hdf5: metric: expected an attribute `distance`", "found neither"]);
    let asked = PrepareOptions { metric: Some(Metric::Cosine), ..options() };
    let message = Set::line().refused_with(&asked);
    assert_says(&message, &["metric: expected cosine as the experiment says, found l2 (`euclidean`)"]);
}

#[test]
fn values_that_are_not_finite_are_named_by_matrix_row_and_column() {
    let mut set = Set::line();
    set.train[7] = f32::NAN;
    assert_says(&set.refused(), &["set.hdf5: `train` row 3, column 1: expected a finite number, found NaN"]);
    let mut set = Set::line();
    set.test[4] = f32::INFINITY;
    assert_says(&set.refused(), &["`test` row 2, column 0: expected a finite number, found inf"]);
    let mut set = Set::line();
    set.distances.as_mut().unwrap()[1] = f32::NAN;
    assert_says(&set.refused(), &["`distances` row 0, column 1: expected a finite number, found NaN"]);
}

#[test]
fn zero_queries_and_zero_base_vectors_are_refused() {
    let none = Set { test: vec![], neighbors: None, distances: None, ..Set::line() };
    assert_says(&none.refused(), &["queries: expected `test` with at least one row, found 0 rows"]);
    let none = Set { train: vec![], neighbors: None, distances: None, ..Set::line() };
    assert_says(&none.refused(), &["`train`: expected at least one row, found 0"]);
}

#[test]
fn vectors_of_another_dimension_are_refused() {
    let message = Set { test_d: 3, test: vec![0.0; 9], ..Set::line() }.refused();
    assert_says(&message, &["shape of `test`: expected 2 columns like the base vectors in `train`, found 3"]);
}

#[test]
fn truth_of_another_shape_is_refused() {
    let message = Set { neighbors: Some(vec![0, 1, 2, 1]), distances: None, ..Set::line() }.refused();
    assert_says(&message, &["shape of `neighbors`: expected 3 rows, one per query, found 2 x 2"]);
    let message = Set { k: 7, neighbors: Some(vec![0; 21]), distances: None, ..Set::line() }.refused();
    assert_says(
        &message,
        &["shape of `neighbors`: expected at most 6 columns, the number of base vectors, found 3 x 7"],
    );
    let message = Set { distances: Some(vec![0.0; 4]), ..Set::line() }.refused();
    assert_says(&message, &["shape of `distances`: expected 3 x 2 like `neighbors`, found 2 x 2"]);
}

#[test]
fn neighbours_outside_the_base_or_given_twice_are_refused() {
    let with = |ids: [i64; 6]| Set { neighbors: Some(ids.to_vec()), ..Set::line() }.refused();
    let message = with([0, 1, 2, 6, 5, 4]);
    assert_says(&message, &["`neighbors` row 1, column 1: expected a base vector, 0 to 5, found 6"]);
    assert_says(&with([0, 1, 2, 1, -1, 4]), &["row 2, column 0: expected a base vector, 0 to 5, found -1"]);
    assert_says(&with([0, 1 << 40, 2, 1, 5, 4]), &["found 1099511627776"]);
    assert_says(&with([0, 1, 2, 2, 5, 4]), &["row 1, column 1: expected each base vector once, found 2"]);
}

#[test]
fn more_neighbours_than_the_truth_or_the_base_has_are_refused() {
    let asked = |truth_k| Set::line().refused_with(&PrepareOptions { truth_k, ..options() });
    assert_says(&asked(3), &["`neighbors`: expected at least 3 columns for k = 3, found 2", "datasets truth"]);
    assert_says(&asked(7), &["k: expected at most 6, the number of base vectors, found 7"]);
}

#[test]
fn a_wrong_metric_is_an_error_that_names_the_one_that_fits() {
    let place = Workplace::new();
    let path = place.path("wrong.hdf5");
    for (attribute, file, fits) in
        [("euclidean", "angular.hdf5", "cosine, not l2"), ("angular", "contiguous.hdf5", "l2, not cosine")]
    {
        let (mut from, d) = (nearlab_datasets::DataFile::open(&fixture(file)).unwrap(), 6);
        let mut ids = Vec::new();
        from.neighbors.as_mut().unwrap().read_i64(0..4, &mut ids).unwrap();
        let mut set = Set {
            d,
            train: from.train.read_all_f32().unwrap(),
            test_d: d,
            test: from.test.unwrap().read_all_f32().unwrap(),
            k: 5,
            neighbors: Some(ids),
            distances: Some(from.distances.unwrap().read_all_f32().unwrap()),
            distance: Some(attribute),
        };
        set.write(&path);
        let message = place.refused("wrong.hdf5", &options());
        assert_says(&message, &["`distances` row 0, column 0: expected ", &format!("the stored truth fits {fits}")]);
        // Without distances the order of the neighbours still tells.
        set.distances = None;
        set.write(&path);
        let message = place.refused("wrong.hdf5", &options());
        assert_says(&message, &["`neighbors` row ", "is missing, found one at", &format!("fits {fits}")]);
    }
}

#[test]
fn missing_normalisation_is_an_error() {
    // Distances of an angular file computed as 1 - <a, b> on raw vectors.
    let set = Set {
        d: 2,
        train: vec![2.0, 0.0, 0.0, 3.0, -1.0, 0.0],
        test_d: 2,
        test: vec![0.5, 0.5],
        k: 2,
        neighbors: Some(vec![1, 0]),
        distances: Some(vec![1.0 - 1.5, 1.0 - 1.0]),
        distance: Some("angular"),
    };
    let message = set.refused();
    assert_says(&message, &["`distances` row 0, column 0: expected 0.292893, the cosine distance to base vector 1"]);
    assert_says(&message, &["vectors and truth differ in normalisation"]);
}

#[test]
fn a_wrong_distance_or_neighbour_is_found() {
    let mut set = Set::line();
    set.distances.as_mut().unwrap()[5] = 0.9;
    assert_says(&set.refused(), &["`distances` row 2, column 1: expected 0.750000", "found 0.900000"]);
    // The right distance of a neighbour that is not the second nearest.
    let mut set = Set::line();
    set.neighbors.as_mut().unwrap()[5] = 3;
    set.distances.as_mut().unwrap()[5] = 1.75;
    let message = set.refused();
    assert_says(&message, &["`neighbors` row 2, column 1", "base vector 4 at distance 0.750000 is missing"]);
}

#[test]
fn a_neighbour_that_is_farther_by_a_thousandth_is_found() {
    let set = Set {
        d: 1,
        train: vec![31.65, 31.62],
        test_d: 1,
        test: vec![0.0],
        k: 1,
        neighbors: Some(vec![0]),
        distances: None,
        ..Set::line()
    };
    assert_says(&set.refused(), &["`neighbors` row 0, column 0", "base vector 1 at distance 31.62"]);
}

#[test]
fn limits_and_splits_that_cannot_be_served_are_refused() {
    let with = |options: PrepareOptions| Set::line().refused_with(&options);
    assert_says(&with(PrepareOptions { limit: Some(0), ..options() }), &["`limit`: expected at least 1, found 0"]);
    let split = |report, calibrate| Some(QuerySplit { report, calibrate, seed: 1 });
    let message = with(PrepareOptions { queries: split(0, 1), ..options() });
    assert_says(&message, &["`queries`: expected report: at least 1, found report: 0"]);
    let message = with(PrepareOptions { queries: split(2, 2), ..options() });
    assert_says(&message, &["`queries`: expected at most 3 in all, as the file has, found report: 2 and calibrate: 2"]);
    let message = with(PrepareOptions { limit: Some(2), truth_k: 3, ..options() });
    assert_says(&message, &["k: expected at most 2, the number of base vectors, found 3"]);
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_with_its_path() {
    let place = Workplace::new();
    fs::write(place.path("cache"), "a file in its place").unwrap();
    Set::line().write(&place.path("set.hdf5"));
    let message = place.prepare("set.hdf5", &options()).err().unwrap().to_string();
    assert_says(&message, &["cache/prepared: cannot create the cache folder"]);
}

#[test]
fn names_that_are_no_files_are_told_apart_from_folders() {
    let place = Workplace::new();
    fs::create_dir(place.path("folder.hdf5")).unwrap();
    assert_says(&place.refused(Source::from("folder.hdf5"), &options()), &["no data set `folder.hdf5`"]);
}

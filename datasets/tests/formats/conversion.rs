use nearlab_datasets::{
    DataFile, Files, Source,
    convert::{ConvertOptions, Matrix, convert},
    hdf5::Compression,
    verify::{Scope, verify},
};
use nearlab_simd::Metric;
use std::path::Path;

use super::set::{Heard, Set, Workplace, fixture, quickstart};

fn to(place: &Workplace, from: &str, name: &str, options: &ConvertOptions) -> String {
    let path = place.path(name);
    let from = place.path(from).to_str().unwrap().to_owned();
    match convert(from.as_str(), &path, options, &place.cache, &()) {
        Ok(()) => String::new(),
        Err(e) => {
            assert!(!path.exists(), "nothing is left of {name}");
            e.to_string()
        }
    }
}

fn line() -> Workplace {
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    place
}

fn vectors(place: &Workplace, name: &str) -> Vec<f32> {
    DataFile::open(&place.path(name)).unwrap().train.read_all_f32().unwrap()
}

#[test]
fn every_writable_format_gives_the_vectors_back() {
    let (place, set) = (line(), Set::line());
    for name in ["a.fvecs", "a.fbin", "a.npy"] {
        assert_eq!(to(&place, "set.hdf5", name, &ConvertOptions::default()), "");
        assert_eq!(vectors(&place, name), set.train, "{name}");
        let limited = ConvertOptions { limit: Some(2), matrix: Some(Matrix::Test), ..ConvertOptions::default() };
        assert_eq!(to(&place, "set.hdf5", name, &limited), "");
        assert_eq!(vectors(&place, name), set.test[..4], "{name}");
    }
    let ids: Vec<f32> = set.neighbors.unwrap().iter().map(|&id| id as f32).collect();
    for (name, matrix) in [("a.ivecs", None), ("a.ibin", None), ("ids.npy", Some(Matrix::Neighbors))] {
        assert_eq!(to(&place, "set.hdf5", name, &ConvertOptions { matrix, ..ConvertOptions::default() }), "");
        assert_eq!(vectors(&place, name), ids, "{name}");
        assert!(DataFile::open(&place.path(name)).unwrap().train.element().is_integer());
    }
    assert_eq!(to(&place, "a.ivecs", "b.ibin", &ConvertOptions::default()), "");
    assert_eq!(vectors(&place, "b.ibin"), ids);
    let distances = ConvertOptions { matrix: Some(Matrix::Distances), ..ConvertOptions::default() };
    assert_eq!(to(&place, "set.hdf5", "d.fbin", &distances), "");
    assert_eq!(vectors(&place, "d.fbin"), set.distances.unwrap());
}

#[test]
fn a_whole_set_survives_hdf5() {
    let place = Workplace::new();
    let options = ConvertOptions { compression: Compression::Gzip(1), ..ConvertOptions::default() };
    let path = place.path("copy.hdf5");
    let heard = Heard::default();
    convert(quickstart().to_str().unwrap(), &path, &options, &place.cache, &heard).unwrap();
    let (mut copy, mut original) = (DataFile::open(&path).unwrap(), DataFile::open(&quickstart()).unwrap());
    assert_eq!(copy.metric, original.metric);
    assert_eq!(copy.train.read_all_f32().unwrap(), original.train.read_all_f32().unwrap());
    let (mut ids, mut original_ids) = (Vec::new(), Vec::new());
    copy.neighbors.unwrap().read_i64(0..500, &mut ids).unwrap();
    original.neighbors.unwrap().read_i64(0..500, &mut original_ids).unwrap();
    assert_eq!(ids, original_ids);
    assert_eq!(copy.distances.unwrap().read_all_f32().unwrap(), original.distances.unwrap().read_all_f32().unwrap());
}

#[test]
fn truth_is_computed_where_asked_or_where_a_limit_makes_it_wrong() {
    let place = line();
    let k = |name: &str| DataFile::open(&place.path(name)).unwrap().neighbors.unwrap().dim();
    assert_eq!(to(&place, "set.hdf5", "a.hdf5", &ConvertOptions { truth_k: Some(5), ..ConvertOptions::default() }), "");
    assert_eq!(k("a.hdf5"), 5);
    assert_eq!(to(&place, "set.hdf5", "b.hdf5", &ConvertOptions { truth_k: Some(1), ..ConvertOptions::default() }), "");
    assert_eq!(k("b.hdf5"), 1);
    assert_eq!(to(&place, "set.hdf5", "c.hdf5", &ConvertOptions { limit: Some(4), ..ConvertOptions::default() }), "");
    assert_eq!(k("c.hdf5"), 2);
    let check = |name: &str| verify(name, place.folder.path(), Scope::Full, &place.cache, &()).unwrap();
    for name in ["a.hdf5", "b.hdf5", "c.hdf5"] {
        assert_eq!(check(name).truth_checked, 3);
    }
    assert_eq!(check("c.hdf5").n, 4);
}

#[test]
fn files_by_role_become_one_file() {
    let place = line();
    for (name, matrix) in [("b.fvecs", Matrix::Train), ("q.fbin", Matrix::Test), ("t.ibin", Matrix::Neighbors)] {
        to(&place, "set.hdf5", name, &ConvertOptions { matrix: Some(matrix), ..ConvertOptions::default() });
    }
    let files = Files {
        train: place.path("b.fvecs"),
        test: place.path("q.fbin"),
        neighbors: Some(place.path("t.ibin")),
        metric: Metric::L2,
    };
    let source = Source::from(files);
    convert(&source, &place.path("one.hdf5"), &ConvertOptions::default(), &place.cache, &()).unwrap();
    let mut one = DataFile::open(&place.path("one.hdf5")).unwrap();
    assert_eq!(one.test.take().unwrap().read_all_f32().unwrap(), Set::line().test);
    assert_eq!(one.distances.unwrap().read_all_f32().unwrap(), Set::line().distances.unwrap());
    let test = ConvertOptions { matrix: Some(Matrix::Test), ..ConvertOptions::default() };
    convert(&source, &place.path("q.npy"), &test, &place.cache, &()).unwrap();
    assert_eq!(vectors(&place, "q.npy"), Set::line().test);
    convert(&source, &place.path("t.ivecs"), &ConvertOptions::default(), &place.cache, &()).unwrap();
    assert_eq!(vectors(&place, "t.ivecs"), [0.0, 1.0, 2.0, 1.0, 5.0, 4.0]);
    let distances = ConvertOptions { matrix: Some(Matrix::Distances), ..ConvertOptions::default() };
    let message = convert(&source, &place.path("d.npy"), &distances, &place.cache, &()).unwrap_err().to_string();
    assert!(message.contains("matrix to convert: expected distances, found no such matrix"), "{message}");
}

#[test]
fn a_base_without_queries_becomes_a_base_without_queries() {
    let place = line();
    to(&place, "set.hdf5", "base.fvecs", &ConvertOptions::default());
    let message = to(&place, "base.fvecs", "base.hdf5", &ConvertOptions::default());
    assert!(message.contains("base.fvecs: metric: expected"), "{message}");
    let options = ConvertOptions { metric: Some(Metric::InnerProduct), limit: Some(4), ..ConvertOptions::default() };
    assert_eq!(to(&place, "base.fvecs", "base.hdf5", &options), "");
    let file = DataFile::open(&place.path("base.hdf5")).unwrap();
    assert_eq!((file.train.rows(), file.metric, file.test.is_none()), (4, Some(Metric::InnerProduct), true));
}

#[test]
fn a_metric_that_the_file_contradicts_is_refused() {
    let place = line();
    let without = Set { neighbors: None, distances: None, ..Set::line() };
    without.write(&place.path("euclidean.hdf5"));
    let options = ConvertOptions { metric: Some(Metric::Cosine), ..ConvertOptions::default() };
    assert!(!to(&place, "euclidean.hdf5", "a.hdf5", &options).is_empty());
}

#[test]
fn ids_that_floats_do_not_hold_are_refused() {
    let place = Workplace::new();
    let options = ConvertOptions { matrix: Some(Matrix::Neighbors), ..ConvertOptions::default() };
    // The largest rounds to 2^63, which saturates to the largest.
    for id in [16_777_217, i64::MAX] {
        Set { neighbors: Some(vec![0, 1, 2, id, 5, 4]), ..Set::line() }.write(&place.path("set.hdf5"));
        let message = to(&place, "set.hdf5", "a.fbin", &options);
        let expected = format!("row 1, column 1: expected a number that a float of 32 bits holds, found {id}");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_number_beyond_f32_is_named_by_its_row_in_the_whole_matrix() {
    use std::os::unix::fs::FileExt;
    // Rows so long that a block has four of them; what is not written reads as zeros.
    let (rows, d, place) = (6, 1 << 19, Workplace::new());
    let text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {d}), }}\n");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(text.len() as u16).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    let file = std::fs::File::create(place.path("long.npy")).unwrap();
    file.set_len((header.len() + rows * d * 8) as u64).unwrap();
    file.write_all_at(&header, 0).unwrap();
    file.write_all_at(&1e300f64.to_le_bytes(), (header.len() + (5 * d + 7) * 8) as u64).unwrap();
    let options = ConvertOptions { metric: Some(Metric::L2), ..ConvertOptions::default() };
    for name in ["a.fbin", "a.hdf5"] {
        let message = to(&place, "long.npy", name, &options);
        assert!(message.contains("`array` row 5, column 7: expected a finite number, found inf"), "{name}: {message}");
    }
}

#[test]
fn queries_of_their_own_are_taken_before_those_beside_the_base_vectors() {
    let place = line();
    let mut mine = Vec::new();
    nearlab_datasets::xbin::write_header(&mut mine, 1, 2).unwrap();
    mine.extend_from_slice(bytemuck::cast_slice(&[1.0_f32, 4.0]));
    std::fs::write(place.path("mine.fbin"), mine).unwrap();
    let files =
        Files { train: place.path("set.hdf5"), test: place.path("mine.fbin"), neighbors: None, metric: Metric::L2 };
    let source = Source::from(files);
    convert(&source, &place.path("one.hdf5"), &ConvertOptions::default(), &place.cache, &()).unwrap();
    let mut one = DataFile::open(&place.path("one.hdf5")).unwrap();
    assert_eq!(one.test.take().unwrap().read_all_f32().unwrap(), [1.0, 4.0]);
    let mut nearest = Vec::new();
    one.neighbors.unwrap().read_i64(0..1, &mut nearest).unwrap();
    assert_eq!(nearest[0], 1);
    let test = ConvertOptions { matrix: Some(Matrix::Test), ..ConvertOptions::default() };
    convert(&source, &place.path("q.npy"), &test, &place.cache, &()).unwrap();
    assert_eq!(vectors(&place, "q.npy"), [1.0, 4.0]);
    // What lies beside the base vectors is of the queries there.
    for (matrix, name) in [(Matrix::Neighbors, "n.ivecs"), (Matrix::Distances, "d.fbin")] {
        let options = ConvertOptions { matrix: Some(matrix), ..ConvertOptions::default() };
        let message = convert(&source, &place.path(name), &options, &place.cache, &()).unwrap_err().to_string();
        assert!(message.contains(&format!("expected {matrix}, found no such matrix")), "{message}");
    }
}

#[test]
fn what_cannot_be_converted_is_refused_and_leaves_nothing() {
    let place = line();
    let default = ConvertOptions::default();
    let message = to(&place, "set.hdf5", "a.parquet", &default);
    assert!(
        message.contains("file extension to write: expected one of .hdf5 .fvecs .ivecs .fbin .ibin .npy"),
        "{message}"
    );
    assert!(to(&place, "set.hdf5", "a.txt", &default).contains("found .txt"));
    let message = to(&place, "set.hdf5", "a.ivecs", &ConvertOptions { matrix: Some(Matrix::Train), ..default });
    assert!(message.contains("element type of `train`: expected integers, found f32"), "{message}");
    let message = to(&place, "set.hdf5", "a.fvecs", &ConvertOptions { limit: Some(0), ..default });
    assert!(message.contains("`train`: expected at least one row"), "{message}");
    let mut far = Set::line();
    far.neighbors.as_mut().unwrap()[3] = 1 << 33;
    far.write(&place.path("far.hdf5"));
    let message = to(&place, "far.hdf5", "a.ivecs", &default);
    assert!(message.contains("row 1, column 1: expected a number that fits 32 bits, found 8589934592"), "{message}");
    let message = convert("nowhere.fvecs", Path::new("a.npy"), &default, &place.cache, &()).unwrap_err().to_string();
    assert!(message.contains("no data set `nowhere.fvecs`"), "{message}");
    let message = to(&place, "set.hdf5", "missing/a.npy", &default);
    assert!(message.contains("missing/a.npy"), "{message}");
    for name in ["train", "test", "neighbors", "distances"] {
        assert_eq!(name.parse::<Matrix>().unwrap().to_string(), name);
    }
    assert!("trian".parse::<Matrix>().unwrap_err().to_string().contains("unknown matrix \"trian\""));
}

#[test]
fn verification_finds_good_sets_good_and_says_what_was_checked() {
    let place = line();
    let check = |name: &str, scope| verify(name, place.folder.path(), scope, &place.cache, &());
    let all = check("set.hdf5", Scope::Full).unwrap();
    assert_eq!((all.n, all.d, all.queries, all.truth_k, all.truth_checked), (6, 2, 3, 2, 3));
    let sampled = check(quickstart().to_str().unwrap(), Scope::Sampled).unwrap();
    assert_eq!(sampled.truth_checked, 32);
    let none = check(fixture("no-truth.hdf5").to_str().unwrap(), Scope::Full).unwrap();
    assert_eq!((none.queries, none.truth_k, none.truth_checked), (4, 0, 0));
    to(&place, "set.hdf5", "base.fbin", &ConvertOptions::default());
    let base = check("base.fbin", Scope::Full).unwrap();
    assert_eq!((base.n, base.queries), (6, 0));
}

#[test]
fn full_verification_finds_what_a_sample_can_miss() {
    // 200 queries, one of them with a wrong last neighbour: only those sampled are searched exactly.
    let n = 400;
    let train: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let test: Vec<f32> = (0..200).map(|i| i as f32 + 0.25).collect();
    let ids: Vec<i64> = (0..200).flat_map(|i| [i, i + 1]).collect();
    let set = Set {
        d: 1,
        train,
        test_d: 1,
        test,
        k: 2,
        neighbors: Some(ids.clone()),
        distances: None,
        distance: Some("euclidean"),
    };
    let place = Workplace::new();
    let path = place.path("set.hdf5");
    let check = |scope| verify("set.hdf5", place.folder.path(), scope, &place.cache, &());
    let mut missed = 0;
    for wrong in [10, 77, 150] {
        let mut ids = ids.clone();
        ids[wrong * 2 + 1] += 5;
        Set { neighbors: Some(ids), ..set.clone() }.write(&path);
        missed += usize::from(check(Scope::Sampled).is_ok());
        let message = check(Scope::Full).unwrap_err().to_string();
        assert!(message.contains(&format!("`neighbors` row {wrong}, column 1")), "{message}");
    }
    assert!(missed > 0, "the sample is not everything");
}

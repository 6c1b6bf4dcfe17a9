use nearlab_datasets::{
    Format, Source,
    convert::{ConvertOptions, convert},
    describe::describe,
};
use nearlab_simd::Metric;

use super::set::{Set, Workplace, fixture, quickstart};

#[test]
fn the_quickstart_set_is_described() {
    let place = Workplace::new();
    let d = describe(quickstart().to_str().unwrap(), place.folder.path(), &place.cache, &()).unwrap();
    assert_eq!((d.n, d.d, d.queries, d.truth_k), (20_000, 128, 500, 100));
    assert_eq!((d.format, d.element, d.metric), (Format::Hdf5, "f32", Some(Metric::L2)));
    assert!(d.integral_u8 && !d.difficulty_from_base && d.file_bytes > 1_000_000);
    assert!((5.0..40.0).contains(&d.lid_mean.unwrap()), "{d:?}");
    assert!((1.0..5.0).contains(&d.relative_contrast.unwrap()), "{d:?}");

    // The base alone is as hard as the whole, within what a sample can tell.
    let path = place.path("base.fvecs");
    convert(quickstart().to_str().unwrap(), &path, &ConvertOptions::default(), &place.cache, &()).unwrap();
    let base = describe("base.fvecs", place.folder.path(), &place.cache, &()).unwrap();
    assert_eq!((base.n, base.queries, base.metric, base.truth_k), (20_000, 0, None, 0));
    assert_eq!((base.duplicates, base.norm_max), (d.duplicates, d.norm_max));
    assert!(base.difficulty_from_base);
    let ratio = base.lid_mean.unwrap() / d.lid_mean.unwrap();
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
}

#[test]
fn queries_without_a_truth_are_searched() {
    let place = Workplace::new();
    let source = Source::from(fixture("no-truth.hdf5").to_str().unwrap());
    let d = describe(&source, place.folder.path(), &place.cache, &()).unwrap();
    assert_eq!((d.queries, d.truth_k, d.duplicates), (4, 0, 0));
    assert!(d.lid_mean.is_some());
}

#[test]
fn one_vector_and_equal_vectors_are_described_too() {
    let place = Workplace::new();
    let mut bytes = Vec::new();
    nearlab_datasets::xvecs::write_rows(&mut bytes, 2, &[3f32, 4.0]).unwrap();
    std::fs::write(place.path("one.fvecs"), &bytes).unwrap();
    let one = describe("one.fvecs", place.folder.path(), &place.cache, &()).unwrap();
    assert_eq!((one.n, one.norm_mean, one.lid_mean, one.relative_contrast), (1, 5.0, None, None));
    std::fs::write(place.path("same.fvecs"), bytes.repeat(200)).unwrap();
    let same = describe("same.fvecs", place.folder.path(), &place.cache, &()).unwrap();
    assert_eq!((same.duplicates, same.lid_mean, same.relative_contrast), (199, None, None));
}

#[test]
fn a_damaged_file_is_not_described() {
    let place = Workplace::new();
    let mut set = Set::line();
    set.train[3] = f32::NAN;
    set.write(&place.path("set.hdf5"));
    let message = describe("set.hdf5", place.folder.path(), &place.cache, &()).unwrap_err().to_string();
    assert!(message.contains("`train` row 1, column 1: expected a finite number"), "{message}");
}

use std::{collections::BTreeSet, fs, path::Path};

use nearlab_datasets::{
    Files, PrepareOptions, Prepared, QuerySplit, Source, prepare,
    truth::{TruthJob, exact},
};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

use super::set::{Heard, Set, Workplace, quickstart};

fn small() -> PrepareOptions {
    PrepareOptions { truth_k: 2, ..PrepareOptions::default() }
}

#[test]
fn the_quickstart_set_is_prepared_once_and_then_opened() {
    let place = Workplace::new();
    let (source, heard) = (quickstart(), Heard::default());
    let source = source.to_str().unwrap();
    let options = PrepareOptions::default();
    let path = prepare(source, Path::new(""), &options, &place.cache, &heard).unwrap();
    let last = heard.0.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last, ("base vectors".to_owned(), 20_000, 20_000));

    let prepared = Prepared::open(&path).unwrap();
    prepared.verify().unwrap();
    let print = prepared.fingerprint();
    assert_eq!((print.n, print.d, print.queries, print.truth_k), (20_000, 128, 500, 100));
    assert_eq!((prepared.name(), prepared.metric()), ("sift-photos-20k-128-euclidean", Metric::L2));
    assert_eq!(print.source, "sift-photos-20k-128-euclidean.hdf5");
    assert!(print.integral_u8 && print.sha256.len() == 64 && print.truth_checked == 32);
    // The same estimate in NumPy.
    assert!((print.lid_mean.unwrap() - 17.3574).abs() < 1e-3, "{print:?}");
    assert!((1.0..5.0).contains(&print.relative_contrast.unwrap()), "{print:?}");
    assert!(print.norm_min <= print.norm_mean && print.norm_mean <= print.norm_max);
    assert_eq!(prepared.calibrate().len(), 0);
    assert_eq!(prepared.options(), &options);
    assert!(prepared.path() == path && place.cache.size().unwrap() > 20_000 * 128 * 4);

    let modified = path.metadata().unwrap().modified().unwrap();
    assert_eq!(prepare(source, Path::new(""), &options, &place.cache, &()).unwrap(), path);
    assert_eq!(path.metadata().unwrap().modified().unwrap(), modified);
}

#[test]
fn another_program_finds_the_vectors_at_the_offsets_given() {
    use std::os::unix::fs::FileExt;
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let split = Some(QuerySplit { report: 2, calibrate: 1, seed: 0 });
    let prepared = place.prepare("set.hdf5", &PrepareOptions { queries: split, ..small() }).unwrap();
    for ((path, offset), vectors) in [
        (prepared.train_location(), prepared.train()),
        (prepared.test_location(), prepared.test()),
        (prepared.calibrate_location(), prepared.calibrate()),
    ] {
        let mut bytes = vec![0; vectors.as_slice().len() * 4];
        fs::File::open(path).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        assert!(offset.is_multiple_of(4096) && bytes == bytemuck::cast_slice::<f32, u8>(vectors.as_slice()));
    }
    prepared.advise_train(nearlab_storage::mmap::Advice::Sequential).unwrap();
}

#[test]
fn the_stored_truth_is_kept_with_exact_distances() {
    let place = Workplace::new();
    let set = Set { distances: Some(vec![0.25001, 0.74999, 0.0, 1.0, 0.25, 0.75]), ..Set::line() };
    set.write(&place.path("set.hdf5"));
    let prepared = place.prepare("set.hdf5", &small()).unwrap();
    assert_eq!(prepared.neighbors().as_slice(), [0, 1, 2, 1, 5, 4]);
    assert_eq!(prepared.distances().as_slice(), [0.25, 0.75, 0.0, 1.0, 0.25, 0.75]);
    // Squared Euclidean distances are a form of the same truth (big-ann writes them).
    let squared = set.distances.unwrap().iter().map(|d| d * d).collect();
    Set { distances: Some(squared), ..Set::line() }.write(&place.path("squared.hdf5"));
    let prepared = place.prepare("squared.hdf5", &small()).unwrap();
    assert_eq!(prepared.distances().as_slice(), [0.25, 0.75, 0.0, 1.0, 0.25, 0.75]);
}

#[test]
fn a_limit_keeps_the_first_rows_and_computes_their_neighbours() {
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let prepared = place.prepare("set.hdf5", &PrepareOptions { limit: Some(3), ..small() }).unwrap();
    assert_eq!(prepared.train().len(), 3);
    assert_eq!(prepared.neighbors().as_slice(), [0, 1, 2, 1, 2, 1]);
    assert_eq!(prepared.distances().row(2), [2.75, 3.75]);
    assert_eq!(prepared.fingerprint().truth_checked, 3);
    let whole = place.prepare("set.hdf5", &PrepareOptions { limit: Some(99), ..small() }).unwrap();
    assert_eq!(whole.train().len(), 6);
    assert_ne!(whole.fingerprint().sha256, prepared.fingerprint().sha256);
}

#[test]
fn a_longer_truth_is_computed_when_asked_for() {
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let options = PrepareOptions { truth_k: 6, recompute_truth: true, ..small() };
    let prepared = place.prepare("set.hdf5", &options).unwrap();
    assert_eq!(prepared.truth_k(), 6);
    assert_eq!(prepared.neighbors().row(0), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn split_queries_are_disjoint_and_keep_their_truth() {
    let place = Workplace::new();
    let split = QuerySplit { report: 300, calibrate: 150, seed: 3 };
    let options = PrepareOptions { queries: Some(split), ..PrepareOptions::default() };
    let prepared = place.prepare(quickstart().to_str().unwrap(), &options).unwrap();
    assert_eq!((prepared.test().len(), prepared.calibrate().len()), (300, 150));
    let bits =
        |v: Vectors<'_, f32>| v.iter().map(|q| q.iter().map(|x| x.to_bits()).collect()).collect::<BTreeSet<Vec<_>>>();
    assert!(bits(prepared.test()).is_disjoint(&bits(prepared.calibrate())));
    assert_eq!((prepared.calibrate_neighbors().len(), prepared.calibrate_distances().dim()), (150, 100));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let job =
        TruthJob { train: prepared.train(), queries: prepared.calibrate().rows(0..20), metric: Metric::L2, k: 100 };
    let truth = exact(&job, &pool, &());
    assert_eq!(truth.neighbors, prepared.calibrate_neighbors().rows(0..20).as_slice());
    assert_eq!(truth.distances, prepared.calibrate_distances().rows(0..20).as_slice());

    let whole = place.prepare(quickstart().to_str().unwrap(), &PrepareOptions::default()).unwrap();
    assert_eq!(whole.fingerprint().sha256, prepared.fingerprint().sha256);
}

#[test]
fn files_by_role_of_any_format_give_the_same_set() {
    let place = Workplace::new();
    let set = Set::line();
    set.write(&place.path("set.hdf5"));
    let expected = place.prepare("set.hdf5", &small()).unwrap();
    fs::write(place.path("base.fvecs"), xvecs(&set.train, 2)).unwrap();
    fs::write(place.path("query.fbin"), xbin(&set.test, 2)).unwrap();
    let ids: Vec<i32> = set.neighbors.unwrap().iter().map(|&id| id as i32).collect();
    let distances = set.distances.unwrap();
    fs::write(place.path("truth.ivecs"), xvecs(&ids, 2)).unwrap();
    let with_distances = [xbin(&ids, 2), bytemuck::cast_slice(&distances).to_vec()].concat();
    fs::write(place.path("truth.gt"), &with_distances).unwrap();
    fs::write(place.path("truth.ibin"), &with_distances).unwrap();
    for neighbors in [None, Some("truth.ivecs"), Some("truth.gt"), Some("truth.ibin"), Some("set.hdf5")] {
        let files = Files {
            train: "base.fvecs".into(),
            test: "query.fbin".into(),
            neighbors: neighbors.map(Into::into),
            metric: Metric::L2,
        };
        let prepared = place.prepare(files, &small()).unwrap();
        assert_eq!(prepared.train().as_slice(), expected.train().as_slice());
        assert_eq!(prepared.fingerprint().sha256, expected.fingerprint().sha256);
        let (ids, known) = (prepared.neighbors(), expected.neighbors());
        assert!(ids.iter().zip(known.iter()).all(|(a, b)| a[..2] == *b), "{neighbors:?}");
    }
    // A test file may be HDF5 too.
    let files = Files { train: "set.hdf5".into(), test: "set.hdf5".into(), neighbors: None, metric: Metric::L2 };
    assert_eq!(place.prepare(files, &small()).unwrap().test().as_slice(), expected.test().as_slice());
}

fn xvecs<T: bytemuck::Pod>(rows: &[T], d: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    nearlab_datasets::xvecs::write_rows(&mut bytes, d, rows).unwrap();
    bytes
}

fn xbin<T: bytemuck::Pod>(rows: &[T], d: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    nearlab_datasets::xbin::write_header(&mut bytes, rows.len() / d, d).unwrap();
    bytes.extend_from_slice(bytemuck::cast_slice(rows));
    bytes
}

#[test]
fn inner_product_truth_may_be_written_with_either_sign() {
    let place = Workplace::new();
    for sign in [-1.0f32, 1.0] {
        let set = Set {
            test: vec![1.0, 2.0],
            neighbors: Some(vec![5, 4]),
            distances: Some(vec![sign * 7.0, sign * 6.0]),
            distance: Some("ip"),
            ..Set::line()
        };
        set.write(&place.path("ip.hdf5"));
        let prepared = place.prepare("ip.hdf5", &small()).unwrap();
        assert_eq!(prepared.distances().as_slice(), [-7.0, -6.0]);
        let print = prepared.fingerprint();
        assert_eq!((print.metric, print.lid_mean, print.relative_contrast), (Metric::InnerProduct, None, None));
    }
}

#[test]
fn a_row_that_inner_product_truth_lacks_may_be_longer_than_every_stored_one() {
    let of = |product: f32| Set {
        d: 2,
        train: vec![1.0, 0.0, product, 1000.0],
        test_d: 2,
        test: vec![1.0, 0.0],
        k: 1,
        neighbors: Some(vec![0]),
        distances: None,
        distance: Some("ip"),
    };
    let place = Workplace::new();
    // Products of a vector so long round by more than the two differ.
    of(1.0001).write(&place.path("set.hdf5"));
    let prepared = place.prepare("set.hdf5", &PrepareOptions { truth_k: 1, ..small() }).unwrap();
    assert_eq!(prepared.neighbors().as_slice(), [0]);
    let message = of(1.1).refused();
    assert!(message.contains("`neighbors` row 0, column 0") && message.contains("base vector 1"), "{message}");
}

#[test]
fn a_set_of_the_version_before_can_still_be_opened() {
    use nearlab_datasets::prepared::{FORMAT_VERSION, KIND};
    use nearlab_storage::{Container, ContainerWriter, Verify};
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let new = place.prepare("set.hdf5", &small()).unwrap().path().to_path_buf();
    let new = Container::open(&new, KIND, FORMAT_VERSION..=FORMAT_VERSION, Verify::Sections).unwrap();
    let of_version = |version: u32| {
        let path = place.path(&format!("version-{version}"));
        let mut writer = ContainerWriter::create(&path, KIND, version).unwrap();
        for section in new.sections() {
            writer.section(section.id, new.bytes(section.id).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        Prepared::open(&path)
    };
    let old = of_version(1).unwrap();
    old.verify().unwrap();
    assert_eq!(old.train().as_slice(), Set::line().train);
    let message = of_version(FORMAT_VERSION + 1).err().unwrap().to_string();
    assert!(message.contains(&format!("has version {} of", FORMAT_VERSION + 1)), "{message}");
}

#[test]
fn a_changed_file_is_prepared_anew() {
    let place = Workplace::new();
    let mut set = Set::line();
    set.write(&place.path("set.hdf5"));
    let first = place.prepare("set.hdf5", &small()).unwrap();
    set.train[0] = -0.125;
    (set.neighbors, set.distances) = (None, None);
    set.write(&place.path("set.hdf5"));
    let second = place.prepare("set.hdf5", &small()).unwrap();
    assert_ne!(first.path(), second.path());
    assert_eq!((first.train().row(0)[0], second.train().row(0)[0]), (0.0, -0.125));
}

#[test]
fn a_damaged_cache_file_is_made_again() {
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let path = place.prepare("set.hdf5", &small()).unwrap().path().to_path_buf();
    let whole = fs::read(&path).unwrap();
    for length in [0, 100, whole.len() - 4096] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Prepared::open(&path).is_err());
        place.prepare("set.hdf5", &small()).unwrap().verify().unwrap();
    }
    // A flipped bit inside a section is what `verify` is for.
    let mut flipped = whole.clone();
    flipped[4096] ^= 1;
    fs::write(&path, flipped).unwrap();
    let message = Prepared::open(&path).unwrap().verify().unwrap_err().to_string();
    assert!(message.contains("`train`"), "{message}");
}

#[test]
fn sets_with_ids_out_of_range_or_a_foreign_description_are_not_opened() {
    use nearlab_datasets::prepared::{FORMAT_VERSION, KIND};
    use nearlab_storage::{Container, ContainerWriter, SectionId, Verify};
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let good = place.prepare("set.hdf5", &small()).unwrap().path().to_path_buf();
    let good = Container::open(&good, KIND, FORMAT_VERSION..=FORMAT_VERSION, Verify::Sections).unwrap();
    let rewrite = |name: &str, section: &str, bytes: &[u8]| {
        let path = place.path(name);
        let mut writer = ContainerWriter::create(&path, KIND, FORMAT_VERSION).unwrap();
        for old in good.sections() {
            let changed = old.id == SectionId::new(section);
            writer.section(old.id, if changed { bytes } else { good.bytes(old.id).unwrap() }).unwrap();
        }
        writer.finish().unwrap();
        Prepared::open(&path).err().unwrap().to_string()
    };
    let ids = bytemuck::cast_slice::<i32, u8>(&[0, 1, 2, 6, 5, 4]).to_vec();
    let message = rewrite("ids", "neighbor", &ids);
    assert!(message.contains("base vectors 0 to 5") && message.contains('6'), "{message}");
    assert!(rewrite("short", "neighbor", &ids[4..]).contains("`neighbor`"));
    assert!(rewrite("meta", "meta", b"{}").contains("a description in JSON"));
    let meta = String::from_utf8(good.bytes(SectionId::new("meta")).unwrap().to_vec()).unwrap();
    let zero = meta.replace("\"d\": 2", "\"d\": 0");
    assert!(rewrite("zero", "meta", zero.as_bytes()).contains("positive sizes"));
}

#[test]
fn two_threads_that_prepare_the_same_set_agree() {
    let place = Workplace::new();
    Set::line().write(&place.path("set.hdf5"));
    let paths: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| prepare("set.hdf5", place.folder.path(), &small(), &place.cache, &()).unwrap()))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(paths.windows(2).all(|pair| pair[0] == pair[1]));
    Prepared::open(&paths[0]).unwrap().verify().unwrap();
    assert_eq!(place.cache.entries().unwrap().len(), 1);
}

#[test]
fn options_are_read_from_yaml_with_places_in_errors() {
    let options: PrepareOptions =
        serde_saphyr::from_str("{limit: 1000, truth_k: 50, metric: cosine, queries: {report: 8, seed: 7}}").unwrap();
    assert_eq!((options.limit, options.metric), (Some(1000), Some(Metric::Cosine)));
    assert_eq!(options.queries, Some(QuerySplit { report: 8, calibrate: 0, seed: 7 }));
    let message = serde_saphyr::from_str::<PrepareOptions>("limit: 5\nlimits: 6\n").unwrap_err().to_string();
    assert!(message.contains("limits") && message.contains('2'), "{message}");
    assert!(serde_saphyr::from_str::<PrepareOptions>("metric: l3").unwrap_err().to_string().contains("l3"));
    let schema = serde_json::to_string(&schemars::schema_for!(PrepareOptions)).unwrap();
    assert!(schema.contains("recompute_truth") && schema.contains("\"additionalProperties\":false"));
}

#[test]
fn a_catalogue_name_is_found_without_a_path() {
    let place = Workplace::new();
    let prepared = place.prepare(Source::from("sift-photos-20k-128-euclidean"), &PrepareOptions::default()).unwrap();
    assert_eq!(prepared.name(), "sift-photos-20k-128-euclidean");
}

use nearlab_datasets::{
    DataFile, PrepareOptions,
    hdf5::{Compression, Writer},
    source::Element,
};
use nearlab_simd::Metric;

use super::set::{Workplace, fixture, quickstart};

const SAME: [&str; 14] = [
    "contiguous",
    "gzip-shuffle",
    "chunked",
    "latest",
    "i64-f64",
    "f64-vectors",
    "u8-vectors",
    "types-a",
    "types-b",
    "no-attributes-euclidean",
    "fixed-string",
    "odd-attributes",
    "no-truth",
    "ids-only",
];

fn options() -> PrepareOptions {
    PrepareOptions { truth_k: 5, ..PrepareOptions::default() }
}

#[test]
fn every_variant_that_h5py_writes_holds_the_same_data() {
    let expected = DataFile::open(&fixture("contiguous.hdf5")).unwrap().train.read_all_f32().unwrap();
    assert_eq!(expected.len(), 24 * 6);
    let place = Workplace::new();
    let mut truth: Option<(Vec<i32>, Vec<f32>)> = None;
    for name in SAME {
        let path = fixture(&format!("{name}.hdf5"));
        let mut file = DataFile::open(&path).unwrap();
        assert_eq!(file.metric, (name != "no-truth" || file.metric.is_some()).then_some(Metric::L2), "{name}");
        assert_eq!(file.train.read_all_f32().unwrap(), expected, "{name}");
        let mut part = Vec::new();
        file.train.read_f32(7..12, &mut part).unwrap();
        assert_eq!(part, expected[7 * 6..12 * 6], "{name}");

        let prepared = place.prepare(path.to_str().unwrap(), &options()).unwrap();
        let print = prepared.fingerprint();
        assert!(print.integral_u8, "{name}");
        assert_eq!((print.n, print.d, print.queries), (24, 6, 4), "{name}");
        assert_eq!(print.sha256, {
            let first = place.prepare(fixture("contiguous.hdf5").to_str().unwrap(), &options()).unwrap();
            first.fingerprint().sha256.clone()
        });
        let k = 5;
        let ids: Vec<i32> = prepared.neighbors().iter().flat_map(|row| row[..k].to_vec()).collect();
        let distances: Vec<f32> = prepared.distances().iter().flat_map(|row| row[..k].to_vec()).collect();
        let (known_ids, known_distances) = truth.get_or_insert_with(|| (ids.clone(), distances.clone()));
        assert_eq!((&ids, &distances), (&*known_ids, &*known_distances), "{name}");
    }
}

#[test]
fn element_types_are_those_of_the_file() {
    let element = |name: &str| DataFile::open(&fixture(name)).unwrap().train.element();
    assert_eq!(element("u8-vectors.hdf5"), Element::U8);
    assert_eq!(element("f64-vectors.hdf5"), Element::F64);
    let ids = DataFile::open(&fixture("i64-f64.hdf5")).unwrap().neighbors.unwrap().element();
    assert_eq!(ids, Element::I64);
}

#[test]
fn angular_files_mean_one_minus_the_cosine() {
    let place = Workplace::new();
    let prepared = place.prepare(fixture("angular.hdf5").to_str().unwrap(), &options()).unwrap();
    assert_eq!(prepared.metric(), Metric::Cosine);
    let (q, x) = (prepared.test().row(0), prepared.train().row(prepared.neighbors().row(0)[0] as usize));
    let dot: f32 = q.iter().zip(x).map(|(a, b)| a * b).sum();
    let norms = q.iter().map(|a| a * a).sum::<f32>().sqrt() * x.iter().map(|a| a * a).sum::<f32>().sqrt();
    assert!((prepared.distances().row(0)[0] - (1.0 - dot / norms)).abs() < 1e-6);
    assert!(prepared.fingerprint().lid_mean.is_some());
}

#[test]
fn what_the_writer_writes_is_read_back_with_and_without_compression() {
    let place = Workplace::new();
    let rows: Vec<f32> = (0..3000 * 129).map(|i| (i % 977) as f32 * 0.5).collect();
    for (name, compression) in [("a.hdf5", Compression::None), ("b.hdf5", Compression::Gzip(4))] {
        let path = place.path(name);
        let writer = Writer::create(&path, Metric::Cosine, 129, compression).unwrap();
        let mut train = writer.matrix::<f32>("train", 3000, 129).unwrap();
        for block in rows.chunks(700 * 129) {
            train.put(block).unwrap();
        }
        train.finish().unwrap();
        assert!(!path.exists(), "the name appears at the end");
        writer.finish().unwrap();
        let mut file = DataFile::open(&path).unwrap();
        assert_eq!(file.metric, Some(Metric::Cosine));
        assert_eq!(file.train.row_alignment() > 1, compression != Compression::None);
        assert_eq!(file.train.read_all_f32().unwrap(), rows);
    }
    let length = |name: &str| place.path(name).metadata().unwrap().len();
    assert!(length("b.hdf5") < length("a.hdf5") / 2);
}

#[test]
fn an_unfinished_writer_leaves_nothing() {
    let place = Workplace::new();
    let writer = Writer::create(&place.path("a.hdf5"), Metric::L2, 2, Compression::None).unwrap();
    let mut train = writer.matrix::<f32>("train", 1, 2).unwrap();
    train.put(&[1.0, 2.0]).unwrap();
    drop((train, writer));
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);
    let writer = Writer::create(&place.path("b.hdf5"), Metric::InnerProduct, 2, Compression::None).unwrap();
    writer.matrix::<f32>("train", 1, 2).unwrap();
    let message = writer.matrix::<f32>("train", 1, 2).err().unwrap().to_string();
    assert!(message.contains("cannot write") && message.contains("b.hdf5"), "{message}");
    let nowhere = place.path("missing/a.hdf5");
    let message = Writer::create(&nowhere, Metric::L2, 2, Compression::None).err().unwrap().to_string();
    assert!(message.contains("missing/a.hdf5"), "{message}");
}

#[test]
fn the_quickstart_set_is_read_as_it_was_made() {
    let mut file = DataFile::open(&quickstart()).unwrap();
    assert_eq!((file.train.rows(), file.train.dim()), (20_000, 128));
    let blocks: Vec<_> = file.train.blocks().collect();
    assert_eq!(blocks.first().unwrap().start, 0);
    assert_eq!(blocks.last().unwrap().end, 20_000);
    assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert!(blocks.iter().all(|b| b.start.is_multiple_of(file.train.row_alignment())));
    let mut ids = Vec::new();
    let mut neighbors = file.neighbors.take().unwrap();
    neighbors.read_i64(0..500, &mut ids).unwrap();
    assert!(ids.iter().all(|id| (0..20_000).contains(id)));
    let message = file.train.read_i64(0..1, &mut ids).unwrap_err().to_string();
    assert!(message.ends_with("element type of `train`: expected integers, found f32"), "{message}");
}

#[test]
#[should_panic(expected = "rows 23..25 of a matrix of 24 rows were asked for")]
fn rows_beyond_the_end_are_a_programmers_mistake() {
    let _ = DataFile::open(&fixture("contiguous.hdf5")).unwrap().train.read_f32(23..25, &mut Vec::new());
}

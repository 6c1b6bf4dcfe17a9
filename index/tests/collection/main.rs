//! Collections as their users see them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod killed;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nearlab_index::collection::{
    Collection, CollectionConfig, CollectionError, Hit, IndexConfig, Records, SearchOptions,
};
use nearlab_index::hnsw::{Construction, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{IvfParams, IvfSearchParams};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Document, Field, FieldKind, Filter, Schema, Value};
use nearlab_storage::store::{Durability, ElementKind, Id, IdKind, Ids};

const DIM: usize = 16;

/// `SplitMix64` (Steele, Lea, Flood 2014).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Whole numbers, so that every type of components keeps them.
    fn vector(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| self.below(256) as f32).collect()
    }
}

fn schema() -> Schema {
    Schema::new([
        Field::new("price", FieldKind::Integer),
        Field::new("color", FieldKind::String),
        Field::new("sold", FieldKind::Bool),
    ])
    .unwrap()
}

fn config(index: IndexConfig, metric: Metric) -> CollectionConfig {
    CollectionConfig {
        dim: DIM,
        metric,
        element: ElementKind::F32,
        ids: IdKind::Numbers,
        index,
        schema: Some(schema()),
    }
}

fn hnsw() -> IndexConfig {
    let construction = Construction::Bulk;
    let params = HnswParams { m: 8, ef_construction: 60, construction, ..HnswParams::default() };
    IndexConfig::Hnsw(HnswParams { codes: TraversalCodes::Sq4, rerank_codes: RerankCodes::Sq8, ..params })
}

fn ivf() -> IndexConfig {
    IndexConfig::Ivf(IvfParams { nlist: 8, ..IvfParams::default() })
}

/// Everything is met: what is found is exact but for the codes that candidates were ranked by.
fn thorough<'a>() -> SearchOptions<'a> {
    SearchOptions {
        hnsw: HnswSearchParams { rerank: 4000, ..HnswSearchParams::new(4000) },
        ivf: IvfSearchParams { nprobe: 1000 },
        ..SearchOptions::default()
    }
}

fn document(price: i64) -> Document {
    let color = ["red", "green", "blue"][price as usize % 3];
    let document = Document::new().with("price", Value::Integer(price)).with("color", Value::String(color.to_owned()));
    if price % 2 == 0 { document.with("sold", Value::Bool(price % 4 == 0)) } else { document }
}

/// Whether a price passes a filter.
type Admits = fn(i64) -> bool;

/// What a collection should hold.
#[derive(Default)]
struct Model(BTreeMap<u64, (Vec<f32>, i64)>);

impl Model {
    fn nearest(&self, metric: Metric, query: &[f32], k: usize, admits: impl Fn(i64) -> bool) -> Vec<(u64, f64)> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let distance = |row: &[f32]| match metric {
            Metric::L2 => row.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum(),
            Metric::InnerProduct => -dot(row, query),
            Metric::Cosine => 1.0 - dot(row, query) / (dot(row, row) * dot(query, query)).sqrt(),
        };
        let admitted = self.0.iter().filter(|(_, (_, price))| admits(*price));
        let mut all: Vec<(u64, f64)> = admitted.map(|(id, (row, _))| (*id, distance(row))).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        all.truncate(k);
        all
    }
}

fn ids_of(hits: &[Hit]) -> Vec<u64> {
    let number = |hit: &Hit| match hit.id {
        Id::Number(id) => id,
        Id::Name(_) => panic!("{hit:?} has a name"),
    };
    hits.iter().map(number).collect()
}

fn agree(collection: &Collection, model: &Model, seeded: &mut Seeded) {
    let metric = collection.config().metric;
    assert_eq!(collection.len(), model.0.len());
    let mut searcher = collection.searcher();
    let filters: [(&str, Admits); 4] = [
        ("price < 500", |price| price < 500),
        ("color in [\"red\", \"blue\"] and not sold", |price| price % 3 != 1 && price % 4 != 0),
        ("price between 10 and 20", |price| (10..=20).contains(&price)),
        ("price > 5000", |_| false),
    ];
    for (text, admits) in filters {
        let query = seeded.vector();
        let filter = Filter::parse(&schema(), text).unwrap();
        for (filter, expected) in [
            (None, model.nearest(metric, &query, 7, |_| true)),
            (Some(&filter), model.nearest(metric, &query, 7, admits)),
        ] {
            let hits = searcher.search(&query, 7, &SearchOptions { filter, documents: true, ..thorough() }).unwrap();
            assert_eq!(hits.len(), expected.len(), "{text}");
            for (hit, (_, distance)) in hits.iter().zip(expected) {
                let near = 1e-4 * distance.abs().max(1.0);
                assert!((f64::from(hit.distance) - distance).abs() <= near, "{hit:?} is not at {distance}: {text}");
                let (_, price) = &model.0[&ids_of(std::slice::from_ref(hit))[0]];
                assert_eq!(hit.document, Some(document(*price)));
            }
        }
    }
    let ids: Vec<u64> = (0..20).map(|_| seeded.below(400)).collect();
    for (id, record) in ids.iter().zip(collection.get(&ids[..]).unwrap()) {
        let expected = model.0.get(id);
        assert_eq!(record.as_ref().map(|record| &record.vector), expected.map(|(vector, _)| vector));
        assert_eq!(record.and_then(|record| record.document), expected.map(|(_, price)| document(*price)));
    }
    assert_eq!(collection.verify().unwrap(), []);
}

fn upsert(collection: &Collection, model: &mut Model, seeded: &mut Seeded, count: u64) {
    let first = seeded.below(400);
    let ids: Vec<u64> = (0..count).map(|i| (first + 7 * i) % 400).collect();
    let vectors: Vec<Vec<f32>> = ids.iter().map(|_| seeded.vector()).collect();
    let prices: Vec<i64> = ids.iter().map(|_| seeded.below(1000) as i64).collect();
    let documents: Vec<Document> = prices.iter().map(|&price| document(price)).collect();
    let rows = vectors.concat();
    let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &documents };
    match seeded.below(3) {
        0 => collection.load(&records, Durability::Flush).unwrap(),
        _ => collection.upsert(&records, Durability::Flush).unwrap(),
    };
    for ((id, vector), price) in ids.into_iter().zip(vectors).zip(prices) {
        model.0.insert(id, (vector, price));
    }
}

/// Copies the files of a collection that is open: what a process that is killed leaves.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn every_index_finds_what_is_there_through_changes_openings_and_ends_without_warning() {
    for (index, metric) in [
        (IndexConfig::Flat, Metric::Cosine),
        (IndexConfig::Flat, Metric::InnerProduct),
        (hnsw(), Metric::L2),
        (hnsw(), Metric::Cosine),
        (ivf(), Metric::L2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().join("0");
        let mut collection = Collection::create(&path, config(index, metric), 2).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(1));
        agree(&collection, &model, &mut seeded);
        for round in 1..=14 {
            upsert(&collection, &mut model, &mut seeded, 40);
            let gone: Vec<u64> =
                (0..15).map(|_| seeded.below(400)).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            collection.delete(&gone[..], Durability::Flush).unwrap();
            model.0.retain(|id, _| !gone.contains(id));
            agree(&collection, &model, &mut seeded);
            match round % 7 {
                3 => {
                    collection.optimize(&()).unwrap();
                    let unindexed = if collection.config().index == IndexConfig::Flat { model.0.len() } else { 0 };
                    assert_eq!(collection.stats().unindexed, unindexed);
                }
                5 => {
                    drop(collection);
                    collection = Collection::open(&path, 2).unwrap();
                }
                6 => {
                    let next = folder.path().join(round.to_string());
                    copy(&path, &next);
                    collection = Collection::open(&next, 2).unwrap();
                    path = next;
                }
                _ => continue,
            }
            agree(&collection, &model, &mut seeded);
        }
        drop(collection);
        agree(&Collection::open_read_only(&path).unwrap(), &model, &mut seeded);
    }
}

#[test]
fn a_graph_is_built_once_there_are_vectors_enough_and_follows_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let plain = CollectionConfig { schema: None, ..config(hnsw(), Metric::L2) };
    let collection = Collection::create(folder.path().join("c"), plain, 2).unwrap();
    let mut seeded = Seeded(5);
    let rows: Vec<f32> = (0..10_500).flat_map(|_| seeded.vector()).collect();
    let ids: Vec<u64> = (0..10_500).collect();
    for (ids, rows) in ids.chunks(3500).zip(rows.chunks(3500 * DIM)) {
        let records = Records { ids: ids.into(), vectors: Vectors::new(rows, DIM), documents: &[] };
        collection.insert(&records, Durability::None).unwrap();
    }
    assert_eq!(collection.stats().unindexed, 0);
    let mut searcher = collection.searcher();
    let found = (0..200).filter(|&id| {
        let hits = searcher.search(&rows[id * DIM..][..DIM], 1, &SearchOptions::default()).unwrap();
        ids_of(&hits) == [id as u64] && hits[0].distance == 0.0
    });
    assert!(found.count() > 195);
    // More than there is, at once: the graph is built anew.
    let more: Vec<u64> = (10_500..22_000).collect();
    let rows: Vec<f32> = more.iter().flat_map(|_| seeded.vector()).collect();
    let records = Records { ids: (&more[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &[] };
    collection.load(&records, Durability::None).unwrap();
    assert_eq!(collection.stats().unindexed, 11_500);
    let found = |collection: &Collection| {
        let mut searcher = collection.searcher();
        let mut hits = |i: usize| searcher.search(&rows[i * DIM..][..DIM], 1, &SearchOptions::default()).unwrap();
        (0..100).filter(|&i| ids_of(&hits(i)) == [10_500 + i as u64]).count()
    };
    assert_eq!(found(&collection), 100);
    collection.optimize(&()).unwrap();
    assert_eq!((collection.stats().unindexed, found(&collection) > 97), (0, true));
    collection.delete(&more[..], Durability::None).unwrap();
    drop(searcher);
    drop(collection);
    // The graph was never saved: it is built again.
    let collection = Collection::open(folder.path().join("c"), 2).unwrap();
    assert_eq!((collection.len(), collection.verify().unwrap().len()), (10_500, 0));
    collection.optimize(&()).unwrap();
    assert_eq!(collection.stats().unindexed, 0);
}

#[test]
fn readers_see_every_record_in_one_version_while_all_are_replaced() {
    for index in [IndexConfig::Flat, hnsw()] {
        let folder = tempfile::tempdir().unwrap();
        let collection = Collection::create(folder.path().join("c"), config(index, Metric::L2), 1).unwrap();
        let ids: Vec<u64> = (0..60).collect();
        let put = |version: i64| {
            let rows: Vec<f32> =
                ids.iter().flat_map(|&id| [id as f32, version as f32].into_iter().cycle().take(DIM)).collect();
            let documents = vec![document(version); ids.len()];
            let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &documents };
            collection.upsert(&records, Durability::None).unwrap();
        };
        put(1);
        collection.optimize(&()).unwrap();
        let writing = AtomicBool::new(true);
        let all = Filter::parse(&schema(), "price >= 0").unwrap();
        std::thread::scope(|scope| {
            for filter in [None, Some(&all)] {
                let (collection, writing) = (&collection, &writing);
                scope.spawn(move || {
                    let mut searcher = collection.searcher();
                    let options = SearchOptions { filter, ..thorough() };
                    while writing.load(Ordering::Relaxed) {
                        let hits = searcher.search(&[0.0; DIM], 60, &options).unwrap();
                        assert_eq!(hits.len(), 60, "{filter:?}");
                    }
                });
            }
            for version in 2..60 {
                put(version);
                if version % 20 == 0 {
                    collection.optimize(&()).unwrap();
                }
            }
            writing.store(false, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_backup_is_a_collection_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(hnsw(), Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(9));
    upsert(&collection, &mut model, &mut seeded, 200);
    collection.optimize(&()).unwrap();
    upsert(&collection, &mut model, &mut seeded, 30);
    let backup = folder.path().join("backup");
    collection.backup(&backup).unwrap();
    assert!(matches!(collection.backup(&backup), Err(CollectionError::Exists(_))));
    collection.delete(&(0..400).collect::<Vec<u64>>()[..], Durability::Sync).unwrap();
    assert!(collection.is_empty());
    agree(&Collection::open_read_only(&backup).unwrap(), &model, &mut seeded);
    agree(&Collection::open(&backup, 1).unwrap(), &model, &mut seeded);
    assert!(collection.stats().disk_bytes > 0);
}

#[test]
fn components_are_kept_as_asked_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for element in [ElementKind::U8, ElementKind::F16] {
        let config = CollectionConfig { element, ..config(hnsw(), Metric::L2) };
        let collection = Collection::create(folder.path().join(element.to_string()), config, 1).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(3));
        upsert(&collection, &mut model, &mut seeded, 100);
        collection.optimize(&()).unwrap();
        upsert(&collection, &mut model, &mut seeded, 10);
        agree(&collection, &model, &mut seeded);
        let half = [0.5; DIM];
        let records = Records { ids: (&[1]).into(), vectors: Vectors::new(&half, DIM), documents: &[] };
        let outcome = collection.upsert(&records, Durability::None).map_err(|error| error.to_string());
        if element == ElementKind::U8 {
            assert_eq!(outcome.unwrap_err(), "expected whole numbers from 0 to 255, found 0.5 in row 0, column 0");
        } else {
            outcome.unwrap();
            let mut large = [0.0; DIM];
            large[3] = 65520.0;
            let records = Records { ids: (&[1]).into(), vectors: Vectors::new(&large, DIM), documents: &[] };
            let error = collection.upsert(&records, Durability::None).unwrap_err().to_string();
            assert!(error.ends_with("found 65520 in row 0, column 3"), "{error}");
        }
    }
}

#[test]
fn the_records_that_pass_a_filter_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(5));
    upsert(&collection, &mut model, &mut seeded, 100);
    for (text, admits) in [
        ("price < 300", (|price| price < 300) as Admits),
        ("not sold", |price| price % 4 != 0),
        ("price > 5000", |_| false),
    ] {
        let filter = Filter::parse(&schema(), text).unwrap();
        let mut found: Vec<Id> = collection.matching(&filter).unwrap();
        found.sort();
        let expected: Vec<Id> =
            model.0.iter().filter(|(_, (_, price))| admits(*price)).map(|(&id, _)| Id::Number(id)).collect();
        assert_eq!(found, expected, "{text}");
    }
    let bare = CollectionConfig { schema: None, ..config(IndexConfig::Flat, Metric::L2) };
    let bare = Collection::create(folder.path().join("bare"), bare, 1).unwrap();
    let filter = Filter::parse(&schema(), "sold").unwrap();
    assert!(matches!(bare.matching(&filter), Err(CollectionError::NoSchema)));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let collection = Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let row = [1.0; DIM];
    let upsert = |ids: Ids<'_>, row: &[f32], documents: &[Document]| {
        let records = Records { ids, vectors: Vectors::new(row, DIM), documents };
        collection.insert(&records, Durability::None).map_err(|error| error.to_string())
    };
    let wrong = Document::new().with("price", Value::Bool(true));
    let error = upsert((&[1]).into(), &row, &[wrong]).unwrap_err();
    assert!(error.starts_with("record 0: ") && error.contains("price"), "{error}");
    assert_eq!(
        upsert((&[1]).into(), &row, &[Document::new(), Document::new()]).unwrap_err(),
        "expected a document for each of 1 vectors, found 2"
    );
    assert_eq!(upsert((&["a"]).into(), &row, &[]).unwrap_err(), "expected ids that are numbers, found names");
    assert!(upsert((&[1]).into(), &[f32::NAN; DIM], &[]).unwrap_err().contains("row 0, column 0 is NaN"));
    assert!(collection.is_empty() && collection.sequence() == 0);
    upsert((&[1]).into(), &row, &[]).unwrap();
    assert_eq!(upsert((&[1]).into(), &row, &[]).unwrap_err(), "expected ids that are new, found 1, which is there");
    assert!(Collection::open(&path, 1).unwrap_err().to_string().contains("open for writing elsewhere"));
    assert!(matches!(
        Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1),
        Err(CollectionError::Exists(_))
    ));
    drop(collection);
    let reader = Collection::open_read_only(&path).unwrap();
    assert!(reader.delete(&[1], Durability::None).unwrap_err().to_string().contains("was opened read-only"));
    assert!(Collection::open(folder.path().join("none"), 1).unwrap_err().to_string().contains("holds no collection"));
    let codes = HnswParams { codes: TraversalCodes::Sq4, ..HnswParams::default() };
    let refused =
        Collection::create(folder.path().join("d"), config(IndexConfig::Hnsw(codes), Metric::L2), 1).unwrap_err();
    assert!(refused.to_string().contains("rerank codes"), "{refused}");
    fs::write(path.join("collection.json"), "{\"version\": 1, \"dim\": 3}").unwrap();
    assert!(
        Collection::open(&path, 1).unwrap_err().to_string().contains("does not describe a collection: missing field")
    );
}

#[test]
fn a_damaged_index_is_named_and_done_without() {
    let folder = tempfile::tempdir().unwrap();
    for index in [hnsw(), ivf()] {
        let path = folder.path().join(index.name());
        let collection = Collection::create(&path, config(index, Metric::L2), 1).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(11));
        upsert(&collection, &mut model, &mut seeded, 200);
        collection.optimize(&()).unwrap();
        drop(collection);
        for name in ["index-00000001", "nodes-00000001"] {
            let whole = fs::read(path.join(name)).unwrap();
            let mut bytes = whole.clone();
            bytes[4096] ^= 1;
            fs::write(path.join(name), &bytes).unwrap();
            let reader = Collection::open_read_only(&path).unwrap();
            assert_eq!(reader.stats().unindexed, model.0.len());
            let damage = reader.verify().unwrap();
            assert!(damage.len() == 1 && damage[0].0.contains(name), "{damage:?}");
            fs::write(path.join(name), &whole).unwrap();
        }
        agree(&Collection::open_read_only(&path).unwrap(), &model, &mut seeded);
    }
}

#[test]
fn whoever_reads_is_told_of_another_process_and_of_one_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, left) = (folder.path().join("c"), folder.path().join("left"));
    let collection = Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(13));
    upsert(&collection, &mut model, &mut seeded, 20);
    let error = Collection::open_read_only(&path).unwrap_err().to_string();
    assert!(error.contains("metadata.redb is open elsewhere"), "{error}");
    copy(&path, &left);
    let error = Collection::open_read_only(&left).unwrap_err().to_string();
    assert!(error.contains("open it for changes once"), "{error}");
    agree(&Collection::open(&left, 1).unwrap(), &model, &mut seeded);
    agree(&Collection::open_read_only(&left).unwrap(), &model, &mut seeded);
}

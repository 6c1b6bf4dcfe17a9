//! What a collection should hold: a map in memory, and what a search of it would find by comparing everything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nearlab_index::collection::{
    Collection, CollectionConfig, CollectionError, CollectionSearcher, CollectionSnapshot, Hit, IndexConfig, Record,
    Records, SearchOptions,
};
use nearlab_index::hnsw::{Construction, HnswParams, HnswSearchParams, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{IvfParams, IvfSearchParams};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Document, Field, FieldKind, Filter, Schema, Value};
use nearlab_storage::store::{Durability, ElementKind, Id, IdKind, Ids};

pub(crate) const DIM: usize = 16;

/// `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Whole numbers, so that every type of components keeps them.
    pub(crate) fn vector(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| self.below(256) as f32).collect()
    }
}

pub(crate) fn schema() -> Schema {
    Schema::new([
        Field::new("price", FieldKind::Integer),
        Field::new("color", FieldKind::String),
        Field::new("sold", FieldKind::Bool),
    ])
    .unwrap()
}

pub(crate) fn config(index: IndexConfig, metric: Metric) -> CollectionConfig {
    CollectionConfig {
        dim: DIM,
        metric,
        element: ElementKind::F32,
        ids: IdKind::Numbers,
        index,
        schema: Some(schema()),
    }
}

pub(crate) fn hnsw() -> IndexConfig {
    let construction = Construction::Bulk;
    let params = HnswParams { m: 8, ef_construction: 60, construction, ..HnswParams::default() };
    IndexConfig::Hnsw(HnswParams { codes: TraversalCodes::Sq4, rerank_codes: RerankCodes::Sq8, ..params })
}

/// A graph that takes in whatever comes, however few it was built of.
pub(crate) fn plain_hnsw() -> IndexConfig {
    IndexConfig::Hnsw(HnswParams { m: 8, ef_construction: 60, ..HnswParams::default() })
}

pub(crate) fn ivf() -> IndexConfig {
    IndexConfig::Ivf(IvfParams { nlist: 8, ..IvfParams::default() })
}

/// Everything is met: what is found is exact but for the codes that candidates were ranked by.
pub(crate) fn thorough<'a>() -> SearchOptions<'a> {
    SearchOptions {
        hnsw: HnswSearchParams { rerank: 4000, ..HnswSearchParams::new(4000) },
        ivf: IvfSearchParams { nprobe: 1000 },
        ..SearchOptions::default()
    }
}

pub(crate) fn document(price: i64) -> Document {
    let color = ["red", "green", "blue"][price as usize % 3];
    let document = Document::new().with("price", Value::Integer(price)).with("color", Value::String(color.to_owned()));
    if price % 2 == 0 { document.with("sold", Value::Bool(price % 4 == 0)) } else { document }
}

/// Whether a price passes a filter.
pub(crate) type Admits = fn(i64) -> bool;

/// What a collection should hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model(pub(crate) BTreeMap<u64, (Vec<f32>, i64)>);

impl Model {
    pub(crate) fn nearest(
        &self,
        metric: Metric,
        query: &[f32],
        k: usize,
        admits: impl Fn(i64) -> bool,
    ) -> Vec<(u64, f64)> {
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

/// Ids as a collection has them.
pub(crate) fn with_ids<R>(kind: IdKind, ids: &[u64], run: impl FnOnce(Ids<'_>) -> R) -> R {
    match kind {
        IdKind::Numbers => run(ids.into()),
        IdKind::Names => {
            let names: Vec<String> = ids.iter().map(|id| format!("record {id}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            run(names[..].into())
        }
    }
}

pub(crate) fn ids_of(hits: &[Hit]) -> Vec<u64> {
    let number = |hit: &Hit| match &hit.id {
        Id::Number(id) => *id,
        Id::Name(name) => name.strip_prefix("record ").unwrap().parse().unwrap(),
    };
    hits.iter().map(number).collect()
}

/// What can be asked of a collection, as it is or as it was.
pub(crate) trait Asked {
    fn len(&self) -> usize;
    fn searcher(&self) -> CollectionSearcher<'_>;
    fn get(&self, ids: &[u64]) -> Vec<Option<Record>>;
}

macro_rules! asked {
    ($asked:ty, $kind:expr) => {
        impl Asked for $asked {
            fn len(&self) -> usize {
                <$asked>::len(self)
            }

            fn searcher(&self) -> CollectionSearcher<'_> {
                <$asked>::searcher(self)
            }

            fn get(&self, ids: &[u64]) -> Vec<Option<Record>> {
                let kind: fn(&Self) -> IdKind = $kind;
                with_ids(kind(self), ids, |ids| <$asked>::get(self, ids).unwrap())
            }
        }
    };
}

asked!(Collection, |collection| collection.config().ids);
asked!(CollectionSnapshot<'_>, |_| IdKind::Numbers);

pub(crate) fn agree(collection: &Collection, model: &Model, seeded: &mut Seeded) {
    answers_agree(collection, collection.config().metric, model, seeded);
    assert_eq!(collection.verify().unwrap(), []);
}

pub(crate) fn answers_agree(asked: &impl Asked, metric: Metric, model: &Model, seeded: &mut Seeded) {
    assert_eq!(asked.len(), model.0.len());
    let mut searcher = asked.searcher();
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
            let options = SearchOptions { filter, documents: true, ..thorough() };
            let hits = searcher.search(&query, 7, &options).unwrap();
            // By what passed the filter before.
            assert_eq!(searcher.search(&query, 7, &options).unwrap(), hits, "{text}");
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
    for (id, record) in ids.iter().zip(asked.get(&ids)) {
        let expected = model.0.get(id);
        assert_eq!(record.as_ref().map(|record| &record.vector), expected.map(|(vector, _)| vector));
        assert_eq!(record.and_then(|record| record.document), expected.map(|(_, price)| document(*price)));
    }
}

pub(crate) fn upsert(collection: &Collection, model: &mut Model, seeded: &mut Seeded, count: u64) {
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
pub(crate) fn copy(from: &Path, to: &Path) {
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

/// Puts a record.
pub(crate) fn go_on(collection: &Collection, model: &mut Model, durability: Durability, seeded: &mut Seeded) {
    let (vector, price) = (seeded.vector(), 17);
    let (vectors, documents) = (Vectors::new(&vector, DIM), &[document(price)]);
    with_ids(collection.config().ids, &[5], |ids| {
        collection.upsert(&Records { ids, vectors, documents }, durability).unwrap();
    });
    model.0.insert(5, (vector, price));
    agree(collection, model, seeded);
}

/// What a collection holds of the first `ids` ids.
pub(crate) fn content(collection: &Collection, ids: u64) -> Result<Model, CollectionError> {
    let ids: Vec<u64> = (0..ids).collect();
    let records = with_ids(collection.config().ids, &ids, |ids| collection.get(ids))?;
    let records = ids.iter().copied().zip(records);
    let record = |(id, record): (u64, Option<Record>)| {
        let record = record?;
        let price = (0..1000).find(|&price| record.document == Some(document(price)));
        Some((id, (record.vector, price.unwrap_or_else(|| panic!("{:?} is nobody's", record.document)))))
    };
    Ok(Model(records.filter_map(record).collect::<BTreeMap<_, _>>()))
}

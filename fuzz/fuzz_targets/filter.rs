//! Any text as a filter: an error, or a filter that is printed as a text of the same meaning, and finds the same records with
//! indexes and without, as many as were estimated.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nearlab_fuzz::metadata::{ALL, record, schema};
use nearlab_fuzz::scratch_file;
use nearlab_storage::metadata::{
    Change, Durability, Expression, Filter, MAX_FILTER_BYTES, MetadataStore, RoaringBitmap, encode,
};

/// Longer filters are read but not asked: each of their predicates is a look into a store.
const MOST: usize = 400;
const RECORDS: u32 = 100;

/// The same records with an index of every field, and of none.
static STORES: LazyLock<[MetadataStore; 2]> = LazyLock::new(|| {
    [ALL, ""].map(|indexed| {
        let (schema, path) = (schema(indexed), scratch_file());
        let store = MetadataStore::create(&path, schema.clone()).expect("room for a store");
        // The store keeps the file.
        fs::remove_file(path).expect("a file just made");
        let documents: Vec<_> = (0..RECORDS).map(|slot| encode(&schema, &record(slot)).expect("it suits")).collect();
        let put = (0..).zip(&documents).map(|(slot, document)| Change::Put { slot, document });
        store.apply(1, &put.collect::<Vec<_>>(), Durability::Deferred).expect("room for records");
        store
    })
});

fn found(store: &MetadataStore, text: &str) -> Option<RoaringBitmap> {
    let filter = Filter::parse(store.schema(), text).ok()?;
    let found = store.filter(&filter).expect("a sound store");
    let estimate = store.estimate(&filter).expect("a sound store");
    assert_eq!(estimate.records, u64::from(RECORDS));
    assert!((estimate.low..=estimate.high).contains(&found.len()), "{estimate:?} of {}", found.len());
    assert!((estimate.low as f64..=estimate.high as f64).contains(&estimate.expected), "{estimate:?}");
    Some(found)
}

fuzz_target!(|text: &str| {
    let [indexed, scanned] = &*STORES;
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(!error.to_string().is_empty() && Filter::parse(indexed.schema(), text).is_err());
            return;
        }
    };
    let printed = expression.to_string();
    if printed.len() > MAX_FILTER_BYTES {
        return;
    }
    assert_eq!(Expression::parse(&printed).as_ref(), Ok(&expression));
    let filter = Filter::parse(indexed.schema(), text);
    assert_eq!(filter.is_ok(), Filter::parse(scanned.schema(), text).is_ok());
    assert_eq!(filter.ok(), Filter::new(indexed.schema(), &expression).ok());
    if text.len() <= MOST {
        assert_eq!(found(indexed, text), found(scanned, text));
    }
});

//! Wall-clock time of a metadata store with a million records of five fields: filters, estimates and changes.
//!
//! The store is made first, once, from seeded values as they occur: prices spread over five orders of magnitude, colours and labels
//! by Zipf's law, one record in ten sold, moments nearly in the order of the slots. What loading took, how large the file is and how
//! much memory it needed is printed then. `NEARLAB_BENCH_RECORDS` sets another number of records. Not a gate.

use std::time::Instant;
use std::{env, fs};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nearlab_storage::metadata::{
    Change, Document, Durability, Field, FieldKind, Filter, MetadataStore, Schema, Timestamp, Value, encode,
};
use tempfile::TempDir;

/// Changes per call while loading.
const BATCH: u32 = 50_000;

const FILTERS: [(&str, &str); 10] = [
    ("low/low", r#"sold and colour == "colour-3""#),
    ("low/low, negated", r#"not sold and colour in ["colour-1", "colour-3"]"#),
    ("low/range of a tenth", "sold and price < 1.8"),
    ("low/range of a third", "not sold and price between 3 and 20"),
    ("low/range of a half", "sold and price > 20"),
    ("range/range", r#"price between 3 and 20 and created < "2023-11-20T00:00:00Z""#),
    ("range or range", r#"price between 3 and 20 or created < "2023-11-20T00:00:00Z""#),
    ("tag/value", r#"labels contains "label-0" and colour == "colour-0""#),
    ("rare/range", r#"labels contains "label-4000" and price < 20"#),
    ("not indexed/low", r#"note == "note-7" and sold and colour == "colour-3""#),
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn unit(&mut self) -> f64 {
        self.next() as f64 / f64::from(1_u32 << 31)
    }

    /// From 0 to below `n`, i with a probability of about 1 / (i + 1).
    fn zipf(&mut self, n: f64) -> u64 {
        (n.powf(self.unit()) - 1.0) as u64
    }

    fn document(&mut self, slot: u32) -> Vec<u8> {
        let microseconds = (1_700_000_000 + i64::from(slot)) * 1_000_000 + (self.next() % 3_600_000_000) as i64;
        let labels = (0..self.next() % 4).map(|_| format!("label-{}", self.zipf(10_000.0))).collect();
        let document = Document::new()
            .with("price", Value::Float((self.unit() * 6.0).exp()))
            .with("colour", Value::String(format!("colour-{}", self.zipf(1_000.0))))
            .with("sold", Value::Bool(self.next().is_multiple_of(10)))
            .with(
                "created",
                Value::Timestamp(Timestamp::from_microseconds(microseconds).expect("a moment of our days")),
            )
            .with("labels", Value::Tags(labels))
            .with("note", Value::String(format!("note-{}", self.next() % 50)));
        encode(&schema(), &document).expect("the document suits the schema")
    }
}

fn schema() -> Schema {
    Schema::new([
        Field::new("price", FieldKind::Float),
        Field::new("colour", FieldKind::String),
        Field::new("sold", FieldKind::Bool),
        Field::new("created", FieldKind::Timestamp),
        Field::new("labels", FieldKind::Tags),
        Field::new("note", FieldKind::String).unindexed(),
    ])
    .expect("the schema is valid")
}

fn put_all(store: &MetadataStore, documents: &[(u32, Vec<u8>)], durability: Durability) {
    let changes: Vec<Change<'_>> =
        documents.iter().map(|(slot, document)| Change::Put { slot: *slot, document }).collect();
    let next = store.sequence().expect("the store is readable") + 1;
    store.apply(next, &changes, durability).expect("the changes are valid");
}

fn megabytes(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number =
        status.lines().find_map(|found| found.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() / 1024
}

fn loaded(records: u32) -> (TempDir, MetadataStore) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("metadata.redb");
    let store = MetadataStore::create(&path, schema()).expect("a new store");
    let (mut random, mut seconds) = (Random(1), 0.0);
    let mut slots = (0..records).peekable();
    while slots.peek().is_some() {
        let documents: Vec<_> = slots.by_ref().take(BATCH as usize).map(|slot| (slot, random.document(slot))).collect();
        let began = Instant::now();
        put_all(&store, &documents, Durability::Deferred);
        seconds += began.elapsed().as_secs_f64();
    }
    let began = Instant::now();
    store.sync().expect("a durable store");
    seconds += began.elapsed().as_secs_f64();
    let size = fs::metadata(&path).expect("the file").len() >> 20;
    let (now, peak) = (megabytes("VmRSS:"), megabytes("VmHWM:"));
    eprintln!("{records} records: loaded in {seconds:.2} s, file {size} MiB, memory {now} MiB, at most {peak} MiB");
    drop(store);
    let began = Instant::now();
    let store = MetadataStore::open(&path, &schema()).expect("the store that was just closed");
    eprintln!("opened in {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
    (folder, store)
}

fn metadata(c: &mut Criterion) {
    let records = env::var("NEARLAB_BENCH_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let (_folder, store) = loaded(records);
    for (name, text) in FILTERS {
        let filter = Filter::parse(store.schema(), text).expect("a valid filter");
        let found = store.filter(&filter).expect("an answer").len();
        let estimate = store.estimate(&filter).expect("an answer");
        eprintln!("{text}: {found}, estimated {} to {}, likely {:.0}", estimate.low, estimate.high, estimate.expected);
        c.benchmark_group("filter").bench_function(name, |bencher| bencher.iter(|| store.filter(&filter)));
        c.benchmark_group("estimate").bench_function(name, |bencher| bencher.iter(|| store.estimate(&filter)));
    }
    let mut random = Random(2);
    let mut group = c.benchmark_group("replace");
    for (count, durability) in
        [1, 100, 1000].into_iter().flat_map(|n| [(n, Durability::Deferred), (n, Durability::Immediate)])
    {
        group.sample_size(10).bench_function(BenchmarkId::new(format!("{durability:?}"), count), |bencher| {
            let draw = |random: &mut Random| {
                let slots: Vec<u32> = (0..count).map(|_| (random.next() % u64::from(records)) as u32).collect();
                slots.into_iter().map(|slot| (slot, random.document(slot))).collect::<Vec<_>>()
            };
            bencher.iter_batched(
                || draw(&mut random),
                |documents| put_all(&store, &documents, durability),
                criterion::BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, metadata);
criterion_main!(benches);

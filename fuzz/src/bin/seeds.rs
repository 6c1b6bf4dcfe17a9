//! Writes the seeds of the targets to `fuzz/seeds/`: small indexes of every kind and form, stores of vectors,
//! documents, filters.

use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use nearlab_fuzz::collection::Sound;
use nearlab_fuzz::metadata::{ALL, FILTERS, INDEXED, describe_schema, read_schema, record, schema};
use nearlab_fuzz::store::describe_store;
use nearlab_fuzz::{describe_container, scratch_file};
use nearlab_index::flat::{Flat, FlatParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{Ivf, IvfParams};
use nearlab_index::{Build, Mutable, Persist};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::metadata::{Document, RoaringBitmap, encode};
use nearlab_storage::store::{
    Change, Codec, CompactOptions, Durability, Element, ElementKind, Ids, PackOptions, Shape, StoreOptions, VectorStore,
};

const DIM: usize = 3;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    write_indexes(&folder_of(&folder, "container"), &folder_of(&folder, "index"));
    write_stores(&folder_of(&folder, "store"));
    write_documents(&folder_of(&folder, "document"));
    write_filters(&folder_of(&folder, "filter"));
    write_damage(&folder_of(&folder, "metadata"));
    write_collections(&folder_of(&folder, "collection"));
}

fn folder_of(seeds: &Path, target: &str) -> PathBuf {
    let folder = seeds.join(target);
    fs::create_dir_all(&folder).expect("a folder for seeds");
    folder
}

fn write_indexes(containers: &Path, indexes: &Path) {
    let mut data: Vec<f32> = (0..40 * DIM).map(|i| (i * 37 % 101) as f32 / 8.0 - 5.0).collect();
    data[5 * DIM..6 * DIM].fill(0.0);
    let vectors = Vectors::new(&data, DIM);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let file = scratch_file();
    let keep = |name: &str, kind: usize| {
        fs::write(indexes.join(name), describe_container(&file, kind)).expect("room for a seed");
        fs::copy(&file, containers.join(name)).expect("room for a seed");
    };
    for metric in Metric::ALL {
        let name = |kind: &str| PathBuf::from(format!("{kind}-{metric}")).display().to_string();
        Flat::build(vectors, metric, &FlatParams {}, &pool, &()).expect("flat").save(&file).expect("a file");
        keep(&name("flat"), 0);
        let params = IvfParams { nlist: 4, ..IvfParams::default() };
        Ivf::build(vectors, metric, &params, &pool, &()).expect("ivf").save(&file).expect("a file");
        keep(&name("ivf"), 2);
        for (form, codes, components, rerank_codes) in [
            ("f32", TraversalCodes::F32, 0, RerankCodes::None),
            ("f16", TraversalCodes::F16, 0, RerankCodes::F32),
            ("sq8", TraversalCodes::Sq8, 0, RerankCodes::F16),
            ("sq4", TraversalCodes::Sq4, 0, RerankCodes::Sq8),
            ("bf16", TraversalCodes::Bf16, 0, RerankCodes::F32),
            ("lvq4", TraversalCodes::Lvq4, 0, RerankCodes::F16),
            ("sq8-dim", TraversalCodes::Sq8Dim, 0, RerankCodes::F16),
            ("rabitq1", TraversalCodes::Rabitq1, 0, RerankCodes::Sq8),
            ("rabitq3", TraversalCodes::Rabitq3, 0, RerankCodes::Sq8),
            ("rabitq8", TraversalCodes::Rabitq8, 0, RerankCodes::F16),
            ("pq4", TraversalCodes::Pq4, 0, RerankCodes::Sq8),
            ("pq8", TraversalCodes::Pq8, 0, RerankCodes::F16),
            ("pq4-blocks", TraversalCodes::Pq4Blocks, 0, RerankCodes::F32),
            ("sq4-pca", TraversalCodes::Sq4, 2, RerankCodes::F32),
        ] {
            let construction = if form == "f32" { Construction::Incremental } else { Construction::Bulk };
            let params = HnswParams { m: 2, codes, components, rerank_codes, construction, ..HnswParams::default() };
            let hnsw = Hnsw::build(vectors, metric, &params, &pool, &()).expect("hnsw");
            hnsw.save(&file).expect("a file");
            keep(&name(&format!("hnsw-{form}")), 1);
            let live = hnsw.into_live(&pool).expect("codes that can change");
            live.insert(Vectors::new(&[50.0; DIM], DIM), &pool).expect("a finite vector");
            live.delete(&[0, 7, 31]);
            live.freeze(&pool, &()).expect("nobody cancels").save(&file).expect("a file");
            keep(&name(&format!("hnsw-{form}-deleted")), 1);
        }
    }
    let _ = fs::remove_file(file);
}

fn write_stores(stores: &Path) {
    let numbers: Vec<u64> = (10..22).collect();
    let names: Vec<String> = (0..12).map(|i| format!("n{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let keep = |name: &str, element, ids: Ids<'_>| match element {
        ElementKind::F32 => write_store_seeds::<f32>(stores, name, ids),
        ElementKind::F16 => write_store_seeds::<f16>(stores, name, ids),
        ElementKind::U8 => write_store_seeds::<u8>(stores, name, ids),
    };
    for element in [ElementKind::F32, ElementKind::F16, ElementKind::U8] {
        keep(&format!("{element}-numbers"), element, Ids::Numbers(&numbers));
        keep(&format!("{element}-names"), element, Ids::Names(&names));
    }
}

/// A store at several moments of its life; it has room for five rows in a segment.
fn write_store_seeds<T: Element>(stores: &Path, name: &str, ids: Ids<'_>) {
    let folder = scratch_file();
    let _ = fs::remove_dir_all(&folder);
    let shape = Shape { dim: DIM, element: T::KIND, ids: ids.kind() };
    let options = StoreOptions { segment_bytes: 5 * shape.row_bytes() as u64, ..StoreOptions::new(shape) };
    let store = VectorStore::create(&folder, &options).expect("a new store");
    let keep = |moment: &str| fs::write(stores.join(format!("{name}-{moment}")), describe_store(&folder));
    let rows = vec![T::zeroed(); ids.len() * DIM];
    let part = |from: usize, until: usize| match ids {
        Ids::Numbers(ids) => Ids::Numbers(&ids[from..until]),
        Ids::Names(ids) => Ids::Names(&ids[from..until]),
    };
    let write = |from: usize, until: usize, attachment: &[u8], durability| {
        let rows = Vectors::new(&rows[..(until - from) * DIM], DIM);
        let change = Change { put: part(from, until), rows: rows.into(), delete: part(0, from.min(1)), attachment };
        store.commit(&change, durability).expect("room for vectors")
    };
    keep("empty").expect("room for a seed");
    write(0, 3, b"", Durability::Sync);
    write(1, 7, b"attached", Durability::Flush);
    keep("log").expect("room for a seed");
    store.keep_since(0).expect("a store open for writing");
    store.checkpoint().expect("room for a manifest");
    keep("manifest").expect("room for a seed");
    write(4, 12, b"", Durability::Sync);
    store.delete(part(2, 9), Durability::Flush).expect("room for a record");
    keep("both").expect("room for a seed");
    store.compact(&CompactOptions { min_dead: 0.1 }).expect("room for segments");
    keep("compacted").expect("room for a seed");
    for codec in [Codec::Lz4, Codec::Zstd { level: 1 }] {
        write(0, 7, b"", Durability::Sync);
        store.pack(&PackOptions { codec, shuffle: true, ..PackOptions::default() }).expect("room for segments");
        keep(&format!("packed-{}", if codec == Codec::Lz4 { "lz4" } else { "both" })).expect("room for a seed");
    }
    drop(store);
    fs::remove_dir_all(folder).expect("a folder just made");
}

fn write_documents(documents: &Path) {
    for slot in 0..12 {
        for indexed in [ALL, ""] {
            let schema = schema(indexed);
            let named = record(slot).iter().fold(Document::new(), |document, (name, value)| {
                let (position, _) = schema.field(name).expect("a field of the schema");
                document.with(format!("f{position}"), value.clone())
            });
            let mut seed = describe_schema(&schema);
            let (schema, _) = read_schema(&seed).expect("a whole description");
            seed.extend(encode(&schema, &named).expect("it suits"));
            fs::write(documents.join(format!("{slot}{indexed}")), seed).expect("room for a seed");
        }
    }
}

fn write_filters(filters: &Path) {
    for (i, filter) in FILTERS.iter().enumerate() {
        fs::write(filters.join(i.to_string()), filter).expect("room for a seed");
    }
}

/// Each file as it is, or with a little damage.
fn write_collections(collections: &Path) {
    let sound = Sound::make(&scratch_file());
    let config = sound.file("collection.json");
    let members = config.iter().position(|&byte| byte == b',').map_or(&[][..], |comma| &config[comma + 1..]);
    let section = |number: u8, content: &[u8]| [&[number][..], &(content.len() as u32).to_le_bytes(), content].concat();
    let slots: Vec<u8> = (0..26_u32).flat_map(u32::to_le_bytes).collect();
    let sequences: Vec<u8> = (0..26_u64).map(|slot| if slot < 24 { 1 } else { 2 }).flat_map(u64::to_le_bytes).collect();
    let nodes = [section(0, &slots), section(1, &sequences), section(2, &26_u64.to_le_bytes())].concat();
    let patch = |at: u32, byte: u8| [&at.to_le_bytes()[..], &[byte]].concat();
    let seeds: [(&str, Vec<u8>); 6] = [
        ("config", [&[0][..], config].concat()),
        ("members", [&[1][..], members].concat()),
        ("nodes", [&[2][..], &nodes].concat()),
        ("stamp", [&[3][..], &patch(24, 1)].concat()),
        ("turns", [&[3][..], &patch(4104, 9), &patch(4112 + 9, 2), &patch(12_300, 7)].concat()),
        ("cut", [&[4][..], &40_000_u32.to_le_bytes(), &patch(8200, 3)].concat()),
    ];
    for (name, seed) in seeds {
        fs::write(collections.join(name), seed).expect("room for a seed");
    }
}

/// One of each kind of damage; the fuzzer puts them together.
fn write_damage(metadata: &Path) {
    let whole = encode(&schema(INDEXED), &record(5)).expect("it suits");
    let few = [&[1, 0, 2, 0, 1, 0, 0, 0][..], &[5, 0, 0, 0, 9, 0, 0, 0], &[2, 0, 1, 0], b"a"].concat();
    let many = {
        let mut block = vec![2, 1, 0, b'a'];
        RoaringBitmap::from_iter(0..1000).serialize_into(&mut block).expect("room in memory");
        block
    };
    // Many slots of one key that has no block of its own yet.
    let long = {
        let slots: Vec<u8> = (0..600_u32).flat_map(u32::to_le_bytes).collect();
        [&[1, 0, 88, 2, 1, 0, 0, 0][..], &slots, &[88, 2, 1, 0], b"a"].concat()
    };
    let put = |i: u8, block: &[u8]| [&[1, i][..], &(block.len() as u16).to_le_bytes(), block].concat();
    let seeds: [(&str, Vec<u8>); 9] = [
        ("put-document", [&[0, 7, 0, whole.len() as u8, 0][..], &whole].concat()),
        ("put-pairs", put(3, &few)),
        ("put-long", (0..5).flat_map(|i| put(i, &long)).collect()),
        ("put-single", (0..5).flat_map(|i| put(i, &many)).collect()),
        ("patch-document", vec![2, 7, 3, 0, 1]),
        ("patch-blocks", (0..20).flat_map(|i| [3, i, 2, 0, i]).collect()),
        ("counts", (0..20).flat_map(|i| [4, i, 200, 0, 0, 0, i, 0, 0, 0]).collect()),
        ("state", vec![5, 1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("remove", vec![6, 2, 4, 6, 1, 3, 6, 0, 9, 7, 1, 0, 1, b'z', 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 3]),
    ];
    for (chosen, (name, seed)) in (0..).zip(seeds) {
        fs::write(metadata.join(name), [&[chosen][..], &seed].concat()).expect("room for a seed");
    }
}

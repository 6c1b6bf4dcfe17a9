//! A bit that changes on the disk is noticed before it is served.

use std::fs;

use nearlab_storage::Vectors;
use nearlab_storage::store::{
    CompactOptions, Durability, ElementKind, IdKind, PackOptions, Shape, StoreOptions, VectorStore,
};

use crate::model::{Content, DIM, IDS, Seeded, content, row, scratch};

#[test]
fn a_flipped_bit_is_reported_with_file_and_offset_and_never_served() {
    let folder = scratch();
    let path = folder.path().join("store");
    let shape = Shape { dim: DIM, element: ElementKind::F32, ids: IdKind::Numbers };
    let options = StoreOptions { segment_bytes: 5 * 4 * DIM as u64, ..StoreOptions::new(shape) };
    let store = VectorStore::create(&path, &options).unwrap();
    let mut expected = Content::new();
    for version in 1..=12 {
        let ids: Vec<u64> = (0..IDS).filter(|id| (id + version) % 3 == 0).collect();
        let rows: Vec<f32> = ids.iter().flat_map(|&id| row(id, version as u32)).collect();
        store.write(&ids[..], Vectors::new(&rows, DIM), Durability::Flush).unwrap();
        expected.extend(ids.iter().map(|&id| (id, version as u32)));
        if version == 6 {
            store.compact(&CompactOptions { min_dead: 0.01 }).unwrap();
        }
        if version == 9 {
            store.pack(&PackOptions::default()).unwrap();
        }
    }
    drop(store);
    // Opening makes all of it durable, and says so.
    drop(VectorStore::open(&path).unwrap());
    let mut seeded = Seeded(1);
    let (mut refused, mut served) = (0, 0);
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        let whole = fs::read(&file).unwrap();
        for _ in 0..if whole.is_empty() { 0 } else { 150 } {
            let (at, bit) = (seeded.below(whole.len() as u64) as usize, seeded.below(8));
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            fs::write(&file, &damaged).unwrap();
            match VectorStore::open_read_only(&path).and_then(|store| content(&store)) {
                Ok(content) => {
                    assert_eq!(content, expected, "bit {bit} of byte {at} of {}", file.display());
                    served += 1;
                }
                Err(error) => {
                    assert!(error.is_corruption(), "{error}");
                    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
                    refused += 1;
                }
            }
        }
        fs::write(&file, &whole).unwrap();
    }
    assert!(refused > 200, "of the bits that were flipped, {refused} were noticed and {served} meant nothing");
    let store = VectorStore::open(&path).unwrap();
    assert_eq!(content(&store).unwrap(), expected);
}

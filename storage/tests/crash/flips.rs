//! A bit that changes on the disk is noticed before it is served.

use std::fs;

use nearlab_storage::OpenError;
use nearlab_storage::store::{
    CompactOptions, Durability, ElementKind, IdKind, PackOptions, Shape, StoreError, StoreOptions, VectorStore,
};

use crate::model::{Content, IDS, Seeded, commit, content, scratch, shape};

#[test]
fn a_flipped_bit_is_reported_with_file_and_offset_and_never_served() {
    flip(shape(ElementKind::F32, IdKind::Numbers));
    flip(shape(ElementKind::U8, IdKind::Names));
}

fn flip(shape: Shape) {
    let folder = scratch();
    let path = folder.path().join("store");
    let options = StoreOptions { segment_bytes: 5 * shape.row_bytes() as u64, ..StoreOptions::new(shape) };
    let store = VectorStore::create(&path, &options).unwrap();
    let mut expected = Content::new();
    for version in 1..=12 {
        let ids: Vec<u64> = (0..IDS).filter(|id| (id + version) % 3 == 0).collect();
        let put: Vec<(u64, u32)> = ids.into_iter().map(|id| (id, version as u32)).collect();
        commit(&store, (&put, &[]), b"", Durability::Flush).unwrap();
        expected.extend(put);
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
                    assert!(names_the_place(&error, at as u64), "bit {bit} of byte {at}: {error}");
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

/// Whether the damaged part begins no later than the byte that changed, or what is wrong is a number of the header, by name.
fn names_the_place(error: &StoreError, at: u64) -> bool {
    match error {
        StoreError::Corrupt { offset, .. } | StoreError::Manifest(OpenError::Corrupt { offset, .. }) => *offset <= at,
        StoreError::Manifest(
            OpenError::NotNearlab { .. }
            | OpenError::ContainerVersion { .. }
            | OpenError::ForeignKind { .. }
            | OpenError::Version { .. },
        ) => at < 64,
        _ => false,
    }
}

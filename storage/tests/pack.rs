//! Packed segments as the users of a store see them.
#![expect(clippy::unwrap_used, reason = "a test, all of it")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;
use nearlab_storage::disk::{Fault, Rehearsal};
use nearlab_storage::store::{
    Codec, CompactOptions, Durability, Element, Id, IdKind, PackOptions, Packed, Shape, Snapshot, StoreError,
    StoreOptions, StoreStats, VectorStore,
};
use nearlab_storage::{Container, ContainerWriter, FileKind, OpenError, SectionId, Vectors, Verify};

/// Components; a block holds 256 vectors of f32.
const DIM: usize = 64;
/// Vectors in a segment: three blocks and a half of f32.
const SEGMENT: u64 = 900;

const ZSTD: PackOptions = PackOptions { codec: Codec::Zstd { level: 3 }, shuffle: true, growing: false };
const LZ4: PackOptions = PackOptions { codec: Codec::Lz4, shuffle: true, growing: false };

/// An element from a number below 256.
trait From8: Element + PartialEq + std::fmt::Debug {
    fn from8(number: u8) -> Self;
}

impl From8 for f32 {
    fn from8(number: u8) -> Self {
        Self::from(number) / 3.0
    }
}

impl From8 for f16 {
    fn from8(number: u8) -> Self {
        Self::from_f32(f32::from(number) / 3.0)
    }
}

impl From8 for u8 {
    fn from8(number: u8) -> Self {
        number
    }
}

/// A vector that says which it is, much like the others.
fn row<T: From8>(id: u64, version: u64) -> Vec<T> {
    let component = |i: usize| T::from8([(id % 251) as u8, (id / 251) as u8, version as u8, (i % 16) as u8][i % 4]);
    (0..DIM).map(component).collect()
}

fn put<T: From8>(store: &VectorStore, ids: std::ops::Range<u64>, version: u64) {
    let rows: Vec<T> = ids.clone().flat_map(|id| row::<T>(id, version)).collect();
    let ids: Vec<u64> = ids.collect();
    store.write(&ids[..], Vectors::new(&rows, DIM), Durability::Flush).unwrap();
}

fn options<T: Element>(segment: u64) -> StoreOptions {
    let shape = Shape { dim: DIM, element: T::KIND, ids: IdKind::Numbers };
    StoreOptions { segment_bytes: segment * shape.row_bytes() as u64, ..StoreOptions::new(shape) }
}

fn new_store<T: Element>(folder: &Path) -> VectorStore {
    VectorStore::create(folder, &options::<T>(SEGMENT)).unwrap()
}

/// Reads the ids, which all have this version.
fn check<T: From8>(snapshot: &Snapshot, ids: std::ops::Range<u64>, version: u64) -> Result<(), StoreError> {
    for id in ids {
        let (mut rows, mut found) = (vec![T::zeroed(); DIM], [false]);
        snapshot.read(&[id], &mut rows, &mut found)?;
        assert!(found[0] && rows == row::<T>(id, version), "id {id}: {rows:?}");
    }
    Ok(())
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("segment-")).collect();
    paths.sort();
    paths
}

/// The format version of the manifest.
fn version(folder: &Path) -> u8 {
    fs::read(folder.join("manifest")).unwrap()[24]
}

fn round_trip<T: From8>(options: &PackOptions) {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store::<T>(folder.path());
    put::<T>(&store, 0..2500, 1);
    put::<T>(&store, 100..200, 2);
    store.delete(&[0, 2499], Durability::Flush).unwrap();
    let before = store.snapshot();
    assert_eq!(version(folder.path()), 1);
    let packed = store.pack(options).unwrap();
    assert_eq!((packed.segments, packed.rows, version(folder.path())), (2, 1699, 2), "the third goes on growing");
    assert!(packed.packed_bytes * 4 / 3 < packed.row_bytes, "{packed:?}");
    let look = |snapshot: &Snapshot| {
        check::<T>(snapshot, 1..100, 1).unwrap();
        check::<T>(snapshot, 100..200, 2).unwrap();
        check::<T>(snapshot, 200..2499, 1).unwrap();
        let mut live = 0;
        for segment in snapshot.segments::<T>().unwrap() {
            assert_eq!(segment.vectors.as_slice().as_ptr() as usize % size_of::<T>(), 0);
            for (vector, slot) in segment.vectors.iter().zip(segment.slots) {
                let Some(Id::Number(id)) = snapshot.id(slot) else { continue };
                live += 1;
                assert_eq!(vector, row::<T>(id, if (100..200).contains(&id) { 2 } else { 1 }));
            }
        }
        assert_eq!(live, 2498);
    };
    look(&store.snapshot());
    look(&before);
    assert!(before.slots().eq(store.snapshot().slots()), "slots stay");
    let StoreStats { rows, packed_segments, row_bytes, stored_bytes, unpacked_bytes, .. } = store.stats();
    assert_eq!((rows, packed_segments, unpacked_bytes), (2600 - 101, 2, packed.row_bytes));
    assert_eq!(stored_bytes, row_bytes - packed.row_bytes + packed.packed_bytes);
    drop((before, store));
    look(&VectorStore::open_read_only(folder.path()).unwrap().snapshot());
    let store = VectorStore::open(folder.path()).unwrap();
    assert!(store.verify().is_empty());
    assert_eq!(store.stats().unpacked_bytes, 0, "a check keeps nothing in memory");
    look(&store.snapshot());
    assert_eq!(store.pack(options).unwrap().segments, 0, "there is nothing left to do");
}

#[test]
fn packed_rows_are_read_as_they_were_written() {
    for codec in [Codec::Lz4, Codec::Zstd { level: 1 }] {
        for shuffle in [true, false] {
            // Without, nothing of these floats repeats in fewer bytes to LZ4.
            if shuffle || codec != Codec::Lz4 {
                round_trip::<f32>(&PackOptions { codec, shuffle, ..PackOptions::default() });
            }
        }
        round_trip::<f16>(&PackOptions { codec, shuffle: true, ..PackOptions::default() });
        round_trip::<u8>(&PackOptions { codec, shuffle: true, ..PackOptions::default() });
    }
}

#[test]
fn packed_rows_are_replaced_deleted_and_compacted_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store::<f32>(folder.path());
    put::<f32>(&store, 0..2000, 1);
    store.pack(&ZSTD).unwrap();
    let before = store.snapshot();
    put::<f32>(&store, 0..500, 2);
    store.delete(&(500..600).collect::<Vec<u64>>()[..], Durability::Sync).unwrap();
    put::<f32>(&store, 3000..4000, 1);
    store.checkpoint().unwrap();
    let look = |snapshot: &Snapshot| {
        assert_eq!(snapshot.len(), 2900);
        check::<f32>(snapshot, 0..500, 2).unwrap();
        check::<f32>(snapshot, 600..2000, 1).unwrap();
        check::<f32>(snapshot, 3000..4000, 1).unwrap();
    };
    look(&store.snapshot());
    assert_eq!(store.pack(&LZ4).unwrap().segments, 1, "only what was filled since");
    look(&store.snapshot());
    let compacted = store.compact(&CompactOptions { min_dead: 0.5 }).unwrap();
    assert_eq!((compacted.segments, compacted.moved), (1, 300));
    look(&store.snapshot());
    check::<f32>(&before, 0..2000, 1).unwrap();
    drop((store, before));
    let store = VectorStore::open(folder.path()).unwrap();
    look(&store.snapshot());
    assert!(store.verify().is_empty());
    store.pack(&ZSTD).unwrap();
    look(&store.snapshot());
    store.compact(&CompactOptions { min_dead: 0.01 }).unwrap();
    assert_eq!(store.stats().rows, store.stats().vectors as u64);
    look(&store.snapshot());
}

#[test]
fn memory_is_given_back_when_nobody_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store::<f32>(folder.path());
    put::<f32>(&store, 0..1000, 1);
    store.pack(&ZSTD).unwrap();
    assert_eq!((store.stats().unpacked_bytes, store.cool().unwrap()), (0, 0));
    let snapshot = store.snapshot();
    check::<f32>(&snapshot, 5..6, 1).unwrap();
    let block = 256 * 4 * DIM as u64;
    assert_eq!(store.stats().unpacked_bytes, block, "a block is unpacked as a whole, and no other");
    check::<f32>(&store.snapshot(), 899..900, 1).unwrap();
    let both = store.stats().unpacked_bytes;
    assert_eq!(both, block + 132 * 4 * DIM as u64, "the last is shorter");
    let lent = snapshot.row::<f32>(5).unwrap().unwrap();
    assert_eq!((store.cool().unwrap(), store.stats().unpacked_bytes), (both, 0));
    assert_eq!(lent, row::<f32>(5, 1), "a snapshot keeps what it was lent");
    check::<f32>(&store.snapshot(), 0..1000, 1).unwrap();
    put::<f32>(&store, 0..10, 2);
    check::<f32>(&store.snapshot(), 0..10, 2).unwrap();
    let reader = VectorStore::open_read_only(folder.path()).unwrap();
    check::<f32>(&reader.snapshot(), 300..301, 1).unwrap();
    assert_eq!(reader.cool().unwrap(), block);
    assert!(matches!(reader.pack(&ZSTD), Err(StoreError::ReadOnly(_))));
}

#[test]
fn readers_that_unpack_at_once_all_read_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store::<f32>(folder.path());
    put::<f32>(&store, 0..1800, 1);
    put::<f32>(&store, 1800..1801, 1);
    store.pack(&LZ4).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| check::<f32>(&store.snapshot(), 0..1801, 1).unwrap()));
        }
        for _ in 0..20 {
            store.cool().unwrap();
            assert!(store.verify().is_empty());
        }
    });
}

#[test]
fn the_segment_that_grows_is_packed_where_that_is_asked_for_and_the_next_rows_begin_another() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store::<f32>(folder.path());
    put::<f32>(&store, 0..1500, 1);
    let all = PackOptions { growing: true, ..LZ4 };
    assert_eq!(store.pack(&LZ4).unwrap().segments, 1);
    assert_eq!(store.pack(&all).unwrap().rows, 1500 - SEGMENT);
    put::<f32>(&store, 1500..1600, 1);
    let count = |store: &VectorStore| (store.stats().segments, store.stats().packed_segments);
    assert_eq!(count(&store), (3, 2));
    drop(store);
    let store = VectorStore::open(folder.path()).unwrap();
    check::<f32>(&store.snapshot(), 0..1600, 1).unwrap();
    assert_eq!((store.pack(&all).unwrap().rows, count(&store)), (100, (3, 3)));
    assert_eq!(store.pack(&all).unwrap(), Packed::default());
    check::<f32>(&store.snapshot(), 0..1600, 1).unwrap();
}

#[test]
fn a_damaged_block_is_reported_with_file_and_offset_and_never_served() {
    for options in [ZSTD, LZ4, PackOptions { shuffle: false, ..ZSTD }] {
        let folder = tempfile::tempdir().unwrap();
        let store = new_store::<f32>(folder.path());
        put::<f32>(&store, 0..901, 1);
        store.pack(&options).unwrap();
        drop(store);
        let file = segments(folder.path()).pop().unwrap();
        let whole = fs::read(&file).unwrap();
        assert_eq!(&whole[16..24], b"packed\0\0");
        let writable = fs::File::options().write(true).open(&file).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 150).chain(0..160) {
            writable.write_all_at(&[whole[at] ^ 0x10], at as u64).unwrap();
            let outcome = VectorStore::open_read_only(folder.path()).map(|store| {
                assert_eq!(store.verify().len(), 1, "byte {at}");
                let outcome = check::<f32>(&store.snapshot(), 0..901, 1);
                let other =
                    (0..4).filter(|block| check::<f32>(&store.snapshot(), block * 256..block * 256 + 1, 1).is_ok());
                assert_eq!(other.count(), 3, "the other blocks are as they were");
                outcome
            });
            let error = outcome.and_then(|outcome| outcome).unwrap_err();
            let StoreError::Corrupt { path, offset, .. } = &error else { panic!("byte {at}: {error}") };
            assert!(path == &file && *offset <= at as u64, "byte {at}: {error}");
            writable.write_all_at(&[whole[at]], at as u64).unwrap();
        }
        for len in [0, 63, 64, 95, 100, 160, whole.len() - 1] {
            fs::write(&file, &whole[..len]).unwrap();
            let error = VectorStore::open_read_only(folder.path()).unwrap_err();
            assert!(error.is_corruption(), "{len} bytes: {error}");
        }
        fs::write(&file, &whole).unwrap();
        check::<f32>(&VectorStore::open(folder.path()).unwrap().snapshot(), 0..901, 1).unwrap();
    }
}

#[test]
fn a_block_that_is_damaged_before_it_is_packed_is_not_packed() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store::<f32>(folder.path());
    put::<f32>(&store, 0..901, 1);
    let first = fs::File::options().write(true).open(&segments(folder.path())[0]).unwrap();
    first.write_all_at(&[7], 4096 + 1000).unwrap();
    assert!(store.pack(&ZSTD).unwrap_err().is_corruption());
    assert_eq!((segments(folder.path()).len(), version(folder.path())), (2, 1));
}

#[test]
fn packing_that_fails_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options::<f32>(SEGMENT)).unwrap();
    put::<f32>(&store, 0..2000, 1);
    store.sync().unwrap();
    for call in 0..12 {
        disk.fail(Fault::Full, disk.calls() + call, 1);
        let outcome = store.pack(&LZ4);
        assert!(matches!(outcome, Err(StoreError::Io { .. })), "call {call}: {outcome:?}");
        assert_eq!((segments(folder.path()).len(), store.stats().packed_segments), (3, 0));
        disk.fail(Fault::Full, usize::MAX, 0);
    }
    assert_eq!(store.pack(&LZ4).unwrap().segments, 2);
    check::<f32>(&store.snapshot(), 0..2000, 1).unwrap();
}

#[test]
fn options_out_of_range_are_refused_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = new_store::<f32>(folder.path());
    let share = store.compact(&CompactOptions { min_dead: 1.25 }).unwrap_err().to_string();
    assert_eq!(share, "expected min_dead above 0 and up to 1, found 1.25");
    let level = PackOptions { codec: Codec::Zstd { level: 20 }, shuffle: true, ..PackOptions::default() };
    assert_eq!(store.pack(&level).unwrap_err().to_string(), "expected level from 1 to 19, found 20");
}

#[test]
fn a_packed_store_that_version_2_wrote_opens_forever() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store-v2");
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    let look = |store: &VectorStore| {
        assert_eq!((store.len(), store.stats().packed_segments), (200, 2));
        check::<f16>(&store.snapshot(), 0..10, 2).unwrap();
        check::<f16>(&store.snapshot(), 10..200, 1).unwrap();
        assert!(store.verify().is_empty());
    };
    look(&VectorStore::open_read_only(folder.path()).unwrap());
    let store = VectorStore::open(folder.path()).unwrap();
    look(&store);
    put::<f16>(&store, 0..10, 2);
    store.checkpoint().unwrap();
    drop(store);
    look(&VectorStore::open(folder.path()).unwrap());
}

/// What wrote the golden store.
#[test]
#[ignore = "it writes the golden files of a version that is out"]
fn writes_the_golden_store() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store-v2");
    let store = VectorStore::create(&folder, &options::<f16>(90)).unwrap();
    put::<f16>(&store, 0..91, 1);
    store.pack(&LZ4).unwrap();
    put::<f16>(&store, 91..181, 1);
    store.pack(&ZSTD).unwrap();
    put::<f16>(&store, 181..200, 1);
    put::<f16>(&store, 0..10, 2);
    drop(store);
    fs::remove_file(folder.join("lock")).unwrap();
}

#[test]
fn a_manifest_that_packs_anything_but_whole_blocks_is_refused() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store-v2/manifest");
    let file = Container::open(&golden, FileKind::new("store"), 2..=2, Verify::Sections).unwrap();
    // The first segment is packed: its form, the rows it has room for, its spans; and the rows of its first span.
    for (name, at, value) in [("segments", 12, 2), ("segments", 4, 91), ("segments", 8, 0), ("spans", 4, 89)] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ContainerWriter::create(folder.path().join("manifest"), FileKind::new("store"), 2).unwrap();
        for section in file.sections() {
            let mut bytes = file.bytes(section.id).unwrap().to_vec();
            if section.id == SectionId::new(name) {
                bytes[at] = value;
            }
            writer.section(section.id, &bytes).unwrap();
        }
        writer.finish().unwrap();
        let error = VectorStore::open_read_only(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Manifest(OpenError::Corrupt { .. })), "{name} {at}: {error}");
    }
}

//! The vector store as its users see it.
#![expect(clippy::unwrap_used, reason = "a test, all of it")]

use nearlab_storage::Vectors;
use nearlab_storage::disk::{Fault, Rehearsal};
use nearlab_storage::store::{
    Change, CompactOptions, Durability, ElementKind, Id, IdKind, Ids, Past, SegmentView, Shape, StoreError,
    StoreOptions, VectorStore,
};

const SHAPE: Shape = Shape { dim: 4, element: ElementKind::F32, ids: IdKind::Numbers };

fn options(rows: u64) -> StoreOptions {
    StoreOptions { segment_bytes: rows * 16, ..StoreOptions::new(SHAPE) }
}

/// A vector that says which it is.
fn row(id: u64, version: u64) -> [f32; 4] {
    [id as f32, version as f32, 0.5, -1.0]
}

fn rows(ids: &[u64], version: u64) -> Vec<f32> {
    ids.iter().flat_map(|&id| row(id, version)).collect()
}

fn put(store: &VectorStore, ids: &[u64], version: u64) {
    store.write(ids, Vectors::new(&rows(ids, version), 4), Durability::Flush).unwrap();
}

/// The versions that the ids have, 0 for none.
fn versions(store: &VectorStore, ids: &[u64]) -> Vec<u64> {
    let (mut rows, mut found) = (vec![0.0; ids.len() * 4], vec![false; ids.len()]);
    store.read(ids, &mut rows, &mut found).unwrap();
    let version = |((id, row), found): ((&u64, &[f32]), &bool)| {
        assert!(row == if *found { self::row(*id, row[1] as u64) } else { [0.0; 4] });
        if *found { row[1] as u64 } else { 0 }
    };
    ids.iter().zip(rows.chunks(4)).zip(&found).map(version).collect()
}

#[test]
fn what_was_put_is_read_replaced_deleted_and_there_after_the_store_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path().join("s"), &options(3)).unwrap();
    put(&store, &[7, 8, 9, 10], 1);
    put(&store, &[8, 11], 2);
    let deleted = store.delete(&[7, 1000], Durability::Sync).unwrap();
    assert_eq!((deleted.sequence, deleted.freed.len(), store.len(), store.sequence()), (3, 1, 4, 3));
    let ids = [7, 8, 9, 10, 11, 12];
    assert_eq!(versions(&store, &ids), [0, 2, 1, 1, 2, 0]);
    drop(store);
    let store = VectorStore::open(folder.path().join("s")).unwrap();
    assert_eq!((versions(&store, &ids), store.len(), store.sequence()), (vec![0, 2, 1, 1, 2, 0], 4, 3));
    put(&store, &[12], 3);
    store.checkpoint().unwrap();
    drop(store);
    let store = VectorStore::open_read_only(folder.path().join("s")).unwrap();
    assert_eq!((versions(&store, &ids), store.sequence()), (vec![0, 2, 1, 1, 2, 3], 4));
    assert!(store.verify().is_empty());
}

#[test]
fn names_serve_as_ids_and_bytes_as_components() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { dim: 2, element: ElementKind::U8, ids: IdKind::Names };
    let store = VectorStore::create(folder.path(), &StoreOptions::new(shape)).unwrap();
    store.write(&["ä", "", "b"], Vectors::new(&[1_u8, 2, 3, 4, 5, 6], 2), Durability::None).unwrap();
    store.delete(&["b"], Durability::None).unwrap();
    store.checkpoint().unwrap();
    store.write(&["c"], Vectors::new(&[7_u8, 8], 2), Durability::None).unwrap();
    drop(store);
    let store = VectorStore::open(folder.path()).unwrap();
    let (mut rows, mut found) = ([0_u8; 8], [false; 4]);
    assert_eq!(store.read(&["", "b", "c", "ä"], &mut rows, &mut found).unwrap(), 3);
    assert_eq!((rows, found), ([3, 4, 0, 0, 7, 8, 1, 2], [true, false, true, true]));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.id(0), Some(Id::Name("ä".into())));
    assert_eq!(snapshot.slots_of(&["c", "x"]).unwrap(), [Some(2), None], "the slot of `b` was given again");
    assert_eq!(snapshot.row::<u8>(2).unwrap(), Some(&[7, 8][..]));
}

#[test]
fn a_snapshot_sees_what_was_there_whatever_is_changed_compacted_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    let ids: Vec<u64> = (0..30).collect();
    put(&store, &ids, 1);
    let snapshot = store.snapshot();
    put(&store, &ids[..20], 2);
    store.delete(&ids[20..], Durability::Flush).unwrap();
    let compacted = store.compact(&CompactOptions { min_dead: 0.01 }).unwrap();
    assert_eq!((compacted.moved, compacted.freed_bytes), (2, 30 * 16));
    put(&store, &ids, 3);
    drop(store);
    let (mut rows, mut found) = (vec![0.0; 120], vec![false; 30]);
    assert_eq!(snapshot.read(&ids[..], &mut rows, &mut found).unwrap(), 30);
    assert_eq!(rows, self::rows(&ids, 1));
    assert_eq!((snapshot.len(), snapshot.sequence()), (30, 1));
}

#[test]
fn compaction_gives_room_back_and_changes_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(100)).unwrap();
    let ids: Vec<u64> = (0..1000).collect();
    put(&store, &ids, 1);
    put(&store, &ids[300..700], 2);
    store.delete(&ids[900..], Durability::Flush).unwrap();
    let before = store.snapshot();
    assert_eq!(store.stats().rows, 1400);
    let compacted = store.compact(&CompactOptions::default()).unwrap();
    assert_eq!(compacted.freed_bytes, 500 * 16);
    assert_eq!((store.stats().rows, store.stats().vectors), (900, 900));
    assert_eq!(store.compact(&CompactOptions::default()).unwrap().segments, 0, "there is nothing left to do");
    let after = store.snapshot();
    assert!(before.slots().eq(after.slots()), "slots stay");
    drop((before, after, store));
    let store = VectorStore::open(folder.path()).unwrap();
    let expected: Vec<u64> =
        ids.iter().map(|id| [1, 2, 1, 0][[300, 700, 900].partition_point(|end| end <= id)]).collect();
    assert_eq!(versions(&store, &ids), expected);
    put(&store, &ids, 4);
    assert_eq!(versions(&store, &ids), [4; 1000]);
}

#[test]
fn segments_lend_their_rows_where_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    put(&store, &[0, 1, 2, 3, 4, 5], 1);
    put(&store, &[1], 2);
    store.delete(&[4], Durability::Flush).unwrap();
    let snapshot = store.snapshot();
    let segments = snapshot.segments::<f32>().unwrap();
    assert_eq!(segments.iter().map(|segment| segment.vectors.len()).collect::<Vec<_>>(), [4, 3]);
    for segment in segments {
        assert_eq!(segment.vectors.as_slice().as_ptr() as usize % 4096, 0, "rows begin on a page");
        for (vector, slot) in segment.vectors.iter().zip(segment.slots) {
            match snapshot.id(slot) {
                Some(Id::Number(id)) => assert_eq!(vector[0] as u64, id),
                _ => assert_eq!(slot, SegmentView::<f32>::NO_SLOT),
            }
        }
    }
}

#[test]
fn changes_are_told_with_what_was_attached_as_far_as_the_log_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    put(&store, &[1], 1);
    let rows = row(2, 1);
    let change =
        Change { put: Ids::from(&[2]), rows: Vectors::new(&rows, 4).into(), delete: (&[1]).into(), attachment: b"why" };
    let second = store.commit(&change, Durability::None).unwrap();
    let past = store.since(1).unwrap().unwrap();
    assert_eq!((past.len(), &past[0].committed, &past[0].attachment[..]), (1, &second, &b"why"[..]));
    assert_eq!(store.since(0).unwrap().unwrap().len(), 2);
    assert!(store.since(2).unwrap().unwrap().is_empty());
    store.checkpoint().unwrap();
    assert_eq!(store.since(1).unwrap(), None);
    assert!(store.since(2).unwrap().unwrap().is_empty());
    store.keep_since(2).unwrap();
    for sequence in 3..6 {
        put(&store, &[sequence], sequence);
        store.checkpoint().unwrap();
    }
    drop(store);
    let store = VectorStore::open(folder.path()).unwrap();
    store.keep_since(3).unwrap();
    put(&store, &[6], 6);
    let sequences = |past: Vec<Past>| past.iter().map(|past| past.committed.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(store.since(2).unwrap().unwrap()), [3, 4, 5, 6]);
    store.checkpoint().unwrap();
    assert_eq!(store.since(2).unwrap(), None);
    assert_eq!(sequences(store.since(3).unwrap().unwrap()), [4, 5, 6]);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    let message = |outcome: Result<_, StoreError>| {
        outcome.map(|_: nearlab_storage::store::Committed| ()).unwrap_err().to_string()
    };
    let two = rows(&[1, 2], 1);
    let vectors = Vectors::new(&two, 4);
    let write = |ids: Ids<'_>| message(store.write(ids, vectors, Durability::Sync));
    assert_eq!(write((&[1]).into()), "expected an id for each of 2 vectors, found 1");
    assert_eq!(write((&[3, 3]).into()), "expected each id once in a change, found 3 twice");
    assert_eq!(write((&["a", "b"]).into()), "expected ids that are numbers, found names");
    let narrow = message(store.write(&[1, 2, 3, 4], Vectors::new(&two, 2), Durability::Sync));
    assert_eq!(narrow, "expected vectors of 4 components, found 2");
    let bytes = message(store.write(&[1], Vectors::new(&[1_u8; 4], 4), Durability::Sync));
    assert_eq!(bytes, "expected components of type f32, found u8");
    assert!(store.is_empty() && store.sequence() == 0);
    let again = VectorStore::create(folder.path(), &options(4)).unwrap_err().to_string();
    assert!(again.contains("is open for writing elsewhere"), "{again}");
    let second = VectorStore::open(folder.path()).unwrap_err().to_string();
    assert!(second.contains(folder.path().to_str().unwrap()) && second.contains("only writer"), "{second}");
    let reader = VectorStore::open_read_only(folder.path()).unwrap();
    assert!(message(reader.delete(&[1], Durability::None)).contains("was opened read-only"));
    drop(store);
    assert!(VectorStore::create(folder.path(), &options(4)).unwrap_err().to_string().contains("holds a store already"));
    let empty = tempfile::tempdir().unwrap();
    assert!(VectorStore::open(empty.path()).unwrap_err().to_string().contains("holds no store"));
    let wide = StoreOptions::new(Shape { dim: 0, ..SHAPE });
    let none = VectorStore::create(empty.path(), &wide).unwrap_err().to_string();
    assert_eq!(none, "expected dim from 1 to 65536, found 0");
}

#[test]
fn readers_see_whole_changes_while_the_writer_writes_and_compacts() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(50)).unwrap();
    let ids: Vec<u64> = (0..40).collect();
    put(&store, &ids, 1);
    let writing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while writing.load(std::sync::atomic::Ordering::Relaxed) {
                    let snapshot = store.snapshot();
                    let mut seen = versions(&store, &ids);
                    seen.dedup();
                    assert_eq!(seen.len(), 1, "each change replaces all");
                    assert!(seen[0] >= snapshot.sequence(), "what is read later is not older");
                    let (mut rows, mut found) = (vec![0.0; 160], vec![false; 40]);
                    snapshot.read(&ids[..], &mut rows, &mut found).unwrap();
                    assert!(store.verify().is_empty());
                    assert_eq!(rows, self::rows(&ids, snapshot.sequence()));
                }
            });
        }
        for version in 2..300 {
            put(&store, &ids, version);
            match version % 20 {
                3 => drop(store.compact(&CompactOptions::default()).unwrap()),
                9 => store.checkpoint().unwrap(),
                _ => {}
            }
        }
        writing.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(store.stats().rows < 2000, "{:?}", store.stats());
}

#[test]
fn a_reader_leaves_no_trace_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    put(&store, &[1, 2, 3, 4, 5], 1);
    drop(store);
    std::fs::remove_file(folder.path().join("lock")).unwrap();
    let files = || {
        let entry = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (std::fs::read(&path).unwrap(), path)
        };
        let mut files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(entry).collect();
        files.sort();
        files
    };
    let before = files();
    let store = VectorStore::open_read_only(folder.path()).unwrap();
    assert_eq!(versions(&store, &[1, 5]), [1, 1]);
    assert!(store.verify().is_empty());
    drop(store);
    assert!(before == files());
}

#[test]
fn the_figures_of_a_store_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(4)).unwrap();
    put(&store, &[1, 2, 3, 4, 5], 1);
    store.delete(&[2], Durability::Sync).unwrap();
    let stats = store.stats();
    assert_eq!((stats.vectors, stats.rows, stats.segments, stats.sequence, stats.row_bytes), (4, 5, 2, 2, 80));
    let log = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let log = log.filter(|path| path.to_str().unwrap().contains("log-")).map(|path| path.metadata().unwrap().len());
    assert_eq!(stats.log_bytes, log.sum::<u64>());
    assert!(stats.memory_bytes > 0);
}

/// The files of a folder whose names begin so.
fn files(folder: &std::path::Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).collect();
    paths.sort();
    paths
}

#[test]
fn what_a_damaged_log_can_not_tell_is_an_error_and_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(100)).unwrap();
    store.keep_since(0).unwrap();
    (1..=5).for_each(|id| put(&store, &[id], 1));
    store.checkpoint().unwrap();
    (6..=7).for_each(|id| put(&store, &[id], 1));
    let kept = &files(folder.path(), "log-")[0];
    let whole = std::fs::read(kept).unwrap();
    for at in (64..whole.len()).step_by(9) {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(kept, &damaged).unwrap();
        match store.since(0) {
            Ok(past) => assert_eq!(past.unwrap().len(), 7),
            Err(error) => assert!(error.is_corruption(), "{error}"),
        }
    }
    std::fs::write(kept, &whole[..64]).unwrap();
    assert!(store.since(0).unwrap_err().is_corruption());
    assert_eq!(store.since(5).unwrap().unwrap().len(), 2);
    assert_eq!(store.since(8).unwrap(), None, "there is no such change yet");
}

#[test]
fn damaged_rows_are_not_given_a_new_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let store = VectorStore::create(folder.path(), &options(100)).unwrap();
    put(&store, &[1, 2], 1);
    put(&store, &[3, 4], 1);
    let segment = &files(folder.path(), "segment-")[0];
    let file = std::fs::File::options().write(true).open(segment).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, &[7], 4096 + 16).unwrap();
    assert_eq!(store.verify().len(), 1);
    store.checkpoint().unwrap();
    store.delete(&[1, 4], Durability::Sync).unwrap();
    assert!(store.compact(&CompactOptions { min_dead: 0.1 }).unwrap_err().is_corruption());
    // Nothing hangs on the damaged rows any more.
    store.delete(&[2], Durability::Sync).unwrap();
    assert_eq!(store.compact(&CompactOptions { min_dead: 0.1 }).unwrap().moved, 1);
    assert!(store.verify().is_empty() && files(folder.path(), "segment-").len() == 1);
    assert_eq!(versions(&store, &[1, 2, 3, 4]), [0, 0, 1, 0]);
}

#[test]
fn a_store_is_not_made_where_there_is_anything() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["log-2024.txt", "segment-00000007", "notes"] {
        let file = folder.path().join(name);
        std::fs::write(&file, "somebody's own").unwrap();
        let error = VectorStore::create(folder.path(), &options(4)).unwrap_err().to_string();
        assert!(error.contains("expected an empty or missing folder"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's own");
        std::fs::remove_file(file).unwrap();
    }
    let deep = folder.path().join("a/b/c");
    put(&VectorStore::create(&deep, &options(4)).unwrap(), &[1], 1);
    std::fs::write(deep.join("log-2024.txt"), "somebody's own").unwrap();
    drop(VectorStore::open(&deep).unwrap());
    assert!(deep.join("log-2024.txt").exists());
}

#[test]
fn a_change_that_fails_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::create_on(disk.clone(), &options(4)).unwrap();
    put(&store, &[100], 1);
    let ids: Vec<u64> = (0..20).collect();
    for fault in [Fault::Full, Fault::Io] {
        disk.fail(fault, disk.calls() + 13, 1);
        let rows = rows(&ids, 2);
        let outcome = store.write(&ids[..], Vectors::new(&rows, 4), Durability::Flush);
        assert!(matches!(outcome, Err(StoreError::Io { .. })), "{outcome:?}");
        assert_eq!((files(folder.path(), "segment-").len(), store.stats().segments, store.len()), (1, 1, 1));
    }
    put(&store, &ids, 3);
    assert_eq!((versions(&store, &[0, 19, 100]), store.stats().segments), (vec![3, 3, 1], 6));
    let log = store.stats().log_bytes;
    (0..100).for_each(|_| store.sync().unwrap());
    assert!(store.stats().log_bytes <= log + 48, "a sync of nothing writes nothing");
}

#[test]
fn a_store_that_version_1_wrote_opens_forever() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store-v1");
    let folder = tempfile::tempdir().unwrap();
    for file in files(&golden, "") {
        std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    let check = |store: &VectorStore, found: [bool; 4]| {
        let (mut rows, mut there) = ([0_u8; 12], [false; 4]);
        store.read(&["a", "b", "c", "d"], &mut rows, &mut there).unwrap();
        assert_eq!((&rows[6..], there), (&[10, 11, 12, 13, 14, 15][..], found));
        assert!(store.verify().is_empty());
    };
    check(&VectorStore::open_read_only(folder.path()).unwrap(), [false, false, true, true]);
    let store = VectorStore::open(folder.path()).unwrap();
    let past = store.since(0).unwrap().unwrap();
    assert_eq!(past.iter().map(|past| &past.attachment[..]).collect::<Vec<_>>(), [&b""[..], b"", b"kept"]);
    store.write(&["b"], Vectors::new(&[1_u8, 1, 1], 3), Durability::Sync).unwrap();
    store.compact(&CompactOptions { min_dead: 0.1 }).unwrap();
    drop(store);
    check(&VectorStore::open(folder.path()).unwrap(), [false, true, true, true]);
}

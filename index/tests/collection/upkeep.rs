//! Keeping a collection in shape beside those who use it, and when that does not come to its end.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use nearlab_index::collection::{Collection, CollectionConfig, CollectionError, IndexConfig, Records, SearchOptions};
use nearlab_index::{BuildError, Progress, Stage};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::store::{Durability, PackOptions};

use super::model::{DIM, Model, Seeded, agree, config, copy, hnsw, ivf, plain_hnsw, thorough, upsert};

/// Long enough for anything but waiting for each other.
const PATIENCE: Duration = Duration::from_mins(2);

/// Cancels what it watches at once.
struct Cancelled;

impl Progress for Cancelled {
    fn report(&self, _: Stage, _: u64, _: u64) {}

    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_collection_goes_on_after_an_optimisation_that_was_cancelled() {
    for index in [hnsw(), plain_hnsw(), ivf()] {
        let folder = tempfile::tempdir().unwrap();
        let collection = Collection::create(folder.path().join("c"), config(index, Metric::L2), 2).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(23));
        // Once before there is an index, once when there is.
        for _ in 0..2 {
            (0..3).for_each(|_| upsert(&collection, &mut model, &mut seeded, 60));
            let outcome = collection.optimize(&Cancelled);
            assert!(matches!(outcome, Err(CollectionError::Build(BuildError::Cancelled))), "{outcome:?}");
            agree(&collection, &model, &mut seeded);
            upsert(&collection, &mut model, &mut seeded, 30);
            agree(&collection, &model, &mut seeded);
            collection.optimize(&()).unwrap();
            assert_eq!(collection.stats().unindexed, 0);
            agree(&collection, &model, &mut seeded);
        }
    }
}

#[test]
fn an_optimisation_ends_while_a_snapshot_is_searched_without_a_pause() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(plain_hnsw(), Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(29));
    (0..3).for_each(|_| upsert(&collection, &mut model, &mut seeded, 60));
    collection.optimize(&()).unwrap();
    upsert(&collection, &mut model, &mut seeded, 30);
    let snapshot = collection.snapshot().unwrap();
    let searching = AtomicBool::new(true);
    let (told, ends) = mpsc::channel();
    let ended = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut searcher = snapshot.searcher();
                while searching.load(Ordering::Relaxed) {
                    searcher.search(&[100.0; DIM], 5, &SearchOptions::default()).unwrap();
                }
            });
        }
        scope.spawn(|| told.send(collection.optimize(&()).is_ok()));
        let ended = ends.recv_timeout(PATIENCE);
        searching.store(false, Ordering::Relaxed);
        ended
    });
    assert_eq!(ended, Ok(true));
}

#[test]
fn backups_are_whole_while_vectors_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::create(folder.path().join("c"), config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(31));
    let all = PackOptions { growing: true, ..PackOptions::default() };
    for round in 0..8 {
        upsert(&collection, &mut model, &mut seeded, 200);
        let to = folder.path().join(round.to_string());
        std::thread::scope(|scope| {
            scope.spawn(|| collection.pack(&all).unwrap());
            collection.backup(&to).unwrap();
        });
        agree(&Collection::open_read_only(&to).unwrap(), &model, &mut seeded);
    }
}

#[test]
fn of_two_copies_that_are_begun_in_one_folder_one_is_whole_and_the_other_refused() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let (mut model, mut seeded) = (Model::default(), Seeded(71));
    let collection = Collection::create(&paths[0], config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    upsert(&collection, &mut model, &mut seeded, 100);
    drop(collection);
    copy(&paths[0], &paths[1]);
    let collections = paths.map(|path| Collection::open(path, 1).unwrap());
    for round in 0..8 {
        let (to, both) = (folder.path().join(round.to_string()), Barrier::new(2));
        let back_up = |collection: &Collection| {
            both.wait();
            collection.backup(&to)
        };
        let outcomes = std::thread::scope(|scope| {
            let other = scope.spawn(|| back_up(&collections[1]));
            [back_up(&collections[0]), other.join().unwrap()]
        });
        assert!(
            matches!(outcomes, [Ok(()), Err(CollectionError::Exists(_))] | [Err(CollectionError::Exists(_)), Ok(())]),
            "{outcomes:?}"
        );
        agree(&Collection::open_read_only(&to).unwrap(), &model, &mut seeded);
    }
}

#[test]
fn a_reader_gives_back_the_memory_of_packed_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let collection = Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(37));
    upsert(&collection, &mut model, &mut seeded, 100);
    collection.pack(&PackOptions { growing: true, ..PackOptions::default() }).unwrap();
    drop(collection);
    let reader = Collection::open_read_only(&path).unwrap();
    agree(&reader, &model, &mut seeded);
    assert!(reader.cool().unwrap() > 0);
    agree(&reader, &model, &mut seeded);
}

#[test]
fn an_index_in_the_place_of_a_damaged_one_has_a_generation_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let collection = Collection::create(&path, config(hnsw(), Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(41));
    upsert(&collection, &mut model, &mut seeded, 200);
    collection.optimize(&()).unwrap();
    drop(collection);
    let index = path.join("index-00000001");
    let mut bytes = fs::read(&index).unwrap();
    bytes[4096] ^= 1;
    fs::write(&index, &bytes).unwrap();
    let collection = Collection::open(&path, 1).unwrap();
    collection.optimize(&()).unwrap();
    assert!(path.join("index-00000002").exists() && !index.exists());
    agree(&collection, &model, &mut seeded);
}

#[test]
fn what_a_process_left_of_an_index_that_it_was_writing_is_removed_and_never_copied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    drop(Collection::create(&path, config(hnsw(), Metric::L2), 1).unwrap());
    let left = ["index.new", ".index.new.x7.tmp"].map(|name| path.join(name));
    for path in &left {
        fs::write(path, "half").unwrap();
    }
    let collection = Collection::open(&path, 1).unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    fs::write(&left[1], "half").unwrap();
    let backup = folder.path().join("backup");
    collection.backup(&backup).unwrap();
    assert!(!backup.join(".index.new.x7.tmp").exists());
}

#[test]
fn metadata_that_were_damaged_since_they_were_written_are_made_up_for_by_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (path, left) = (folder.path().join("c"), folder.path().join("left"));
    let collection = Collection::create(&path, config(IndexConfig::Flat, Metric::L2), 1).unwrap();
    let (mut model, mut seeded) = (Model::default(), Seeded(43));
    upsert(&collection, &mut model, &mut seeded, 100);
    collection.sync().unwrap();
    let before = fs::read(path.join("metadata.redb")).unwrap();
    upsert(&collection, &mut model, &mut seeded, 40);
    // Durable, and the log begins anew.
    collection.optimize(&()).unwrap();
    copy(&path, &left);
    let whole = fs::read(left.join("metadata.redb")).unwrap();
    let pages = whole.chunks(4096).zip(before.chunks(4096)).enumerate();
    let changed: Vec<usize> = pages.filter(|(_, (now, then))| now != then).map(|(page, _)| page).collect();
    let mut made_up = 0;
    for page in changed {
        let copied = folder.path().join(format!("page-{page}"));
        copy(&left, &copied);
        let mut bytes = whole.clone();
        bytes[page * 4096 + 100] ^= 1;
        fs::write(copied.join("metadata.redb"), &bytes).unwrap();
        match Collection::open(&copied, 1) {
            Ok(opened) => {
                agree(&opened, &model, &mut seeded);
                made_up += 1;
            }
            Err(error) => assert!(error.to_string().contains("metadata.redb is damaged"), "{error}"),
        }
        fs::remove_dir_all(&copied).unwrap();
    }
    assert!(made_up > 0);
}

/// Records that the index lacks once those of some ids are put.
fn unindexed_after(collection: &Collection, ids: std::ops::Range<u64>, seeded: &mut Seeded) -> usize {
    let ids: Vec<u64> = ids.collect();
    let rows: Vec<f32> = ids.iter().flat_map(|_| seeded.vector()).collect();
    let records = Records { ids: (&ids[..]).into(), vectors: Vectors::new(&rows, DIM), documents: &[] };
    collection.upsert(&records, Durability::Flush).unwrap();
    collection.stats().unindexed
}

#[test]
fn a_graph_over_codes_takes_in_no_more_than_it_has_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let mut seeded = Seeded(47);
    let mut put = |collection: &Collection, ids| unindexed_after(collection, ids, &mut seeded);
    let config = CollectionConfig { schema: None, ..config(hnsw(), Metric::L2) };
    let collection = Collection::create(&path, config, 1).unwrap();
    put(&collection, 0..100);
    collection.optimize(&()).unwrap();
    assert_eq!(put(&collection, 100..101), 1, "a hundred teach too little");
    put(&collection, 101..300);
    collection.optimize(&()).unwrap();
    assert_eq!(put(&collection, 300..600), 0, "as many again");
    assert_eq!(put(&collection, 600..601), 1);
    collection.sync().unwrap();
    collection.optimize(&Cancelled).unwrap_err();
    drop(collection);
    // Neither is it forgotten: the file says what the index was built of.
    let collection = Collection::open(&path, 1).unwrap();
    collection.optimize(&()).unwrap();
    assert_eq!(put(&collection, 601..700), 0);
    collection.optimize(&()).unwrap();
    drop(collection);
    let collection = Collection::open(&path, 1).unwrap();
    assert_eq!((collection.stats().unindexed, put(&collection, 700..1300)), (0, 600));
    assert_eq!(collection.verify().unwrap(), []);
}

#[test]
fn what_replaces_others_in_a_graph_over_codes_counts_as_what_is_added_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let mut seeded = Seeded(73);
    let mut put = |collection: &Collection, ids| unindexed_after(collection, ids, &mut seeded);
    let config = CollectionConfig { schema: None, ..config(hnsw(), Metric::L2) };
    let collection = Collection::create(&path, config, 1).unwrap();
    put(&collection, 0..300);
    collection.optimize(&()).unwrap();
    assert_eq!(put(&collection, 0..200), 0);
    collection.optimize(&()).unwrap();
    drop(collection);
    // The file says what was taken in.
    let collection = Collection::open(&path, 1).unwrap();
    assert_eq!((put(&collection, 0..100), put(&collection, 0..1)), (0, 1), "it has taken in 300");
    collection.optimize(&()).unwrap();
    assert_eq!(put(&collection, 0..300), 0, "the codes have learnt anew");
    // From none of these: so they do again, although nothing is missing.
    collection.optimize(&()).unwrap();
    assert_eq!((put(&collection, 0..300), put(&collection, 0..1)), (0, 1));
}

#[test]
fn as_many_hits_as_there_can_be_are_all_records() {
    for index in [IndexConfig::Flat, hnsw(), plain_hnsw(), ivf()] {
        let folder = tempfile::tempdir().unwrap();
        let collection = Collection::create(folder.path().join("c"), config(index, Metric::L2), 1).unwrap();
        let (mut model, mut seeded) = (Model::default(), Seeded(79));
        upsert(&collection, &mut model, &mut seeded, 100);
        collection.optimize(&()).unwrap();
        let hits = collection.searcher().search(&seeded.vector(), usize::MAX, &thorough()).unwrap();
        assert_eq!(hits.len(), model.0.len());
    }
}

//! A store under schedules that shuttle chooses: every lock and atomic of the store is a place where another thread may go on.
//!
//! `just schedules` runs them. A schedule that fails is printed; `shuttle::replay` runs it again.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::sync::Arc;

use nearlab_storage::Vectors;
use nearlab_storage::store::{
    CompactOptions, Durability, ElementKind, IdKind, Shape, Snapshot, StoreOptions, VectorStore,
};
use shuttle::thread;

const IDS: [u64; 3] = [1, 2, 3];
const DIM: usize = 2;

/// On every schedule of some thousand: half of them by chance, half of them with few changes of threads (PCT, Burckhardt and
/// others 2010), which find what needs a rare order.
fn on_schedules(run: impl Fn() + Clone + Send + Sync + 'static) {
    let schedules = std::env::var("NEARLAB_SCHEDULES").map_or(2000, |count| count.parse().unwrap());
    shuttle::check_random(run.clone(), schedules / 2);
    shuttle::check_pct(run, schedules / 2, 3);
}

/// Two rows to a segment: changes begin new ones.
fn options() -> StoreOptions {
    let shape = Shape { dim: DIM, element: ElementKind::F32, ids: IdKind::Numbers };
    StoreOptions { segment_bytes: 16, checkpoint_bytes: 256, ..StoreOptions::new(shape) }
}

/// In memory: what is tried is the order of steps, not the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// Every vector says the number of the change it came with.
fn put(store: &VectorStore, ids: &[u64], durability: Durability) -> u64 {
    let number = (store.sequence() + 1) as f32;
    store.write(ids, Vectors::new(&vec![number; ids.len() * DIM], DIM), durability).unwrap().sequence
}

/// What a snapshot says of [`IDS`]: their common change, which is the last or the one before it took id 4.
fn said(snapshot: &Snapshot) -> f32 {
    let (mut rows, mut found) = ([0.0_f32; IDS.len() * DIM], [false; IDS.len()]);
    assert_eq!(snapshot.read(&IDS, &mut rows, &mut found).unwrap(), IDS.len(), "all ids are there");
    assert!(rows.iter().all(|&component| component == rows[0]), "half a change: {rows:?}");
    rows[0]
}

#[test]
fn readers_see_whole_changes_in_order_beside_writing_and_compaction() {
    on_schedules(|| {
        let folder = folder();
        let store = Arc::new(VectorStore::create(folder.path(), &options()).unwrap());
        put(&store, &IDS, Durability::None);
        let writer = Arc::clone(&store);
        let writer = thread::spawn(move || {
            for durability in [Durability::None, Durability::Flush, Durability::Sync] {
                put(&writer, &IDS, durability);
                writer.delete(&[3], Durability::None).unwrap();
                put(&writer, &IDS, durability);
            }
        });
        let compacting = Arc::clone(&store);
        let compacting = thread::spawn(move || {
            for _ in 0..2 {
                compacting.compact(&CompactOptions { min_dead: 0.5 }).unwrap();
                compacting.checkpoint().unwrap();
            }
        });
        let reader = Arc::clone(&store);
        let reader = thread::spawn(move || {
            let mut last = 0;
            for _ in 0..4 {
                let snapshot = reader.snapshot();
                assert!(snapshot.sequence() >= last, "a snapshot of an earlier moment than the one before");
                last = snapshot.sequence();
                let whole = snapshot.len() == IDS.len();
                let before = whole.then(|| said(&snapshot));
                assert!(before.is_none_or(|change| change == last as f32));
                assert!(snapshot.segments::<f32>().unwrap().iter().all(|segment| segment.vectors.len() <= 2));
                thread::yield_now();
                assert_eq!(whole.then(|| said(&snapshot)), before, "a snapshot changed");
                reader.stats();
            }
        });
        for thread in [writer, compacting, reader] {
            thread.join().unwrap();
        }
        let last = said(&store.snapshot());
        assert_eq!(last, store.sequence() as f32);
        assert!(store.verify().is_empty());
        store.sync().unwrap();
        drop(store);
        assert_eq!(said(&VectorStore::open(folder.path()).unwrap().snapshot()), last);
    });
}

#[test]
fn readers_that_meet_in_rows_that_nobody_has_read_yet_all_read_them() {
    on_schedules(|| {
        let folder = folder();
        let store = VectorStore::create(folder.path(), &options()).unwrap();
        let last = put(&store, &IDS, Durability::Sync);
        drop(store);
        let store = Arc::new(VectorStore::open(folder.path()).unwrap());
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let store = Arc::clone(&store);
                thread::spawn(move || assert_eq!(said(&store.snapshot()), last as f32))
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn followers_miss_no_change_while_logs_begin_anew() {
    on_schedules(|| {
        let folder = folder();
        let store = Arc::new(VectorStore::create(folder.path(), &options()).unwrap());
        store.keep_since(0).unwrap();
        let writer = Arc::clone(&store);
        let writer = thread::spawn(move || {
            for _ in 0..6 {
                put(&writer, &IDS[..1], Durability::None);
            }
        });
        let follower = Arc::clone(&store);
        let follower = thread::spawn(move || {
            let mut known = 0;
            for _ in 0..4 {
                let past = follower.since(known).unwrap().expect("changes after the first are kept");
                let numbers: Vec<u64> = past.iter().map(|past| past.committed.sequence).collect();
                assert!(
                    numbers.iter().copied().eq(known + 1..=known + numbers.len() as u64),
                    "{numbers:?} after {known}"
                );
                known += numbers.len() as u64;
                follower.keep_since(known).unwrap();
            }
        });
        writer.join().unwrap();
        follower.join().unwrap();
    });
}

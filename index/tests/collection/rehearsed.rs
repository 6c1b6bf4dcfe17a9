//! A whole collection on a disk that keeps a journal: random histories, faults in half of them, then crashes.
//!
//! The tests play some; `just crash` plays more. A failure prints the number that plays it again:
//! `NEARLAB_SEED=12 cargo test --release -p nearlab-index --test collection rehearsed`.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nearlab_index::collection::{Collection, CollectionConfig, CollectionError, IndexConfig, Records};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;
use nearlab_storage::disk::{Crash, Fault, Rehearsal, lay_out};
use nearlab_storage::metadata::Document;
use nearlab_storage::store::{Durability, ElementKind, IdKind, StoreOptions};
use tempfile::TempDir;

use crate::model::{
    DIM, Model, Seeded, agree, answers_agree, config, content, document, go_on, hnsw, ivf, plain_hnsw, with_ids,
};

/// Histories that are played where nobody says how many.
const HISTORIES: u64 = 24;
/// Crashes of each history, of each kind.
const CRASHES: u64 = 8;
const IDS: u64 = 60;

/// A number that the environment gives.
pub(crate) fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// A folder in memory, where there is one: what outlives what is the model's business, not the real disk's.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What the collection holds after a change.
#[derive(Debug, Clone)]
struct Moment {
    sequence: u64,
    model: Model,
    /// The calls that had been made when the change was begun.
    begun: usize,
    /// When it was known to outlive a kill, and a power cut.
    flushed: Option<usize>,
    synced: Option<usize>,
    /// When it was known not to have happened.
    undone: Option<usize>,
}

/// What was tried.
#[derive(Debug, Default)]
struct Tally {
    crashes: AtomicU64,
    faults: AtomicU64,
    operations: AtomicU64,
}

struct Play<'a> {
    seeded: Seeded,
    disk: Rehearsal,
    collection: Option<Collection>,
    moments: Vec<Moment>,
    folder: &'a Path,
}

impl<'a> Play<'a> {
    fn new(seed: u64, folder: &'a Path) -> Self {
        let mut seeded = Seeded(seed);
        let path = folder.join("c");
        fs::create_dir(&path).unwrap();
        let disk = Rehearsal::in_folder(&path).unwrap();
        let index = [IndexConfig::Flat, hnsw(), plain_hnsw(), ivf()][seeded.below(4) as usize].clone();
        let metric = [Metric::L2, Metric::Cosine, Metric::InnerProduct][seeded.below(3) as usize];
        let element = [ElementKind::F32, ElementKind::F16, ElementKind::U8][seeded.below(3) as usize];
        let ids = [IdKind::Numbers, IdKind::Names][seeded.below(2) as usize];
        let config = CollectionConfig { element, ids, ..config(index, metric) };
        let shape = nearlab_storage::store::Shape { dim: DIM, element: config.element, ids: config.ids };
        let options = StoreOptions {
            segment_bytes: (4 + seeded.below(40)) * 4 * DIM as u64,
            checkpoint_bytes: [3000, 20_000, 1 << 20][seeded.below(3) as usize],
            ..StoreOptions::new(shape)
        };
        let collection = Collection::create_on(disk.clone(), (config, &options), 1).unwrap();
        let calls = Some(disk.calls());
        let start =
            Moment { sequence: 0, model: Model::default(), begun: 0, flushed: calls, synced: calls, undone: None };
        Self { seeded, disk, collection: Some(collection), moments: vec![start], folder }
    }

    fn now(&self) -> &Moment {
        self.moments.iter().rev().find(|moment| moment.undone.is_none()).expect("the start is there")
    }

    fn open(&self) -> &Collection {
        self.collection.as_ref().expect("it is open between operations")
    }

    fn operation(&mut self) {
        match self.seeded.below(20) {
            0..=6 => self.put(Collection::upsert),
            7..=9 => self.put(Collection::load),
            10 => self.insert(),
            11 | 12 => self.delete(),
            13 | 14 => self.settle(|collection| collection.optimize(&())),
            15 => self.settle(Collection::sync),
            16 => self.back_up(),
            17 => {
                let model = self.now().model.clone();
                agree(self.collection.as_ref().expect("it is open"), &model, &mut self.seeded);
            }
            _ => self.reopen(),
        }
        assert_eq!(self.open().len(), self.now().model.0.len());
    }

    fn put(&mut self, how: impl Fn(&Collection, &Records<'_>, Durability) -> Result<u64, CollectionError>) {
        let first = self.seeded.below(IDS);
        let ids: Vec<u64> = (0..=self.seeded.below(20)).map(|i| (first + i) % IDS).collect();
        self.put_all(&ids, how);
    }

    fn insert(&mut self) {
        let there = &self.now().model.0;
        let ids: Vec<u64> = (0..IDS).filter(|id| !there.contains_key(id)).take(5).collect();
        if !ids.is_empty() {
            self.put_all(&ids, Collection::insert);
        }
    }

    fn put_all(
        &mut self,
        ids: &[u64],
        how: impl Fn(&Collection, &Records<'_>, Durability) -> Result<u64, CollectionError>,
    ) {
        let vectors: Vec<Vec<f32>> = ids.iter().map(|_| self.seeded.vector()).collect();
        let prices: Vec<i64> = ids.iter().map(|_| self.seeded.below(1000) as i64).collect();
        let documents: Vec<Document> = prices.iter().map(|&price| document(price)).collect();
        let mut model = self.now().model.clone();
        model.0.extend(ids.iter().copied().zip(vectors.iter().cloned().zip(prices)));
        let rows = vectors.concat();
        let (vectors, documents) = (Vectors::new(&rows, DIM), &documents[..]);
        with_ids(self.open().config().ids, ids, |ids| {
            self.change(model, |collection, durability| {
                how(collection, &Records { ids, vectors, documents }, durability)
            });
        });
    }

    fn delete(&mut self) {
        let ids: Vec<u64> = (0..IDS).filter(|_| self.seeded.below(6) == 0).collect();
        let mut model = self.now().model.clone();
        model.0.retain(|id, _| !ids.contains(id));
        if model != self.now().model {
            with_ids(self.open().config().ids, &ids, |ids| {
                self.change(model, |collection, durability| collection.delete(ids, durability));
            });
        }
    }

    fn change(&mut self, model: Model, how: impl Fn(&Collection, Durability) -> Result<u64, CollectionError>) {
        let durability = [Durability::None, Durability::Flush, Durability::Sync][self.seeded.below(3) as usize];
        let (sequence, begun) = (self.now().sequence + 1, self.disk.calls());
        let outcome = how(self.open(), durability);
        if outcome.is_err() {
            self.see_one_of([self.now().model.clone(), model.clone()]);
        }
        self.moments.push(Moment { sequence, model, begun, flushed: None, synced: None, undone: None });
        match outcome {
            Ok(made) => {
                assert_eq!(made, sequence);
                self.acknowledge(durability);
            }
            Err(_) => self.reopen(),
        }
    }

    /// Documents, vectors and searches are all of one of these moments.
    fn see_one_of(&mut self, moments: [Model; 2]) {
        let collection = self.collection.as_ref().expect("it is open");
        // Metadata that could not be written may answer nothing more.
        let Ok(found) = content(collection, IDS) else { return };
        let model = moments.into_iter().find(|model| *model == found);
        let model = model.unwrap_or_else(|| panic!("a change that failed left {found:?}"));
        answers_agree(collection, collection.config().metric, &model, &mut self.seeded);
    }

    fn settle(&mut self, how: impl Fn(&Collection) -> Result<(), CollectionError>) {
        match how(self.open()) {
            Ok(()) => self.acknowledge(Durability::Sync),
            Err(_) => self.reopen(),
        }
    }

    fn back_up(&mut self) {
        let to = self.folder.join(format!("b{}", self.disk.calls()));
        match self.open().backup(&to) {
            Ok(()) => {
                self.acknowledge(Durability::Sync);
                let model = self.now().model.clone();
                agree(&Collection::open_read_only(&to).unwrap(), &model, &mut self.seeded);
            }
            Err(_) => self.reopen(),
        }
        let _ = fs::remove_dir_all(&to);
    }

    fn acknowledge(&mut self, durability: Durability) {
        let calls = self.disk.calls();
        for moment in self.moments.iter_mut().filter(|moment| moment.undone.is_none()) {
            if durability >= Durability::Flush {
                moment.flushed.get_or_insert(calls);
            }
            if durability == Durability::Sync {
                moment.synced.get_or_insert(calls);
            }
        }
    }

    /// Closes the collection and opens it, again if a call fails.
    fn reopen(&mut self) {
        drop(self.collection.take());
        let open = || Collection::open_on(self.disk.clone(), 1);
        let collection = (0..12).find_map(|_| open().ok()).unwrap_or_else(|| open().unwrap());
        let (found, calls) = (collection.sequence(), self.disk.calls());
        for moment in self.moments.iter_mut().filter(|moment| moment.undone.is_none() && moment.sequence > found) {
            assert!(moment.flushed.is_none(), "{found} is left where {} was acknowledged", moment.sequence);
            moment.undone = Some(calls);
        }
        assert_eq!(found, self.now().sequence);
        let model = self.now().model.clone();
        agree(&collection, &model, &mut self.seeded);
        self.collection = Some(collection);
        self.acknowledge(Durability::Sync);
    }

    /// Which moment it is, of those that a crash during call `at` may leave.
    fn moment(&self, at: usize, power_cut: bool, collection: &Collection) -> &Moment {
        let kept = |moment: &Moment| if power_cut { moment.synced } else { moment.flushed };
        let last = self.moments.iter().rposition(|moment| kept(moment).is_some_and(|calls| calls <= at)).unwrap_or(0);
        let found = (collection.sequence(), content(collection, IDS).unwrap());
        let is_it = |moment: &&Moment| {
            let alive = moment.begun <= at && moment.undone.is_none_or(|calls| at < calls);
            alive && moment.sequence == found.0 && moment.model == found.1
        };
        self.moments[last..].iter().find(is_it).unwrap_or_else(|| {
            let expected: Vec<_> = self.moments.iter().map(|it| (it.sequence, it.begun, kept(it), it.undone)).collect();
            panic!("a crash ({power_cut}) at call {at} left change {} of {expected:?}: {:?}", found.0, found.1)
        })
    }

    fn crash(&self, at: usize, power_cut: bool, seeded: &mut Seeded) {
        let seed = seeded.below(u64::MAX);
        let crash = if power_cut { Crash::PowerCut { seed } } else { Crash::Kill { seed } };
        let folder = scratch();
        lay_out(&self.disk.after(at, crash), folder.path()).unwrap();
        let collection = Collection::open(folder.path(), 1)
            .unwrap_or_else(|error| panic!("a crash ({power_cut}) at call {at} left what can not be opened: {error}"));
        let mut model = self.moment(at, power_cut, &collection).model.clone();
        agree(&collection, &model, seeded);
        go_on(&collection, &mut model, Durability::Flush, seeded);
        drop(collection);
        agree(&Collection::open_read_only(folder.path()).unwrap(), &model, seeded);
    }

    /// A process is killed, the next one opens the collection and acknowledges a change, then the power goes.
    fn kill_then_cut(&self, at: usize, seeded: &mut Seeded) {
        let folder = scratch();
        let disk = self.disk.killed(at, folder.path()).unwrap();
        let collection = Collection::open_on(disk.clone(), 1).unwrap();
        let mut model = self.moment(at, false, &collection).model.clone();
        go_on(&collection, &mut model, Durability::Sync, seeded);
        let sequence = collection.sequence();
        let left = disk.after(disk.calls(), Crash::PowerCut { seed: seeded.below(u64::MAX) });
        let folder = scratch();
        lay_out(&left, folder.path()).unwrap();
        let collection = Collection::open(folder.path(), 1).unwrap();
        assert_eq!(collection.sequence(), sequence, "killed before call {at}");
        agree(&collection, &model, seeded);
    }
}

#[expect(clippy::print_stdout, reason = "it says which history failed")]
fn play(seed: u64, tally: &Tally) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let folder = scratch();
        let mut play = Play::new(seed, folder.path());
        let begun = play.disk.calls();
        let operations = 4 + play.seeded.below(16);
        let fault = (play.seeded.below(2) == 0).then(|| play.seeded.below(operations));
        for i in 0..operations {
            if fault == Some(i) {
                let kinds = [Fault::ShortWrite, Fault::Io, Fault::Full, Fault::Sync];
                let from = play.disk.calls() + play.seeded.below(40) as usize;
                play.disk.fail(kinds[play.seeded.below(4) as usize], from, 1 + play.seeded.below(3) as usize);
                tally.faults.fetch_add(1, Ordering::Relaxed);
            }
            play.operation();
        }
        if play.seeded.below(2) == 0 {
            play.reopen();
        }
        tally.operations.fetch_add(operations, Ordering::Relaxed);
        let mut seeded = Seeded(!seed);
        let calls = play.disk.calls();
        for _ in 0..CRASHES {
            let mut at = || begun + seeded.below((calls + 1 - begun) as u64) as usize;
            let [killed, cut, both] = [at(), at(), at()];
            play.crash(killed, false, &mut seeded);
            play.crash(cut, true, &mut seeded);
            tally.crashes.fetch_add(2, Ordering::Relaxed);
            if seeded.below(4) == 0 {
                play.kill_then_cut(both, &mut seeded);
                tally.crashes.fetch_add(2, Ordering::Relaxed);
            }
        }
    }));
    outcome.unwrap_or_else(|failure| {
        println!("history {seed} of a collection failed; NEARLAB_SEED={seed} plays it again");
        resume_unwind(failure)
    });
}

#[test]
fn what_a_collection_acknowledged_outlives_crashes_and_its_parts_agree_after_them() {
    let tally = Tally::default();
    if let Some(seed) = number("NEARLAB_SEED") {
        play(seed, &tally);
        return;
    }
    let histories = number("NEARLAB_HISTORIES").unwrap_or(HISTORIES);
    let next = AtomicU64::new(0);
    let play = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&seed| seed < histories) {
            play(seed, &tally);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        for thread in threads {
            thread.join().expect("a history failed; its number stands above");
        }
    });
    let [crashes, faults, operations] =
        [&tally.crashes, &tally.faults, &tally.operations].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{histories} histories of a collection, {operations} operations, {faults} faults, {crashes} crashes: nothing \
         acknowledged was lost, vectors, documents and index agree"
    );
    assert!(crashes >= histories * 2 * CRASHES);
}

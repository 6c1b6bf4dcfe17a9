//! One history: changes, syncs, compactions, packings and reopenings in any order, a fault somewhere in half of them, then a crash at
//! every call that was made.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use nearlab_storage::disk::{Crash, Fault, Rehearsal};
use nearlab_storage::store::{
    Codec, CompactOptions, Durability, ElementKind, IdKind, PackOptions, StoreError, StoreOptions, VectorStore,
};

use crate::model::{Content, IDS, Model, Moment, Seeded, commit, content, scratch, shape};

/// What is put after a crash.
const LATER: [(u64, u32); 2] = [(3, 999), (5, 999)];

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) histories: u64,
    pub(crate) crashes: u64,
    pub(crate) crashes_while_opening: u64,
    pub(crate) faults: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.crashes += other.crashes;
        self.crashes_while_opening += other.crashes_while_opening;
        self.faults += other.faults;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, crashes, crashes_while_opening, faults } = self;
        write!(
            f,
            "{histories} histories, {crashes} crashes, of them {crashes_while_opening} in the opening after another, \
             {faults} calls that failed: nothing lost, nothing half there"
        )
    }
}

/// Plays the history with this number.
pub(crate) fn play(seed: u64) -> Tally {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let folder = scratch();
        let (disk, model, faults) = Play::new(seed, &folder.path().join("store")).finish();
        let mut tally = Tally { histories: 1, faults, ..Tally::default() };
        crash_everywhere(seed, &disk, &model, &mut tally);
        tally
    }));
    outcome.unwrap_or_else(|failure| {
        println!("history {seed} failed; NEARLAB_SEED={seed} plays it again");
        resume_unwind(failure)
    })
}

struct Play {
    seeded: Seeded,
    disk: Rehearsal,
    store: Option<VectorStore>,
    model: Model,
    version: u32,
    faults: u64,
}

impl Play {
    fn new(seed: u64, folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let mut seeded = Seeded(seed);
        let disk = Rehearsal::in_folder(folder).unwrap();
        let element = [ElementKind::F32, ElementKind::F32, ElementKind::F16, ElementKind::U8];
        let ids = [IdKind::Numbers, IdKind::Numbers, IdKind::Names];
        let shape = shape(element[seeded.below(4) as usize], ids[seeded.below(3) as usize]);
        let options = StoreOptions {
            segment_bytes: (2 + seeded.below(12)) * shape.row_bytes() as u64,
            checkpoint_bytes: [600, 6000, 1 << 20][seeded.below(3) as usize],
            ..StoreOptions::new(shape)
        };
        let store = VectorStore::create_on(disk.clone(), &options).unwrap();
        let mut model = Model::new();
        model.moments[0].begun = disk.calls();
        Self { seeded, disk, store: Some(store), model, version: 0, faults: 0 }
    }

    fn finish(mut self) -> (Rehearsal, Model, u64) {
        let operations = 4 + self.seeded.below(12);
        let fault = (self.seeded.below(2) == 0).then(|| self.seeded.below(operations));
        for i in 0..operations {
            if fault == Some(i) {
                let kinds = [Fault::ShortWrite, Fault::Io, Fault::Full, Fault::Sync];
                let kind = kinds[self.seeded.below(4) as usize];
                // Any call of the operation, or of one that follows.
                let from = self.disk.calls() + self.seeded.below(14) as usize;
                self.disk.fail(kind, from, 1 + self.seeded.below(3) as usize);
                self.faults += 1;
            }
            self.operation();
        }
        if self.seeded.below(2) == 0 {
            self.reopen();
        }
        (self.disk, self.model, self.faults)
    }

    fn operation(&mut self) {
        match self.seeded.below(23) {
            0..=10 => self.change(),
            11 | 12 => self.settle(VectorStore::sync),
            13 | 14 => self.settle(VectorStore::checkpoint),
            15..=17 => {
                let options = CompactOptions { min_dead: [0.01, 0.5][self.seeded.below(2) as usize] };
                self.relocate(|store| store.compact(&options).map(|compacted| compacted.segments));
            }
            18..=20 => {
                let codec = [Codec::Lz4, Codec::Zstd { level: 1 }][self.seeded.below(2) as usize];
                let options =
                    PackOptions { codec, shuffle: self.seeded.below(2) == 0, growing: self.seeded.below(3) == 0 };
                self.relocate(|store| store.pack(&options).map(|packed| packed.segments));
            }
            _ => self.reopen(),
        }
        let store = self.store.as_ref().expect("a store is open between operations");
        assert_eq!(content(store).unwrap(), self.model.now().content, "what a reader sees");
    }

    fn change(&mut self) {
        let mut chosen: Vec<u64> = (0..IDS).filter(|_| self.seeded.below(4) == 0).collect();
        let deleted = chosen.split_off((self.seeded.below(4) as usize * chosen.len()).div_ceil(3).min(chosen.len()));
        let mut content = self.model.now().content.clone();
        let put: Vec<(u64, u32)> = (self.version + 1..).zip(chosen).map(|(version, id)| (id, version)).collect();
        self.version += put.len() as u32;
        content.extend(put.iter().copied());
        let before = content.len();
        content.retain(|id, _| !deleted.contains(id));
        let attachment = vec![7; self.seeded.below(40) as usize];
        let durability = self.seeded.durability();
        let empty = put.is_empty() && content.len() == before && attachment.is_empty();
        let begun = self.disk.calls();
        let store = self.store.as_ref().expect("a store is open");
        let outcome = commit(store, (&put, &deleted), &attachment, durability);
        if !empty {
            let sequence = self.model.now().sequence + 1;
            self.model.moments.push(Moment { sequence, content, begun, flushed: None, synced: None, undone: None });
        }
        self.judge(&outcome.map(|committed| committed.sequence), durability, !empty);
    }

    /// Whether the last moment came to be.
    fn judge(&mut self, outcome: &Result<u64, StoreError>, durability: Durability, changed: bool) {
        let calls = self.disk.calls();
        match outcome {
            Ok(sequence) => {
                assert_eq!(*sequence, self.model.now().sequence);
                self.model.acknowledge(durability, calls);
            }
            Err(StoreError::Unsure { .. }) => {
                // Only the disk knows; readers see what was before.
                let last = self.model.moments.last().cloned().filter(|_| changed);
                if let Some(moment) = self.model.moments.last_mut().filter(|_| changed) {
                    moment.undone = Some(calls);
                }
                self.come_back(last);
            }
            Err(_) => {
                if let Some(moment) = self.model.moments.last_mut().filter(|_| changed) {
                    moment.undone = Some(calls);
                }
            }
        }
    }

    fn settle(&mut self, how: impl Fn(&VectorStore) -> Result<(), StoreError>) {
        let outcome = how(self.store.as_ref().expect("a store is open"));
        let sequence = self.model.now().sequence;
        self.judge(&outcome.map(|()| sequence), Durability::Sync, false);
    }

    /// Compacts or packs: how many segments.
    fn relocate(&mut self, how: impl Fn(&VectorStore) -> Result<usize, StoreError>) {
        let outcome = how(self.store.as_ref().expect("a store is open"));
        let sequence = self.model.now().sequence;
        // One that found nothing to do has made nothing durable.
        let durability = match &outcome {
            Ok(segments) if *segments > 0 => Durability::Sync,
            _ => Durability::None,
        };
        self.judge(&outcome.map(|_| sequence), durability, false);
    }

    /// A store that accepts no more changes says so, and goes on after it was opened again; `doubtful` may have happened.
    fn come_back(&mut self, doubtful: Option<Moment>) {
        let store = self.store.take().expect("a store is open");
        assert_eq!(content(&store).unwrap(), self.model.now().content);
        let refused = commit(&store, (&[], &[0]), b"", Durability::None).unwrap_err();
        assert!(matches!(refused, StoreError::Unsure { .. }), "{refused}");
        drop(store);
        self.open();
        if let Some(moment) = doubtful {
            *self.model.moments.last_mut().expect("it is the last") = moment;
        }
        self.settled_by_opening();
    }

    fn reopen(&mut self) {
        drop(self.store.take());
        self.open();
        self.settled_by_opening();
    }

    /// What could not be handed to the system when the store was closed is gone; all else is durable.
    fn settled_by_opening(&mut self) {
        let store = self.store.as_ref().expect("it was opened");
        let calls = self.disk.calls();
        for moment in self.model.moments.iter_mut().filter(|moment| moment.undone.is_none()) {
            assert!(moment.flushed.is_none() || moment.sequence <= store.sequence(), "{moment:?} was lost");
            if moment.sequence > store.sequence() {
                moment.undone = Some(calls);
            }
        }
        assert_eq!(
            (store.sequence(), &content(store).unwrap()),
            (self.model.now().sequence, &self.model.now().content)
        );
        self.model.acknowledge(Durability::Sync, self.disk.calls());
    }

    /// Opens the store, again if a call fails. One that reads does, where there are so many: nothing is to be lost by that.
    fn open(&mut self) {
        self.disk.fail_reads(self.disk.reads() + self.disk.calls() % 16, 1);
        let open = || VectorStore::open_on(self.disk.clone());
        self.store = Some((0..4).find_map(|_| open().ok()).unwrap_or_else(|| open().unwrap()));
        self.disk.fail_reads(0, 0);
    }
}

/// Crashes at every call, and looks at what is left.
fn crash_everywhere(seed: u64, disk: &Rehearsal, model: &Model, tally: &mut Tally) {
    let mut seeded = Seeded(!seed);
    for at in model.moments[0].begun..=disk.calls() {
        for power_cut in [false, true] {
            let crash = |seed| if power_cut { Crash::PowerCut { seed } } else { Crash::Kill { seed } };
            let left = disk.after(at, crash(seeded.next()));
            tally.crashes += 1;
            let allowed = |sequence, content: &Content| {
                let as_before = model.allows(at, power_cut, sequence, content);
                assert!(
                    as_before,
                    "a crash ({power_cut}) at call {at} left change {sequence}: {content:?}\n{model:#?}"
                );
            };
            let again = survive(&left, &allowed);
            if !power_cut && seeded.below(4) == 0 {
                kill_then_cut(disk, at, &mut seeded);
                tally.crashes += 1;
            }
            if seeded.below(8) == 0 {
                // It crashes again while it is opened.
                let at = seeded.below(again.calls() as u64 + 1) as usize;
                survive(&again.after(at, crash(seeded.next())), &allowed);
                tally.crashes += 1;
                tally.crashes_while_opening += 1;
            }
        }
    }
}

/// A process is killed, the next one opens the store and acknowledges a change, then the power goes.
fn kill_then_cut(disk: &Rehearsal, at: usize, seeded: &mut Seeded) {
    let folder = scratch();
    let disk = disk.killed(at, folder.path()).unwrap();
    let store = VectorStore::open_on(disk.clone()).unwrap();
    commit(&store, (&LATER, &[]), b"", Durability::Sync).unwrap();
    let (sequence, now) = (store.sequence(), content(&store).unwrap());
    let left = disk.after(disk.calls(), Crash::PowerCut { seed: seeded.next() });
    survive(&left, &|found, content: &Content| {
        assert!(found == sequence && *content == now, "killed before call {at}, {sequence} was acknowledged: {found}");
    });
}

/// Opens what a crash left, looks at it, and goes on. The journal of the opening.
fn survive(left: &BTreeMap<String, Vec<u8>>, allowed: &dyn Fn(u64, &Content)) -> Rehearsal {
    let folder = scratch();
    for (name, bytes) in left {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    let store = VectorStore::open_on(disk.clone())
        .unwrap_or_else(|error| panic!("a crash left what can not be opened: {error}"));
    let opening = disk.until(disk.calls());
    let mut now = content(&store).unwrap();
    allowed(store.sequence(), &now);
    assert!(store.verify().is_empty());
    commit(&store, (&LATER, &[]), b"", Durability::Flush).unwrap();
    now.extend(LATER);
    drop(store);
    let store = VectorStore::open_read_only(folder.path()).unwrap();
    assert_eq!(content(&store).unwrap(), now, "life goes on after a crash");
    opening
}

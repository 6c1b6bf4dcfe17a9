//! What a store of metadata promises: random histories with a crash at every call, and flipped bits.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use nearlab_storage::disk::{Crash, Fault, Rehearsal, lay_out};
use nearlab_storage::metadata::{
    ApplyError, Change, Document, Durability, Field, FieldKind, Filter, MetadataStore, ReadError, Schema,
    StoreOpenError, Value, encode,
};

use crate::model::{Seeded, scratch};
use crate::number;

/// Histories that are played where nobody says how many.
const HISTORIES: u64 = 12;
pub(crate) const NAME: &str = "metadata.redb";
pub(crate) const SLOTS: u32 = 40;

/// A number by slot.
pub(crate) type Content = BTreeMap<u32, i64>;

pub(crate) fn schema() -> Schema {
    Schema::new([Field::new("number", FieldKind::Integer), Field::new("text", FieldKind::String).unindexed()]).unwrap()
}

pub(crate) fn document(number: i64) -> Vec<u8> {
    let text = format!("{number} ").repeat(40);
    encode(&schema(), &Document::new().with("number", Value::Integer(number)).with("text", Value::String(text)))
        .unwrap()
}

/// The numbers in a store, as documents and index give them.
pub(crate) fn content(store: &MetadataStore) -> Result<Content, ReadError> {
    let slots: Vec<u32> = (0..SLOTS).collect();
    let mut content = Content::new();
    for (slot, document) in (0..).zip(store.get(&slots)?) {
        let Some(document) = document else { continue };
        let Some(Value::Integer(number)) = document.get("number") else { panic!("{document:?} is nobody's") };
        content.insert(slot, *number);
    }
    assert_eq!(store.slots()?.iter().collect::<Vec<_>>(), content.keys().copied().collect::<Vec<_>>());
    for text in ["number < 3", "number >= 3", "not number == 4"] {
        let found = store.filter(&Filter::parse(&schema(), text).unwrap())?;
        let admits = |number: i64| match text {
            "number < 3" => number < 3,
            "number >= 3" => number >= 3,
            _ => number != 4,
        };
        let expected: Vec<u32> = content.iter().filter(|(_, number)| admits(**number)).map(|(slot, _)| *slot).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{text}");
    }
    Ok(content)
}

/// The store after some changes.
#[derive(Debug, Clone)]
struct Moment {
    sequence: u64,
    content: Content,
    begun: usize,
    synced: Option<usize>,
    undone: Option<usize>,
}

struct Play {
    seeded: Seeded,
    disk: Rehearsal,
    store: Option<MetadataStore>,
    moments: Vec<Moment>,
}

impl Play {
    fn new(seed: u64, folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let disk = Rehearsal::in_folder(folder).unwrap();
        let store = MetadataStore::create_on(&disk, NAME, schema()).unwrap();
        let calls = Some(disk.calls());
        let moments = vec![Moment { sequence: 0, content: Content::new(), begun: 0, synced: calls, undone: None }];
        Self { seeded: Seeded(seed), disk, store: Some(store), moments }
    }

    fn now(&self) -> &Moment {
        self.moments.iter().rev().find(|moment| moment.undone.is_none()).expect("the start is there")
    }

    fn operation(&mut self) {
        let store = self.store.as_ref().expect("it is open");
        match self.seeded.below(10) {
            0 => self.reopen(),
            1 => match store.sync() {
                Ok(()) => self.acknowledge(),
                Err(error) => self.come_back(&error),
            },
            _ => self.change(),
        }
        let found = content(self.store.as_ref().expect("it is open")).unwrap();
        assert_eq!(found, self.now().content);
    }

    fn change(&mut self) {
        let mut content = self.now().content.clone();
        let slots: Vec<u32> = (0..SLOTS).filter(|_| self.seeded.below(8) == 0).collect();
        let changes: Vec<(u32, Option<i64>)> = slots
            .into_iter()
            .map(|slot| (slot, (self.seeded.below(3) > 0).then(|| self.seeded.below(9) as i64)))
            .collect();
        for (slot, number) in &changes {
            match number {
                Some(number) => content.insert(*slot, *number),
                None => content.remove(slot),
            };
        }
        let documents: Vec<Vec<u8>> = changes.iter().map(|(_, number)| document(number.unwrap_or(0))).collect();
        let changes: Vec<Change<'_>> = changes
            .iter()
            .zip(&documents)
            .map(|(&(slot, number), document)| match number {
                Some(_) => Change::Put { slot, document },
                None => Change::Remove { slot },
            })
            .collect();
        let durability = [Durability::Deferred, Durability::Immediate][self.seeded.below(2) as usize];
        let (sequence, begun) = (self.now().sequence + 1, self.disk.calls());
        let outcome = self.store.as_ref().expect("it is open").apply(sequence, &changes, durability);
        self.moments.push(Moment { sequence, content, begun, synced: None, undone: None });
        match outcome {
            Ok(()) if durability == Durability::Immediate => self.acknowledge(),
            Ok(()) => {}
            Err(error) => self.come_back(&error),
        }
    }

    fn acknowledge(&mut self) {
        let calls = self.disk.calls();
        for moment in self.moments.iter_mut().filter(|moment| moment.undone.is_none()) {
            moment.synced.get_or_insert(calls);
        }
    }

    /// After an error the store refuses everything until it is opened again.
    fn come_back(&mut self, error: &ApplyError) {
        assert!(matches!(error, ApplyError::Database { .. }), "{error}");
        self.reopen();
    }

    fn reopen(&mut self) {
        drop(self.store.take());
        let open = || MetadataStore::open_on(&self.disk, NAME, &schema());
        let store = (0..8).find_map(|_| open().ok()).unwrap_or_else(|| open().unwrap());
        let (found, calls) = (store.sequence().unwrap(), self.disk.calls());
        let last = self.moments.iter().rposition(|moment| moment.undone.is_none() && moment.synced.is_some());
        assert!(found >= self.moments[last.expect("the start")].sequence, "{found} is left of {:#?}", self.moments);
        for moment in self.moments.iter_mut().filter(|moment| moment.undone.is_none() && moment.sequence > found) {
            moment.undone = Some(calls);
        }
        self.store = Some(store);
        // What opening found is not promised to last until something after it is.
        self.store.as_ref().expect("it is open").sync().unwrap_or_else(|_| self.reopen());
        self.acknowledge();
    }
}

fn survive(left: &BTreeMap<String, Vec<u8>>, at: usize, power_cut: bool, moments: &[Moment]) {
    let folder = scratch();
    for (name, bytes) in left {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().join(NAME);
    let allowed = |store: &MetadataStore| {
        let (sequence, content) = (store.sequence().unwrap(), content(store).unwrap());
        let last = moments.iter().rposition(|moment| moment.synced.is_some_and(|calls| calls <= at)).unwrap_or(0);
        let is_allowed = moments[last..].iter().any(|moment| {
            let alive = moment.begun <= at && moment.undone.is_none_or(|calls| at < calls);
            alive && moment.sequence == sequence && moment.content == content
        });
        assert!(is_allowed, "a crash ({power_cut}) at call {at} left change {sequence}: {content:?}\n{moments:#?}");
        assert!(store.verify().unwrap().is_empty());
        sequence
    };
    let unchanged = fs::read(&path).unwrap();
    let seen = allowed(&MetadataStore::open_read_only(&path).unwrap());
    assert!(fs::read(&path).unwrap() == unchanged, "who only reads changes nothing");
    let store = MetadataStore::open(&path, &schema()).unwrap();
    assert_eq!(allowed(&store), seen);
    store.apply(seen + 1, &[Change::Put { slot: 3, document: &document(77) }], Durability::Immediate).unwrap();
    drop(store);
    let store = MetadataStore::open_read_only(&path).unwrap();
    assert_eq!((content(&store).unwrap()[&3], store.verify().unwrap().len()), (77, 0), "life goes on after a crash");
}

fn play(seed: u64) -> u64 {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let folder = scratch();
        let mut play = Play::new(seed, &folder.path().join("m"));
        let begun = play.disk.calls();
        let operations = 3 + play.seeded.below(6);
        let fault = (play.seeded.below(2) == 0).then(|| play.seeded.below(operations));
        for i in 0..operations {
            if fault == Some(i) {
                let kinds = [Fault::ShortWrite, Fault::Io, Fault::Full, Fault::Sync];
                let from = play.disk.calls() + play.seeded.below(20) as usize;
                play.disk.fail(kinds[play.seeded.below(4) as usize], from, 1 + play.seeded.below(3) as usize);
            }
            play.operation();
        }
        drop(play.store.take());
        let mut seeded = Seeded(!seed);
        let mut crashes = 0;
        for at in begun..=play.disk.calls() {
            for power_cut in [false, true] {
                let seed = seeded.next();
                let crash = if power_cut { Crash::PowerCut { seed } } else { Crash::Kill { seed } };
                survive(&play.disk.after(at, crash), at, power_cut, &play.moments);
                crashes += 1;
            }
        }
        crashes
    }));
    outcome.unwrap_or_else(|failure| {
        println!("history {seed} of metadata failed; NEARLAB_SEED={seed} plays it again");
        resume_unwind(failure)
    })
}

#[test]
fn metadata_that_was_durable_outlives_a_crash_at_any_call_and_nothing_else_is_half_there() {
    if let Some(seed) = number("NEARLAB_SEED") {
        play(seed);
        return;
    }
    let histories = number("NEARLAB_HISTORIES").map_or(HISTORIES, |histories| histories / 25 + 1);
    let crashes: u64 = (0..histories).map(play).sum();
    println!("{histories} histories of metadata, {crashes} crashes: nothing lost, nothing half there");
    assert!(crashes > 50 * histories);
}

#[test]
fn metadata_that_is_being_created_is_there_as_a_whole_or_not_at_all() {
    let folder = scratch();
    let path = folder.path().join("m");
    fs::create_dir(&path).unwrap();
    let disk = Rehearsal::in_folder(&path).unwrap();
    let store = MetadataStore::create_on(&disk, NAME, schema()).unwrap();
    let created = disk.calls();
    for at in 0..=created {
        for crash in [Crash::Kill { seed: at as u64 }, Crash::PowerCut { seed: at as u64 }] {
            let folder = scratch();
            for (name, bytes) in disk.after(at, crash) {
                fs::write(folder.path().join(name), bytes).unwrap();
            }
            let path = folder.path().join(NAME);
            if path.exists() {
                assert!(content(&MetadataStore::open(&path, &schema()).unwrap()).unwrap().is_empty());
            } else {
                assert!(at < created);
                drop(MetadataStore::create(&path, schema()).unwrap());
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what an earlier attempt left is gone");
            }
        }
    }
    drop(store);
    for fault in [Fault::Io, Fault::Full, Fault::Sync] {
        for from in 0..created {
            let folder = scratch();
            let disk = Rehearsal::in_folder(folder.path()).unwrap();
            disk.fail(fault, from, 1);
            match MetadataStore::create_on(&disk, NAME, schema()) {
                Ok(_) => {}
                Err(StoreOpenError::Database { .. }) => {
                    drop(MetadataStore::create_on(&disk, NAME, schema()).unwrap());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_name_that_a_killed_process_gave_outlives_what_is_acknowledged_after_it() {
    let folder = scratch();
    let disk = Rehearsal::in_folder(folder.path()).unwrap();
    drop(MetadataStore::create_on(&disk, NAME, schema()).unwrap());
    let mut opened = 0;
    for at in 0..=disk.calls() {
        let folder = scratch();
        let disk = disk.killed(at, folder.path()).unwrap();
        if !folder.path().join(NAME).exists() {
            continue;
        }
        opened += 1;
        let store = MetadataStore::open_on(&disk, NAME, &schema()).unwrap();
        store.apply(1, &[Change::Put { slot: 3, document: &document(77) }], Durability::Immediate).unwrap();
        let acknowledged = disk.calls();
        for seed in 0..10 {
            let folder = scratch();
            lay_out(&disk.after(acknowledged, Crash::PowerCut { seed }), folder.path()).unwrap();
            let store = MetadataStore::open(folder.path().join(NAME), &schema()).unwrap();
            assert_eq!(content(&store).unwrap(), Content::from([(3, 77)]), "killed before call {at}, power cut {seed}");
        }
    }
    assert!(opened > 1, "one of them before the folder was synced");
}

/// A store of some changes, and what it holds: closed, or as a process leaves it that is killed.
fn prepared(path: &Path, closed: bool) -> Content {
    let store = MetadataStore::create(path, schema()).unwrap();
    let mut expected = Content::new();
    for sequence in 1..=6 {
        let documents: Vec<(u32, i64)> = (0..SLOTS)
            .filter(|slot| slot % 3 != sequence % 3)
            .map(|slot| (slot, i64::from((slot + sequence) % 9)))
            .collect();
        let encoded: Vec<Vec<u8>> = documents.iter().map(|(_, number)| document(*number)).collect();
        let put = documents.iter().zip(&encoded).map(|((slot, _), document)| Change::Put { slot: *slot, document });
        store.apply(u64::from(sequence), &put.collect::<Vec<_>>(), Durability::Immediate).unwrap();
        expected.extend(documents);
    }
    if !closed {
        let left = fs::read(path).unwrap();
        drop(store);
        fs::write(path, left).unwrap();
    }
    expected
}

#[test]
fn a_flipped_bit_in_metadata_is_reported_with_file_and_offset_and_never_served() {
    let folder = scratch();
    for closed in [true, false] {
        let path = folder.path().join(format!("{closed}.redb"));
        let expected = prepared(&path, closed);
        let whole = fs::read(&path).unwrap();
        let mut seeded = Seeded(3);
        let (mut refused, mut served, mut older) = (0, 0, 0);
        // Anywhere, then where the file says what holds.
        for i in 0..1200 {
            let from: [u64; 2] = match i % 4 {
                0 => [4096, 512],
                1 => [8192, 512],
                2 => [0, 64],
                _ => [0, whole.len() as u64],
            };
            let (at, bit) = ((from[0] + seeded.below(from[1])) as usize, seeded.below(8));
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            fs::write(&path, &damaged).unwrap();
            let seen = MetadataStore::open_read_only(&path).map_err(|error| error.to_string()).and_then(|store| {
                let verified = store.verify().map_err(|error| error.to_string())?;
                let read = (|| Ok((store.sequence()?, content(&store)?)))();
                let read = read.map_err(|error: ReadError| error.to_string())?;
                Ok((read, verified.len()))
            });
            match seen {
                // Of a store that was not closed, what does not fit counts as being written when it ended.
                Ok(((sequence, _), _)) if !closed && sequence < 6 => older += 1,
                Ok(((6, content), _)) => {
                    assert_eq!(content, expected, "bit {bit} of byte {at}");
                    served += 1;
                }
                Ok(other) => panic!("bit {bit} of byte {at}: {other:?}"),
                Err(message) => {
                    assert!(message.contains(path.to_str().unwrap()), "{message}");
                    assert!(message.contains("damaged"), "{message}");
                    refused += 1;
                }
            }
            if closed && at >= 12288 {
                let store = MetadataStore::open(&path, &schema());
                let found = store.map_or(1, |store| store.verify().map_or(1, |found| found.len()));
                assert_eq!(found, 1, "whoever compares everything finds bit {bit} of byte {at}");
            }
        }
        println!(
            "closed {closed}: of 1200 bits {refused} were noticed, {served} meant nothing, {older} cost the last change"
        );
        assert!(refused > 200 && (!closed || older == 0));
    }
}

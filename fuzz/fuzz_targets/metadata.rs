//! A store of metadata whose tables hold anything: answers or errors, never a panic. The database around them is sound; its own
//! pages are redb's.
//!
//! An input is a byte that chooses two filters, and a list of changes to the tables: a byte that says which, then what
//! [`Damage::read`] takes.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nearlab_fuzz::metadata::{FILTERS, INDEXED, record, schema};
use nearlab_fuzz::scratch_file;
use nearlab_storage::metadata::{Change, Durability, Filter, MetadataStore, Schema, encode};
use redb::{Database, ReadableTable, TableDefinition};

type BlockKey = (u16, &'static [u8], u32);

const DOCUMENTS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("documents");
const STATE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("state");
const BLOCKS: TableDefinition<'static, BlockKey, &[u8]> = TableDefinition::new("blocks");
const DIRECTORY: TableDefinition<'static, BlockKey, (u32, u32)> = TableDefinition::new("directory");

/// Few, as each input may ask for all of them; a key has a block of its own only where the input makes one.
const RECORDS: u32 = 64;
/// Changes to the tables of one input.
const MOST: usize = 64;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| schema(INDEXED));
static FILTERS_READ: LazyLock<Vec<Filter>> =
    LazyLock::new(|| FILTERS.map(|text| Filter::parse(&SCHEMA, text).expect("a sound filter")).into());
static SOUND: LazyLock<Sound> = LazyLock::new(|| {
    let path = scratch_file();
    let _ = fs::remove_file(&path);
    // Of version 1, whose tables can be changed behind its back.
    let file = fs::File::options().read(true).write(true).create_new(true).open(&path).expect("room for a file");
    let backend = redb::backends::FileBackend::new(file).expect("a file");
    let store = MetadataStore::with_backend(backend, SCHEMA.clone()).expect("room for a store");
    let documents: Vec<_> = (0..RECORDS).map(|slot| encode(&SCHEMA, &record(slot)).expect("it suits")).collect();
    let put = (0..).zip(&documents).map(|(slot, document)| Change::Put { slot, document });
    store.apply(1, &put.collect::<Vec<_>>(), Durability::Immediate).expect("room for records");
    drop(store);
    let database = Database::open(&path).expect("a sound database");
    let transaction = redb::ReadableDatabase::begin_read(&database).expect("a sound database");
    let blocks = transaction.open_table(BLOCKS).expect("the table of blocks");
    let key = |(field, key, slot): (u16, &[u8], u32)| (field, key.to_vec(), slot);
    let keys = blocks.iter().expect("a sound table").map(|entry| key(entry.expect("a sound table").0.value()));
    let keys = keys.collect();
    drop((blocks, transaction, database));
    Sound { file: fs::read(&path).expect("a file"), keys }
});

/// A sound store.
struct Sound {
    file: Vec<u8>,
    /// Those of its blocks.
    keys: Vec<(u16, Vec<u8>, u32)>,
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// As many as the next two bytes say, or all that are left.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        Some(bytes)
    }

    /// The key of a block of the sound store.
    fn block(&mut self) -> Option<(u16, &'static [u8], u32)> {
        let [i] = self.array()?;
        let (field, key, slot) = &SOUND.keys[usize::from(i) % SOUND.keys.len()];
        Some((*field, key, *slot))
    }
}

/// The tables, in a transaction that changes them.
struct Damage<'t> {
    documents: redb::Table<'t, u32, &'static [u8]>,
    state: redb::Table<'t, &'static str, &'static [u8]>,
    blocks: redb::Table<'t, BlockKey, &'static [u8]>,
    directory: redb::Table<'t, BlockKey, (u32, u32)>,
}

fn patch(value: Option<redb::AccessGuard<'_, &'static [u8]>>, at: u16, byte: u8) -> Option<Vec<u8>> {
    let mut value = value?.value().to_vec();
    let len = value.len().max(1);
    *value.get_mut(usize::from(at) % len)? = byte;
    Some(value)
}

impl Damage<'_> {
    /// Carries out the next change. None at the end of the input.
    fn read(&mut self, input: &mut Input<'_>) -> Option<Result<(), redb::StorageError>> {
        let [kind] = input.array()?;
        let name = |i: u8| ["version", "schema", "sequence"][usize::from(i) % 3];
        let slot = |i: u16| u32::from(i) % (RECORDS + 10);
        Some(match kind % 8 {
            0 => self.documents.insert(slot(input.u16()?), input.bytes()?).map(drop),
            1 => self.blocks.insert(input.block()?, input.bytes()?).map(drop),
            2 => {
                let (slot, at, [byte]) = (u32::from(input.array::<1>()?[0]), input.u16()?, input.array()?);
                let patched = patch(self.documents.get(slot).ok()?, at, byte)?;
                self.documents.insert(slot, &patched[..]).map(drop)
            }
            3 => {
                let (key, at, [byte]) = (input.block()?, input.u16()?, input.array()?);
                let patched = patch(self.blocks.get(key).ok()?, at, byte)?;
                self.blocks.insert(key, &patched[..]).map(drop)
            }
            4 => self.directory.insert(input.block()?, (input.u32()?, input.u32()?)).map(drop),
            5 => self.state.insert(name(input.array::<1>()?[0]), input.bytes()?).map(drop),
            6 => match input.array::<1>()?[0] % 4 {
                0 => self.documents.remove(slot(input.u16()?)).map(drop),
                1 => self.blocks.remove(input.block()?).map(drop),
                2 => self.directory.remove(input.block()?).map(drop),
                _ => self.state.remove(name(input.array::<1>()?[0])).map(drop),
            },
            _ => {
                let (field, [len]) = (input.u16()?, input.array()?);
                let (key, rest) = input.0.split_at_checked(usize::from(len))?;
                input.0 = rest;
                let key = (field, key, input.u32()?);
                let counts = (input.u32()?, input.u32()?);
                let block = input.bytes()?;
                let inserted = self.directory.insert(key, counts).map(drop);
                inserted.and_then(|()| self.blocks.insert(key, block).map(drop))
            }
        })
    }
}

fn damage(path: &Path, input: &[u8]) -> Result<(), redb::Error> {
    let database = Database::open(path)?;
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    {
        let mut tables = Damage {
            documents: transaction.open_table(DOCUMENTS)?,
            state: transaction.open_table(STATE)?,
            blocks: transaction.open_table(BLOCKS)?,
            directory: transaction.open_table(DIRECTORY)?,
        };
        let mut input = Input(input);
        for _ in 0..MOST {
            let Some(outcome) = tables.read(&mut input) else { break };
            outcome?;
        }
    }
    Ok(transaction.commit()?)
}

fn ask(store: &MetadataStore, filters: [&Filter; 2]) {
    let _ = (store.sequence(), store.slots(), store.verify());
    for slot in (0..RECORDS + 10).step_by(18) {
        let _ = store.get(&[slot]);
    }
    for filter in filters {
        let _ = store.filter(filter);
        if let Ok(estimate) = store.estimate(filter) {
            assert!(estimate.low <= estimate.high && estimate.high <= estimate.records, "{estimate:?}");
            assert!((estimate.low as f64..=estimate.high as f64).contains(&estimate.expected), "{estimate:?}");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&chosen, input)) = input.split_first() else { return };
    let path = scratch_file();
    fs::write(&path, &SOUND.file).expect("room for a file");
    damage(&path, input).expect("a sound database");
    let Ok(store) = MetadataStore::open(&path, &SCHEMA) else { return };
    let filters = [0, 5].map(|by| &FILTERS_READ[(usize::from(chosen) + by) % FILTERS.len()]);
    ask(&store, filters);
    let next = store.sequence().map_or(2, |sequence| sequence.saturating_add(1));
    let document = encode(&SCHEMA, &record(3)).expect("it suits");
    // Every block is changed: all values come, and those of other records go.
    let changes = (0..RECORDS + 5).step_by(4).map(|slot| match slot % 8 {
        0 => Change::Put { slot, document: &document },
        _ => Change::Remove { slot },
    });
    if store.apply(next, &changes.collect::<Vec<_>>(), Durability::Deferred).is_ok() {
        assert_eq!(store.sequence().ok(), Some(next));
        assert_eq!(store.get(&[RECORDS]).expect("a document just put"), [Some(record(3))]);
    }
    ask(&store, filters);
});

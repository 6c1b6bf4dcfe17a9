//! Changing an index: edits are merged into the blocks that they fall into, in the order of the keys.
//!
//! One path serves a bulk load and a single change. All edits that fall into one block are merged into it at once, and what
//! comes out is cut anew: a key of many slots stands by itself as a bitmap, what lies between such keys is cut into blocks
//! of some 12 KB. An empty index counts as one block without pairs, so a bulk load is written in the order of the keys.

use redb::{ReadableTable, Table, WriteTransaction};
use roaring::RoaringBitmap;

use super::block::{Block, PairsWriter};
use super::cut::{CUT_BYTES, Finished, Part, Start, cut};
use super::pair::{Edit, Edits, Pair};
use super::range::{KeyRange, gather};
use super::{BLOCKS, BlockKey, Counts, DIRECTORY, PRESENCE, RECORD};
use crate::metadata::error::Fault;

/// A block of pairs below this takes in its successor where both fit.
const FEWEST_BYTES: usize = 3_000;

/// A block that is about to be changed, and where the one after it begins.
struct Source {
    start: Start,
    bytes: Vec<u8>,
    next: Option<Start>,
}

/// The tables of the indexes, in a transaction that changes them.
pub(in super::super) struct IndexWriter<'t> {
    blocks: Table<'t, BlockKey, &'static [u8]>,
    directory: Table<'t, BlockKey, Counts>,
}

impl<'t> IndexWriter<'t> {
    pub(in super::super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self { blocks: transaction.open_table(BLOCKS)?, directory: transaction.open_table(DIRECTORY)? })
    }

    /// Empties all indexes, and makes their tables if there are none.
    pub(in super::super) fn empty(transaction: &WriteTransaction) -> Result<(), Fault> {
        transaction.delete_table(BLOCKS)?;
        transaction.delete_table(DIRECTORY)?;
        IndexWriter::open(transaction).map(drop)
    }

    /// The slots that have a record.
    pub(in super::super) fn records(&self) -> Result<RoaringBitmap, Fault> {
        gather(&self.blocks, PRESENCE, &[KeyRange::only(&RECORD)])
    }

    /// Carries out the edits of one field.
    pub(in super::super) fn apply(&mut self, field: u16, edits: &Edits) -> Result<(), Fault> {
        let sorted = edits.sorted();
        let mut rest = &sorted[..];
        while let Some(first) = rest.first() {
            let sources = self.sources(field, rest, first.pair)?;
            let end = sources.last().and_then(|source| source.next.as_ref());
            let (here, later) = rest.split_at(before(rest, end));
            rest = later;
            let finished = cut(merge(&sources, here)?)?;
            self.replace(field, &sources, finished)?;
        }
        Ok(())
    }

    /// The block into which `first` falls, and those after it that it should take in as it becomes small.
    fn sources(&self, field: u16, edits: &[Edit<'_>], first: Pair<'_>) -> Result<Vec<Source>, Fault> {
        let at_or_before = self.directory.range(..=(field, first.key, first.slot))?.next_back().transpose()?;
        let found = at_or_before.map(|(key, _)| start_of(key.value())).filter(|(of, _)| *of == field);
        let start = match found {
            Some((_, start)) => start,
            // Below all blocks: the first one grows downwards.
            None => match self.starts_after(field, None)? {
                Some(start) => start,
                None => return Ok(Vec::new()),
            },
        };
        let mut sources = vec![self.load(field, start)?];
        let mut size = sources[0].bytes.len();
        while let Some(source) = sources.last() {
            let Some(next) = source.next.clone() else { break };
            let (mut adds, mut removes) = (0, 0);
            for edit in &edits[..before(edits, Some(&next))] {
                *(if edit.adds { &mut adds } else { &mut removes }) += PairsWriter::cost(edit.pair.key, true);
            }
            let after = (size + adds).saturating_sub(removes);
            if after >= FEWEST_BYTES || source.bytes.first() != sources[0].bytes.first() {
                break;
            }
            let next = self.load(field, next)?;
            if next.bytes.first() != source.bytes.first() || after + next.bytes.len() > CUT_BYTES {
                break;
            }
            size += next.bytes.len();
            sources.push(next);
        }
        Ok(sources)
    }

    fn load(&self, field: u16, start: Start) -> Result<Source, Fault> {
        let bytes = self.blocks.get((field, &start.key[..], start.slot))?.map(|bytes| bytes.value().to_vec());
        let bytes =
            bytes.ok_or_else(|| Fault::Damaged("an index whose directory names a block that is not there".into()))?;
        let next = self.starts_after(field, Some(&start))?;
        Ok(Source { start, bytes, next })
    }

    fn starts_after(&self, field: u16, start: Option<&Start>) -> Result<Option<Start>, Fault> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let lower = start.map_or(Included((field, &[][..], 0)), |start| Excluded((field, &start.key[..], start.slot)));
        let next = self.directory.range((lower, Unbounded))?.next().transpose()?;
        Ok(next.map(|(key, _)| start_of(key.value())).filter(|(of, _)| *of == field).map(|(_, start)| start))
    }

    fn replace(&mut self, field: u16, sources: &[Source], finished: Vec<Finished>) -> Result<(), Fault> {
        for Source { start, .. } in sources {
            if finished.iter().all(|new| new.start != *start) {
                self.blocks.remove((field, &start.key[..], start.slot))?;
                self.directory.remove((field, &start.key[..], start.slot))?;
            }
        }
        for Finished { start, bytes, counts } in finished {
            self.blocks.insert((field, &start.key[..], start.slot), &bytes[..])?;
            self.directory.insert((field, &start.key[..], start.slot), counts)?;
        }
        Ok(())
    }
}

fn start_of((field, key, slot): (u16, &[u8], u32)) -> (u16, Start) {
    (field, Start { key: key.to_vec(), slot })
}

/// How many of the edits lie before a block.
fn before(edits: &[Edit<'_>], end: Option<&Start>) -> usize {
    end.map_or(edits.len(), |end| edits.partition_point(|edit| edit.pair < end.pair()))
}

fn merge<'a>(sources: &'a [Source], edits: &[Edit<'a>]) -> Result<Vec<Part<'a>>, Fault> {
    if sources.is_empty() {
        return Ok(vec![Part::Pairs(edits.iter().filter(|edit| edit.adds).map(|edit| edit.pair).collect())]);
    }
    let (mut parts, mut rest) = (Vec::new(), edits);
    for source in sources {
        let (here, later) = rest.split_at(before(rest, source.next.as_ref()));
        rest = later;
        match Block::parse(&source.bytes)? {
            Block::Pairs(block) => {
                block.check()?;
                let of_run = |run| block.slots(run, run + 1).map(move |slot| (run, slot));
                let there = (0..block.runs()).flat_map(of_run).map(|(run, slot)| Pair::new(block.key(run), slot));
                let room = block.pairs() + here.len();
                parts.push(Part::Pairs(merge_pairs(there, here, room)));
            }
            Block::Single { key, mut slots } => {
                let (below, rest) = here.split_at(here.partition_point(|edit| edit.pair.key < key));
                let (same, above) = rest.split_at(rest.partition_point(|edit| edit.pair.key == key));
                for edit in same {
                    if edit.adds {
                        slots.insert(edit.pair.slot)
                    } else {
                        slots.remove(edit.pair.slot)
                    };
                }
                parts.push(Part::Pairs(merge_pairs(std::iter::empty(), below, below.len())));
                parts.push(Part::Single(key, slots));
                parts.push(Part::Pairs(merge_pairs(std::iter::empty(), above, above.len())));
            }
        }
    }
    Ok(parts)
}

fn merge_pairs<'a>(there: impl Iterator<Item = Pair<'a>>, edits: &[Edit<'a>], room: usize) -> Vec<Pair<'a>> {
    let (mut merged, mut rest) = (Vec::with_capacity(room), edits);
    for pair in there {
        while let Some((edit, later)) = rest.split_first().filter(|(edit, _)| edit.pair < pair) {
            if edit.adds {
                merged.push(edit.pair);
            }
            rest = later;
        }
        let removed = match rest.split_first().filter(|(edit, _)| edit.pair == pair) {
            Some((edit, later)) => {
                rest = later;
                !edit.adds
            }
            None => false,
        };
        if !removed {
            merged.push(pair);
        }
    }
    merged.extend(rest.iter().filter(|edit| edit.adds).map(|edit| edit.pair));
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use redb::Database;

    use super::*;
    use crate::metadata::index::cut::MOST_BYTES;

    type Model = BTreeSet<(Vec<u8>, u32)>;

    /// Removes and adds pairs of field 1, then checks all blocks against the model; their sizes in bytes.
    fn changed(database: &Database, model: &mut Model, pairs: &[(Vec<u8>, u32)], adds: bool) -> Vec<usize> {
        let mut edits = Edits::default();
        for (key, slot) in pairs {
            edits.push(key, *slot, adds);
            if adds {
                model.insert((key.clone(), *slot))
            } else {
                model.remove(&(key.clone(), *slot))
            };
        }
        let transaction = database.begin_write().unwrap();
        let mut index = IndexWriter::open(&transaction).unwrap();
        index.apply(1, &edits).unwrap();
        let (mut found, mut sizes) = (Vec::new(), Vec::new());
        for entry in index.blocks.iter().unwrap() {
            let (start, bytes) = entry.unwrap();
            let (field, key, slot) = start.value();
            if field != 1 {
                continue;
            }
            let before = found.len();
            let keys = match Block::parse(bytes.value()).unwrap() {
                Block::Pairs(block) => {
                    for run in 0..block.runs() {
                        found.extend(block.slots(run, run + 1).map(|slot| (block.key(run).to_vec(), slot)));
                    }
                    block.runs()
                }
                Block::Single { key, slots } => {
                    found.extend(slots.iter().map(|slot| (key.to_vec(), slot)));
                    1
                }
            };
            assert_eq!((&found[before].0[..], found[before].1), (key, slot), "a block is found by its first pair");
            let counts = index.directory.get((field, key, slot)).unwrap().unwrap().value();
            assert_eq!(counts, ((found.len() - before) as u32, keys as u32));
            sizes.push(bytes.value().len());
        }
        assert_eq!(
            index.directory.iter().unwrap().filter(|entry| entry.as_ref().unwrap().0.value().0 == 1).count(),
            sizes.len()
        );
        assert!(found.iter().eq(model.iter()));
        drop(index);
        transaction.commit().unwrap();
        assert!(sizes.iter().all(|size| *size <= MOST_BYTES + 1024), "{sizes:?}");
        sizes
    }

    fn database() -> Database {
        let database = Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        // Neighbours, which must stay as they are.
        let mut edits = Edits::default();
        edits.push(b"neighbour", 5, true);
        let mut index = IndexWriter::open(&transaction).unwrap();
        index.apply(0, &edits).unwrap();
        index.apply(2, &edits).unwrap();
        drop(index);
        transaction.commit().unwrap();
        database
    }

    #[test]
    fn distinct_keys_are_cut_when_they_are_many_and_joined_when_they_are_few() {
        let (database, mut model) = (database(), Model::new());
        let pairs: Vec<_> = (0..10_000_u64).map(|i| ((i * 3).to_be_bytes().to_vec(), i as u32)).collect();
        let loaded = changed(&database, &mut model, &pairs, true);
        assert_eq!(loaded.len(), (10_000 * 16_usize).div_ceil(CUT_BYTES));
        // Between those that are there, one block after another is filled and cut.
        let between: Vec<_> = (0..2_000_u64).map(|i| ((i * 3 + 1).to_be_bytes().to_vec(), 7)).collect();
        assert!(changed(&database, &mut model, &between, true).len() > loaded.len());
        assert!(changed(&database, &mut model, &pairs[..9_500], false).len() < loaded.len());
        assert!(changed(&database, &mut model, &between, false).len() <= 2);
        assert!(changed(&database, &mut model, &pairs[9_500..], false).is_empty());
        // Below all that is there.
        changed(&database, &mut model, &pairs[5..6], true);
        assert_eq!(changed(&database, &mut model, &pairs[..1], true).len(), 1);
    }

    #[test]
    fn a_key_of_many_slots_stands_by_itself_while_it_has_them() {
        let (database, mut model) = (database(), Model::new());
        let of = |key: &str, slots: std::ops::Range<u32>, step: usize| -> Vec<_> {
            slots.step_by(step).map(|slot| (key.as_bytes().to_vec(), slot)).collect()
        };
        changed(&database, &mut model, &of("b", 0..10, 1), true);
        // Every other slot of five containers takes 8 KB each, of which a block holds one; the little of a sixth shares a block.
        let blocks = changed(&database, &mut model, &of("b", 10..330_000, 2), true);
        assert_eq!(blocks.len(), 5);
        let around = [of("a", 0..3, 1), of("bb", 0..3, 1), of("c", 0..600, 1)].concat();
        assert_eq!(changed(&database, &mut model, &around, true).len(), 8);
        changed(&database, &mut model, &of("b", 100..330_000, 1), false);
        changed(&database, &mut model, &of("b", 0..100, 1), false);
        assert_eq!(changed(&database, &mut model, &of("c", 100..600, 1), false).len(), 3);
    }

    #[test]
    fn blocks_whose_pairs_do_not_ascend_are_not_cut_anew() {
        let pairs = |slots: &mut dyn Iterator<Item = u32>| {
            let mut writer = PairsWriter::default();
            slots.for_each(|slot| writer.push(b"a", slot, slot == 1));
            writer.finish()
        };
        let few = pairs(&mut [1, 9, 4].into_iter());
        let many = pairs(&mut (1..600).chain([5]));
        let mut two_keys = PairsWriter::default();
        two_keys.push(b"b", 1, true);
        two_keys.push(b"a", 2, true);
        let mut long_key = PairsWriter::default();
        long_key.push(&[b'a'; 1025], 1, true);
        for (bytes, expected) in [
            (few, "pairs that do not ascend"),
            (many, "pairs that do not ascend"),
            (two_keys.finish(), "pairs that do not ascend"),
            (long_key.finish(), "a key that is too long"),
        ] {
            let database = database();
            let transaction = database.begin_write().unwrap();
            let mut index = IndexWriter::open(&transaction).unwrap();
            index.blocks.insert((1, &b"a"[..], 1), &bytes[..]).unwrap();
            index.directory.insert((1, &b"a"[..], 1), (1, 1)).unwrap();
            let mut edits = Edits::default();
            edits.push(b"c", 5, true);
            let fault = index.apply(1, &edits).unwrap_err();
            assert!(matches!(&fault, Fault::Damaged(found) if found.contains(expected)), "{fault:?}");
        }
    }
}

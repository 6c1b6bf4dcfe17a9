//! Reading an index: the slots of ranges of keys, and bounds on their number from the directory alone.

use std::ops::{AddAssign, Bound};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};
use roaring::RoaringBitmap;

use super::block::{Block, Pairs};
use super::{BLOCKS, BlockKey, Counts, DIRECTORY};
use crate::metadata::error::Fault;

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct KeyRange {
    pub(in super::super) low: Bound<Vec<u8>>,
    pub(in super::super) high: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Only that key.
    pub(in super::super) fn only(key: &[u8]) -> Self {
        Self { low: Bound::Included(key.to_vec()), high: Bound::Included(key.to_vec()) }
    }

    /// Whether `key` lies in the range.
    pub(in super::super) fn contains(&self, key: &[u8]) -> bool {
        !self.begins_after(key) && !self.ends_before(key)
    }

    fn begins_after(&self, key: &[u8]) -> bool {
        match &self.low {
            Bound::Included(low) => key < &low[..],
            Bound::Excluded(low) => key <= &low[..],
            Bound::Unbounded => false,
        }
    }

    fn ends_before(&self, key: &[u8]) -> bool {
        match &self.high {
            Bound::Included(high) => key > &high[..],
            Bound::Excluded(high) => key >= &high[..],
            Bound::Unbounded => false,
        }
    }

    /// Whether it is a range of a single key.
    pub(in super::super) fn is_one_key(&self) -> bool {
        self.low == self.high && self.low != Bound::Unbounded
    }

    /// The bytes where the range begins.
    fn least(&self) -> &[u8] {
        match &self.low {
            Bound::Included(low) | Bound::Excluded(low) => low,
            Bound::Unbounded => &[],
        }
    }
}

/// What lies between and around ascending, disjoint ranges.
pub(in super::super) fn complement(ranges: &[KeyRange]) -> Vec<KeyRange> {
    let flipped = |bound: &Bound<Vec<u8>>| match bound {
        Bound::Included(key) => Bound::Excluded(key.clone()),
        Bound::Excluded(key) => Bound::Included(key.clone()),
        Bound::Unbounded => Bound::Unbounded,
    };
    let (mut gaps, mut low) = (Vec::new(), Some(Bound::Unbounded));
    for range in ranges {
        if let (Some(low), true) = (low, range.low != Bound::Unbounded) {
            gaps.push(KeyRange { low, high: flipped(&range.low) });
        }
        low = (range.high != Bound::Unbounded).then(|| flipped(&range.high));
    }
    gaps.extend(low.map(|low| KeyRange { low, high: Bound::Unbounded }));
    gaps
}

/// Bounds on a number of pairs, and a guess between them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in super::super) struct CountEstimate {
    pub(in super::super) low: u64,
    pub(in super::super) high: u64,
    pub(in super::super) expected: f64,
}

impl AddAssign for CountEstimate {
    fn add_assign(&mut self, other: Self) {
        self.low += other.low;
        self.high += other.high;
        self.expected += other.expected;
    }
}

/// The tables of the indexes as one transaction sees them.
pub(in super::super) struct IndexReader {
    blocks: ReadOnlyTable<BlockKey, &'static [u8]>,
    directory: ReadOnlyTable<BlockKey, Counts>,
}

impl IndexReader {
    pub(in super::super) fn open(transaction: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self { blocks: transaction.open_table(BLOCKS)?, directory: transaction.open_table(DIRECTORY)? })
    }

    /// The slots of all keys within the ranges.
    pub(in super::super) fn slots(&self, field: u16, ranges: &[KeyRange]) -> Result<RoaringBitmap, Fault> {
        gather(&self.blocks, field, ranges)
    }

    /// Gives every pair of a field, and compares the blocks with each other and with the directory; what is wrong first, in words.
    pub(in super::super) fn check(
        &self,
        field: u16,
        mut with: impl FnMut(&[u8], u32),
    ) -> Result<Option<&'static str>, Fault> {
        let (mut last, mut mistake) = ((Vec::new(), None), None);
        let mut entries = self.directory.range((field, &[][..], 0)..)?;
        for entry in self.blocks.range((field, &[][..], 0)..)? {
            let (start, bytes) = entry?;
            if start.value().0 != field {
                break;
            }
            let (mut first, mut pairs, mut keys) = (None, 0, 0);
            let mut add = |key: &[u8], slot: u32| {
                first.get_or_insert_with(|| (key.to_vec(), slot));
                pairs += 1;
                if (&last.0[..], last.1) >= (key, Some(slot)) {
                    mistake = Some("pairs that do not ascend");
                }
                last.0.clear();
                last.0.extend_from_slice(key);
                last.1 = Some(slot);
                with(key, slot);
            };
            match Block::parse(bytes.value())? {
                Block::Pairs(block) => {
                    block.check()?;
                    keys = block.runs() as u32;
                    (0..block.runs())
                        .for_each(|run| block.slots(run, run + 1).for_each(|slot| add(block.key(run), slot)));
                }
                Block::Single { key, slots } => {
                    keys += 1;
                    slots.iter().for_each(|slot| add(key, slot));
                }
            }
            let (_, key, slot) = start.value();
            if first.is_none_or(|first| (&first.0[..], first.1) != (key, slot)) {
                mistake = Some("a block that begins with another pair than it is found by");
            }
            let listed = entries.next().transpose()?;
            if listed.is_none_or(|(at, counts)| at.value() != start.value() || counts.value() != (pairs, keys)) {
                mistake = Some("a directory that does not fit the blocks");
            }
        }
        let rest = entries.next().transpose()?;
        Ok(mistake
            .or(rest.filter(|(at, _)| at.value().0 == field).map(|_| "a directory of more blocks than there are")))
    }

    /// Bounds on the pairs within the ranges, which must be disjoint. Reads the directory only.
    pub(in super::super) fn estimate(&self, field: u16, ranges: &[KeyRange]) -> Result<CountEstimate, Fault> {
        let mut sum = CountEstimate::default();
        for range in ranges {
            let (key, slot) = first_start(&self.directory, field, range)?;
            let mut entries = self.directory.range((field, &key[..], slot)..)?;
            let mut next = entries.next().transpose()?;
            while let Some((start, counts)) = next {
                let (of, key, _) = start.value();
                if of != field || range.ends_before(key) {
                    break;
                }
                next = entries.next().transpose()?;
                let end = next.as_ref().map(|(start, _)| start.value()).filter(|(of, ..)| *of == field);
                sum += part(key, end.map(|(_, key, _)| key), counts.value(), range);
            }
        }
        Ok(sum)
    }
}

/// How many pairs of a block lie in the range: the block begins with the key `first`, and the next one of the field with `end`.
fn part(first: &[u8], end: Option<&[u8]>, (pairs, keys): Counts, range: &KeyRange) -> CountEstimate {
    let (pairs, keys) = (u64::from(pairs), u64::from(keys));
    let begins_inside = range.contains(first);
    let ends_inside = keys == 1 || end.map_or(range.high == Bound::Unbounded, |end| range.contains(end));
    if begins_inside && ends_inside {
        return CountEstimate { low: pairs, high: pairs, expected: pairs as f64 };
    }
    if keys == 1 {
        return CountEstimate::default();
    }
    // A range of one key takes one key's share of the block; any other takes half of a block that it enters or leaves.
    let share = if range.is_one_key() { 1.0 / keys.max(1) as f64 } else { 0.5 };
    CountEstimate { low: u64::from(begins_inside), high: pairs, expected: pairs as f64 * share }
}

/// Where to begin to read for a range: at the first pair of the block in which its least key may lie.
fn first_start<V: redb::Value + 'static>(
    table: &impl ReadableTable<BlockKey, V>,
    field: u16,
    range: &KeyRange,
) -> Result<(Vec<u8>, u32), Fault> {
    let least = range.least();
    let before = table.range(..=(field, least, 0))?.next_back().transpose()?;
    let owned = |(of, key, slot): (u16, &[u8], u32)| (of == field).then(|| (key.to_vec(), slot));
    Ok(before.and_then(|(start, _)| owned(start.value())).unwrap_or((Vec::new(), 0)))
}

/// The slots of all keys within the ranges, from the blocks as a transaction sees them.
pub(in super::super) fn gather(
    blocks: &impl ReadableTable<BlockKey, &'static [u8]>,
    field: u16,
    ranges: &[KeyRange],
) -> Result<RoaringBitmap, Fault> {
    let (mut few, mut many) = (Vec::new(), RoaringBitmap::new());
    for range in ranges {
        let (key, slot) = first_start(blocks, field, range)?;
        for entry in blocks.range((field, &key[..], slot)..)? {
            let (start, bytes) = entry?;
            let (of, key, _) = start.value();
            if of != field || range.ends_before(key) {
                break;
            }
            match Block::parse(bytes.value())? {
                Block::Pairs(block) => few.extend(slots_within(&block, range)),
                Block::Single { key, slots } if range.contains(key) => many |= slots,
                Block::Single { .. } => {}
            }
        }
    }
    many |= bitmap(few);
    Ok(many)
}

fn slots_within<'a>(block: &Pairs<'a>, range: &KeyRange) -> impl Iterator<Item = u32> + use<'a> {
    // Most blocks lie in the range as a whole, and their keys need not be looked at but for the two.
    let (mut first, mut last) = (0, block.runs());
    if last > 0 && range.begins_after(block.key(0)) {
        first = block.partition(|key| range.begins_after(key));
    }
    if last > 0 && range.ends_before(block.key(last - 1)) {
        last = block.partition(|key| !range.ends_before(key));
    }
    block.slots(first, last)
}

/// A bitmap of slots in any order. Many of them are spread over plain bits first, which is a third of the time of sorting;
/// not when the slots are so far apart that the bits would take more memory than the slots.
fn bitmap(mut slots: Vec<u32>) -> RoaringBitmap {
    const FEW: usize = 1024;
    let bytes = slots.iter().max().map_or(0, |greatest| *greatest as usize / 8 + 1);
    if slots.len() < FEW || bytes > 4 * slots.len() {
        slots.sort_unstable();
        slots.dedup();
        return RoaringBitmap::from_sorted_iter(slots).expect("the slots are sorted, and none is there twice");
    }
    let mut bits = vec![0_u8; bytes];
    for slot in slots {
        bits[slot as usize / 8] |= 1 << (slot % 8);
    }
    RoaringBitmap::from_lsb0_bytes(0, &bits)
}

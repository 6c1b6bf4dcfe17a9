//! Cutting what a merge yields into blocks.

use roaring::RoaringBitmap;

use super::Counts;
use super::block::{BadBlock, PairsWriter, write_single};
use super::pair::Pair;

/// A key with so many slots in one merge leaves the blocks of pairs; one with fewer than half of them returns.
const MANY_SLOTS: usize = 512;
/// A block above this is cut. With its key and redb's own bytes it then fits a page of 16 KiB.
pub(super) const MOST_BYTES: usize = 16_000;
/// What the pieces of a cut block have at most, so that each has room.
pub(super) const CUT_BYTES: usize = 12_000;

/// The first pair of a block, by which it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) key: Vec<u8>,
    pub(super) slot: u32,
}

impl Start {
    pub(super) fn pair(&self) -> Pair<'_> {
        Pair::new(&self.key, self.slot)
    }
}

/// What a merge yields, in the order of the pairs.
pub(super) enum Part<'a> {
    Pairs(Vec<Pair<'a>>),
    Single(&'a [u8], RoaringBitmap),
}

/// A block to be written.
pub(super) struct Finished {
    pub(super) start: Start,
    pub(super) bytes: Vec<u8>,
    pub(super) counts: Counts,
}

/// The blocks that hold the pairs of all parts, unless those do not ascend, as they do in blocks that are sound.
pub(super) fn cut(parts: Vec<Part<'_>>) -> Result<Vec<Finished>, BadBlock> {
    if !ascend(&parts) {
        return Err(BadBlock("pairs that do not ascend"));
    }
    let (mut finished, mut pending) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Pairs(pairs) => {
                for run in pairs.chunk_by(Pair::has_key_of) {
                    if run.len() < MANY_SLOTS {
                        pending.extend_from_slice(run);
                    } else {
                        cut_pairs(&mut pending, &mut finished);
                        let slots = RoaringBitmap::from_sorted_iter(run.iter().map(|pair| pair.slot));
                        let slots = slots.expect("the slots of a key ascend");
                        cut_single(run[0].key, slots, &mut finished);
                    }
                }
            }
            Part::Single(key, slots) if slots.len() >= MANY_SLOTS as u64 / 2 => {
                cut_pairs(&mut pending, &mut finished);
                cut_single(key, slots, &mut finished);
            }
            Part::Single(key, slots) => pending.extend(slots.iter().map(|slot| Pair::new(key, slot))),
        }
    }
    cut_pairs(&mut pending, &mut finished);
    Ok(finished)
}

/// Whether each pair is above the one before it, whatever part that is in.
fn ascend(parts: &[Part<'_>]) -> bool {
    let mut last: Option<Pair<'_>> = None;
    parts.iter().all(|part| {
        let (first, end, is_sorted) = match part {
            Part::Pairs(pairs) => (pairs.first().copied(), pairs.last().copied(), pairs.is_sorted_by(|a, b| a < b)),
            Part::Single(key, slots) => {
                let pair = |slot| Pair::new(key, slot);
                (slots.min().map(pair), slots.max().map(pair), true)
            }
        };
        let follows = last.is_none_or(|last| first.is_none_or(|first| last < first));
        last = end.or(last);
        is_sorted && follows
    })
}

/// Cuts `pending` into blocks of nearly equal size: one, if that does, or as few as stay below [`CUT_BYTES`] and a pair.
fn cut_pairs(pending: &mut Vec<Pair<'_>>, finished: &mut Vec<Finished>) {
    let size: usize = pending.chunk_by(Pair::has_key_of).map(run_bytes).sum();
    let pieces = if size <= MOST_BYTES { 1 } else { size.div_ceil(CUT_BYTES) };
    let piece = size.div_ceil(pieces);
    let (mut writer, mut written, mut last) = (PairsWriter::default(), 0, None);
    let mut start = None;
    for pair in pending.drain(..) {
        let begins = last.is_none_or(|last| !pair.has_key_of(&last));
        let cost = PairsWriter::cost(pair.key, begins);
        if written >= piece
            && let Some(start) = start.take()
        {
            finished.push(finish(start, &mut writer));
            written = 0;
        }
        let begins = begins || start.is_none();
        start.get_or_insert_with(|| Start { key: pair.key.to_vec(), slot: pair.slot });
        writer.push(pair.key, pair.slot, begins);
        written += cost;
        last = Some(pair);
    }
    finished.extend(start.map(|start| finish(start, &mut writer)));
}

fn run_bytes(run: &[Pair<'_>]) -> usize {
    PairsWriter::cost(run[0].key, true) + (run.len() - 1) * PairsWriter::cost(run[0].key, false)
}

fn finish(start: Start, writer: &mut PairsWriter) -> Finished {
    let (pairs, runs) = writer.counts();
    Finished { start, bytes: writer.finish(), counts: (pairs as u32, runs as u32) }
}

/// Cuts a bitmap between its containers of 65,536 slots until each piece is small enough, or a single container.
fn cut_single(key: &[u8], mut slots: RoaringBitmap, finished: &mut Vec<Finished>) {
    let (Some(least), Some(greatest)) = (slots.min(), slots.max()) else { return };
    slots.optimize();
    let container = |slot: u32| slot >> 16;
    if slots.serialized_size() > MOST_BYTES && container(least) < container(greatest) {
        let middle = slots.select(slots.len() as u32 / 2).map_or(0, container).max(container(least) + 1) << 16;
        let mut above = slots.clone();
        above.remove_range(..middle);
        slots.remove_range(middle..);
        cut_single(key, slots, finished);
        cut_single(key, above, finished);
        return;
    }
    let start = Start { key: key.to_vec(), slot: least };
    finished.push(Finished { start, bytes: write_single(key, &slots), counts: (slots.len() as u32, 1) });
}

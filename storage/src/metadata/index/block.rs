//! One block of an index: neighbouring (key, slot) pairs, as bytes.
//!
//! A block is of one of two forms. *Pairs* holds few slots of each of many keys: all slots in the order of the pairs, so
//! that a range which takes the whole block copies one array. *Single* holds many slots of one key as a roaring bitmap.
//! `docs/formats.md` gives both byte by byte.

use roaring::RoaringBitmap;

use crate::metadata::document::MAX_INDEXED_BYTES;

/// The form of a block that is [`Pairs`]; its first byte.
const PAIRS: u8 = 1;
/// The form of a block that is one key and a bitmap; its first byte.
const SINGLE: u8 = 2;
/// Bytes before the slots of [`Pairs`].
const HEADER_BYTES: usize = 8;
/// A pair more costs its slot; a key more its two ends and itself.
const SLOT_BYTES: usize = 4;
const KEY_OVERHEAD_BYTES: usize = 4;

/// Bytes that are no block; what is wrong with them.
#[derive(Debug)]
pub(in super::super) struct BadBlock(pub(in super::super) &'static str);

const TOO_LONG: BadBlock = BadBlock("a key that is too long");

/// A block where it lies.
pub(super) enum Block<'a> {
    Pairs(Pairs<'a>),
    Single { key: &'a [u8], slots: RoaringBitmap },
}

impl<'a> Block<'a> {
    /// Checks that the parts are there; not each end within them, which [`Pairs::check`] does.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BadBlock> {
        match bytes.first() {
            Some(&PAIRS) => Pairs::parse(bytes).map(Self::Pairs),
            Some(&SINGLE) => {
                let (length, rest) = bytes[1..].split_first_chunk().ok_or(BadBlock("a block that is cut short"))?;
                let length = usize::from(u16::from_le_bytes(*length));
                let (key, slots) = rest.split_at_checked(length).ok_or(BadBlock("a key that is cut short"))?;
                if length > MAX_INDEXED_BYTES {
                    return Err(TOO_LONG);
                }
                let slots = RoaringBitmap::deserialize_from(slots).map_err(|_| BadBlock("a damaged bitmap"))?;
                Ok(Self::Single { key, slots })
            }
            _ => Err(BadBlock("a block of no known form")),
        }
    }
}

/// The bytes of a block of one key.
pub(super) fn write_single(key: &[u8], slots: &RoaringBitmap) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 + key.len() + slots.serialized_size());
    out.push(SINGLE);
    out.extend((key.len() as u16).to_le_bytes());
    out.extend(key);
    slots.serialize_into(&mut out).expect("writing to memory does not fail");
    out
}

/// A block of pairs where it lies: `slots`, and for each key the end of its slots and the end of its bytes.
pub(super) struct Pairs<'a> {
    slots: &'a [[u8; 4]],
    slot_ends: &'a [[u8; 2]],
    key_ends: &'a [[u8; 2]],
    keys: &'a [u8],
}

impl<'a> Pairs<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BadBlock> {
        let cut = || BadBlock("a block that is cut short");
        let header = bytes.get(..HEADER_BYTES).ok_or_else(cut)?;
        let number = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let (pairs, runs) = (number(2), number(4));
        let (slots, rest) = bytes[HEADER_BYTES..].split_at_checked(4 * pairs).ok_or_else(cut)?;
        let (slot_ends, rest) = rest.split_at_checked(2 * runs).ok_or_else(cut)?;
        let (key_ends, keys) = rest.split_at_checked(2 * runs).ok_or_else(cut)?;
        if keys.len() > usize::from(u16::MAX) {
            return Err(BadBlock("a block that is too long"));
        }
        let parsed = Self {
            slots: slots.as_chunks().0,
            slot_ends: slot_ends.as_chunks().0,
            key_ends: key_ends.as_chunks().0,
            keys,
        };
        Ok(parsed)
    }

    /// Whether every pair belongs to a key, every byte of the keys to one, and no key is longer than any may be. Who reads a damaged block without asking finds too
    /// little or too much, but does not panic.
    pub(super) fn check(&self) -> Result<(), BadBlock> {
        for (ends, last) in [(self.slot_ends, self.slots.len()), (self.key_ends, self.keys.len())] {
            let ends = || ends.iter().map(|end| u16::from_le_bytes(*end));
            if !ends().is_sorted() || usize::from(ends().next_back().unwrap_or_default()) != last {
                return Err(BadBlock("a block whose ends do not ascend to its size"));
            }
        }
        // The pieces of a cut block have ends of 16 bits too.
        if (0..self.runs()).any(|run| self.key(run).len() > MAX_INDEXED_BYTES) {
            return Err(TOO_LONG);
        }
        Ok(())
    }

    /// The number of pairs.
    pub(super) fn pairs(&self) -> usize {
        self.slots.len()
    }

    /// The number of keys.
    pub(super) fn runs(&self) -> usize {
        self.slot_ends.len()
    }

    /// The key at `run`.
    pub(super) fn key(&self, run: usize) -> &'a [u8] {
        self.keys.get(end(self.key_ends, run)..end(self.key_ends, run + 1)).unwrap_or_default()
    }

    /// The slots of the keys from `first` to before `last`, key after key.
    pub(super) fn slots(&self, first: usize, last: usize) -> impl Iterator<Item = u32> + use<'a> {
        let slots = self.slots.get(end(self.slot_ends, first)..end(self.slot_ends, last));
        slots.unwrap_or_default().iter().map(|slot| u32::from_le_bytes(*slot))
    }

    /// The first key that is not `before`, as a position, for keys that are `before` only at the front.
    pub(super) fn partition(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.runs());
        while low < high {
            let middle = low.midpoint(high);
            if before(self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Where the run before `run` ends.
fn end(ends: &[[u8; 2]], run: usize) -> usize {
    if run == 0 { 0 } else { usize::from(u16::from_le_bytes(ends[run - 1])) }
}

/// Pairs in the making, in ascending order. Their cost stays below 64 KiB: ends are 16 bits.
#[derive(Default)]
pub(super) struct PairsWriter {
    slots: Vec<u32>,
    slot_ends: Vec<u16>,
    key_ends: Vec<u16>,
    keys: Vec<u8>,
}

impl PairsWriter {
    /// What a pair costs, of a key that is there already or of a new one.
    pub(super) fn cost(key: &[u8], is_new: bool) -> usize {
        SLOT_BYTES + if is_new { KEY_OVERHEAD_BYTES + key.len() } else { 0 }
    }

    /// Adds a pair above all that are there: the first one of its key in this block, if it `begins`.
    pub(super) fn push(&mut self, key: &[u8], slot: u32, begins: bool) {
        self.slots.push(slot);
        let pairs = self.slots.len() as u16;
        if begins {
            self.keys.extend(key);
            self.key_ends.push(self.keys.len() as u16);
            self.slot_ends.push(pairs);
        } else if let Some(end) = self.slot_ends.last_mut() {
            *end = pairs;
        }
    }

    /// The number of pairs, and of keys.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.slots.len(), self.slot_ends.len())
    }

    /// The bytes of the block; then it is empty again.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let (pairs, runs) = self.counts();
        let mut out = Vec::with_capacity(HEADER_BYTES + 4 * pairs + 4 * runs + self.keys.len());
        out.extend([PAIRS, 0]);
        out.extend((pairs as u16).to_le_bytes());
        out.extend((runs as u16).to_le_bytes());
        out.extend([0, 0]);
        out.extend(self.slots.drain(..).flat_map(u32::to_le_bytes));
        for ends in [&mut self.slot_ends, &mut self.key_ends] {
            out.extend(ends.drain(..).flat_map(u16::to_le_bytes));
        }
        out.append(&mut self.keys);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(bytes: &[u8]) -> Pairs<'_> {
        match Block::parse(bytes) {
            Ok(Block::Pairs(pairs)) => pairs,
            _ => panic!("not a block of pairs"),
        }
    }

    fn example() -> Vec<u8> {
        let mut writer = PairsWriter::default();
        for (key, slot, begins) in [("", 7, true), ("a", 1, true), ("a", 9, false), ("bc", 0, true)] {
            writer.push(key.as_bytes(), slot, begins);
        }
        assert_eq!(writer.counts(), (4, 3));
        writer.finish()
    }

    #[test]
    fn the_bytes_of_pairs_are_those_of_the_format() {
        assert_eq!(
            example(),
            b"\x01\0\x04\0\x03\0\0\0\
              \x07\0\0\0\x01\0\0\0\x09\0\0\0\0\0\0\0\
              \x01\0\x03\0\x04\0\
              \0\0\x01\0\x03\0abc"
        );
        let bytes = example();
        let block = pairs(&bytes);
        assert_eq!((0..3).map(|run| block.key(run)).collect::<Vec<_>>(), [&b""[..], b"a", b"bc"]);
        assert_eq!(block.slots(1, 3).collect::<Vec<_>>(), [1, 9, 0]);
        assert_eq!(block.slots(2, 1).count(), 0);
        assert_eq!(block.partition(|key| key < &b"a"[..]), 1);
        assert_eq!(block.partition(|key| key <= &b"a"[..]), 2);
        assert_eq!(block.partition(|_| true), 3);
    }

    #[test]
    fn a_single_key_keeps_its_bitmap() {
        let slots = RoaringBitmap::from_iter([3, 70000]);
        let bytes = write_single(b"red", &slots);
        assert_eq!(bytes[..6], *b"\x02\x03\0red");
        match Block::parse(&bytes) {
            Ok(Block::Single { key, slots: found }) => assert_eq!((key, found), (&b"red"[..], slots)),
            _ => panic!("not a block of one key"),
        }
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let whole = [example(), write_single(b"red", &(0..9).collect())];
        for bytes in &whole {
            for cut in 0..bytes.len() {
                let refused = match Block::parse(&bytes[..cut]) {
                    Ok(Block::Pairs(block)) => block.check().is_err(),
                    Ok(Block::Single { .. }) => false,
                    Err(_) => true,
                };
                assert!(refused, "cut at {cut}");
            }
        }
        for place in [8 + 16, 8 + 16 + 6] {
            let mut bytes = example();
            bytes[place] = 200;
            assert!(pairs(&bytes).check().is_err_and(|bad| bad.0.contains("do not ascend")));
        }
        assert!(Block::parse(b"\x03").is_err());
        let of_length = |length| write_single(&vec![b'a'; length], &(0..9).collect());
        assert!(Block::parse(&of_length(1024)).is_ok());
        assert!(Block::parse(&of_length(1025)).is_err_and(|bad| bad.0 == "a key that is too long"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_block_panic(place in 0_usize..60, with in any::<u8>(), noise in any::<Vec<u8>>()) {
            let mut mutant = example();
            let place = place % mutant.len();
            mutant[place] = with;
            for bytes in [mutant, noise] {
                if let Ok(Block::Pairs(block)) = Block::parse(&bytes) {
                    for run in 0..block.runs() {
                        let _ = (block.key(run), block.slots(run, run + 1).count());
                    }
                }
            }
        }
    }
}

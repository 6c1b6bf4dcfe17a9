//! A key with a slot, and lists of pairs that come and go.

use std::cmp::Ordering;

/// Edits of one field: which (key, slot) pairs come and go. No pair is in it twice.
#[derive(Default)]
pub(in super::super) struct Edits {
    keys: Vec<u8>,
    edits: Vec<Logged>,
}

struct Logged {
    start: usize,
    length: u16,
    adds: bool,
    slot: u32,
}

impl Edits {
    /// One pair more that comes (`adds`) or goes. Keys are shorter than 64 KiB.
    pub(in super::super) fn push(&mut self, key: &[u8], slot: u32, adds: bool) {
        self.edits.push(Logged { start: self.keys.len(), length: key.len() as u16, adds, slot });
        self.keys.extend(key);
    }

    /// In the order of the pairs.
    pub(super) fn sorted(&self) -> Vec<Edit<'_>> {
        let edit = |logged: &Logged| {
            let key = &self.keys[logged.start..logged.start + usize::from(logged.length)];
            Edit { pair: Pair::new(key, logged.slot), adds: logged.adds }
        };
        let mut edits: Vec<_> = self.edits.iter().map(edit).collect();
        edits.sort_unstable_by_key(|edit| edit.pair);
        edits
    }
}

/// A key and one of its slots; pairs are ordered by both.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    /// The first eight bytes of the key, zeros after a shorter one. Nearly every comparison ends with it, without a call.
    prefix: u64,
    pub(super) key: &'a [u8],
    pub(super) slot: u32,
}

impl<'a> Pair<'a> {
    pub(super) fn new(key: &'a [u8], slot: u32) -> Self {
        let prefix = key.first_chunk().map_or_else(
            || key.iter().enumerate().fold(0, |prefix, (i, byte)| prefix | u64::from(*byte) << (56 - 8 * i)),
            |bytes| u64::from_be_bytes(*bytes),
        );
        Self { prefix, key, slot }
    }

    fn compare_keys(&self, other: &Self) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| {
            if self.key.len() <= 8 && other.key.len() <= 8 {
                // Equal but for zeros at the end.
                self.key.len().cmp(&other.key.len())
            } else {
                self.key.cmp(other.key)
            }
        })
    }

    pub(super) fn has_key_of(&self, other: &Self) -> bool {
        self.compare_keys(other).is_eq()
    }
}

impl Ord for Pair<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare_keys(other).then(self.slot.cmp(&other.slot))
    }
}

impl PartialOrd for Pair<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair<'_> {}

/// A pair that comes, if it `adds`, or goes.
pub(super) struct Edit<'a> {
    pub(super) pair: Pair<'a>,
    pub(super) adds: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_are_ordered_by_the_bytes_of_the_key_then_by_slot(
            a in proptest::collection::vec(0_u8..3, 0..11), b in proptest::collection::vec(0_u8..3, 0..11), slots in (0_u32..2, 0_u32..2),
        ) {
            let expected = (&a, slots.0).cmp(&(&b, slots.1));
            prop_assert_eq!(Pair::new(&a, slots.0).cmp(&Pair::new(&b, slots.1)), expected);
            prop_assert_eq!(Pair::new(&a, 1).has_key_of(&Pair::new(&b, 2)), a == b);
        }
    }

    #[test]
    fn edits_come_out_sorted() {
        let mut edits = Edits::default();
        for (key, slot, adds) in [("b", 1, true), ("a", 2, false), ("", 3, true), ("a", 1, true)] {
            edits.push(key.as_bytes(), slot, adds);
        }
        let sorted: Vec<_> = edits.sorted().iter().map(|edit| (edit.pair.key, edit.pair.slot, edit.adds)).collect();
        assert_eq!(sorted, [(&b""[..], 3, true), (b"a", 1, true), (b"a", 2, false), (b"b", 1, true)]);
    }
}

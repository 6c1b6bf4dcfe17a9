//! Slots by the hash of their id: linear hashing (Litwin, "Linear hashing: a new tool for file and table addressing", VLDB 1980).
//!
//! Buckets are split one after another, in order, as the table grows, so that it never moves more than one bucket's entries at
//! once; a copy shares all buckets, and a change of it copies one. What Litwin chains to a bucket that is full before its turn
//! comes stays in it here: a bucket is a small table of its own, with room for as many entries as it needs.
//!
//! An entry is eight bytes: half of them the hash, which says all that splitting needs, so that no id is touched for it; an id is
//! looked at only where the hash fits. Eight entries are one line of the cache, compared at once, and mostly the only one that
//! is read. Nothing here knows what an id is.

use std::iter;
use std::sync::Arc;

use super::paged::{BRANCH, Pages};
use super::spare::{KEPT_BYTES, Spare};

/// Entries of a bucket, on average, at which one is split: they have as many when they were, and twice as many before.
const MEAN: usize = 512;
/// Entries of a group.
const WIDTH: usize = 8;
/// The number of a bucket's groups is a multiple of this: what one leaves is of use to many.
const STEP: usize = 16;
/// Buckets are there up to the number of them.
const LOOKED_FOR: &str = "a bucket that is looked for is there";
/// Stands where a slot would, where there is none.
const NO_SLOT: u32 = u32::MAX;

/// A line of the cache: entries from the front, the hash of each and its slot.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Group {
    hashes: [u32; WIDTH],
    slots: [u32; WIDTH],
}

impl Group {
    const EMPTY: Self = Self { hashes: [0; WIDTH], slots: [NO_SLOT; WIDTH] };

    fn is_full(&self) -> bool {
        self.slots[WIDTH - 1] != NO_SLOT
    }

    /// How many entries there are.
    fn len(&self) -> usize {
        self.slots.iter().filter(|slot| **slot != NO_SLOT).count()
    }

    /// The slots of a hash, as bits.
    #[inline]
    fn matches(&self, hash: u32) -> u32 {
        let equal = |i: usize| u32::from(self.hashes[i] == hash) << i;
        let bits = (0..WIDTH).fold(0, |bits, i| bits | equal(i));
        // What is not used has a hash too.
        if bits == 0 { 0 } else { bits & !(u32::MAX << self.len()) }
    }

    /// Takes the entry at `i` out, and puts the last in its place.
    fn take(&mut self, i: usize) -> (u32, u32) {
        let taken = (self.hashes[i], self.slots[i]);
        let last = self.len() - 1;
        (self.hashes[i], self.slots[i]) = (self.hashes[last], self.slots[last]);
        self.slots[last] = NO_SLOT;
        taken
    }
}

/// The group in which a hash belongs, of `len`: by its upper bits, as the lower ones choose the bucket.
#[inline]
fn home(hash: u32, len: usize) -> usize {
    ((u64::from(hash) * len as u64) >> 32) as usize
}

/// The group after `at`, of `len`.
#[inline]
fn after(at: usize, len: usize) -> usize {
    if at + 1 == len { 0 } else { at + 1 }
}

/// A small table. An entry lies in its home or, where that was full, in the next group that was not; at most three quarters are used.
#[derive(Debug, Clone, Default)]
struct Bucket {
    /// None in those with which a branch is filled up.
    groups: Option<Arc<[Group]>>,
    used: u32,
}

impl Bucket {
    /// Of these `used` entries, half full.
    fn of(entries: impl Iterator<Item = (u32, u32)>, used: usize) -> Self {
        Self { groups: Some(room(entries, used)), used: used as u32 }
    }

    #[inline]
    fn groups(&self) -> &[Group] {
        self.groups.as_ref().expect(LOOKED_FOR)
    }

    /// Its groups, to be changed.
    fn own(&mut self, spare: &mut Spare<[Group]>) -> &mut [Group] {
        spare.own_slice(self.groups.as_mut().expect(LOOKED_FOR))
    }

    /// Each entry, a hash and a slot.
    fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let of = |group: &Group| group.hashes.into_iter().zip(group.slots).filter(|(_, slot)| *slot != NO_SLOT);
        self.groups().iter().flat_map(of)
    }

    /// Makes room for so many entries more.
    fn reserve(&mut self, more: usize) {
        let used = self.used as usize + more;
        if used > self.groups().len() * WIDTH * 3 / 4 {
            self.groups = Some(room(self.iter(), used));
        }
    }

    /// Takes an entry out that is there.
    fn remove(&mut self, hash: u32, slot: u32, spare: &mut Spare<[Group]>) {
        let groups = self.own(spare);
        let len = groups.len();
        let mut hole = home(hash, len);
        let i = loop {
            match groups[hole].slots.iter().position(|other| *other == slot) {
                Some(i) => break i,
                None => hole = after(hole, len),
            }
            debug_assert!(hole != home(hash, len), "the entry is there");
        };
        // Where the group was full, an entry that it kept from its home may move up, and leaves a hole in turn.
        let mut was_full = groups[hole].is_full();
        groups[hole].take(i);
        let mut at = after(hole, len);
        while was_full && at != hole {
            let from_home = |hash: u32| (at + len - home(hash, len)) % len;
            let from_hole = (at + len - hole) % len;
            let entries = groups[at].len();
            was_full = entries == WIDTH;
            if let Some(moves) = groups[at].hashes[..entries].iter().position(|&hash| from_home(hash) >= from_hole) {
                let entry = groups[at].take(moves);
                place_in(&mut groups[hole], entry);
                hole = at;
            }
            at = after(at, len);
        }
        self.used -= 1;
    }
}

/// Groups of these entries, of which there may be `used`, so that half of the room is.
fn room(entries: impl Iterator<Item = (u32, u32)>, used: usize) -> Arc<[Group]> {
    let len = (used / (WIDTH / 2) + 1).next_multiple_of(STEP);
    let mut groups: Arc<[Group]> = iter::repeat_n(Group::EMPTY, len).collect();
    let room = Arc::make_mut(&mut groups);
    entries.for_each(|entry| place(room, entry));
    groups
}

/// Gives `is_it` the slots of a hash until it says so.
#[inline]
fn find(groups: &[Group], hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
    let mut at = home(hash, groups.len());
    loop {
        let group = &groups[at];
        let mut matches = group.matches(hash);
        while matches != 0 {
            let slot = group.slots[matches.trailing_zeros() as usize];
            if is_it(slot) {
                return Some(slot);
            }
            matches &= matches - 1;
        }
        if !group.is_full() {
            return None;
        }
        at = after(at, groups.len());
    }
}

/// Puts an entry where there is room for it.
fn place(groups: &mut [Group], entry: (u32, u32)) {
    let mut at = home(entry.0, groups.len());
    while groups[at].is_full() {
        at = after(at, groups.len());
    }
    place_in(&mut groups[at], entry);
}

fn place_in(group: &mut Group, (hash, slot): (u32, u32)) {
    let end = group.len();
    (group.hashes[end], group.slots[end]) = (hash, slot);
}

/// Memory that changes of a table are made in.
#[derive(Debug, Default)]
pub(super) struct HashSpare {
    branches: Spare<[Bucket; BRANCH]>,
    groups: Spare<[Group]>,
    /// Entries to put, each with its bucket.
    order: Vec<(usize, (u32, u32))>,
}

impl HashSpare {
    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.branches.memory() + self.groups.memory() + self.order.capacity() * size_of::<(usize, (u32, u32))>()
    }
}

/// Slots by hash.
#[derive(Debug, Clone)]
pub(super) struct LinearHash {
    /// Bucket `b` of those that were split in this round, and of those that came of it, has the hashes that are `b` in their
    /// lower bits up to `mask`; any other in one bit less.
    buckets: Pages<Bucket, BRANCH>,
    mask: usize,
    len: usize,
}

impl LinearHash {
    pub(super) fn new() -> Self {
        let mut buckets = Pages::default();
        buckets.push(Bucket::of(iter::empty(), 0), &mut Spare::default());
        Self { buckets, mask: 0, len: 0 }
    }

    /// Asks for the memory where a hash is looked for.
    #[inline]
    pub(super) fn prefetch(&self, hash: u32) {
        let groups = self.buckets.at(self.bucket_of(hash)).groups();
        nearlab_simd::prefetch(std::slice::from_ref(&groups[home(hash, groups.len())]));
    }

    /// Gives `is_it` the slots whose ids have this hash until it says so; which that was.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        find(self.buckets.at(self.bucket_of(hash)).groups(), hash, is_it)
    }

    /// Puts slots, each with the hash of its id, bucket by bucket. Where `same` says that the id of one is that of another of the
    /// same hash, these two are given back, and some of the others are there.
    pub(super) fn extend(
        &mut self,
        entries: impl Iterator<Item = (u32, u32)>,
        same: impl Fn(u32, u32) -> bool,
        spare: &mut HashSpare,
    ) -> Result<(), (u32, u32)> {
        let mut order = std::mem::take(&mut spare.order);
        order.clear();
        order.extend(entries.map(|entry| (0, entry)));
        while self.len + order.len() > self.buckets.len() * MEAN {
            self.split(spare);
        }
        for (bucket, entry) in &mut order {
            *bucket = self.bucket_of(entry.0);
        }
        order.sort_unstable_by_key(|(bucket, _)| *bucket);
        for entries in order.chunk_by(|a, b| a.0 == b.0) {
            let bucket = self.buckets.at_mut(entries[0].0, &mut spare.branches);
            bucket.reserve(entries.len());
            let groups = bucket.own(&mut spare.groups);
            for (_, (hash, _)) in entries {
                nearlab_simd::prefetch(std::slice::from_ref(&groups[home(*hash, groups.len())]));
            }
            for &(_, (hash, slot)) in entries {
                if let Some(other) = find(groups, hash, |other| same(slot, other)) {
                    return Err((slot, other));
                }
                place(groups, (hash, slot));
            }
            bucket.used += entries.len() as u32;
            self.len += entries.len();
        }
        if size_of_val(&order[..]) <= KEPT_BYTES {
            spare.order = order;
        }
        Ok(())
    }

    /// Takes a slot out that is there.
    pub(super) fn remove(&mut self, hash: u32, slot: u32, spare: &mut HashSpare) {
        let bucket = self.bucket_of(hash);
        self.buckets.at_mut(bucket, &mut spare.branches).remove(hash, slot, &mut spare.groups);
        self.len -= 1;
    }

    /// Becomes a copy of another.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.buckets.copy_from(&other.buckets);
        (self.mask, self.len) = (other.mask, other.len);
    }

    /// Becomes one to copy into; what nobody shares is kept.
    pub(super) fn give_up(&mut self, spare: &mut HashSpare) {
        let HashSpare { branches, groups, .. } = spare;
        self.buckets.give_up(branches, |bucket| bucket.groups.take().into_iter().for_each(|own| groups.offer(own)));
        (self.mask, self.len) = (0, 0);
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        let groups: usize = self.buckets.iter().map(|bucket| size_of_val(bucket.groups())).sum();
        groups + self.buckets.memory()
    }

    #[inline]
    fn bucket_of(&self, hash: u32) -> usize {
        let low = hash as usize & self.mask;
        if low < self.buckets.len() { low } else { low & (self.mask >> 1) }
    }

    /// Splits the next bucket.
    fn split(&mut self, spare: &mut HashSpare) {
        let new = self.buckets.len();
        if new > self.mask {
            self.mask = 2 * self.mask + 1;
        }
        let old = self.buckets.at_mut(new & (self.mask >> 1), &mut spare.branches);
        let goes = |entry: &(u32, u32)| entry.0 as usize & self.mask == new;
        let going = old.iter().filter(goes).count();
        let gone = Bucket::of(old.iter().filter(goes), going);
        *old = Bucket::of(old.iter().filter(|entry| !goes(entry)), old.used as usize - going);
        self.buckets.push(gone, &mut spare.branches);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots(table: &LinearHash, hash: u32) -> Vec<u32> {
        let mut slots = Vec::new();
        table.find(hash, |slot| {
            slots.push(slot);
            false
        });
        slots.sort_unstable();
        slots
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_and_not_taken_out_whatever_the_hashes(
            changes in prop::collection::vec((any::<bool>(), 0_u32..40, 0_u32..4), 0..3000),
        ) {
            // Hashes that share their upper bits meet in one place of a bucket, at its end too.
            let hash = |of: u32| u32::MAX - of / 20 - (of % 20) * (of % 3) * 0x0500_0001;
            let (mut table, mut spare) = (LinearHash::new(), HashSpare::default());
            let mut old = table.clone();
            let mut model = std::collections::BTreeSet::new();
            for (put, of, slot) in changes {
                let (hash, slot) = (hash(of), of * 4 + slot);
                if put && model.insert((hash, slot)) {
                    prop_assert_eq!(table.extend([(hash, slot)].into_iter(), |_, _| false, &mut spare), Ok(()));
                } else if !put && model.remove(&(hash, slot)) {
                    table.remove(hash, slot, &mut spare);
                }
                // As a store's views follow one another.
                if of % 7 == 0 {
                    old.give_up(&mut spare);
                    old.copy_from(&table);
                }
            }
            for of in 0..40 {
                let expected: Vec<u32> = model.range((hash(of), 0)..=(hash(of), u32::MAX)).map(|(_, slot)| *slot).collect();
                prop_assert_eq!(slots(&table, hash(of)), expected);
            }
        }
    }

    #[test]
    fn it_grows_by_splitting_and_a_copy_keeps_what_it_had() {
        let hash = |slot: u32| slot.wrapping_mul(0x9e37_79b9);
        let (mut table, mut spare) = (LinearHash::new(), HashSpare::default());
        let entries = |slots: std::ops::Range<u32>| {
            (slots.start as usize..slots.end as usize).map(|slot| (hash(slot as u32), slot as u32))
        };
        table.extend(entries(0..100_000), |_, _| false, &mut spare).unwrap();
        let copy = table.clone();
        (0..100_000).step_by(3).for_each(|slot| table.remove(hash(slot), slot, &mut spare));
        table.extend(entries(100_000..200_000), |_, _| false, &mut spare).unwrap();
        for slot in 0..200_000 {
            let expected = (slot % 3 != 0 || slot >= 100_000).then_some(slot);
            assert_eq!(slots(&table, hash(slot)), Vec::from_iter(expected));
            assert_eq!(slots(&copy, hash(slot)), Vec::from_iter((slot < 100_000).then_some(slot)));
        }
        assert!(copy.memory() < 100_000 * 18, "{}", copy.memory());
    }

    #[test]
    fn more_of_one_hash_than_a_bucket_has_on_average_are_kept() {
        let (mut table, mut spare) = (LinearHash::new(), HashSpare::default());
        table.extend((0..5000_usize).map(|slot| (7, slot as u32)), |_, _| false, &mut spare).unwrap();
        let one_more = [(7, 5000)].into_iter();
        assert_eq!(table.extend(one_more, |a, b| a - b == 4000, &mut spare), Err((5000, 1000)));
        assert!(slots(&table, 7).into_iter().eq(0..5000));
        (0..5000).for_each(|slot| table.remove(7, slot, &mut spare));
        assert!(slots(&table, 7).is_empty());
    }
}

//! What a store should hold: a map in memory, and which of its moments a crash may leave.

use std::collections::BTreeMap;

use nearlab_storage::Vectors;
use nearlab_storage::store::{Durability, StoreError, VectorStore};
use tempfile::TempDir;

/// Ids that histories play with.
pub(crate) const IDS: u64 = 14;
/// Components of each vector.
pub(crate) const DIM: usize = 40;

/// A version by id.
pub(crate) type Content = BTreeMap<u64, u32>;

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn durability(&mut self) -> Durability {
        [Durability::None, Durability::Flush, Durability::Sync][self.below(3) as usize]
    }
}

/// A folder in memory, where there is one: what outlives what is the model's business, not the real disk's.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A vector that says whose it is.
pub(crate) fn row(id: u64, version: u32) -> [f32; DIM] {
    std::array::from_fn(|i| (id * 1000 + i as u64) as f32 + version as f32 / 64.0)
}

/// The versions in a store, every component of which is as it was written.
pub(crate) fn content(store: &VectorStore) -> Result<Content, StoreError> {
    let ids: Vec<u64> = (0..IDS).collect();
    let (mut rows, mut found) = (vec![0.0_f32; ids.len() * DIM], vec![false; ids.len()]);
    let read = store.read(&ids[..], &mut rows, &mut found)?;
    let mut content = Content::new();
    for ((id, vector), _) in ids.iter().zip(Vectors::new(&rows, DIM)).zip(&found).filter(|(_, found)| **found) {
        let version = ((vector[0] - (id * 1000) as f32) * 64.0) as u32;
        assert!(vector == row(*id, version), "id {id} has a vector that nobody wrote: {vector:?}");
        content.insert(*id, version);
    }
    assert_eq!((read, store.len()), (content.len(), content.len()));
    Ok(content)
}

/// What the store holds after a change.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) sequence: u64,
    pub(crate) content: Content,
    /// The calls that had been made when the change was begun.
    pub(crate) begun: usize,
    /// When it was known to outlive a kill, and a power cut.
    pub(crate) flushed: Option<usize>,
    pub(crate) synced: Option<usize>,
    /// When it was known not to have happened.
    pub(crate) undone: Option<usize>,
}

/// The moments of a history, in order.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) moments: Vec<Moment>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let start =
            Moment { sequence: 0, content: Content::new(), begun: 0, flushed: Some(0), synced: Some(0), undone: None };
        Self { moments: vec![start] }
    }

    /// What is there now.
    pub(crate) fn now(&self) -> &Moment {
        self.moments.iter().rev().find(|moment| moment.undone.is_none()).expect("the start is there")
    }

    /// Everything so far is as durable as that, after `calls`.
    pub(crate) fn acknowledge(&mut self, durability: Durability, calls: usize) {
        for moment in self.moments.iter_mut().filter(|moment| moment.undone.is_none()) {
            if durability >= Durability::Flush {
                moment.flushed.get_or_insert(calls);
            }
            if durability == Durability::Sync {
                moment.synced.get_or_insert(calls);
            }
        }
    }

    /// Whether a crash during call `at` may leave this.
    pub(crate) fn allows(&self, at: usize, power_cut: bool, sequence: u64, content: &Content) -> bool {
        let kept = |moment: &Moment| if power_cut { moment.synced } else { moment.flushed };
        let last = self.moments.iter().rposition(|moment| kept(moment).is_some_and(|calls| calls <= at)).unwrap_or(0);
        self.moments[last..].iter().any(|moment| {
            let alive = moment.begun <= at && moment.undone.is_none_or(|calls| at < calls);
            alive && moment.sequence == sequence && moment.content == *content
        })
    }
}

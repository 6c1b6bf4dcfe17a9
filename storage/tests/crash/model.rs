//! What a store should hold: a map in memory, and which of its moments a crash may leave.

use std::collections::BTreeMap;

use half::f16;
use nearlab_storage::Vectors;
use nearlab_storage::store::{
    Change, Committed, Durability, Element, ElementKind, IdKind, Ids, Rows, Shape, StoreError, VectorStore,
};
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

pub(crate) fn shape(element: ElementKind, ids: IdKind) -> Shape {
    Shape { dim: DIM, element, ids }
}

/// A vector that says whose it is, in numbers that every type of components keeps: the version from the lowest byte on, the id, and
/// others that follow from both.
fn row(id: u64, version: u32) -> [u8; DIM] {
    let [low, middle, high, _] = version.to_le_bytes();
    std::array::from_fn(|i| match i {
        0 => low,
        1 => middle,
        2 => high,
        3 => id as u8,
        _ => (id * 31 + i as u64 * 7 + u64::from(version)) as u8,
    })
}

/// Ids as a store has them.
fn with_ids<R>(kind: IdKind, ids: &[u64], run: impl FnOnce(Ids<'_>) -> R) -> R {
    match kind {
        IdKind::Numbers => run(ids.into()),
        IdKind::Names => {
            // Of different lengths.
            let names: Vec<String> = ids.iter().map(|id| format!("{}{id}", "é".repeat(*id as usize % 5))).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            run(names[..].into())
        }
    }
}

fn with_rows<R>(element: ElementKind, rows: &[u8], run: impl FnOnce(Rows<'_>) -> R) -> R {
    fn of<T: From<u8>>(rows: &[u8]) -> Vec<T> {
        rows.iter().copied().map(T::from).collect()
    }
    match element {
        ElementKind::F32 => run(Vectors::new(&of::<f32>(rows), DIM).into()),
        ElementKind::F16 => run(Vectors::new(&of::<f16>(rows), DIM).into()),
        ElementKind::U8 => run(Vectors::new(rows, DIM).into()),
    }
}

/// Puts the versions of some ids, and deletes others.
pub(crate) fn commit(
    store: &VectorStore,
    (put, delete): (&[(u64, u32)], &[u64]),
    attachment: &[u8],
    durability: Durability,
) -> Result<Committed, StoreError> {
    let Shape { element, ids: kind, .. } = store.shape();
    let ids: Vec<u64> = put.iter().map(|(id, _)| *id).collect();
    let rows: Vec<u8> = put.iter().flat_map(|&(id, version)| row(id, version)).collect();
    with_ids(kind, &ids, |put| {
        with_ids(kind, delete, |delete| {
            with_rows(element, &rows, |rows| store.commit(&Change { put, rows, delete, attachment }, durability))
        })
    })
}

/// The versions in a store, every component of which is as it was written.
pub(crate) fn content(store: &VectorStore) -> Result<Content, StoreError> {
    match store.shape().element {
        ElementKind::F32 => content_of::<f32>(store),
        ElementKind::F16 => content_of::<f16>(store),
        ElementKind::U8 => content_of::<u8>(store),
    }
}

fn content_of<T: Element + Into<f64>>(store: &VectorStore) -> Result<Content, StoreError> {
    let ids: Vec<u64> = (0..IDS).collect();
    let (mut rows, mut found) = (vec![T::zeroed(); ids.len() * DIM], vec![false; ids.len()]);
    let read = with_ids(store.shape().ids, &ids, |ids| store.read(ids, &mut rows, &mut found))?;
    let mut content = Content::new();
    for ((id, vector), _) in ids.iter().zip(Vectors::new(&rows, DIM)).zip(&found).filter(|(_, found)| **found) {
        let vector: Vec<f64> = vector.iter().map(|&component| component.into()).collect();
        let version = (0..3).map(|i| (vector[i] as u32) << (8 * i)).sum();
        let written = row(*id, version).map(f64::from);
        assert!(vector == written, "id {id} has a vector that nobody wrote: {vector:?}");
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

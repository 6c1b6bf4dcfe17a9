//! Reading.

use std::fmt;
use std::sync::Arc;

use super::shape::{Element, Id, Ids, Shape};
use super::table::TOGETHER;
use super::view::{Place, View};
use super::{ElementKind, StoreError};
use crate::Vectors;

/// Bytes of rows that are asked for ahead of the row that is copied.
const AHEAD_BYTES: usize = 4096;

/// The store as it was when this was taken. It keeps the files that it needs, even when they were compacted away.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) shape: Shape,
    pub(super) view: Arc<View>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} vectors, change {})", self.view.live, self.view.sequence)
    }
}

impl Snapshot {
    /// What all vectors have in common.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.view.live
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.view.live == 0
    }

    /// The number of the last change that it sees.
    pub fn sequence(&self) -> u64 {
        self.view.sequence
    }

    /// As [`VectorStore::read`](super::VectorStore::read).
    pub fn read<'a, T: Element>(
        &self,
        ids: impl Into<Ids<'a>>,
        rows: &mut [T],
        found: &mut [bool],
    ) -> Result<usize, StoreError> {
        read(&self.view, self.shape, ids.into(), (rows, found))
    }

    /// The slot of each of the ids, in order.
    pub fn slots_of<'a>(&self, ids: impl Into<Ids<'a>>) -> Result<Vec<Option<u32>>, StoreError> {
        let ids = checked_ids(self.shape, ids.into())?;
        let mut slots = Vec::with_capacity(ids.len());
        self.view.keys.find(ids, |found| slots.push(found.map(|(slot, _)| slot)));
        Ok(slots)
    }

    /// The first of the ids that a vector has.
    pub fn first_known<'a>(&self, ids: impl Into<Ids<'a>>) -> Result<Option<Id>, StoreError> {
        let ids = checked_ids(self.shape, ids.into())?;
        let mut first = None;
        self.view.keys.find(ids, |found| first = first.or(found.map(|(slot, _)| slot)));
        Ok(first.map(|slot| self.view.keys.id(slot)))
    }

    /// The slots that hold a vector, in order, each with the number of the change that the vector came with.
    pub fn slots(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.view.live().map(|(slot, known)| (slot, known.sequence))
    }

    /// The number of the change that the vector in a slot came with, if there is one.
    pub fn written_by(&self, slot: u32) -> Option<u64> {
        self.view.written_by(slot)
    }

    /// The id of the vector in a slot, if there is one.
    pub fn id(&self, slot: u32) -> Option<Id> {
        self.view.place(slot).map(|_| self.view.keys.id(slot))
    }

    /// The vector in a slot, if there is one, where it lies.
    pub fn row<T: Element>(&self, slot: u32) -> Result<Option<&[T]>, StoreError> {
        check_element(self.shape, T::KIND)?;
        let Some(place) = self.view.place(slot) else { return Ok(None) };
        row(&self.view, place).map(|bytes| Some(bytemuck::cast_slice(bytes)))
    }

    /// The segments, so that an index can be built over the rows where they lie; every row is compared with its checksum first.
    pub fn segments<T: Element>(&self) -> Result<Vec<SegmentView<'_, T>>, StoreError> {
        check_element(self.shape, T::KIND)?;
        let mut views = Vec::with_capacity(self.view.segments.len());
        for segment in &self.view.segments {
            let vectors = Vectors::new(bytemuck::cast_slice(segment.all()?), self.shape.dim);
            let slots = vec![SegmentView::<T>::NO_SLOT; vectors.len()];
            views.push(SegmentView { number: segment.number(), vectors, slots });
        }
        for (slot, known) in self.view.live() {
            let at = views.binary_search_by_key(&known.place.segment, |view: &SegmentView<'_, T>| view.number);
            let view = &mut views[at.expect("a place lies in a segment of its view")];
            view.slots[known.place.row as usize] = slot;
        }
        Ok(views)
    }
}

/// The rows of a segment, and which slot each belongs to.
#[derive(Debug)]
pub struct SegmentView<'a, T> {
    number: u32,
    /// All rows, those of deleted vectors and of later ones too.
    pub vectors: Vectors<'a, T>,
    /// The slot of each, or [`NO_SLOT`](Self::NO_SLOT).
    pub slots: Vec<u32>,
}

impl<T> SegmentView<'_, T> {
    /// Stands where a slot would, of a row that was deleted or replaced.
    pub const NO_SLOT: u32 = u32::MAX;
}

pub(super) fn checked_ids(shape: Shape, ids: Ids<'_>) -> Result<Ids<'_>, StoreError> {
    if ids.kind() == shape.ids || ids.is_empty() {
        return Ok(ids);
    }
    Err(StoreError::Ids { expected: shape.ids, found: ids.kind() })
}

fn check_element(shape: Shape, found: ElementKind) -> Result<(), StoreError> {
    if found == shape.element {
        return Ok(());
    }
    Err(StoreError::Element { expected: shape.element, found })
}

fn row(view: &View, place: Place) -> Result<&[u8], StoreError> {
    view.segment(place.segment).expect("a place lies in a segment of its view").row(place.row)
}

pub(super) fn read<T: Element>(
    view: &View,
    shape: Shape,
    ids: Ids<'_>,
    (rows, found): (&mut [T], &mut [bool]),
) -> Result<usize, StoreError> {
    check_element(shape, T::KIND)?;
    let ids = checked_ids(shape, ids)?;
    assert!(rows.len() == ids.len() * shape.dim, "{} components do not hold {} vectors", rows.len(), ids.len());
    assert!(found.len() == ids.len(), "{} answers do not serve {} ids", found.len(), ids.len());
    if let [found] = found {
        return read_one(view, ids, (rows, found));
    }
    let mut read = 0;
    for at in (0..ids.len()).step_by(TOGETHER) {
        let until = ids.len().min(at + TOGETHER);
        let out = &mut rows[at * shape.dim..until * shape.dim];
        read += read_together(view, part(ids, at, until), (out, &mut found[at..until]))?;
    }
    Ok(read)
}

/// Reads the row of one id, with nothing else to do while it is waited for.
fn read_one<T: Element>(view: &View, id: Ids<'_>, (out, found): (&mut [T], &mut bool)) -> Result<usize, StoreError> {
    let mut place = None;
    view.keys.find(id, |found| place = found.map(|(_, place)| place));
    *found = copy(place.map(|place| row(view, place)).transpose()?, out);
    Ok(usize::from(*found))
}

/// Reads the rows of up to [`TOGETHER`] ids, of which there is at least one: each step for all of them, so that the memory of
/// one is not waited for alone.
fn read_together<T: Element>(
    view: &View,
    ids: Ids<'_>,
    (rows, found): (&mut [T], &mut [bool]),
) -> Result<usize, StoreError> {
    let mut lying: [Option<&[u8]>; TOGETHER] = [None; TOGETHER];
    let (mut next, mut failed) = (lying.iter_mut(), None);
    view.keys.find(ids, |found| {
        let bytes = found.map(|(_, place)| row(view, place)).transpose();
        *next.next().expect("one for each id") = bytes.unwrap_or_else(|error| {
            failed.get_or_insert(error);
            None
        });
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let dim = rows.len() / ids.len();
    let ahead = (AHEAD_BYTES / (dim * size_of::<T>())).clamp(1, TOGETHER / 4);
    let ask = |row: &[u8]| nearlab_simd::prefetch(&row[..row.len().min(AHEAD_BYTES)]);
    lying[..ahead].iter().flatten().copied().for_each(ask);
    let mut read = 0;
    for (i, (out, found)) in rows.chunks_exact_mut(dim).zip(found).enumerate() {
        lying.get(i + ahead).copied().flatten().into_iter().for_each(ask);
        *found = copy(lying[i], out);
        read += usize::from(*found);
    }
    Ok(read)
}

/// Copies a row, or zeros where there is none; whether there is one.
#[inline]
fn copy<T: Element>(row: Option<&[u8]>, out: &mut [T]) -> bool {
    match row {
        Some(row) => out.copy_from_slice(bytemuck::cast_slice(row)),
        None => out.fill(T::zeroed()),
    }
    row.is_some()
}

fn part(ids: Ids<'_>, from: usize, until: usize) -> Ids<'_> {
    match ids {
        Ids::Numbers(ids) => Ids::Numbers(&ids[from..until]),
        Ids::Names(ids) => Ids::Names(&ids[from..until]),
    }
}

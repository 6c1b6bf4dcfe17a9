//! Vectors as they are kept, their distances, and the search that compares all of some.

use half::f16;
use nearlab_simd::{Metric, kernels, norm_squared, normalize};
use nearlab_storage::Vectors;
use nearlab_storage::store::{ElementKind, Rows, Snapshot, StoreError};

use super::CollectionError;
use crate::memory::Capacity;
use crate::top_k::TopK;

/// Vectors in the form in which they are kept.
pub(super) enum Kept<'a> {
    F32(Vectors<'a, f32>),
    F16(Vec<f16>, usize),
    U8(Vec<u8>, usize),
}

impl<'a> Kept<'a> {
    /// Vectors of finite components, if they can be kept so.
    pub(super) fn of(element: ElementKind, vectors: Vectors<'a, f32>) -> Result<Self, CollectionError> {
        let components = vectors.as_slice();
        Ok(match element {
            ElementKind::F32 => Self::F32(vectors),
            ElementKind::F16 => {
                let halves: Vec<f16> = components.iter().copied().map(f16::from_f32).collect();
                if let Some(at) = halves.iter().position(|x| !x.is_finite()) {
                    let (row, column) = (at / vectors.dim(), at % vectors.dim());
                    return Err(CollectionError::NotF16 { row, column, value: components[at] });
                }
                Self::F16(halves, vectors.dim())
            }
            ElementKind::U8 => {
                let whole = |&x: &f32| (0.0..=255.0).contains(&x) && x.fract() == 0.0;
                if let Some(at) = components.iter().position(|x| !whole(x)) {
                    let (row, column) = (at / vectors.dim(), at % vectors.dim());
                    return Err(CollectionError::NotU8 { row, column, value: components[at] });
                }
                Self::U8(components.iter().map(|&x| x as u8).collect(), vectors.dim())
            }
        })
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        match self {
            Self::F32(vectors) => (*vectors).into(),
            Self::F16(components, dim) => Vectors::new(components, *dim).into(),
            Self::U8(components, dim) => Vectors::new(components, *dim).into(),
        }
    }

    /// The components as they come back.
    pub(super) fn components(&self) -> std::borrow::Cow<'a, [f32]> {
        match self {
            Self::F32(vectors) => vectors.as_slice().into(),
            Self::F16(components, _) => components.iter().map(|x| x.to_f32()).collect(),
            Self::U8(components, _) => components.iter().map(|&x| f32::from(x)).collect(),
        }
    }
}

/// Does something with the vector in a slot, if there is one.
pub(super) fn with_row<R>(
    snapshot: &Snapshot,
    slot: u32,
    buffer: &mut Vec<f32>,
    then: impl FnOnce(&[f32]) -> R,
) -> Result<Option<R>, StoreError> {
    buffer.clear();
    match snapshot.shape().element {
        ElementKind::F32 => return Ok(snapshot.row::<f32>(slot)?.map(then)),
        ElementKind::F16 => {
            let Some(row) = snapshot.row::<f16>(slot)? else { return Ok(None) };
            buffer.extend(row.iter().map(|x| x.to_f32()));
        }
        ElementKind::U8 => {
            let Some(row) = snapshot.row::<u8>(slot)? else { return Ok(None) };
            buffer.extend(row.iter().map(|&x| f32::from(x)));
        }
    }
    Ok(Some(then(buffer)))
}

/// Distances of vectors as they are kept from one query.
#[derive(Debug, Default)]
pub(super) struct Measure {
    query: Vec<f32>,
    row: Vec<f32>,
}

impl Capacity for Measure {
    fn capacity_bytes(&self) -> usize {
        self.query.capacity_bytes() + self.row.capacity_bytes()
    }
}

impl Measure {
    pub(super) fn prepare(&mut self, metric: Metric, query: &[f32]) {
        self.query.clear();
        self.query.extend_from_slice(query);
        if metric == Metric::Cosine {
            normalize(&mut self.query);
        }
    }

    /// The distance of the vector in a slot, if there is one.
    pub(super) fn distance(
        &mut self,
        metric: Metric,
        snapshot: &Snapshot,
        slot: u32,
    ) -> Result<Option<f32>, StoreError> {
        let query = &self.query;
        with_row(snapshot, slot, &mut self.row, |row| match metric {
            Metric::L2 | Metric::InnerProduct => kernels().distance(metric)(query, row),
            // The vectors of the store are as they were given, not of unit length.
            Metric::Cosine => match norm_squared(row) {
                0.0 => 1.0,
                squared => 1.0 + kernels().distance(Metric::InnerProduct)(query, row) / squared.sqrt(),
            },
        })
    }

    /// Offers the vectors in some slots to the heap.
    pub(super) fn scan(
        &mut self,
        metric: Metric,
        snapshot: &Snapshot,
        slots: impl Iterator<Item = u32>,
        top: &mut TopK,
    ) -> Result<(), StoreError> {
        for slot in slots {
            if let Some(distance) = self.distance(metric, snapshot, slot)? {
                top.extend([(slot, distance)].into_iter());
            }
        }
        Ok(())
    }
}

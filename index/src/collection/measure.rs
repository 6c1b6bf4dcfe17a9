//! Vectors as they are kept, their distances, and the search that compares all of some.

use half::f16;
use nearlab_simd::{Metric, kernels, norm_squared, normalize};
use nearlab_storage::Vectors;
use nearlab_storage::store::{ElementKind, Rows, Snapshot, StoreError};

use super::CollectionError;
use crate::memory::Capacity;
use crate::space::{length_of, tells_length};
use crate::top_k::TopK;

/// The memory in which vectors are brought into the form in which they are kept.
#[derive(Debug, Default)]
pub(super) struct Forms {
    halves: Vec<f16>,
    bytes: Vec<u8>,
    /// Of halves, which have fewer digits than what was given.
    back: Vec<f32>,
}

impl Forms {
    /// Vectors of finite components as they are kept, and as they come back, if they can be kept so.
    pub(super) fn of<'a>(
        &'a mut self,
        element: ElementKind,
        vectors: Vectors<'a, f32>,
    ) -> Result<(Rows<'a>, Vectors<'a, f32>), CollectionError> {
        let (components, dim) = (vectors.as_slice(), vectors.dim());
        let Self { halves, bytes, back } = self;
        match element {
            ElementKind::F32 => Ok((vectors.into(), vectors)),
            ElementKind::F16 => {
                halves.clear();
                halves.extend(components.iter().copied().map(f16::from_f32));
                if let Some(at) = halves.iter().position(|x| !x.is_finite()) {
                    return Err(CollectionError::NotF16 { row: at / dim, column: at % dim, value: components[at] });
                }
                back.clear();
                back.extend(halves.iter().map(|x| x.to_f32()));
                Ok((Vectors::new(&halves[..], dim).into(), Vectors::new(&back[..], dim)))
            }
            ElementKind::U8 => {
                let whole = |&x: &f32| (0.0..=255.0).contains(&x) && x.fract() == 0.0;
                if let Some(at) = components.iter().position(|x| !whole(x)) {
                    return Err(CollectionError::NotU8 { row: at / dim, column: at % dim, value: components[at] });
                }
                bytes.clear();
                bytes.extend(components.iter().map(|&x| x as u8));
                Ok((Vectors::new(&bytes[..], dim).into(), vectors))
            }
        }
    }
}

impl Capacity for Forms {
    fn capacity_bytes(&self) -> usize {
        self.halves.capacity_bytes() + self.bytes.capacity_bytes() + self.back.capacity_bytes()
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
            Metric::Cosine => {
                let squared = norm_squared(row);
                if tells_length(squared) {
                    return 1.0 + kernels().distance(Metric::InnerProduct)(query, row) / squared.sqrt();
                }
                let length = length_of(row);
                let product: f64 = query.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                if length == 0.0 { 1.0 } else { (1.0 - product / length) as f32 }
            }
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

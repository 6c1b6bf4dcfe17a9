//! Vectors that codes have no place for, because the space they score in does not [hold](crate::quant::Euclid::holds) them: zeros
//! under cosine, and under inner product those many times as long as the rest.
//!
//! They are nodes as all others, and lead on; but no walk finds them, as it finds none that was deleted. Each search compares its query with
//! them as they are, and puts in what is near: at distance 1 under cosine, whatever the query, and by their own products under inner product.

use nearlab_simd::{Metric, kernels};
use nearlab_storage::Vectors;
use rayon::prelude::*;

use crate::memory::Capacity;
use crate::quant::{Euclid, TOO_LONG_BYTES};
use crate::{Counters, IdSet, Neighbor};

/// Vectors that are set apart. None of them was deleted.
#[derive(Debug, Default)]
pub(super) struct Apart {
    ids: IdSet,
    /// In the order of their ids, as they are. Zeros are not kept.
    vectors: Vec<f32>,
}

impl Apart {
    /// Those among the vectors of a build. On the rayon pool it is called in.
    pub(super) fn of(vectors: Vectors<'_, f32>, euclid: &Euclid) -> Self {
        let rows = (0..vectors.len() as u32).into_par_iter();
        let apart: Vec<u32> = rows.filter(|&row| !euclid.holds(vectors.row(row as usize))).collect();
        let mut kept = Vec::new();
        if euclid.metric == Metric::InnerProduct {
            kept.reserve_exact(apart.len() * vectors.dim());
            for &row in &apart {
                kept.extend_from_slice(vectors.row(row as usize));
            }
        }
        Self { ids: apart.into_iter().collect(), vectors: kept }
    }

    /// From what is in a file.
    pub(super) fn new(ids: IdSet, vectors: Vec<f32>) -> Self {
        Self { ids, vectors }
    }

    pub(super) fn ids(&self) -> &IdSet {
        &self.ids
    }

    pub(super) fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.ids.capacity_bytes() + self.vectors.capacity_bytes()
    }

    /// Whether to compare a query with all of them takes long beside a search: more so than of those that a build sets apart.
    pub(super) fn is_large(&self) -> bool {
        size_of_val(&*self.vectors) > 2 * TOO_LONG_BYTES
    }

    /// Sets a vector apart that is not yet.
    pub(super) fn put(&mut self, id: u32, vector: &[f32], metric: Metric) {
        self.ids.insert(id);
        if metric == Metric::InnerProduct {
            let at = self.before(id) * vector.len();
            self.vectors.splice(at..at, vector.iter().copied());
        }
    }

    /// Forgets a vector of `dim` components, if it is one of them.
    pub(super) fn remove(&mut self, id: u32, dim: usize) {
        if self.ids.contains(id) && !self.vectors.is_empty() {
            let at = self.before(id) * dim;
            self.vectors.drain(at..at + dim);
        }
        self.ids.remove(id);
    }

    /// How many have smaller ids.
    fn before(&self, id: u32) -> usize {
        self.ids.iter().take_while(|&other| other < id).count()
    }

    /// Puts those that are admitted and near into `found`, the nearest of all others, sorted and at most `k`.
    pub(super) fn join(
        &self,
        (query, k): (&[f32], usize),
        admits: impl Fn(u32) -> bool,
        found: &mut Vec<Neighbor>,
        counters: &mut Counters,
    ) {
        if self.ids.is_empty() {
            return;
        }
        if self.vectors.is_empty() {
            // All are equally far: from the first that is too far on, so are the others.
            let reaches = found.len() < k || found.last().is_some_and(|last| last.distance >= 1.0);
            let zeros = self.ids.iter().take_while(|_| reaches).filter(|&id| admits(id));
            zeros.take_while(|&id| insert(Neighbor { id, distance: 1.0 }, k, found)).for_each(drop);
            return;
        }
        let (product, mut scored) = (kernels().distance(Metric::InnerProduct), 0);
        for (id, vector) in self.ids.iter().zip(self.vectors.chunks_exact(query.len())) {
            if admits(id) {
                insert(Neighbor { id, distance: product(query, vector) }, k, found);
                scored += 1;
            }
        }
        counters.add_scored(scored, size_of_val(query));
    }
}

/// Inserts a neighbour where it belongs; whether that is among the first `k`.
fn insert(neighbor: Neighbor, k: usize, found: &mut Vec<Neighbor>) -> bool {
    let at = found.partition_point(|found| *found < neighbor);
    if at >= k {
        return false;
    }
    found.truncate(k - 1);
    found.insert(at, neighbor);
    true
}

/// Nodes that lead on, but that no walk finds: deleted ones, and those that are set apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hidden<'a> {
    pub(super) deleted: &'a IdSet,
    pub(super) apart: &'a IdSet,
}

impl Hidden<'_> {
    pub(super) fn is_empty(self) -> bool {
        self.deleted.is_empty() && self.apart.is_empty()
    }

    #[inline]
    pub(super) fn contains(self, id: u32) -> bool {
        self.deleted.contains(id) || self.apart.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(apart: &Apart, query: &[f32], k: usize, found: &[(u32, f32)]) -> Vec<u32> {
        let mut found: Vec<Neighbor> = found.iter().map(|&(id, distance)| Neighbor { id, distance }).collect();
        apart.join((query, k), |id| id != 4, &mut found, &mut Counters::default());
        assert!(found.is_sorted());
        found.iter().map(|neighbor| neighbor.id).collect()
    }

    #[test]
    fn zeros_come_where_distance_1_does_and_in_the_order_of_their_ids() {
        let data = [0.0, 0.0, 1.0, 2.0, 0.0, -0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0];
        let vectors = Vectors::new(&data, 2);
        let apart = Apart::of(vectors, &Euclid::of(vectors, Metric::Cosine));
        assert_eq!((apart.ids().iter().collect::<Vec<_>>(), apart.vectors()), (vec![0, 2, 4, 5], &[][..]));
        let query = [1.0, 1.0];
        assert_eq!(joined(&apart, &query, 3, &[(1, 0.1), (3, 0.9)]), [1, 3, 0]);
        assert_eq!(joined(&apart, &query, 2, &[(1, 0.1), (3, 0.9)]), [1, 3]);
        assert_eq!(joined(&apart, &query, 4, &[(1, 0.1), (3, 1.0), (6, 1.5), (7, 1.5)]), [1, 0, 2, 3]);
        assert_eq!(joined(&apart, &query, 9, &[(1, 1.2)]), [0, 2, 5, 1], "without the one that is not admitted");
        assert_eq!(joined(&Apart::default(), &query, 9, &[(1, 1.2)]), [1]);
    }

    #[test]
    fn long_vectors_are_compared_as_they_are_and_can_be_forgotten() {
        let mut apart = Apart::default();
        let put = |apart: &mut Apart, id, vector: [f32; 2]| apart.put(id, &vector, Metric::InnerProduct);
        put(&mut apart, 7, [50.0, 0.0]);
        put(&mut apart, 2, [0.0, 60.0]);
        put(&mut apart, 4, [90.0, 90.0]);
        assert_eq!(apart.vectors(), [0.0, 60.0, 90.0, 90.0, 50.0, 0.0]);
        assert_eq!(joined(&apart, &[1.0, 1.0], 2, &[(0, -55.0), (1, -1.0)]), [2, 0]);
        assert_eq!(joined(&apart, &[-1.0, 1.0], 3, &[(0, -55.0), (1, -1.0)]), [2, 0, 1]);
        let mut counters = Counters::default();
        apart.join((&[1.0, 0.0], 1), |_| true, &mut Vec::new(), &mut counters);
        assert_eq!(counters.distance_computations, 3);
        apart.remove(2, 2);
        apart.remove(3, 2);
        assert_eq!((apart.vectors(), apart.ids().len()), (&[90.0, 90.0, 50.0, 0.0][..], 2));
        assert!(!apart.is_large() && apart.bytes() > 0);
        let hidden = Hidden { deleted: &IdSet::from_words(vec![2]), apart: apart.ids() };
        assert_eq!([0, 1, 2, 4, 7].map(|id| hidden.contains(id)), [false, true, false, true, true]);
    }
}

//! Rows of links that were found and are yet to be written. Their memory is kept from one batch of points to the next, so that
//! finding them allocates nothing once it has grown to the largest batch.

use std::ops::Range;

use rayon::iter::repeat_n;
use rayon::prelude::*;

use crate::Neighbor;
use crate::memory::Capacity;

/// What a node's row of links on one layer becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowChange<'a> {
    pub(super) id: u32,
    pub(super) layer: u8,
    /// Sorted.
    pub(super) neighbors: &'a [Neighbor],
}

/// The node, the layer and the number of links of a row.
#[derive(Debug, Clone, Copy)]
struct Head {
    id: u32,
    layer: u8,
    links: u32,
}

/// Rows, one after another, each with room for as many links as the widest may have.
#[derive(Debug, Default)]
pub(super) struct RowChanges {
    width: usize,
    heads: Vec<Head>,
    /// Rows x width.
    places: Vec<Neighbor>,
}

impl RowChanges {
    /// Forgets all rows; those to come have up to `width` links.
    pub(super) fn begin(&mut self, width: usize) {
        self.width = width;
        self.heads.clear();
        self.places.clear();
    }

    /// Adds a row without links.
    pub(super) fn push(&mut self, id: u32, layer: u8) {
        self.heads.push(Head { id, layer, links: 0 });
        self.places.resize(self.heads.len() * self.width, Neighbor::NONE);
    }

    /// Adds a row without links for each of some nodes, on the rayon pool it is called in.
    pub(super) fn push_all(&mut self, ids: Range<u32>, layer: u8) {
        self.heads.extend(ids.map(|id| Head { id, layer, links: 0 }));
        let missing = self.heads.len() * self.width - self.places.len();
        self.places.par_extend(repeat_n(Neighbor::NONE, missing));
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(super) fn row(&self, row: usize) -> RowChange<'_> {
        let Head { id, layer, links } = self.heads[row];
        RowChange { id, layer, neighbors: &self.places[row * self.width..][..links as usize] }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = RowChange<'_>> {
        let places = self.places.chunks_exact(self.width.max(1));
        let row = |(head, places): (&Head, _)| {
            let places: &[Neighbor] = places;
            RowChange { id: head.id, layer: head.layer, neighbors: &places[..head.links as usize] }
        };
        self.heads.iter().zip(places).map(row)
    }

    /// All rows, to be filled.
    pub(super) fn rows(&mut self) -> RowsMut<'_> {
        RowsMut { width: self.width, heads: &mut self.heads, places: &mut self.places }
    }

    /// Puts a link into a row, in place of the farthest where there are `width` already: that one is given up.
    pub(super) fn make_room(&mut self, row: usize, link: Neighbor, width: usize) -> Option<Neighbor> {
        let (head, places) = (&mut self.heads[row], &mut self.places[row * self.width..][..self.width]);
        let links = (head.links as usize).min(width - 1);
        let given_up = (links < head.links as usize).then_some(places[links]);
        places[links] = link;
        places[..=links].sort_unstable();
        head.links = links as u32 + 1;
        given_up
    }
}

impl Capacity for RowChanges {
    fn capacity_bytes(&self) -> usize {
        self.heads.capacity_bytes() + self.places.capacity_bytes()
    }
}

/// Some rows, to be filled.
pub(super) struct RowsMut<'a> {
    width: usize,
    heads: &'a mut [Head],
    places: &'a mut [Neighbor],
}

impl<'a> RowsMut<'a> {
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Replaces the links of a row.
    pub(super) fn set(&mut self, row: usize, neighbors: &[Neighbor]) {
        self.heads[row].links = neighbors.len() as u32;
        self.places[row * self.width..][..neighbors.len()].copy_from_slice(neighbors);
    }

    /// The first rows, and the others.
    pub(super) fn split_at(self, rows: usize) -> (Self, Self) {
        let (heads, other_heads) = self.heads.split_at_mut(rows);
        let (places, other_places) = self.places.split_at_mut(rows * self.width);
        let width = self.width;
        (Self { width, heads, places }, Self { width, heads: other_heads, places: other_places })
    }

    /// Does some work for parts of at most so many rows, given the number of the first row of each; on the rayon pool it is called in,
    /// unless there is but one part.
    pub(super) fn in_parts(self, first: usize, most: usize, work: &(impl Fn(usize, RowsMut<'_>) + Sync)) {
        if self.len() <= most {
            return work(first, self);
        }
        let half = self.len() / 2;
        let (front, back) = self.split_at(half);
        rayon::join(|| front.in_parts(first, most, work), || back.in_parts(first + half, most, work));
    }

    /// Each row with the id of its node, on the rayon pool it is called in.
    pub(super) fn par_iter(self) -> impl IndexedParallelIterator<Item = (u32, RowMut<'a>)> {
        let rows = self.heads.par_iter_mut().zip(self.places.par_chunks_exact_mut(self.width));
        rows.map(|(head, places)| (head.id, RowMut { head, places }))
    }
}

/// One row, to be filled.
pub(super) struct RowMut<'a> {
    head: &'a mut Head,
    places: &'a mut [Neighbor],
}

impl RowMut<'_> {
    pub(super) fn set(self, neighbors: &[Neighbor]) {
        self.head.links = neighbors.len() as u32;
        self.places[..neighbors.len()].copy_from_slice(neighbors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &RowChanges) -> Vec<(u32, u8, Vec<u32>)> {
        rows.iter().map(|row| (row.id, row.layer, row.neighbors.iter().map(|neighbor| neighbor.id).collect())).collect()
    }

    fn near(ids: &[u32]) -> Vec<Neighbor> {
        ids.iter().map(|&id| Neighbor { id, distance: id as f32 }).collect()
    }

    #[test]
    fn rows_are_filled_in_parts_and_forgotten_together() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let mut rows = RowChanges::default();
        assert_eq!(of(&rows), []);
        for width in [4, 2] {
            rows.begin(width);
            for id in 0..10 {
                rows.push(id, (id % 3) as u8);
            }
            pool.install(|| {
                rows.rows().in_parts(0, 3, &|first, mut rows| {
                    for row in 0..rows.len() {
                        rows.set(row, &near(&[(first + row) as u32 * 2]));
                    }
                });
            });
            let expected: Vec<_> = (0..10).map(|id| (id, (id % 3) as u8, vec![id * 2])).collect();
            assert_eq!(of(&rows), expected);
        }
        pool.install(|| rows.push_all(10..30, 1));
        assert_eq!(of(&rows)[29], (29, 1, vec![]));
        let all = rows.rows().par_iter();
        pool.install(|| all.for_each(|(id, row)| row.set(&near(&[id, id + 1]))));
        assert_eq!(of(&rows)[9], (9, 0, vec![9, 10]));
        assert_eq!(of(&rows)[29], (29, 1, vec![29, 30]));
    }

    #[test]
    fn a_full_row_gives_up_its_farthest_link() {
        let mut rows = RowChanges::default();
        rows.begin(3);
        rows.push(7, 0);
        rows.rows().set(0, &near(&[1, 5, 6]));
        let put = |rows: &mut RowChanges, id, width| {
            let given_up = rows.make_room(0, near(&[id])[0], width);
            given_up.map(|link| link.id)
        };
        assert_eq!((put(&mut rows, 3, 3), of(&rows)), (Some(6), vec![(7, 0, vec![1, 3, 5])]));
        assert_eq!((put(&mut rows, 2, 2), of(&rows)), (Some(3), vec![(7, 0, vec![1, 2])]));
        assert_eq!((put(&mut rows, 9, 3), of(&rows)), (None, vec![(7, 0, vec![1, 2, 9])]));
    }
}

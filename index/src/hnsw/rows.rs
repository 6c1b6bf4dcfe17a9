//! Rows of links that still change: each link with its distance, so that nothing is computed twice.

use std::io;

use nearlab_storage::{Buffer, Resident};
use rayon::prelude::*;

use super::graph::NO_LINK;
use crate::Neighbor;

/// Rows of `width` places; each row is filled from the front and sorted by (distance, id). The memory doubles when it is full, and
/// nothing is copied where the system can move pages: to add a row takes no longer when there are many.
#[derive(Debug)]
pub(super) struct Rows {
    width: usize,
    len: usize,
    links: Resident<u32>,
    distances: Resident<f32>,
}

impl Rows {
    pub(super) fn new(rows: usize, width: usize) -> io::Result<Self> {
        let mut links = Resident::zeroed(rows * width)?;
        links.fill(NO_LINK);
        Ok(Self { width, len: rows, links, distances: Resident::zeroed(rows * width)? })
    }

    /// Rows of given links, in any order, whose distances `score(row, its links, distances)` finds.
    pub(super) fn measured(
        width: usize,
        links: &[u32],
        score: impl Fn(usize, &[u32], &mut [f32]) + Sync,
    ) -> io::Result<Self> {
        let (mut links, mut distances) = (Resident::copied(links)?, Resident::zeroed(links.len())?);
        let rows = links.par_chunks_mut(width).zip(distances.par_chunks_mut(width)).enumerate();
        rows.for_each_init(Vec::new, |sorted: &mut Vec<Neighbor>, (row, (links, distances))| {
            let filled = links.iter().take_while(|&&link| link != NO_LINK).count();
            score(row, &links[..filled], &mut distances[..filled]);
            sorted.clear();
            let pairs = links[..filled].iter().zip(&distances[..filled]);
            sorted.extend(pairs.map(|(&id, &distance)| Neighbor { id, distance }));
            sorted.sort_unstable();
            write(sorted, links, distances);
        });
        Ok(Self { width, len: links.len() / width, links, distances })
    }

    /// Makes room for `rows` in all, so that growing to as many can not fail.
    pub(super) fn reserve(&mut self, rows: usize) -> io::Result<()> {
        self.links.reserve(rows * self.width)?;
        self.distances.reserve(rows * self.width)
    }

    /// Adds empty rows until there are `rows`. On an error there are as many as before.
    pub(super) fn grow(&mut self, rows: usize) -> io::Result<()> {
        self.reserve(rows)?;
        self.links.grow(rows * self.width)?;
        self.distances.grow(rows * self.width)?;
        let added = self.len * self.width..rows * self.width;
        self.links[added].fill(NO_LINK);
        self.len = rows;
        Ok(())
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.links) + size_of_val(&*self.distances)
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn links(&self) -> &[u32] {
        &self.links[..self.len * self.width]
    }

    pub(super) fn into_links(self) -> Buffer<u32> {
        Buffer::Writable(self.links)
    }

    /// The links of a row with their distances.
    pub(super) fn neighbors(&self, row: usize) -> impl Iterator<Item = Neighbor> {
        let places = row * self.width..(row + 1) * self.width;
        let pairs = self.links[places.clone()].iter().zip(&self.distances[places]);
        pairs.take_while(|&(&id, _)| id != NO_LINK).map(|(&id, &distance)| Neighbor { id, distance })
    }

    /// Replaces a row.
    pub(super) fn set(&mut self, row: usize, neighbors: &[Neighbor]) {
        let places = row * self.width..(row + 1) * self.width;
        write(neighbors, &mut self.links[places.clone()], &mut self.distances[places]);
    }
}

/// Writes one row.
fn write(neighbors: &[Neighbor], links: &mut [u32], distances: &mut [f32]) {
    links[neighbors.len()..].fill(NO_LINK);
    for ((link, distance), neighbor) in links.iter_mut().zip(distances).zip(neighbors) {
        (*link, *distance) = (neighbor.id, neighbor.distance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_was_set_last() {
        let mut rows = Rows::new(2, 3).unwrap();
        let pair = [Neighbor { id: 4, distance: 1.0 }, Neighbor { id: 2, distance: 2.0 }];
        rows.set(1, &pair);
        assert_eq!(rows.neighbors(1).collect::<Vec<_>>(), pair);
        assert_eq!(rows.neighbors(0).count(), 0);
        rows.set(1, &pair[1..]);
        assert_eq!(rows.links()[3..], [2, NO_LINK, NO_LINK]);
        rows.grow(4).unwrap();
        assert_eq!((rows.len(), rows.links()[3], rows.neighbors(3).count()), (4, 2, 0));
    }
}

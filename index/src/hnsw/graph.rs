//! The graph: a fixed number of places for links per node and layer, in flat arrays.
//!
//! A row of links is filled from the front; the first [`NO_LINK`] ends it. Base layer: row `id` of `n x 2m`. Upper
//! layers: node `id` of level `l` has the `l` rows of `m` places from row `upper_offsets[id]`, layer 1 first.

use std::collections::BTreeMap;
use std::io;

use nearlab_simd::prefetch;
use nearlab_storage::Buffer;
use xxhash_rust::xxh3::Xxh3;

/// Fills the places of a row that hold no link.
pub(super) const NO_LINK: u32 = u32::MAX;

/// A frozen graph.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) m: usize,
    /// n x 2m.
    pub(super) base: Buffer<u32>,
    /// n: the highest layer of each node.
    pub(super) levels: Buffer<u8>,
    /// n + 1: the first upper row of each node, and the number of rows.
    pub(super) upper_offsets: Buffer<u32>,
    /// rows x m.
    pub(super) upper: Buffer<u32>,
    /// Where searches begin, on its highest layer; none in an empty graph.
    pub(super) entry_point: Option<u32>,
}

impl Graph {
    pub(super) fn links(&self) -> Links<'_> {
        Links { m: self.m, base: &self.base, upper_offsets: &self.upper_offsets, upper: &self.upper }
    }

    /// The same in memory of the process's own.
    pub(super) fn into_resident(self) -> io::Result<Self> {
        Ok(Self {
            m: self.m,
            base: self.base.into_resident()?,
            levels: self.levels.into_resident()?,
            upper_offsets: self.upper_offsets.into_resident()?,
            upper: self.upper.into_resident()?,
            entry_point: self.entry_point,
        })
    }

    /// The highest layer.
    pub(super) fn max_level(&self) -> u8 {
        self.entry_point.map_or(0, |id| self.levels[id as usize])
    }
}

/// The links of a graph, frozen or growing, as searches see them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links<'a> {
    pub(super) m: usize,
    pub(super) base: &'a [u32],
    pub(super) upper_offsets: &'a [u32],
    pub(super) upper: &'a [u32],
}

impl<'a> Links<'a> {
    /// Places for links per node on `layer`.
    #[inline]
    pub(super) fn width(&self, layer: u8) -> usize {
        if layer == 0 { 2 * self.m } else { self.m }
    }

    /// The nodes that a node links to on `layer`, which must not lie above the node's level.
    #[inline]
    pub(super) fn of(&self, id: u32, layer: u8) -> impl Iterator<Item = u32> + use<'a> {
        self.row(id, layer).iter().copied().take_while(|&link| link != NO_LINK)
    }

    /// Asks for a row that will be read soon.
    #[inline]
    pub(super) fn prefetch(&self, id: u32, layer: u8) {
        prefetch(self.row(id, layer));
    }

    /// The places of a node on `layer`: its links, then [`NO_LINK`].
    #[inline]
    pub(super) fn row(&self, id: u32, layer: u8) -> &'a [u32] {
        if layer == 0 {
            return &self.base[id as usize * 2 * self.m..][..2 * self.m];
        }
        let row = self.upper_offsets[id as usize] as usize + usize::from(layer) - 1;
        &self.upper[row * self.m..][..self.m]
    }
}

/// The index's [`stats`](crate::Index::stats): `max_level`; `base_degree_mean` and `base_degree_max`, links per node;
/// `upper_nodes`, nodes above the base layer.
pub(super) fn stats(links: Links<'_>, levels: &[u8], max_level: u8) -> BTreeMap<String, f64> {
    let rows = links.base.chunks_exact(2 * links.m);
    let degrees: Vec<usize> = rows.map(|row| row.iter().filter(|&&link| link != NO_LINK).count()).collect();
    let upper_nodes = levels.iter().filter(|&&level| level > 0).count();
    BTreeMap::from([
        ("max_level".to_owned(), f64::from(max_level)),
        ("base_degree_mean".to_owned(), degrees.iter().sum::<usize>() as f64 / degrees.len().max(1) as f64),
        ("base_degree_max".to_owned(), degrees.iter().copied().max().unwrap_or(0) as f64),
        ("upper_nodes".to_owned(), upper_nodes as f64),
    ])
}

/// XXH3-64 over links, levels and the entry point.
pub(super) fn digest(links: Links<'_>, levels: &[u8], entry_point: Option<u32>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(bytemuck::cast_slice(links.base));
    hash.update(levels);
    hash.update(bytemuck::cast_slice(links.upper));
    hash.update(&entry_point.unwrap_or(NO_LINK).to_le_bytes());
    hash.digest()
}

/// Codes and links: what is searched.
#[derive(Clone, Copy)]
pub(super) struct View<'a, C> {
    pub(super) codes: C,
    pub(super) links: Links<'a>,
}

/// The first upper row of each node, and the number of rows; none when they are too many to number.
pub(super) fn upper_offsets(levels: &[u8]) -> Option<Vec<u32>> {
    let mut offsets = Vec::with_capacity(levels.len() + 1);
    let mut rows = 0_u32;
    offsets.push(rows);
    for &level in levels {
        rows = rows.checked_add(u32::from(level))?;
        offsets.push(rows);
    }
    Some(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_node_and_layer_and_end_at_the_first_empty_place() {
        let offsets = upper_offsets(&[0, 2, 1]).unwrap();
        assert_eq!(offsets, [0, 0, 2, 3]);
        let base = [1, 2, NO_LINK, NO_LINK, /* */ 0, NO_LINK, NO_LINK, NO_LINK, /* */ 0, 1, 0, 1];
        let upper = [2, NO_LINK, /* */ NO_LINK, NO_LINK, /* */ 1, NO_LINK];
        let links = Links { m: 2, base: &base, upper_offsets: &offsets, upper: &upper };
        let of = |id, layer| links.of(id, layer).collect::<Vec<_>>();
        assert_eq!((of(0, 0), of(1, 0), of(2, 0).len()), (vec![1, 2], vec![0], 4));
        assert_eq!((of(1, 1), of(1, 2), of(2, 1)), (vec![2], vec![], vec![1]));
    }
}

//! A graph that still changes: each link beside its distance, so that nothing is computed twice.

use std::io;

use nearlab_storage::{Buffer, Resident};

use super::changes::RowChanges;
use super::graph::{Graph, Links, upper_offsets};
use super::rows::Rows;
use crate::index::MAX_VECTORS;
use crate::quant::Symmetric;
use crate::{BuildError, Neighbor};

/// Levels and links. The places of a node are laid out as in [`Graph`].
#[derive(Debug)]
pub(super) struct Growth {
    m: usize,
    levels: Resident<u8>,
    upper_offsets: Resident<u32>,
    base: Rows,
    upper: Rows,
    pub(super) entry_point: Option<u32>,
}

impl Growth {
    /// Nodes of the given levels, without links; refused when they have too many rows to number.
    pub(super) fn new(levels: &[u8], m: usize) -> Result<Self, BuildError> {
        let found = levels.len();
        let upper_offsets = upper_offsets(levels).ok_or(BuildError::TooMany { expected: MAX_VECTORS, found })?;
        let upper_rows = upper_offsets[levels.len()] as usize;
        let parts = || -> io::Result<Self> {
            let (levels, upper_offsets) = (Resident::copied(levels)?, Resident::copied(&upper_offsets)?);
            let (base, upper) = (Rows::new(levels.len(), 2 * m)?, Rows::new(upper_rows, m)?);
            Ok(Self { m, levels, upper_offsets, base, upper, entry_point: None })
        };
        parts().map_err(|_| refused(levels.len(), upper_rows, m))
    }

    /// A frozen graph, so that it can change again; its links are measured by `codes`. On the rayon pool it is called in.
    pub(super) fn thawed<S: Symmetric>(graph: &Graph, codes: S) -> Result<Self, BuildError> {
        let of_nodes = graph.levels.iter().zip(0_u32..);
        let owners: Vec<u32> = of_nodes.flat_map(|(&level, id)| std::iter::repeat_n(id, usize::from(level))).collect();
        let parts = || -> io::Result<Self> {
            Ok(Self {
                m: graph.m,
                levels: Resident::copied(&graph.levels)?,
                upper_offsets: Resident::copied(&graph.upper_offsets)?,
                base: Rows::measured(2 * graph.m, &graph.base, |row, links, out| {
                    codes.score_row(row as u32, links, out);
                })?,
                upper: Rows::measured(graph.m, &graph.upper, |row, links, out| {
                    codes.score_row(owners[row], links, out);
                })?,
                entry_point: graph.entry_point,
            })
        };
        parts().map_err(|_| refused(graph.levels.len(), owners.len(), graph.m))
    }

    /// Ends the changes.
    pub(super) fn freeze(self) -> Graph {
        Graph {
            m: self.m,
            base: self.base.into_links(),
            levels: Buffer::Writable(self.levels),
            upper_offsets: Buffer::Writable(self.upper_offsets),
            upper: self.upper.into_links(),
            entry_point: self.entry_point,
        }
    }

    /// Nodes, linked or not.
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    pub(super) fn levels(&self) -> &[u8] {
        &self.levels
    }

    pub(super) fn level(&self, id: u32) -> u8 {
        self.levels[id as usize]
    }

    /// The highest layer, where there is an entry point.
    pub(super) fn max_level(&self) -> Option<u8> {
        self.entry_point.map(|id| self.level(id))
    }

    pub(super) fn links(&self) -> Links<'_> {
        Links { m: self.m, base: self.base.links(), upper_offsets: &self.upper_offsets, upper: self.upper.links() }
    }

    /// Links that a row on `layer` has room for.
    pub(super) fn width(&self, layer: u8) -> usize {
        if layer == 0 { self.base.width() } else { self.upper.width() }
    }

    /// The links of a node on a layer with their distances, nearest first.
    pub(super) fn neighbors(&self, id: u32, layer: u8) -> impl Iterator<Item = Neighbor> {
        let (rows, row) = if layer == 0 { (&self.base, id as usize) } else { (&self.upper, self.upper_row(id, layer)) };
        rows.neighbors(row)
    }

    /// Replaces the links of a node on a layer by `neighbors`, which are sorted.
    pub(super) fn set(&mut self, (id, layer): (u32, u8), neighbors: &[Neighbor]) {
        if layer == 0 {
            self.base.set(id as usize, neighbors);
        } else {
            let row = self.upper_row(id, layer);
            self.upper.set(row, neighbors);
        }
    }

    pub(super) fn set_all(&mut self, changes: &RowChanges) {
        for change in changes.iter() {
            self.set((change.id, change.layer), change.neighbors);
        }
    }

    /// The rows of the base layer.
    pub(super) fn base(&self) -> &Rows {
        &self.base
    }

    /// Makes room for nodes of these levels, so that adding them can not fail. Refused when their rows can not be numbered, or there
    /// is no memory.
    pub(super) fn reserve(&mut self, levels: &[u8]) -> Result<(), BuildError> {
        let nodes = self.len() + levels.len();
        let added: u64 = levels.iter().copied().map(u64::from).sum();
        let rows = u32::try_from(u64::from(self.upper_offsets[self.len()]) + added);
        let rows = rows.map_err(|_| BuildError::TooMany { expected: MAX_VECTORS, found: nodes })? as usize;
        let mut reserve = || -> io::Result<()> {
            self.base.reserve(nodes)?;
            self.upper.reserve(rows)?;
            self.upper_offsets.reserve(nodes + 1)?;
            self.levels.reserve(nodes)
        };
        reserve().map_err(|_| refused(nodes, rows, self.m))
    }

    /// Adds a node without links. Refused as [`reserve`](Self::reserve) is; then nothing has changed.
    pub(super) fn append(&mut self, level: u8) -> Result<(), BuildError> {
        self.reserve(&[level])?;
        let nodes = self.len();
        let rows = self.upper_offsets[nodes] + u32::from(level);
        let mut grow = || -> io::Result<()> {
            self.base.grow(nodes + 1)?;
            self.upper.grow(rows as usize)?;
            self.upper_offsets.grow(nodes + 2)?;
            self.levels.grow(nodes + 1)
        };
        grow().map_err(|_| refused(nodes + 1, rows as usize, self.m))?;
        self.levels[nodes] = level;
        self.upper_offsets[nodes + 1] = rows;
        Ok(())
    }

    /// Takes all links of a node, on all layers.
    pub(super) fn clear(&mut self, id: u32) {
        for layer in 0..=self.level(id) {
            self.set((id, layer), &[]);
        }
    }

    /// Bytes of links, with their distances, and of what finds them.
    pub(super) fn bytes(&self) -> usize {
        self.base.bytes() + self.upper.bytes() + size_of_val(&*self.upper_offsets) + self.levels.len()
    }

    fn upper_row(&self, id: u32, layer: u8) -> usize {
        self.upper_offsets[id as usize] as usize + usize::from(layer) - 1
    }
}

/// There is no memory for so many nodes and upper rows.
fn refused(nodes: usize, upper_rows: usize, m: usize) -> BuildError {
    let links = (2 * nodes + upper_rows) * m;
    BuildError::Memory { bytes: links * (size_of::<u32>() + size_of::<f32>()) + nodes * (size_of::<u32>() + 1) }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::super::graph::NO_LINK;
    use super::*;
    use crate::space::Space;

    #[test]
    fn a_thawed_graph_has_its_links_measured_and_freezes_to_itself() {
        let line = [0.0, 1.0, 3.0];
        let graph = Graph {
            m: 2,
            base: vec![2, 1, NO_LINK, NO_LINK, 0, NO_LINK, NO_LINK, NO_LINK, 1, 0, NO_LINK, NO_LINK].into(),
            levels: vec![0, 1, 2].into(),
            upper_offsets: vec![0, 0, 1, 3].into(),
            upper: vec![2, NO_LINK, 1, NO_LINK, NO_LINK, NO_LINK].into(),
            entry_point: Some(2),
        };
        let mut growth = Growth::thawed(&graph, Space::new(&line, 1, Metric::L2)).unwrap();
        let of = |growth: &Growth, id, layer| {
            growth.neighbors(id, layer).map(|neighbor| (neighbor.id, neighbor.distance)).collect::<Vec<_>>()
        };
        assert_eq!(of(&growth, 0, 0), [(1, 1.0), (2, 9.0)]);
        assert_eq!((of(&growth, 1, 1), of(&growth, 2, 1), of(&growth, 2, 2)), (vec![(2, 4.0)], vec![(1, 4.0)], vec![]));
        growth.append(1).unwrap();
        growth.set((3, 1), &[Neighbor { id: 1, distance: 5.0 }]);
        assert_eq!((growth.len(), of(&growth, 3, 0), of(&growth, 3, 1)), (4, vec![], vec![(1, 5.0)]));
        growth.clear(3);
        assert!(of(&growth, 3, 1).is_empty());
        let frozen = growth.freeze();
        assert_eq!(frozen.base[..4], [1, 2, NO_LINK, NO_LINK]);
        assert_eq!((&frozen.upper_offsets[..], frozen.upper.len()), (&[0, 0, 1, 3, 4][..], 8));
    }
}

//! The file of an HNSW index: a container of kind `hnsw`, version 1.
//!
//! | section | elements | content |
//! |---|---|---|
//! | `header` | 12 u64 | the 7 words that all indexes share, then m, `ef_construction`, seed, `keep_pruned` (0 or 1), entry point (2^32 - 1 in an empty index) |
//! | `vectors` | n x d f32 | the vectors by id |
//! | `levels` | n u8 | the highest layer of each node, at most 53 |
//! | `base` | n x 2m u32 | links on the base layer; 2^32 - 1 in the places after a row's last link |
//! | `upperoff` | n + 1 u32 | each node's first row in `upper`, and the number of rows: the running sum of `levels` |
//! | `upper` | rows x m u32 | links on layers 1, 2, ... of each node, one row per layer, filled as in `base` |
//!
//! A link leads to a node that exists on the link's layer, and the entry point is a node of the highest level.

use std::path::Path;

use nearlab_storage::{FileKind, SectionId};

use super::graph::{Graph, NO_LINK, upper_offsets};
use super::level::MAX_LEVEL;
use super::{Hnsw, HnswParams};
use crate::sections::{Header, Reader, Writer};
use crate::{Index, OpenError, Persist, SaveError};

const KIND: FileKind = FileKind::new("hnsw");
const LEVELS: SectionId = SectionId::new("levels");
const BASE: SectionId = SectionId::new("base");
const UPPER_OFFSETS: SectionId = SectionId::new("upperoff");
const UPPER: SectionId = SectionId::new("upper");

impl Persist for Hnsw {
    fn save(&self, path: &Path) -> Result<(), SaveError> {
        let header = Header { len: self.len(), dim: self.dim, metric: self.metric, counters: self.build_counters };
        let own = [
            self.params.m as u64,
            self.params.ef_construction as u64,
            self.params.seed,
            u64::from(self.params.keep_pruned),
            u64::from(self.graph.entry_point.unwrap_or(NO_LINK)),
        ];
        let mut writer = Writer::create(path, KIND, &header, &own, &self.vectors)?;
        writer.section(LEVELS, &self.graph.levels)?;
        writer.section(BASE, &self.graph.base)?;
        writer.section(UPPER_OFFSETS, &self.graph.upper_offsets)?;
        writer.section(UPPER, &self.graph.upper)?;
        writer.finish()
    }

    fn open(path: &Path) -> Result<Self, OpenError> {
        let (reader, header, own) = Reader::open::<5>(path, KIND)?;
        let params = HnswParams {
            m: reader.header_word("an m", own[0], 2..257)?,
            ef_construction: own[1] as usize,
            seed: own[2],
            keep_pruned: reader.header_word("a keep_pruned", own[3], 0..2)? == 1,
        };
        let upper_offsets = reader.buffer::<u32>(UPPER_OFFSETS, header.len + 1)?;
        let upper_len = upper_offsets[header.len] as usize * params.m;
        let graph = Graph {
            m: params.m,
            base: reader.buffer(BASE, header.len * 2 * params.m)?,
            levels: reader.buffer(LEVELS, header.len)?,
            upper: reader.buffer(UPPER, upper_len)?,
            upper_offsets,
            entry_point: entry_point(&reader, own[4], header.len)?,
        };
        check(&reader, &graph)?;
        Ok(Self {
            vectors: reader.vectors(&header)?,
            dim: header.dim,
            metric: header.metric,
            params,
            graph,
            build_counters: header.counters,
        })
    }
}

fn entry_point(reader: &Reader, word: u64, len: usize) -> Result<Option<u32>, OpenError> {
    if len == 0 {
        reader.header_word("the entry point of an empty index", word, u64::from(NO_LINK)..u64::from(NO_LINK) + 1)?;
        return Ok(None);
    }
    Ok(Some(reader.header_word("an entry point", word, 0..len as u64)? as u32))
}

/// Checks everything that searches rely on.
fn check(reader: &Reader, graph: &Graph) -> Result<(), OpenError> {
    let highest = graph.levels.iter().copied().max().unwrap_or(0);
    let allowed = MAX_LEVEL.min(graph.max_level());
    if highest > allowed {
        let expected = format!("levels up to the entry point's, {allowed}");
        return Err(reader.refuse(LEVELS, expected, highest.to_string()));
    }
    if upper_offsets(&graph.levels).as_deref() != Some(&*graph.upper_offsets) {
        let (expected, found) = ("the running sum of the levels", "another sequence");
        return Err(reader.refuse(UPPER_OFFSETS, expected.to_owned(), found.to_owned()));
    }
    for (id, row) in graph.base.chunks_exact(2 * graph.m).enumerate() {
        check_row(reader, (BASE, &graph.levels), row, (id, 0))?;
    }
    let mut rows = graph.upper.chunks_exact(graph.m);
    for (id, &level) in graph.levels.iter().enumerate() {
        for (layer, row) in (1..=level).zip(&mut rows) {
            check_row(reader, (UPPER, &graph.levels), row, (id, layer))?;
        }
    }
    Ok(())
}

/// Checks that the links of a row lead to nodes of its layer and come before its empty places.
fn check_row(
    reader: &Reader,
    (section, levels): (SectionId, &[u8]),
    row: &[u32],
    (id, layer): (usize, u8),
) -> Result<(), OpenError> {
    let filled = row.iter().position(|&link| link == NO_LINK).unwrap_or(row.len());
    let leads_nowhere = |link: u32| levels.get(link as usize).is_none_or(|&level| level < layer);
    let wrong = row[..filled].iter().find(|&&link| leads_nowhere(link));
    match wrong.or_else(|| row[filled..].iter().find(|&&link| link != NO_LINK)) {
        None => Ok(()),
        Some(link) => {
            let expected = format!("links to nodes of layer {layer}, then empty places");
            Err(reader.refuse(section, expected, format!("a link from node {id} to {link}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;

    use super::*;
    use crate::Counters;

    const NO: u32 = NO_LINK;

    /// Opens what is saved of a graph of 3 nodes, the second of which is on layer 1, after `damage`.
    fn reopened(damage: impl FnOnce(&mut Hnsw)) -> Result<Hnsw, String> {
        let graph = Graph {
            m: 2,
            base: vec![1, 2, NO, NO, 0, NO, NO, NO, 0, NO, NO, NO].into(),
            levels: vec![0, 1, 0].into(),
            upper_offsets: vec![0, 0, 1, 1].into(),
            upper: vec![NO, NO].into(),
            entry_point: Some(1),
        };
        let mut hnsw = Hnsw {
            vectors: vec![0.0, 1.0, 2.0].into(),
            dim: 1,
            metric: Metric::L2,
            params: HnswParams { m: 2, keep_pruned: true, ..HnswParams::default() },
            graph,
            build_counters: Counters { hops: 3, ..Counters::default() },
        };
        damage(&mut hnsw);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hnsw");
        hnsw.save(&path).unwrap();
        Hnsw::open(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_saved_is_mapped_again() {
        let hnsw = reopened(|_| ()).unwrap();
        assert!(hnsw.vectors.is_mapped() && hnsw.graph.base.is_mapped() && hnsw.graph.upper.is_mapped());
        assert_eq!((hnsw.params.m, hnsw.params.keep_pruned, hnsw.build_counters.hops), (2, true, 3));
    }

    #[test]
    fn references_that_lead_nowhere_are_refused_with_their_section() {
        let refused = |damage: fn(&mut Hnsw), part: &str| {
            let message = reopened(damage).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        refused(|hnsw| hnsw.params.m = 1, "`header` should have an m from 2 to 256, found 1");
        refused(|hnsw| hnsw.graph.entry_point = Some(3), "an entry point from 0 to 2, found 3");
        refused(|hnsw| hnsw.graph.entry_point = Some(0), "`levels` should have levels up to the entry point's, 0");
        refused(
            |hnsw| hnsw.graph.upper_offsets = vec![0, 1, 1, 1].into(),
            "`upperoff` should have the running sum of the levels",
        );
        refused(
            |hnsw| hnsw.graph.base = vec![1, 3, NO, NO, 0, NO, NO, NO, 0, NO, NO, NO].into(),
            "`base` should have links to nodes of layer 0, then empty places, found a link from node 0 to 3",
        );
        refused(
            |hnsw| hnsw.graph.base = vec![1, NO, 2, NO, 0, NO, NO, NO, 0, NO, NO, NO].into(),
            "found a link from node 0 to 2",
        );
        refused(|hnsw| hnsw.graph.upper = vec![0, NO].into(), "`upper` should have links to nodes of layer 1");
        refused(|hnsw| hnsw.graph.base = vec![1, 2, NO, NO].into(), "`base`: expected 12 elements");
    }
}

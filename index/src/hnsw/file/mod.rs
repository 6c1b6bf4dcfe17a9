//! The file of an HNSW index: a container of kind `hnsw`, version 2; 3, where ids are missing; or 4, over codes under inner product and where
//! vectors are set apart.
//!
//! | section | elements | content |
//! |---|---|---|
//! | `header` | 19 u64, 20 in version 4 | the 7 words that all indexes share, then m, `ef_construction`, seed, `keep_pruned` (0 or 1) and twice alpha where that is not 100, entry point (2^32 - 1 in an empty index), codes (0 f32, 1 f16, 2 sq8, 3 sq4, 4 lvq4, 5 lvq8, 6 rabitq1, 7 rabitq4, 8 rabitq8, 9 rabitq2, 10 rabitq3, 11 rabitq5, 12 rabitq6, 13 rabitq7, 14 bf16, 15 pq4, 16 pq8, 17 pq4-blocks, 18 sq8-dim), components (0 without a projection; `sub_dim` of pq4, pq4-blocks and pq8), rerank codes (0 none, 1 sq8, 2 f16, 3 f32, 4 bf16), the bits of the largest squared length that codes hold under inner product as f32, construction (0 incremental, 1 bulk), replicas, leaf; in version 4 the bits of the length that queries are given under inner product as f32 |
//! | `levels` | n u8 | the highest layer of each node, at most 53 |
//! | `base` | n x 2m u32 | links on the base layer; 2^32 - 1 in the places after a row's last link |
//! | `upperoff` | n + 1 u32 | each node's first row in `upper`, and the number of rows: the running sum of `levels` |
//! | `upper` | rows x m u32 | links on layers 1, 2, ... of each node, one row per layer, filled as in `base` |
//!
//! and those of the codes, then of the rerank codes, with w = d, or d + 1 under inner product:
//!
//! | codes | sections |
//! |---|---|
//! | f32 | `vectors`: n x d f32, by id |
//! | f16, bf16 | `f16`, `bf16`: n rows of w u16, padded with zeros to a multiple of 32 |
//! | sq8 | `sq8`: n rows of w u8, padded to a multiple of 64; `sq8level`: w + 1 f32, the offsets and the step |
//! | sq4 | `sq4`: n rows of p / 2 bytes, padded to multiples of 64: components i and i + 64 of each 128 share byte i, the former in the low bits; `sq4level`: p + 1 f32; with a projection `mean`: w f32, and `pcs`: p x w f32; without one p = w |
//! | lvq4, lvq8, sq8-dim, rabitq1 to rabitq8 | `affine`: n rows of levels, then zeros, and three f32 in the last 12 bytes, padded to multiples of 64: level i is byte i with 8 bits; with 4 it is byte i in the low bits, or with b bytes before the three numbers byte i - b in the high bits from i = b on; with other numbers of bits each 64 levels are as many u64, the lowest bits first, of which bit i % 64 is of level i; `amean`: w f32; with `RaBitQ` w' levels, w rounded up to a multiple of 64, and `signs`: 4 w' u8, 1 where a component changes its sign before a round of the rotation; with sq8-dim `ascale`: w f32, what a level of each component is worth |
//! | pq4, pq4-blocks, pq8 | `pq`: n rows of a code for each of s = w / `sub_dim` sub-spaces, rounded up, padded to multiples of 32 bytes: code i is byte i with 8 bits; with 4, code 16 i + j is the low half of byte 8 i + j where j < 8, and else the high half of the byte 8 before; `pqcent`: f32, the centroids of each sub-space by blocks of 16, component by component |
//!
//! A link leads to a node that exists on the link's layer, and the entry point is a node of the highest level. Version 3 adds
//! a section `deleted`, n bits in u64, the lowest bit first: ids that nothing leads to, because their vectors were deleted. Version 4 has it
//! too, `apart`, n such bits, ids of vectors that codes have no place for, and `apartvec`, f32: under inner product these vectors, by id.
//! Blocks of codes are made anew when a file is opened, on rayon's own threads.
//! Version 1 had f32 codes only, and 12 words in its header.

mod save;

use std::path::Path;
use std::sync::Arc;

use nearlab_simd::Metric;
use nearlab_storage::{Buffer, FileKind, SectionId};

pub(super) use save::Saved;

use super::apart::Apart;
use super::codes::{Rerank, Traversal};
use super::graph::{Graph, NO_LINK, upper_offsets};
use super::level::MAX_LEVEL;
use super::pace::Tuned;
use super::params::USUAL_ALPHA;
use super::{Construction, Hnsw, HnswParams, RerankCodes, TraversalCodes};
use crate::quant::{
    Affine, AffineKind, Euclid, F32, Half, HalfKind, Levels, Pq, PqShape, Projection, Rotation, Sq4, Sq8,
    affine_row_bytes, padded, sq4_row_bytes,
};
use crate::scratch::Idle;
use crate::sections::{Header, Reader};
use crate::{IdSet, OpenError, Persist, SaveError};

const KIND: FileKind = FileKind::new("hnsw");
/// Of files in which every id has its vector.
const VERSION: u32 = 2;
/// Of files in which some are missing.
const VERSION_DELETED: u32 = 3;
/// Of files in which some may be set apart besides.
const VERSION_APART: u32 = 4;
const DELETED: SectionId = SectionId::new("deleted");
const APART: SectionId = SectionId::new("apart");
const APART_VECTORS: SectionId = SectionId::new("apartvec");
const LEVELS: SectionId = SectionId::new("levels");
const BASE: SectionId = SectionId::new("base");
const UPPER_OFFSETS: SectionId = SectionId::new("upperoff");
const UPPER: SectionId = SectionId::new("upper");
const F16_CODES: SectionId = SectionId::new("f16");
const BF16_CODES: SectionId = SectionId::new("bf16");
const SQ8_CODES: SectionId = SectionId::new("sq8");
const SQ8_LEVELS: SectionId = SectionId::new("sq8level");
const SQ4_CODES: SectionId = SectionId::new("sq4");
const SQ4_LEVELS: SectionId = SectionId::new("sq4level");
const AFFINE_CODES: SectionId = SectionId::new("affine");
const AFFINE_MEAN: SectionId = SectionId::new("amean");
const AFFINE_SCALES: SectionId = SectionId::new("ascale");
const SIGNS: SectionId = SectionId::new("signs");
const PQ_CODES: SectionId = SectionId::new("pq");
const PQ_CENTROIDS: SectionId = SectionId::new("pqcent");
const MEAN: SectionId = SectionId::new("mean");
const DIRECTIONS: SectionId = SectionId::new("pcs");

impl Persist for Hnsw {
    fn save(&self, path: &Path) -> Result<(), SaveError> {
        let Self { params, euclid, traversal, rerank, graph, deleted, apart, build_counters, .. } = self;
        let traversal = traversal.lent();
        let (links, levels, entry_point) = (graph.links(), &graph.levels[..], graph.entry_point);
        let build_counters = *build_counters;
        let saved =
            Saved { params, euclid, traversal, rerank, links, levels, entry_point, deleted, apart, build_counters };
        saved.save(path)
    }

    fn open(path: &Path) -> Result<Self, OpenError> {
        let (reader, header) = Reader::open(path, KIND, 1..=VERSION_APART)?;
        let (own, query_length) = own_words(&reader)?;
        let radius_squared = length_of(&reader, "a largest squared length", own[8])?;
        let euclid = Euclid { metric: header.metric, dim: header.dim, radius_squared, query_length };
        let params = params(&reader, &own, euclid.width())?;
        let deleted = open_deleted(&reader, header.len)?;
        let apart = open_apart(&reader, &header, params.codes, &deleted)?;
        let upper_offsets = reader.buffer::<u32>(UPPER_OFFSETS, header.len + 1)?;
        let upper_len = upper_offsets[header.len] as usize * params.m;
        let graph = Graph {
            m: params.m,
            base: reader.buffer(BASE, header.len * 2 * params.m)?,
            levels: reader.buffer(LEVELS, header.len)?,
            upper: reader.buffer(UPPER, upper_len)?,
            upper_offsets,
            entry_point: entry_point(&reader, own[4], header.len - deleted.len(), header.len)?,
        };
        check(&reader, &graph, &deleted)?;
        let (len, width) = (header.len, euclid.width());
        let traversal = match (params.codes, params.codes.affine(), params.pq_shape(width)) {
            (_, Some(affine), _) => Traversal::Affine(open_affine(&reader, len, width, affine)?),
            (_, _, Some(shape)) => Traversal::Pq(open_pq(&reader, len, shape)?),
            (TraversalCodes::F32, ..) => Traversal::F32(open_f32(&reader, &header)?),
            (TraversalCodes::F16, ..) => Traversal::Half(open_half(&reader, len, width, HalfKind::F16)?),
            (TraversalCodes::Bf16, ..) => Traversal::Half(open_half(&reader, len, width, HalfKind::Bf16)?),
            (TraversalCodes::Sq8, ..) => Traversal::Sq8(open_sq8(&reader, len, width)?),
            (_, None, None) => Traversal::Sq4(open_sq4(&reader, len, (width, params.components.min(width)))?),
        };
        let rerank = match params.rerank_codes {
            RerankCodes::None => Rerank::None,
            RerankCodes::Sq8 => Rerank::Sq8(open_sq8(&reader, len, width)?),
            RerankCodes::Bf16 => Rerank::Half(open_half(&reader, len, width, HalfKind::Bf16)?),
            RerankCodes::F16 => Rerank::Half(open_half(&reader, len, width, HalfKind::F16)?),
            RerankCodes::F32 => Rerank::F32(open_f32(&reader, &header)?),
        };
        let blocks = traversal.blocks(&params, graph.links()).map_err(|_| reader.refuse_memory())?;
        Ok(Self {
            params,
            euclid,
            traversal,
            rerank,
            graph,
            blocks,
            deleted,
            apart,
            build_counters: header.counters,
            tuned: Tuned::default(),
            idle: Idle::default(),
        })
    }
}

/// The header's own words that all versions have, and the length that queries are given; what version 1 lacks means what it was.
fn own_words(reader: &Reader) -> Result<([u64; 12], f32), OpenError> {
    if reader.version() >= VERSION_APART {
        let [own @ .., query_length] = reader.own_words::<13>()?;
        return Ok((own, length_of(reader, "a length of queries", query_length)?));
    }
    if reader.version() > 1 {
        return Ok((reader.own_words()?, 0.0));
    }
    let [m, ef_construction, seed, keep_pruned, entry_point] = reader.own_words()?;
    let (codes, rerank) = (TraversalCodes::F32 as u64, RerankCodes::None as u64);
    let HnswParams { construction, replicas, leaf, .. } = HnswParams::default();
    let bulk = [construction as u64, replicas as u64, leaf as u64];
    let own = [m, ef_construction, seed, keep_pruned, entry_point, codes, 0, rerank, 0, bulk[0], bulk[1], bulk[2]];
    Ok((own, 0.0))
}

/// A length, or the square of one, that a word has the bits of.
fn length_of(reader: &Reader, what: &str, word: u64) -> Result<f32, OpenError> {
    let length = f32::from_bits(word as u32);
    if length >= 0.0 {
        return Ok(length);
    }
    Err(reader.refuse_header(format!("{what} from 0"), length.to_string()))
}

fn params(reader: &Reader, own: &[u64; 12], width: usize) -> Result<HnswParams, OpenError> {
    let number = reader.header_word("codes", own[5], 0..TraversalCodes::ALL.len() as u64)?;
    let codes = TraversalCodes::ALL.into_iter().find(|&codes| codes as usize == number);
    let codes = codes.ok_or_else(|| reader.refuse_header("codes".to_owned(), number.to_string()))?;
    let components = reader.header_word("components", own[6], 0..(1 << 16) + 1)?;
    let (components, sub_dim) = if codes.is_pq() { (0, components) } else { (components, 0) };
    let number = reader.header_word("rerank codes", own[7], 0..RerankCodes::ALL.len() as u64)?;
    let rerank = RerankCodes::ALL.into_iter().find(|&codes| codes as usize == number);
    let params = HnswParams {
        m: reader.header_word("an m", own[0], 2..257)?,
        ef_construction: own[1] as usize,
        seed: own[2],
        keep_pruned: own[3] & 1 == 1,
        alpha: if own[3] < 2 { USUAL_ALPHA } else { reader.header_word("an alpha", own[3] >> 1, 1..1 << 16)? },
        codes,
        components,
        sub_dim,
        rerank_codes: rerank.ok_or_else(|| reader.refuse_header("rerank codes".to_owned(), number.to_string()))?,
        construction: Construction::ALL[reader.header_word("a construction", own[9], 0..2)?],
        replicas: own[10] as usize,
        leaf: own[11] as usize,
    };
    match params.validate().and_then(|()| params.validate_width(width)) {
        Ok(()) => Ok(params),
        Err(error) => {
            let found = format!("{} {}", error.name, error.found);
            Err(reader.refuse_header(format!("`{}` {}", error.name, error.expected), found))
        }
    }
}

fn open_f32(reader: &Reader, header: &Header) -> Result<F32, OpenError> {
    Ok(F32 { metric: header.metric, dim: header.dim, vectors: reader.vectors(header)? })
}

fn open_half(reader: &Reader, len: usize, width: usize, kind: HalfKind) -> Result<Half, OpenError> {
    Ok(Half { kind, components: width, codes: reader.buffer(half_section(kind), len * padded::<u16>(width))? })
}

fn half_section(kind: HalfKind) -> SectionId {
    match kind {
        HalfKind::F16 => F16_CODES,
        HalfKind::Bf16 => BF16_CODES,
    }
}

fn open_sq8(reader: &Reader, len: usize, width: usize) -> Result<Sq8, OpenError> {
    let levels = open_levels(reader, SQ8_LEVELS, width)?;
    Ok(Sq8 { levels, codes: reader.buffer(SQ8_CODES, len * padded::<u8>(width))? })
}

fn open_sq4(reader: &Reader, len: usize, (width, components): (usize, usize)) -> Result<Sq4, OpenError> {
    let kept = if components > 0 { components } else { width };
    let levels = open_levels(reader, SQ4_LEVELS, kept)?;
    let codes = reader.buffer(SQ4_CODES, len * sq4_row_bytes(kept))?;
    let projection = if components > 0 {
        let mean = reader.buffer::<f32>(MEAN, width)?;
        let directions = reader.buffer::<f32>(DIRECTIONS, components * width)?;
        finite(reader, MEAN, &mean)?;
        finite(reader, DIRECTIONS, &directions)?;
        Some(Arc::new(Projection::new(mean, directions)))
    } else {
        None
    };
    Ok(Sq4 { levels, projection, codes })
}

fn open_affine(
    reader: &Reader,
    len: usize,
    width: usize,
    (kind, bits): (AffineKind, u32),
) -> Result<Affine, OpenError> {
    let mean = reader.buffer::<f32>(AFFINE_MEAN, width)?;
    finite(reader, AFFINE_MEAN, &mean)?;
    let scales = (kind == AffineKind::Scaled).then(|| open_scales(reader, width)).transpose()?;
    let rotation = match kind {
        AffineKind::Lvq | AffineKind::Scaled => None,
        AffineKind::Rabitq => Some(Rotation::of_signs(width, reader.buffer(SIGNS, Rotation::signs_of(width))?)),
    };
    let levels = rotation.as_ref().map_or(width, Rotation::width);
    let codes = reader.buffer(AFFINE_CODES, len * affine_row_bytes(levels, bits))?;
    Ok(Affine { kind, bits, mean, scales, rotation, codes })
}

fn open_scales(reader: &Reader, width: usize) -> Result<Buffer<f32>, OpenError> {
    let scales = reader.buffer::<f32>(AFFINE_SCALES, width)?;
    match scales.iter().find(|scale| !(0.0..=f32::MAX).contains(*scale)) {
        None => Ok(scales),
        Some(scale) => Err(reader.refuse(AFFINE_SCALES, "numbers from 0", scale)),
    }
}

fn open_pq(reader: &Reader, len: usize, shape: PqShape) -> Result<Pq, OpenError> {
    let centroids = reader.buffer::<f32>(PQ_CENTROIDS, shape.centroid_numbers())?;
    finite(reader, PQ_CENTROIDS, &centroids)?;
    Ok(Pq { shape, centroids, codes: reader.buffer(PQ_CODES, len * shape.row_bytes())? })
}

fn open_levels(reader: &Reader, section: SectionId, width: usize) -> Result<Levels, OpenError> {
    let numbers: Buffer<f32> = reader.buffer(section, width + 1)?;
    finite(reader, section, &numbers)?;
    let (offset, step) = (numbers[..width].to_vec(), numbers[width]);
    if !step.is_normal() || step < 0.0 {
        return Err(reader.refuse(section, "a step above 0", step));
    }
    Ok(Levels::new(offset, step))
}

fn finite(reader: &Reader, section: SectionId, numbers: &[f32]) -> Result<(), OpenError> {
    match numbers.iter().find(|x| !x.is_finite()) {
        None => Ok(()),
        Some(x) => Err(reader.refuse(section, "finite numbers", x)),
    }
}

/// Where searches begin in an index of `nodes` ids, of which `left` have their vectors.
fn entry_point(reader: &Reader, word: u64, left: usize, nodes: usize) -> Result<Option<u32>, OpenError> {
    if left == 0 {
        reader.header_word("the entry point of an empty index", word, u64::from(NO_LINK)..u64::from(NO_LINK) + 1)?;
        return Ok(None);
    }
    Ok(Some(reader.header_word("an entry point", word, 0..nodes as u64)? as u32))
}

fn open_deleted(reader: &Reader, nodes: usize) -> Result<IdSet, OpenError> {
    if reader.version() < VERSION_DELETED {
        return Ok(IdSet::new());
    }
    open_ids(reader, DELETED, nodes)
}

fn open_ids(reader: &Reader, section: SectionId, nodes: usize) -> Result<IdSet, OpenError> {
    let words = reader.buffer::<u64>(section, nodes.div_ceil(64))?;
    if words.iter().all(|&word| word == 0) {
        return Ok(IdSet::new());
    }
    let ids = IdSet::from_words(words.to_vec());
    let beyond = ids.iter().find(|&id| id as usize >= nodes);
    match beyond {
        None => Ok(ids),
        Some(id) => Err(reader.refuse(section, format!("ids below {nodes}"), id)),
    }
}

fn open_apart(reader: &Reader, header: &Header, codes: TraversalCodes, deleted: &IdSet) -> Result<Apart, OpenError> {
    if reader.version() < VERSION_APART {
        return Ok(Apart::default());
    }
    let ids = open_ids(reader, APART, header.len)?;
    let none = header.metric == Metric::L2 || codes == TraversalCodes::F32;
    if let Some(id) = ids.iter().find(|&id| none || deleted.contains(id)) {
        let expected = "ids that were not deleted, and none under L2 or of f32".to_owned();
        return Err(reader.refuse(APART, expected, id));
    }
    let kept = if header.metric == Metric::InnerProduct { ids.len() } else { 0 };
    let vectors = reader.buffer::<f32>(APART_VECTORS, kept * header.dim)?;
    finite(reader, APART_VECTORS, &vectors)?;
    Ok(Apart::new(ids, vectors.to_vec()))
}

/// Checks everything that searches rely on.
fn check(reader: &Reader, graph: &Graph, deleted: &IdSet) -> Result<(), OpenError> {
    if let Some(entry_point) = graph.entry_point.filter(|&id| deleted.contains(id)) {
        return Err(reader.refuse(DELETED, "another id than the entry point", entry_point));
    }
    // Those of deleted ids too, which will be given again. They may be higher than the entry point's: that may have been deleted.
    if let Some(level) = graph.levels.iter().find(|&&level| level > MAX_LEVEL) {
        return Err(reader.refuse(LEVELS, format!("levels up to {MAX_LEVEL}"), level));
    }
    let left = graph.levels.iter().zip(0..).filter(|&(_, id)| !deleted.contains(id));
    let highest = left.map(|(&level, _)| level).max().unwrap_or(0);
    let allowed = graph.max_level();
    if highest > allowed {
        let expected = format!("levels up to the entry point's, {allowed}");
        return Err(reader.refuse(LEVELS, expected, highest));
    }
    if upper_offsets(&graph.levels).as_deref() != Some(&*graph.upper_offsets) {
        let (expected, found) = ("the running sum of the levels", "another sequence");
        return Err(reader.refuse(UPPER_OFFSETS, expected, found));
    }
    for (id, row) in graph.base.chunks_exact(2 * graph.m).enumerate() {
        check_row(reader, (BASE, &graph.levels, deleted), row, (id, 0))?;
    }
    let mut rows = graph.upper.chunks_exact(graph.m);
    for (id, &level) in graph.levels.iter().enumerate() {
        for (layer, row) in (1..=level).zip(&mut rows) {
            check_row(reader, (UPPER, &graph.levels, deleted), row, (id, layer))?;
        }
    }
    Ok(())
}

/// Checks that the links of a row lead to nodes of its layer and come before its empty places.
fn check_row(
    reader: &Reader,
    (section, levels, deleted): (SectionId, &[u8], &IdSet),
    row: &[u32],
    (id, layer): (usize, u8),
) -> Result<(), OpenError> {
    let filled = row.iter().position(|&link| link == NO_LINK).unwrap_or(row.len());
    let leads_nowhere =
        |link: u32| deleted.contains(link) || levels.get(link as usize).is_none_or(|&level| level < layer);
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
mod tests;

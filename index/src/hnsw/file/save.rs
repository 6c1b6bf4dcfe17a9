//! Writing an index, frozen or live.

use std::path::Path;

use nearlab_storage::SectionId;

use super::{
    AFFINE_CODES, AFFINE_MEAN, AFFINE_SCALES, APART, APART_VECTORS, BASE, DELETED, DIRECTIONS, KIND, LEVELS, MEAN,
    PQ_CENTROIDS, PQ_CODES, SIGNS, SQ4_CODES, SQ4_LEVELS, SQ8_CODES, SQ8_LEVELS, UPPER, UPPER_OFFSETS, VERSION,
    VERSION_APART, VERSION_DELETED, half_section,
};
use crate::hnsw::apart::Apart;
use crate::hnsw::codes::{Lent, Rerank, Walked};
use crate::hnsw::graph::{Links, NO_LINK};
use crate::hnsw::params::USUAL_ALPHA;
use crate::hnsw::{HnswParams, TraversalCodes};
use crate::quant::{Affine, Euclid, Levels, Pq, Sq4, Sq8};
use crate::sections::{Header, Writer};
use crate::{Counters, IdSet, SaveError};

/// What is saved of an index.
pub(in crate::hnsw) struct Saved<'a> {
    pub(in crate::hnsw) params: &'a HnswParams,
    pub(in crate::hnsw) euclid: &'a Euclid,
    pub(in crate::hnsw) traversal: Walked<'a>,
    pub(in crate::hnsw) rerank: &'a Rerank,
    pub(in crate::hnsw) links: Links<'a>,
    pub(in crate::hnsw) levels: &'a [u8],
    pub(in crate::hnsw) entry_point: Option<u32>,
    /// Nothing leads to these.
    pub(in crate::hnsw) deleted: &'a IdSet,
    pub(in crate::hnsw) apart: &'a Apart,
    pub(in crate::hnsw) build_counters: Counters,
}

impl Saved<'_> {
    pub(in crate::hnsw) fn save(&self, path: &Path) -> Result<(), SaveError> {
        let nodes = self.levels.len();
        let Euclid { dim, metric, .. } = *self.euclid;
        let header = Header { len: nodes, dim, metric, counters: self.build_counters };
        let alpha = self.params.alpha;
        let mut own = vec![
            self.params.m as u64,
            self.params.ef_construction as u64,
            self.params.seed,
            // Files have had no alpha.
            u64::from(self.params.keep_pruned) + if alpha == USUAL_ALPHA { 0 } else { 2 * alpha as u64 },
            u64::from(self.entry_point.unwrap_or(NO_LINK)),
            self.params.codes as u64,
            // One of them is 0.
            self.params.components.max(self.params.sub_dim) as u64,
            self.params.rerank_codes as u64,
            u64::from(self.euclid.radius_squared.to_bits()),
            self.params.construction as u64,
            self.params.replicas as u64,
            self.params.leaf as u64,
        ];
        let coded = self.params.codes != TraversalCodes::F32 && self.euclid.query_length > 0.0;
        let version = if coded || !self.apart.ids().is_empty() {
            own.push(u64::from(self.euclid.query_length.to_bits()));
            VERSION_APART
        } else if self.deleted.is_empty() {
            VERSION
        } else {
            VERSION_DELETED
        };
        let mut writer = Writer::create(path, (KIND, version), &header, &own)?;
        let words = |ids: &IdSet| (0..nodes.div_ceil(64)).map(|at| ids.word(at)).collect::<Vec<u64>>();
        if version >= VERSION_DELETED {
            writer.section(DELETED, &words(self.deleted))?;
        }
        if version >= VERSION_APART {
            writer.section(APART, &words(self.apart.ids()))?;
            writer.section(APART_VECTORS, self.apart.vectors())?;
        }
        writer.section(LEVELS, self.levels)?;
        writer.section(BASE, self.links.base)?;
        writer.section(UPPER_OFFSETS, self.links.upper_offsets)?;
        writer.section(UPPER, self.links.upper)?;
        match self.traversal {
            Walked::F32(f32) => writer.vectors(&f32.vectors)?,
            Walked::Half(half) => writer.section(half_section(half.kind), &half.codes)?,
            Walked::Sq8(sq8) => save_sq8(&mut writer, sq8)?,
            Walked::Sq4(sq4) => save_sq4(&mut writer, sq4)?,
            Walked::Affine(affine) => save_affine(&mut writer, affine)?,
            Walked::Pq(pq) | Walked::Blocks(Lent { pq, .. }) => save_pq(&mut writer, pq)?,
        }
        match self.rerank {
            Rerank::None => (),
            Rerank::Sq8(sq8) => save_sq8(&mut writer, sq8)?,
            Rerank::Half(half) => writer.section(half_section(half.kind), &half.codes)?,
            Rerank::F32(f32) => writer.vectors(&f32.vectors)?,
        }
        writer.finish()
    }
}

fn save_sq8(writer: &mut Writer, sq8: &Sq8) -> Result<(), SaveError> {
    writer.section(SQ8_CODES, &sq8.codes)?;
    save_levels(writer, SQ8_LEVELS, &sq8.levels)
}

fn save_sq4(writer: &mut Writer, sq4: &Sq4) -> Result<(), SaveError> {
    writer.section(SQ4_CODES, &sq4.codes)?;
    save_levels(writer, SQ4_LEVELS, &sq4.levels)?;
    if let Some(projection) = &sq4.projection {
        writer.section(MEAN, &projection.mean)?;
        writer.section(DIRECTIONS, &projection.directions)?;
    }
    Ok(())
}

fn save_affine(writer: &mut Writer, affine: &Affine) -> Result<(), SaveError> {
    writer.section(AFFINE_CODES, &affine.codes)?;
    writer.section(AFFINE_MEAN, &affine.mean)?;
    affine.scales.as_ref().map_or(Ok(()), |scales| writer.section(AFFINE_SCALES, scales))?;
    affine.rotation.as_ref().map_or(Ok(()), |rotation| writer.section(SIGNS, &rotation.signs))
}

fn save_pq(writer: &mut Writer, pq: &Pq) -> Result<(), SaveError> {
    writer.section(PQ_CODES, &pq.codes)?;
    writer.section(PQ_CENTROIDS, &pq.centroids)
}

fn save_levels(writer: &mut Writer, section: SectionId, levels: &Levels) -> Result<(), SaveError> {
    let mut numbers = levels.offset.clone();
    numbers.push(levels.step);
    writer.section(section, &numbers)
}

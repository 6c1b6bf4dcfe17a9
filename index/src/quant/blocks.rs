//! Codes of product quantisation in groups: those of rows that are scored together lie side by side.
//!
//! Scoring rows that lie anywhere fetches each from somewhere else and turns it in registers. Where it is known beforehand which
//! rows are scored together, their codes are written once more, next to each other, in the order in which one shuffle looks up
//! a code of sixteen rows (André, Kermarrec and Le Scouarnec, VLDB 2015). A row that is in many groups has as many copies: the
//! neighbours of a graph's nodes are such groups (NGT-QG; Gou et al., `SymphonyQG`, SIGMOD 2025).

use nearlab_simd::{LINE_BYTES, LUT4_BLOCK, LUT4_LINE, LUT4_LINES, prefetch};
use nearlab_storage::{Buffer, Resident};
use rayon::prelude::*;

use super::pq::{Pq, PqRows, PqShape};
use super::pq_query::PqQuery;
use super::{Bytes, Codes};
use crate::BuildError;

/// Sub-spaces that rows in groups can have: sums of their numbers fit 16 bits.
pub(crate) const MOST_SPACES: usize = LUT4_LINES * LUT4_LINE;

/// Copies of 4-bit codes, group after group.
#[derive(Debug)]
pub(crate) struct Blocks {
    codes: Buffer<u8>,
    group_bytes: usize,
    /// Bytes of a group of a mean number of rows: what is asked for ahead.
    mean_bytes: usize,
}

/// Bytes that [`LUT4_BLOCK`] rows of a group take.
fn block_bytes(shape: PqShape) -> usize {
    shape.spaces().div_ceil(LUT4_LINE) * LINE_BYTES
}

impl Blocks {
    /// The codes of groups of `width` ids each, of which a group may have fewer: [`u32::MAX`] ends it. On the rayon pool it is
    /// called in.
    pub(crate) fn of(pq: &Pq, groups: &[u32], width: usize) -> Result<Self, BuildError> {
        let (count, block_bytes) = (groups.len() / width, block_bytes(pq.shape));
        let group_bytes = width.div_ceil(LUT4_BLOCK) * block_bytes;
        let bytes = count * group_bytes;
        let refused = |_| BuildError::Memory { bytes };
        let mut codes = Resident::zeroed(bytes).map_err(refused)?;
        let chunks = codes.par_chunks_exact_mut(group_bytes).zip(groups.par_chunks_exact(width));
        chunks.for_each(|(group, ids)| write(pq, ids, group));
        let rows = groups.par_iter().filter(|&&id| id != u32::MAX).count();
        let mean_bytes = rows.div_ceil(count.max(1)).div_ceil(LUT4_BLOCK) * block_bytes;
        Ok(Self { codes: codes.freeze().map_err(refused)?, group_bytes, mean_bytes })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.codes.bytes()
    }
}

/// Writes the codes of the rows `ids`, up to the first [`u32::MAX`], to their group, which is zeros.
fn write(pq: &Pq, ids: &[u32], group: &mut [u8]) {
    let (row_bytes, block_bytes) = (pq.shape.row_bytes(), block_bytes(pq.shape));
    let blocks = group.chunks_exact_mut(block_bytes).zip(ids.chunks(LUT4_BLOCK));
    for (block, ids) in blocks {
        for (place, &id) in ids.iter().take_while(|&&id| id != u32::MAX).enumerate() {
            let row = &pq.codes[id as usize * row_bytes..][..row_bytes];
            // Eight bytes of a row are 16 codes, which two lines take.
            let pairs = block.chunks_mut(2 * LINE_BYTES).zip(row.as_chunks::<8>().0);
            for (lines, codes) in pairs {
                let (low, high) = codes.split_at(4);
                let (first, second) = lines.split_at_mut(LINE_BYTES);
                for (i, (low, high)) in low.iter().zip(high).enumerate() {
                    first[i * LUT4_BLOCK + place] = low & 15 | high << 4;
                    if let Some(byte) = second.get_mut(i * LUT4_BLOCK + place) {
                        *byte = low >> 4 | high & 0xf0;
                    }
                }
            }
        }
    }
}

/// The codes as searches see them: one by one, or a group at a time.
#[derive(Clone, Copy)]
pub(crate) struct BlockRows<'a> {
    rows: PqRows<'a>,
    groups: &'a [u8],
    group_bytes: usize,
    mean_bytes: usize,
    block_bytes: usize,
}

impl<'a> BlockRows<'a> {
    /// `blocks` were made of the codes of `pq`.
    pub(crate) fn new(pq: &'a Pq, blocks: &'a Blocks) -> Self {
        let Blocks { codes, group_bytes, mean_bytes } = blocks;
        let (group_bytes, mean_bytes) = (*group_bytes, *mean_bytes);
        Self { rows: pq.rows(), groups: codes, group_bytes, mean_bytes, block_bytes: block_bytes(pq.shape) }
    }

    #[inline]
    fn group(&self, group: u32) -> &'a [u8] {
        self.groups.get(group as usize * self.group_bytes..).unwrap_or_default()
    }
}

impl Codes for BlockRows<'_> {
    const GROUPED: bool = true;
    type Query = PqQuery;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row_bytes(&self) -> usize {
        self.rows.row_bytes()
    }

    fn prepare(&self, vector: &[f32], query: &mut PqQuery) {
        self.rows.prepare(vector, query);
    }

    #[inline]
    fn score(&self, query: &PqQuery, ids: &[u32], out: &mut [f32]) {
        self.rows.score(query, ids, out);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        self.rows.prefetch(id);
    }

    #[inline]
    fn score_group(&self, query: &PqQuery, group: u32, out: &mut [f32], ahead: Option<u32>) {
        let ahead = ahead.and_then(|group| self.group(group).get(..self.mean_bytes)).unwrap_or_default();
        let blocks = &self.group(group)[..out.len() / LUT4_BLOCK * self.block_bytes];
        query.score_blocks(self.block_bytes / LINE_BYTES, (blocks, ahead), out);
    }

    #[inline]
    fn prefetch_group(&self, group: u32) {
        prefetch(self.group(group).get(..self.mean_bytes).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use nearlab_simd::Metric;
    use nearlab_storage::Vectors;

    use super::super::{Euclid, Lifted};
    use super::*;
    use crate::random::SplitMix64;

    const NONE: u32 = u32::MAX;

    #[test]
    fn rows_score_in_their_groups_what_they_score_alone() {
        let mut random = SplitMix64::new(11);
        for (dim, sub_dim) in [(4, 4), (18, 2), (40, 1)] {
            let data: Vec<f32> = (0..200 * dim).map(|_| random.unit() as f32).collect();
            let vectors = Vectors::new(&data, dim);
            let euclid = Euclid::of(vectors, Metric::L2);
            let pq = Pq::encode(&Lifted::new(vectors, &euclid), PqShape { width: dim, sub_dim, bits: 4 }, 3).unwrap();
            for width in [2, 16, 40] {
                let mut groups: Vec<u32> = (0..50 * width as u32).map(|i| i * 7919 % 200).collect();
                groups[..width].fill(NONE);
                groups[2 * width - 1] = NONE;
                let blocks = Blocks::of(&pq, &groups, width).unwrap();
                let rows = BlockRows::new(&pq, &blocks);
                let mut query = PqQuery::default();
                rows.prepare(vectors.row(5), &mut query);
                for (group, ids) in groups.chunks_exact(width).enumerate() {
                    let ids: Vec<u32> = ids.iter().copied().take_while(|&id| id != NONE).collect();
                    let (mut alone, mut together) = (vec![0.0; ids.len()], vec![0.0; width.next_multiple_of(16)]);
                    rows.score(&query, &ids, &mut alone);
                    let ahead = [None, Some(0), Some(1000)][group % 3];
                    rows.score_group(&query, group as u32, &mut together, ahead);
                    assert_eq!(alone, together[..ids.len()], "{dim} {sub_dim} {width} {group}");
                    rows.score_group(&query, group as u32, &mut [], ahead);
                }
            }
        }
    }
}

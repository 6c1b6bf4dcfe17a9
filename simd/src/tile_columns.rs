//! Vectors in the order in which tiles of codes read them.

use crate::aligned::Aligned;
use crate::codes::LINE_BYTES;

/// Columns that share a block of [`CodeKernels::u7_tile`](crate::CodeKernels::u7_tile).
pub const TILE_COLUMNS: usize = 16;
/// Components of a column that lie side by side in a block.
const TILE_GROUP: usize = 4;

/// Vectors of 7-bit levels in the order in which [`CodeKernels::u7_tile`](crate::CodeKernels::u7_tile) reads its columns, and their squared lengths. The
/// columns of a block, 16 of them, lie together by groups of four components, each level doubled as scores have it; a last block is
/// filled up with columns whose length is the largest number, so that they are nobody's nearest.
#[derive(Debug, Default)]
pub struct TileColumns {
    pub(crate) levels: Aligned<u8>,
    pub(crate) norms: Vec<i32>,
}

impl TileColumns {
    /// Takes over `rows`, each of `width` levels, up to 2^16, as columns.
    pub fn fill(&mut self, rows: &[u8], width: usize) {
        assert!(
            (1..=1 << 16).contains(&width) && width.is_multiple_of(LINE_BYTES) && rows.len().is_multiple_of(width),
            "{} levels are no whole rows of {width}, or those no whole lines, or more than 2^16 levels",
            rows.len()
        );
        let columns = (rows.len() / width).next_multiple_of(TILE_COLUMNS);
        self.levels.resize(columns * width);
        self.levels.fill(0);
        self.norms.clear();
        self.norms.resize(columns, i32::MAX);
        for (column, row) in rows.chunks_exact(width).enumerate() {
            let block = &mut self.levels[column / TILE_COLUMNS * TILE_COLUMNS * width..];
            let place = column % TILE_COLUMNS * TILE_GROUP;
            for (group, levels) in row.chunks_exact(TILE_GROUP).enumerate() {
                let block = &mut block[group * TILE_COLUMNS * TILE_GROUP + place..][..TILE_GROUP];
                block.iter_mut().zip(levels).for_each(|(doubled, &level)| *doubled = level << 1);
            }
            self.norms[column] = row.iter().map(|&level| i32::from(level) * i32::from(level)).sum();
        }
    }

    /// Columns, those that fill up the last block included.
    pub fn count(&self) -> usize {
        self.norms.len()
    }
}

//! Kernels that score compressed vectors: integer and half-precision codes against a prepared query.
//!
//! All of them compute a squared Euclidean distance in the units of the codes, of one query to rows that ids name. A row of
//! codes is whole cache lines of 64 bytes, padded with zeros, so that it begins and ends where the memory system's units do
//! when the first one does.
//!
//! One more kernel is a matrix in 8 bits: [`u8i8_products`](CodeKernels::u8i8_products) multiplies some vectors with many rows, for
//! projections. [`lut4_by_id`](CodeKernels::lut4_by_id), [`lut8_by_id`](CodeKernels::lut8_by_id) and
//! [`centroid_distances`](CodeKernels::centroid_distances) serve product quantisation; their sums are the same on every tier.
//!
//! The tier of these kernels is chosen apart from that of the `f32` kernels: where integers are concerned, AVX-512 with VNNI
//! has what AVX2 lacks, and their sums are the same. Sums of `f32` may differ in their last bits from tier to tier.

use std::fmt;
use std::sync::OnceLock;

use crate::Tier;
use crate::arch;
use crate::columns::{Columns, PANEL};
use crate::kernels::kernels;
use crate::levels::Levels;
use crate::tile_columns::TileColumns;

/// Bytes of a cache line, and of the unit in which rows of codes are measured.
pub const LINE_BYTES: usize = 64;

/// The kernels for codes of one instruction set.
///
/// Every method panics when the shapes do not fit: rows have as many lines as the query, `out` is as long as `ids`, and
/// every id names a whole row of the codes. Rows of integers have up to 2^16 components, for which sums fit 32 bits.
///
/// | kernel | a line of a row | query | score |
/// |---|---|---|---|
/// | [`u4`](Self::u4_by_id) | 128 levels 0..=15: byte j holds component j low, j + 64 high | per line 128 `i8`: [`u4_query_level`] of a component in steps of 1/8 level | `Σ (8 c - q)²`, exact up to 2^24, then rounded |
/// | [`u7`](Self::u7_by_id) | 64 levels 0..=127 | 64 levels 0..=127 | `Σ (c - q)²`, as above |
/// | [`u8`](Self::u8_by_id) | 64 levels 0..=255 | 64 `f32`, in levels | `Σ (c - q)²` |
/// | [`f16`](Self::f16_by_id) | 32 binary16 numbers, as bits | 32 `f32` | `Σ (c - q)²` |
/// | [`bf16`](Self::bf16_by_id) | 32 bfloat16 numbers, as bits | 32 `f32` | `Σ (c - q)²` |
///
/// Inner products of levels with a query in small integers are sums of integers too: [`dot1`](Self::dot1_by_id),
/// [`dot4`](Self::dot4_by_id), [`dot8`](Self::dot8_by_id), and [`planes`](Self::planes_by_id) for levels of
/// any number of bits up to 7, whose rows need not be whole lines.
///
/// The scores of `u4` and `u7` are sums of integers: the same on every tier. Those of `u8`, `f16` and `bf16` are sums of `f32`: one
/// number per pair within a tier, and exact, hence the same everywhere, for integral queries of sums below 2^24.
pub struct CodeKernels {
    pub(crate) tier: Tier,
    pub(crate) u4: ById<i8, u8>,
    pub(crate) u7: ById<u8, u8>,
    pub(crate) u8: ById<f32, u8>,
    pub(crate) f16: ById<f32, u16>,
    pub(crate) bf16: ById<f32, u16>,
    pub(crate) dot1: ById<u8, u8>,
    pub(crate) dot4: ById<i8, u8>,
    pub(crate) dot8: ById<i8, u8>,
    pub(crate) planes: PlanesById,
    pub(crate) lut4: ById<u8, u8>,
    pub(crate) lut4_blocks: Blocks,
    pub(crate) centroid_distances: CentroidDistances,
    pub(crate) u8i8_products: Products,
    pub(crate) u7_tile: Tile,
    pub(crate) smallest: Smallest,
    pub(crate) within: Within,
    pub(crate) insert_key: InsertKey,
    pub(crate) hadamard: Hadamard,
    pub(crate) products: Sieve,
    pub(crate) reaching: Reaching,
    pub(crate) levels: Levels,
}

/// `(query, codes, ids, out)`
pub(crate) type ById<Q, C> = fn(&[Q], &[C], &[u32], &mut [f32]);

/// `(query, rows, ids, out)`
pub(crate) type PlanesById = fn(&[i8], PlaneRows<'_>, &[u32], &mut [f32]);

/// `(vectors, rows, width, out)`
pub(crate) type Products = fn(&[u8], &[i8], usize, &mut [i32]);

/// `(table, blocks, ahead, out)`
pub(crate) type Blocks = fn(&[u8], &[u8], &[u8], &mut [f32]);

/// `(vector, centroids, sub_dim, out)`
pub(crate) type CentroidDistances = fn(&[f32], &[f32], usize, &mut [f32]);

/// `(rows, columns, column norms, out)`
pub(crate) type Tile = fn(&[u8], &[u8], &[i32], &mut [i32]);

/// `(scores, k, keys)`
pub(crate) type Smallest = fn(&[i32], usize, &mut Vec<u64>);

/// `(scores, bound)`
pub(crate) type Within = fn(&[f32], f32) -> u64;

/// `(keys, key)`
pub(crate) type InsertKey = fn(&mut [u64], u64) -> usize;

/// `(vector)`
pub(crate) type Hadamard = fn(&mut [f32]);

/// `(columns, rows, d, out)`
pub(crate) type Sieve = fn(&[f32], &[f32], usize, &mut [f32]);

/// `(products, lines, floor)`
pub(crate) type Reaching = fn(&[f32], (&[f32], &[f32]), (f32, f32)) -> u64;

/// Rows of levels in planes, for [`CodeKernels::planes_by_id`].
///
/// A row begins with `bits` planes of 8 bytes for each 64 levels: bit `j` of byte `i` of plane `p` is bit `p` of level `8 i + j`.
/// What follows them in a row is not read.
#[derive(Debug, Clone, Copy)]
pub struct PlaneRows<'a> {
    /// All rows.
    pub codes: &'a [u8],
    /// Bytes from one row to the next.
    pub row_bytes: usize,
    /// Bits of a level, 1 to 7.
    pub bits: u32,
}

/// Bytes of a row that [`CodeKernels::lut4_by_id`] takes at a time: 64 codes of 4 bits.
pub const LUT4_CHUNK: usize = 32;
/// Bytes of the tables for as many.
pub(crate) const LUT4_TABLE: usize = 2 * LUT4_CHUNK * 16;
/// Rows that share a block of [`CodeKernels::lut4_blocks`].
pub const LUT4_BLOCK: usize = 16;
/// Codes of a row in a line of such a block.
pub const LUT4_LINE: usize = 2 * LINE_BYTES / LUT4_BLOCK;
/// Lines of such a block at most: sums of their numbers fit 16 bits.
pub const LUT4_LINES: usize = 64;
/// Bytes of the tables for a line.
pub(crate) const LUT4_LINE_TABLE: usize = LUT4_LINE * 16;
/// Centroids that share a block of [`CodeKernels::centroid_distances`].
pub const CENTROIDS: usize = 16;

impl CodeKernels {
    /// The instruction set of this table. AVX-512 here means with VNNI, VPOPCNTDQ, VBMI and GFNI; AMX's has tiles for
    /// [`u7_tile`](Self::u7_tile), and is AVX-512's otherwise; NEON's has dot products where the CPU does.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Scores `Σ (8 c - q)²` of a query of [`u4_query_level`]s with rows of 4-bit codes. Each row has `query.len() / 2` bytes: byte j
    /// of a line holds component j low, j + 64 high.
    #[inline]
    pub fn u4_by_id(&self, query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.u4)(query, codes, ids, out);
    }

    /// Scores `Σ (c - q)²` of levels 0..=127 with rows of such levels. Each row has `query.len()` bytes.
    #[inline]
    pub fn u7_by_id(&self, query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.u7)(query, codes, ids, out);
    }

    /// Scores `Σ (c - q)²` of a query in levels with rows of levels 0..=255. Each row has `query.len()` bytes.
    #[inline]
    pub fn u8_by_id(&self, query: &[f32], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.u8)(query, codes, ids, out);
    }

    /// Scores `Σ (c - q)²` of a query with rows of binary16 numbers. Each row has `query.len()` numbers, a multiple of 32.
    #[inline]
    pub fn f16_by_id(&self, query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
        (self.f16)(query, codes, ids, out);
    }

    /// Scores `Σ (c - q)²` of a query with rows of bfloat16 numbers, the upper halves of `f32`. Each row has `query.len()` numbers, a
    /// multiple of 32.
    #[inline]
    pub fn bf16_by_id(&self, query: &[f32], codes: &[u16], ids: &[u32], out: &mut [f32]) {
        (self.bf16)(query, codes, ids, out);
    }

    /// Inner products of a query of numbers 0..=15 with rows of bits, each of `query.len() / 4` bytes. For each 64 bytes of a row
    /// the query has four planes of 64 bytes: bit `j` of byte `i` of plane `p` is bit `p` of the number that meets bit `j` of
    /// byte `i`.
    #[inline]
    pub fn dot1_by_id(&self, query: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.dot1)(query, codes, ids, out);
    }

    /// Inner products of a query of numbers -127..=127 with rows of 4-bit levels, each of `query.len() / 2` bytes: of the 128
    /// levels of a line the first 64 are the low halves of its bytes.
    #[inline]
    pub fn dot4_by_id(&self, query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.dot4)(query, codes, ids, out);
    }

    /// Inner products of a query of numbers -127..=127 with rows of 8-bit levels, each of `query.len()` bytes.
    #[inline]
    pub fn dot8_by_id(&self, query: &[i8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        (self.dot8)(query, codes, ids, out);
    }

    /// Inner products of a query of numbers -127..=127, a multiple of 64 of them, with rows of as many levels in planes.
    #[inline]
    pub fn planes_by_id(&self, query: &[i8], rows: PlaneRows<'_>, ids: &[u32], out: &mut [f32]) {
        (self.planes)(query, rows, ids, out);
    }

    /// Sums of the numbers 0..=127 that codes of 4 bits name in tables of 16, exact. A row has `table.len() / 32` bytes, a
    /// multiple of [`LUT4_CHUNK`]. Code `16 i + j` is the low half of byte `8 i + j`, or from `j` 8 on the high half of `8 i + j - 8`.
    #[inline]
    pub fn lut4_by_id(&self, table: &[u8], codes: &[u8], ids: &[u32], out: &mut [f32]) {
        assert!(
            !table.is_empty() && table.len().is_multiple_of(LUT4_TABLE) && ids.len() == out.len(),
            "tables of {} bytes, {} ids and room for {} sums: tables must be whole and the lengths equal",
            table.len(),
            ids.len(),
            out.len()
        );
        (self.lut4)(table, codes, ids, out);
    }

    /// Sums of the numbers 0..=127 that codes of 4 bits name in tables of 16, exact, for rows whose codes stand side by side: so
    /// that one shuffle looks up a code of each (André, Kermarrec and Le Scouarnec, VLDB 2015). A block has the codes of
    /// [`LUT4_BLOCK`] rows in lines of 64 bytes: byte `16 i + j` of line `l` has code `8 l + i` of row `j` in its low half, and
    /// code `8 l + i + 4` in its high one. `table` has 128 bytes for each line, of which there are at most [`LUT4_LINES`]; `out`
    /// has room for the rows of all `blocks`. Meanwhile the lines of `ahead` are asked for, evenly.
    #[inline]
    pub fn lut4_blocks(&self, table: &[u8], blocks: &[u8], ahead: &[u8], out: &mut [f32]) {
        let lines = table.len() / LUT4_LINE_TABLE;
        assert!(
            (1..=LUT4_LINES).contains(&lines)
                && table.len().is_multiple_of(LUT4_LINE_TABLE)
                && out.len().is_multiple_of(LUT4_BLOCK)
                && blocks.len() == out.len() / LUT4_BLOCK * lines * LINE_BYTES,
            "tables of {} bytes and blocks of {} do not make {} sums",
            table.len(),
            blocks.len(),
            out.len()
        );
        (self.lut4_blocks)(table, blocks, ahead, out);
    }

    /// Sums of the numbers that codes of 8 bits name in tables of 256, for rows of `width` bytes, the first of which are codes,
    /// one for each table. They are added in order, one by one, on every tier.
    #[inline]
    pub fn lut8_by_id(&self, table: &[f32], (codes, width): (&[u8], usize), ids: &[u32], out: &mut [f32]) {
        assert!(
            table.len().is_multiple_of(256) && table.len() / 256 <= width && ids.len() == out.len(),
            "tables of {} numbers for rows of {width} bytes, {} ids and room for {} sums",
            table.len(),
            ids.len(),
            out.len()
        );
        arch::lut8(table, codes, width, ids, out);
    }

    /// Squared distances of each part of a vector, `sub_dim` components or what is left, to the centroids of its sub-space, the
    /// same on every tier. Each sub-space has as many centroids, a multiple of [`CENTROIDS`]; those of a block lie together by
    /// component: first components, second components, and so on. `out` has a number for each.
    #[inline]
    pub fn centroid_distances(&self, vector: &[f32], centroids: &[f32], sub_dim: usize, out: &mut [f32]) {
        let spaces = vector.len().div_ceil(sub_dim.max(1));
        assert!(
            sub_dim > 0 && out.len().is_multiple_of(spaces * CENTROIDS) && out.len() * sub_dim == centroids.len(),
            "{} components and centroids of {} numbers, {sub_dim} each, do not make {} distances",
            vector.len(),
            centroids.len(),
            out.len()
        );
        (self.centroid_distances)(vector, centroids, sub_dim, out);
    }

    /// Inner products of each of the `vectors` of `width` levels 0..=255 with each of the `rows` of as many numbers
    /// -127..=127: exact; `out` is vectors x rows. The width is whole lines, at most 2^16 numbers.
    #[inline]
    pub fn u8i8_products(&self, vectors: &[u8], rows: &[i8], width: usize, out: &mut [i32]) {
        assert!(
            width > 0
                && width.is_multiple_of(LINE_BYTES)
                && width <= 1 << 16
                && vectors.len().is_multiple_of(width)
                && rows.len().is_multiple_of(width)
                && out.len() == vectors.len() / width * (rows.len() / width),
            "{} levels and {} numbers in rows of {width} do not make {} products",
            vectors.len(),
            rows.len(),
            out.len()
        );
        (self.u8i8_products)(vectors, rows, width, out);
    }
}

impl CodeKernels {
    /// For each of the `rows` of 7-bit levels and each column `c`, `|c|² - 2 <row, c>`: the squared distance less `|row|²`,
    /// which orders the columns alike. `out` is rows x [`count`](TileColumns::count). Fastest where `out` is
    /// [`Aligned`](crate::Aligned).
    pub fn u7_tile(&self, rows: &[u8], columns: &TileColumns, out: &mut [i32]) {
        let count = columns.count();
        let width = columns.levels.len() / count.max(1);
        assert!(
            count > 0 && rows.len().is_multiple_of(width) && out.len() == rows.len() / width * count,
            "rows of {} levels and {count} columns of {width} do not make {} scores",
            rows.len(),
            out.len()
        );
        (self.u7_tile)(rows, &columns.levels, &columns.norms, out);
    }

    /// Rows that [`u7_tile`](Self::u7_tile) should be given at a time where the columns are many: so few that their scores stay in
    /// a cache, so many that a column read once serves several of them.
    pub fn u7_tile_rows(&self) -> usize {
        if self.tier == Tier::Amx { 32 } else { 8 }
    }

    /// Inner products of all `rows` with all `columns`, of as many components, to `out`, which is rows x
    /// [`count`](Columns::count): faster than [`Kernels::inner_product_tile`](crate::Kernels::inner_product_tile), but off from
    /// the exact product by up to [`products_error`]`(d) |q| |x|`. A pair's product is the same whatever stands beside it, and on every
    /// tier but the portable one, which does not fuse multiply-adds.
    pub fn products_tile(&self, columns: &Columns, rows: &[f32], out: &mut [f32]) {
        let (d, count) = (columns.d, columns.count());
        assert!(
            count > 0 && rows.len().is_multiple_of(d) && out.len() == rows.len() / d * count,
            "rows of {} components and {count} columns of {d} do not make {} products",
            rows.len(),
            out.len()
        );
        (self.products)(&columns.components, rows, d, out);
    }

    /// Replaces a vector, whose length is a power of two, by its Walsh and Hadamard transform: component `i` becomes the sum of
    /// all components `j`, negated where `i & j` has an odd number of bits. Its length grows by the root of that of the vector.
    #[inline]
    pub fn hadamard(&self, vector: &mut [f32]) {
        assert!(vector.len().is_power_of_two(), "{} components are no power of two", vector.len());
        (self.hadamard)(vector);
    }
}

impl fmt::Debug for CodeKernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeKernels").field("tier", &self.tier).finish_non_exhaustive()
    }
}

/// What [`CodeKernels::products_tile`] may be off by for vectors of length 1 and `d` components, and what sums of squares in four
/// lanes or more may: as many roundings follow a term on its way, at most.
pub fn products_error(d: usize) -> f32 {
    (d.min(PANEL) as f32 + d as f32 / 4.0 + 8.0) * (f32::EPSILON / 2.0)
}

/// The query byte of the `u4` kernel for a component at `x` levels (level c of a code stands for components from c to
/// c + 1): its distance to the middle of level 0 in steps of 1/8, clamped to the range of the levels.
#[inline]
pub fn u4_query_level(x: f32) -> i8 {
    // Not negative any more, so to cut off is to round down.
    ((x * 8.0).clamp(0.0, 127.0) as i32 - 4) as i8
}

/// The kernels for codes of this process: the best this CPU can run, or the tier `NEARLAB_SIMD` names. Chosen at the first
/// call.
#[inline]
pub fn code_kernels() -> &'static CodeKernels {
    static CHOSEN: OnceLock<&'static CodeKernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let forced = std::env::var_os(crate::OVERRIDE_VARIABLE).is_some_and(|tier| !tier.is_empty());
        // A tier that is named was found by `kernels()` or refused by it with a sentence. Its kernels for codes may be
        // missing where a CPU has AVX-512 without the rest; AVX2's are the next.
        let highest = if forced { kernels().tier() } else { Tier::Amx };
        arch::codes_by_preference().find(|codes| codes.tier <= highest).unwrap_or(&arch::PORTABLE_CODES)
    })
}

/// The kernels for codes of every tier this CPU can run, best first. Always ends with [`Tier::Portable`].
pub fn available_codes() -> impl Iterator<Item = &'static CodeKernels> {
    arch::codes_by_preference()
}

/// Asks for the cache lines that hold `row`, all of them: a hint that changes no result.
#[inline]
pub fn prefetch<T>(row: &[T]) {
    let start: *const u8 = row.as_ptr().cast();
    let into_line = start.addr() % LINE_BYTES;
    arch::prefetch(start.wrapping_sub(into_line), size_of_val(row) + into_line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_levels_are_eighths_around_the_middle_and_clamped() {
        let levels = [-3.0, 0.0, 0.49, 0.5, 1.0, 15.99, 16.0, f32::INFINITY, f32::NAN].map(u4_query_level);
        assert_eq!(levels, [-4, -4, -1, 0, 4, 123, 123, 123, -4]);
    }

    #[test]
    fn a_table_is_shown_by_its_tier_and_the_portable_one_comes_last() {
        let last = available_codes().last().unwrap();
        assert_eq!(format!("{last:?}"), "CodeKernels { tier: Portable, .. }");
        assert!(available_codes().any(|codes| codes.tier() == code_kernels().tier()));
    }

    #[test]
    fn prefetching_changes_nothing() {
        prefetch(&[1.0_f32; 100]);
        prefetch::<u8>(&[]);
    }
}

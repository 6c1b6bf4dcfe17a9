//! Many codes against many on AMX (Sapphire Rapids and later): a register is a tile, 16 rows of 64 bytes, and one instruction
//! multiplies a tile of rows with a tile of columns. All else is AVX-512's.
//!
//! Tiles are set up and given up within a call, so that no thread carries them from one turn on the CPU to the next. The
//! compiler has no stable intrinsics for them, hence the assembly.

#![expect(unsafe_code, reason = "tiles are loaded and stored through pointers, by assembly")]

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::mem::transmute;
use std::sync::OnceLock;

use super::avx512_codes::{self, UnprovenTile};
use crate::aligned::Aligned;
use crate::codes::{CodeKernels, LINE_BYTES, Tile};
use crate::kernels::Tier;
use crate::tile_columns::TILE_COLUMNS;

/// The table, where the CPU can run it and the system lets the process: the only way to it.
pub(super) fn detect() -> Option<&'static CodeKernels> {
    static CODES: OnceLock<Option<CodeKernels>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        let avx512 = avx512_codes::detect().filter(|_| has_tiles() && permitted())?;
        // SAFETY: `unsafe fn` and `fn` pointers have one representation and one ABI; what the function needs was found.
        let u7_tile = unsafe { transmute::<UnprovenTile, Tile>(u7_tile) };
        Some(CodeKernels { tier: Tier::Amx, u7_tile, ..*avx512 })
    });
    codes.as_ref()
}

/// Whether the CPU has tiles, and products of bytes in them. Where it has AVX-512, it has leaf 7 too.
fn has_tiles() -> bool {
    const TILE_AND_INT8: u32 = 0b11 << 24;
    __cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8
}

/// Whether the process may use tiles. Linux has it ask (`arch_prctl(ARCH_REQ_XCOMP_PERM)`), since 5.16, once for all its threads.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call changes no memory of the process; an older system answers that it does not know it.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Rows of a tile.
const ROWS: usize = 16;
/// Tiles of rows, and blocks of columns, whose products are summed up side by side: four sums for four loads.
const TILES: usize = 2;

/// What `ldtilecfg` reads: palette 1, and the shape of each tile.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 8],
    reserved_row_bytes: [u8; 16],
    rows: [u8; 8],
    reserved_rows: [u8; 8],
}

impl Shapes {
    /// Tiles 0 to 3 hold sums, two for each block of columns; 4 and 5 the rows, those beyond the first 16 in the second, or the
    /// first again; 6 and 7 the columns.
    fn of(rows: usize) -> Self {
        let first = rows.min(ROWS) as u8;
        let second = if rows > ROWS { (rows - ROWS) as u8 } else { first };
        Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [LINE_BYTES as u16; 8],
            reserved_row_bytes: [0; 16],
            rows: [first, second, first, second, first, second, ROWS as u8, ROWS as u8],
            reserved_rows: [0; 8],
        }
    }
}

#[target_feature(enable = "avx512f")]
fn u7_tile(rows: &[u8], columns: &[u8], norms: &[i32], out: &mut [i32]) {
    let count = norms.len();
    let width = columns.len() / count;
    // Sums begin with the norms, and what is added is to be taken off.
    let mut negated = Aligned::default();
    negated.resize(rows.len().min(TILES * ROWS * width));
    let chunks = rows.chunks(TILES * ROWS * width).zip(out.chunks_mut(TILES * ROWS * count));
    for (rows, out) in chunks {
        negated.iter_mut().zip(rows).for_each(|(negated, &level)| *negated = level.wrapping_neg());
        let rows = &negated[..rows.len()];
        let shapes = Shapes::of(rows.len() / width);
        // SAFETY: the CPU has tiles, the process may use them, and these are 64 readable bytes of a valid shape.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
        let blocks = columns.chunks(TILES * TILE_COLUMNS * width).zip(norms.chunks(TILES * TILE_COLUMNS));
        for (pair, (columns, norms)) in blocks.enumerate() {
            // SAFETY: the tiles were shaped for these rows, whose levels are of 7 bits.
            unsafe { scores((rows, columns), norms, width, &mut out[pair * TILES * TILE_COLUMNS..], count) };
        }
    }
    // SAFETY: gives up what was set up above.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Writes the norms of the 16 columns of one block or of two, and to that their products with up to 32 `rows`; those of row `r` go
/// to `out[r * stride..]`. For a second tile or block that is not there, those of the first are repeated.
///
/// # Safety
///
/// The tiles have been shaped for so many rows.
#[inline]
unsafe fn scores((rows, columns): (&[u8], &[u8]), norms: &[i32], width: usize, out: &mut [i32], stride: usize) {
    let (tile, block, row_count) = (ROWS * width, TILE_COLUMNS * width, rows.len() / width);
    assert!(
        rows.len() <= TILES * tile && columns.len() == norms.len() * width && width.is_multiple_of(LINE_BYTES),
        "tiles of whole lines"
    );
    assert!(matches!(norms.len(), 16 | 32) && out.len() >= (row_count - 1) * stride + norms.len(), "room for scores");
    let is_second = columns.len() > block;
    let (other_row, other_out) = if row_count > ROWS { (tile, ROWS * stride) } else { (0, 0) };
    let out = out.as_mut_ptr();
    // SAFETY: by their shapes tiles 4 and 5 read a line of each row that is there, and 6 and 7 sixteen groups of a block, which
    // lie one after another; line by line that is all of them. Sums begin with the same 16 norms in each row, and are
    // stored to 16 places of each row.
    unsafe {
        asm!(
            "tileloadd tmm0, [{norms} + {line}]",
            "tileloadd tmm1, [{norms} + {line}]",
            "add {norms}, {second}",
            "tileloadd tmm2, [{norms} + {line}]",
            "tileloadd tmm3, [{norms} + {line}]",
            "mov {line:e}, 64",
            "2:",
            "tileloadd tmm4, [{row} + {row_stride}]",
            "tileloadd tmm6, [{column} + {line}]",
            "tileloadd tmm5, [{other_row} + {row_stride}]",
            "tileloadd tmm7, [{other_column} + {line}]",
            "tdpbsud tmm0, tmm4, tmm6",
            "tdpbsud tmm1, tmm5, tmm6",
            "tdpbsud tmm2, tmm4, tmm7",
            "tdpbsud tmm3, tmm5, tmm7",
            "add {row}, 64",
            "add {other_row}, 64",
            "add {column}, 1024",
            "add {other_column}, 1024",
            "dec {lines}",
            "jnz 2b",
            "tilestored [{out} + {out_stride}], tmm0",
            "tilestored [{other_out} + {out_stride}], tmm1",
            "add {out}, {second}",
            "add {other_out}, {second}",
            "tilestored [{out} + {out_stride}], tmm2",
            "tilestored [{other_out} + {out_stride}], tmm3",
            row = inout(reg) rows.as_ptr() => _,
            other_row = inout(reg) rows[other_row..].as_ptr() => _,
            column = inout(reg) columns.as_ptr() => _,
            other_column = inout(reg) columns[if is_second { block } else { 0 }..].as_ptr() => _,
            norms = inout(reg) norms.as_ptr() => _,
            lines = inout(reg) width / LINE_BYTES => _,
            row_stride = in(reg) width,
            line = inout(reg) 0_usize => _,
            // Bytes from the norms and scores of one block to those of the next.
            second = in(reg) if is_second { LINE_BYTES } else { 0 },
            out = inout(reg) out => _,
            other_out = inout(reg) out.wrapping_add(other_out) => _,
            out_stride = in(reg) stride * size_of::<i32>(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}

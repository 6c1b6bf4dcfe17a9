//! What one core of this machine can do at most: bytes read, and terms of a sum computed in registers. Each is the best of
//! some rounds, by the thread's processor time.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "a ceiling is that of the widest instructions, wherever the CPU has them")
)]

use std::hint::black_box;
use std::time::Duration;

use crate::{Line, processor_time, random};

/// Rounds of which the best counts last so long together, at least.
const ROUNDS: Duration = Duration::from_millis(500);
/// Bytes read, and steps computed, in a round at least: some milliseconds.
const BYTES: usize = 64 << 20;
const STEPS: usize = 1 << 18;
/// Rows by id are asked for so many ahead, as kernels or their callers do.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 8;
/// Sums that are independent of each other: enough to hide any latency.
#[cfg(target_arch = "x86_64")]
const CHAINS: usize = 16;

/// How rows lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    /// One after another, in a buffer of so many bytes.
    Streamed(usize),
    /// `row` bytes each, anywhere in a buffer of `buffer` bytes, by ids that are known in advance.
    Gathered {
        /// Bytes of the buffer.
        buffer: usize,
        /// Bytes of a row.
        row: usize,
    },
}

/// The steps that sums are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term {
    /// A multiplication and an addition of `f32`.
    Fma,
    /// A product of two bytes, and its addition to a sum of 32 bits.
    ByteProduct,
    /// The same between many rows and many columns, for which a CPU may have instructions of their own.
    TiledByteProduct,
    /// A product of two bits, counted.
    BitProduct,
    /// A byte of a table of 16, and its addition to a sum of 8 bits.
    Lookup,
}

/// Bytes that are read in a second.
pub fn bytes_per_second(access: Access) -> f64 {
    let (buffer, row) = match access {
        Access::Streamed(buffer) => (buffer, buffer),
        Access::Gathered { buffer, row } => (buffer, row),
    };
    let lines = vec![Line([1; 8]); buffer / 64];
    let row = row / 64;
    let rows = lines.len() / row;
    let mut state = 1;
    let starts: Vec<usize> =
        (0..rows).map(|i| if rows == 1 { i } else { random(&mut state) as usize % rows } * row).collect();
    let passes = BYTES.div_ceil(buffer);
    best(passes * rows * row * 64, || {
        for _ in 0..passes {
            black_box(read(black_box(&lines), black_box(&starts), row));
        }
    })
}

/// Terms that are computed in a second, where there is an instruction for them and it is known here.
pub fn terms_per_second(term: Term) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let (width, run) = x86_64::widest(term)?;
        // SAFETY: `widest` gives out functions whose features this CPU has.
        Some(best(STEPS * CHAINS * width, || unsafe { run() }))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // Eight sums of four lanes, which the compiler keeps in registers where a fused multiply-add is one instruction.
        let run = || {
            let (a, b, mut sums) = (black_box([0.5_f32; 4]), black_box([0.25_f32; 4]), black_box([[0.0_f32; 4]; 8]));
            for _ in 0..STEPS {
                for sum in &mut sums {
                    for i in 0..4 {
                        sum[i] = a[i].mul_add(b[i], sum[i]);
                    }
                }
            }
            black_box(sums);
        };
        (term == Term::Fma).then(|| best(STEPS * 8 * 4, run))
    }
}

/// `count` by the seconds of the fastest round.
fn best(count: usize, mut run: impl FnMut()) -> f64 {
    let (mut least, mut all) = (Duration::MAX, Duration::ZERO);
    while all < ROUNDS {
        let taken = processor_time(&mut run);
        (least, all) = (least.min(taken), all + taken);
    }
    count as f64 / least.as_secs_f64()
}

/// Reads `row` lines from each of the `starts`.
fn read(lines: &[Line], starts: &[usize], row: usize) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { x86_64::read(lines, starts, row) };
    }
    starts
        .iter()
        .flat_map(|&start| &lines[start..start + row])
        .fold(0, |all, line| line.0.iter().fold(all, |all, word| all ^ word))
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi8, _mm256_add_epi32, _mm256_extract_epi64, _mm256_fmadd_ps, _mm256_load_si256,
        _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_xor_si256, _mm512_add_epi8,
        _mm512_add_epi64, _mm512_and_si512, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_popcnt_epi64,
        _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_epi8,
    };
    use std::hint::black_box;

    use nearlab_simd::{Tier, code_kernels, prefetch};

    use super::{AHEAD, CHAINS, Line, STEPS, Term};

    /// Of 16 rows of 64 bytes with as many columns.
    const TILE_PRODUCTS: usize = 16 * 16 * 64;

    /// The terms of an instruction, and the function that computes [`CHAINS`] times so many in each of [`STEPS`] steps.
    pub(super) fn widest(term: Term) -> Option<(usize, unsafe fn())> {
        let wide = is_x86_feature_detected!("avx512f");
        let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match term {
            Term::Fma if wide => Some((16, fma_512)),
            Term::Fma if narrow => Some((8, fma_256)),
            Term::ByteProduct if wide && is_x86_feature_detected!("avx512vnni") => Some((64, bytes_512)),
            Term::ByteProduct if narrow => Some((32, bytes_256)),
            Term::TiledByteProduct if code_kernels().tier() == Tier::Amx => Some((TILE_PRODUCTS, tiles)),
            Term::TiledByteProduct => widest(Term::ByteProduct),
            Term::BitProduct if wide && is_x86_feature_detected!("avx512vpopcntdq") => Some((512, bits_512)),
            Term::Lookup if wide && is_x86_feature_detected!("avx512bw") => Some((64, lookups_512)),
            Term::Lookup if narrow => Some((32, lookups_256)),
            Term::Fma | Term::ByteProduct | Term::BitProduct | Term::Lookup => None,
        }
    }

    /// Half a line at a time, into eight sums.
    #[target_feature(enable = "avx2")]
    pub(super) fn read(lines: &[Line], starts: &[usize], row: usize) -> u64 {
        let mut sums = [_mm256_setzero_si256(); 8];
        for (i, &start) in starts.iter().enumerate() {
            if let Some(&ahead) = starts.get(i + AHEAD) {
                prefetch(&lines[ahead..ahead + row.min(4)]);
            }
            let (blocks, rest) = lines[start..start + row].as_chunks::<4>();
            for block in blocks {
                for i in 0..8 {
                    sums[i] = _mm256_xor_si256(sums[i], half(&block[i / 2], i % 2));
                }
            }
            for line in rest {
                sums[0] = _mm256_xor_si256(sums[0], half(line, 0));
                sums[1] = _mm256_xor_si256(sums[1], half(line, 1));
            }
        }
        let all = sums.into_iter().fold(_mm256_setzero_si256(), |all, sum| _mm256_xor_si256(all, sum));
        _mm256_extract_epi64::<0>(all) as u64
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn half(line: &Line, half: usize) -> __m256i {
        let half: &[u64; 4] = &line.0.as_chunks().0[half];
        // SAFETY: 32 readable bytes, at a multiple of 32 as lines begin at multiples of 64.
        unsafe { _mm256_load_si256(half.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    fn fma_512() {
        let (a, b) = black_box((_mm512_set1_ps(0.5), _mm512_set1_ps(0.25)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    fn fma_256() {
        let (a, b) = black_box((_mm256_set1_ps(0.5), _mm256_set1_ps(0.25)));
        let mut sums = [_mm256_setzero_ps(); CHAINS - 2];
        for _ in 0..STEPS * CHAINS / (CHAINS - 2) {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(a, b, *sum);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn bytes_512() {
        let (a, b) = black_box((_mm512_set1_epi8(3), _mm512_set1_epi8(5)));
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    fn bytes_256() {
        let (a, ones) = black_box((_mm256_set1_epi8(3), _mm256_set1_epi16(1)));
        let mut sums = [_mm256_setzero_si256(); CHAINS / 2];
        for _ in 0..2 * STEPS {
            for sum in &mut sums {
                // The sum is a factor so that no step can be taken out of the loop.
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, *sum), ones));
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn lookups_512() {
        let table = black_box(_mm512_set1_epi8(3));
        let mut sums = [_mm512_set1_epi8(1); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_add_epi8(*sum, _mm512_shuffle_epi8(table, *sum));
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    fn lookups_256() {
        let table = black_box(_mm256_set1_epi8(3));
        let mut sums = [_mm256_set1_epi8(1); CHAINS / 2];
        for _ in 0..2 * STEPS {
            for sum in &mut sums {
                *sum = _mm256_add_epi8(*sum, _mm256_shuffle_epi8(table, *sum));
            }
        }
        black_box(sums);
    }

    /// Four sums, as the registers for tiles are eight, one after the other.
    ///
    /// # Safety
    ///
    /// The CPU has tiles, and the process may use them, as it may once kernels were chosen that do.
    unsafe fn tiles() {
        let used = |value: u8| std::array::from_fn(|tile| if tile < 8 { value } else { 0 });
        let shapes = Shapes { palette: 1, other: [0; 15], row_bytes: used(64).map(u16::from), rows: used(16) };
        // SAFETY: by the caller; these are 64 readable bytes of a valid shape, no memory is written, and the tiles are given up at
        // the end.
        unsafe {
            asm!(
                "ldtilecfg [{shapes}]",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "tilezero tmm4",
                "tilezero tmm5",
                "2:",
                "tdpbuud tmm0, tmm4, tmm5",
                "tdpbuud tmm1, tmm4, tmm5",
                "tdpbuud tmm2, tmm4, tmm5",
                "tdpbuud tmm3, tmm4, tmm5",
                "dec {steps}",
                "jnz 2b",
                "tilerelease",
                shapes = in(reg) &raw const shapes,
                steps = inout(reg) STEPS * CHAINS / 4 => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
                options(nostack, readonly)
            );
        }
    }

    /// What `ldtilecfg` reads: there are eight tiles, and room for twice as many.
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        other: [u8; 15],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn bits_512() {
        let a = black_box(_mm512_set1_epi8(85));
        let mut sums = [_mm512_set1_epi8(3); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_add_epi64(*sum, _mm512_popcnt_epi64(_mm512_and_si512(a, *sum)));
            }
        }
        black_box(sums);
    }
}

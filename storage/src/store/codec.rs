//! How a block of rows is packed: its bytes are sorted into planes by their place in an element, and a library compresses each.
//!
//! Shuffling puts the first bytes of all elements together, then all second ones, and so on (the filter of HDF5 and of Blosc).
//! The exponents of floats, which are much alike, come to stand side by side; of the mantissas hardly anything can be saved.
//! Each plane is compressed by itself, so that the noise of some does not spoil the statistics of others, and is kept as it is
//! where it does not shrink.

use std::cell::RefCell;
use std::fmt;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

use super::StoreError;

/// The library that compresses the blocks of packed segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// LZ4: fast both ways, saves little.
    Lz4,
    /// Zstandard: saves more.
    Zstd {
        /// From 1, fast, to 19, thorough. Unpacking takes as long at any.
        level: i32,
    },
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd { level } => write!(f, "zstd {level}"),
        }
    }
}

impl Codec {
    pub(super) fn check(self) -> Result<(), StoreError> {
        match self {
            Self::Zstd { level } if !(1..=19).contains(&level) => {
                Err(StoreError::param("level", "from 1 to 19", level))
            }
            _ => Ok(()),
        }
    }
}

/// How the blocks of a packed file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packing {
    pub(super) library: Library,
    /// Bytes of the elements that were shuffled; 1 where none were.
    pub(super) width: u32,
}

/// What unpacks a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    Lz4 = 1,
    Zstd = 2,
}

impl Packing {
    pub(super) fn of(codec: Codec, width: usize) -> Self {
        let library = match codec {
            Codec::Lz4 => Library::Lz4,
            Codec::Zstd { .. } => Library::Zstd,
        };
        Self { library, width: width as u32 }
    }

    /// Unpacks the bytes of a block into `rows`, which they fill. What is wrong with them, in words.
    pub(super) fn unpack(self, stored: &[u8], rows: &mut [u8]) -> Result<(), String> {
        // It did not shrink.
        if stored.len() == rows.len() {
            rows.copy_from_slice(stored);
            return Ok(());
        }
        if self.width == 1 {
            return self.expand(stored, rows);
        }
        SHUFFLED.with_borrow_mut(|shuffled| {
            shuffled.resize(rows.len(), 0);
            self.expand_planes(stored, shuffled)?;
            unshuffle(shuffled, self.width as usize, rows);
            Ok(())
        })
    }

    /// Expands the planes of a block: their lengths, then each of them.
    fn expand_planes(self, stored: &[u8], planes: &mut [u8]) -> Result<(), String> {
        let width = self.width as usize;
        let short = || "the end of the block".to_owned();
        let (lengths, mut rest) = stored.split_at_checked(4 * width).ok_or_else(short)?;
        let len = planes.len() / width;
        for (packed, plane) in lengths.as_chunks().0.iter().zip(planes.chunks_exact_mut(len)) {
            let (packed, after) = rest.split_at_checked(u32::from_le_bytes(*packed) as usize).ok_or_else(short)?;
            rest = after;
            if packed.len() == len {
                plane.copy_from_slice(packed);
            } else {
                self.expand(packed, plane)?;
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes after the last plane", rest.len())) }
    }

    fn expand(self, stored: &[u8], bytes: &mut [u8]) -> Result<(), String> {
        let len = match self.library {
            Library::Lz4 => lz4_flex::block::decompress_into(stored, bytes).map_err(|cause| cause.to_string())?,
            Library::Zstd => ZSTD.with_borrow_mut(|zstd| {
                let zstd = match zstd {
                    Some(zstd) => zstd,
                    none => none.insert(Decompressor::new().map_err(|cause| cause.to_string())?),
                };
                zstd.decompress_to_buffer(stored, bytes).map_err(|cause| cause.to_string())
            })?,
        };
        if len == bytes.len() { Ok(()) } else { Err(format!("{len} bytes")) }
    }
}

thread_local! {
    /// Planes that are to be put in order: as long as a block.
    static SHUFFLED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Its tables take a while to make.
    static ZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Packs block after block.
pub(super) struct Packer {
    packing: Packing,
    shuffled: Vec<u8>,
    zstd: Option<Compressor<'static>>,
    packed: Vec<u8>,
}

impl Packer {
    pub(super) fn new(codec: Codec, width: usize) -> io::Result<Self> {
        let zstd = match codec {
            Codec::Lz4 => None,
            Codec::Zstd { level } => Some(Compressor::new(level)?),
        };
        Ok(Self { packing: Packing::of(codec, width), shuffled: Vec::new(), zstd, packed: Vec::new() })
    }

    pub(super) fn packing(&self) -> Packing {
        self.packing
    }

    /// The bytes to keep of a block: packed, or as they are where that is not shorter.
    pub(super) fn pack<'a>(&'a mut self, rows: &'a [u8]) -> io::Result<&'a [u8]> {
        let width = self.packing.width as usize;
        self.packed.clear();
        if width == 1 {
            self.compress(rows)?;
        } else {
            let mut planes = std::mem::take(&mut self.shuffled);
            planes.resize(rows.len(), 0);
            shuffle(rows, width, &mut planes);
            self.packed.resize(4 * width, 0);
            for (i, plane) in planes.chunks_exact(rows.len() / width).enumerate() {
                let len = self.compress(plane)? as u32;
                self.packed[4 * i..4 * i + 4].copy_from_slice(&len.to_le_bytes());
            }
            self.shuffled = planes;
        }
        Ok(if self.packed.len() < rows.len() { &self.packed } else { rows })
    }

    /// Appends a plane to what is packed, as it is where it does not shrink; how many bytes.
    fn compress(&mut self, plane: &[u8]) -> io::Result<usize> {
        let start = self.packed.len();
        let most = zstd::zstd_safe::compress_bound(plane.len());
        self.packed.resize(start + most.max(lz4_flex::block::get_maximum_output_size(plane.len())), 0);
        let packed = &mut self.packed[start..];
        let mut len = if let Some(zstd) = &mut self.zstd {
            zstd.compress_to_buffer(plane, packed)?
        } else {
            lz4_flex::block::compress_into(plane, packed).map_err(io::Error::other)?
        };
        if len >= plane.len() {
            len = plane.len();
            packed[..len].copy_from_slice(plane);
        }
        self.packed.truncate(start + len);
        Ok(len)
    }
}

/// Puts the first bytes of all elements first, then all second ones, and so on. Elements of `width` bytes fill the slices.
fn shuffle(elements: &[u8], width: usize, shuffled: &mut [u8]) {
    // By shifts, and not by the bytes' places: so the compiler finds vector instructions.
    match width {
        2 => gather(elements, shuffled, |element, place| (u16::from_le_bytes(element) >> (8 * place)) as u8),
        4 => gather(elements, shuffled, |element, place| (u32::from_le_bytes(element) >> (8 * place)) as u8),
        width => unreachable!("there are no elements of {width} bytes to shuffle"),
    }
}

fn gather<const WIDTH: usize>(elements: &[u8], shuffled: &mut [u8], byte: impl Fn([u8; WIDTH], usize) -> u8) {
    let (elements, _) = elements.as_chunks::<WIDTH>();
    for (place, bytes) in shuffled.chunks_exact_mut(elements.len()).enumerate() {
        for (to, element) in bytes.iter_mut().zip(elements) {
            *to = byte(*element, place);
        }
    }
}

/// Undoes [`shuffle`].
fn unshuffle(shuffled: &[u8], width: usize, elements: &mut [u8]) {
    let count = elements.len() / width;
    match width {
        2 => {
            let (low, high) = shuffled[..2 * count].split_at(count);
            for (i, element) in elements.as_chunks_mut().0.iter_mut().enumerate().take(low.len().min(high.len())) {
                *element = (u16::from(low[i]) | u16::from(high[i]) << 8).to_le_bytes();
            }
        }
        4 => {
            let (low, high) = shuffled[..4 * count].split_at(2 * count);
            let ((a, b), (c, d)) = (low.split_at(count), high.split_at(count));
            let count = a.len().min(b.len()).min(c.len()).min(d.len());
            for (i, element) in elements.as_chunks_mut().0.iter_mut().enumerate().take(count) {
                let [a, b, c, d] = [a[i], b[i], c[i], d[i]].map(u32::from);
                *element = (a | b << 8 | c << 16 | d << 24).to_le_bytes();
            }
        }
        width => unreachable!("there are no elements of {width} bytes to put in order"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Codec; 3] = [Codec::Lz4, Codec::Zstd { level: 1 }, Codec::Zstd { level: 19 }];

    /// Bytes of floats that are much alike.
    fn alike(bytes: usize) -> Vec<u8> {
        (0..bytes / 4).flat_map(|i| (1.0 + (i * 37 % 101) as f32 / 8.0).to_le_bytes()).collect()
    }

    #[test]
    fn what_was_packed_is_unpacked_as_it_was() {
        for codec in CODECS {
            for width in [1, 2, 4] {
                let mut packer = Packer::new(codec, width).unwrap();
                for bytes in [4, 400, 40_000] {
                    let rows = alike(bytes);
                    let stored = packer.pack(&rows).unwrap().to_vec();
                    assert!(bytes < 1000 || stored.len() < bytes / 2, "{codec}, {width}: {} of {bytes}", stored.len());
                    let mut back = vec![7; bytes];
                    packer.packing().unpack(&stored, &mut back).unwrap();
                    assert!(back == rows, "{codec}, elements of {width} bytes");
                }
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_kept_as_it_is() {
        let noise: Vec<u8> = (0..4096_u64).map(|i| (xxhash_rust::xxh3::xxh3_64_with_seed(b"", i)) as u8).collect();
        for codec in CODECS {
            assert_eq!(Packer::new(codec, 4).unwrap().pack(&noise).unwrap(), noise);
        }
    }

    #[test]
    fn bytes_that_nobody_packed_are_refused() {
        for codec in CODECS {
            let mut packer = Packer::new(codec, 4).unwrap();
            let stored = packer.pack(&alike(4000)).unwrap().to_vec();
            let packing = packer.packing();
            let mut rows = vec![0; 4000];
            assert!(packing.unpack(&stored[..stored.len() - 1], &mut rows).is_err());
            assert!(packing.unpack(&[], &mut rows).is_err());
            assert!(packing.unpack(&[0xff; 100], &mut rows).is_err());
            assert!(packing.unpack(&stored, &mut vec![0; 4004]).is_err());
            assert!(packing.unpack(&stored, &mut vec![0; 3996]).is_err());
        }
    }
}

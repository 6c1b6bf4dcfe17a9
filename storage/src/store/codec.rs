//! How a block of rows is packed: its bytes are sorted by their place in an element, then a library compresses them.
//!
//! Shuffling puts the first bytes of all elements together, then all second ones, and so on (the filter of HDF5 and of Blosc).
//! The exponents of floats, which are much alike, come to stand side by side; of the mantissas hardly anything can be saved.

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
            self.expand(stored, shuffled)?;
            unshuffle(shuffled, self.width as usize, rows);
            Ok(())
        })
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
    /// What was expanded and is to be put in order: as long as a block.
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
        let plain = if self.packing.width == 1 {
            rows
        } else {
            self.shuffled.resize(rows.len(), 0);
            shuffle(rows, self.packing.width as usize, &mut self.shuffled);
            &self.shuffled
        };
        let len = if let Some(zstd) = &mut self.zstd {
            self.packed.resize(zstd::zstd_safe::compress_bound(plain.len()), 0);
            zstd.compress_to_buffer(plain, &mut self.packed[..])?
        } else {
            self.packed.resize(lz4_flex::block::get_maximum_output_size(plain.len()), 0);
            lz4_flex::block::compress_into(plain, &mut self.packed).map_err(io::Error::other)?
        };
        Ok(if len < rows.len() { &self.packed[..len] } else { rows })
    }
}

/// Puts the first bytes of all elements first, then all second ones, and so on. Elements of `width` bytes fill the slices.
fn shuffle(elements: &[u8], width: usize, shuffled: &mut [u8]) {
    let count = elements.len() / width;
    match width {
        2 => gather::<2>(elements, count, shuffled),
        4 => gather::<4>(elements, count, shuffled),
        width => unreachable!("there are no elements of {width} bytes to shuffle"),
    }
}

fn gather<const WIDTH: usize>(elements: &[u8], count: usize, shuffled: &mut [u8]) {
    let (elements, _) = elements.as_chunks::<WIDTH>();
    for (place, bytes) in shuffled.chunks_exact_mut(count).enumerate() {
        for (byte, element) in bytes.iter_mut().zip(elements) {
            *byte = element[place];
        }
    }
}

/// Undoes [`shuffle`].
fn unshuffle(shuffled: &[u8], width: usize, elements: &mut [u8]) {
    let count = elements.len() / width;
    match width {
        2 => {
            let (low, high) = shuffled.split_at(count);
            for ((element, low), high) in elements.as_chunks_mut().0.iter_mut().zip(low).zip(high) {
                *element = [*low, *high];
            }
        }
        4 => {
            let (low, high) = shuffled.split_at(2 * count);
            let ((a, b), (c, d)) = (low.split_at(count), high.split_at(count));
            for ((((element, a), b), c), d) in elements.as_chunks_mut().0.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *element = [*a, *b, *c, *d];
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
            assert!(packing.unpack(&stored, &mut vec![0; 4004]).unwrap_err().contains("4000 bytes"));
            assert!(packing.unpack(&stored, &mut vec![0; 3996]).is_err());
        }
    }
}

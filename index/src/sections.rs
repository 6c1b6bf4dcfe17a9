//! What the files of all indexes share: the `header` section and checked reads of the others.
//!
//! Every index is one container of nearlab-storage. Its first section, `header`, is an array of u64:
//!
//! | word | content |
//! |---|---|
//! | 0 | n, the number of vectors |
//! | 1 | d, the dimension |
//! | 2 | metric: 0 L2, 1 inner product, 2 cosine |
//! | 3..7 | build counters: distance computations, hops, lists probed, bytes read |
//! | 7.. | the index's own words, listed in its `file.rs` |
//!
//! A section `vectors` holds the n x d components as f32; under cosine they are unit vectors.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use bytemuck::Pod;
use nearlab_simd::Metric;
use nearlab_storage::{Buffer, Container, ContainerWriter, FileKind, SectionId, Verify};

use crate::index::MAX_VECTORS;
use crate::{Counters, OpenError, SaveError};

const HEADER: SectionId = SectionId::new("header");
const VECTORS: SectionId = SectionId::new("vectors");
/// Words of the header that every index has.
const SHARED_WORDS: usize = 7;

/// What every index's file says about itself.
pub(crate) struct Header {
    pub(crate) len: usize,
    pub(crate) dim: usize,
    pub(crate) metric: Metric,
    pub(crate) counters: Counters,
}

/// Writes an index's file.
pub(crate) struct Writer(ContainerWriter);

impl Writer {
    /// Begins the file with the header, `own` words last.
    pub(crate) fn create(
        path: &Path,
        (kind, version): (FileKind, u32),
        header: &Header,
        own: &[u64],
    ) -> Result<Self, SaveError> {
        let mut writer = ContainerWriter::create(path, kind, version)?;
        let counters = &header.counters;
        let mut words = vec![
            header.len as u64,
            header.dim as u64,
            metric_code(header.metric),
            counters.distance_computations,
            counters.hops,
            counters.lists_probed,
            counters.bytes_read,
        ];
        words.extend_from_slice(own);
        writer.section(HEADER, &words)?;
        Ok(Self(writer))
    }

    pub(crate) fn vectors(&mut self, vectors: &[f32]) -> Result<(), SaveError> {
        self.section(VECTORS, vectors)
    }

    pub(crate) fn section<T: Pod>(&mut self, id: SectionId, elements: &[T]) -> Result<(), SaveError> {
        self.0.section(id, elements)
    }

    pub(crate) fn finish(self) -> Result<(), SaveError> {
        self.0.finish()
    }
}

/// Reads an index's file, whose checksums are verified when it is opened.
pub(crate) struct Reader(Container);

impl Reader {
    /// Opens a file of `kind` in one of `versions`, and reads the part of its header that all indexes share.
    pub(crate) fn open(
        path: &Path,
        kind: FileKind,
        versions: RangeInclusive<u32>,
    ) -> Result<(Self, Header), OpenError> {
        let reader = Self(Container::open(path, kind, versions, Verify::Sections)?);
        let words = reader.0.buffer::<u64>(HEADER)?;
        if words.len() < SHARED_WORDS {
            let expected = format!("at least {SHARED_WORDS} words");
            return Err(reader.refuse(HEADER, expected, words.len().to_string()));
        }
        let len = reader.word(HEADER, "a number of vectors", words[0], 0..MAX_VECTORS as u64 + 1)?;
        let dim = reader.word(HEADER, "a dimension", words[1], 1..u64::from(u32::MAX))?;
        let metric = Metric::ALL[reader.word(HEADER, "a metric", words[2], 0..Metric::ALL.len() as u64)?];
        let counters =
            Counters { distance_computations: words[3], hops: words[4], lists_probed: words[5], bytes_read: words[6] };
        Ok((reader, Header { len, dim, metric, counters }))
    }

    /// The format's version.
    pub(crate) fn version(&self) -> u32 {
        self.0.version()
    }

    /// The words of the header that are the index's own: exactly `OWN`.
    pub(crate) fn own_words<const OWN: usize>(&self) -> Result<[u64; OWN], OpenError> {
        let words = self.buffer::<u64>(HEADER, SHARED_WORDS + OWN)?;
        let mut own = [0; OWN];
        own.copy_from_slice(&words[SHARED_WORDS..]);
        Ok(own)
    }

    /// The vectors of the index.
    pub(crate) fn vectors(&self, header: &Header) -> Result<Buffer<f32>, OpenError> {
        self.buffer(VECTORS, header.len * header.dim)
    }

    /// A section of exactly `len` elements.
    pub(crate) fn buffer<T: Pod>(&self, id: SectionId, len: usize) -> Result<Buffer<T>, OpenError> {
        self.0.buffer_of(id, len)
    }

    /// A word of the header, if it lies in `range`.
    pub(crate) fn header_word(&self, what: &str, word: u64, range: Range<u64>) -> Result<usize, OpenError> {
        self.word(HEADER, what, word, range)
    }

    /// Refuses the file because `section` does not hold what it must.
    pub(crate) fn refuse(&self, section: SectionId, expected: impl AsRef<str>, found: impl Display) -> OpenError {
        self.0.corrupt(section, expected.as_ref(), &found)
    }

    /// Refuses the file because what searches need besides it finds no memory.
    pub(crate) fn refuse_memory(&self) -> OpenError {
        OpenError::Io { path: self.0.path().to_owned(), cause: std::io::ErrorKind::OutOfMemory.into() }
    }

    /// Refuses the file because of its header.
    pub(crate) fn refuse_header(&self, expected: String, found: String) -> OpenError {
        self.refuse(HEADER, expected, found)
    }

    fn word(&self, section: SectionId, what: &str, word: u64, range: Range<u64>) -> Result<usize, OpenError> {
        if range.contains(&word) {
            return Ok(word as usize);
        }
        let expected = format!("{what} from {} to {}", range.start, range.end - 1);
        Err(self.refuse(section, expected, word))
    }
}

fn metric_code(metric: Metric) -> u64 {
    match metric {
        Metric::L2 => 0,
        Metric::InnerProduct => 1,
        Metric::Cosine => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FileKind = FileKind::new("test");

    fn written(words: &[u64], vectors: &[f32]) -> Result<(), OpenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut writer = ContainerWriter::create(&path, KIND, 1).unwrap();
        writer.section(HEADER, words).unwrap();
        writer.section(VECTORS, vectors).unwrap();
        writer.finish().unwrap();
        let (reader, header) = Reader::open(&path, KIND, 1..=1)?;
        let [own] = reader.own_words()?;
        assert_eq!(reader.header_word("a seventh", own, 7..8)?, 7);
        reader.vectors(&header).map(|_| ())
    }

    #[test]
    fn the_codes_are_the_places_in_the_list_of_metrics() {
        for (code, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric_code(metric), code as u64);
        }
    }

    #[test]
    fn every_word_of_the_header_is_checked() {
        let message = |words: &[u64]| written(words, &[0.0; 6]).unwrap_err().to_string();
        written(&[2, 3, 0, 0, 0, 0, 0, 7], &[0.0; 6]).unwrap();
        let found = message(&[u64::MAX, 3, 0, 0, 0, 0, 0, 7]);
        assert!(found.contains("section `header` should have a number of vectors from 0 to 2147483647"), "{found}");
        assert!(message(&[2, 0, 0, 0, 0, 0, 0, 7]).contains("a dimension from 1 to"));
        assert!(message(&[2, 3, 3, 0, 0, 0, 0, 7]).contains("a metric from 0 to 2, found 3"));
        assert!(message(&[2, 3, 0, 0, 0, 0, 0, 8]).contains("a seventh from 7 to 7, found 8"));
        assert!(message(&[2, 3, 0, 0, 0, 0, 0]).contains("`header`: expected 8 elements"));
        assert!(message(&[3, 3, 0, 0, 0, 0, 0, 7]).contains("`vectors`: expected 9 elements"));
    }
}

//! Vector stores written as a fuzzer can change them: the parts of a folder without their checksums and stamps.
//!
//! An input is a byte of flags and then parts, each a byte that says what it is, its length as four bytes, and its content:
//!
//! | part | content |
//! |---|---|
//! | 0 to 8 | the section of the manifest by that number in [`SECTIONS`] |
//! | 9 | a record of the log: kind (u8), sequence, synced (u64), payload; with the highest bit of the kind set, bytes as they are |
//! | 10 | the number (u32) of the log that the records after this belong to; those before it are of the log that goes on |
//! | 11 | a segment: number, rows there is room for (u32), rows |
//! | 12 | a packed segment: number, rows, library, width (u32), then each block: its length (u32), its bytes |
//!
//! Numbers are little-endian. [`write_store`] adds what `docs/formats.md` says of checksums and stamps; with the lowest flag set the
//! checksums of rows stay as they are, as those of packed rows always do. With the next flag the manifest has version 2.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use nearlab_storage::{Container, ContainerWriter, FileKind, SectionId, Verify};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The sections of a manifest, by the byte before their content.
const SECTIONS: [&str; 9] = ["meta", "segments", "kept", "spans", "places", "seqs", "numbers", "nameends", "names"];
const RECORD: u8 = 9;
const LOG: u8 = 10;
const SEGMENT: u8 = 11;
const PACKED: u8 = 12;
const PARTS: u8 = 13;
/// Where these sections stand in [`SECTIONS`].
const META: usize = 0;
const SEGMENTS: usize = 1;
const SPANS: usize = 3;

/// The flag of rows whose checksums stay as they are.
const ROWS_UNSOUND: u8 = 1;
/// The flag of a manifest that may name packed segments.
const MAY_BE_PACKED: u8 = 2;
/// The kind of a record that is bytes as they are.
const RAW: u8 = 0x80;
const COMMIT: u32 = 1;
const STAMP: usize = 64;
const HEADER: usize = 48;
const ROWS_AT: usize = 4096;
/// Bytes of a packed segment between its stamp and its index, and of each entry of that.
const PACKED_HEAD: usize = 32;
const PACKED_ENTRY: usize = 16;
/// Bytes of a commit before its spans, and of each span.
const COMMIT_HEAD: usize = 24;
const COMMIT_SPAN: usize = 24;

const KIND: FileKind = FileKind::new("store");

struct Record {
    kind: u8,
    sequence: u64,
    synced: u64,
    payload: Vec<u8>,
}

#[derive(Default)]
struct Parts {
    sections: BTreeMap<usize, Vec<u8>>,
    /// By number.
    logs: BTreeMap<u32, Vec<Record>>,
    /// By number: the rows there is room for, and rows.
    segments: BTreeMap<u32, (u32, Vec<u8>)>,
    /// By number.
    packed: BTreeMap<u32, Packed>,
}

/// The rows, how they are packed, and the blocks.
type Packed = (u32, [u32; 2], Vec<Vec<u8>>);

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_le_bytes(four.try_into().expect("four bytes")))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |eight| u64::from_le_bytes(eight.try_into().expect("eight bytes")))
}

/// Writes the store that `input` describes into an empty folder. None where the input ends early, or describes the same twice.
pub fn write_store(input: &[u8], folder: &Path) -> Option<()> {
    let (&flags, rest) = input.split_first()?;
    let mut parts = Parts::read(rest)?;
    let row_bytes = parts.row_bytes();
    if flags & ROWS_UNSOUND == 0 {
        parts.sign_rows(row_bytes);
    }
    let meta = parts.sections.get(&META).map_or(&[][..], |meta| meta);
    let store = meta.first_chunk().copied().unwrap_or_default();
    let mut writer =
        ContainerWriter::create(folder.join("manifest"), KIND, if flags & MAY_BE_PACKED == 0 { 1 } else { 2 }).ok()?;
    for (&section, content) in &parts.sections {
        writer.section(SectionId::new(SECTIONS[section]), content).ok()?;
    }
    writer.finish().ok()?;
    for (number, records) in &parts.logs {
        let mut log = stamp("log", store, [*number, 0, 0]);
        let key = xxh3_64_with_seed(&store, u64::from(*number));
        records.iter().for_each(|record| record.write(&mut log, key));
        fs::write(folder.join(format!("log-{number:08}")), log).ok()?;
    }
    for (number, (capacity, rows)) in &parts.segments {
        let mut segment = stamp("segment", store, [*number, row_bytes as u32, *capacity]);
        segment.resize(ROWS_AT, 0);
        segment.extend(rows);
        fs::write(folder.join(format!("segment-{number:08}")), segment).ok()?;
    }
    for (number, (rows, packing, blocks)) in &parts.packed {
        let segment = pack(stamp("packed", store, [*number, row_bytes as u32, *rows]), *packing, blocks);
        fs::write(folder.join(format!("segment-{number:08}")), segment).ok()?;
    }
    Some(())
}

/// The file of a packed segment that begins with this stamp.
fn pack(mut file: Vec<u8>, packing: [u32; 2], blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut end = STAMP + PACKED_HEAD + blocks.len() * PACKED_ENTRY;
    let mut index = Vec::new();
    for block in blocks {
        end += block.len();
        index.extend((end as u64).to_le_bytes());
        index.extend(xxh3_64(block).to_le_bytes());
    }
    file.extend(packing.iter().flat_map(|number| number.to_le_bytes()));
    file.extend((end as u64).to_le_bytes());
    file.extend(xxh3_64(&index).to_le_bytes());
    file.extend(xxh3_64(&file[STAMP..]).to_le_bytes());
    file.extend(index);
    file.extend(blocks.concat());
    file
}

fn stamp(kind: &str, store: [u8; 16], numbers: [u32; 3]) -> Vec<u8> {
    let mut bytes = b"NEARLAB\0\x04\x03\x02\x01\x01\0\0\0".to_vec();
    bytes.extend(kind.bytes());
    bytes.resize(24, 0);
    bytes.extend(store);
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.resize(56, 0);
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes
}

impl Record {
    fn read(content: &[u8]) -> Option<Self> {
        let (&kind, rest) = content.split_first()?;
        if kind & RAW != 0 {
            return Some(Self { kind, sequence: 0, synced: 0, payload: rest.to_vec() });
        }
        let (head, payload) = rest.split_at_checked(16)?;
        Some(Self { kind, sequence: u64_at(head, 0), synced: u64_at(head, 8), payload: payload.to_vec() })
    }

    fn write(&self, log: &mut Vec<u8>, key: u64) {
        if self.kind & RAW != 0 {
            log.extend(&self.payload);
            return;
        }
        let mut header = b"nlog".to_vec();
        header.extend(u32::from(self.kind).to_le_bytes());
        for number in [self.payload.len() as u64, self.sequence, self.synced, xxh3_64(&self.payload)] {
            header.extend(number.to_le_bytes());
        }
        header.extend(xxh3_64_with_seed(&header, key).to_le_bytes());
        log.extend(header);
        log.extend(&self.payload);
        log.resize(log.len().next_multiple_of(8), 0);
    }
}

impl Parts {
    fn read(mut rest: &[u8]) -> Option<Self> {
        let (mut parts, mut records) = (Self::default(), Vec::new());
        let mut log = None;
        while let Some((&[part, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
            let (content, after) = after.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
            rest = after;
            let is_new = match part % PARTS {
                RECORD => {
                    records.push((log, Record::read(content)?));
                    true
                }
                LOG => log.replace(u32_at(content, 0)).is_none_or(|last| last != u32_at(content, 0)),
                SEGMENT => {
                    let (head, rows) = content.split_at_checked(8)?;
                    parts.segments.insert(u32_at(head, 0), (u32_at(head, 4), rows.to_vec())).is_none()
                }
                PACKED => {
                    let (head, mut rest) = content.split_at_checked(16)?;
                    let mut blocks = Vec::new();
                    while let Some((len, after)) = rest.split_first_chunk::<4>() {
                        let (block, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                        blocks.push(block.to_vec());
                        rest = after;
                    }
                    let packed = (u32_at(head, 4), [u32_at(head, 8), u32_at(head, 12)], blocks);
                    parts.packed.insert(u32_at(head, 0), packed).is_none()
                }
                section => parts.sections.insert(usize::from(section), content.to_vec()).is_none(),
            };
            if !is_new {
                return None;
            }
        }
        let goes_on = parts.sections.get(&META).map_or(0, |meta| u32_at(meta, 56));
        parts.logs.insert(goes_on, Vec::new());
        for (log, record) in records {
            parts.logs.entry(log.unwrap_or(goes_on)).or_default().push(record);
        }
        Some(parts)
    }

    /// Bytes of a row, as the manifest's shape has it.
    fn row_bytes(&self) -> usize {
        let meta = self.sections.get(&META).map_or(&[][..], |meta| meta);
        let element = [4, 2, 1].get(u32_at(meta, 44) as usize).copied().unwrap_or(1);
        u32_at(meta, 40) as usize % (1 << 17) * element
    }

    /// Lets the checksums of spans be those of the rows, where there are rows.
    fn sign_rows(&mut self, row_bytes: usize) {
        let segments = &self.segments;
        let hash = |segment: u32, first: u32, rows: u32| -> Option<[u8; 8]> {
            let (_, bytes) = segments.get(&segment)?;
            let range: Range<usize> = first as usize * row_bytes..(first as usize + rows as usize) * row_bytes;
            bytes.get(range).map(|rows| xxh3_64(rows).to_le_bytes())
        };
        let known = self.sections.get(&SEGMENTS).cloned().unwrap_or_default();
        if let Some(spans) = self.sections.get_mut(&SPANS) {
            let mut spans = spans.chunks_exact_mut(16);
            for segment in known.chunks_exact(16) {
                for span in spans.by_ref().take(u32_at(segment, 8) as usize) {
                    if let Some(hash) = hash(u32_at(segment, 0), u32_at(span, 0), u32_at(span, 4)) {
                        span[8..].copy_from_slice(&hash);
                    }
                }
            }
        }
        let records = self.logs.values_mut().flatten();
        for record in records.filter(|record| u32::from(record.kind) == COMMIT && record.payload.len() >= COMMIT_HEAD) {
            let spans = u32_at(&record.payload, 0) as usize;
            for span in record.payload[COMMIT_HEAD..].chunks_exact_mut(COMMIT_SPAN).take(spans) {
                if let Some(hash) = hash(u32_at(span, 0), u32_at(span, 4), u32_at(span, 8)) {
                    span[16..].copy_from_slice(&hash);
                }
            }
        }
    }
}

/// The blocks of a packed segment, each after its length.
fn blocks(file: &[u8]) -> Vec<u8> {
    let rows_of_block = (65_536 / u32_at(file, 44) as usize).max(1);
    let count = (u32_at(file, 48) as usize).div_ceil(rows_of_block);
    let mut from = STAMP + PACKED_HEAD + count * PACKED_ENTRY;
    let mut blocks = Vec::new();
    for block in 0..count {
        let end = u64_at(file, STAMP + PACKED_HEAD + block * PACKED_ENTRY) as usize;
        blocks.extend(((end - from) as u32).to_le_bytes());
        blocks.extend(&file[from..end]);
        from = end;
    }
    blocks
}

/// The input that describes the store in `folder`.
pub fn describe_store(folder: &Path) -> Vec<u8> {
    let manifest = Container::open(folder.join("manifest"), KIND, 1..=2, Verify::Sections).expect("a manifest");
    let mut input = vec![if manifest.version() == 1 { 0 } else { MAY_BE_PACKED }];
    let mut put = |part: u8, content: &[u8]| {
        input.push(part);
        input.extend((content.len() as u32).to_le_bytes());
        input.extend(content);
    };
    for section in manifest.sections() {
        let number = SECTIONS.iter().position(|&name| SectionId::new(name) == section.id).expect("a known section");
        put(number as u8, manifest.bytes(section.id).expect("a section of the file"));
    }
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let Some((kind, number)) = name.split_once('-') else { continue };
        let number: u32 = number.parse().expect("a number");
        let file = fs::read(&path).expect("a file");
        if file[16..].starts_with(b"packed") {
            put(PACKED, &[&number.to_le_bytes(), &file[48..52], &file[STAMP..][..8], &blocks(&file)].concat());
            continue;
        }
        if kind == "segment" {
            put(SEGMENT, &[&number.to_le_bytes(), &file[48..52], &file[ROWS_AT..]].concat());
            continue;
        }
        put(LOG, &number.to_le_bytes());
        let mut rest = &file[STAMP..];
        while rest.len() >= HEADER {
            let len = u64_at(rest, 8) as usize;
            put(RECORD, &[&[rest[4]], &rest[16..32], &rest[HEADER..HEADER + len]].concat());
            rest = &rest[(HEADER + len).next_multiple_of(8)..];
        }
    }
    input
}

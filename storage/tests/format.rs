//! Pins the container's bytes: the example at the end of `docs/formats.md`, whose checksums come from another
//! implementation of XXH3, is what the writer writes and what the reader reads. A change of that example is a new
//! container version.

use std::fs;

use nearlab_storage::{Container, ContainerWriter, FileKind, SectionId, Verify};

const KIND: FileKind = FileKind::new("example");
const SQUARES: SectionId = SectionId::new("squares");
const NONE: SectionId = SectionId::new("none");
const TEXT: SectionId = SectionId::new("text");

/// The file of the documented dump: lines of four hexadecimal digits of offset, up to sixteen bytes, and a remark.
fn documented() -> Vec<u8> {
    let page = include_str!("../../docs/formats.md");
    let (_, example) = page.split_once("## An example").expect("the page ends with an example");
    let mut file = vec![0; 12_288];
    let mut lines = 0;
    for line in example.lines().filter(|line| line.starts_with("    ")) {
        let number = |digits: &str| usize::from_str_radix(digits, 16).expect("hexadecimal digits");
        let offset = number(&line[4..8]);
        let bytes = &line[10..line.len().min(58)];
        for (i, byte) in bytes.split_whitespace().enumerate() {
            file[offset + i] = number(byte) as u8;
        }
        lines += 1;
    }
    assert_eq!(lines, 12, "the example was not found whole");
    file
}

#[test]
fn the_writer_writes_the_documented_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written");
    let mut writer = ContainerWriter::create(&path, KIND, 7).unwrap();
    writer.section(SQUARES, &[1i32, 4, -15]).unwrap();
    writer.section::<f32>(NONE, &[]).unwrap();
    writer.section(TEXT, b"hello").unwrap();
    writer.finish().unwrap();
    let (written, documented) = (fs::read(&path).unwrap(), documented());
    assert_eq!(written.len(), documented.len());
    let difference = written.iter().zip(&documented).position(|(a, b)| a != b);
    assert_eq!(difference, None, "the first byte that differs");
}

#[test]
fn the_reader_reads_the_documented_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documented");
    fs::write(&path, documented()).unwrap();
    let container = Container::open(&path, KIND, 7..=7, Verify::Sections).unwrap();
    assert_eq!(container.view::<i32>(SQUARES).unwrap(), [1, 4, -15]);
    assert_eq!(container.offset_of(NONE).unwrap(), (8192, 0));
    assert_eq!(container.bytes(TEXT).unwrap(), b"hello");
}
